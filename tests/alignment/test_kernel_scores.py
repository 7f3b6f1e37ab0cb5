from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reelspace.alignment.fourier import NORMS, TMK_POULLOT, FourierKernel
from reelspace.alignment.kernel_scores import all_best_offsets, best_offsets
from reelspace.errors import InvalidArgument

KERNEL = FourierKernel((97, 31, 253), harmonics=7)


def described(count: int, kernel: FourierKernel = KERNEL, *, dimensions: int = 24, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    films = [random.normal(size=(random.integers(20, 90), dimensions)).astype(np.float32) for _ in range(count)]
    return np.stack([kernel.normalise(kernel.describe(film)) for film in films])


def by_curve(queries: np.ndarray, references: np.ndarray, kernel: FourierKernel, offsets: range) -> tuple:
    every = np.array(offsets)
    curves = kernel.scores(queries, references, every)
    return curves.max(axis=2), every[curves.argmax(axis=2)]


@pytest.mark.parametrize(
    "offsets", [range(-50, 50), range(-33, 12), range(7, 8), range(0, 90, 3), range(-1500, 1501)]
)
@pytest.mark.parametrize("norm", NORMS)
def test_the_highest_point_of_every_curve_is_found(offsets: range, norm: str) -> None:
    kernel = FourierKernel((97, 31, 253), harmonics=7, norm=norm)
    queries, references = described(5, kernel), described(37, kernel, seed=1)
    found = best_offsets(queries, references, kernel, offsets=offsets)
    scores, places = by_curve(queries, references, kernel, offsets)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5 * np.abs(scores).max())
    assert (found.offsets == places).mean() > 0.99  # two offsets may be as good


def test_a_planted_offset_comes_back_with_its_sign() -> None:
    film = np.random.default_rng(2).normal(size=(400, 32)).astype(np.float32)
    film /= np.linalg.norm(film, axis=1, keepdims=True)
    kernel = FourierKernel((2731, 1039, 253), harmonics=16)
    a, b = (kernel.normalise(kernel.describe(part)) for part in (film[:300], film[87:]))
    assert best_offsets(a[None], b[None], kernel, offsets=range(-300, 300)).offsets[0, 0] == 87
    assert best_offsets(b[None], a[None], kernel, offsets=range(-300, 300)).offsets[0, 0] == -87


def test_a_kernel_with_one_harmonic_has_a_flat_curve() -> None:
    kernel = FourierKernel((97,), harmonics=1, norm="matrix")
    one = described(3, kernel)
    found = best_offsets(one, one, kernel, offsets=range(-10, 10))
    np.testing.assert_allclose(found.scores, by_curve(one, one, kernel, range(-10, 10))[0], atol=1e-6)


def test_more_queries_and_references_than_one_block_holds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, references = described(11), described(61, seed=1)
    whole = best_offsets(queries, references, KERNEL, offsets=range(-40, 40))
    for name, value in (("_QUERIES", 3), ("_PAIRS", 7), ("_CURVES", 5), ("_PLACES", 9), ("_STRIP", 4)):
        monkeypatch.setattr(f"reelspace.alignment.kernel_scores.{name}", value)
    parts = best_offsets(queries, references, KERNEL, offsets=range(-40, 40), workers=3)
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-6)
    np.testing.assert_array_equal(parts.offsets, whole.offsets)


def test_offsets_found_in_halves_are_as_good_from_memory_and_from_a_file(tmp_path: Path) -> None:
    queries, references = described(6), described(50, seed=1)
    halves = references.astype(np.float16)
    halves[0] *= np.float16(1e-5)  # subnormal numbers are numbers
    np.save(tmp_path / "halves.npy", halves)
    wanted, _ = by_curve(queries, halves.astype(np.float32), KERNEL, range(-40, 40))
    curves = KERNEL.scores(queries, references, np.arange(-40, 40))
    for stored in (halves, np.load(tmp_path / "halves.npy", mmap_mode="r")):
        found = best_offsets(queries, stored, KERNEL, offsets=range(-40, 40))
        np.testing.assert_allclose(found.scores, wanted, atol=1e-6)
        there = np.take_along_axis(curves, found.offsets[:, :, None] + 40, axis=2)[:, 1:, 0]
        np.testing.assert_allclose(there, curves.max(axis=2)[:, 1:], rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_torch_tensors_give_the_same(dtype: torch.dtype) -> None:
    queries, references = described(4), described(30, seed=1)
    stored = torch.from_numpy(references).to(dtype)
    found = best_offsets(torch.from_numpy(queries), stored, KERNEL, offsets=range(-40, 41))
    same = best_offsets(queries, stored.float().numpy(), KERNEL, offsets=range(-40, 41))
    np.testing.assert_allclose(found.scores.numpy(), same.scores, atol=1e-6)
    np.testing.assert_array_equal(found.offsets.numpy(), same.offsets)


def test_all_pairs_come_once_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelspace.alignment.kernel_scores._ROWS", 4)
    kernel = TMK_POULLOT
    stack = described(23, kernel)
    whole = best_offsets(stack, stack, kernel, offsets=range(-30, 30))
    seen = np.zeros((23, 23), int)
    for i, k, best in all_best_offsets(stack, kernel, offsets=range(-30, 30), block=10):
        rows, columns = slice(i, i + best.scores.shape[0]), slice(k, k + best.scores.shape[1])
        np.testing.assert_allclose(best.scores, whole.scores[rows, columns], atol=1e-6 * whole.scores.max())
        seen[rows, columns] += 1
    assert (np.triu(seen) == np.triu(np.ones_like(seen))).all()


def test_nothing_stored_is_no_error() -> None:
    found = best_offsets(described(3), described(1)[:0], KERNEL, offsets=range(5))
    assert found.scores.shape == (3, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": np.zeros((4, 3, 12, 24), np.float32)}, r"shape \(N, 3, 14, d\)"),
        ({"references": np.zeros((4, 3, 14, 25), np.float32)}, "24 and 25 dimensions"),
        ({"offsets": range(0)}, "not empty"),
        ({"offsets": range(5, 0, -1)}, "increasing"),
        ({"workers": 0}, "at least one worker"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "queries": described(1),
        "references": described(2),
        "kernel": KERNEL,
        "offsets": range(9),
        **change,
    }
    with pytest.raises(InvalidArgument, match=message):
        best_offsets(**arguments)  # type: ignore[arg-type]


def test_an_empty_block_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least one video"):
        next(all_best_offsets(described(2), KERNEL, offsets=range(5), block=0))
