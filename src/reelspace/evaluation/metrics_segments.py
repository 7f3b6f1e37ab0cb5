"""How well copied stretches were found: the measures of VSC2022 and of VCSL, and how far off the ends are.

Everything is numpy on float64 seconds. A pair of videos is ``(query id, reference id)``; what is said about it is
a sequence of `CopySegment`s, of which these measures read the two spans and the score. A segment is seen as a
rectangle: its span of the query by its span of the reference.

Sources: vsc/metrics.py of facebookresearch/vsc2022 (Pizzi et al. 2023) and vcsl/metric.py of alipay/VCSL (He et al.
2022). Parity with both: tests/parity/make_vsc2022.py and make_vcsl.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reelspace.core.results import CopySegment
from reelspace.errors import InvalidArgument

__all__ = [
    "Pair",
    "PairSegments",
    "PrecisionRecallCurve",
    "SegmentAverage",
    "SegmentScore",
    "average_over_pairs",
    "average_over_query_sets",
    "boundary_errors_seconds",
    "match_average_precision",
    "match_curve",
    "micro_average_precision",
    "precision_recall_curve",
    "segment_score",
]

Pair: TypeAlias = tuple[str, str]
"""Query id, reference id."""

PairSegments: TypeAlias = Mapping[Pair, Sequence[CopySegment]]
"""What is said, or true, about pairs of videos; a pair with no segment is one that shares nothing."""

_PUBLISHED_SLACK_SECONDS = 1e-6  # what VCSL's evaluator adds to each denominator


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall of what scores at least so much, one point per distinct score, the highest first.

    Attributes:
        precisions: float64 (K,).
        recalls: float64 (K,), not decreasing.
        scores: float64 (K,), decreasing.
    """

    precisions: NDArray[np.float64]
    recalls: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """The sum over the points of precision times the recall gained there."""
        return float(np.sum(self.precisions * np.diff(self.recalls, prepend=0.0)))

    @property
    def best_f1(self) -> float:
        """The greatest harmonic mean of precision and recall along the curve; 0 for an empty one."""
        both = self.precisions + self.recalls
        f1 = np.divide(2 * self.precisions * self.recalls, both, out=np.zeros_like(both), where=both > 0)
        return float(f1.max(initial=0.0))


def precision_recall_curve(scores: ArrayLike, right: ArrayLike, total: int) -> PrecisionRecallCurve:
    """The curve of answers that are each right or wrong.

    Answers of one score are accepted together: what a tie holds in which order must not matter.

    Args:
        scores: float (N,), of all answers to all queries, in any order.
        right: bool (N,), whether each is.
        total: how many right answers there are, found or not.

    Raises:
        InvalidArgument: when the arrays are not parallel, a score is not finite, there is no right answer, or more
            are found than there are.
    """
    values, hits = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    if values.ndim != 1 or values.shape != hits.shape:
        raise InvalidArgument(f"each answer has one score and is right or not, got {values.shape} and {hits.shape}")
    if not np.isfinite(values).all():
        raise InvalidArgument(f"scores must be finite, got {values[~np.isfinite(values)][0]}")
    if total < 1 or hits.sum() > total:
        raise InvalidArgument(f"{int(hits.sum())} answers are right, but the truth is said to hold {total}")
    distinct, place = np.unique(-values, return_inverse=True)
    found = np.cumsum(np.bincount(place[hits], minlength=len(distinct)))
    answered = np.cumsum(np.bincount(place, minlength=len(distinct)))
    return PrecisionRecallCurve(found / answered, found / total, -distinct)


def micro_average_precision(scores: ArrayLike, right: ArrayLike, total: int) -> float:
    """µAP: average precision over the answers to all queries in one ranking, in [0, 1].

    VSC2022's measure of its descriptor track. With ``c`` right answers among the ``n`` that score at least as much
    as a distinct score, and ``d`` of them at that score, it is the sum of ``c / n * d / total``: scikit-learn's
    `average_precision_score`, times the share of the truth that was answered at all.

    For arguments and errors see `precision_recall_curve`.
    """
    return precision_recall_curve(scores, right, total).average_precision


