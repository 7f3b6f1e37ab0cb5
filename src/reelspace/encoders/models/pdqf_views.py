"""PDQF with views: a frame descriptor for copies that are cropped, bordered, mirrored or part of a larger picture.

Like PDQ (Facebook 2019, hashing.pdf) a frame is its lowest 16 x 16 cosine coefficients. What differs, and why:

- the coefficients with one zero frequency are kept (only the mean is dropped): they carry horizons and verticals;
- each is weighted by a power of its frequency before the vector is brought to unit length, because natural pictures
  fall off about as 1/f and the lowest few coefficients would otherwise decide alone;
- the picture without its uniform borders is described beside the whole one (two views).

Every other view follows from the stored vector: cutting a region out of a picture, mirroring or turning it is a
*linear map* of its coefficients. So crops and pictures in pictures cost nothing to store and are tried at query
time (`looks`, `looks_near`), at any position and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.looks import LinearMap, Look
from reelspace.core.sampling import AtRate
from reelspace.core.space import Space
from reelspace.encoders.borders import inside_borders
from reelspace.encoders.encoder import Described

__all__ = ["PdqfViews", "looks", "looks_near"]

_SIDE = 16  # cosine frequencies kept per axis, 0..15
_POWER = 0.8  # of the frequency; chosen among 0.5, 0.8 and 1 on the tuning half of benchmarks/copies_quality.py
_FLAT = 2.0  # standard deviation of gray levels at which a picture begins to be evidence
_CLEAR = 12.0  # and at which it is full evidence
_FRAMED = 0.5  # of its evidence is left to a picture with borders: a box on plain ground is like many others

Region: TypeAlias = tuple[float, float, float, float]  # top, bottom, left, right in [0, 1]
_WHOLE: Region = (0.0, 1.0, 0.0, 1.0)


_FREQUENCIES = np.hypot(*np.meshgrid(np.arange(_SIDE), np.arange(_SIDE), indexing="ij")).reshape(-1)
_SPECTRUM = (_FREQUENCIES**_POWER).astype(np.float32)  # the factor of each coefficient, 0 for the mean
_PLAIN = np.divide(1.0, _SPECTRUM, out=np.zeros_like(_SPECTRUM), where=_SPECTRUM > 0)  # and its inverse


def _cosines(side: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows 0..side-1 of the cosine basis of [0, 1), orthonormal, at the points ``at``: (side, len(at))."""
    rows: NDArray[np.float64] = np.sqrt(2.0) * np.cos(np.pi * np.arange(side)[:, None] * at)
    rows[0] = 1.0
    return rows


