"""Meta's Video Similarity Challenge 2022 (Pizzi et al. 2023): its files, and its two tracks.

The matching track: ``query_id,ref_id,query_start,query_end,ref_start,ref_end,score`` in a .csv, in any order of
columns, seconds; the ground truth without scores. The descriptor track: an .npz of ``video_ids``, ``features`` and
``timestamps`` (a moment, or start and end, per row), for queries and for references.

As its evaluator does, but for one thing: a pair whose best score is below 0 keeps it, where
`CandidatePair.from_matches` makes it 0.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameMatrix
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.metrics_segments import (
    Pair,
    PairSegments,
    PrecisionRecallCurve,
    match_curve,
    precision_recall_curve,
)
from reelspace.evaluation.report import Curve, Provenance, Report
from reelspace.tasks.copies import find_copies
from reelspace.tasks.normalisation import normalised_queries, normalised_references

__all__ = [
    "Descriptors",
    "descriptor_pairs",
    "descriptor_report",
    "find_matches",
    "match_report",
    "normalised",
    "pair_scores",
    "read_descriptors",
    "read_matches",
    "write_descriptors",
    "write_matches",
]

FRAME_PAIRS_PER_QUERY = 1_200
"""Pairs of frames the descriptor track looks at, per query: the best of all queries together."""

PAIRS_PER_QUERY = 25
"""Pairs of videos the descriptor track ranks, per query: the best of all queries together."""

_ENDS = ("query_start", "query_end", "ref_start", "ref_end")
_COLUMNS = ("query_id", "ref_id", *_ENDS)
_BLOCK_ROWS = 4_096


def read_matches(path: str | os.PathLike[str], *, scored: bool = True) -> dict[Pair, list[CopySegment]]:
    """Reads matches, by pair. Ids that are numbers are written out as the challenge does: 7 is ``Q000007``.

    Args:
        path: a .csv.
        scored: whether it holds predictions; a ground truth needs no score, and gets 1.

    Raises:
        FormatError: naming the row that breaks the format, or the column that is not there.
    """
    pairs: defaultdict[Pair, list[CopySegment]] = defaultdict(list)
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        lacking = {*_COLUMNS, *(("score",) if scored else ())} - set(rows.fieldnames or ())
        if lacking:
            raise FormatError(f"{path} has no column {', '.join(sorted(lacking))}; matches of VSC2022 need one")
        for row in rows:
            try:
                query, reference = _full_id(row["query_id"], "Q"), _full_id(row["ref_id"], "R")
                start, end, other_start, other_end = (float(row[name]) for name in _ENDS)
                score = float(row["score"]) if scored else 1.0
                segment = CopySegment(Span(start, end), Span(other_start, other_end), 1.0, score)
            except (TypeError, ValueError) as error:
                raise FormatError(f"{path}, line {rows.line_num}: {error}") from error
            pairs[query, reference].append(segment)
    return dict(pairs)


def write_matches(path: str | os.PathLike[str], matches: PairSegments) -> int:
    """Writes predictions for the matching track, the best first; returns how many."""
    rows = sorted(
        ((segment, pair) for pair, segments in matches.items() for segment in segments),
        key=lambda row: (-row[0].score, row[1]),
    )
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow([*_COLUMNS, "score"])
        out.writerows(
            [*pair, s.query.start, s.query.end, s.reference.start, s.reference.end, s.score] for s, pair in rows
        )
    return len(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """Vectors of many videos, one after the other; rows of video ``i`` are ``bounds[i]:bounds[i + 1]``.

    Attributes:
        video_ids: of the V videos.
        bounds: int64 (V + 1,).
        vectors: float32 (N, D), as the file has them.
        spans_seconds: float64 (N, 2), start and end of each row; equal where the file has moments.
    """

    video_ids: tuple[str, ...]
    bounds: NDArray[np.int64]
    vectors: NDArray[np.float32]
    spans_seconds: NDArray[np.float64]

    def __len__(self) -> int:
        """How many videos."""
        return len(self.video_ids)

    def matrix(self) -> FrameMatrix:
        """The rows at unit length, as finding copies takes them; rows of zeros carry no evidence."""
        lengths = np.linalg.norm(self.vectors, axis=1)
        times = self.spans_seconds.mean(axis=1)
        lasts = np.array([self.spans_seconds[rows].max(initial=0.0) for rows in self._ranges()])
        steps = np.array(
            [np.median(np.diff(times[rows])) if len(times[rows]) > 1 else 1.0 for rows in self._ranges()]
        )
        return FrameMatrix(
            (self.vectors / np.maximum(lengths, 1e-12)[:, None]).astype(np.float16),
            times,
            np.zeros(len(times), np.uint8),
            (lengths > 0).astype(np.float32),
            self.bounds,
            self.video_ids,
            lasts + steps,
            Space("features", self.vectors.shape[1], {}),
        )

    def _ranges(self) -> Iterator[slice]:
        return (slice(int(a), int(b)) for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True))


def read_descriptors(path: str | os.PathLike[str], *, prefix: str) -> Descriptors:
    """Reads the descriptors of the queries (``prefix`` Q) or of the references (R).

    Raises:
        FormatError: when it is not such a file, or the rows of a video lie apart.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            ids, vectors, times = (stored[name] for name in ("video_ids", "features", "timestamps"))
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FormatError(f"{path} holds no descriptors of VSC2022: {error}") from error
    if vectors.ndim != 2 or len(ids) != len(vectors) or times.shape not in {(len(ids),), (len(ids), 2)}:
        raise FormatError(
            f"{path}: N video ids, (N, D) features and (N,) or (N, 2) timestamps are needed, "
            f"got {ids.shape}, {vectors.shape} and {times.shape}"
        )
    firsts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.zeros(0, np.int64)
    names = tuple(_full_id(str(video_id), prefix) for video_id in ids[firsts])
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path}: the rows of {twice} lie apart; those of one video must follow one another")
    spans = times.astype(np.float64)
    return Descriptors(
        names,
        np.append(firsts, len(ids)).astype(np.int64),
        vectors.astype(np.float32),
        np.stack([spans, spans], axis=1) if spans.ndim == 1 else spans,
    )


