"""reelprint: a frame descriptor learned from pictures drawn by formula, shipped inside the package.

A small residual net (He et al. 2016) with GeM pooling (Radenovic et al. 2018) over 64 x 64 RGB, trained by
`reelspace.training.descriptor` to tell a picture, however cropped, bordered, mirrored, turned, shrunk or coloured
anew, from every other. No photograph and no film was seen in training: weights/MODEL_CARD.md.

It runs on numpy alone: each convolution is one matrix product over the windows of the picture.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtRate
from reelspace.core.space import Space
from reelspace.encoders.borders import inside_borders
from reelspace.encoders.encoder import Described
from reelspace.encoders.panes import lasting_panes
from reelspace.errors import FormatError

__all__ = ["DIMENSIONS", "Reelprint", "descriptors"]

DIMENSIONS = 256
_SHA256 = "1e7dac1d0547f9886e3fb3d094ef563a90050c98b18a66f4cde9cce76ac1b78c"
_NET_SIDE = 64  # rows and columns the net reads
_TAP_SIDE = 128  # and of the picture asked for, so that what is inside borders is still sharp
_PANES = 2  # pictures in a picture that are described
_FLAT = 2.0  # standard deviation of gray levels at which a picture begins to be evidence
_CLEAR = 12.0  # and at which it is full evidence
_BLOCKS = 8  # per side, over which structure is counted
_DETAIL = 3.0  # standard deviation of gray levels at which a block shows something
_EMPTY = 0.05  # share of the blocks that show something, at which a picture begins to be evidence
_FULL = 0.3  # and at which it is full evidence
_AT_ONCE = 16  # frames per matrix product: what they need stays in the processor's cache


@dataclass(frozen=True)
class Reelprint:
    """Up to four 256-d vectors per frame: the whole picture, it without its uniform borders, and two panes.

    Views 1, 2 and 3 have weight 0 (are not stored) where there are no borders, and no pictures in the picture. Both
    must stand for a second, as far as the given frames reach: hand over at least a few seconds at once. Mirrored
    copies need no view of their own: the net was taught that a picture and its mirror image are one.

    Attributes:
        frames_per_second: how often a frame is described. At 5 a video of plain pictures takes 9.2 MB per hour.
    """

    frames_per_second: float = 5.0
    space: Space = field(init=False)
    tap: Tap = field(init=False)

    def __post_init__(self) -> None:
        parameters = {
            "weights": _SHA256,
            "frames_per_second": self.frames_per_second,
            "side_pixels": _TAP_SIDE,
            "filter": "area",
            "views": ["whole", "without borders", "pane", "pane"],
            "evidence": [_FLAT, _CLEAR, _DETAIL, _EMPTY, _FULL],
        }
        object.__setattr__(self, "space", Space("reelprint", DIMENSIONS, parameters))
        picture = Picture(_TAP_SIDE, _TAP_SIDE, "rgb24", "area")
        object.__setattr__(self, "tap", Tap(AtRate(self.frames_per_second), picture))

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Descriptors of consecutive frames: uint8 (N, 128, 128, 3) -> vectors (N, 4, 256), weights (N, 4)."""
        vectors = np.zeros((len(frames), 2 + _PANES, DIMENSIONS), np.float32)
        weights = np.zeros((len(frames), 2 + _PANES), np.float32)
        vectors[:, 0], weights[:, 0] = _describe(_halved(frames))
        gray = (frames @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)
        second = max(1, round(self.frames_per_second))
        for box, rows in inside_borders(gray, window=second):
            vectors[rows, 1], weights[rows, 1] = _describe(_cut(frames[rows], box))
        for stretch, boxes in lasting_panes(gray, window=second, at_most=_PANES):
            for view, box in enumerate(boxes, start=2):
                vectors[stretch, view], weights[stretch, view] = _describe(_cut(frames[stretch], box))
        return Described(vectors, weights)


