from __future__ import annotations

import numpy as np
import pytest

from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, SpaceMismatch
from reelspace.tasks import normalisation
from reelspace.tasks.normalisation import (
    background_bias,
    normalised_queries,
    normalised_references,
    normalised_scores,
)

SPACE = Space("made-up", 8, {})


def unit(seed: int, rows: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def matrix(seed: int, lengths: list[int], space: Space = SPACE) -> FrameMatrix:
    random = np.random.default_rng(seed)
    sequences = [
        FrameSequence(
            np.arange(n) / 5,
            unit(seed * 100 + i, n).astype(np.float16),
            np.zeros(n, np.uint8),
            (random.random(n) > 0.3).astype(np.float32),
            space,
            n / 5,
        )
        for i, n in enumerate(lengths)
    ]
    return FrameMatrix.concatenate(sequences, [f"{seed}-{i}" for i in range(len(lengths))])


@pytest.mark.parametrize("k", [1, 3, 500])
def test_the_bias_is_the_mean_of_the_nearest(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "_BLOCK_ROWS", 7)
    queries, background = unit(1, 15), unit(2, 40)
    expected = [1.5 * np.mean(sorted(background @ query)[-k:]) for query in queries]
    assert background_bias(queries, background, beta=1.5, k=k) == pytest.approx(np.array(expected), abs=1e-6)


def test_products_of_normalised_descriptors_are_normalised_scores() -> None:
    queries, references, background = unit(1, 5), unit(2, 9), unit(3, 30)
    products = normalised_queries(queries, background, beta=0.7, k=2) @ normalised_references(references).T
    expected = queries @ references.T - background_bias(queries, background, beta=0.7, k=2)[:, None]
    assert products == pytest.approx(expected, abs=1e-6)


def test_videos_score_by_their_best_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "_BLOCK_ROWS", 5)  # videos lie across blocks
    queries, references, background = matrix(1, [4, 1, 9]), matrix(2, [3, 12, 2, 6]), matrix(3, [20])
    scores = normalised_scores(queries, references, background, beta=0.8, k=2)
    noise = background.vectors[background.weights > 0].astype(np.float64)
    for q in range(3):
        for r in range(4):
            best = -np.inf
            for a, weight in zip(queries.sequence(q).vectors, queries.sequence(q).weights, strict=True):
                bias = 0.8 * np.mean(sorted(noise @ a.astype(np.float64))[-2:])
                for b, other in zip(references.sequence(r).vectors, references.sequence(r).weights, strict=True):
                    if weight > 0 and other > 0:
                        best = max(best, float(a.astype(np.float64) @ b.astype(np.float64)) - bias)
            assert scores[q, r] == pytest.approx(best, abs=1e-5)


def test_a_frame_like_everything_is_like_nothing_in_particular() -> None:
    common, rare = np.eye(8, dtype=np.float32)[:2]
    background = 0.9 * common + 0.1 * unit(1, 50)
    references = np.stack([common, rare])
    plain = np.stack([common, rare]) @ references.T
    scores = normalised_queries(np.stack([common, rare]), background) @ normalised_references(references).T
    assert plain[0, 0] == plain[1, 1]
    assert scores[0, 0] < scores[1, 1] - 0.5


def test_a_background_must_be_there_and_of_one_kind() -> None:
    with pytest.raises(InvalidArgument, match="needs rows of 8 dimensions"):
        background_bias(unit(1, 3), np.zeros((0, 8)))
    with pytest.raises(InvalidArgument, match="needs rows of 8 dimensions"):
        background_bias(unit(1, 3), np.zeros((5, 7)))
    with pytest.raises(InvalidArgument, match="k = 0"):
        background_bias(unit(1, 3), unit(2, 3), k=0)
    with pytest.raises(SpaceMismatch):
        normalised_scores(matrix(1, [3]), matrix(2, [3]), matrix(3, [3], Space("another", 8, {})))
