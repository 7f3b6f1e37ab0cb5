"""How alike two videos are, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.core.looks import LinearMap, Look
from reelspace.core.sequence import FrameSequence

__all__ = ["FrameRows", "Similarity", "best_look", "frame_rows", "independent_frames", "similarity"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameRows:
    """A sequence with its views side by side: one row per described frame.

    Attributes:
        times_seconds: float64 (T,), increasing.
        vectors: float32 (V, T, D); a view that a frame does not have is zeros.
        weights: float32 (V, T) in [0, 1].
    """

    times_seconds: NDArray[np.float64]
    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.times_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """The frame-to-frame similarity matrix of a pair.

    Attributes:
        matrix: float32 (Tq, Tr): cosine of what two frames show in common, weighted by the evidence both carry.
        query_times: float64 (Tq,), seconds.
        reference_times: float64 (Tr,), seconds.
        query_spread: float32 (Tq,): over how many numbers each frame's energy is spread, ``1 / sum v^4``. The
            fewer, the more alike strangers look.
        reference_spread: float32 (Tr,), likewise.
        query_evidence: float32 (Tq,), in [0, 1]: how much each frame says; None when all say everything.
        reference_evidence: float32 (Tr,), likewise.
    """

    matrix: NDArray[np.float32]
    query_times: NDArray[np.float64]
    reference_times: NDArray[np.float64]
    query_spread: NDArray[np.float32]
    reference_spread: NDArray[np.float32]
    query_evidence: NDArray[np.float32] | None = None
    reference_evidence: NDArray[np.float32] | None = None


def frame_rows(sequence: FrameSequence) -> FrameRows:
    """One row per frame, its views side by side."""
    times, row = np.unique(sequence.times_seconds, return_inverse=True)
    views = int(sequence.views.max(initial=0)) + 1
    vectors = np.zeros((views, len(times), sequence.space.dimensions), np.float32)
    weights = np.zeros((views, len(times)), np.float32)
    vectors[sequence.views, row] = sequence.vectors
    weights[sequence.views, row] = sequence.weights
    return FrameRows(times, vectors, weights)


def similarity(query: FrameRows, reference: FrameRows, look: Look) -> Similarity:
    """Similarity of every frame of the query to every frame of the reference under one look.

    Every view of the query is compared with every view of the reference; the best counts. A pair of frames is
    weighted by the geometric mean of their evidence, so that flat pictures resemble nothing.
    """
    looked_query = [_looked(v, w, look.of_query) for v, w in zip(query.vectors, query.weights, strict=True)]
    looked_reference = [
        _looked(v, w, look.of_reference) for v, w in zip(reference.vectors, reference.weights, strict=True)
    ]
    matrix = np.zeros((len(query), len(reference)), np.float32)
    for q in looked_query:
        for r in looked_reference:
            if q.evidence.any() and r.evidence.any():
                left, right = q.vectors * np.sqrt(q.evidence)[:, None], r.vectors * np.sqrt(r.evidence)[:, None]
                np.maximum(matrix, left @ right.T, out=matrix)
    return Similarity(
        matrix,
        query.times_seconds,
        reference.times_seconds,
        np.max([q.spread for q in looked_query], axis=0),
        np.max([r.spread for r in looked_reference], axis=0),
        np.max([q.evidence for q in looked_query], axis=0),
        np.max([r.evidence for r in looked_reference], axis=0),
    )


def best_look(
    query: FrameRows,
    reference: FrameRows,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    looks: Sequence[Look],
) -> tuple[int, float]:
    """Which look shows matched frames most alike: its index, and their mean similarity under it.

    Args:
        query: frames of the query.
        reference: frames of the reference.
        rows: row numbers of the query and of the reference, matched one to one.
        looks: what to try.
    """
    means = np.zeros(len(looks))
    for q_view, q_weights in zip(query.vectors, query.weights, strict=True):
        for r_view, r_weights in zip(reference.vectors, reference.weights, strict=True):
            if not (q_weights[rows[0]].any() and r_weights[rows[1]].any()):
                continue
            for index, look in enumerate(looks):
                q = _looked(q_view[rows[0]], q_weights[rows[0]], look.of_query)
                r = _looked(r_view[rows[1]], r_weights[rows[1]], look.of_reference)
                along = (q.vectors * r.vectors).sum(axis=1) * np.sqrt(q.evidence * r.evidence)
                means[index] = max(means[index], float(along.mean()))
    best = int(means.argmax())
    return best, float(means[best])


def independent_frames(rows: FrameRows, mapping: LinearMap, *, start_seconds: float, end_seconds: float) -> float:
    """How many frames of a stretch are worth counting: 1 for a still picture, their number when all differ.

    ``n^2 / sum_ij cos(i, j)^2``, on the whole picture as a look shows it; 0 for a stretch without frames. Long
    stretches are judged by 200 frames.
    """
    inside = np.flatnonzero((rows.times_seconds >= start_seconds) & (rows.times_seconds < end_seconds))
    if len(inside) == 0:
        return 0.0
    some = inside[np.linspace(0, len(inside) - 1, min(200, len(inside))).astype(np.int64)]
    shown = _looked(rows.vectors[0, some], rows.weights[0, some], mapping).vectors
    alike = float(((shown @ shown.T) ** 2).mean())
    return 1.0 / max(alike, 1.0 / len(some))


class _Looked(NamedTuple):
    """Rows under a look: vectors (N, D) of unit length, the evidence (N,) they carry and their spread (N,)."""

    vectors: NDArray[np.float32]
    evidence: NDArray[np.float32]
    spread: NDArray[np.float32]


def _looked(vectors: NDArray[np.float32], weights: NDArray[np.float32], mapping: LinearMap) -> _Looked:
    """Rows under a linear map, back at unit length.

    A vector whose energy lies in two or three numbers (a ramp, colour bars) is like every other such vector, and is
    no evidence.
    """
    mapped = mapping(vectors)
    squares = mapped * mapped
    energy = np.maximum(squares.sum(axis=1), 1e-12)
    spread = energy**2 / np.maximum(np.einsum("ij,ij->i", squares, squares), 1e-24)
    evidence = weights * np.clip((spread - 2) / 2, 0, 1)
    return _Looked(mapped / np.sqrt(energy)[:, None], evidence, np.where(weights > 0, spread, 0))
