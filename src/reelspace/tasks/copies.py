"""Who shows the same footage, and at which seconds: over stored vectors, no pixels.

Three stages, each dearer per pair than the one before and run on fewer pairs:

1. candidates: some frames of the query, under every look, against the frames of all references (one matrix product
   per block of rows, or an index);
2. segments: the similarity matrix of a candidate pair under the looks that brought it up;
3. registration: the look is fitted to the matched frames in small steps, and the segments are found again under it.

A segment's score is the chance that it is the same footage: `same_footage`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.segments import find_segments
from reelspace.alignment.similarity import (
    FrameRows,
    Similarity,
    best_look,
    frame_rows,
    independent_frames,
    similarity,
)
from reelspace.core.looks import Look
from reelspace.core.machine import available_cores
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.encoders.models import pdqf_views
from reelspace.errors import InvalidArgument
from reelspace.tasks.cohort import Cohort, Standing

__all__ = [
    "DEFAULT_THRESHOLD",
    "Found",
    "Match",
    "Nearest",
    "best_similarity",
    "cohort_of",
    "compare",
    "find_copies",
    "match",
    "merged",
    "same_footage",
]

DEFAULT_THRESHOLD = 0.6
"""The least score reported; what it costs and finds is printed by benchmarks/copies_quality.py."""

_QUERY_EVERY_SECONDS = 0.8  # spacing of the frames that search; not that of the references, so that phases vary
_REFERENCE_EVERY_SECONDS = 1.0  # spacing of the frames they search among, where references are many
_MANY_ROWS = 20_000
_MOST_SEARCHING = 600  # frames of the query that search, however long it is
_BLOCK_ROWS = 8_192
_MOST_PRODUCTS = 16_000_000  # similarities held at once by each core, 4 bytes each
_STILL = 0.97  # cosine of neighbouring rows of a picture that stands still
_SURE = 0.995  # similarity beyond which more says nothing
_LOOKS_PER_PAIR = 3
_STEPS = (0.06, 0.03, 0.015)  # of the registration, in shares of the picture's side
_REGISTRATION_GAIN = 0.25  # similarity that fitting the look may add
_HOPELESS = 0.012  # pairs that even so stay below this score are not fitted
_SAID = 0.5  # share of a segment that a better one covers, in both videos, when it says nothing new
_LENDS = 0.95  # score from which a segment lends its ends to a surer one
_LINE_SECONDS = 0.5
_TILE_ROWS = 3_000  # longer sequences are compared piece by piece, so memory stays bounded

Nearest: TypeAlias = Callable[[NDArray[np.float32], int], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""An index: (search vectors (n, D), k) -> rows of the reference matrix (n, k), and their cosines (n, k)."""


Strangers: TypeAlias = Callable[..., float]
"""`reelspace.tasks.cohort.Standing.deviations` for one reference."""