def match_curve(found: PairSegments, true: PairSegments) -> PrecisionRecallCurve:
    """VSC2022's curve of its matching track: precision and recall in seconds, over all pairs at once.

    On one axis (query or reference) let ``T`` be the seconds that the segments scored at least so much cover,
    summed over pairs; ``G`` the same of the truth; ``I`` the seconds of ``T`` that also lie in a true segment of
    that pair. Precision is ``sqrt(I_q / T_q * I_r / T_r)`` and recall ``sqrt(I_q / G_q * I_r / G_r)``. A true
    segment counts towards ``I`` only once some found segment shares *area* with it, so that two segments found
    crosswise (Fig. 4f, He et al. 2022) earn nothing.

    Cut both axes of a pair at all ends. A cell of the cut joins ``T`` at the rank of the best segment that covers
    it, and ``I`` at the later of that and the rank at which a true segment covering it is first met. So every cell
    adds its length at one known rank, and the curve is two cumulative sums.

    Args:
        found: segments with scores, by pair.
        true: segments by pair; scores are not read.

    Raises:
        InvalidArgument: when the truth covers no second, or a score is not finite.
    """
    truth = np.array([[_covered_seconds(axis) for axis in _boxes(segments)] for segments in true.values()])
    truth_seconds = truth.reshape(-1, 2).sum(axis=0)
    if not truth_seconds.all():
        raise InvalidArgument("the truth covers no second, so recall has no meaning: check the ground truth file")
    scores = np.array([segment.score for segments in found.values() for segment in segments], dtype=np.float64)
    if not np.isfinite(scores).all():
        raise InvalidArgument(f"scores must be finite, got {scores[~np.isfinite(scores)][0]}")
    distinct, ranks = np.unique(-scores, return_inverse=True)
    covered, shared = np.zeros((2, len(distinct) + 1)), np.zeros((2, len(distinct) + 1))  # the last rank is never
    first = 0
    for pair, segments in found.items():
        rank = ranks[first : first + len(segments)]
        first += len(segments)
        boxes, true_boxes = _boxes(segments), _boxes(true.get(pair, ()))
        meet = _area(boxes, true_boxes) > 0  # (P, G)
        met = np.where(meet, rank[:, None], len(distinct)).min(axis=0, initial=len(distinct))
        for axis in range(2):
            edges = np.unique(np.concatenate([boxes[axis].ravel(), true_boxes[axis].ravel()]))
            lengths = np.diff(edges)
            covered_at = _first_covered(edges, boxes[axis], rank, never=len(distinct))
            shared_at = np.maximum(covered_at, _first_covered(edges, true_boxes[axis], met, never=len(distinct)))
            np.add.at(covered[axis], covered_at, lengths)
            np.add.at(shared[axis], shared_at, lengths)
    covered, shared = np.cumsum(covered[:, :-1], axis=1), np.cumsum(shared[:, :-1], axis=1)
    # A found segment of no length covers nothing: neither right nor wrong.
    precisions = np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)
    recalls = shared / truth_seconds[:, None]
    return PrecisionRecallCurve(np.sqrt(precisions.prod(axis=0)), np.sqrt(recalls.prod(axis=0)), -distinct)


def match_average_precision(found: PairSegments, true: PairSegments) -> float:
    """VSC2022's matching µAP in [0, 1]: the average precision of `match_curve`, where arguments and errors are."""
    return match_curve(found, true).average_precision


@dataclass(frozen=True, slots=True)
class SegmentScore:
    """VCSL's precision and recall of the segments of one pair.

    Attributes:
        precision: in [0, 1]; 1 where nothing was found, for nothing wrong was said.
        recall: in [0, 1]; 1 where nothing is true, for nothing was missed.
        found: whether anything was found.
        true: whether anything is true.
    """

    precision: float
    recall: float
    found: bool
    true: bool


