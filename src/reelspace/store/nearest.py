"""The nearest stored vectors: exact, by one pass over memory, or through an index of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.core.compact import CompactRows
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument
from reelspace.store.products import Rows, over_blocks

__all__ = ["IndexedRows", "Matrix", "Neighbours", "nearest_exact"]

BLOCK_ROWS = 32_768
_ROUNDING = 2.0**-24  # of one float32 operation
_EXACT_ROWS = 4_096
_QUERIES_AT_ONCE = 64  # by an index


class Matrix(Protocol):
    """Stored rows: a `FrameMatrix` or `Embeddings`."""

    @property
    def vectors(self) -> NDArray[np.floating] | CompactRows:
        """(N, D), rows of unit length."""
        ...

    @property
    def space(self) -> Space:
        """Their identity."""
        ...


class Neighbours(NamedTuple):
    """The best rows for each of Q queries, best first; of equal ones the first row comes first.

    Attributes:
        rows: int64 (Q, k): rows of the matrix; -1 where there are fewer than k.
        scores: float32 (Q, k): inner products, cosines for unit vectors; -inf where there are fewer than k.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def nearest_exact(
    matrix: Matrix,
    queries: NDArray[np.floating],
    *,
    k: int,
    against: NDArray[np.floating] | None = None,
    factors: NDArray[np.float32] | None = None,
    rows: Rows | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Neighbours:
    """The ``k`` rows of largest inner product with each query (Q, D), in memory of a block per core.

    A first pass in float32 keeps every row that rounding leaves a chance; those are scored again in float64. So the
    answer does not depend on block size, number of queries, or the order in which a sum is added up.

    Args:
        matrix: the rows.
        queries: (Q, D), of any length.
        k: how many.
        against: (M, D): the greatest product with any of these is subtracted from each score.
        factors: (N,), not negative: each row's score is multiplied by its factor.
        rows: int64, increasing: only these rows; None for all.
        block_rows: rows scored at once.

    Raises:
        InvalidArgument: when the queries are not (Q, D) or ``k`` is below 1.
    """
    wanted = _checked(queries, matrix.space.dimensions, k)
    unwanted = np.empty((0, wanted.shape[1]), np.float32)
    if against is not None:
        unwanted = _checked(against, matrix.space.dimensions, k)
    both = np.concatenate([wanted, unwanted])
    lengths = np.linalg.norm(both.astype(np.float64), axis=1)
    scale = lengths.max(initial=0.0) or 1.0
    lengths /= scale
    count = len(wanted)
    # |fl(x.y) - x.y| <= D u |x| |y| (Higham 2002, eq. 3.5), twice over, for the last operations round as well.
    doubt = 2 * matrix.space.dimensions * _ROUNDING * (lengths[:count] + lengths[count:].max(initial=0.0))
    doubt = doubt.astype(np.float32)
    least = np.full(count, -np.inf, np.float32)  # what a row must be able to reach; rises from block to block

    def promising(where: slice | Rows, found: NDArray[np.float32]) -> _Candidates:
        scores, doubts = found[:, :count], doubt
        if found.shape[1] > count:
            scores = scores - found[:, count:].max(axis=1, keepdims=True)
        if factors is not None:
            here = factors[where][:, None]
            scores, doubts = scores * here, doubt * here
        limit = least.copy()
        if len(scores) >= k and np.isneginf(limit).any():
            limit = np.maximum(limit, np.partition(scores - doubts, len(scores) - k, axis=0)[len(scores) - k])
        place, query = np.nonzero(scores >= limit - doubts)
        likely = scores[place, query]
        unsure = np.broadcast_to(doubts, scores.shape)[place, query]
        first = np.arange(where.start, where.stop) if isinstance(where, slice) else where
        return _Candidates(first[place], query, likely - unsure, likely + unsure)

    best = np.full((count, k), -np.inf, np.float32)  # what the k best rows reach at the very least
    kept = []
    blocks = over_blocks(
        matrix.vectors, (both / scale).astype(np.float32), promising, rows=rows, block_rows=block_rows
    )
    for found in blocks:
        if len(found.rows):
            kept.append(found)
            best = _k_greatest(best, found)
            least[:] = best.min(axis=1)
    neighbours = Neighbours(np.full((count, k), -1, np.int64), np.full((count, k), -np.inf, np.float32))
    if not kept:
        return neighbours
    some = _Candidates(*map(np.concatenate, zip(*kept, strict=True)))
    order = np.lexsort((some.rows, some.queries))
    order = order[(some.at_most >= least[some.queries])[order]]
    bounds = np.searchsorted(some.queries[order], np.arange(count + 1))
    for q in range(count):
        found_rows = some.rows[order[bounds[q] : bounds[q + 1]]]
        scores = _scores(matrix, found_rows, wanted[q], unwanted, factors)
        ranked = np.argsort(-scores, kind="stable")[:k]
        neighbours.rows[q, : len(ranked)] = found_rows[ranked]
        neighbours.scores[q, : len(ranked)] = scores[ranked]
    return neighbours


class _Candidates(NamedTuple):
    """Pairs of a row and a query that may be among the best, and the bounds of their score."""

    rows: Rows
    queries: NDArray[np.int64]
    at_least: NDArray[np.float32]
    at_most: NDArray[np.float32]


def _k_greatest(best: NDArray[np.float32], found: _Candidates) -> NDArray[np.float32]:
    """The k greatest of ``best`` (Q, k) and what ``found`` reaches at least, of each query."""
    k = best.shape[1]
    order = np.lexsort((-found.at_least, found.queries))
    queries = found.queries[order]
    rank = np.arange(len(order)) - np.searchsorted(queries, queries)
    first = rank < k
    more = np.full_like(best, -np.inf)
    more[queries[first], rank[first]] = found.at_least[order[first]]
    return np.partition(np.concatenate([best, more], axis=1), k, axis=1)[:, k:]


def _scores(
    matrix: Matrix,
    rows: Rows,
    query: NDArray[np.float32],
    against: NDArray[np.float32],
    factors: NDArray[np.float32] | None,
) -> NDArray[np.float64]:
    """What the first pass estimated, in float64: (n,)."""
    scores = np.empty(len(rows))
    for first in range(0, len(rows), _EXACT_ROWS):
        part = rows[first : first + _EXACT_ROWS]
        vectors = matrix.vectors[part].astype(np.float64)
        found = np.einsum("nd,d->n", vectors, query.astype(np.float64))
        if len(against):
            found -= np.einsum("nd,md->nm", vectors, against.astype(np.float64)).max(axis=1)
        scores[first : first + _EXACT_ROWS] = found if factors is None else found * factors[part]
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class IndexedRows:
    """A LanceDB table with an index, and how its rows are found in a matrix.

    Attributes:
        table: at the version that the matrix shows.
        space: the identity of the vectors.
        video_ids: of the matrix.
        bounds: of the matrix.
        keys: two columns of the table by name, and the matrix's: together they tell the rows of a video apart.
        where: an SQL condition on the rows; None for all.
        probes: partitions of the index that are searched.
        refine: so many times ``k`` candidates are scored again with the vectors themselves.
    """

    table: Any
    space: Space
    video_ids: tuple[str, ...]
    bounds: NDArray[np.int64]
    keys: Mapping[str, NDArray[Any]]
    where: str | None = None
    probes: int = 32
    refine: int = 10

    def __call__(self, queries: NDArray[np.floating], k: int) -> Neighbours:
        """Most of the ``k`` rows that `nearest_exact` finds, much sooner.

        Raises:
            InvalidArgument: when the queries are not (Q, D) or ``k`` is below 1.
        """
        wanted = _checked(queries, self.space.dimensions, k)
        position = {video_id: i for i, video_id in enumerate(self.video_ids)}
        neighbours = Neighbours(
            np.full((len(wanted), k), -1, np.int64), np.full((len(wanted), k), -np.inf, np.float32)
        )
        columns = ["video_id", *self.keys, "_distance"]
        for first in range(0, len(wanted), _QUERIES_AT_ONCE):
            part = wanted[first : first + _QUERIES_AT_ONCE]
            search = self.table.search(list(part), vector_column_name="vector").nprobes(self.probes)
            if self.where is not None:
                search = search.where(self.where, prefilter=True)
            found = search.refine_factor(self.refine).select(columns).limit(k).to_arrow()
            queries = (
                found["query_index"].to_numpy()
                if "query_index" in found.column_names
                else np.zeros(len(found), int)
            )
            distances = found["_distance"].to_numpy()
            named = zip(*(found[name].to_pylist() for name in columns[:-1]), strict=True)
            rows = np.array([self._row(position[video_id], values) for video_id, *values in named], np.int64)
            order = np.lexsort((rows, distances, queries))
            queries = queries[order]
            rank = np.arange(len(order)) - np.searchsorted(queries, queries)
            neighbours.rows[first + queries, rank] = rows[order]
            # The index goes by cosines; stored vectors have unit length, the query may not.
            lengths = np.linalg.norm(part, axis=1)[queries]
            neighbours.scores[first + queries, rank] = (1.0 - distances[order]) * lengths
        return neighbours

    def _row(self, video: int, values: list[Any]) -> int:
        (first_key, second_key), (value, other) = self.keys.values(), values
        start, stop = self.bounds[video : video + 2]
        start += np.searchsorted(first_key[start:stop], value)  # rows of a video are sorted by their first key
        return int(start + np.argmax(second_key[start:stop] == other))


def _checked(queries: NDArray[np.floating], dimensions: int, k: int) -> NDArray[np.float32]:
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise InvalidArgument(f"queries are (Q, {dimensions}), got {queries.shape}")
    if k < 1:
        raise InvalidArgument(f"k is at least 1, got {k}")
    return queries.astype(np.float32, copy=False)
