from __future__ import annotations

import numpy as np

from reelspace.alignment.similarity import FrameRows, best_look, frame_rows, independent_frames, similarity
from reelspace.core.looks import Look
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space

SPACE = Space("test", 32, {})
PLAIN = Look.plain(32)
REVERSED = Look(None, lambda v: v[:, ::-1], lambda v: v, mirrored=True, dimensions=32)


def sequence(frames: int = 6, views: int = 2, seed: int = 0) -> FrameSequence:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(frames * views, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return FrameSequence(
        np.repeat(np.arange(frames) / 5, views),
        vectors,
        np.tile(np.arange(views, dtype=np.uint8), frames),
        random.uniform(0.3, 1, frames * views).astype(np.float32),
        SPACE,
        frames / 5,
    )


def test_rows_put_views_side_by_side_and_leave_missing_ones_empty() -> None:
    whole = sequence(3, 2)
    keep = np.array([0, 1, 2, 4, 5])  # frame 1 has no second view
    some = FrameSequence(
        whole.times_seconds[keep], whole.vectors[keep], whole.views[keep], whole.weights[keep], SPACE, 0.6
    )
    rows = frame_rows(some)
    assert rows.times_seconds.tolist() == [0.0, 0.2, 0.4]
    np.testing.assert_array_equal(rows.vectors[1, 2], whole.vectors[5])
    assert rows.weights[1, 1] == 0
    assert not rows.vectors[1, 1].any()


def test_similarity_equals_a_slow_loop_over_frames_and_views() -> None:
    a, b = frame_rows(sequence(5, 2, 1)), frame_rows(sequence(4, 2, 2))
    found = similarity(a, b, REVERSED)
    for i in range(5):
        for j in range(4):
            best = 0.0
            for q in range(2):
                for r in range(2):
                    x, y = a.vectors[q, i][::-1], b.vectors[r, j]
                    spread = [min(max((1 / (v**4).sum() - 2) / 2, 0), 1) for v in (x, y)]
                    evidence = np.sqrt(a.weights[q, i] * spread[0] * b.weights[r, j] * spread[1])
                    best = max(best, float(x @ y) * evidence)
            assert abs(found.matrix[i, j] - best) < 1e-5


def test_a_frame_without_weight_resembles_nothing() -> None:
    rows = frame_rows(sequence(4, 1))
    blind = FrameRows(rows.times_seconds, rows.vectors, np.zeros_like(rows.weights))
    assert not similarity(blind, rows, PLAIN).matrix.any()


def test_a_vector_with_few_numbers_resembles_nothing() -> None:
    bars = np.zeros((1, 2, 32), np.float32)
    bars[:, :, 3] = 1.0
    rows = FrameRows(np.array([0.0, 0.2]), bars, np.ones((1, 2), np.float32))
    assert not similarity(rows, rows, PLAIN).matrix.any()


def test_spread_counts_the_numbers_that_share_the_energy() -> None:
    even = np.full((1, 1, 32), 1 / np.sqrt(32), np.float32)
    half = np.zeros((1, 1, 32), np.float32)
    half[:, :, :16] = 0.25
    rows = [FrameRows(np.zeros(1), vectors, np.ones((1, 1), np.float32)) for vectors in (even, half)]
    found = similarity(*rows, PLAIN)
    np.testing.assert_allclose(found.query_spread, [32], rtol=1e-5)
    np.testing.assert_allclose(found.reference_spread, [16], rtol=1e-5)


def test_the_best_look_is_the_one_under_which_frames_agree() -> None:
    a = frame_rows(sequence(6, 1))
    turned = FrameRows(a.times_seconds, a.vectors[:, :, ::-1], a.weights)
    rows = np.arange(6)
    assert best_look(a, a, (rows, rows), [REVERSED, PLAIN])[0] == 1
    assert best_look(turned, a, (rows, rows), [PLAIN, REVERSED])[0] == 1


def test_a_still_picture_is_one_independent_frame_and_a_changing_one_many() -> None:
    rows = frame_rows(sequence(40, 1))
    still = FrameRows(rows.times_seconds, np.repeat(rows.vectors[:, :1], 40, axis=1), rows.weights)
    assert abs(independent_frames(still, PLAIN.of_query, start_seconds=0, end_seconds=8) - 1) < 1e-4
    assert independent_frames(rows, PLAIN.of_query, start_seconds=0, end_seconds=8) > 15
    assert independent_frames(rows, PLAIN.of_query, start_seconds=9, end_seconds=9.1) == 0