@dataclass(frozen=True, slots=True)
class SegmentAverage:
    """VCSL's figures over many pairs, each in [0, 1].

    Attributes:
        precision: mean over pairs.
        recall: mean over pairs.
        missed: share of the pairs with something true in which nothing was found (its false rejection rate).
        false_alarms: share of the pairs with nothing true in which something was found.
        pairs: how many pairs, or query sets, were averaged.
    """

    precision: float
    recall: float
    missed: float
    false_alarms: float
    pairs: int

    @property
    def f1(self) -> float:
        """The harmonic mean of both means; 0 when both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def segment_score(
    found: Sequence[CopySegment], true: Sequence[CopySegment], *, as_published: bool = False
) -> SegmentScore:
    """VCSL's precision and recall of one pair (He et al. 2022, Eq. 2 and 3).

    On one axis, each found segment is right for the seconds of it that are covered by the true segments it shares
    area with; the sum of that over the found segments, over the sum of their lengths, is the precision of the axis.
    The product of both axes is the precision. Recall is the same with both sides exchanged. A segment said twice
    counts twice.

    Args:
        found: of one pair; scores are not read.
        true: of the same pair.
        as_published: the evaluator of alipay/VCSL adds 1e-6 s to each denominator, so a perfect answer misses 1 by
            1e-6 / length; it also rounds the numerator to float32, which this does not repeat.
    """
    if not found or not true:
        return SegmentScore(0.0 if found else 1.0, 0.0 if true else 1.0, bool(found), bool(true))
    boxes, true_boxes = _boxes(found), _boxes(true)
    meet = _area(boxes, true_boxes) > 0  # (P, G)
    starts = np.maximum(boxes[:, :, None, 0], true_boxes[:, None, :, 0])  # (2, P, G)
    ends = np.where(meet, np.minimum(boxes[:, :, None, 1], true_boxes[:, None, :, 1]), starts)
    slack = _PUBLISHED_SLACK_SECONDS if as_published else 0.0
    right = _union_seconds(starts, ends).sum(axis=1)  # (2,)
    recalled = _union_seconds(starts.swapaxes(1, 2), ends.swapaxes(1, 2)).sum(axis=1)
    said, there = (np.diff(sides, axis=2).sum(axis=(1, 2)) + slack for sides in (boxes, true_boxes))
    precision, recall = (
        float(np.divide(part, whole, out=np.zeros(2), where=whole > 0).prod())
        for part, whole in ((right, said), (recalled, there))
    )
    return SegmentScore(precision, recall, found=True, true=True)


def average_over_pairs(scores: Iterable[SegmentScore], *, as_published: bool = False) -> SegmentAverage:
    """VCSL's overall figures: mean precision where something was found, mean recall where something is true.

    Args:
        scores: of the pairs.
        as_published: the evaluator of alipay/VCSL counts no pairs for its two rates but takes half of them to share
            footage.

    Raises:
        InvalidArgument: without a pair.
    """
    rows = list(scores)
    if not rows:
        raise InvalidArgument("an average needs at least one pair, got none")
    precisions = [row.precision for row in rows if row.found]
    recalls = [row.recall for row in rows if row.true]
    missed = sum(row.true and not row.found for row in rows)
    alarms = sum(row.found and not row.true for row in rows)
    positives, negatives = (len(rows) / 2,) * 2 if as_published else (len(recalls), len(rows) - len(recalls))
    return SegmentAverage(
        _mean(precisions, 1.0),
        _mean(recalls, 1.0),
        missed / positives if positives else 0.0,
        alarms / negatives if negatives else 0.0,
        len(rows),
    )


def average_over_query_sets(
    scores: Mapping[Pair, SegmentScore], query_sets: Mapping[str, Sequence[Pair]]
) -> SegmentAverage:
    """VCSL's figures per query set, averaged over the sets: each set weighs the same, however many pairs it holds.

    Args:
        scores: of the pairs.
        query_sets: the pairs of each set; all must have a score.

    Raises:
        InvalidArgument: without a set, for a set without a pair, or a pair without a score.
    """
    for name, pairs in query_sets.items():
        unknown = [pair for pair in pairs if pair not in scores]
        if unknown or not pairs:
            raise InvalidArgument(
                f"query set {name!r} has " + (f"no score for {'-'.join(unknown[0])}" if unknown else "no pair")
            )
    rows = [[scores[pair] for pair in pairs] for pairs in query_sets.values()]
    overall = average_over_pairs(row for of_set in rows for row in of_set)
    return SegmentAverage(
        _mean([_mean([row.precision for row in of_set], 1.0) for of_set in rows], 1.0),
        _mean([_mean([row.recall for row in of_set], 1.0) for of_set in rows], 1.0),
        overall.missed,
        overall.false_alarms,
        len(rows),
    )


def boundary_errors_seconds(found: Sequence[CopySegment], true: Sequence[CopySegment]) -> NDArray[np.float64]:
    """How far the ends of found segments of one pair lie from the true ones.

    Each true segment is held against the found one that shares most area with it. True segments that share none are
    left out: that they were missed is what recall says.

    Returns:
        float64 (K, 4): absolute seconds of query start, query end, reference start, reference end, one row for each
        true segment that was met, in the order of ``true``.
    """
    boxes, true_boxes = _boxes(found), _boxes(true)
    if not found or not true:
        return np.zeros((0, 4))
    area = _area(boxes, true_boxes)  # (P, G)
    met = np.flatnonzero(area.max(axis=0) > 0)
    errors: NDArray[np.float64] = np.abs(boxes[:, area.argmax(axis=0)[met]] - true_boxes[:, met])  # (2, K, 2)
    return errors.transpose(1, 0, 2).reshape(len(met), 4)


def _boxes(segments: Sequence[CopySegment]) -> NDArray[np.float64]:
    """(2, N, 2): axis (query, reference), segment, start and end."""
    ends = [[(s.query.start, s.query.end), (s.reference.start, s.reference.end)] for s in segments]
    return np.array(ends, dtype=np.float64).reshape(-1, 2, 2).swapaxes(0, 1)


def _area(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area in square seconds that each box shares with each other: (P, G)."""
    starts = np.maximum(boxes[:, :, None, 0], others[:, None, :, 0])
    ends = np.minimum(boxes[:, :, None, 1], others[:, None, :, 1])
    area: NDArray[np.float64] = np.maximum(ends - starts, 0.0).prod(axis=0)
    return area


