"""reelprint: a frame descriptor learned from pictures drawn by formula, shipped inside the package.

A small residual net (He et al. 2016) with GeM pooling (Radenovic et al. 2018) over 64 x 64 RGB, trained by
`reelspace.training.descriptor` to tell a picture, however cropped, bordered, mirrored, turned, shrunk or coloured
anew, from every other. No photograph and no film was seen in training: weights/MODEL_CARD.md.

It runs on numpy alone, in matrix products (`reelspace.encoders.convolution`). Pictures on their way to the net are
float32 (N, 3, 64, 64), gray levels in [0, 255].
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtRate
from reelspace.core.space import Space
from reelspace.encoders.borders import inside_borders
from reelspace.encoders.convolution import every_second, in_tiles, rectified, tile_weights, untiled
from reelspace.encoders.encoder import Described
from reelspace.encoders.panes import lasting_panes
from reelspace.errors import FormatError

__all__ = ["DIMENSIONS", "Net", "Reelprint", "descriptors"]

DIMENSIONS = 256
_SHA256 = "907a8372a622b25ecf2334397a5988633b1b1adaf4eacf14f47924408f9dea4c"
_NET_SIDE = 64  # rows and columns the net reads
_TAP_SIDE = 128  # and of the picture asked for, so that what is inside borders is still sharp
_PANES = 2  # pictures in a picture that are described
_FLAT = 2.0  # standard deviation of gray levels at which a picture begins to be evidence
_CLEAR = 12.0  # and at which it is full evidence
_BLOCKS = 8  # per side, over which structure is counted
_DETAIL = 3.0  # standard deviation of gray levels at which a block shows something
_EMPTY = 0.05  # share of the blocks that show something, at which a picture begins to be evidence
_FULL = 0.3  # and at which it is full evidence
_NOISE = 0.7  # mean difference of gray levels in every block, up to which a picture is the one before
_EARLY = 8  # pictures at once while they are large, so that what they need stays in the processor's cache,
_LATE = 64  # and when they are small, so that the weights are read for many
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK_MEANS = np.kron(np.eye(_BLOCKS), np.full((_NET_SIDE // _BLOCKS, 1), _BLOCKS / _NET_SIDE)).astype(np.float32)


@dataclass(frozen=True)
class Reelprint:
    """Up to four 256-d vectors per frame: the whole picture, it without its uniform borders, and two panes.

    Views 1, 2 and 3 have weight 0 (are not stored) where there are no borders, and no pictures in the picture. Both
    must stand for a second, as far as the given frames reach: hand over at least a few seconds at once. Mirrored
    copies need no view of their own: the net was taught that a picture and its mirror image are one.

    Attributes:
        frames_per_second: how often a frame is described. At 5 a video of plain pictures takes 9.2 MB per hour,
            4.7 MB in a library of int8.
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
        """Descriptors of consecutive frames: uint8 (N, 128, 128, 3) -> vectors (N, 4, 256), weights (N, 4).

        A picture that repeats the one before, but for what coding changes, has its very vector.
        """
        vectors = np.zeros((len(frames), 2 + _PANES, DIMENSIONS), np.float32)
        weights = np.zeros((len(frames), 2 + _PANES), np.float32)
        gray = _gray(frames)
        second = max(1, round(self.frames_per_second))
        cuts: list[tuple[slice | NDArray[np.bool_], int, NDArray[np.float32]]] = [(slice(None), 0, _halved(frames))]
        for box, framed in inside_borders(gray, window=second):
            cuts.append((framed, 1, _cut(frames[framed], box)))
        for stretch, boxes in lasting_panes(gray, window=second, at_most=_PANES):
            for view, box in enumerate(boxes, start=2):
                cuts.append((stretch, view, _cut(frames[stretch], box)))
        described, evidence = _describe(np.concatenate([pictures for _, _, pictures in cuts]))
        first = 0
        for rows, view, pictures in cuts:
            part = slice(first, first := first + len(pictures))
            vectors[rows, view], weights[rows, view] = described[part], evidence[part]
        return Described(vectors, weights)


