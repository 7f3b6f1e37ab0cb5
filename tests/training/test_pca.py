"""A whitening learned from real footage, with a small seeded net in the published layout."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reelspace.encoders import catalog
from reelspace.encoders.catalog.rmac import rmac_with_pca
from reelspace.encoders.load import load_encoder
from reelspace.encoders.pca import Pca, load_pca
from reelspace.encoders.resnet import BasicBlock, ResNet
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights
from reelspace.errors import InvalidArgument
from reelspace.training import pca as training
from reelspace.training.pca import region_vectors, train_pca

CHANNELS = 64


@pytest.fixture
def plain(tmp_path: Path) -> EncoderSpec:
    torch.manual_seed(0)
    net = tmp_path / "net"
    net.mkdir()
    save_file(ResNet(BasicBlock, (3, 4, 6, 3), width=CHANNELS // 8).state_dict(), net / "model.safetensors")
    row = catalog.find("rmac-resnet34-plain")
    return replace(
        row,
        outputs={"frames": CHANNELS},
        weights=Weights((WeightFile("model.safetensors"),), folder=str(net)),
        options={**row.options, "width": CHANNELS // 8},
    )


@pytest.fixture
def videos(shared: Path) -> list[str]:
    folder = shared / "videos" / "natural"
    return [str(folder / name) for name in ("dog_collie_256.mp4", "bear_cage_vp9.webm")]


def test_regions_of_the_videos_come_out_whitened(plain: EncoderSpec, videos: list[str], tmp_path: Path) -> None:
    row = train_pca(videos, tmp_path / "mine", row=plain, frames_per_second=2, dimensions=16, device="cpu")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["model.safetensors", "pca.npz"]
    regions = np.concatenate(list(region_vectors(videos, load_encoder(plain, device="cpu"), frames_per_second=2)))
    whitened = load_pca(tmp_path / "mine" / "pca.npz")(regions)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(16), atol=0.02)
    encoder = load_encoder(row, device="cpu")
    assert (row.name, dict(row.outputs)) == ("mine", {"frames": 16})
    found = encoder.encode(np.zeros((1, 1, 82, 146, 3), np.uint8))["frames"]
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-5)


def test_a_moved_checkpoint_is_the_same_space(plain: EncoderSpec, videos: list[str], tmp_path: Path) -> None:
    train_pca(videos[:1], tmp_path / "mine", row=plain, dimensions=4, frames_per_second=5, device="cpu")
    (tmp_path / "mine").rename(tmp_path / "moved")
    spaces = []
    for folder in ("moved", "copy"):
        row = rmac_with_pca(tmp_path / folder, name="mine", plain=plain, dimensions=4)
        encoder = load_encoder(row, device="cpu")
        spaces.append(encoder.spec.space("frames", digest=encoder.digest))
        if folder == "moved":
            (tmp_path / "moved").rename(tmp_path / "copy")
    assert spaces[0].fingerprint == spaces[1].fingerprint


def test_a_broken_video_is_named_and_the_others_are_used(
    plain: EncoderSpec, videos: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    encoder = load_encoder(plain, device="cpu")
    with caplog.at_level(logging.INFO, training.__name__):
        mixed = list(region_vectors([str(tmp_path / "broken.mp4"), videos[1]], encoder))
    np.testing.assert_array_equal(np.concatenate(mixed), np.concatenate(list(region_vectors(videos[1:], encoder))))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "broken.mp4" in warnings[0]
    assert "0 frames of it are used" in warnings[0]


def test_too_little_footage_and_whitened_rows_are_refused(
    plain: EncoderSpec, videos: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match="do not tell 64 directions"):
        train_pca(videos[1:], tmp_path / "mine", row=plain, frames_per_second=0.5, device="cpu")
    assert not (tmp_path / "mine").exists()
    with pytest.raises(InvalidArgument, match="without whitening"):
        train_pca(videos, tmp_path / "mine", row=catalog.find("rmac-resnet34"))


def test_the_command_writes_what_the_function_does(
    plain: EncoderSpec, videos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find", lambda name: plain)
    numbers = ["--frames-per-second", "2", "--dimensions", "8", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["pca", *videos, str(tmp_path / "command"), *numbers])
    training.main()
    train_pca(videos, tmp_path / "function", row=plain, frames_per_second=2, dimensions=8, device="cpu")
    by_command, by_function = (load_pca(tmp_path / name / "pca.npz") for name in ("command", "function"))
    assert isinstance(by_command, Pca)
    np.testing.assert_array_equal(by_command.mean, by_function.mean)
    np.testing.assert_array_equal(by_command.projection, by_function.projection)