def _union_seconds(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds covered by at least one interval of the last axis; none where an interval ends as it starts."""
    order = np.argsort(starts, axis=-1, kind="stable")
    starts, ends = np.take_along_axis(starts, order, axis=-1), np.take_along_axis(ends, order, axis=-1)
    reached = np.maximum.accumulate(ends, axis=-1)
    reached_before = np.concatenate([np.full_like(reached[..., :1], -np.inf), reached[..., :-1]], axis=-1)
    seconds: NDArray[np.float64] = np.maximum(ends - np.maximum(starts, reached_before), 0.0).sum(axis=-1)
    return seconds


def _covered_seconds(spans: NDArray[np.float64]) -> float:
    """Seconds that spans (N, 2) cover."""
    return float(_union_seconds(spans[:, 0], spans[:, 1])) if len(spans) else 0.0


def _first_covered(
    edges: NDArray[np.float64], spans: NDArray[np.float64], ranks: NDArray[np.int64], *, never: int
) -> NDArray[np.int64]:
    """The least rank of a span that covers each cell between two edges; ``never`` where none does."""
    first = np.full(max(len(edges) - 1, 0), never, dtype=np.int64)
    cells = np.searchsorted(edges, spans)  # (N, 2)
    for index in np.argsort(-ranks, kind="stable"):  # painted worst first: the best stays
        first[cells[index, 0] : cells[index, 1]] = ranks[index]
    return first


def _mean(values: Sequence[float], empty: float) -> float:
    return sum(values) / len(values) if values else empty