def descriptors(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """The net: float32 (N, 64, 64, 3) in [0, 1] -> float32 (N, 256) of unit length."""
    return _net()(np.multiply(pictures.transpose(0, 3, 1, 2), 255, dtype=np.float32))


class Net:
    """The net, in numpy.

    Args:
        arrays: the weights, as `reelspace.training.descriptor.folded` gives them.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        net = {name: values.astype(np.float32) for name, values in arrays.items()}
        # It was trained on (p / 255 - 0.5) * 4 with zeros around; here p itself comes in, with 127.5 around.
        stem = net["stem.weight"] * np.float32(4 / 255)  # (5, 5, 3, out)
        self._stem = np.ascontiguousarray(stem.transpose(2, 0, 1, 3)).reshape(75, -1)
        self._stem_bias = net["stem.bias"] - 127.5 * stem.sum(axis=(0, 1, 2))
        self._first = [(net[f"{block}.first.weight"], net[f"{block}.first.bias"]) for block in range(3)]
        self._second = [tile_weights(net[f"{block}.second.weight"]) for block in range(3)]
        self._short = [net[f"{block}.short.weight"][0, 0] for block in range(3)]
        self._bias = [net[f"{block}.second.bias"] + net[f"{block}.short.bias"] for block in range(3)]
        self._head, self._head_bias = net["head.weight"], net["head.bias"]

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures (N, 3, 64, 64) in [0, 255] -> float32 (N, 256) of unit length."""
        found = np.empty((len(pictures), self._head.shape[1]), np.float32)
        for first in range(0, len(pictures), _LATE):
            some = pictures[first : first + _LATE]
            early = [self._early(some[start : start + _EARLY]) for start in range(0, len(some), _EARLY)]
            x = self._block(np.concatenate(early, axis=2), 2)[1:, 1:]
            x = np.maximum(x, 1e-6).reshape(-1, *x.shape[2:])  # (4, 4, N, C) -> (16, N, C)
            pooled = np.cbrt((x * x * x).mean(axis=0))
            np.add(pooled @ self._head, self._head_bias, out=found[first : first + _LATE])
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    def _early(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """The stem and two blocks: (n, 3, 64, 64) -> (1 + 8, 1 + 8, n, 128)."""
        n, half = len(pictures), _NET_SIDE // 2
        # Even and odd rows and columns apart, the pictures beside one another.
        parted = np.full((3, 2, 2, half + 2, half + 2, n), 127.5, np.float32)
        parted[:, :, :, 1:-1, 1:-1] = pictures.reshape(n, 3, half, 2, half, 2).transpose(1, 3, 5, 2, 4, 0)
        windows = np.empty((3, 5, 5, half, half, n), np.float32)
        for row, column in product(range(5), range(5)):
            down, across = row // 2, column // 2
            windows[:, row, column] = parted[:, row % 2, column % 2, down : down + half, across : across + half]
        x = (windows.reshape(75, -1).T @ self._stem).reshape(half, half, n, -1)
        x = rectified(x, self._stem_bias, before=1)
        return self._block(self._block(x, 0), 1)

    def _block(self, x: NDArray[np.float32], block: int) -> NDArray[np.float32]:
        """A residual block: (1 + H, 1 + W, N, in) -> (1 + H / 2, 1 + W / 2, N, out)."""
        weight, bias = self._first[block]
        inner = in_tiles(rectified(every_second(x, weight), bias, before=1, after=1), self._second[block])
        places = np.ascontiguousarray(x[1::2, 1::2])
        found = (places.reshape(-1, places.shape[-1]) @ self._short[block]).reshape(*places.shape[:-1], -1)
        into = found.reshape(untiled(inner).shape)  # rows and columns as 4s of 4s
        into += untiled(inner)
        return rectified(found, self._bias[block], before=1)


def _describe(pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors (n, 256) and weights (n,) of pictures.

    Flat pictures have weight 0, and so have ramps, plain walls and a lone spot on black: what is alike in them is
    alike in many.
    """
    weights = _evidence(pictures)
    shown = np.flatnonzero(weights > 0)
    vectors = np.zeros((len(pictures), DIMENSIONS), np.float32)
    if len(shown):
        same = shown[_repeated(pictures[shown])]
        fresh, place = np.unique(same, return_inverse=True)
        vectors[shown] = _net()(pictures[fresh])[place]
    return vectors, weights


def _evidence(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much each picture shows, in [0, 1]: (n,)."""
    gray = (_GRAY @ pictures.reshape(len(pictures), 3, -1)).reshape(-1, _NET_SIDE, _NET_SIDE)
    size = _NET_SIDE // _BLOCKS
    blocks = gray.reshape(-1, _BLOCKS, size, _BLOCKS, size).std(axis=(2, 4))  # (n, 8, 8)
    shown_share = (blocks > _DETAIL).mean(axis=(1, 2))
    contrast = np.clip((gray.std(axis=(1, 2)) - _FLAT) / (_CLEAR - _FLAT), 0, 1)
    weights: NDArray[np.float32] = contrast * np.clip((shown_share - _EMPTY) / (_FULL - _EMPTY), 0, 1)
    return weights.astype(np.float32)


def _repeated(pictures: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which picture each one repeats, the first of a row of equal ones; itself where it is new: (n,)."""
    size = _NET_SIDE // _BLOCKS
    same = np.arange(len(pictures))
    for index in range(1, len(pictures)):
        apart = np.abs(pictures[index] - pictures[same[index - 1]]) @ _BLOCK_MEANS  # (3, 64, 8)
        if apart.reshape(3, _BLOCKS, size, _BLOCKS).mean(axis=(0, 2)).max() <= _NOISE:
            same[index] = same[index - 1]
    return same


def _gray(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels: (N, S, S, 3) -> (N, S, S)."""
    gray = np.empty(frames.shape[:3], np.uint8)
    for first in range(0, len(frames), _EARLY):
        some = slice(first, first + _EARLY)
        np.copyto(gray[some], frames[some] @ _GRAY, casting="unsafe")
    return gray


def _halved(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 2 x 2 pixels: (N, 128, 128, 3) -> float32 (N, 3, 64, 64)."""
    pictures = np.empty((len(frames), 3, _NET_SIDE, _NET_SIDE), np.float32)
    lines = frames.reshape(len(frames), _TAP_SIDE, -1)
    for first in range(0, len(frames), _EARLY):
        some = slice(first, first + _EARLY)
        rows = np.add(lines[some, ::2], lines[some, 1::2], dtype=np.uint16)  # (n, 64, 128 * 3)
        pairs = rows.reshape(-1, _NET_SIDE, _NET_SIDE, 2, 3)
        for colour in range(3):
            np.add(pairs[..., 0, colour], pairs[..., 1, colour], out=pictures[some, colour])
    pictures *= 0.25
    return pictures


def _cut(frames: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """A box of pixels scaled to the net's size: float32 (N, 3, 64, 64)."""
    top, bottom, left, right = box
    pixels = frames[:, top:bottom, left:right].astype(np.float32).reshape(len(frames), bottom - top, -1)
    down = (_scaling(bottom - top) @ pixels).reshape(len(frames), _NET_SIDE, right - left, 3)
    return np.ascontiguousarray(down.transpose(0, 3, 1, 2)) @ _scaling(right - left).T


@lru_cache(maxsize=256)
def _scaling(pixels: int) -> NDArray[np.float32]:
    """A line of pixels -> 64, each the mean of four points between pixel centres: (64, pixels)."""
    at = np.clip((np.arange(_NET_SIDE * 4) + 0.5) * pixels / (_NET_SIDE * 4) - 0.5, 0, pixels - 1)
    points = np.maximum(1 - np.abs(at[:, None] - np.arange(pixels)), 0)
    scaling: NDArray[np.float32] = points.reshape(_NET_SIDE, 4, pixels).mean(axis=1).astype(np.float32)
    return scaling


@lru_cache(maxsize=1)
def _net() -> Net:
    """The shipped net, its weights checked.

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
        return Net(arrays)
