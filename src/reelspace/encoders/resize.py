"""Resizing pictures as Pillow does, without Pillow, on any device.

Pillow resizes one axis, rounds, then the other, with weights of 22 bits. So does this where it enlarges and on
other devices than the CPU: bit for bit. Where pictures shrink on the CPU the two passes are torch's uint8 kernels,
200 times faster, with weights of fewer bits: of noise, 1 % of the values (up to 3 % of the pixels) are a level off,
and one bicubic value in 200,000 is two.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Filter", "resize", "resize_exactly"]

Filter = Literal["bilinear", "bicubic"]

_WEIGHT_BITS = 22  # Pillow's PRECISION_BITS: a weight, 8 bits of a level, sign and overshoot fill 32 bits
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def resize(pictures: Tensor, shape: tuple[int, int], *, kernel: Filter, antialias: bool) -> Tensor:
    """uint8 (N, C, H, W) -> uint8 (N, C, *shape).

    Without ``antialias`` it is plain interpolation between neighbours, as OpenCV does it, rounded.
    """
    height, width = pictures.shape[-2:]
    if (height, width) == shape:
        return pictures
    if not antialias:
        return torch.cat([_interpolated(picture, shape, kernel) for picture in pictures.split(1)])
    if pictures.device.type == "cpu" and shape[0] <= height and shape[1] <= width:
        for axis in _order(pictures, shape):
            step = list(pictures.shape[-2:])
            step[axis] = shape[axis]
            pictures = F.interpolate(pictures, size=step, mode=kernel, antialias=True)
        return pictures
    return resize_exactly(pictures, shape, kernel=kernel)


def resize_exactly(pictures: Tensor, shape: tuple[int, int], *, kernel: Filter) -> Tensor:
    """What Pillow gives, bit for bit: uint8 (N, C, H, W) -> uint8 (N, C, *shape)."""
    for axis in _order(pictures, shape):
        pictures = _resized_along(axis, pictures, shape[axis], kernel)
    return pictures


def _order(pictures: Tensor, shape: tuple[int, int]) -> tuple[int, int]:
    """The width is first, unless the height shrinks by more than twice as many pixels.

    So does Pillow since 13 (python-pillow/Pillow#9549); before, and in torchvision, the width is always first. For
    pictures whose shape is kept the two differ only where they are more than twice as high as wide.
    """
    height, width = pictures.shape[-2:]
    return (-2, -1) if height - shape[0] > max(0, 2 * (width - shape[1])) else (-1, -2)


def _interpolated(picture: Tensor, shape: tuple[int, int], kernel: Filter) -> Tensor:
    levels = F.interpolate(picture.float(), size=shape, mode=kernel)  # torch's uint8 kernel would cut fractions off
    return levels.round_().clamp_(0, 255).to(torch.uint8)


def _resized_along(axis: int, pictures: Tensor, size: int, kernel: Filter) -> Tensor:
    """One pass of Pillow's `ImagingResample`, in its own integers."""
    length = pictures.shape[axis]
    if length == size:
        return pictures
    first, weights = (torch.from_numpy(array).to(pictures.device) for array in _taps(length, size, kernel))
    spread = (-1, 1) if axis == -2 else (-1,)
    levels = pictures.int()
    total = torch.tensor(1 << _WEIGHT_BITS - 1, dtype=torch.int32, device=pictures.device)  # one half
    for tap in range(weights.shape[1]):
        place = (first + tap).clamp(max=length - 1)
        total = total + levels.index_select(axis, place) * weights[:, tap].view(spread)
    return (total >> _WEIGHT_BITS).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=64)
def _taps(length: int, size: int, kernel: Filter) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The first neighbour of each of ``size`` samples (size,), and the weights of it and those after (size, K)."""
    scale = length / size
    stretch = max(scale, 1.0)
    support = _SUPPORT[kernel] * stretch
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + support + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    weights = _KERNELS[kernel](np.abs(places - centres[:, None] + 0.5) / stretch)
    weights[places >= end[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return first, np.trunc(weights * (1 << _WEIGHT_BITS) + np.copysign(0.5, weights)).astype(np.int32)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(1 - x, 0, None)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys 1981 with a = -1/2, as Pillow; OpenCV and plain interpolation take -3/4."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_KERNELS = {"bilinear": _triangle, "bicubic": _cubic}
