"""Uniform borders around a picture: bars above and below, at the sides, or all around."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["inside_borders"]

_BORDER_TOLERANCE = 14  # gray levels by which the pixels of one border may differ (coding noise)
_BORDER_SHARE = 0.97  # of the pixels of a border row that must agree
_SMALLEST_BORDER = 3  # rows or columns of the small picture
_SMALLEST_INSIDE = 0.25  # linear size under which what is left is not a picture


def inside_borders(
    frames: NDArray[np.uint8], *, window: int
) -> Iterator[tuple[tuple[int, int, int, int], NDArray[np.bool_]]]:
    """The pictures inside uniform borders: (top, bottom, left, right) in pixels, and the frames (N,) that have it.

    Frames without borders, and frames of which too little is left, are in none.

    Args:
        frames: consecutive, uint8 (N, S, S) gray.
        window: how many frames before and after a border must stand, as far as the given frames reach.
    """
    side = frames.shape[1]
    boxes = _boxes(frames, window=window)
    for box in np.unique(boxes, axis=0):
        top, bottom, left, right = (int(edge) for edge in box)
        shorter = min(bottom - top, right - left)
        if side - shorter >= _SMALLEST_BORDER and shorter >= _SMALLEST_INSIDE * side:
            yield (top, bottom, left, right), (boxes == box).all(axis=1)


def _boxes(frames: NDArray[np.uint8], *, window: int) -> NDArray[np.int64]:
    """Top, bottom, left, right of the picture inside its uniform borders: (N, 4) pixels, stable over the window."""
    side = frames.shape[1]
    depths = [
        _border_depth(frames),
        _border_depth(frames[:, ::-1]),
        _border_depth(frames.transpose(0, 2, 1)),
        _border_depth(frames.transpose(0, 2, 1)[:, ::-1]),
    ]
    padded = np.pad(np.stack(depths, axis=1), ((window, window), (0, 0)), mode="edge")
    lasting = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1, axis=0).min(axis=-1)  # (N, 4)
    lasting = np.where(lasting >= _SMALLEST_BORDER, lasting, 0)
    return np.stack([lasting[:, 0], side - lasting[:, 1], lasting[:, 2], side - lasting[:, 3]], axis=1)


def _border_depth(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many rows from the top have the one colour of the first row: (N,); 0 where they make no border."""
    colours = np.median(frames[:, 0], axis=1)
    depth = np.zeros(len(frames), np.int64)
    # Most pictures show something in their first rows already.
    bordered = np.flatnonzero(_uniform(frames[:, :_SMALLEST_BORDER], colours).all(axis=1))
    if len(bordered):
        uniform = _uniform(frames[bordered], colours[bordered])
        depth[bordered] = np.minimum.accumulate(uniform, axis=1).sum(axis=1)
    return depth


def _uniform(rows: NDArray[np.uint8], colours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows (N, R, S) have the colour (N,) that is wanted: (N, R)."""
    low = np.clip(np.ceil(colours - _BORDER_TOLERANCE), 0, 255).astype(np.uint8)[:, None, None]
    high = np.clip(np.floor(colours + _BORDER_TOLERANCE), 0, 255).astype(np.uint8)[:, None, None]
    alike = rows - low <= high - low  # what is darker than low comes out lighter than high
    shares: NDArray[np.bool_] = np.count_nonzero(alike, axis=2) >= _BORDER_SHARE * rows.shape[2]
    return shares
