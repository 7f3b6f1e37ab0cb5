"""Vectors on samples: the same as the library's, one for each video, whatever breaks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from reelspace.core.frames import Picture
from reelspace.encoders.catalog import find
from reelspace.encoders.hiera_blocks import trunk_options
from reelspace.encoders.models.hiera import Hiera
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import open_video
from reelspace.models import embed

HIERA = "compute_hiera_video_embeddings"
CALL = {
    "model_name": "hiera_tiny",
    "checkpoint": "mae_k400_ft_k400",
    "embedding_types": "terminal",
    "emb_field": "e",
}


def library_vectors(videos, name: str, windows: str) -> np.ndarray:
    found = embed(videos[:3], name, windows=windows, device="cpu")
    return np.stack([found[str(path)].mean(axis=0) for path in videos[:3]])


def vectors(dataset, field: str = "e") -> np.ndarray:
    return np.stack(dataset.values(field)[:3])


def test_a_vector_lands_on_each_sample_and_a_reason_on_the_broken_one(dataset, operator, videos) -> None:
    outcome = operator(HIERA)(dataset, **CALL, normalize=False, delegate=False)
    assert outcome.result == {"done": 3, "skipped": 0, "failed": 1}
    np.testing.assert_allclose(
        vectors(dataset), library_vectors(videos, "hiera-tiny:terminal", "squashed"), atol=1e-5
    )
    *none, reason = dataset.values("e_error")
    assert none == [None] * 3
    assert "not a media file" in reason
    assert dataset.values("e")[3] is None


def test_vectors_are_those_of_the_plugins_own_way_with_normalised_pixels(dataset, operator, videos) -> None:
    operator(HIERA)(dataset.limit(1), **CALL)
    with open_video(videos[0]) as reader:
        stack = torch.from_numpy(np.stack([frame.pixels for frame in reader.frames(Picture())])).float()
    # All frames in memory, (T, H, W, 3) -> (1, 3, 6, 64, 64), as the plugin does it; then what it leaves out.
    squashed = functional.interpolate(stack.permute(3, 0, 1, 2)[None], size=(6, 64, 64), mode="trilinear")
    pixels = (squashed / 255 - 0.45) / 0.225
    row = find("hiera-tiny")
    network = Hiera(classes=400, **trunk_options(row)).eval()
    network.load_state_dict(load_file(Path(row.weights.folder) / "model.safetensors"))
    with torch.inference_mode():
        (expected,) = network(pixels.transpose(1, 2), ("terminal",))["terminal"].numpy()
    np.testing.assert_allclose(dataset.first()["e"], expected, atol=1e-4)


@pytest.mark.parametrize("windows", ["views", "tiled"])
def test_several_windows_are_averaged(dataset, operator, videos, windows) -> None:
    operator(HIERA)(dataset, **CALL | {"checkpoint": "mae_k400"}, windows=windows, batch_size=2)
    expected = library_vectors(videos, "hiera-tiny-mae:terminal", windows)
    np.testing.assert_allclose(vectors(dataset), expected, atol=1e-5)


def test_normalize_is_l2(dataset, operator, videos) -> None:
    operator(HIERA)(dataset, **CALL, normalize=True)
    found, raw = vectors(dataset), library_vectors(videos, "hiera-tiny:terminal", "squashed")
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_normalize_is_refused_of_hierarchical_vectors(dataset, operator, form) -> None:
    wrong = CALL | {"embedding_types": "hierarchical", "normalize": True}
    with pytest.raises(InvalidArgument, match="normalise 'terminal' instead"):
        operator(HIERA)(dataset, **wrong)
    asked = form(HIERA, dataset, **wrong)["normalize"]
    assert asked["invalid"]
    assert "normalise 'terminal' instead" in asked["error_message"]
    assert not form(HIERA, dataset, **wrong | {"normalize": False})["normalize"]["invalid"]
    operator(HIERA)(dataset, **wrong | {"normalize": False})
    assert vectors(dataset).shape == (3, 120)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"model_name": "hiera_bass_16x224"}, "did you mean 'hiera_base_16x224'"),
        ({"checkpoint": "mae_k600"}, "did you mean 'mae_k400'"),
        ({"embedding_types": "terminall"}, "did you mean 'terminal'"),
        ({"windows": "squash"}, "did you mean 'squashed'"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_queued(dataset, operator, wrong, hint) -> None:
    with pytest.raises(UnknownName, match=hint):
        operator(HIERA)(dataset, **CALL | wrong, delegate=True)


def test_samples_that_have_a_vector_are_skipped_on_request(dataset, operator, videos) -> None:
    operator(HIERA)(dataset.limit(2), **CALL)
    before = vectors(dataset.limit(2))
    outcome = operator(HIERA)(dataset, **CALL, skip_computed=True)
    assert outcome.result == {"done": 1, "skipped": 2, "failed": 1}
    np.testing.assert_array_equal(vectors(dataset)[:2], before)


def test_a_field_never_holds_vectors_of_two_kinds(dataset, operator) -> None:
    operator(HIERA)(dataset, **CALL)
    assert dataset.get_field("e").info["licence"] == "CC-BY-NC-4.0"
    for again, how in [(dataset, {"skip_computed": True}), (dataset.limit(1), {})]:
        with pytest.raises(Exception, match="choose another field"):
            operator(HIERA)(again, **CALL, windows="tiled", **how)
    operator(HIERA)(dataset, **CALL, windows="tiled")
    assert "squashed" not in dataset.get_field("e").info["reelspace"]
    assert "tiled" in dataset.get_field("e").description


def test_of_a_grouped_dataset_the_active_slice_is_meant_and_the_others_count(fo, operator, videos) -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("camera", default="left")
    pair = fo.Group()
    dataset.add_samples(
        [
            fo.Sample(filepath=str(path), camera=pair.element(side))
            for path, side in zip(videos[:2], ("left", "right"), strict=True)
        ]
    )
    run = operator("compute_video_embeddings")
    assert run(dataset, "hiera-tiny", "e").result["done"] == 1
    dataset.group_slice = "right"
    assert dataset.first()["e"] is None
    with pytest.raises(Exception, match="keep their value of 'e': 1"):
        run(dataset, "hiera-tiny", "e", windows="tiled")
    assert run(dataset, "hiera-tiny", "e").result["done"] == 1
    both = dataset.select_group_slices(["left", "right"])
    assert run(both, "hiera-tiny", "e", skip_computed=True).result == {"done": 0, "skipped": 2, "failed": 0}
    dataset.delete()


def test_a_field_of_something_else_is_refused(dataset, operator) -> None:
    dataset.set_values("e", ["a text"] * 4)
    with pytest.raises(Exception, match="'e' cannot be used, choose another field"):
        operator(HIERA)(dataset, **CALL)


def test_a_video_that_was_mended_loses_its_reason(dataset, operator, videos, tmp_path) -> None:
    sample = dataset.last()
    sample["filepath"] = str(tmp_path / "later.mp4")
    sample.save()
    assert operator(HIERA)(dataset, **CALL).result["failed"] == 1
    assert dataset.last()["e_error"]
    os.link(videos[0], tmp_path / "later.mp4")
    outcome = operator(HIERA)(dataset, **CALL, skip_computed=True)
    assert outcome.result == {"done": 1, "skipped": 3, "failed": 0}
    assert dataset.last()["e_error"] is None
    np.testing.assert_allclose(dataset.last()["e"], dataset.first()["e"], atol=1e-5)


def test_a_notebook_awaits_the_call_and_hears_of_failures(dataset, operator) -> None:
    async def cell(**params):
        return await operator(HIERA)(dataset, **CALL | params)

    outcome = asyncio.run(cell())
    assert outcome.result["done"] == 3
    with pytest.raises(Exception, match="choose another field"):
        asyncio.run(cell(windows="views", skip_computed=True))


def test_progress_is_told_and_the_app_reloads(dataset, operator) -> None:
    outcome = operator(HIERA)(dataset, **CALL)
    *told, last = outcome.executor.to_json()["requests"]
    assert [request["params"]["message"].split(" - ")[0] for request in told] == [
        f"Progress: {share}" for share in (0.25, 0.5, 0.75, 1.0)
    ]
    assert last["operator_uri"] == "reload_dataset"


def test_a_delegated_call_waits_for_its_service(fo, dataset, operator) -> None:
    from fiftyone.operators.delegated import DelegatedOperationService

    queued = operator(HIERA)(dataset.limit(1), **CALL, delegate=True)
    assert queued.delegated
    assert not dataset.has_field("e")
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=operator(HIERA).uri)
    done = service.get(queued.result["id"])
    assert (done.run_state, done.result.result) == ("completed", {"done": 1, "skipped": 0, "failed": 0})
    assert done.status.progress == 1.0
    dataset.reload()
    assert [v is not None for v in dataset.values("e")] == [True, False, False, False]


def test_the_form_offers_what_the_original_did_and_shows_the_licence(dataset, form) -> None:
    fields = form(HIERA, dataset, model_name="hiera_base_16x224", checkpoint="mae_k400")
    assert {"model_name", "checkpoint", "embedding_types", "normalize", "emb_field", "delegate"} <= set(fields)
    assert fields["view_target"]["default"] == "DATASET"
    assert [f"hiera_{size}_16x224" for size in ("base", "base_plus", "large", "huge")] == fields["model_name"][
        "type"
    ]["values"][:4]
    assert "CC-BY-NC-4.0 (no commercial use)" in fields["licence"]["view"]["label"]
    assert "weak for retrieval" in fields["licence"]["view"]["description"]
    assert "licence" not in form(HIERA, dataset)


def test_every_encoder_of_the_catalog_is_offered_with_its_outputs(dataset, form) -> None:
    from reelspace.encoders.catalog import catalog

    fields = form("compute_video_embeddings", dataset)
    assert {choice["value"] for choice in fields["encoder"]["view"]["choices"]} == set(catalog())
    fields = form("compute_video_embeddings", dataset, encoder="s3d-howto100m")
    assert fields["output"]["type"]["values"] == ["video_embedding", "mixed_5c"]
    assert fields["windows"]["default"] == "views"
    assert (
        form("compute_video_embeddings", dataset, encoder="clip-vit-base-patch32")["windows"]["default"] == "tiled"
    )


@pytest.mark.parametrize(
    ("name", "output", "like"),
    [
        ("hiera-tiny", "hierarchical", ("hiera-tiny:hierarchical", "views")),
        ("hiera-tiny:logits", None, ("hiera-tiny:logits", "views")),
        ("reelprint", None, ("reelprint", "tiled")),
    ],
)
def test_any_output_of_any_encoder(dataset, operator, videos, name, output, like) -> None:
    operator("compute_video_embeddings")(dataset, name, "e", output=output)
    np.testing.assert_allclose(vectors(dataset), library_vectors(videos, *like), atol=1e-5)


def test_umap_works_on_the_field(fo, dataset, operator, videos) -> None:
    import fiftyone.brain as fob

    dataset.add_samples([fo.Sample(filepath=str(path)) for path in videos[:3] * 2])
    assert operator(HIERA)(dataset, **CALL).result == {"done": 9, "skipped": 0, "failed": 1}
    found = fob.compute_visualization(  # leaves the broken video out
        dataset, embeddings="e", method="umap", brain_key="seen", num_dims=2, num_neighbors=3, verbose=False
    )
    assert found.points.shape == (9, 2)
    assert np.isfinite(found.points).all()
    assert dataset.load_brain_results("seen").points.shape == (9, 2)
