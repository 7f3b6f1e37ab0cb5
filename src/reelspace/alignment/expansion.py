"""Query expansion: a query is asked again together with what it found, moved to the query's time.

Average (AQE): ``(q + sum of the N1 best, shifted) / (N1 + 1)``. Difference of neighbourhoods (DoN): the same,
less the mean of the N2 best as they are, which is what everything looks like. Douze et al. 2013, "Stable
hyper-pooling and query expansion for event detection"; with temporal kernels Baraldi et al. 2018.

With ``consistent`` only that half of the N1 is taken whose offsets to one another agree best with their offsets to
the query. videoalignment reads the query's offsets of the wrong videos there, and divides by N1 + 1 all the same;
ours reads the right ones and divides by how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import array_api_compat
import numpy as np

from reelspace.alignment.methods import TemporalMethod
from reelspace.errors import InvalidArgument

__all__ = ["EXPANSIONS", "Expansion", "expand_queries"]

Array = Any
"""A numpy array or a torch tensor."""

_BYTES_AT_ONCE = 256 << 20


@dataclass(frozen=True, slots=True)
class Expansion:
    """How queries are expanded.

    Attributes:
        added: N1, how many of the best are added.
        subtracted: N2, the mean of how many is taken away; 0 for none.
        consistent: whether only the half of the N1 is added that agrees best in time.

    Raises:
        InvalidArgument: when nothing is added, or fewer than two are to agree.
    """

    added: int = 10
    subtracted: int = 0
    consistent: bool = False

    def __post_init__(self) -> None:
        if self.added < 1 + self.consistent or self.subtracted < 0:
            raise InvalidArgument(
                "an expansion adds at least one video, two where they are to agree, and subtracts none or more; "
                f"got {self.added} and {self.subtracted}"
            )


EXPANSIONS: Mapping[str, Expansion] = MappingProxyType({"aqe": Expansion(), "don": Expansion(subtracted=2000)})
"""The two by name, with videoalignment's numbers."""


def expand_queries(
    method: TemporalMethod,
    queries: Array,
    references: Array,
    *,
    scores: Array,
    best: Array,
    expansion: Expansion,
    offsets: Array | None = None,
) -> Array:
    """The queries to ask instead: (Q, *), to be normalised like any other.

    Args:
        method: what described them.
        queries: descriptors (Q, *), not normalised.
        references: descriptors (R, *) that were searched, not normalised; may be memory-mapped, of which a block at
            a time is read.
        scores: (Q, R), the best score of each pair, as `best_offsets` gives it.
        best: (Q, R), the offset it is reached at.
        expansion: how.
        offsets: (K,) to try between references, where the expansion wants them consistent.

    Raises:
        InvalidArgument: when there are fewer references than the expansion takes, or no offsets to see whether they
            agree.
    """
    xp = array_api_compat.array_namespace(queries)
    most = max(expansion.added, expansion.subtracted)
    if references.shape[0] < most:
        raise InvalidArgument(f"an expansion by {most} videos needs as many, got {references.shape[0]}")
    if expansion.consistent and offsets is None:
        raise InvalidArgument("to see which videos agree in time, give the offsets to try between them")
    order = xp.argsort(scores, axis=-1, descending=True, stable=True)
    nearest = order[:, : expansion.added]  # (Q, N1)
    per_query = expansion.added * int(np.prod(queries.shape[1:])) * queries.itemsize
    step = max(1, _BYTES_AT_ONCE // max(1, per_query))
    parts = []
    for start in range(0, queries.shape[0], step):
        rows = nearest[start : start + step]  # (S, N1)
        moves = xp.take_along_axis(best[start : start + step], rows, axis=-1)  # (S, N1)
        found = _rows(references, rows, xp)  # (S, N1, *)
        shifted = method.shift(found, moves)
        if offsets is not None and expansion.consistent:
            keep = _agreeing(method, found, moves, offsets, xp)  # (S, N1) of 0 and 1
        else:
            keep = xp.ones_like(moves)
        keep = xp.astype(keep, xp.float32)
        total = 1 + xp.sum(keep, axis=1)
        mask = xp.reshape(keep, (*keep.shape, *(1,) * (shifted.ndim - 2)))
        summed = queries[start : start + step] + xp.sum(shifted * mask, axis=1)
        parts.append(summed / xp.reshape(total, (-1, *(1,) * (summed.ndim - 1))))
    expanded = xp.concat(parts, axis=0)
    if expansion.subtracted:
        expanded = expanded - _mean_of(references, order[:, : expansion.subtracted], xp)
    return expanded


def _rows(references: Array, rows: Array, xp: Any) -> Array:
    """References by number: (S, N1) to (S, N1, *)."""
    flat = xp.reshape(rows, (-1,))
    return xp.reshape(xp.asarray(references[flat]), (*rows.shape, *references.shape[1:]))


def _agreeing(method: TemporalMethod, found: Array, moves: Array, offsets: Array, xp: Any) -> Array:
    """Which half of each query's finds agree best in time: (S, N1) of 1 and 0.

    If i lies at offset ``o_i`` of the query and k at ``o_k``, what i and k share lies at ``o_k - o_i``; by how much
    their own best offset differs from that is summed over all k.
    """
    half = moves.shape[1] // 2
    masks = []
    for described, places in zip(found, moves, strict=True):  # one all-pairs product per query
        videos = method.normalise(described)
        own = xp.argmax(method.scores(videos, videos, offsets), axis=-1)  # (N1, N1)
        between = xp.reshape(xp.take(offsets, xp.reshape(own, (-1,))), own.shape)
        amiss = xp.sum(xp.abs(places[None, :] - places[:, None] - between), axis=1)
        kept = xp.argsort(amiss, stable=True)[:half]
        mask = xp.zeros_like(amiss)
        mask[kept] = 1
        masks.append(mask)
    return xp.stack(masks)


def _mean_of(references: Array, rows: Array, xp: Any) -> Array:
    """The mean of each query's rows (Q, N2) of the references: (Q, *), by one matrix product per block of them."""
    chosen = xp.zeros((rows.shape[0], references.shape[0]), dtype=xp.float32, device=array_api_compat.device(rows))
    chosen[xp.arange(rows.shape[0])[:, None], rows] = 1 / rows.shape[1]
    step = max(1, _BYTES_AT_ONCE // max(1, int(np.prod(references.shape[1:])) * references.itemsize))
    mean = 0
    for start in range(0, references.shape[0], step):
        block = xp.asarray(references[start : start + step])
        share = xp.astype(chosen[:, start : start + step], block.dtype)
        mean = mean + share @ xp.reshape(block, (block.shape[0], -1))
    return xp.reshape(mean, (rows.shape[0], *references.shape[1:]))