def write_descriptors(path: str | os.PathLike[str], matrix: FrameMatrix, video_ids: Sequence[str]) -> None:
    """Writes the rows of videos for the descriptor track, under these ids; rows without evidence are left out."""
    kept = np.flatnonzero(matrix.weights > 0)
    owners = np.searchsorted(matrix.bounds, kept, side="right") - 1
    np.savez(
        path,
        video_ids=np.array(video_ids, dtype=str)[owners],
        features=matrix.vectors[kept].astype(np.float32),
        timestamps=matrix.times_seconds[kept].astype(np.float32),
    )


def normalised(
    queries: Descriptors, references: Descriptors, noise: Descriptors, *, beta: float = 1.0
) -> tuple[Descriptors, Descriptors]:
    """Both sides with one more number, so that their products are scores normalised against a noise set.

    As its baseline without ``replace_dim``: see `tasks.normalisation`. Rows are brought to unit length first.

    Raises:
        InvalidArgument: when the noise set is empty, or of other dimensions.
    """
    scaled, others, background = (_unit(side.vectors) for side in (queries, references, noise))
    changed = normalised_queries(scaled, background, beta=beta), normalised_references(others)
    mine, theirs = (
        Descriptors(side.video_ids, side.bounds, vectors, side.spans_seconds)
        for side, vectors in zip((queries, references), changed, strict=True)
    )
    return mine, theirs


def descriptor_pairs(
    queries: Descriptors,
    references: Descriptors,
    *,
    frame_pairs_per_query: int = FRAME_PAIRS_PER_QUERY,
    pairs_per_query: int = PAIRS_PER_QUERY,
) -> dict[Pair, float]:
    """The pairs of videos that the descriptor track ranks, best first: by the inner product of their best frames.

    Only the best pairs of frames of all queries together are looked at, then only the best pairs of videos: what
    one query finds depends on how sure the others are, as a threshold would.

    Raises:
        InvalidArgument: when the two sides have other dimensions.
    """
    if queries.vectors.shape[1] != references.vectors.shape[1]:
        raise InvalidArgument(
            f"queries have {queries.vectors.shape[1]} dimensions, references {references.vectors.shape[1]}"
        )
    at_most = frame_pairs_per_query * len(queries)
    best = np.full((len(queries), len(references)), -np.inf, np.float32)
    highest = np.empty(0, np.float32)  # of all pairs of frames, as many as are looked at
    for rows, videos, firsts in _blocks(queries):
        for others, other_videos, other_firsts in _blocks(references):
            products = queries.vectors[rows] @ references.vectors[others].T
            by_video = np.maximum.reduceat(np.maximum.reduceat(products, other_firsts, axis=1), firsts, axis=0)
            place = np.ix_(videos, other_videos)
            best[place] = np.maximum(best[place], by_video)
            highest = np.concatenate([highest, products.ravel()])
            if len(highest) > at_most:
                highest = np.partition(highest, len(highest) - at_most)[len(highest) - at_most :]
    least = highest.min() if len(highest) >= at_most else -np.inf
    order = np.argsort(-best, axis=None, kind="stable")[: pairs_per_query * len(queries)]
    query_places, reference_places = np.unravel_index(order, best.shape)
    return {
        (queries.video_ids[q], references.video_ids[r]): float(best[q, r])
        for q, r in zip(query_places, reference_places, strict=True)
        if best[q, r] >= least
    }


