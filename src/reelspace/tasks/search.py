"""Which moments show what is asked for: over stored vectors, no pixels.

A query is a vector: of a text, by the text tower of the model that embedded the library, or of another clip. Its
score with a stored window is their cosine, or for models that were trained so their inner product. Hits that follow
one another in a video are one scene, as far as they stand out: to at least half of what the best of them stands out
from the library's median window.

What must *not* be there is asked for by vectors `against`: the best similarity to any of them is taken off,
``s(x) = cos(q, x) - max_m cos(n_m, x)``. With one of them that is searching for the difference of both vectors,
the customary rule; with several, those that have nothing to do with a moment do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelspace.core.embeddings import ClipSequence, Embeddings
from reelspace.core.results import Hit
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.store.nearest import Neighbours, nearest_exact
from reelspace.store.products import over_blocks
from reelspace.store.rows import StoredVideo

__all__ = [
    "SEARCH_INDEX_ABOVE_ROWS",
    "Distance",
    "Nearest",
    "VideoFilter",
    "merge_scenes",
    "search",
    "similar",
    "similarity_matrix",
]

SEARCH_INDEX_ABOVE_ROWS = 2_000_000
"""Rows from which LanceDB's index is searched instead of all of them, see benchmarks/search.py."""

_WINDOWS_PER_SCENE = 8  # hits that are looked at for each scene asked for
_MORE_THROUGH_INDEX = 10  # candidates an index gives per hit, where it knows a part of the question only
_MEET_SECONDS = 1e-6  # windows side by side meet but for rounding
_MOST_SAMPLED = 4096  # rows that say what score is usual
_MOST_SEARCHING = 512  # windows of a query that search, however long it is

Distance = Literal["cosine", "dot"]
Nearest: TypeAlias = Callable[[NDArray[np.float32], int], Neighbours]
"""An index: (search vectors (Q, D), k) -> the rows of largest cosine."""
Range: TypeAlias = tuple[float | None, float | None]


def search(
    embeddings: Embeddings,
    queries: NDArray[np.floating],
    *,
    k: int = 10,
    against: NDArray[np.floating] | None = None,
    distance: Distance = "cosine",
    videos: Collection[str] | None = None,
    nearest: Nearest | None = None,
    gap_seconds: float | None = 0.0,
) -> list[list[Hit]]:
    """The moments most like each query, best first.

    Args:
        embeddings: the stored windows.
        queries: (Q, D), of any length.
        k: how many moments at most.
        against: (M, D): what must not be there.
        distance: ``cosine``, or ``dot`` with the stored vectors as the model gave them.
        videos: content ids to search among; None for all.
        nearest: an index that gives the candidates; None for every row, exactly. With an index, few ``videos`` are
            searched exactly all the same.
        gap_seconds: hits of one video at most this far apart are one moment, made of the best ``8 * k`` hits: where
            scenes are long there may be fewer than ``k``. None for single windows.

    Returns:
        a list for each query; ``Hit.video`` is a content id.

    Raises:
        InvalidArgument: when the vectors are not (Q, D) or ``k`` is below 1.
        UnknownName: for another distance.
    """
    windows = k if gap_seconds is None else k * _WINDOWS_PER_SCENE
    found = _nearest(
        embeddings, queries, k=windows, against=against, distance=distance, videos=videos, nearest=nearest
    )
    hits = [
        _hits(embeddings, rows[rows >= 0], scores[rows >= 0])
        for rows, scores in zip(found.rows, found.scores, strict=True)
    ]
    if gap_seconds is None:
        return hits
    usual = _usual_scores(embeddings, queries, against=against, distance=distance)
    return [
        merge_scenes(some, gap_seconds=gap_seconds, background=float(background))[:k]
        for some, background in zip(hits, usual, strict=True)
    ]


