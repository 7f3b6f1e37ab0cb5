"""Scores held against a background: what is like everything is like nothing in particular.

A frame that many unrelated pictures resemble (black, a face before a wall, a title card) scores high against
strangers too. A noise set, videos that surely hold no copies, says how high: the mean of a frame's ``k`` greatest
cosines to the background, times ``beta``, is taken off all its scores (CSLS without the references' half, as in the
Image Similarity Challenge 2021; vsc/baseline/score_normalization.py of facebookresearch/vsc2022, where ``k`` is 1).

There are two equal forms. Of scores:

    score(q, r) - bias(q),          bias(q) = beta * mean of the k greatest q . n over the background's n

Of descriptors, so that any index of inner products searches normalised scores:

    [q, -bias(q)] . [r, 1] = q . r - bias(q)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reelspace.core.sequence import FrameMatrix
from reelspace.errors import InvalidArgument

__all__ = ["background_bias", "normalised_queries", "normalised_references", "normalised_scores"]

_BLOCK_ROWS = 4_096


def background_bias(
    queries: NDArray[np.floating], background: NDArray[np.floating], *, beta: float = 1.0, k: int = 1
) -> NDArray[np.float32]:
    """What is taken off the scores of each query, in one pass over the background.

    Args:
        queries: (N, D), of unit length where scores are cosines.
        background: (M, D), likewise; read in blocks, so it may be memory-mapped.
        beta: how much of the background's similarity is taken off.
        k: how many of its nearest rows are averaged; all of them where it holds fewer.

    Returns:
        float32 (N,).

    Raises:
        InvalidArgument: for an empty background, other dimensions, or k below 1.
    """
    if k < 1:
        raise InvalidArgument(f"the background's similarity is a mean of at least one, got k = {k}")
    if len(background) == 0 or queries.shape[1] != background.shape[1]:
        raise InvalidArgument(
            f"the background needs rows of {queries.shape[1]} dimensions, got an array of {background.shape}"
        )
    bias = np.empty(len(queries), np.float32)
    for rows in _blocks(len(queries)):
        vectors = np.asarray(queries[rows], dtype=np.float32)
        most = np.empty((len(vectors), 0), np.float32)
        for noise in _blocks(len(background)):
            most = np.concatenate([most, vectors @ np.asarray(background[noise], dtype=np.float32).T], axis=1)
            if most.shape[1] > k:
                most = np.partition(most, most.shape[1] - k, axis=1)[:, -k:]
        bias[rows] = beta * most.mean(axis=1)
    return bias


def normalised_scores(
    queries: FrameMatrix, references: FrameMatrix, background: FrameMatrix, *, beta: float = 1.0, k: int = 1
) -> NDArray[np.float32]:
    """How like each other two videos are at best, frame by frame, beyond what the background is: float32 (Q, R).

    Rows of weight 0 carry no evidence and do not count; a video without other rows scores ``-inf``.

    Args:
        queries: Q videos.
        references: R videos; read in blocks, so it may be memory-mapped.
        background: the noise set.
        beta: see `background_bias`.
        k: likewise.

    Raises:
        SpaceMismatch: when the three were not made by one encoder.
        InvalidArgument: see `background_bias`.
    """
    for other, name in ((references, "the reference matrix"), (background, "the background")):
        other.space.require(queries.space, where=name)
    noise = background.vectors[background.weights > 0]
    scores = np.full((len(queries), len(references)), -np.inf, np.float32)
    for mine in _blocks(len(queries.vectors)):
        vectors, videos, firsts = _evidence(queries, mine)
        bias = background_bias(vectors, noise, beta=beta, k=k)
        for theirs in _blocks(len(references.vectors)):
            others, other_videos, other_firsts = _evidence(references, theirs)
            if len(vectors) == 0 or len(others) == 0:
                continue
            products = np.maximum.reduceat(vectors @ others.T - bias[:, None], other_firsts, axis=1)
            place = np.ix_(videos[firsts], other_videos[other_firsts])
            scores[place] = np.maximum(scores[place], np.maximum.reduceat(products, firsts, axis=0))
    return scores


def normalised_queries(
    queries: NDArray[np.floating], background: NDArray[np.floating], *, beta: float = 1.0, k: int = 1
) -> NDArray[np.float32]:
    """The queries with the background's similarity as one more number: float32 (N, D + 1).

    Their inner products with `normalised_references` are the normalised scores. For the arguments see
    `background_bias`.
    """
    bias = background_bias(queries, background, beta=beta, k=k)
    return np.concatenate([np.asarray(queries, dtype=np.float32), -bias[:, None]], axis=1)


def normalised_references(references: NDArray[np.floating]) -> NDArray[np.float32]:
    """The references with a 1 as one more number: float32 (N, D + 1); see `normalised_queries`."""
    ones = np.ones((len(references), 1), np.float32)
    return np.concatenate([np.asarray(references, dtype=np.float32), ones], axis=1)


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(first, first + _BLOCK_ROWS) for first in range(0, rows, _BLOCK_ROWS))


def _evidence(matrix: FrameMatrix, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The vectors among these rows that are evidence, the video of each, and where each video begins."""
    kept = rows.start + np.flatnonzero(matrix.weights[rows] > 0)
    videos = np.searchsorted(matrix.bounds, kept, side="right") - 1
    return matrix.vectors[kept].astype(np.float32), videos, np.flatnonzero(np.diff(videos, prepend=-1))
