from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reelspace.core.frames import Picture
from reelspace.encoders.load import load_encoder
from reelspace.encoders.models.sscd import Sscd, gem
from reelspace.encoders.preprocess import crops_of
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument
from reelspace.media import open_video
from tiny_models import sscd_row


@pytest.fixture
def row(tmp_path: Path) -> EncoderSpec:
    return sscd_row(tmp_path)


def test_gem_is_the_formula() -> None:
    maps = torch.randn(2, 3, 4, 5) * 30
    expected = np.zeros((2, 3))
    for b in range(2):
        for c in range(3):
            cubes = [max(float(value), 1e-6) ** 3 for value in maps[b, c].flatten()]
            expected[b, c] = (sum(cubes) / len(cubes)) ** (1 / 3)
    np.testing.assert_allclose(gem(maps).numpy(), expected, rtol=1e-5)
    assert torch.isfinite(gem(maps.half() * 10)).all()  # whose cubes are beyond half precision


def test_the_checkpoint_s_layout_is_torchvision_s_behind_backbone() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Sscd().state_dict().items()}
    assert all(name.startswith("backbone.") for name in shapes)
    assert len(shapes) == 320
    assert shapes["backbone.fc.weight"] == (512, 2048)
    assert shapes["backbone.layer4.2.conv3.weight"] == (2048, 512, 1, 1)


def test_frames_of_any_shape_are_unit_vectors(row: EncoderSpec) -> None:
    encoder = load_encoder(row, device="cpu")
    clips = np.random.default_rng(0).integers(0, 256, (3, 1, 96, 128, 3), dtype=np.uint8)
    for pictures in (clips, clips.swapaxes(2, 3)):
        frames = encoder.encode(pictures)["frames"]
        assert frames.shape == (3, 512)
        np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(frames[1:2], encoder.encode(pictures[1:2])["frames"], atol=1e-5)


def test_clips_of_several_frames_are_refused(row: EncoderSpec) -> None:
    with pytest.raises(InvalidArgument, match=r"\(B, 1, H, W, 3\)"):
        load_encoder(row, device="cpu").encode(np.zeros((1, 2, 64, 64, 3), np.uint8))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near(row: EncoderSpec, dtype: str) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (3, 1, 96, 128, 3), dtype=np.uint8)
    exact = load_encoder(row, device="cpu").encode(clips)["frames"]
    half = load_encoder(row, device="cpu", dtype=dtype).encode(clips)["frames"]  # type: ignore[arg-type]
    assert (exact * half).sum(axis=1).min() > 0.999


def test_a_file_of_another_model_is_refused(row: EncoderSpec) -> None:
    with pytest.raises(FormatError, match=r"missing: backbone\.layer1\.1\.conv1\.weight.*; unexpected|missing"):
        load_encoder(replace(row, options={"depths": [2, 1, 1, 1], "width": 8}), device="cpu")
    with pytest.raises(FormatError, match=r"unexpected: backbone\.layer4\.0\.conv1\.weight"):
        load_encoder(replace(row, options={"depths": [1, 1, 1], "width": 8}), device="cpu")


def test_a_file_with_more_than_tensors_is_refused(row: EncoderSpec, tmp_path: Path) -> None:
    (file,) = row.weights.files
    torch.save({"epoch": 3, "weights": {}}, tmp_path / file.name)
    with pytest.raises(FormatError, match="not a state dict of tensors alone"):
        load_encoder(row, device="cpu")
    (tmp_path / file.name).write_bytes(b"<html>not found</html>")
    with pytest.raises(FormatError, match="holds no tensors"):
        load_encoder(row, device="cpu")


def test_real_footage_is_described_at_its_own_shape(row: EncoderSpec, shared: Path) -> None:
    with open_video(shared / "videos" / "natural" / "chaplin_bw_street.mp4") as reader:
        frames = np.stack([frame.pixels for frame in reader.frames_at_rate(1, Picture())])
    clips = crops_of(frames, row.preprocessing)[0][:, None]
    assert min(clips.shape[2:4]) == 288
    found = load_encoder(row, device="cpu").encode(clips)["frames"]
    assert found.shape == (len(frames), 512)
    assert np.isfinite(found).all()
