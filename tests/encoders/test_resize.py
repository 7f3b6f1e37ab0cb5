"""Pillow is the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from reelspace.encoders.resize import resize, resize_exactly

KERNELS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pillow(picture: NDArray[np.uint8], shape: tuple[int, int], kernel: str) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], KERNELS[kernel]))


def planes(picture: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def picture_of(tensor: torch.Tensor) -> NDArray[np.uint8]:
    return tensor[0].permute(1, 2, 0).numpy()


side = st.integers(1, 90)


@given(side, side, side, side, st.sampled_from(sorted(KERNELS)))
def test_resizing_on_other_devices_is_that_of_pillow_bit_for_bit(
    height: int, width: int, rows: int, columns: int, kernel: Any
):
    picture = noise(height, width)
    resized = picture_of(resize_exactly(planes(picture), (rows, columns), kernel=kernel))
    assert np.array_equal(resized, pillow(picture, (rows, columns), kernel))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("before", "after"),
    [((720, 1280), (224, 398)), ((1280, 720), (398, 224)), ((480, 270), (224, 224)), ((720, 1280), (224, 224))],
)
def test_shrinking_on_the_processor_is_within_a_level_of_pillow(
    before: tuple[int, int], after: tuple[int, int], kernel: Any
):
    picture = noise(*before)
    resized = picture_of(resize(planes(picture), after, kernel=kernel, antialias=True))
    apart = np.abs(resized.astype(int) - pillow(picture, after, kernel))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("after", [(240, 426), (96, 300), (90, 20), (1, 1)])
def test_enlarging_on_the_processor_is_exact(after: tuple[int, int], kernel: Any):
    picture = noise(90, 160)
    resized = picture_of(resize(planes(picture), (max(after[0], 91), after[1]), kernel=kernel, antialias=True))
    assert np.array_equal(resized, pillow(picture, (max(after[0], 91), after[1]), kernel))


@pytest.mark.parametrize("kernel", KERNELS)
def test_plain_interpolation_is_rounded_not_cut_off(kernel: Any):
    pictures = torch.stack([planes(noise(203, 361, seed))[0] for seed in range(3)])
    floats = functional.interpolate(pictures.float(), size=(64, 64), mode=kernel).clamp(0, 255)
    apart = (resize(pictures, (64, 64), kernel=kernel, antialias=False) - floats).abs()
    assert apart.max() <= 0.5


def test_the_same_size_is_the_same_picture():
    pictures = planes(noise(30, 40))
    assert torch.equal(resize(pictures, (30, 40), kernel="bicubic", antialias=True), pictures)
    assert torch.equal(resize_exactly(pictures, (30, 40), kernel="bicubic"), pictures)
