"""From a similarity matrix to the stretches two videos share.

Five ways to propose where (`METHODS`):

- ``hough``: frame pairs vote for lines ``reference = speed * query + offset`` (Douze et al. 2008; as in VCSL, He et
  al. 2022);
- ``dynamic``: the best chain of frame pairs, each a few frames after the one before, by dynamic
  programming over the rows (Chou et al. 2015, as in VCSL), here in its local form (Smith & Waterman 1981);
- ``network``: the temporal network (Tan et al. 2009): the longest path through each row's few best matches;
- ``dtw``: local dynamic time warping (`reelspace.alignment.dtw`), whose path is cut where it bends, so that footage
  whose speed changes comes as stretches that meet;
- ``refine``: Hough voting, then speed, offset and ends again from what tells the frames of the stretch apart
  (`reelspace.alignment.refine`).

Each proposal is a line. It is then fitted (speed and offset that gather most), cut to the stretch where similarity
exceeds the threshold (the maximal sum along the line), and taken out of the matrix before the next is sought. What
shows frames that a better stretch explains clearly better is not reported: a scene is like itself, not a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.dtw import straight_pieces, warped_path
from reelspace.alignment.refine import double_centred, refined_end, refined_line
from reelspace.alignment.similarity import Similarity
from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["METHODS", "find_segments"]

_SPEEDS = tuple(float(s) for s in np.geomspace(0.5, 2.0, 25))  # 6 % apart; the fit does the rest
_ORDINARY_SPEED = 0.04  # share of the gain another speed must bring to be believed
_REPEATED = 0.5  # share of a stretch whose query frames another explains, when both are compared
_NO_MORE = 0.001  # similarity that coding alone takes away
_TELLING = 0.75  # evidence of a frame that can be judged: a fade, or black, is neither alike nor not
_WORSE = 1.25  # times as far from 1 as the other's similarity, when it explains clearly better
_WORST = -0.25  # gain of a frame pair that does not match: a few bad frames do not end a segment


class Line(NamedTuple):
    """``reference_seconds = speed * query_seconds + offset``."""

    speed: float
    offset: float


class _Stretch(NamedTuple):
    """The best stretch of a line: rows [first, last] of the query, and its gain."""

    gain: float
    first: int
    last: int


class _Piece(NamedTuple):
    """One straight stretch, and how alike its frames are: similarities float32 (last - first + 1,)."""

    stretch: _Stretch
    along: NDArray[np.float32]


class _Stretches(NamedTuple):
    """The best stretch of each of L lines: gains float64 (L,), first and last rows int64 (L,)."""

    gains: NDArray[np.float64]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]


Gain: TypeAlias = NDArray[np.float32]


def find_segments(
    similarity: Similarity,
    *,
    query_seconds: float,
    reference_seconds: float,
    method: str = "hough",
    threshold: float = 0.5,
    shortest_seconds: float = 1.0,
    at_most: int = 8,
) -> list[CopySegment]:
    """Stretches of the query that show stretches of the reference, best first.

    Args:
        similarity: of all frame pairs.
        query_seconds: length of the query: a segment that reaches its last frame ends there.
        reference_seconds: length of the reference.
        method: a name in `METHODS`.
        threshold: similarity at which a frame pair is as likely to be a copy as not.
        shortest_seconds: shorter stretches are not reported, unless the query or the reference is itself shorter.
        at_most: how many to look for.

    Returns:
        Segments whose score is the mean similarity of their frames.

    Raises:
        UnknownName: for a method that is not in `METHODS`.
        InvalidArgument: for a threshold outside (0, 1).
    """
    if method not in METHODS:
        raise UnknownName("alignment method", method, METHODS)
    if not 0 < threshold < 1:
        raise InvalidArgument(f"a similarity threshold lies between 0 and 1, got {threshold}")
    if min(similarity.matrix.shape) == 0:
        return []
    step = _Steps(similarity, query_seconds, reference_seconds)
    shortest = min(shortest_seconds, 0.8 * query_seconds, 0.8 * reference_seconds)
    gain = _gains(similarity.matrix, threshold)
    found: list[tuple[CopySegment, _Piece]] = []
    for _ in range(at_most):
        proposed = METHODS[method](gain, similarity.matrix, step)
        if proposed is None:
            break
        line, stretch = proposed
        query, reference = _spans(line, stretch, step)
        rows = np.arange(stretch.first, stretch.last + 1)
        along = similarity.matrix[rows, step.columns(line, rows)]
        if query.duration >= shortest and reference.duration >= 0.5 * shortest:
            segment = CopySegment(query, reference, line.speed, float(along.mean()))
            found.append((segment, _Piece(stretch, along)))
        _take_out(gain, line, stretch, step)
    kept = [
        segment
        for segment, piece in found
        if not any(_explains(other, piece) for _, other in found if other is not piece)
    ]
    return sorted(kept, key=lambda segment: -segment.score * segment.query.duration**0.5)


def _gains(similarities: NDArray[np.float32], threshold: float) -> Gain:
    """How much each frame pair speaks for a copy, float32: 0 at the threshold, 1 - threshold for equals.

    Logarithmic in what is left to 1. Frames of one scene are all alike, the right ones more so: 0.999 beside 0.99
    is ten times nearer, and that tells speeds and offsets apart where sums of similarities do not.
    """
    top = 1 - threshold
    left = np.maximum(1 - similarities, 0) + np.float32(_NO_MORE)
    gain: Gain = np.log((top + _NO_MORE) / left) * (top / math.log((top + _NO_MORE) / _NO_MORE))
    return np.maximum(gain, np.float32(_WORST)).astype(np.float32, copy=False)


def _explains(other: _Piece, piece: _Piece) -> bool:
    """Whether most query frames of a piece are part of another that shows them clearly more like the reference.

    A query frame that is shown twice in the reference is as like it both times; a scene that stays the same is like
    itself at other times too, but less.
    """
    first, last = max(piece.stretch.first, other.stretch.first), min(piece.stretch.last, other.stretch.last)
    if last - first + 1 < _REPEATED * len(piece.along):
        return False
    mine = piece.along[first - piece.stretch.first : last - piece.stretch.first + 1].mean()
    its = other.along[first - other.stretch.first : last - other.stretch.first + 1].mean()
    return bool(1 - mine > _WORSE * (1 - its) + _NO_MORE)


class _Steps:
    """The clocks of both axes: rows and columns in seconds."""

    def __init__(self, similarity: Similarity, query_seconds: float, reference_seconds: float) -> None:
        self.query_times, self.reference_times = similarity.query_times, similarity.reference_times
        self.query_step = _spacing(self.query_times, query_seconds)
        self.reference_step = _spacing(self.reference_times, reference_seconds)
        self.query_seconds = max(query_seconds, float(self.query_times[-1]))
        self.reference_seconds = max(reference_seconds, float(self.reference_times[-1]))
        self._telling = [
            times if evidence is None else times[evidence >= _TELLING]
            for times, evidence in (
                (similarity.query_times, similarity.query_evidence),
                (similarity.reference_times, similarity.reference_evidence),
            )
        ]

    def says_nothing(self, line: Line, start: float, end: float) -> bool:
        """Whether no frame can be judged between two seconds of the query, nor in the reference beside them."""
        spans = ((start, end), (line.speed * start + line.offset, line.speed * end + line.offset))
        return not any(
            np.any((times > since) & (times < until))
            for times, (since, until) in zip(self._telling, spans, strict=True)
        )

    def columns(self, line: Line, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The column nearest to the line in each row, kept inside the matrix."""
        at = line.speed * self.query_times[rows] + line.offset
        columns = np.searchsorted(self.reference_times, at + 0.5 * self.reference_step, side="right") - 1
        return np.clip(columns, 0, len(self.reference_times) - 1)


