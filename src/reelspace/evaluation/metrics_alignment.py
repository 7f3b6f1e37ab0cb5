"""Measures of temporal alignment and of retrieval by it, as EVVE, Climbing, Madonna and VCDB are evaluated.

**Average precision** is the area under precision over recall by trapezoids. Let the k-th relevant item (k from 0)
stand at rank r (from 0). Recall rises there by ``1 / n``, n being how many are relevant; just before, k of r items
were relevant, and with it k + 1 of r + 1. So

    AP = sum_k (p0 + p1) / 2 / n,    p0 = k / r (1 for r = 0),    p1 = (k + 1) / (r + 1)

as the authors of Holidays and EVVE compute it (Jegou et al. 2008, Revaud et al. 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reelspace.errors import InvalidArgument

__all__ = [
    "Detections",
    "PrecisionRecall",
    "average_precision",
    "detections",
    "found_and_known",
    "localization_errors",
    "localized",
    "mean_average_precision",
    "precision_recall",
    "ranked_average_precision",
]

_LEAST_OVERLAP_SECONDS = 0.01


def average_precision(ranks: ArrayLike, relevant: int) -> float:
    """The average precision of a list, from where in it the relevant items stand.

    Args:
        ranks: int (K,), from 0, increasing.
        relevant: how many items are relevant, those not in the list included; 0 gives 0.
    """
    places = np.asarray(ranks, dtype=np.float64).reshape(-1)
    if not relevant or not len(places):
        return 0.0
    k = np.arange(len(places))
    before = np.where(places > 0, k / np.maximum(places, 1), 1.0)
    return float(np.sum(before + (k + 1) / (places + 1)) / 2 / relevant)


def ranked_average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """The average precision of items sorted by score, the best first; of equal ones the first given comes first.

    Args:
        scores: float (N,).
        labels: int (N,): 1 relevant, 0 not, -1 unknown: taken out of the list before anything is counted.
    """
    known = np.asarray(labels)[np.argsort(-np.asarray(scores), kind="stable")]
    known = known[known >= 0]
    return average_precision(np.flatnonzero(known == 1), int(np.sum(known == 1)))


def mean_average_precision(
    scores: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    *,
    depth: int | None = None,
    as_published: bool = False,
) -> float:
    """How well every item of a set finds those it belongs with: the mean of their average precisions.

    Args:
        scores: (N, N), row i for query i; an item does not find itself.
        relevant: (N, N).
        depth: how many of the best are looked at; None for all.
        as_published: count as videoalignment counts Madonna: an AP is divided by how many relevant items were found
            instead of how many there are, and queries with nothing to find count as 0 instead of not at all.

    Raises:
        InvalidArgument: when no query has anything to find.
    """
    if not relevant.any():
        raise InvalidArgument("no query has anything to find, so there is no mean of precisions")
    found = []
    for i, row in enumerate(relevant):
        order = np.argsort(-scores[i], kind="stable")
        ranks = np.flatnonzero(row[order[order != i]][:depth])
        found.append(average_precision(ranks, len(ranks) if as_published else int(row.sum())))
    return float(np.mean(found if as_published else np.array(found)[relevant.any(axis=1)]))


def localization_errors(
    scores: NDArray[np.floating], offsets_seconds: NDArray[np.floating], true_seconds: NDArray[np.floating]
) -> NDArray[np.float64]:
    """By how much each recording misses, aligned with that other one it matches best: float64 (N,), in seconds.

    Args:
        scores: (N, N), symmetric: the best score of each pair.
        offsets_seconds: (N, N): the offset it is reached at, what happens at second t of recording k happening at
            second t + offset of recording i.
        true_seconds: (N, N): the true one; NaN for pairs that share no moment. Aligned with such a one, a recording
            misses by infinity.
    """
    others = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    best = np.argmax(others, axis=1)
    rows = np.arange(len(scores))
    errors = np.abs(offsets_seconds[rows, best] - true_seconds[rows, best])
    return np.asarray(np.where(np.isnan(errors), np.inf, errors))


def localized(errors_seconds: ArrayLike, within_seconds: Sequence[float] = (0.1, 1.0, 10.0)) -> dict[float, float]:
    """Which share of recordings misses by less than so many seconds: in percent, of all of them."""
    errors = np.asarray(errors_seconds, dtype=np.float64)
    return {limit: float(100 * np.mean(errors < limit)) for limit in within_seconds}


class PrecisionRecall(NamedTuple):
    """Precision and recall at every threshold.

    Attributes:
        precision: (T + 1,), of what scores at least the threshold; the last is 1, of nothing.
        recall: (T + 1,), likewise; the last is 0.
        thresholds: (T,), increasing: every score that occurs.
        area: under precision over recall, by trapezoids.
        best_f1: the largest ``2 P R / (P + R + 1e-7)``.
        best_threshold: where it is reached.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    area: float
    best_f1: float
    best_threshold: float


