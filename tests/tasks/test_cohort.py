"""How far a pair stands out among strangers."""

from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.similarity import frame_rows
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.tasks.cohort import Cohort

DIMENSIONS = 64


def video(vectors: np.ndarray, weights: np.ndarray | None = None) -> FrameSequence:
    n = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return FrameSequence(
        np.arange(n) / 5,
        unit.astype(np.float16),
        np.zeros(n, np.uint8),
        np.ones(n, np.float32) if weights is None else weights.astype(np.float32),
        Space("made-up", DIMENSIONS, {}),
        n / 5,
    )


def library(sequences: list[FrameSequence]) -> FrameMatrix:
    return FrameMatrix.concatenate(sequences, [str(i) for i in range(len(sequences))])


def noise(seed: int, n: int = 30, *, around: float = 0.0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, DIMENSIONS))
    vectors[:, 0] += around  # the more, the more alike are all of them
    return vectors


WHOLE = Span(0.0, 6.0)


def test_deviations_are_those_of_the_best_moments_of_all_others() -> None:
    sequences = [video(noise(seed)) for seed in range(40)]
    query = video(noise(99))
    found = Cohort.of(library(sequences)).standing(frame_rows(query)).deviations(0.9, span=WHOLE, reference=3)
    others = [s.vectors.astype(np.float64) for i, s in enumerate(sequences) if i != 3]
    best = np.array([(query.vectors.astype(np.float64) @ o.T).max(axis=1).mean() for o in others])
    known = np.concatenate([best, 0.30 + 0.22 * np.array([1, -1] * 8)])  # sixteen videos as strangers usually are
    assert found == pytest.approx((0.9 - known.mean()) / np.hypot(known.std(), 0.03), rel=2e-3)


def test_what_is_like_everything_stands_out_less() -> None:
    plain = [video(noise(seed, around=16.0)) for seed in range(40)]
    rich = [video(noise(seed)) for seed in range(40)]
    far = [
        Cohort.of(library(them)).standing(frame_rows(them[0]), itself=0).deviations(0.9, span=WHOLE, reference=1)
        for them in (plain, rich)
    ]
    assert far[0] < 1 < 2.5 < far[1]


def test_the_query_itself_is_no_stranger() -> None:
    sequences = [video(noise(seed)) for seed in range(5)]
    cohort = Cohort.of(library(sequences))
    rows = frame_rows(sequences[2])
    left_out = cohort.standing(rows, itself=2)
    assert 2 not in left_out.videos
    taken = cohort.standing(rows).deviations(0.9, span=WHOLE, reference=0)
    assert taken < left_out.deviations(0.9, span=WHOLE, reference=0)


def test_without_other_videos_strangers_are_as_usual() -> None:
    only = library([video(noise(1))])
    standing = Cohort.of(only).standing(frame_rows(video(noise(2))))
    assert standing.deviations(0.30, span=WHOLE, reference=0) == pytest.approx(0)
    assert standing.deviations(0.9, span=WHOLE, reference=0) == pytest.approx(0.60 / np.hypot(0.22, 0.03))


def test_a_library_of_pictures_without_evidence_and_a_query_without_rows_are_no_error() -> None:
    dark = library([video(noise(1), np.zeros(30)), video(noise(2), np.zeros(30))])
    nothing = video(noise(3)[:0].reshape(0, DIMENSIONS))
    for matrix, query in ((dark, video(noise(4))), (library([video(noise(5))]), nothing)):
        standing = Cohort.of(matrix).standing(frame_rows(query))
        assert np.isfinite(standing.deviations(0.9, span=WHOLE, reference=0))


def test_a_large_library_gives_a_small_cohort() -> None:
    cohort = Cohort.of(library([video(noise(seed, 60)) for seed in range(250)]))
    assert len(cohort.videos) == 200
    assert len(cohort.rows) == 200 * 48
    assert {0, 249} <= set(cohort.videos.tolist())
