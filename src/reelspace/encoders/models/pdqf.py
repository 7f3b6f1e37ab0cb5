"""PDQF: 256 low frequencies of a 64x64 picture, the frame feature of TMK (Facebook 2019, hashing.pdf).

Equal to ThreatExchange's ``tmk/cpp`` on the same pixels: bit for bit where the picture is nearly flat, elsewhere to
the last digits of float32. A picture without structure (one colour, or change along one direction only) has a true
feature of zero, and what the C++ tool stores for it is the rounding noise of its sums, which TMK then scales to
unit length. So that our hashes of footage that fades to white stay compatible, such pictures are computed again in
that tool's order of operations, which gives the same noise; their weight is 0, so that nothing else takes it for
evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import FfmpegRate
from reelspace.core.space import Space
from reelspace.encoders.dct import dct_rows
from reelspace.encoders.encoder import Described
from reelspace.errors import InvalidArgument

__all__ = ["DIHEDRAL", "FRAMES_PER_SECOND", "Pdqf", "pdqf"]

FRAMES_PER_SECOND = 15
"""The rate TMK counts frames at."""

_SIZE, _KEPT = 64, 16
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# The scale is rounded to float32 before the product, as in the C++ tool: that decides the last bit of the table.
_DCT = (np.float32(np.sqrt(2.0 / _SIZE)) * (dct_rows(_KEPT, _SIZE) / np.sqrt(2.0 / _SIZE))).astype(np.float32)
_LUMA_DCT = np.ascontiguousarray((_DCT[:, :, None] * _LUMA).reshape(_KEPT, _SIZE * 3).T)  # (64*3, 16)

_CHUNK = 8  # frames converted to float32 at once: 390 kB stay in the second-level cache
# Length of a feature whose frequencies hold one gray level of contrast; the rounding of the fast way is 1e-5 of it.
_FAINT = 64.0


def pdqf(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """PDQF features of 64x64 pictures: uint8 (N, 64, 64, 3) to float32 (N, 256), row-major 16x16, not normalised.

    ``D Y D^T`` with luma ``Y = 0.299 R + 0.587 G + 0.114 B`` in 0..255 and ``D`` rows 1..16 of the 64-point DCT.
    Gray pictures (N, 64, 64) are taken as luma.

    Raises:
        InvalidArgument: for another shape or dtype.
    """
    if rgb.dtype == np.uint8 and rgb.shape[1:] == (_SIZE, _SIZE):
        luma: NDArray[np.float32] = (_DCT @ rgb.astype(np.float32) @ _DCT.T).reshape(len(rgb), _KEPT * _KEPT)
        return luma
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[1:] != (_SIZE, _SIZE, 3):
        raise InvalidArgument(f"PDQF takes uint8 pictures (N, 64, 64, 3), got {rgb.dtype} {rgb.shape}")
    count = len(rgb)
    rows = rgb.reshape(count, _SIZE, _SIZE * 3)
    columns = np.empty((count, _KEPT, _SIZE * 3), dtype=np.float32)
    chunk = np.empty((_CHUNK, _SIZE, _SIZE * 3), dtype=np.float32)
    for start in range(0, count, _CHUNK):
        part = rows[start : start + _CHUNK]
        pixels = chunk[: len(part)]
        np.copyto(pixels, part)
        np.matmul(_DCT, pixels, out=columns[start : start + _CHUNK])  # D X, three channels side by side
    # Luma is linear, so it is taken by the same product as the second transform: three times fewer passes over
    # pixels.
    features: NDArray[np.float32] = (columns.reshape(-1, _SIZE * 3) @ _LUMA_DCT).reshape(count, _KEPT * _KEPT)
    faint = np.linalg.norm(features, axis=1) < _FAINT
    if faint.any():
        features[faint] = _in_reference_order(rgb[faint])
    return features


def _in_reference_order(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The same features by the C++ tool's sequence of float32 roundings: equal to its output bit for bit."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    half = np.zeros((len(rgb), _KEPT, _SIZE), dtype=np.float32)
    full = np.zeros((len(rgb), _KEPT, _KEPT), dtype=np.float32)
    for k in range(_SIZE):
        half += _DCT[:, k, None] * luma[:, None, k, :]
    for k in range(_SIZE):
        full += half[:, :, k, None] * _DCT[:, k]
    return full.reshape(len(rgb), _KEPT * _KEPT)


class Pdqf:
    """PDQF of the frames that ``ffmpeg -r 15`` keeps; the vectors are raw, as TMK needs them.

    Args:
        fast: for readers opened with ``fast=True``, which leave out frames that no other refers to, and the loop
            filter; the picture is the decoder's own luma, scaled by areas. TMK descriptors keep a cosine above
            0.999 to the exact ones. The vectors have an identity of their own and are not mixed with exact ones.
    """

    def __init__(self, *, fast: bool = False) -> None:
        picture = Picture(_SIZE, _SIZE, "gray", "area") if fast else Picture(_SIZE, _SIZE, exact=True)
        self._tap = Tap(FfmpegRate(FRAMES_PER_SECOND), picture)
        self._space = Space(
            "pdqf",
            _KEPT * _KEPT,
            {
                "frames": f"ffmpeg -r {FRAMES_PER_SECOND}, exact durations",
                "decoding": "reference frames only, no loop filter" if fast else "complete",
                "picture": f"{_SIZE}x{_SIZE} " + ("luma, area" if fast else "rgb24 bicubic, ffmpeg's bytes"),
                "luma": [0.299, 0.587, 0.114],
                "normalised": False,
            },
        )

    @property
    def space(self) -> Space:
        """The identity of the vectors."""
        return self._space

    @property
    def tap(self) -> Tap:
        """64x64 pictures at 15 per second: RGB, or luma when ``fast``."""
        return self._tap

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Features of uint8 (N, 64, 64, 3) or (N, 64, 64), one view per frame.

        The weight is 1, or 0 where the picture's structure is fainter than one gray level: black, white, one
        colour.
        """
        features = pdqf(frames)
        weights = (np.linalg.norm(features, axis=1) >= _FAINT).astype(np.float32)
        return Described(features[:, None, :], weights[:, None])


