"""DINOv2 as a tiny seeded checkpoint in the published layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

import tiny_models
from reelspace.encoders.catalog import dinov2, find
from reelspace.encoders.load import load_encoder
from reelspace.encoders.preprocess import crops_of
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def model() -> Dinov2Model:
    return tiny_models.dinov2()


@pytest.fixture
def row(model: Dinov2Model, tmp_path: Path) -> EncoderSpec:
    return tiny_models.dinov2_row(tmp_path, model)


def _pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 1, 42, 42, 3), dtype=np.uint8)


def test_a_frame_is_the_class_token_behind_the_last_norm(model: Dinov2Model, row: EncoderSpec) -> None:
    pixels = torch.from_numpy((_pictures()[:, 0] / 255 - MEAN) / STD).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(pixels).last_hidden_state[:, 0]
    found = load_encoder(row, device="cpu").encode(_pictures())
    np.testing.assert_allclose(found["frames"], expected, atol=2e-6)


def test_the_published_layout_is_that_of_transformers_4(row: EncoderSpec) -> None:
    names = set(load_file(Path(row.weights.folder or "") / "model.safetensors"))
    assert "encoder.layer.1.attention.attention.query.bias" in names
    assert "encoder.layer.1.attention.output.dense.weight" in names
    assert "encoder.layer.1.layer_scale1.lambda1" in names


def test_half_precision_stays_near(row: EncoderSpec) -> None:
    exact = load_encoder(row, device="cpu").encode(_pictures())["frames"]
    found = load_encoder(row, device="cpu", dtype="bfloat16").encode(_pictures())["frames"]
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_a_tensor_missing_is_named(row: EncoderSpec) -> None:
    path = Path(row.weights.folder or "") / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.1.attention.attention.query.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"1 missing .*encoder\.layer\.1\.attention"):
        load_encoder(row, device="cpu")


def test_pictures_that_patches_do_not_tile_are_refused(row: EncoderSpec) -> None:
    """The convolution would leave out the last rows and columns without a word."""
    with pytest.raises(FormatError, match="patches of 14 pixels do not tile pictures of 48"):
        load_encoder(replace(row, preprocessing=replace(row.preprocessing, crop=48)), device="cpu")
    with pytest.raises(InvalidArgument, match="was made for clips"):
        load_encoder(row, device="cpu").encode(_pictures().repeat(2, axis=1))


def test_it_has_no_text_tower(row: EncoderSpec) -> None:
    with pytest.raises(InvalidArgument, match="no text tower"):
        load_encoder(row, device="cpu").encode_text(["a dog"])


def test_pixels_are_those_of_the_processor_of_transformers() -> None:
    processor = BitImageProcessorPil(size={"shortest_edge": 256}, image_mean=list(MEAN), image_std=list(STD))
    picture = np.random.default_rng(2).integers(0, 256, (270, 480, 3), dtype=np.uint8)
    expected = processor([picture], return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    (found,) = crops_of(picture[None], find("dinov2-base").preprocessing)[0]
    levels = np.abs((found / 255 - MEAN) / STD - expected) * STD * 255
    assert levels.max() < 2.01
    assert (levels > 0.01).mean() < 0.02


# (width, layers, heads, parameters: of a file of 1,217,522,888 bytes for the large one)
FULL_SIZE = {
    "dinov2-small": (384, 12, 6, 22_056_576),
    "dinov2-base": (768, 12, 12, 86_580_480),
    "dinov2-large": (1024, 24, 16, 304_368_640),
}


@pytest.mark.parametrize("row", dinov2.ROWS, ids=lambda row: row.name)
def test_rows_name_the_sizes_of_the_published_models(row: EncoderSpec) -> None:
    width, layers, heads, parameters = FULL_SIZE[row.name]
    config = Dinov2Config(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, image_size=518, patch_size=14
    )
    with torch.device("meta"):
        model = Dinov2Model(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert dict(row.outputs) == {"frames": width}
    assert row.text_output is None
    assert row.weights.commercial