def _spacing(times: NDArray[np.float64], seconds: float) -> float:
    """Seconds between samples; the whole length for a single one."""
    return float(np.median(np.diff(times))) if len(times) > 1 else max(seconds, 1e-3)


def _stretches(gain: Gain, lines: NDArray[np.float64], step: _Steps) -> _Stretches:
    """The stretch of maximal summed gain on each of the lines (L, 2): Kadane's scan, as running minima of a sum."""
    speeds, offsets = lines[:, :1], lines[:, 1:]
    at = speeds * step.query_times + offsets  # (L, Tq) seconds of the reference
    place = np.interp(at, step.reference_times, np.arange(len(step.reference_times)))
    inside = (at >= step.reference_times[0] - step.reference_step * 0.5) & (
        at < step.reference_times[-1] + step.reference_step
    )
    low = place.astype(np.int64)
    high = np.minimum(low + 1, gain.shape[1] - 1)
    part = (place - low).astype(np.float32)
    rows = np.arange(gain.shape[0])
    # A column between two samples is as good as the better neighbour, each discounted by its distance.
    along = np.where(inside, (1 - part) * gain[rows, low] + part * gain[rows, high], np.float32(_WORST))
    total = np.cumsum(along, axis=1, dtype=np.float64)
    before = total - along
    lowest = np.minimum.accumulate(before, axis=1)
    sums = total - lowest
    last = sums.argmax(axis=1)
    # Where the running minimum was last lowered is where the best stretch that ends here begins.
    lowered = np.ones(before.shape, bool)
    lowered[:, 1:] = before[:, 1:] < lowest[:, :-1]
    begins = np.maximum.accumulate(np.where(lowered, rows, 0), axis=1)
    each = np.arange(len(lines))
    # Footage played slowly fills more rows without showing more: it counts by the shorter of both lengths.
    return _Stretches(sums[each, last] * np.minimum(1.0, lines[:, 0]), begins[each, last], last)


