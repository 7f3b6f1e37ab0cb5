"""Where a copied stretch lies exactly, once it is known roughly.

The winner of the 2022 video similarity challenge's matching track (Liu et al. 2023, "A similarity alignment model
for video copy segment matching") aligns, then refines: a network cleans the similarity matrix, and lines are laid
through what is left by RANSAC. Here the matrix is cleaned by arithmetic. Frames of one scene are all alike, which
hides which of them is which; taking the means out of the rows and columns of the stretch (double centring: the
products of the centred frames) leaves what tells them apart. Then the ends: similarity along the line has one level
inside and another outside, and the most likely place of the change is the largest sum above the middle of both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["double_centred", "refined_end", "refined_line"]

_LEVEL_FRAMES = 10  # from which a level is taken, and how far an end may move
_LEAST_GAIN = 0.02  # of the block's deviation, for a line to move
_STILL = 1e-5  # and this: a picture that stands still has no best line
_LEAST_CHANGE = 0.1  # of similarity, at an end: less is noise


def double_centred(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """A block without the means of its rows and columns: products of frames less what all of them show."""
    centred: NDArray[np.float32] = (
        block - block.mean(axis=1, keepdims=True) - block.mean(axis=0, keepdims=True) + block.mean()
    )
    return centred


def refined_line(
    block: NDArray[np.float32],
    query_seconds: NDArray[np.float64],
    reference_seconds: NDArray[np.float64],
    *,
    speed: float,
    offset_seconds: float,
    speeds: NDArray[np.float64],
    shifts_seconds: NDArray[np.float64],
) -> tuple[float, float, float]:
    """The line near another along which a centred block holds most: speed, offset, and the mean there.

    Args:
        block: float32 (n, c), double centred.
        query_seconds: float64 (n,).
        reference_seconds: float64 (c,), increasing.
        speed: reference seconds per query second, now.
        offset_seconds: reference second shown at query second 0, now.
        speeds: to be tried, about the middle of the stretch.
        shifts_seconds: of the middle, to be tried with each.
    """
    middle = float(query_seconds.mean())
    centre = speed * middle + offset_seconds
    tried = np.repeat(speeds, len(shifts_seconds))
    offsets = centre + np.tile(shifts_seconds, len(speeds)) - tried * middle
    at = tried[:, None] * query_seconds + offsets[:, None]  # (L, n)
    place = np.interp(at, reference_seconds, np.arange(len(reference_seconds)))
    low = np.minimum(place.astype(np.int64), max(block.shape[1] - 2, 0))
    part = (place - low).astype(np.float32)
    rows, high = np.arange(len(block)), np.minimum(low + 1, block.shape[1] - 1)
    held = ((1 - part) * block[rows, low] + part * block[rows, high]).mean(axis=1)
    best, now = int(held.argmax()), int((np.abs(tried - speed) + np.abs(offsets - offset_seconds)).argmin())
    if held[best] - held[now] < _LEAST_GAIN * float(block.std()) + _STILL:
        best = now
    return float(tried[best]), float(offsets[best]), float(held[best])


def refined_end(along: NDArray[np.float32], last: int, beyond: float) -> int:
    """The last frame of a stretch, from the similarities along its line.

    Two levels with equal noise: the log-likelihood ratio of a change after frame b is the sum up to b of the
    similarity less the middle of both levels.

    Args:
        along: float32 (n,), from the inside of the stretch on to where the line leaves the matrix.
        last: the last frame so far, an index into it.
        beyond: the similarity of strangers, where too little lies outside to take a level from.
    """
    first = max(0, last + 1 - _LEVEL_FRAMES)
    inside = float(np.median(along[first : last + 1]))
    outside = along[last + 1 : last + 1 + _LEVEL_FRAMES]
    outside_level = float(np.median(outside)) if len(outside) > 1 else beyond
    if inside - outside_level < _LEAST_CHANGE:
        return last
    sums = np.cumsum(along[first : last + 1 + _LEVEL_FRAMES] - 0.5 * (inside + outside_level))
    return first + int(sums.argmax())
