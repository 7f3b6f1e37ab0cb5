"""VideoMAE from checkpoints in the published layout, against transformers' own forward passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import VIDEOMAE, save, seeded, tiny, videomae
from transformers import VideoMAEForPreTraining, VideoMAEForVideoClassification

from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.load import TorchEncoder, load_encoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument

_IMAGENET = (torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225]))


def _classifier(folder: Path, **config: Any) -> EncoderSpec:
    changed = VIDEOMAE | {"use_mean_pooling": True, "num_labels": 5} | config
    layout = videomae(changed, classes=5)
    if not changed["use_mean_pooling"]:  # as transformers saves what it fine-tuned itself
        layout = {name: shape for name, shape in layout.items() if not name.startswith("fc_norm")}
        layout |= {"videomae.layernorm.weight": (32,), "videomae.layernorm.bias": (32,)}
    files = save(folder, changed, seeded(layout))
    row = find("videomae-base-finetuned-kinetics")
    return tiny(row, folder, files, side=32, outputs={"pooled": 32, "logits": 5})


def _pretrained(folder: Path, **config: Any) -> EncoderSpec:
    changed = VIDEOMAE | config
    files = save(folder, changed, seeded(videomae(changed)))
    return tiny(find("videomae-base"), folder, files, side=32, outputs={"pooled": 32})


def _clips(count: int = 2, *, side: int = 32, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, frames, side, side, 3), dtype=np.uint8)


def _normalised(clips: np.ndarray) -> torch.Tensor:
    mean, std = _IMAGENET
    return ((torch.from_numpy(clips).float() / 255 - mean) / std).permute(0, 1, 4, 2, 3)


def test_logits_are_those_of_transformers_and_pooled_is_what_its_classifier_reads(tmp_path: Path) -> None:
    row = _classifier(tmp_path)
    model = VideoMAEForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(_normalised(_clips())).logits.numpy()
        read = model.fc_norm(model.videomae(_normalised(_clips())).last_hidden_state.mean(1)).numpy()
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("pooled", "logits", "tokens"))
    np.testing.assert_allclose(ours["logits"], theirs, atol=1e-5)
    np.testing.assert_allclose(ours["pooled"], read, atol=1e-5)
    assert ours["tokens"].shape == (2, 2 * 2 * 2, 32)


def test_what_transformers_fine_tuned_itself_is_read_at_its_first_token(tmp_path: Path) -> None:
    row = _classifier(tmp_path, use_mean_pooling=False)
    model = VideoMAEForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(_normalised(_clips())).logits.numpy()
    np.testing.assert_allclose(
        load_encoder(row, device="cpu").encode(_clips(), outputs=("logits",))["logits"], theirs, atol=1e-5
    )


def test_pooled_of_a_pretrained_model_is_the_mean_of_its_normalised_tokens(tmp_path: Path) -> None:
    row = _pretrained(tmp_path)
    model = VideoMAEForPreTraining.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        tokens = model.videomae(_normalised(_clips())).last_hidden_state.numpy()
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("pooled", "tokens"))
    np.testing.assert_allclose(ours["tokens"], tokens, atol=1e-5)
    np.testing.assert_allclose(ours["pooled"], tokens.mean(1), atol=1e-5)


def _reconstructor(row: EncoderSpec, **settings: Any) -> TorchEncoder:
    encoder = load_encoder(row, device="cpu", **settings)
    assert isinstance(encoder, TorchEncoder)
    return encoder


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_the_loss_of_a_reconstruction_is_transformers_own(tmp_path: Path, norm_pix_loss: bool) -> None:
    row = _pretrained(tmp_path, norm_pix_loss=norm_pix_loss)
    mask = np.zeros((2, 8), dtype=bool)
    mask[0, [0, 3, 5]] = mask[1, [1, 2, 7]] = True
    found = _reconstructor(row).reconstruct(_clips(), mask=mask)
    model = VideoMAEForPreTraining.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(_normalised(_clips()), bool_masked_pos=torch.from_numpy(mask)).loss.item()
        each = [
            model(_normalised(_clips()[i : i + 1]), bool_masked_pos=torch.from_numpy(mask[i : i + 1])).loss.item()
            for i in range(2)
        ]
    assert found.loss.mean() == pytest.approx(theirs, rel=1e-5)
    assert found.loss.tolist() == pytest.approx(each, rel=1e-5)


def test_a_reconstruction_keeps_what_was_seen_and_guesses_in_place(tmp_path: Path) -> None:
    row = _pretrained(tmp_path, norm_pix_loss=False)
    clips = _clips()
    mask = np.zeros((2, 8), dtype=bool)
    mask[:, 6] = True  # of 2 x 2 x 2 tokens: frames 2 and 3, below, left
    found = _reconstructor(row).reconstruct(clips, mask=mask)
    expected = np.zeros((2, 4, 32, 32), dtype=bool)
    expected[:, 2:, 16:, :16] = True
    np.testing.assert_array_equal(found.masked, expected)
    np.testing.assert_allclose(found.pictures[~expected], clips[~expected], atol=1e-3)
    model = VideoMAEForPreTraining.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        logits = model(_normalised(clips), bool_masked_pos=torch.from_numpy(mask)).logits
    # Without normalised patches the model's numbers are pixels of 0..1, frame by frame, row by row
    patch = logits.view(2, 2, 16, 16, 3).numpy() * 255
    np.testing.assert_allclose(found.pictures[:, 2:, 16:, :16], patch.clip(0, 255), atol=1e-2)


def test_the_same_places_are_hidden_in_all_frames_and_nine_tenths_of_them(tmp_path: Path) -> None:
    row = _pretrained(tmp_path, image_size=80)  # 5 x 5 places
    row = replace(row, preprocessing=replace(row.preprocessing, size=80, crop=80))
    clips = _clips(3, side=80)
    found = _reconstructor(row).reconstruct(clips, seed=1)
    places = found.masked[:, :, ::16, ::16]
    assert (places == places[:, :1]).all()
    assert places[:, 0].sum((1, 2)).tolist() == [22, 22, 22]  # int(.9 * 25)
    assert (places[0] != places[1]).any()
    again = _reconstructor(row).reconstruct(clips, seed=1)
    np.testing.assert_array_equal(found.masked, again.masked)
    half = _reconstructor(row).reconstruct(clips, mask_ratio=0.5).masked[:, 0, ::16, ::16]
    assert half.sum((1, 2)).tolist() == [12, 12, 12]


def test_a_mask_that_hides_more_in_one_clip_than_in_another_is_refused(tmp_path: Path) -> None:
    encoder = _reconstructor(_pretrained(tmp_path))
    uneven = np.zeros((2, 8), dtype=bool)
    uneven[0, 0] = uneven[1, :2] = True
    with pytest.raises(InvalidArgument, match=r"as many patches hidden.*\[1, 2\]"):
        encoder.reconstruct(_clips(), mask=uneven)
    with pytest.raises(InvalidArgument, match=r"the mask is bool \(2, 8\)"):
        encoder.reconstruct(_clips(), mask=np.zeros((2, 4), dtype=bool))
    with pytest.raises(InvalidArgument, match="mask ratio"):
        encoder.reconstruct(_clips(), mask_ratio=1.0)


def test_other_frame_counts_and_sizes_are_refused_before_the_model_runs(tmp_path: Path) -> None:
    row = _classifier(tmp_path)
    with pytest.raises(FormatError, match="num_frames 4, and the row says 8"):
        load_encoder(replace(row, clip=replace(row.clip, frames=8)), device="cpu")
    with pytest.raises(FormatError, match="num_labels 5, and the row says 6"):
        load_encoder(replace(row, outputs={"pooled": 32, "logits": 6}), device="cpu")
    with pytest.raises(InvalidArgument, match="made for clips"):
        load_encoder(row, device="cpu").encode(_clips(frames=8))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same(tmp_path: Path, dtype: Any) -> None:
    row = _classifier(tmp_path / "a")
    exact = load_encoder(row, device="cpu").encode(_clips())["pooled"]
    rough = load_encoder(row, device="cpu", dtype=dtype).encode(_clips())["pooled"]
    assert rough.dtype == np.float32
    assert np.abs(exact - rough).max() < 0.1 * np.abs(exact).max()
    masked = _pretrained(tmp_path / "b")
    losses = [_reconstructor(masked, dtype=kind).reconstruct(_clips()).loss for kind in ("float32", dtype)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


def test_nothing_stays_on_the_cpu_when_the_model_moves(tmp_path: Path) -> None:
    module = _reconstructor(_pretrained(tmp_path))._module.to("meta")
    tables = [
        (name, value)
        for part in module.modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    ]
    assert tables == []
    assert {buffer.device.type for buffer in module.buffers()} == {"meta"}


# width, layers, heads, inner; then the decoder's; bytes of the weights as the hub lists them
_FULL = {
    "small": (384, 12, 1536, 192, 4, 768),
    "base": (768, 12, 3072, 384, 4, 1536),
    "large": (1024, 24, 4096, 512, 12, 2048),
    "huge": (1280, 32, 5120, 640, 12, 2560),
}
_LISTED_MEGABYTES = {
    "videomae-base": 377,
    "videomae-base-short": 377,
    "videomae-base-ssv2": 377,
    "videomae-base-short-ssv2": 377,
    "videomae-base-finetuned-kinetics": 346,
    "videomae-base-short-finetuned-kinetics": 346,
    "videomae-large-finetuned-kinetics": 1220,
    "videomae-huge-finetuned-kinetics": 2530,
}


@pytest.mark.parametrize("name", sorted(_LISTED_MEGABYTES))
def test_the_layout_of_a_full_size_checkpoint_has_the_bytes_the_hub_lists(name: str) -> None:
    row = find(name)
    width, layers, inner, *decoder = _FULL[name.split("-")[1]]
    assert row.outputs["pooled"] == width
    config = VIDEOMAE | {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "decoder_hidden_size": decoder[0],
        "decoder_num_hidden_layers": decoder[1],
        "decoder_intermediate_size": decoder[2],
    }
    count = sum(int(np.prod(shape)) for shape in videomae(config, classes=row.outputs.get("logits")).values())
    listed = _LISTED_MEGABYTES[name]
    assert 4 * count / 1e6 == pytest.approx(listed, abs=0.6 if listed < 1000 else 6)


def test_rows_read_what_the_hub_s_processors_say_and_warn_of_raw_features() -> None:
    rows = [row for row in catalog().values() if row.family == "videomae"]
    assert len(rows) == 13
    for row in rows:
        how = row.preprocessing
        assert (how.resize, how.size, how.crop, how.filter) == ("shortest", 224, 224, "bilinear")
        assert how.mean == (0.485, 0.456, 0.406)  # fault 9: the class default is .5
        assert how.std == (0.229, 0.224, 0.225)
        assert row.clip.frames == 16
        assert row.clip.spread == ("ssv2" in row.name)
        assert row.weights.commercial is False
        assert bool(row.remark) == ("finetuned" not in row.name)