_NOBODY = Standing(np.zeros(0), np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
# Two videos by themselves have no others: strangers are as they usually are.
_USUAL: Strangers = partial(_NOBODY.deviations, reference=-1)

Pair: TypeAlias = tuple[str, str]
"""Content ids of two videos: of the query and of the reference."""


class Found(NamedTuple):
    """One pair that shares footage: which videos of the two matrices, and where, the best segment first."""

    query: int
    reference: int
    segments: tuple[CopySegment, ...]


class Match(NamedTuple):
    """One video that shares footage with the query, and where, the best segment first."""

    reference: int
    segments: tuple[CopySegment, ...]


class Curve(NamedTuple):
    """A logistic curve from what is known of a segment to the chance that it is the same footage.

    Attributes:
        similarity: evidence per halving, to the base e, of what its frames' mean similarity leaves to 1.
        frames: evidence per doubling of its independent frames.
        spread: evidence lost per unit of the inverse root of its frames' spread.
        intercept: evidence of a segment of similarity 0 and one frame.
        deviations: evidence per standard deviation by which it stands out among strangers (`Cohort`).
    """

    similarity: float
    frames: float
    spread: float
    intercept: float
    deviations: float = 0.0


# Fitted on the candidates of edited and of unedited clips (`benchmarks/copies_quality.py`, tuning half), the
# intercept then lowered by 4.5: in a library pairs of strangers outnumber copies by far more than there.
_PDQF_VIEWS = Curve(7.17, 2.75, 75.8, 4.4 - 4.5)

# Heavy edits leave little similarity, but far more than any stranger has. Fitted on the tuning half, the library's
# strangers being 1, 4, 12 or all of the other clips; the intercept then lowered until no stranger came near the
# default threshold, by 2.8: in a library they are many.
_REELPRINT = Curve(2.36, 2.62, 0.0, -13.39 - 2.8, deviations=4.36)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What is known about the vectors of an encoder.

    Attributes:
        looks: the ways of looking at two of them that are tried for every pair.
        near: looks a small step beside one.
        threshold: similarity at which a frame pair speaks for a copy; segments are sought at this level.
        best_frames: a candidate is judged by its best few frames: a copy may be short.
        curve: of the segments' scores.
    """

    looks: Callable[[], Sequence[Look]]
    near: Callable[[Look, float], list[Look]]
    threshold: float
    best_frames: int
    curve: Curve


def _encoded(space: Space) -> _Encoded:
    """The row of an encoder; only the plain look, and PDQF's numbers, where it has none."""
    plain = _Encoded(lambda: (Look.plain(space.dimensions),), lambda _look, _step: [], 0.45, 4, _PDQF_VIEWS)
    encoders = {
        "pdqf-views": _Encoded(pdqf_views.looks, pdqf_views.looks_near, 0.45, 4, _PDQF_VIEWS),
        "reelprint": replace(plain, threshold=0.5, best_frames=2, curve=_REELPRINT),
    }
    return encoders.get(space.name, plain)


def same_footage(
    similarity: float, *, frames: float, spread: float, deviations: float = 0.0, curve: Curve = _PDQF_VIEWS
) -> float:
    """The chance in [0, 1] that a segment is the same footage.

    Args:
        similarity: mean over the segment's frames. What counts is how little is left to 1.
        frames: how many independent frames agree (`independent_frames`): a still picture is one, however long.
        spread: over how many numbers the frames' energy is spread (`Similarity.query_spread`): strangers'
            similarity varies like its inverse root.
        deviations: by how many standard deviations it exceeds the similarity of strangers.
        curve: of the encoder.
    """
    evidence = (
        -curve.similarity * math.log(1.0 - min(similarity, _SURE))
        + curve.frames * math.log2(max(frames, 1.0))
        - curve.spread / math.sqrt(max(spread, 1.0))
        + curve.deviations * deviations
        + curve.intercept
    )
    return 1.0 / (1.0 + math.exp(-min(max(evidence, -30.0), 30.0)))


def find_copies(
    queries: FrameMatrix,
    references: FrameMatrix | None = None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    k: int = 20,
    method: str = "hough",
    nearest: Nearest | None = None,
) -> list[Found]:
    """Every pair of videos that share footage, best first.

    Args:
        queries: read video by video.
        references: read in blocks, so it may be memory-mapped. Without it, copies among the queries themselves:
            each pair once, the shorter video as the query.
        threshold: least score of a segment.
        k: candidates examined per query.
        method: of `reelspace.alignment.segments.METHODS`.
        nearest: an index over the rows searched; without one every row is multiplied, which is exact.

    Raises:
        SpaceMismatch: when the two were made by different encoders.
        InvalidArgument: for a threshold outside [0, 1], or no candidates.
        UnknownName: for an unknown method.
    """
    searched = queries if references is None else references
    # By length, then by id: matrices of other encoders put the same video of a pair first.
    order = np.lexsort((np.array(queries.video_ids, dtype=str), queries.durations_seconds)).tolist()
    cohort = cohort_of(searched)

    def matches(place: int) -> list[Found]:
        index = order[place]
        found = match(
            queries.sequence(index),
            searched,
            itself=index if references is None else None,
            skip=order[:place] if references is None else (),  # shorter ones have looked for this one already
            cohort=cohort,
            threshold=threshold,
            k=k,
            method=method,
            nearest=nearest,
        )
        return [Found(index, *matched) for matched in found]

    # One query per core; each product then keeps to one core, for many small ones do not gain by more.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as pool:
        found = [pair for pairs in pool.map(matches, range(len(order))) for pair in pairs]
    return sorted(found, key=lambda pair: -pair.segments[0].score)


def cohort_of(references: FrameMatrix) -> Cohort | None:
    """The strangers that many queries share; None where the encoder's scores do not look at any."""
    return Cohort.of(references) if _encoded(references.space).curve.deviations else None


def match(
    query: FrameSequence,
    references: FrameMatrix,
    *,
    itself: int | None = None,
    skip: Sequence[int] = (),
    threshold: float = DEFAULT_THRESHOLD,
    k: int = 20,
    method: str = "hough",
    nearest: Nearest | None = None,
    cohort: Cohort | None = None,
) -> list[Match]:
    """Where among the references the query's footage is, best first.

    For what is not said here, and for errors, see `find_copies`.

    Args:
        query: of the space of the references.
        references: may be memory-mapped.
        itself: number of the query among the references, where it is one of them: not looked at, and no stranger.
        skip: numbers of others that are not looked at.
        threshold: as in `find_copies`.
        k: likewise.
        method: likewise.
        nearest: likewise.
        cohort: `cohort_of` the references, where many queries share it.
    """
    references.space.require(query.space, where="the reference matrix")
    if not 0 <= threshold <= 1:
        raise InvalidArgument(f"a score lies between 0 and 1, so a threshold too; got {threshold}")
    if k < 1:
        raise InvalidArgument(f"at least one candidate must be examined per query, got k = {k}")
    encoded = _encoded(query.space)
    looks = encoded.looks()
    rows = frame_rows(query)
    unseen = [*skip, *([] if itself is None else [itself])]
    candidates = _candidates(rows, references, looks, encoded.best_frames, k=k, skip=unseen, nearest=nearest)
    standing = _NOBODY
    if encoded.curve.deviations and candidates:
        standing = (cohort or Cohort.of(references)).standing(rows, itself=itself)
    found: list[Match] = []
    for index, best_looks in candidates:
        reference = references.sequence(index)
        segments = _segments(
            (rows, query.duration_seconds),
            (frame_rows(reference), reference.duration_seconds),
            [looks[i] for i in best_looks],
            encoded,
            method=method,
            strangers=partial(standing.deviations, reference=index),
        )
        kept = tuple(segment for segment in segments if segment.score >= threshold)
        if kept:
            found.append(Match(index, kept))
    return sorted(found, key=lambda matched: -matched.segments[0].score)


def merged(opinions: Iterable[Mapping[Pair, Sequence[CopySegment]]]) -> dict[Pair, tuple[CopySegment, ...]]:
    """What several encoders found, pair by pair: the segments of the surest, and what others found elsewhere.

    Encoders fail on different edits, and the scores of both are chances: the higher one counts.

    Args:
        opinions: of each encoder, the segments of each pair of videos, best first.

    Returns:
        Of each pair the segments, best first.
    """
    pairs: dict[Pair, list[CopySegment]] = {}
    for opinion in opinions:
        for pair, segments in opinion.items():
            pairs.setdefault(pair, []).extend(segments)
    return {pair: _apart(sorted(segments, key=lambda s: -s.score)) for pair, segments in pairs.items()}


def _apart(segments: Sequence[CopySegment]) -> tuple[CopySegment, ...]:
    """The segments, best first, without those that mostly say what a better one says.

    Those that are all but certain, and lie on the better one's line, lend it their ends: an encoder that sees
    nothing in a fade, or in a stretch under a caption, stops where the other goes on.
    """
    kept: list[CopySegment] = []
    for segment in segments:
        for place, other in enumerate(kept):
            said = (
                segment.query.overlap(other.query) >= _SAID * segment.query.duration
                and segment.reference.overlap(other.reference) >= _SAID * segment.reference.duration
            )
            if said:
                if segment.score >= _LENDS and _in_line(segment, other):
                    query, reference = other.query.hull(segment.query), other.reference.hull(segment.reference)
                    kept[place] = replace(other, query=query, reference=reference)
                break
        else:
            kept.append(segment)
    return tuple(kept)


def _in_line(segment: CopySegment, other: CopySegment) -> bool:
    """Whether two segments pair the same seconds, to half a second, wherever one of them is."""
    return all(
        abs(other.reference.start + (at - other.query.start) * other.speed - there) < _LINE_SECONDS
        for at, there in (
            (segment.query.start, segment.reference.start),
            (segment.query.end, segment.reference.end),
        )
    )


def compare(query: FrameSequence, reference: FrameSequence, *, method: str = "hough") -> list[CopySegment]:
    """All segments that two videos may share, best first, whatever their score; every look is tried.

    Raises:
        SpaceMismatch: when the two were made by different encoders.
    """
    query.space.require(reference.space, where="the query")
    encoded = _encoded(query.space)
    return _segments(
        (frame_rows(query), query.duration_seconds),
        (frame_rows(reference), reference.duration_seconds),
        encoded.looks(),
        encoded,
        method=method,
    )


def best_similarity(query: FrameSequence, reference: FrameSequence) -> Similarity:
    """Frame against frame under the look that shows most in common: what a plot of the pair should show.

    The whole matrix is held at once: thin long sequences before.

    Raises:
        SpaceMismatch: when the two were made by different encoders.
        InvalidArgument: when one has no rows.
    """
    query.space.require(reference.space, where="the query")
    if not len(query) or not len(reference):
        raise InvalidArgument(f"both videos need described frames, got {len(query)} and {len(reference)} rows")
    encoded = _encoded(query.space)
    looks = encoded.looks()
    sides = [(frame_rows(sequence), sequence.duration_seconds) for sequence in (query, reference)]
    look = _fitted_look(sides[0], sides[1], looks, encoded, method="hough") or looks[0]
    return similarity(sides[0][0], sides[1][0], look)


def _candidates(
    query: FrameRows,
    references: FrameMatrix,
    looks: Sequence[Look],
    best_frames: int,
    *,
    k: int,
    skip: Sequence[int],
    nearest: Nearest | None,
) -> list[tuple[int, list[int]]]:
    """The references most likely to share footage, best first: (video, its most promising looks).

    Searching for ``cos(A q, B r)`` over stored ``r`` is searching for the vector ``B^T A q``; only the length of
    ``B r`` is left out, which the next stage puts right.
    """
    step = float(np.median(np.diff(query.times_seconds))) if len(query) > 1 else _QUERY_EVERY_SECONDS
    stride = max(1, round(_QUERY_EVERY_SECONDS / step), math.ceil(len(query) / _MOST_SEARCHING))
    frames = np.arange(stride // 2 if len(query) > stride else 0, len(query), stride)
    plain = np.concatenate(
        [_changing(v[frames][w[frames] > 0]) for v, w in zip(query.vectors, query.weights, strict=True)]
    )
    if len(plain) == 0 or len(references.vectors) == 0:
        return []
    vectors = (plain @ _search_maps(tuple(looks), plain.shape[1]).T).reshape(len(plain), len(looks), -1)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9)
    scores = (
        _scores_by_product(vectors, references, best_frames)
        if nearest is None
        else _scores_by_index(vectors, references, nearest, best_frames)
    )
    if len(references) > 20:
        scores -= np.median(scores, axis=1, keepdims=True)  # a look that likes everybody says little
    scores[:, list(skip)] = -np.inf
    best = scores.max(axis=0)
    chosen = [int(video) for video in np.argsort(-best, kind="stable")[:k] if np.isfinite(best[video])]
    return [(video, [int(i) for i in np.argsort(-scores[:, video])[:_LOOKS_PER_PAIR]]) for video in chosen]


@lru_cache(maxsize=4)
def _search_maps(looks: tuple[Look, ...], dimensions: int) -> NDArray[np.float32]:
    """``B^T A`` of every look, one below the other: (L * D, D)."""
    eye = np.eye(dimensions, dtype=np.float32)  # the rows of f(eye) are the columns of the matrix of f
    return np.concatenate([look.of_reference(eye) @ look.of_query(eye).T for look in looks])


def _scores_by_product(
    vectors: NDArray[np.float32], references: FrameMatrix, best_frames: int
) -> NDArray[np.float32]:
    """Mean similarity of each video's best few frame pairs, per look: (L, V). Exact, block by block."""
    frames, looks, dimensions = vectors.shape
    top = min(best_frames, frames)
    scores = np.zeros((looks, len(references)), np.float32)
    at_once = max(1, _MOST_PRODUCTS // (_BLOCK_ROWS * looks))  # frames of the query
    for block, weights, videos in _blocks(references):
        rows = (block * np.sqrt(weights)[:, None]).T
        starts = np.flatnonzero(np.diff(videos, prepend=-1))
        best = np.empty((frames, looks, len(starts)), np.float32)
        for first in range(0, frames, at_once):
            products = vectors[first : first + at_once].reshape(-1, dimensions) @ rows
            best[first : first + at_once] = np.maximum.reduceat(products, starts, axis=1).reshape(
                -1, looks, len(starts)
            )
        means = np.partition(best, frames - top, axis=0)[frames - top :].mean(axis=0)
        scores[:, videos[starts]] = np.maximum(scores[:, videos[starts]], means)
    return scores


def _scores_by_index(
    vectors: NDArray[np.float32], references: FrameMatrix, nearest: Nearest, best_frames: int
) -> NDArray[np.float32]:
    """The same from the nearest rows that an index knows; a video not among them scores 0."""
    frames, looks, dimensions = vectors.shape
    top = min(best_frames, frames)
    rows, cosines = nearest(vectors.reshape(-1, dimensions), 64)
    videos = np.searchsorted(references.bounds, rows, side="right") - 1
    hit, where = np.unique(videos, return_inverse=True)
    best = np.zeros((frames * looks, len(hit)), np.float32)
    np.maximum.at(best, (np.arange(frames * looks)[:, None], where.reshape(videos.shape)), cosines)
    best = best.reshape(frames, looks, len(hit))
    scores = np.zeros((looks, len(references)), np.float32)
    scores[:, hit] = np.partition(best, frames - top, axis=0)[frames - top :].mean(axis=0)
    return scores


def _blocks(
    references: FrameMatrix,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]]:
    """Rows to search among, block by block: vectors, weights, and the video of each row."""
    total = len(references.vectors)
    thin = total > _MANY_ROWS
    for first in range(0, total, _BLOCK_ROWS):
        last = min(total, first + _BLOCK_ROWS)
        videos = np.searchsorted(references.bounds, np.arange(first, last), side="right") - 1
        keep = references.weights[first:last] > 0
        if thin:  # the first row of each view in every stretch of time
            stretch = np.floor(references.times_seconds[first:last] / _REFERENCE_EVERY_SECONDS + 1e-6)
            view = references.views[first:last].astype(np.int64)
            _, firsts = np.unique(np.stack([videos, stretch.astype(np.int64), view]), axis=1, return_index=True)
            chosen = np.zeros(last - first, bool)
            chosen[firsts] = True
            keep &= chosen
        rows = np.flatnonzero(keep)
        vectors, views = references.vectors[first:last][rows].astype(np.float32), references.views[first:last][rows]
        if thin:
            order = np.lexsort((rows, views, videos[rows]))
            changing = order[_changes(vectors[order], videos[rows][order] * 256 + views[order])]
            rows, vectors = rows[changing], vectors[changing]
        if len(rows):
            yield vectors, references.weights[first:last][rows], videos[rows]


def _changing(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Consecutive rows without those that repeat the one before."""
    return vectors[_changes(vectors, np.zeros(len(vectors), np.int64))]


def _changes(vectors: NDArray[np.float32], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows say something new: not those very like the row before in their group, but every fourth of them."""
    alike = np.einsum("nd,nd->n", vectors[1:], vectors[:-1]) >= _STILL
    still = np.zeros(len(vectors), bool)
    still[1:] = alike & (group[1:] == group[:-1])
    place = np.arange(len(still))
    found: NDArray[np.bool_] = (place - np.maximum.accumulate(np.where(still, 0, place))) % 4 == 0
    return found


def _segments(
    query: tuple[FrameRows, float],
    reference: tuple[FrameRows, float],
    looks: Sequence[Look],
    encoded: _Encoded,
    *,
    method: str,
    strangers: Strangers = _USUAL,
) -> list[CopySegment]:
    """The scored segments of one pair, best first; long videos tile by tile, pieces of one segment joined."""
    found = [
        segment
        for q in _tiles(query[0])
        for r in _tiles(reference[0])
        for segment in _tile_segments(
            (q, query[1]), (r, reference[1]), looks, encoded, method=method, strangers=strangers
        )
    ]
    return sorted(_joined(found), key=lambda segment: -segment.score)


def _tiles(rows: FrameRows) -> Iterator[FrameRows]:
    """Consecutive pieces of bounded length."""
    for first in range(0, len(rows), _TILE_ROWS):
        part = slice(first, first + _TILE_ROWS)
        yield FrameRows(rows.times_seconds[part], rows.vectors[:, part], rows.weights[:, part])


def _tile_segments(
    query: tuple[FrameRows, float],
    reference: tuple[FrameRows, float],
    looks: Sequence[Look],
    encoded: _Encoded,
    *,
    method: str,
    strangers: Strangers,
) -> list[CopySegment]:
    """Stages 2 and 3 for one pair, or for one tile of it."""
    look = _fitted_look(query, reference, looks, encoded, method=method, strangers=strangers)
    if look is None:
        return []
    seen = similarity(query[0], reference[0], look)
    return [
        replace(
            segment,
            score=_score(segment, seen, query[0], reference[0], look, encoded=encoded, strangers=strangers),
            mirrored=look.mirrored,
            rotation_degrees=look.rotation_degrees,
        )
        for segment in find_segments(
            seen,
            query_seconds=query[1],
            reference_seconds=reference[1],
            method=method,
            threshold=encoded.threshold,
        )
    ]


def _fitted_look(
    query: tuple[FrameRows, float],
    reference: tuple[FrameRows, float],
    looks: Sequence[Look],
    encoded: _Encoded,
    *,
    method: str,
    strangers: Strangers = _USUAL,
) -> Look | None:
    """The look that shows most in common, fitted to the best stretch; None when there is no hope of one."""
    find = partial(find_segments, query_seconds=query[1], reference_seconds=reference[1], method=method)
    proposals: list[tuple[float, Look, CopySegment]] = []
    for look in looks:
        lenient = encoded.threshold - 0.1 + 0.8 / math.sqrt(look.dimensions)
        seen = similarity(query[0], reference[0], look)
        proposals.extend(
            ((segment.score - lenient) * segment.query.duration, look, segment)
            for segment in find(seen, threshold=lenient, at_most=1)
        )
    if not proposals:
        return None
    _, look, segment = max(proposals, key=lambda proposal: proposal[0])
    hoped = replace(segment, score=min(segment.score + _REGISTRATION_GAIN, 1.0))
    seen = similarity(query[0], reference[0], look)
    if _score(hoped, seen, query[0], reference[0], look, encoded=encoded, strangers=strangers) < _HOPELESS:
        return None
    return _registered(query[0], reference[0], look, segment, encoded)


def _registered(
    query: FrameRows,
    reference: FrameRows,
    look: Look,
    segment: CopySegment,
    encoded: _Encoded,
) -> Look:
    """The look that shows the segment's frames most alike: climbs from the given one by ever smaller steps."""
    times = query.times_seconds
    inside = np.flatnonzero((times >= segment.query.start) & (times < segment.query.end))
    if len(inside) == 0:
        return look
    rows = inside[np.linspace(0, len(inside) - 1, min(16, len(inside))).astype(np.int64)]
    at = segment.reference.start + (times[rows] - segment.query.start) * segment.speed
    columns = np.abs(reference.times_seconds[:, None] - at).argmin(axis=0)
    _, level = best_look(query, reference, (rows, columns), [look])
    for step in _STEPS:
        for _ in range(4):
            tried = encoded.near(look, step)
            if not tried:
                return look
            index, better = best_look(query, reference, (rows, columns), tried)
            if better <= level + 0.002:
                break
            look, level = tried[index], better
    return look


def _score(
    segment: CopySegment,
    seen: Similarity,
    query: FrameRows,
    reference: FrameRows,
    look: Look,
    *,
    encoded: _Encoded,
    strangers: Strangers,
) -> float:
    """`same_footage` of a segment whose score still is a similarity."""
    shown = (seen.query_times >= segment.query.start) & (seen.query_times < segment.query.end)
    columns = (seen.reference_times >= segment.reference.start) & (seen.reference_times < segment.reference.end)
    if not (shown.any() and columns.any()):  # a stretch between two samples: nothing to judge it by
        return 0.0
    frames = min(
        independent_frames(rows, mapping, start_seconds=span.start, end_seconds=span.end)
        for rows, mapping, span in (
            (query, look.of_query, segment.query),
            (reference, look.of_reference, segment.reference),
        )
    )
    spread = math.sqrt(seen.query_spread[shown].mean() * seen.reference_spread[columns].mean())
    return same_footage(
        segment.score,
        frames=frames,
        spread=spread,
        deviations=strangers(segment.score, span=segment.query) if encoded.curve.deviations else 0.0,
        curve=encoded.curve,
    )


def _joined(segments: list[CopySegment]) -> list[CopySegment]:
    """Pieces of one segment that a tile's edge cut apart, put together; the higher score stands."""
    joined: list[CopySegment] = []
    for segment in sorted(segments, key=lambda s: s.query.start):
        for index, other in enumerate(joined):
            same_line = (
                (other.mirrored, other.rotation_degrees) == (segment.mirrored, segment.rotation_degrees)
                and abs(other.speed - segment.speed) < 0.03
                and abs(segment.query.start - other.query.end) < 0.5
                and abs(segment.reference.start - other.reference.end) < 0.5
            )
            if same_line:
                query, reference = other.query.hull(segment.query), other.reference.hull(segment.reference)
                score = max(other.score, segment.score)
                joined[index] = replace(other, query=query, reference=reference, score=score)
                break
        else:
            joined.append(segment)
    return joined
