"""TMK, TMK_Poullot and CTE against arrays computed by facebookresearch/videoalignment@1603926.

The golden files hold inputs, descriptors and scores of its classes run on torch 2.13 with torch.fft.fft and np.int
mended (../shared/facts/tmk.md, section 3).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.cte import cte_descriptor, cte_reference_scores
from reelspace.alignment.fourier import NORMS, TMK, TMK_POULLOT, FourierKernel

CASES = ["c0", "c1", "c2", "c3", "c4", "d0", "d1"]
KERNELS = {
    "P16": replace(TMK_POULLOT, harmonics=16),
    "P32": replace(TMK_POULLOT, harmonics=32),
    "D16": TMK,
}


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest, shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / f"videoalignment_{request.param}.npz") as arrays:
        return dict(arrays)


def off(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def descriptors(kernel: FourierKernel, golden: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return kernel.describe(golden["a"], golden["xs_a"]), kernel.describe(golden["b"], golden["xs_b"])


def test_the_golden_cases_are_all_here(shared: Path) -> None:
    meta = json.loads((shared / "golden" / "videoalignment_meta.json").read_text())
    assert [case["name"] for case in meta["cases"]] == CASES
    assert tuple(meta["T_poullot"]) == TMK_POULLOT.periods
    assert tuple(meta["T_default"]) == TMK.periods


def test_coefficients_are_the_reference_s(shared: Path) -> None:
    with np.load(shared / "golden" / "videoalignment_coefficients.npz") as arrays:
        for theirs in arrays.values():
            ours = FourierKernel((100,), harmonics=len(theirs)).coefficients[0]
            np.testing.assert_allclose(ours, np.maximum(theirs, 1e-7), rtol=1e-5)


def test_descriptors_are_the_reference_s(golden: dict[str, np.ndarray]) -> None:
    for name, kernel in KERNELS.items():
        for side, ours in zip("ab", descriptors(kernel, golden), strict=True):
            if f"fv_{side}_{name}" in golden:
                assert off(ours, golden[f"fv_{side}_{name}"]) < 1e-5


def test_shifted_descriptors_are_the_reference_s(golden: dict[str, np.ndarray]) -> None:
    _, b = descriptors(TMK, golden)
    for frames in (17, -5):
        key = f"shift_fv_b_D16_by_{frames}"
        if key in golden:
            assert off(TMK.shift(b, frames), golden[key]) < 1e-5


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_scores_are_the_reference_s(golden: dict[str, np.ndarray], norm: str) -> None:
    checked = 0
    for name, plain in KERNELS.items():
        kernel = replace(plain, norm=norm)
        key = f"s_{name}_{norm}"
        if key not in golden:
            continue
        a, b = (kernel.normalise(side)[None] for side in descriptors(kernel, golden))
        ours = kernel.scores(a, b, golden["offsets"])[0, 0]
        assert off(ours, golden[key]) < 1e-4
        checked += 1
    assert checked >= 2


def test_poullot_s_kernel_is_the_reference_s(golden: dict[str, np.ndarray]) -> None:
    a, b = (TMK_POULLOT.normalise(side)[None] for side in descriptors(TMK_POULLOT, golden))
    assert off(TMK_POULLOT.scores(a, b, golden["offsets"])[0, 0], golden["s_TMK_Poullot_m16"]) < 1e-4


@pytest.mark.parametrize("harmonics", [16, 64])
def test_circulant_encoding_is_the_reference_s(golden: dict[str, np.ndarray], harmonics: int) -> None:
    a, b = (cte_descriptor(golden[side], harmonics=harmonics) for side in "ab")
    for side, ours in (("a", a), ("b", b)):
        key = f"fv_{side}_CTE_m{harmonics}"
        if key in golden:
            assert off(ours, golden[key]) < 1e-5
    theirs = golden[f"s_CTE_m{harmonics}"]
    assert off(cte_reference_scores(a, b, len(theirs)), theirs) < 1e-4
