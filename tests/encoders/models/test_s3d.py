from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reelspace.encoders.catalog.milnce import ROWS
from reelspace.encoders.load import TorchEncoder, load_encoder
from reelspace.encoders.models.s3d import S3d
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights
from reelspace.errors import FormatError, InvalidArgument

ROW = ROWS[0]
WORDS = ("open", "door")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return S3d(WORDS).state_dict()


def row_of(folder: Path, state: dict[str, torch.Tensor], *, frames: int = 8, side: int = 64) -> EncoderSpec:
    torch.save(state, folder / "s3d_howto100m.pth", _use_new_zipfile_serialization=False)
    np.save(folder / "s3d_dict.npy", np.array(WORDS))
    files = tuple(WeightFile(file.name) for file in ROW.weights.files)
    return replace(
        ROW,
        clip=replace(ROW.clip, frames=frames),
        preprocessing=replace(ROW.preprocessing, size=side),
        weights=Weights(files, folder=str(folder)),
    )


def test_published_checkpoint_has_537_tensors_and_31_million_numbers() -> None:
    """125,031,128 bytes on the server are these numbers and what a pickle adds (facts/models.md, section 4)."""
    with torch.device("meta"):
        tensors = S3d([""] * 66_249).state_dict()
    assert len(tensors) == 537
    assert sum("num_batches_tracked" in name for name in tensors) == 76
    assert sum(value.numel() for value in tensors.values()) == 31_232_500
    assert tensors["conv1.conv1.weight"].shape == (64, 24, 2, 4, 4)
    assert tensors["text_module.word_embd.weight"].shape == (66_250, 300)


def test_outputs_are_those_of_the_row(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    encoder = load_encoder(row_of(tmp_path, state), device="cpu")
    found = encoder.encode(np.full((2, 8, 64, 64, 3), 99, np.uint8), outputs=tuple(ROW.outputs))
    assert {name: value.shape for name, value in found.items()} == {
        name: (2, dimensions) for name, dimensions in ROW.outputs.items()
    }


def test_half_precision_stays_near(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    row = row_of(tmp_path, state)
    clips = np.random.default_rng(0).integers(0, 256, (1, 8, 64, 64, 3), dtype=np.uint8)
    whole, half = (load_encoder(row, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert isinstance(whole, TorchEncoder)
    assert isinstance(half, TorchEncoder)
    for exact, near in (
        (whole.encode(clips)["video_embedding"], half.encode(clips)["video_embedding"]),
        (whole.encode_text(["open the door"]), half.encode_text(["open the door"])),
    ):
        assert np.linalg.norm(near - exact) < 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize(("frames", "side"), [(7, 64), (8, 65)])
def test_odd_clips_are_refused(tmp_path: Path, state: dict[str, torch.Tensor], frames: int, side: int) -> None:
    encoder = load_encoder(row_of(tmp_path, state, frames=frames, side=side), device="cpu")
    with pytest.raises(InvalidArgument, match=f"must be even, got {frames} frames of {side}x{side}"):
        encoder.encode(np.zeros((1, frames, side, side, 3), np.uint8))


def test_a_tensor_that_is_missing_is_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    less = {name: value for name, value in state.items() if name != "mixed_4c.gating_b2.fc.bias"}
    with pytest.raises(FormatError, match=r"missing: mixed_4c\.gating_b2\.fc\.bias"):
        load_encoder(row_of(tmp_path, less), device="cpu")


def test_a_vocabulary_of_another_length_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    row = row_of(tmp_path, state)
    np.save(tmp_path / "s3d_dict.npy", np.array([*WORDS, "cut"]))
    with pytest.raises(FormatError, match=r"word_embd\.weight \(3, 300\) for \(4, 300\)"):
        load_encoder(row, device="cpu")
