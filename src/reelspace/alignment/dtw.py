"""The best warped path through a matrix of gains: local, slope-limited dynamic time warping.

A path moves by (1, 1), (1, 2) or (2, 1) query and reference frames, so its slope stays between a half and two (the
symmetric P = 1 steps of Sakoe & Chiba 1978), and it may begin and end anywhere, in both videos (subsequence DTW,
Mueller 2007, made local as Smith & Waterman 1981 do): where no continuation gains, it stops. Unlike a line it
follows footage whose speed changes.

Cells of one anti-diagonal do not depend on each other, so each is computed at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVES", "WarpedPath", "straight_pieces", "warped_path"]

MOVES = ((1, 1), (1, 2), (2, 1))
"""Steps of a path: query frames, reference frames."""

_STOP = -1


class WarpedPath(NamedTuple):
    """Frame pairs in order, int64 (n,) each, and what they gain together."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    gain: float


def warped_path(gain: NDArray[np.float32], *, off_diagonal: float = 0.02) -> WarpedPath | None:
    """The path of largest summed gain through float32 (Tq, Tr); None when no frame pair gains.

    A move (2, 1) skips a row, which counts with half of its gain beside the path: slow footage must not gain by
    being skipped over where it does not match.

    Args:
        gain: of each frame pair, negative where the two do not match.
        off_diagonal: what a move other than (1, 1) costs: where all match alike, paths are straight.
    """
    height, width = gain.shape
    if not height or not width:
        return None
    # Diagonal k holds the cells (i, k - i); three before it are remembered, with two rows of nothing above.
    sums = [np.zeros(height + 2) for _ in range(4)]
    came_from = np.full((height, width), _STOP, np.int8)
    flat_gain, flat_from = gain.reshape(-1), came_from.reshape(-1)
    best, end = 0.0, -1
    for k in range(height + width - 1):
        low, high = max(0, k - width + 1), min(height, k + 1)
        rows = np.arange(low, high)
        at = rows * width + (k - rows)
        here = flat_gain[at]
        skipped = 0.5 * np.minimum(flat_gain[np.maximum(at - width, 0)], 0)
        options = np.stack(
            [
                sums[(k - 2) % 4][low + 1 : high + 1],
                sums[(k - 3) % 4][low + 1 : high + 1] - off_diagonal,
                sums[(k - 3) % 4][low:high] - off_diagonal + skipped,
            ]
        )
        chosen = options.argmax(axis=0)
        before = options[chosen, np.arange(high - low)]
        flat_from[at] = np.where(before > 0, chosen, _STOP)
        now = sums[k % 4]
        now[:] = 0
        now[low + 2 : high + 2] = np.maximum(np.maximum(before, 0) + here, 0)
        top = int(now.argmax())
        if now[top] > best:
            best, end = float(now[top]), (top - 2) * width + k - (top - 2)
    if end < 0:
        return None
    path = [divmod(end, width)]
    while (move := int(came_from[path[-1]])) != _STOP:
        path.append((path[-1][0] - MOVES[move][0], path[-1][1] - MOVES[move][1]))
    rows_back, columns_back = np.array(path[::-1], dtype=np.int64).T
    return WarpedPath(rows_back, columns_back, best)


def straight_pieces(
    query_seconds: NDArray[np.float64], reference_seconds: NDArray[np.float64], *, tolerance_seconds: float
) -> list[slice]:
    """A path cut where it bends: consecutive stretches that stay within a tolerance of their own straight line.

    The stretch is fitted by least squares; where a point lies further away than the tolerance, it is cut at the
    point furthest from the chord between its ends (Douglas & Peucker 1973), and both parts are looked at again.

    Args:
        query_seconds: (n,), increasing: when each frame pair of the path is in the query.
        reference_seconds: (n,), likewise.
        tolerance_seconds: of the reference.
    """
    pieces: list[slice] = []
    pending = [(0, len(query_seconds))]
    while pending:
        first, last = pending.pop()
        x, y = query_seconds[first:last], reference_seconds[first:last]
        if last - first > 4 and float(np.abs(_off_line(x, y)).max()) > tolerance_seconds:
            chord = y[0] + (y[-1] - y[0]) * (x - x[0]) / max(x[-1] - x[0], 1e-9)
            cut = first + int(np.clip(np.abs(y - chord).argmax(), 2, last - first - 2))
            pending += [(cut, last), (first, cut)]
        else:
            pieces.append(slice(first, last))
    return pieces


def _off_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far points lie from their least-squares line."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean())) / max(float(centred @ centred), 1e-12)
    off: NDArray[np.float64] = y - y.mean() - slope * centred
    return off
