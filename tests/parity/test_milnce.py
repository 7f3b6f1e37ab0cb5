"""S3D against antoine77340/S3D_HowTo100M@b8cd0bb and I3D against piergiaj/pytorch-i3d@05783d1, on seeded weights.

``make_milnce.py`` made the numbers, and says with which command.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelspace.encoders.catalog.milnce import ROWS
from reelspace.encoders.load import TorchEncoder, load_encoder
from reelspace.encoders.models.i3d import KineticsI3d
from reelspace.encoders.models.s3d import S3d
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights

HERE = Path(__file__).parent
MADE: dict[str, Any] = runpy.run_path(str(HERE / "make_milnce.py"))
S3D, _, I3D, _ = ROWS
CLOSE = {"rtol": 1e-5, "atol": 1e-4}


@pytest.fixture(scope="module")
def s3d_numbers() -> Mapping[str, np.ndarray]:
    return dict(np.load(HERE / "data" / "milnce_s3d.npz"))


@pytest.fixture(scope="module")
def i3d_numbers() -> Mapping[str, np.ndarray]:
    return dict(np.load(HERE / "data" / "milnce_i3d.npz"))


def save(network: torch.nn.Module, path: Path, **how: float) -> dict[str, tuple[int, ...]]:
    """Seeded weights as published: a bare state dict in the old format of torch.save."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {name: torch.from_numpy(value) for name, value in MADE["seeded"](shapes, **how).items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return shapes


@pytest.fixture(scope="module")
def s3d_row(tmp_path_factory: pytest.TempPathFactory, s3d_numbers: Mapping[str, np.ndarray]) -> EncoderSpec:
    folder = tmp_path_factory.mktemp("s3d")
    np.save(folder / "s3d_dict.npy", np.array(MADE["WORDS"]))
    with torch.device("meta"):
        network = S3d(MADE["WORDS"])
    shapes = save(network, folder / "s3d_howto100m.pth", scale=1.25)
    assert MADE["digest_of"](shapes.items()) == str(s3d_numbers["shapes"])
    files = tuple(WeightFile(file.name) for file in S3D.weights.files)
    return replace(S3D, weights=Weights(files, folder=str(folder)))


@pytest.fixture(scope="module")
def i3d_row(tmp_path_factory: pytest.TempPathFactory, i3d_numbers: Mapping[str, np.ndarray]) -> EncoderSpec:
    folder = tmp_path_factory.mktemp("i3d")
    with torch.device("meta"):
        network = KineticsI3d(400)
    shapes = save(network, folder / "rgb_imagenet.pt")
    assert MADE["digest_of"](shapes.items()) == str(i3d_numbers["shapes"])
    return replace(I3D, weights=Weights((WeightFile("rgb_imagenet.pt"),), folder=str(folder)))


def made_for(row: EncoderSpec, frames: int, side: int) -> TorchEncoder:
    pixels = replace(row.preprocessing, resize="cover", size=side, crop=None)
    encoder = load_encoder(replace(row, clip=replace(row.clip, frames=frames), preprocessing=pixels), device="cpu")
    assert isinstance(encoder, TorchEncoder)
    return encoder


@pytest.mark.parametrize(("frames", "side"), [(16, 200), (16, 256), (32, 224)])  # three of the six, for time
def test_s3d_gives_the_original_s_vectors(
    s3d_row: EncoderSpec, s3d_numbers: Mapping[str, np.ndarray], frames: int, side: int
) -> None:
    found = made_for(s3d_row, frames, side).encode(
        MADE["clip"](frames, side), outputs=("video_embedding", "mixed_5c")
    )
    np.testing.assert_allclose(found["video_embedding"], s3d_numbers[f"video_embedding_{frames}_{side}"], **CLOSE)
    if (frames, side) == (32, 224):
        np.testing.assert_allclose(found["mixed_5c"], s3d_numbers["mixed_5c_32_224"], **CLOSE)


def test_s3d_gives_the_original_s_vectors_of_texts(
    s3d_row: EncoderSpec, s3d_numbers: Mapping[str, np.ndarray]
) -> None:
    found = made_for(s3d_row, 32, 224).encode_text(MADE["TEXTS"])
    np.testing.assert_allclose(found, s3d_numbers["text"], **CLOSE)


@pytest.mark.parametrize(("frames", "side"), MADE["I3D_CASES"])
def test_i3d_gives_the_numbers_of_the_port(
    i3d_row: EncoderSpec, i3d_numbers: Mapping[str, np.ndarray], frames: int, side: int
) -> None:
    found = made_for(i3d_row, frames, side).encode(MADE["clip"](frames, side), outputs=("logits", "mixed_5c"))
    for name, value in found.items():
        np.testing.assert_allclose(value, i3d_numbers[f"{name}_{frames}_{side}"], **CLOSE)
