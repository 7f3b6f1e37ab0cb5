"""The nearest stored vectors: exact, by one pass over memory, or through an index of the table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.core.sequence import FrameMatrix
from reelspace.errors import InvalidArgument

__all__ = ["Neighbours", "nearest_exact", "nearest_indexed"]

BLOCK_ROWS = 32_768


class Neighbours(NamedTuple):
    """The best rows for each of Q queries, best first.

    Attributes:
        rows: int64 (Q, k): rows of the frame matrix; -1 where there are fewer than k.
        scores: float32 (Q, k): inner products, cosines for unit vectors; -inf where there are fewer than k.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def nearest_exact(
    matrix: FrameMatrix, queries: NDArray[np.floating], *, k: int, block_rows: int = BLOCK_ROWS
) -> Neighbours:
    """The ``k`` rows of largest inner product with each query (Q, D), in memory of one block.

    Raises:
        InvalidArgument: when the queries are not (Q, D) or ``k`` is below 1.
    """
    wanted = _checked(queries, matrix.space.dimensions, k)
    rows = np.full((len(wanted), k), -1, np.int64)
    scores = np.full((len(wanted), k), -np.inf, np.float32)
    for start in range(0, len(matrix.vectors), block_rows):
        block = matrix.vectors[start : start + block_rows].astype(np.float32)
        found = wanted @ block.T  # (Q, B)
        better = np.flatnonzero(found.max(axis=1) > scores[:, -1])
        if not len(better):
            continue
        found = found[better]
        take = min(k, found.shape[1])
        columns = np.argpartition(found, -take, axis=1)[:, -take:]
        merged_scores = np.concatenate([scores[better], np.take_along_axis(found, columns, axis=1)], axis=1)
        merged_rows = np.concatenate([rows[better], columns + start], axis=1)
        order = np.argsort(-merged_scores, axis=1, kind="stable")[:, :k]
        scores[better] = np.take_along_axis(merged_scores, order, axis=1)
        rows[better] = np.take_along_axis(merged_rows, order, axis=1)
    return Neighbours(rows, scores)


def nearest_indexed(
    table: Any, matrix: FrameMatrix, queries: NDArray[np.floating], *, k: int, probes: int, refine: int
) -> Neighbours:
    """The same by the index of a LanceDB table that holds the rows of ``matrix``: most of the ``k``, much sooner.

    ``probes`` partitions of the index are searched, and ``refine`` times ``k`` candidates scored again with the
    vectors themselves.

    Raises:
        InvalidArgument: when the queries are not (Q, D) or ``k`` is below 1.
    """
    wanted = _checked(queries, matrix.space.dimensions, k)
    position = {video_id: i for i, video_id in enumerate(matrix.video_ids)}
    rows = np.full((len(wanted), k), -1, np.int64)
    scores = np.full((len(wanted), k), -np.inf, np.float32)
    for q, query in enumerate(wanted):
        found = (
            table.search(query, vector_column_name="vector")
            .nprobes(probes)
            .refine_factor(refine)
            .select(["video_id", "time_seconds", "view", "_distance"])
            .limit(k)
            .to_arrow()
        )
        n = found.num_rows
        # The index goes by cosines; stored vectors have unit length, the query may not.
        scores[q, :n] = (1.0 - found["_distance"].to_numpy()) * np.linalg.norm(query)
        for j, (video_id, time, view) in enumerate(
            zip(*(found[name].to_pylist() for name in ("video_id", "time_seconds", "view")), strict=True)
        ):
            first, last = matrix.bounds[position[video_id] : position[video_id] + 2]
            row = first + np.searchsorted(matrix.times_seconds[first:last], time)
            rows[q, j] = row + int(np.flatnonzero(matrix.views[row:last] == view)[0])
    return Neighbours(rows, scores)


def _checked(queries: NDArray[np.floating], dimensions: int, k: int) -> NDArray[np.float32]:
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise InvalidArgument(f"queries are (Q, {dimensions}), got {queries.shape}")
    if k < 1:
        raise InvalidArgument(f"k is at least 1, got {k}")
    return queries.astype(np.float32, copy=False)