def similar(
    embeddings: Embeddings,
    query: ClipSequence,
    *,
    k: int = 10,
    by: Literal["best", "mean"] = "best",
    distance: Distance = "cosine",
    videos: Collection[str] | None = None,
    nearest: Nearest | None = None,
    gap_seconds: float | None = 0.0,
) -> list[Hit]:
    """The moments most like another video, best first; leave that video out of ``videos`` where it is stored too.

    Args:
        embeddings: the stored windows.
        query: the vectors of the other video.
        k: how many moments at most.
        by: ``best``: a moment counts by the window of the query that is likest, named in ``Hit.query``; of a query
            of more than 512 windows that many, evenly chosen, search. ``mean``: by the query as a whole, the mean
            direction of its windows.
        distance: as for `search`.
        videos: as for `search`.
        nearest: as for `search`.
        gap_seconds: as for `search`.

    Raises:
        SpaceMismatch: when the query is of another space.
        InvalidArgument: when the query has no window or ``k`` is below 1.
        UnknownName: for another distance or ``by``.
    """
    embeddings.space.require(query.space, where="the library")
    if not len(query):
        raise InvalidArgument("a query has at least one window, got none")
    asked = {"best": _evenly, "mean": _mean_direction}
    if by not in asked:
        raise UnknownName("way to compare videos", by, asked)
    vectors, windows = asked[by](query)
    count = k if gap_seconds is None else k * _WINDOWS_PER_SCENE
    found = _nearest(embeddings, vectors, k=count, distance=distance, videos=videos, nearest=nearest)
    # The k best by the greatest score over the windows are among the k best of each window.
    rows, scores = found.rows.reshape(-1), found.scores.reshape(-1)
    asking = np.repeat(np.arange(len(vectors)), count)
    order = np.lexsort((asking, -scores, rows))
    order = order[rows[order] >= 0]
    order = order[np.diff(rows[order], prepend=-1) > 0]  # the best window for each row
    order = order[np.lexsort((rows[order], -scores[order]))][:count]
    hits = [
        replace(hit, query=Span(*windows[asking[i]]) if windows else None)
        for hit, i in zip(_hits(embeddings, rows[order], scores[order]), order, strict=True)
    ]
    if gap_seconds is None:
        return hits
    background = float(_usual_scores(embeddings, vectors, distance=distance).max())
    return merge_scenes(hits, gap_seconds=gap_seconds, background=background)[:k]


def merge_scenes(hits: Iterable[Hit], *, gap_seconds: float = 0.0, background: float = -math.inf) -> list[Hit]:
    """Hits of one video that overlap, meet, or are at most ``gap_seconds`` apart, as one; best first.

    A scene grows from its best hit, both ways, over hits whose score lies at least halfway between ``background``
    and that of the best. It covers its hits, and has the score and the query of the best.
    """
    videos: dict[str, list[Hit]] = {}
    for hit in sorted(hits, key=lambda h: (h.video, h.span.start, h.span.end)):
        videos.setdefault(hit.video, []).append(hit)
    scenes = [scene for some in videos.values() for scene in _scenes(some, gap_seconds, background)]
    return sorted(scenes, key=lambda h: (-h.score, h.video, h.span.start))


def _scenes(hits: Sequence[Hit], gap_seconds: float, background: float) -> Iterator[Hit]:
    """The scenes of one video; its hits sorted by their start."""
    starts, ends = (np.array([getattr(hit.span, end) for hit in hits]) for end in ("start", "end"))
    scores = np.array([hit.score for hit in hits])
    taken = np.zeros(len(hits), bool)
    for peak in np.argsort(-scores, kind="stable"):
        if taken[peak]:
            continue
        good = ~taken & (scores >= (scores[peak] + background) / 2)
        good[peak] = True
        reach = np.maximum.accumulate(np.where(good, ends, -np.inf))
        apart = np.ones(len(hits), bool)
        apart[1:] = starts[1:] > reach[:-1] + gap_seconds + _MEET_SECONDS
        run = np.cumsum((good & apart) | taken)  # a scene found before parts what lies around it
        scene = good & (run == run[peak])
        taken |= scene
        yield replace(hits[peak], span=Span(float(starts[scene].min()), float(ends[scene].max())))