def descriptors(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """The net: float32 (N, 64, 64, 3) in [0, 1] -> float32 (N, 256) of unit length."""
    net = _weights()
    found = np.empty((len(pictures), DIMENSIONS), np.float32)
    for first in range(0, len(pictures), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        x = _convolved((pictures[some] - 0.5) * 4, net, "stem", stride=2)
        np.maximum(x, 0, out=x)
        for block in range(3):
            inner = _convolved(x, net, f"{block}.first", stride=2)
            np.maximum(inner, 0, out=inner)
            inner = _convolved(inner, net, f"{block}.second", stride=1)
            inner += _convolved(x, net, f"{block}.short", stride=2)
            x = np.maximum(inner, 0, out=inner)
        pooled = np.cbrt((np.maximum(x, 1e-6) ** 3).mean(axis=(1, 2)))
        found[some] = pooled @ net["head.weight"] + net["head.bias"]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def _convolved(
    x: NDArray[np.float32], net: dict[str, NDArray[np.float32]], name: str, *, stride: int
) -> NDArray[np.float32]:
    """A convolution with its bias, zeros around: (N, H, W, in) -> (N, H / stride, W / stride, out)."""
    weight, bias = net[f"{name}.weight"], net[f"{name}.bias"]
    size, _, deep, out = weight.shape
    n, height, width, _ = x.shape
    rows, columns = height // stride, width // stride
    if size == 1:
        windows = np.ascontiguousarray(x[:, ::stride, ::stride])
    else:
        around = size // 2
        padded = np.zeros((n, height + 2 * around, width + 2 * around, deep), np.float32)
        padded[:, around:-around, around:-around] = x
        s = padded.strides
        windows = np.lib.stride_tricks.as_strided(  # a row of a window is contiguous: size * in numbers
            padded, (n, rows, columns, size, size * deep), (s[0], stride * s[1], stride * s[2], s[1], s[3])
        )
    product = windows.reshape(n * rows * columns, -1) @ weight.reshape(-1, out)
    product += bias
    return product.reshape(n, rows, columns, out)


def _describe(pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors (n, 256) and weights (n,) of pictures (n, 64, 64, 3) in [0, 255].

    Flat pictures have weight 0, and so have ramps, plain walls and a lone spot on black: what is alike in them is
    alike in many.
    """
    gray = pictures @ np.array([0.299, 0.587, 0.114], np.float32)
    size = _NET_SIDE // _BLOCKS
    blocks = gray.reshape(-1, _BLOCKS, size, _BLOCKS, size).std(axis=(2, 4))  # (n, 8, 8)
    shown_share = (blocks > _DETAIL).mean(axis=(1, 2))
    contrast = np.clip((gray.std(axis=(1, 2)) - _FLAT) / (_CLEAR - _FLAT), 0, 1)
    weights = (contrast * np.clip((shown_share - _EMPTY) / (_FULL - _EMPTY), 0, 1)).astype(np.float32)
    vectors = np.zeros((len(pictures), DIMENSIONS), np.float32)
    shown = weights > 0
    if shown.any():
        vectors[shown] = descriptors(pictures[shown] / 255)
    return vectors, weights


def _halved(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 2 x 2 pixels: (N, 128, 128, 3) -> float32 (N, 64, 64, 3)."""
    wide = frames.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    return np.multiply(rows[:, :, ::2] + rows[:, :, 1::2], 0.25, dtype=np.float32)


def _cut(frames: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """A box of pixels scaled to the net's size: float32 (N, 64, 64, 3)."""
    top, bottom, left, right = box
    across = np.einsum(
        "xj,nijc->nixc", _scaling(right - left), frames[:, top:bottom, left:right].astype(np.float32), optimize=True
    )
    return np.ascontiguousarray(
        np.einsum("yi,nixc->nyxc", _scaling(bottom - top), across, optimize=True), np.float32
    )


@lru_cache(maxsize=256)
def _scaling(pixels: int) -> NDArray[np.float32]:
    """A line of pixels -> 64, each the mean of four points between pixel centres: (64, pixels)."""
    at = np.clip((np.arange(_NET_SIDE * 4) + 0.5) * pixels / (_NET_SIDE * 4) - 0.5, 0, pixels - 1)
    points = np.maximum(1 - np.abs(at[:, None] - np.arange(pixels)), 0)
    scaling: NDArray[np.float32] = points.reshape(_NET_SIDE, 4, pixels).mean(axis=1).astype(np.float32)
    return scaling


@lru_cache(maxsize=1)
def _weights() -> dict[str, NDArray[np.float32]]:
    """The shipped weights, checked.

    Raises:
        FormatError: when the file is not the one this release was made with.
    """
    data = files("reelspace.encoders").joinpath("weights/reelprint.npz").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != _SHA256:
        raise FormatError(
            f"the weights of reelprint have digest {digest[:16]}, not {_SHA256[:16]}: install reelspace again"
        )
    with np.load(io.BytesIO(data)) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}
