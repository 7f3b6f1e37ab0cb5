"""Pictures in pictures: rectangles whose edges stand still while what they show moves on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["lasting_panes", "panes"]

_STEP = 7.0  # gray levels between the two sides of an edge
_SHARP = 1.4  # how many times as high as what goes on beside it
_LINE = 0.24  # of a side of the picture: shorter edges bound no pane
_SUPPORT = 0.75  # of the sides of a pane, on average, that must be edge
_LEAST_SUPPORT = 0.45  # and of each of them: a dark side on a dark background shows no edge
_SMALLEST = 0.27  # linear size of a pane
_LARGEST_AREA = 0.85  # of the picture: a larger pane says what the picture says
_MOST_LINES = 8  # considered per direction
_MIXED = 2  # pixels at a cut that may show both sides
_SAME = 0.6  # overlap over union of two rectangles that count as one


def lasting_panes(
    frames: NDArray[np.uint8], *, window: int, at_most: int
) -> Iterator[tuple[slice, list[tuple[int, int, int, int]]]]:
    """The panes of each stretch of a video: which frames, and (top, bottom, left, right) in pixels of each pane.

    A pane of the stretch before or after counts too: an unlucky background may hide one for a second.

    Args:
        frames: consecutive, uint8 (N, S, S) gray.
        window: frames per stretch.
        at_most: panes of one stretch.
    """
    starts = range(0, len(frames), window)
    found = [
        panes(frames[max(0, min(start, len(frames) - window)) :][:window], at_most=at_most) for start in starts
    ]
    for index, start in enumerate(starts):
        chosen = list(found[index])
        for beside in (*found[max(index - 1, 0) : index], *found[index + 1 : index + 2]):
            chosen.extend(box for box in beside if all(_overlap(box, other) < _SAME for other in chosen))
        yield slice(start, start + window), [_within(box, frames.shape[1]) for box in chosen[:at_most]]


def _within(box: tuple[int, int, int, int], side: int) -> tuple[int, int, int, int]:
    """The box without the pixels in which scaling mixed it with what is around."""
    top, bottom, left, right = box
    return (
        top + _MIXED * (top > 0),
        bottom - _MIXED * (bottom < side),
        left + _MIXED * (left > 0),
        right - _MIXED * (right < side),
    )


def panes(frames: NDArray[np.uint8], *, at_most: int) -> list[tuple[int, int, int, int]]:
    """Panes that stand through all of the frames, the surest first: (top, bottom, left, right) in pixels each.

    A pane is bounded by straight edges that last, or by the picture's own edge: a picture in a picture has four of
    its own, one of two pictures side by side has one.

    Args:
        frames: consecutive, uint8 (N, S, S) gray; a second of them, say.
        at_most: how many panes.
    """
    side = frames.shape[1]
    upright = _lasting(_steps(frames[:, :, 2:], frames[:, :, :-2]))  # (row, column): an edge before the column
    level = _lasting(_steps(frames[:, 2:], frames[:, :-2]).T)  # (column, row)
    columns, rows = _lines(upright), _lines(level)
    if len(columns) == 2 and len(rows) == 2:  # the picture's own edges alone
        return []
    across, down = (_pairs(lines, at_least=_SMALLEST * side) for lines in (columns, rows))
    left, right = np.tile(across, (len(down), 1)).T  # numbers of columns, for each box
    top, bottom = np.repeat(down, len(across), axis=0).T  # and of rows
    boxes = np.stack([rows[top], rows[bottom], columns[left], columns[right]], axis=1)
    height, width = (boxes[:, 1::2] - boxes[:, ::2]).T
    along_columns, along_rows = _sums(upright[:, columns]), _sums(level[:, rows])
    sides = np.stack(
        [
            (along_rows[boxes[:, 3], top] - along_rows[boxes[:, 2], top]) / width,
            (along_rows[boxes[:, 3], bottom] - along_rows[boxes[:, 2], bottom]) / width,
            (along_columns[boxes[:, 1], left] - along_columns[boxes[:, 0], left]) / height,
            (along_columns[boxes[:, 1], right] - along_columns[boxes[:, 0], right]) / height,
        ],
        axis=1,
    )
    inner = (boxes != 0) & (boxes != side)  # the others are the picture's own edges
    support = np.where(inner, sides, 0).sum(axis=1) / np.maximum(inner.sum(axis=1), 1)
    support[sides.min(axis=1) < _LEAST_SUPPORT] = 0
    support[height * width > _LARGEST_AREA * side * side] = 0
    chosen: list[tuple[int, int, int, int]] = []
    for index in np.argsort(-support, kind="stable"):
        if support[index] < _SUPPORT or len(chosen) == at_most:
            break
        box = tuple(int(edge) for edge in boxes[index])
        if all(_overlap(box, other) < _SAME for other in chosen):
            chosen.append((box[0], box[1], box[2], box[3]))
    return chosen


def _steps(after: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean difference of gray levels over the frames: (N, H, W) twice -> (H, W)."""
    apart = np.maximum(after, before)
    apart -= np.minimum(after, before)
    total: NDArray[np.float32] = apart.sum(axis=0, dtype=np.uint32).astype(np.float32)
    total /= len(apart)
    return total


def _lasting(steps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the picture breaks off sharply between two columns through all frames: (S, S + 1).

    Scaled pictures mix what they show at a cut within one pixel: a break is as high as its neighbours, and higher
    than what goes on two columns beside it. Edges of things are softer and seldom stay on one column.

    Args:
        steps: (S, S - 2): column j is the difference between pixels j and j + 2.
    """
    rows, columns = steps.shape[0], steps.shape[1] + 2
    step = np.zeros((rows, columns + 4), np.float32)
    step[:, 3 : columns + 1] = steps  # pixel j at column j + 2
    beside = np.maximum(step[:, 1:-3], step[:, 3:-1])
    further = np.maximum(step[:, :-4], step[:, 4:])
    here = step[:, 2:-2]
    sharp = (here > _STEP) & (here >= 0.95 * beside) & (here > _SHARP * further)
    edges = np.empty((rows, columns + 1), np.bool_)
    edges[:, 0] = edges[:, -1] = True
    np.logical_or(sharp[:, 1:], sharp[:, :-1], out=edges[:, 1:-1])  # a cut through a pixel, or at either side
    return edges


def _lines(edges: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The columns along which most edge lies, and the picture's own two: increasing."""
    length = edges.mean(axis=0)
    side = len(length) - 1
    found: list[int] = [0, side]
    for column in np.argsort(-length[1:-1], kind="stable") + 1:
        if length[column] < _LINE or len(found) == _MOST_LINES + 2:
            break
        if all(abs(column - other) > 2 for other in found):
            found.append(int(column))
    return np.array(sorted(found))


def _pairs(lines: NDArray[np.int64], *, at_least: float) -> NDArray[np.int64]:
    """The numbers of two lines that far apart: (P, 2)."""
    first, second = np.triu_indices(len(lines), 1)
    apart = lines[second] - lines[first] >= at_least
    return np.stack([first[apart], second[apart]], axis=1)


def _sums(edges: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How much edge lies above each row: (S, L) -> (S + 1, L)."""
    sums = np.zeros((len(edges) + 1, edges.shape[1]), np.int64)
    np.cumsum(edges, axis=0, out=sums[1:])
    return sums


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Overlap over union of two rectangles."""
    height = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[2], other[2]))
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (one, other)]
    return height * width / (sum(areas) - height * width)
