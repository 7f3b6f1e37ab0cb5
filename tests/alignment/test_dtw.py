from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.dtw import MOVES, straight_pieces, warped_path


def by_loop(gain: np.ndarray, off_diagonal: float) -> float:
    """The same recurrence, cell by cell."""
    sums = np.zeros(gain.shape)
    for i in range(gain.shape[0]):
        for k in range(gain.shape[1]):
            options = [0.0]
            for q, r in MOVES:
                if i >= q and k >= r:
                    skipped = 0.5 * min(float(gain[i - 1, k]), 0.0) if q == 2 else 0.0
                    options.append(sums[i - q, k - r] - (off_diagonal if (q, r) != (1, 1) else 0) + skipped)
            sums[i, k] = max(max(options) + gain[i, k], 0.0)
    return float(sums.max())


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 13), (13, 7), (20, 20)])
@pytest.mark.parametrize("seed", range(4))
def test_no_path_gains_more_than_the_one_found(shape: tuple[int, int], seed: int) -> None:
    gain = np.random.default_rng(seed).normal(size=shape).astype(np.float32) - 0.2
    path = warped_path(gain, off_diagonal=0.1)
    wanted = by_loop(gain, 0.1)
    assert (path.gain if path else 0.0) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_path_moves_within_the_slopes_and_adds_up(seed: int) -> None:
    gain = np.random.default_rng(seed).normal(size=(40, 30)).astype(np.float32)
    path = warped_path(gain, off_diagonal=0.0)
    assert path is not None
    steps = list(zip(np.diff(path.rows).tolist(), np.diff(path.columns).tolist(), strict=True))
    assert set(steps) <= set(MOVES)
    skipped = sum(
        0.5 * min(float(gain[row - 1, column]), 0.0)
        for (q, _), row, column in zip(steps, path.rows[1:], path.columns[1:], strict=True)
        if q == 2
    )
    assert gain[path.rows, path.columns].sum() + skipped == pytest.approx(path.gain, abs=1e-4)


def test_footage_whose_speed_changes_is_one_path() -> None:
    gain = np.full((60, 80), -0.25, np.float32)
    query = np.arange(10, 50)
    reference = np.concatenate([5 + np.arange(20), 25 + 2 * np.arange(20)])  # then twice as fast
    gain[query, reference] = 0.4
    path = warped_path(gain)
    assert path is not None
    np.testing.assert_array_equal(path.rows, query)
    np.testing.assert_array_equal(path.columns, reference)


@pytest.mark.parametrize("gain", [np.full((5, 6), -1.0, np.float32), np.zeros((0, 4), np.float32)])
def test_where_nothing_gains_there_is_no_path(gain: np.ndarray) -> None:
    assert warped_path(gain) is None


def test_a_bent_path_is_cut_where_it_bends() -> None:
    x = np.arange(0, 10, 0.2)
    y = np.where(x < 4, x, 4 + 2 * (x - 4))
    pieces = straight_pieces(x, y, tolerance_seconds=0.1)
    assert [(x[p.start], p.stop) for p in pieces] == [(0.0, 20), (pytest.approx(4.0), 50)]


def test_a_straight_path_with_jitter_stays_whole() -> None:
    x = np.arange(0, 10, 0.2)
    y = 3 + 1.3 * x + 0.1 * np.sin(9 * x)
    assert straight_pieces(x, y, tolerance_seconds=0.3) == [slice(0, 50)]
