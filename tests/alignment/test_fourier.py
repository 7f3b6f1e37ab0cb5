from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reelspace.alignment.fourier import NORMS, TMK, FourierKernel
from reelspace.errors import InvalidArgument, UnknownName


def unit_rows(count: int, seed: int, dimensions: int = 24) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_without_normalisation_the_score_compares_all_pairs_of_frames() -> None:
    kernel = FourierKernel((53,), harmonics=20, norm="matrix")
    a, b = unit_rows(7, 1), unit_rows(5, 2)
    times_a, times_b = np.array([0.0, 1, 2, 3.5, 5, 6, 9]), np.array([-2.0, 0, 1, 4, 7])  # uneven, negative
    fa, fb = kernel.describe(a, times_a), kernel.describe(b, times_b)
    for offset in (-3.0, 0.0, 4.5):
        expected = sum(
            (x @ y) * (kernel.coefficients * np.cos(2 * np.pi * np.arange(20) * (ta - tb - offset) / 53)).sum()
            for x, ta in zip(a, times_a, strict=True)
            for y, tb in zip(b, times_b, strict=True)
        )
        assert kernel.scores(fa[None], fb[None], np.array([offset]))[0, 0, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_planted_offsets_are_found_in_both_directions(norm: str) -> None:
    kernel = replace(TMK, norm=norm)
    film = unit_rows(400, 3, 64)
    offsets = np.arange(-400, 400)
    cut = film[150:330]
    a, b = (kernel.normalise(kernel.describe(x))[None] for x in (film, cut))
    assert abs(offsets[kernel.scores(a, b, offsets)[0, 0].argmax()] - 150) <= 1
    assert abs(offsets[kernel.scores(b, a, offsets)[0, 0].argmax()] + 150) <= 1


def test_shifting_is_adding_to_the_times() -> None:
    x = unit_rows(30, 4)
    moved = TMK.describe(x, np.arange(30) - 12.5)
    np.testing.assert_allclose(TMK.shift(TMK.describe(x), -12.5), moved, atol=1e-5)


def test_zero_rows_change_nothing() -> None:
    x = unit_rows(30, 5)
    padded = np.concatenate([x, np.zeros((9, 24), dtype=np.float32)])
    np.testing.assert_allclose(TMK.describe(padded), TMK.describe(x), atol=1e-6)


def test_a_batch_scores_like_its_pairs() -> None:
    a = np.stack([TMK.normalise(TMK.describe(unit_rows(n, n))) for n in (20, 31)])
    b = np.stack([TMK.normalise(TMK.describe(unit_rows(n, n))) for n in (25, 31, 40)])
    offsets = np.arange(-50, 5000, 7)  # more than one piece of the table
    batch = TMK.scores(a, b, offsets)
    assert batch.shape == (2, 3, len(offsets))
    for i in range(2):
        for k in range(3):
            np.testing.assert_allclose(
                batch[i, k], TMK.scores(a[i : i + 1], b[k : k + 1], offsets)[0, 0], atol=1e-5
            )


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_torch_tensors_give_what_numpy_gives(norm: str) -> None:
    torch = pytest.importorskip("torch")
    kernel = replace(TMK, norm=norm)
    x, y, offsets = unit_rows(50, 6), unit_rows(60, 7), np.arange(-60.0, 60.0)
    expected = kernel.scores(*(kernel.normalise(kernel.describe(side))[None] for side in (x, y)), offsets)
    sides = (kernel.normalise(kernel.describe(torch.from_numpy(side)))[None] for side in (x, y))
    ours = kernel.scores(*sides, torch.from_numpy(offsets)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    shifted = kernel.shift(kernel.describe(torch.from_numpy(x)), 3.0).numpy()
    np.testing.assert_allclose(shifted, kernel.shift(kernel.describe(x), 3.0), atol=1e-5)


def test_unknown_norms_and_wrong_times_are_refused() -> None:
    with pytest.raises(UnknownName, match="feat_freq"):
        FourierKernel((100,), norm="feat_frq")
    with pytest.raises(InvalidArgument, match="30 frames"):
        TMK.describe(unit_rows(30, 8), np.arange(29))
