"""Pictures in pictures: rectangles whose edges stand still while what they show moves on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lasting_panes", "panes"]

_STEP = 7.0  # gray levels between the two sides of an edge
_SHARP = 1.3  # how many times as high as what goes on beside it
_LINE = 0.24  # of a side of the picture: shorter edges bound no pane
_SUPPORT = 0.7  # of each side of a pane that must be edge
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
    upright = _lasting(frames)  # (row, column): an edge between columns column - 1 and column
    level = _lasting(frames.transpose(0, 2, 1))  # (column, row)
    columns, rows = _lines(upright), _lines(level)
    if len(columns) == 2 and len(rows) == 2:  # the picture's own edges alone
        return []
    across, down = np.array(list(combinations(columns, 2))), np.array(list(combinations(rows, 2)))
    across, down = (spans[spans[:, 1] - spans[:, 0] >= _SMALLEST * side] for spans in (across, down))
    boxes = np.array([(*d, *a) for d in down for a in across])
    if len(boxes) == 0:
        return []
    top, bottom, left, right = boxes.T
    sums = [np.pad(np.cumsum(edges, axis=0), ((1, 0), (0, 0))) for edges in (upright, level)]
    support = np.min(
        [
            (sums[0][bottom, left] - sums[0][top, left]) / (bottom - top),
            (sums[0][bottom, right] - sums[0][top, right]) / (bottom - top),
            (sums[1][right, top] - sums[1][left, top]) / (right - left),
            (sums[1][right, bottom] - sums[1][left, bottom]) / (right - left),
        ],
        axis=0,
    )
    support[(bottom - top) * (right - left) > _LARGEST_AREA * side * side] = 0
    chosen: list[tuple[int, int, int, int]] = []
    for index in np.argsort(-support, kind="stable"):
        if support[index] < _SUPPORT or len(chosen) == at_most:
            break
        box = tuple(int(edge) for edge in boxes[index])
        if all(_overlap(box, other) < _SAME for other in chosen):
            chosen.append((box[0], box[1], box[2], box[3]))
    return chosen


def _lasting(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 where the picture breaks off sharply between two columns through all frames: (S, S + 1).

    Scaled pictures mix what they show at a cut within one pixel: a break is as high as its neighbours, and higher
    than what goes on two columns beside it. Edges of things are softer and seldom stay on one column.
    """
    gray = frames.astype(np.float32)
    rows, columns = gray.shape[1:]
    step = np.zeros((rows, columns + 4), np.float32)
    step[:, 3 : columns + 1] = np.abs(gray[:, :, 2:] - gray[:, :, :-2]).mean(axis=0)  # pixel j at column j + 2
    beside = np.maximum(step[:, 1:-3], step[:, 3:-1])
    further = np.maximum(step[:, :-4], step[:, 4:])
    here = step[:, 2:-2]
    sharp = (here > _STEP) & (here >= 0.95 * beside) & (here > _SHARP * further)
    edges = np.zeros((rows, columns + 1), np.float32)
    edges[:, :-1] = sharp  # a cut through pixel j, or at either side of it
    edges[:, 1:] = np.maximum(edges[:, 1:], sharp)
    edges[:, 0] = edges[:, -1] = 1
    return edges


def _lines(edges: NDArray[np.float32]) -> list[int]:
    """The columns along which most edge lies, and the picture's own two: increasing."""
    length = edges.mean(axis=0)
    side = len(length) - 1
    found: list[int] = [0, side]
    for column in np.argsort(-length[1:-1], kind="stable") + 1:
        if length[column] < _LINE or len(found) == _MOST_LINES + 2:
            break
        if all(abs(column - other) > 2 for other in found):
            found.append(int(column))
    return sorted(found)


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Overlap over union of two rectangles."""
    height = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[2], other[2]))
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (one, other)]
    return height * width / (sum(areas) - height * width)
