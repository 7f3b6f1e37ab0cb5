"""V-JEPA 2 from checkpoints in the published layout, against transformers' own forward passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import VJEPA2, save, seeded, tiny, vjepa2
from transformers import VJEPA2ForVideoClassification, VJEPA2Model

from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.load import load_encoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument


def _encoder(folder: Path, **changes: Any) -> EncoderSpec:
    files = save(folder, VJEPA2, seeded(vjepa2(VJEPA2)))
    return tiny(find("vjepa2-vitl-fpc64-256"), folder, files, side=32, outputs={"pooled": 48}, **changes)


def _probe(folder: Path) -> EncoderSpec:
    names = {str(index): f"dive {index}" for index in range(5)}
    files = save(folder, VJEPA2 | {"id2label": names}, seeded(vjepa2(VJEPA2, classes=5)))
    like = find("vjepa2-vitl-fpc32-256-diving48")
    return tiny(like, folder, files, side=32, outputs={"pooled": 48, "logits": 5})


def _clips(count: int = 2, *, side: int = 32, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, frames, side, side, 3), dtype=np.uint8)


def _normalised(clips: np.ndarray) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(clips).float() / 255 - mean) / std).permute(0, 1, 4, 2, 3)


def test_pooled_is_the_mean_of_transformers_tokens(tmp_path: Path) -> None:
    row = _encoder(tmp_path)
    model = VJEPA2Model.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(_normalised(_clips()), skip_predictor=True).last_hidden_state.numpy()
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("pooled", "tokens"))
    np.testing.assert_allclose(ours["tokens"], theirs, atol=1e-5)
    np.testing.assert_allclose(ours["pooled"], theirs.mean(1), atol=1e-5)


def test_logits_are_those_of_transformers_and_the_checkpoint_names_its_classes(tmp_path: Path) -> None:
    row = _probe(tmp_path)
    model = VJEPA2ForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(_normalised(_clips())).logits.numpy()
    encoder = load_encoder(row, device="cpu")
    np.testing.assert_allclose(encoder.encode(_clips(), outputs=("logits",))["logits"], theirs, atol=1e-5)
    assert encoder.labels == ("dive 0", "dive 1", "dive 2", "dive 3", "dive 4")


def test_the_predictor_has_to_be_in_the_file_and_is_not_kept(tmp_path: Path) -> None:
    row = _encoder(tmp_path / "whole")
    names = [name for name, _ in load_encoder(row, device="cpu")._module.named_parameters()]
    assert not [name for name in names if "predictor" in name]
    lacking = {name: tensor for name, tensor in seeded(vjepa2(VJEPA2)).items() if "mask_tokens" not in name}
    save(tmp_path / "whole", VJEPA2, lacking)
    with pytest.raises(FormatError, match=r"1 missing \(predictor\.embeddings\.mask_tokens\)"):
        load_encoder(row, device="cpu")


def test_sizes_the_positions_were_not_made_for_are_refused(tmp_path: Path) -> None:
    # Fault 7: the grid of positions is that of the config, whatever comes in.
    row = _encoder(tmp_path)
    with pytest.raises(FormatError, match="crop_size 32, and the row says 64"):
        load_encoder(replace(row, preprocessing=replace(row.preprocessing, size=64, crop=64)), device="cpu")
    with pytest.raises(InvalidArgument, match="made for clips"):
        load_encoder(row, device="cpu").encode(_clips(side=64))


def test_other_frame_counts_work_in_whole_groups_only(tmp_path: Path) -> None:
    # Fault 7: an odd last frame would be dropped without a word.
    vectors = load_encoder(_encoder(tmp_path, frames=6), device="cpu").encode(_clips(frames=6), outputs=("tokens",))
    assert vectors["tokens"].shape == (2, 3 * 2 * 2, 48)
    with pytest.raises(FormatError, match="groups of 2, and the row's clip has 5"):
        load_encoder(_encoder(tmp_path, frames=5), device="cpu")


def test_half_precision_gives_nearly_the_same(tmp_path: Path) -> None:
    row = _probe(tmp_path)
    wanted = ("pooled", "logits")
    exact = load_encoder(row, device="cpu").encode(_clips(), outputs=wanted)
    rough = load_encoder(row, device="cpu", dtype="bfloat16").encode(_clips(), outputs=wanted)
    for name in wanted:
        assert np.abs(exact[name] - rough[name]).max() < 0.1 * np.abs(exact[name]).max()


# width, layers, ratio; millions of parameters as the cards say
_FULL = {"vitl": (1024, 24, 4.0), "vith": (1280, 32, 4.0), "vitg": (1408, 40, 48 / 11)}
_MILLIONS = {
    ("vitl", False): 326,
    ("vith", False): 654,
    ("vitg", False): 1030,
    ("vitl", True): 375,
    ("vitg", True): 1130,
}


def test_the_layouts_of_full_size_checkpoints_have_as_many_parameters_as_their_cards_say() -> None:
    rows = [row for row in catalog().values() if row.family == "vjepa2"]
    assert len(rows) == 8
    for row in rows:
        size = row.name.split("-")[1]
        width, layers, ratio = _FULL[size]
        full = VJEPA2 | {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "mlp_ratio": ratio,
            "num_pooler_layers": 3,
        }
        full |= {"pred_hidden_size": 384, "pred_num_hidden_layers": 12, "pred_num_mask_tokens": 10}
        shapes = vjepa2(full, classes=row.outputs.get("logits"))
        millions = sum(int(np.prod(shape)) for shape in shapes.values()) / 1e6
        assert millions == pytest.approx(_MILLIONS[size, "logits" in row.outputs], rel=0.005)
        assert row.outputs["pooled"] == width


def test_rows_resize_to_the_original_s_margin_and_read_four_frames_a_second() -> None:
    for row in catalog().values():
        if row.family == "vjepa2":
            crop = row.preprocessing.crop
            assert row.preprocessing.size == {256: 292, 384: 438}[crop]
            if "logits" not in row.outputs:
                assert (row.clip.frames, row.clip.spacing_seconds) == (64, 0.25)
