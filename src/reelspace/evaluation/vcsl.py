"""Video Copy Segment Localization (He et al. 2022, alipay/VCSL): its files, and its measure.

Labels and predictions are JSON, ``{"QUERY-REFERENCE": [[query start, reference start, query end, reference end],
...]}`` in seconds; pairs a .csv, ``query_id,reference_id``; query sets JSON, ``{split: {set: ["QUERY-REFERENCE",
...]}}``; features one .npy (N, D) per video, one row per second.

A pair that is asked for and not predicted counts as one where nothing was found, and is counted; the published
evaluator stops with a KeyError.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from reelspace.core.machine import available_cores
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.errors import FormatError, InvalidArgument, UnknownName
from reelspace.evaluation.metrics_segments import (
    Pair,
    PairSegments,
    SegmentAverage,
    average_over_pairs,
    average_over_query_sets,
    segment_score,
)
from reelspace.evaluation.report import Provenance, Report
from reelspace.tasks.copies import DEFAULT_THRESHOLD, compare

__all__ = [
    "Compared",
    "compare_features",
    "read_features",
    "read_pairs",
    "read_query_sets",
    "read_segments",
    "segment_report",
    "write_segments",
]

_HELD = 256  # sequences of features kept in memory at once


class Compared(NamedTuple):
    """What was found between pairs of feature files.

    Attributes:
        segments: by pair; of the pairs that could be compared.
        missing: ids of videos without a file, sorted.
    """

    segments: dict[Pair, tuple[CopySegment, ...]]
    missing: tuple[str, ...]


def read_segments(path: str | os.PathLike[str]) -> dict[Pair, list[CopySegment]]:
    """Reads labels or predictions, by pair; they have no scores, and get 1.

    Raises:
        FormatError: when it is not such a file, naming the pair.
    """
    pairs = {}
    for key, boxes in _json(path).items():
        try:
            pairs[_pair(key)] = [
                CopySegment(Span(float(a), float(c)), Span(float(b), float(d)), 1.0, 1.0) for a, b, c, d in boxes
            ]
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"{path}, pair {key!r}: segments are [query start, reference start, query end, reference end] "
                f"in seconds: {error}"
            ) from error
    return pairs


def write_segments(path: str | os.PathLike[str], found: PairSegments) -> int:
    """Writes predictions; returns how many segments. Pairs in which nothing was found are written, too."""
    boxes = {
        "-".join(pair): [[s.query.start, s.reference.start, s.query.end, s.reference.end] for s in segments]
        for pair, segments in found.items()
    }
    Path(path).write_text(json.dumps(boxes), "utf-8")
    return sum(map(len, boxes.values()))


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Reads the pairs of a split.

    Raises:
        FormatError: when it has no columns query_id and reference_id.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"query_id", "reference_id"} <= set(rows.fieldnames or ()):
            raise FormatError(f"{path} has columns {rows.fieldnames}; pairs of VCSL need query_id and reference_id")
        return list(dict.fromkeys((row["query_id"], row["reference_id"]) for row in rows))


def read_query_sets(path: str | os.PathLike[str], *, split: str) -> dict[str, list[Pair]]:
    """Reads the query sets of a split, or of ``all``.

    Raises:
        UnknownName: for another split.
        FormatError: when it is not such a file.
    """
    stored = _json(path)
    if split not in {*stored, "all"}:
        raise UnknownName("split", split, [*stored, "all"])
    try:
        sets = [(name, keys) for part in stored if split in {part, "all"} for name, keys in stored[part].items()]
        return {name: [_pair(key) for key in keys] for name, keys in sets}
    except (AttributeError, TypeError) as error:
        raise FormatError(f"{path}: query sets are {{split: {{set: [QUERY-REFERENCE, ...]}}}}: {error}") from error


def read_features(path: str | os.PathLike[str], *, frames_per_second: float = 1.0) -> FrameSequence:
    """Reads the features of one video: rows of unit length, those of zeros without evidence.

    Raises:
        FormatError: when it is not an array (N, D) of finite numbers.
    """
    try:
        vectors = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} holds no array: {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not np.isfinite(vectors).all():
        raise FormatError(f"{path}: features are finite numbers (N, D), got {vectors.dtype} {vectors.shape}")
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    return FrameSequence(
        np.arange(len(vectors)) / frames_per_second,
        (vectors / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32),
        np.zeros(len(vectors), np.uint8),
        (lengths > 0).astype(np.float32),
        Space("features", vectors.shape[1], {}),
        len(vectors) / frames_per_second,
    )


def compare_features(
    folder: str | os.PathLike[str],
    pairs: Iterable[Pair],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    method: str = "hough",
    on_pair: Callable[[], None] | None = None,
) -> Compared:
    """What `compare` finds between the feature files of each pair. Memory holds 256 videos at most.

    Args:
        folder: of ``ID.npy``.
        pairs: by id.
        threshold: least score of a segment.
        method: of `reelspace.alignment.segments.METHODS`.
        on_pair: told after each.

    Raises:
        FormatError: when a file holds no features.
        InvalidArgument: when none of the pairs has both its files.
    """
    place = Path(folder)
    wanted = sorted(set(pairs))
    there = {video for video in {video for pair in wanted for video in pair} if (place / f"{video}.npy").is_file()}
    held = lru_cache(_HELD)(lambda video: read_features(place / f"{video}.npy"))
    possible = [pair for pair in wanted if there.issuperset(pair)]
    if not possible:
        raise InvalidArgument(f"{place} holds both files of none of {len(wanted)} pairs; features are ID.npy")

    def segments(pair: Pair) -> tuple[CopySegment, ...]:
        found = compare(held(pair[0]), held(pair[1]), method=method)
        if on_pair is not None:
            on_pair()
        return tuple(segment for segment in found if segment.score >= threshold)

    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as pool:
        found = dict(zip(possible, pool.map(segments, possible), strict=True))
    return Compared(found, tuple(sorted({video for pair in wanted for video in pair} - there)))


def segment_report(
    found: PairSegments,
    true: PairSegments,
    *,
    pairs: Sequence[Pair] | None = None,
    query_sets: Mapping[str, Sequence[Pair]] | None = None,
    as_published: bool = False,
    provenance: Sequence[Provenance] = (),
) -> Report:
    """VCSL's table: precision, recall and F1 of segments over all pairs, over query sets, and rates of videos.

    Args:
        found: predictions.
        true: labels; a pair without one shares nothing.
        pairs: those that are judged; None for all that are labelled or predicted.
        query_sets: averaged on their own; pairs of theirs that are not judged are left out, and counted.
        as_published: see `segment_score` and `average_over_pairs`.
        provenance: where they came from.

    Raises:
        InvalidArgument: when there is no pair to judge.
    """
    judged = list(dict.fromkeys([*true, *found] if pairs is None else pairs))
    scores = {
        pair: segment_score(found.get(pair, ()), true.get(pair, ()), as_published=as_published) for pair in judged
    }
    overall = average_over_pairs(scores.values(), as_published=as_published)
    rows: list[tuple[str, float | int]] = [
        *_figures("segments, all pairs", overall),
        ("videos missed (FRR)", overall.missed),
        ("videos falsely alarmed (FAR)", overall.false_alarms),
    ]
    if query_sets is not None:
        kept = {name: [pair for pair in of_set if pair in scores] for name, of_set in query_sets.items()}
        by_set = average_over_query_sets(scores, {name: of_set for name, of_set in kept.items() if of_set})
        left_out = sum(map(len, query_sets.values())) - sum(map(len, kept.values()))
        rows += [
            *_figures("segments, by query set", by_set),
            ("query sets", by_set.pairs),
            ("pairs of query sets not judged", left_out),
        ]
    rows += [
        ("pairs", len(judged)),
        ("pairs that share footage", sum(score.true for score in scores.values())),
        ("pairs without a prediction entry", sum(pair not in found for pair in judged)),
        ("predicted pairs not judged", sum(pair not in scores for pair in found)),
    ]
    return Report("VCSL", ("measure", "value"), rows, provenance)


def _figures(what: str, average: SegmentAverage) -> list[tuple[str, float]]:
    return [
        (f"{what}: precision", average.precision),
        (f"{what}: recall", average.recall),
        (f"{what}: F1", average.f1),
    ]


def _json(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        stored = json.loads(Path(path).read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path} is no JSON: {error}") from error
    if not isinstance(stored, dict):
        raise FormatError(f"{path}: an object by pair or split is needed, got {type(stored).__name__}")
    return stored


def _pair(key: str) -> Pair:
    """Both ids of ``QUERY-REFERENCE``; ids with dashes of their own, as UUIDs have, must have equally many."""
    parts = key.split("-")
    if len(parts) % 2:
        raise FormatError(f"{key!r} is not QUERY-REFERENCE")
    half = len(parts) // 2
    return "-".join(parts[:half]), "-".join(parts[half:])