def precision_recall(scores: ArrayLike, labels: ArrayLike, *, missed: int = 0) -> PrecisionRecall:
    """The precision-recall curve of detections.

    Args:
        scores: (N,).
        labels: (N,), 1 where the detection is right.
        missed: how many things to be detected no detection is right about: they count in every recall.

    Raises:
        InvalidArgument: when there is nothing to detect.
    """
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    total = right.sum() + missed
    if not total:
        raise InvalidArgument("nothing is to be detected, so there is no recall")
    order = np.argsort(-values, kind="stable")
    values, right = values[order], right[order]
    last = np.flatnonzero(np.append(np.diff(values) != 0, True))[: len(values)]  # of each run of equal scores
    hits = np.cumsum(right)[last]
    precision = np.append((hits / (last + 1))[::-1], 1.0)
    recall = np.append((hits / total)[::-1], 0.0)
    f1 = 2 * precision * recall / (precision + recall + 1e-7)
    best = int(np.argmax(f1))
    thresholds = values[last][::-1]
    return PrecisionRecall(
        precision,
        recall,
        thresholds,
        area=float(-np.trapezoid(precision, recall)),
        best_f1=float(f1[best]),
        best_threshold=float(np.append(thresholds, np.inf)[best]),
    )


class Detections(NamedTuple):
    """What segments searched in videos found, for `precision_recall`.

    Attributes:
        scores: (N,).
        labels: int (N,).
        missed: how many annotated pairs were detected elsewhere than they are.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    missed: int


def found_and_known(
    query: tuple[float, float], predicted_seconds: float, annotated: Sequence[tuple[float, float, float, float]]
) -> tuple[bool, bool]:
    """Whether a segment was found in a video where it is annotated, and whether it is annotated there at all.

    Args:
        query: begin and end of the segment that is searched for.
        predicted_seconds: where in the video it is said to begin.
        annotated: of the same two videos: begin and end in the query's, begin and end in the searched one.
    """
    begin, end = query
    predicted = predicted_seconds, predicted_seconds + end - begin
    known = [row for row in annotated if _meet(query, row[:2])]
    return any(_meet(predicted, row[2:]) for row in known), bool(known)


def detections(
    scores: NDArray[np.floating],
    found: NDArray[np.bool_],
    known: NDArray[np.bool_],
    *,
    as_published: bool = False,
) -> Detections:
    """Labels for detections: right where a segment was found, and a miss where it is known but was not.

    Args:
        scores: (N,), of the best offset of each segment and video.
        found: (N,), see `found_and_known`.
        known: (N,), likewise.
        as_published: append a miss as videoalignment does: it means to add a right item of score 0 beside the wrong
            detection, but swaps the labels, so the wrong detection's score counts as right and the 0 as wrong.
    """
    labels = found.astype(np.int64)
    misses = known & ~found
    if as_published:
        labels = np.concatenate([labels | misses, np.zeros(int(misses.sum()), np.int64)])
        scores = np.concatenate([scores, np.zeros(int(misses.sum()))])
    return Detections(np.asarray(scores, np.float64), labels, 0 if as_published else int(misses.sum()))


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return min(a[1], b[1]) - max(a[0], b[0]) >= _LEAST_OVERLAP_SECONDS - 1e-9