@dataclass(frozen=True)
class PdqfViews:
    """Two 256-d vectors per frame: view 0 the whole picture, view 1 the picture without its uniform borders.

    View 1 has weight 0 (is not stored) where there are no borders. Borders must stand for a second before and
    after, as far as the given frames reach: hand over at least a few seconds at once.

    Attributes:
        frames_per_second: how often a frame is described. At 5 a video without borders takes 9.2 MB per hour.
        side_pixels: rows and columns of the small gray picture the frame is read as.
    """

    frames_per_second: float = 5.0
    side_pixels: int = 128
    space: Space = field(init=False)
    tap: Tap = field(init=False)

    def __post_init__(self) -> None:
        parameters = {
            "frames_per_second": self.frames_per_second,
            "side_pixels": self.side_pixels,
            "filter": "area",
            "coefficients": _SIDE,
            "power": _POWER,
            "views": ["whole", "without borders"],
            "framed": _FRAMED,
        }
        object.__setattr__(self, "space", Space("pdqf-views", _SIDE * _SIDE, parameters))
        picture = Picture(self.side_pixels, self.side_pixels, "gray", "area")
        object.__setattr__(self, "tap", Tap(AtRate(self.frames_per_second), picture))

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Descriptors of consecutive frames: uint8 (N, side, side) gray -> vectors (N, 2, 256), weights (N, 2)."""
        pictures = frames.astype(np.float32)
        vectors = np.zeros((len(frames), 2, _SIDE * _SIDE), np.float32)
        weights = np.zeros((len(frames), 2), np.float32)
        everything = np.ones(len(frames), bool)
        vectors[:, 0], weights[:, 0] = _describe(pictures, (0, self.side_pixels, 0, self.side_pixels), everything)
        for box, rows in inside_borders(frames, window=round(self.frames_per_second)):
            vectors[rows, 1], weights[rows, 1] = _describe(pictures, box, rows)
            weights[rows, 0] *= _FRAMED
        return Described(vectors, weights)


def _describe(
    pictures: NDArray[np.float32], box: tuple[int, int, int, int], rows: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors (n, 256) and weights (n,) of a box of pixels in the chosen pictures: ``L @ X @ R`` per picture."""
    top, bottom, left, right = box
    inside = pictures[rows, top:bottom, left:right]
    down = (_cosines(_SIDE, (np.arange(bottom - top) + 0.5) / (bottom - top)) / (bottom - top)).astype(np.float32)
    across = (_cosines(_SIDE, (np.arange(right - left) + 0.5) / (right - left)) / (right - left)).astype(np.float32)
    coefficients = (down @ inside @ across.T).reshape(len(inside), _SIDE * _SIDE)  # (n, 16, 16) -> (n, 256)
    coefficients[:, 0] = 0.0
    contrast = np.linalg.norm(coefficients, axis=1)  # the standard deviation of the smoothed picture (Parseval)
    vectors = coefficients * _SPECTRUM
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    weights = np.clip((contrast - _FLAT) / (_CLEAR - _FLAT), 0, 1)
    vectors[weights == 0] = 0.0
    return vectors.astype(np.float32), weights.astype(np.float32)


@lru_cache(maxsize=4096)
def _axis_map(start: float, end: float) -> NDArray[np.float32]:
    """Cosine coefficients of an axis -> those of its stretch [start, end): (16, 16), by the midpoint rule."""
    at = (np.arange(256) + 0.5) / 256
    return (_cosines(_SIDE, at) @ _cosines(_SIDE, start + (end - start) * at).T / 256).astype(np.float32)


class _Orientation(NamedTuple):
    """How a query is mirrored and then turned clockwise before it is compared."""

    mirrored: bool
    rotation_degrees: int

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vectors of the pictures mirrored and turned: signs, and for a quarter turn a transposition.

        Mirroring a picture turns the sign of its odd horizontal frequencies; a quarter turn is a transposition and
        a mirroring. The weights depend on the distance from zero frequency alone, so they may be in or out.
        """
        if self.mirrored:
            vectors = vectors * _MIRROR
        if self.rotation_degrees in {90, 270}:
            vectors = vectors.reshape(-1, _SIDE, _SIDE).swapaxes(1, 2).reshape(-1, _SIDE * _SIDE)
        if self.rotation_degrees in {90, 180}:
            vectors = vectors * _MIRROR
        return vectors * _FLIP if self.rotation_degrees in {180, 270} else vectors


_UPRIGHT = _Orientation(mirrored=False, rotation_degrees=0)


def _region_map(region: Region, band: NDArray[np.float32], orientation: _Orientation = _UPRIGHT) -> LinearMap:
    """Weighted coefficients of a picture -> weighted coefficients, within a band, of a region of it, turned or not.

    A separable product per row, ``V @ X @ H.T`` on the unweighted coefficients, which costs a sixteenth of the
    (256, 256) matrix it stands for.
    """
    shaped = _SPECTRUM * band
    if region == _WHOLE:
        factor = shaped * _PLAIN
        return lambda vectors: orientation(vectors) * factor
    down = _axis_map(region[0], region[1])
    across = _axis_map(region[2], region[3]).T

    def apply(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        coefficients = (orientation(vectors) * _PLAIN).reshape(-1, _SIDE, _SIDE)
        seen: NDArray[np.float32] = (down @ (coefficients @ across)).reshape(-1, _SIDE * _SIDE) * shaped
        return seen

    return apply


def _band(region: Region) -> NDArray[np.float32]:
    """1 for the coefficients of a region that its picture's 16 frequencies can tell, else 0: (256,)."""
    top, bottom, left, right = region
    known_down = np.arange(_SIDE) < np.ceil(_SIDE * (bottom - top))
    known_across = np.arange(_SIDE) < np.ceil(_SIDE * (right - left))
    return np.outer(known_down, known_across).astype(np.float32).reshape(-1)