def find_matches(
    queries: FrameMatrix, references: FrameMatrix, *, threshold: float = 0.0, k: int = 20, method: str = "hough"
) -> dict[Pair, tuple[CopySegment, ...]]:
    """What `find_copies` finds, as predictions: every segment with its score, for the measure ranks them."""
    found = find_copies(queries, references, threshold=threshold, k=k, method=method)
    return {(queries.video_ids[q], references.video_ids[r]): segments for q, r, segments in found}


def pair_scores(matches: PairSegments) -> dict[Pair, float]:
    """The score of each pair: of its best segment."""
    return {pair: max(segment.score for segment in segments) for pair, segments in matches.items() if segments}


def match_report(found: PairSegments, true: PairSegments, *, provenance: Sequence[Provenance] = ()) -> Report:
    """The matching track: the challenge's own measure, and whether the pairs alone are right.

    Args:
        found: predictions.
        true: the ground truth.
        provenance: where they came from.

    Raises:
        InvalidArgument: when the truth covers no second, or a score is not finite.
    """
    segments, pairs = match_curve(found, true), _curve_of_pairs(pair_scores(found), true)
    rows = [
        ("matching µAP", segments.average_precision),
        ("best segment F1", segments.best_f1),
        ("µAP of the pairs alone", pairs.average_precision),
        *_counts(found, true),
        ("segments predicted", sum(map(len, found.values()))),
    ]
    return Report(
        "VSC2022, matching track",
        ("measure", "value"),
        rows,
        provenance,
        (*_drawn(segments, "segments"), *_drawn(pairs, "pairs")),
    )


def descriptor_report(
    scores: Mapping[Pair, float], true: PairSegments, *, provenance: Sequence[Provenance] = ()
) -> Report:
    """The descriptor track: micro average precision of ranked pairs, see `descriptor_pairs`.

    Raises:
        InvalidArgument: when nothing is true, or a score is not finite.
    """
    pairs = _curve_of_pairs(scores, true)
    rows = [("descriptor µAP", pairs.average_precision), ("best F1", pairs.best_f1), *_counts(scores, true)]
    return Report("VSC2022, descriptor track", ("measure", "value"), rows, provenance, _drawn(pairs, "pairs"))


def _curve_of_pairs(scores: Mapping[Pair, float], true: PairSegments) -> PrecisionRecallCurve:
    return precision_recall_curve(
        list(scores.values()), [bool(true.get(pair)) for pair in scores], _positives(true)
    )


def _positives(true: PairSegments) -> int:
    return sum(bool(segments) for segments in true.values())


def _counts(found: Mapping[Pair, object], true: PairSegments) -> list[tuple[str, int]]:
    met = sum(bool(true.get(pair)) for pair in found)
    return [
        ("true pairs", _positives(true)),
        ("true pairs without a prediction", _positives(true) - met),
        ("predicted pairs", len(found)),
        ("predicted pairs that are not true", len(found) - met),
    ]


def _drawn(curve: PrecisionRecallCurve, name: str) -> tuple[Curve, ...]:
    return (Curve("precision and recall", name, curve.recalls, curve.precisions, "recall", "precision"),)


def _full_id(video_id: str, prefix: str) -> str:
    """The id as the challenge writes it; a bare number is written out."""
    if video_id.isdecimal():
        return f"{prefix}{int(video_id):06d}"
    if not video_id.startswith(prefix):
        raise FormatError(f"an id here begins with {prefix} or is a number, got {video_id!r}")
    return video_id


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def _blocks(side: Descriptors) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
    """Rows block by block: which, the videos among them, and where each begins within the block."""
    for first in range(0, len(side.vectors), _BLOCK_ROWS):
        rows = slice(first, min(first + _BLOCK_ROWS, len(side.vectors)))
        owners = np.searchsorted(side.bounds, np.arange(rows.start, rows.stop), side="right") - 1
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        yield rows, owners[firsts], firsts