_ODD = np.where(np.arange(_KEPT) % 2 == 0, np.float32(-1), np.float32(1))  # frequency i + 1 is odd for even i


def _turned(*, transpose: bool, flip: bool, mirror: bool) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    signs = np.outer(_ODD if flip else np.ones_like(_ODD), _ODD if mirror else np.ones_like(_ODD))

    def turn(features: NDArray[np.float32]) -> NDArray[np.float32]:
        grid = features.reshape(*features.shape[:-1], _KEPT, _KEPT)
        grid = (grid.swapaxes(-1, -2) if transpose else grid) * signs
        turned: NDArray[np.float32] = grid.reshape(features.shape)
        return turned

    return turn


DIHEDRAL: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = MappingProxyType(
    {
        "identity": _turned(transpose=False, flip=False, mirror=False),
        "mirror": _turned(transpose=False, flip=False, mirror=True),
        "flip": _turned(transpose=False, flip=True, mirror=False),
        "rotate-180": _turned(transpose=False, flip=True, mirror=True),
        "transpose": _turned(transpose=True, flip=False, mirror=False),
        "rotate-90": _turned(transpose=True, flip=False, mirror=True),
        "rotate-270": _turned(transpose=True, flip=True, mirror=False),
        "transverse": _turned(transpose=True, flip=True, mirror=True),
    }
)
"""The feature of a mirrored or turned picture from the feature of the picture, float32 (..., 256) to the same
shape.

``mirror`` is left to right, ``flip`` top to bottom, rotations are clockwise: a mirrored cosine of odd frequency
changes its sign, a transposed picture transposes its frequencies. Exact for the 64x64 picture, whatever the video's
own shape.
"""