_MIRROR = np.tile(np.where(np.arange(_SIDE) % 2 == 1, -1.0, 1.0), _SIDE).astype(np.float32)
_FLIP = np.repeat(np.where(np.arange(_SIDE) % 2 == 1, -1.0, 1.0), _SIDE).astype(np.float32)


def _look(of_query: Region, of_reference: Region, orientation: _Orientation) -> Look:
    """The look that compares a region of the query, once mirrored and turned, with a region of the reference."""
    band = _band(of_query) * _band(of_reference)
    return Look(
        (of_query, of_reference, orientation),
        _region_map(of_query, band, orientation),
        _region_map(of_reference, band),
        mirrored=orientation.mirrored,
        dimensions=int(band.sum()),
        rotation_degrees=orientation.rotation_degrees,
    )


def _squares(size: float, places: Sequence[float]) -> list[Region]:
    """Regions of one linear size; places 0 and 1 touch the picture's edges."""
    starts = [place * (1 - size) for place in places]
    return [(top, top + size, left, left + size) for top in starts for left in starts]


_REGIONS: tuple[Region, ...] = (
    *_squares(0.82, (0.0, 0.5, 1.0)),
    (0.125, 0.875, 0.0, 1.0),
    (0.0, 1.0, 0.125, 0.875),
    (0.0, 1.0, 0.0, 0.5),
    (0.0, 1.0, 0.5, 1.0),
    (0.0, 0.5, 0.0, 1.0),
    (0.5, 1.0, 0.0, 1.0),
    *_squares(0.66, (0.0, 1.0)),
    (0.17, 0.83, 0.17, 0.83),
    *_squares(0.5, (0.0, 0.5, 1.0)),
)
"""Parts of a picture that another may show: crops of 67 to 75 % of the area, halves, pictures in pictures."""


@lru_cache(maxsize=1)
def looks() -> tuple[Look, ...]:
    """What is tried for every pair: as it is, the query a part of the reference, the reference a part of the query.

    Each as it is and mirrored, whole pictures also turned; the plain look comes first.
    """
    pairs = [(_WHOLE, _WHOLE), *((_WHOLE, part) for part in _REGIONS), *((part, _WHOLE) for part in _REGIONS)]
    upright = [_look(*pair, _Orientation(mirrored, 0)) for mirrored in (False, True) for pair in pairs]
    turned = [
        _look(_WHOLE, _WHOLE, _Orientation(mirrored, degrees))
        for mirrored in (False, True)
        for degrees in (90, 180, 270)
    ]
    return (*upright, *turned)


def looks_near(look: Look, step: float) -> list[Look]:
    """Looks whose regions lie a small step beside those of ``look``: moved, larger, smaller, other proportions."""
    of_query, of_reference, orientation = look.key
    near: list[Look] = []
    for moved_query, moved_reference in (
        *((region, of_reference) for region in _moved(of_query, step)),
        *((of_query, region) for region in _moved(of_reference, step)),
    ):
        near.append(_look(moved_query, moved_reference, orientation))
    return near


def _moved(region: Region, step: float) -> list[Region]:
    """The region with each edge, or both edges of an axis, moved by a step, inside the picture."""
    moves = [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 0, 0), (0, 0, 1, 1), (1, -1, 1, -1)]
    found: list[Region] = []
    for move in moves:
        for sign in (step, -step):
            edges = tuple(
                round(min(max(edge + sign * way, 0.0), 1.0), 4) for edge, way in zip(region, move, strict=True)
            )
            top, bottom, left, right = edges
            if edges != region and bottom - top >= 0.3 and right - left >= 0.3:
                found.append((top, bottom, left, right))
    return found