def similarity_matrix(
    queries: NDArray[np.floating], embeddings: Embeddings, *, distance: Distance = "cosine"
) -> NDArray[np.float32]:
    """How like each query the likest window of each video is: float32 (Q, V); not a number where it has no window.

    Raises:
        InvalidArgument: when the queries are not (Q, D).
        UnknownName: for another distance.
    """
    wanted, factors = _measured(embeddings, queries, distance)
    longest = np.linalg.norm(wanted, axis=1).max(initial=0.0) or 1.0
    best = np.full((len(wanted), len(embeddings.video_ids)), -np.inf, np.float32)

    def per_video(
        where: slice | NDArray[np.int64], found: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if factors is not None:
            found *= factors[where][:, None]
        rows = np.arange(len(embeddings))[where]
        videos = embeddings.video_of(rows)
        starts = np.flatnonzero(np.diff(videos, prepend=-1))
        return videos[starts], np.maximum.reduceat(found, starts, axis=0)

    for videos, scores in over_blocks(embeddings.vectors, wanted / longest, per_video):
        best[:, videos] = np.maximum(best[:, videos], scores.T * longest)
    best[np.isneginf(best)] = np.nan
    return best


@dataclass(frozen=True, slots=True)
class VideoFilter:
    """Which videos to search among, by what is known of the files. Bounds belong to the ranges; None leaves open.

    Attributes:
        path: a glob such as ``*/holiday/*.mp4``; one of the places where the video lies has to match.
        duration_seconds: shortest and longest.
        size_bytes: smallest and largest file.
        height: lowest and highest picture, in pixels.
    """

    path: str | None = None
    duration_seconds: Range = (None, None)
    size_bytes: Range = (None, None)
    height: Range = (None, None)

    def __call__(self, video: StoredVideo) -> bool:
        """Whether this video is to be searched. What is not known of it matches open ranges only."""
        named = self.path is None or any(fnmatchcase(source, self.path) for source in video.sources)
        known = (
            (video.duration_seconds, self.duration_seconds),
            (video.video.size_bytes, self.size_bytes),
            (video.video.height, self.height),
        )
        return named and all(_within(value, bounds) for value, bounds in known)


def _within(value: float | None, bounds: Range) -> bool:
    least, most = bounds
    if value is None:
        return least is None and most is None
    return (least is None or value >= least) and (most is None or value <= most)


def _nearest(
    embeddings: Embeddings,
    queries: NDArray[np.floating],
    *,
    k: int,
    distance: Distance,
    against: NDArray[np.floating] | None = None,
    videos: Collection[str] | None = None,
    nearest: Nearest | None = None,
) -> Neighbours:
    """The best windows: of all rows, or of those that an index proposes."""
    wanted, factors = _measured(embeddings, queries, distance)
    unwanted = _measured(embeddings, against, distance)[0] if against is not None else None
    rows = None
    if videos is not None:
        chosen = frozenset(videos)
        among = np.array([video_id in chosen for video_id in embeddings.video_ids], dtype=bool)
        rows = np.flatnonzero(np.repeat(among, np.diff(embeddings.bounds)))
    if nearest is not None and (rows is None or len(rows) > SEARCH_INDEX_ABOVE_ROWS):
        plain = rows is None and unwanted is None and factors is None
        proposed = np.unique(nearest(wanted, k if plain else k * _MORE_THROUGH_INDEX).rows)
        proposed = proposed[proposed >= 0]
        rows = proposed if rows is None else np.intersect1d(rows, proposed, assume_unique=True)
    return nearest_exact(embeddings, wanted, k=k, against=unwanted, factors=factors, rows=rows)


def _usual_scores(
    embeddings: Embeddings,
    queries: NDArray[np.floating],
    *,
    distance: Distance,
    against: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """The median score of each query (Q,) over some of the rows, evenly chosen."""
    some = np.unique(np.linspace(0, len(embeddings) - 1, min(len(embeddings), _MOST_SAMPLED)).astype(np.int64))
    if not len(some):
        return np.zeros(len(queries), np.float32)
    wanted, factors = _measured(embeddings, queries, distance)
    vectors = np.asarray(embeddings.vectors[some], np.float32)
    scores = wanted @ vectors.T
    if against is not None:
        scores -= (_measured(embeddings, against, distance)[0] @ vectors.T).max(axis=0)
    if factors is not None:
        scores *= factors[some]
    return np.asarray(np.median(scores, axis=1), np.float32)


def _measured(
    embeddings: Embeddings, queries: NDArray[np.floating], distance: Distance
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Queries whose products with the stored unit vectors, times the factors of the rows, are the scores."""
    wanted = np.asarray(queries, np.float32)
    if distance == "dot":
        return wanted, embeddings.norms
    if distance != "cosine":
        raise UnknownName("distance", distance, ("cosine", "dot"))
    lengths = np.linalg.norm(wanted, axis=-1, keepdims=True)
    return (wanted / np.where(lengths > 0, lengths, 1)).astype(np.float32), None


def _evenly(query: ClipSequence) -> tuple[NDArray[np.floating], list[tuple[float, float]]]:
    """Windows of the query, all or evenly chosen: vectors and spans."""
    chosen = np.unique(np.linspace(0, len(query) - 1, min(len(query), _MOST_SEARCHING)).round().astype(np.int64))
    spans = zip(query.starts_seconds[chosen].tolist(), query.ends_seconds[chosen].tolist(), strict=True)
    return query.vectors[chosen], list(spans)


def _mean_direction(query: ClipSequence) -> tuple[NDArray[np.floating], list[tuple[float, float]]]:
    """One vector for all of the query, and no span."""
    vectors = query.vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).mean(axis=0, keepdims=True), []


def _hits(embeddings: Embeddings, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> list[Hit]:
    videos = embeddings.video_of(rows)
    starts, ends = embeddings.starts_seconds[rows], embeddings.ends_seconds[rows]
    parts: Sequence[list[float]] = (starts.tolist(), ends.tolist(), scores.tolist())
    return [
        Hit(embeddings.video_ids[video], Span(start, end), score)
        for video, start, end, score in zip(videos.tolist(), *parts, strict=True)
    ]