def _stretch(gain: Gain, line: Line, step: _Steps) -> _Stretch:
    """The best stretch of one line."""
    found = _stretches(gain, np.array([line]), step)
    return _Stretch(float(found.gains[0]), int(found.firsts[0]), int(found.lasts[0]))


def _fit(gain: Gain, line: Line, step: _Steps) -> Line:
    """The speed and offset nearby that gather most, on finer and finer grids; speed 1 unless another gains."""
    grid = np.linspace(-1, 1, 7)
    # Among equals the nearest to what we had: a static picture has no best line.
    nearness = 1 - 1e-4 * (np.abs(grid)[:, None] + np.abs(grid)).reshape(-1)
    for finer in (1.0, 0.4, 0.15):
        stretch = _stretch(gain, line, step)
        middle = step.query_times[(stretch.first + stretch.last) // 2]
        centre = line.speed * middle + line.offset
        half = max(0.5 * (step.query_times[stretch.last] - step.query_times[stretch.first]), step.query_step)
        turn = min(0.06, 1.5 * step.reference_step / half) * finer
        speeds = np.repeat(np.clip(line.speed + turn * grid, 0.49, 2.05), 7)
        shifts = np.tile(step.reference_step * 1.5 * finer * grid, 7)
        lines = np.stack([speeds, centre + shifts - speeds * middle], axis=1)
        best = int((_stretches(gain, lines, step).gains * nearness).argmax())
        line = Line(*lines[best].tolist())
    stretch = _stretch(gain, line, step)
    anchors = step.query_times[[stretch.first, (stretch.first + stretch.last) // 2, stretch.last]]
    shifts = np.tile(step.reference_step * np.linspace(-1, 1, 21), 3)
    offsets = np.repeat(line.speed * anchors + line.offset - anchors, 21) + shifts
    plain = np.stack([np.ones_like(offsets), offsets], axis=1)
    gains = _stretches(gain, plain, step).gains
    best = int((gains - 1e-4 * stretch.gain * np.abs(shifts)).argmax())
    return Line(*plain[best].tolist()) if gains[best] >= (1 - _ORDINARY_SPEED) * stretch.gain else line


def _spans(line: Line, stretch: _Stretch, step: _Steps) -> tuple[Span, Span]:
    """The seconds of a stretch on both clocks.

    A frame sampled at t is what is shown from some time in (t - step, t] on, so a stretch begins half a step before
    its first sample and ends half a step after its last; at the ends of a video it reaches the end itself, also
    through frames that cannot be judged (a fade from black) where both videos have them.
    """
    start = step.query_times[stretch.first] - 0.5 * step.query_step
    end = step.query_times[stretch.last] + 0.5 * step.query_step
    if stretch.first == 0 or step.says_nothing(line, 0.0, start):
        start = 0.0
    if stretch.last == len(step.query_times) - 1 or step.says_nothing(line, end, step.query_seconds):
        end = step.query_seconds
    near = 0.75 * step.reference_step
    begin, finish = line.speed * start + line.offset, line.speed * end + line.offset
    if begin < near:
        begin = max(begin, 0.0)
        start = max(0.0, (begin - line.offset) / line.speed)
    if finish > step.reference_seconds - near:
        finish = min(finish, step.reference_seconds)
        end = min(step.query_seconds, (finish - line.offset) / line.speed)
    start, begin = max(start, 0.0), max(begin, 0.0)
    return Span(float(start), float(max(end, start))), Span(float(begin), float(max(finish, begin)))


def _take_out(gain: Gain, line: Line, stretch: _Stretch, step: _Steps) -> None:
    """Strikes out, in place, the frame pairs that a stretch explains.

    They are its block, and what lies within a second beside it: a picture that hardly moves also resembles itself a
    little earlier and later. The corners stay, because a cut or an insertion goes on there.
    """
    first, last = step.columns(line, np.array([stretch.first, stretch.last]))
    down, across = math.ceil(1.0 / step.query_step), math.ceil(1.0 / step.reference_step)
    gain[stretch.first : stretch.last + 1, max(0, first - across) : last + 1 + across] = _WORST
    gain[max(0, stretch.first - down) : stretch.last + 1 + down, first : last + 1] = _WORST


def _hough(gain: Gain, step: _Steps) -> Line | None:
    """The line most frame pairs vote for, among the best few bins by what their lines really gather."""
    rows, columns = _matches(gain, most=20)
    if len(rows) == 0:
        return None
    votes = gain[rows, columns].astype(np.float64)
    tq, tr = step.query_times[rows], step.reference_times[columns]
    width = max(step.query_step, step.reference_step)
    proposals: list[tuple[float, float]] = []
    for speed in _SPEEDS:
        offsets = (tr - speed * tq) / width
        lowest = np.floor(offsets.min())
        bins = np.bincount((offsets - lowest).round().astype(np.int64), votes)
        smooth = np.convolve(bins, [0.5, 1.0, 0.5])[1:-1] if len(bins) > 1 else bins
        proposals.extend((speed, float((lowest + b) * width)) for b in np.argsort(-smooth)[:4])
    gains = _stretches(gain, np.array(proposals), step).gains
    best = int(np.argmax(gains))
    return Line(*proposals[best]) if gains[best] > 0 else None


def _matches(gain: Gain, *, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frame pairs above the threshold, at most so many per row, ordered by row."""
    count = min(most, gain.shape[1])
    columns = np.argpartition(-gain, count - 1, axis=1)[:, :count]
    rows = np.repeat(np.arange(gain.shape[0]), count)
    columns = columns.reshape(-1)
    keep = gain[rows, columns] > 0
    return rows[keep], columns[keep]


def _dynamic(gain: Gain, step: _Steps) -> Line | None:
    """The best chain of frame pairs that always moves on in both videos, as a line."""
    height, width = gain.shape
    moves = ((1, 1), (1, 2), (2, 1), (1, 0), (1, 3), (2, 3))  # query frames, reference frames
    sums = np.zeros((height + 2, width + 3), np.float32)
    came_from = np.full((height, width), -1, np.int8)
    for row in range(height):
        options = np.stack([sums[row + 2 - q, 3 - r : 3 - r + width] - 0.02 * (q + r > 2) for q, r in moves])
        options[3] -= 0.05
        best = options.argmax(axis=0)
        value = options[best, np.arange(width)]
        came_from[row] = np.where(value > 0, best, -1)
        sums[row + 2, 3:] = np.maximum(np.maximum(value, 0) + gain[row], 0)
    return _line_back(sums[2:, 3:], came_from, moves, step)


def _line_back(
    sums: Gain, came_from: NDArray[np.int8], moves: tuple[tuple[int, int], ...], step: _Steps
) -> Line | None:
    """Follows the best chain back and lays a line through it."""
    row, column = (int(i) for i in np.unravel_index(int(sums.argmax()), sums.shape))
    if sums[row, column] <= 0:
        return None
    chain = [(row, column)]
    while came_from[row, column] >= 0:
        q, r = moves[came_from[row, column]]
        row, column = row - q, column - r
        if row < 0 or column < 0 or sums[row, column] <= 0:
            break
        chain.append((row, column))
    return _line_through(np.array(chain[::-1]), step)


def _line_through(chain: NDArray[np.int64], step: _Steps) -> Line:
    """The least-squares line through frame pairs (n, 2)."""
    tq, tr = step.query_times[chain[:, 0]], step.reference_times[chain[:, 1]]
    spread = float(((tq - tq.mean()) ** 2).sum())
    slope = float(((tq - tq.mean()) * (tr - tr.mean())).sum()) / spread if spread > 0 else 1.0
    speed = min(max(slope, 0.5), 2.0)
    return Line(speed, float(tr.mean() - speed * tq.mean()))


def _network(gain: Gain, step: _Steps) -> Line | None:
    """The heaviest path through each row's best matches; one edge spans a few frames of either video."""
    most, reach = 12, 4
    rows, columns = _matches(gain, most=most)
    if len(rows) == 0:
        return None
    weight = gain[rows, columns]
    total, parent = weight.copy(), np.full(len(rows), -1)
    first_of = np.searchsorted(rows, np.arange(gain.shape[0] + 1))
    for row in range(1, gain.shape[0]):
        here = slice(first_of[row], first_of[row + 1])
        back = slice(first_of[max(0, row - reach)], first_of[row])
        if here.start == here.stop or back.start == back.stop:
            continue
        ahead = columns[here, None] - columns[None, back]
        skipped = (row - rows[back])[None, :] + ahead - 2
        allowed = (ahead >= 1) & (ahead <= 2 * reach)
        options = np.where(allowed, total[None, back] - 0.02 * skipped, -np.inf)
        best = options.argmax(axis=1)
        value = options[np.arange(len(best)), best]
        joined = value > 0
        total[here] = np.where(joined, weight[here] + np.where(joined, value, 0), weight[here])
        parent[here] = np.where(joined, best + back.start, -1)
    node = int(total.argmax())
    chain = [node]
    while parent[node] >= 0:
        node = int(parent[node])
        chain.append(node)
    chain.reverse()
    return _line_through(np.stack([rows[chain], columns[chain]], axis=1), step)


def _warped(gain: Gain, step: _Steps) -> Line | None:
    """The straight piece of the best warped path that gathers most; the others' turn comes when it is taken out."""
    path = warped_path(gain)
    if path is None:
        return None
    tq, tr = step.query_times[path.rows], step.reference_times[path.columns]
    pieces = straight_pieces(tq, tr, tolerance_seconds=3 * step.reference_step)
    best = max(pieces, key=lambda piece: float(gain[path.rows[piece], path.columns[piece]].sum()))
    return _line_through(np.stack([path.rows[best], path.columns[best]], axis=1), step)


def _straight(propose: Callable[[Gain, _Steps], Line | None]) -> Method:
    """The way of a proposer of lines: fitted, and cut to the best stretch."""

    def find(gain: Gain, _similarities: NDArray[np.float32], step: _Steps) -> tuple[Line, _Stretch] | None:
        line = propose(gain, step)
        if line is None:
            return None
        line = _fit(gain, line, step)
        stretch = _stretch(gain, line, step)
        return (line, stretch) if stretch.gain > 0 else None

    return find


def _align_and_refine(gain: Gain, similarities: NDArray[np.float32], step: _Steps) -> tuple[Line, _Stretch] | None:
    """Hough's stretch, its speed and offset again from the centred block, its ends from the levels along it."""
    aligned = _by_hough(gain, similarities, step)
    return None if aligned is None else _refined(similarities, *aligned, step)


def _refined_line(
    block: NDArray[np.float32], tq: NDArray[np.float64], tr: NDArray[np.float64], line: Line, step: _Steps
) -> Line:
    """The best line nearby on finer and finer grids; at the speed it had, unless another holds clearly more."""
    found: list[tuple[float, Line]] = []
    for turning in (0.0, 1.0):
        best, held = line, 0.0
        for finer in (1.0, 0.3, 0.1):
            turn = turning * finer * 2 * step.reference_step / max(float(tq[-1] - tq[0]), step.query_step)
            turns = turn * np.linspace(-1, 1, 7 if turn else 1)
            speed, offset, held = refined_line(
                block,
                tq,
                tr,
                speed=best.speed,
                offset_seconds=best.offset,
                speeds=np.clip(best.speed + turns, 0.49, 2.05),
                shifts_seconds=step.reference_step * 2 * finer * np.linspace(-1, 1, 9),
            )
            best = Line(speed, offset)
        found.append((held, best))
    (steady, same), (turned, other) = found
    return other if turned > (1 + 2 * _ORDINARY_SPEED) * steady else same


def _refined(
    similarities: NDArray[np.float32], line: Line, stretch: _Stretch, step: _Steps
) -> tuple[Line, _Stretch]:
    rows = np.arange(stretch.first, stretch.last + 1)
    columns = step.columns(line, rows)
    around = math.ceil(1.0 / step.reference_step)
    part = slice(max(0, int(columns[0]) - around), int(columns[-1]) + 1 + around)
    block = double_centred(similarities[rows, part])
    tq, tr = step.query_times[rows], step.reference_times[part]
    if len(rows) > 3 and len(tr) > 3:
        line = _refined_line(block, tq, tr, line, step)
    at = line.speed * step.query_times + line.offset
    shown = np.flatnonzero(
        (at >= step.reference_times[0] - 0.5 * step.reference_step)
        & (at < step.reference_times[-1] + step.reference_step)
    )
    if len(shown) == 0:
        return line, stretch
    along = similarities[shown, step.columns(line, shown)]
    beyond = float(np.median(similarities))
    first, last = (min(max(row - int(shown[0]), 0), len(shown) - 1) for row in (stretch.first, stretch.last))
    last = refined_end(along, last, beyond)
    first = len(along) - 1 - refined_end(along[::-1], len(along) - 1 - first, beyond)
    if last < first:
        return line, stretch
    return line, _Stretch(stretch.gain, int(shown[first]), int(shown[last]))


Method: TypeAlias = Callable[[Gain, NDArray[np.float32], _Steps], tuple[Line, _Stretch] | None]
"""Gains and similarities (Tq, Tr) and both clocks -> the best stretch that is still there."""

_by_hough = _straight(_hough)

METHODS: dict[str, Method] = {
    "hough": _by_hough,
    "dynamic": _straight(_dynamic),
    "network": _straight(_network),
    "dtw": _straight(_warped),
    "refine": _align_and_refine,
}
"""Ways to find the next best stretch, by name."""
