from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.fourier import NORMS, TMK, FourierKernel
from reelspace.alignment.kernel_file import LearnedKernel, read_kernel, write_kernel
from reelspace.alignment.methods import METHODS, best_offsets, temporal_method
from reelspace.alignment.offsets import align_sequences
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, UnknownName

RNG = np.random.default_rng(0)
LEARNED = FourierKernel(
    (1039, 253), harmonics=8, learned=tuple(map(tuple, RNG.dirichlet(np.ones(8), size=2).tolist()))
)


def unit_rows(count: int, seed: int, dimensions: int = 24) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_each_period_has_the_kernel_of_its_own_coefficients() -> None:
    kernel = replace(LEARNED, norm="matrix")
    a, b = unit_rows(7, 1), unit_rows(5, 2)
    offset, waves = 3.0, np.arange(8)
    expected = 0.0
    fa, fb = kernel.describe(a), kernel.describe(b)
    for period, coefficients, left, right in zip(kernel.periods, kernel.coefficients, fa, fb, strict=True):
        curve = sum(
            (x @ y) * (coefficients * np.cos(2 * np.pi * waves * (s - t - offset) / period)).sum()
            for s, x in enumerate(a)
            for t, y in enumerate(b)
        )
        expected += curve / np.linalg.norm(left) / np.linalg.norm(right) / 2
    found = kernel.scores(kernel.normalise(fa)[None], kernel.normalise(fb)[None], np.array([offset]))
    assert found[0, 0, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_fixed_coefficients_given_as_learned_score_the_same(norm: str) -> None:
    fixed = replace(TMK, norm=norm)
    given = replace(fixed, learned=tuple(map(tuple, fixed.coefficients.tolist())))
    x, y, offsets = unit_rows(50, 3), unit_rows(60, 4), np.arange(-60, 60)
    for kernel in (fixed, given):
        assert kernel.self_score(24) == fixed.self_score(24)
    one, other = (
        k.scores(k.normalise(k.describe(x))[None], k.normalise(k.describe(y))[None], offsets)
        for k in (fixed, given)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("kernel", [TMK, LEARNED], ids=["fixed", "learned"])
def test_a_sequence_scores_its_self_score_with_itself(kernel: FourierKernel, norm: str) -> None:
    kernel = replace(kernel, norm=norm)
    own = kernel.normalise(kernel.describe(unit_rows(500, 5)))[None]
    assert kernel.scores(own, own, np.zeros(1))[0, 0, 0] == pytest.approx(kernel.self_score(24), rel=1e-3)


def test_many_descriptors_move_each_by_its_own_number() -> None:
    both = np.stack([LEARNED.describe(unit_rows(30, seed)) for seed in (6, 7)])
    moved = LEARNED.shift(both, np.array([4.0, -2.5]))
    for one, descriptor, frames in zip(moved, both, (4.0, -2.5), strict=True):
        np.testing.assert_allclose(one, LEARNED.shift(descriptor, frames), atol=1e-6)


def test_coefficients_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"2 periods of 8 harmonics .* rows of \[8\]"):
        replace(LEARNED, learned=LEARNED.learned[:1] if LEARNED.learned else None)
    with pytest.raises(InvalidArgument, match="zero, negative or none"):
        FourierKernel((100,), harmonics=2, learned=((1.0, 0.0),))
    with pytest.raises(InvalidArgument, match="zero, negative or none"):
        FourierKernel((100,), harmonics=2, learned=((1.0, float("nan")),))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_kernel(LearnedKernel(LEARNED, 15.0, {"space": "pdqf@0", "seed": 3}), tmp_path / "kernel.json")
    return tmp_path / "kernel.json"


def test_a_written_kernel_is_read_back_to_the_last_bit(stored: Path) -> None:
    found = read_kernel(stored)
    assert found.kernel == LEARNED
    assert found == LearnedKernel(LEARNED, 15.0, {"seed": 3, "space": "pdqf@0"})
    assert temporal_method("lamv", kernel=stored) == LEARNED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="other"), "not a temporal kernel"),
        (lambda d: d.update(version=2), "version 2, and version 1 is read"),
        (lambda d: d["kernel"].pop("periods"), "without 'periods'"),
        (lambda d: d["kernel"].update(periods=[253]), "1 periods of 8 harmonics"),
        (lambda d: d["kernel"].update(norm="l2"), "no normalisation named 'l2'"),
        (lambda d: d["kernel"]["learned"][0].__setitem__(0, "much"), "make no temporal kernel"),
        (lambda d: d["kernel"]["learned"][0].__setitem__(0, 0.5), "changed after it was written"),
        (lambda d: d.update(frames_per_second=25.0), "changed after it was written"),
    ],
)
def test_a_file_that_does_not_fit_says_why(stored: Path, change: object, said: str) -> None:
    document = json.loads(stored.read_text())
    change(document)  # type: ignore[operator]
    stored.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=said):
        read_kernel(stored)


def test_what_is_no_json_and_what_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"\x00\xff\x00")
    with pytest.raises(FormatError, match="no JSON"):
        read_kernel(tmp_path / "video.mp4")
    with pytest.raises(InvalidArgument, match="cannot read"):
        read_kernel(tmp_path / "nothing.json")


def test_methods_go_by_name(stored: Path) -> None:
    assert temporal_method("tmk") is METHODS["tmk"]
    with pytest.raises(UnknownName, match="did you mean 'tmk-poullot'"):
        temporal_method("tmk-poulot")
    with pytest.raises(InvalidArgument, match="reelspace train kernel"):
        temporal_method("lamv")
    with pytest.raises(InvalidArgument, match="takes no learned kernel"):
        temporal_method("sum", kernel=stored)


@pytest.mark.parametrize("name", ["tmk", "cte"])
def test_best_offsets_are_those_of_the_whole_curve(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, offsets = METHODS[name], np.arange(-60, 61)
    a, b = (
        np.stack([method.normalise(method.describe(unit_rows(40, seed), np.arange(40.0) + seed)) for seed in seeds])
        for seeds in ((1, 2), (2, 3, 1))
    )
    curves = method.scores(a, b, offsets)
    monkeypatch.setattr("reelspace.alignment.methods._SCORES_AT_ONCE", 300)  # a video at a time
    scores, best = best_offsets(method, a, b, offsets)
    np.testing.assert_allclose(scores, curves.max(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(best, offsets[curves.argmax(axis=2)])
    assert best[0, 2] == best[1, 0] == 0


def film(start: int, stop: int) -> FrameSequence:
    vectors = np.cumsum(np.random.default_rng(9).normal(size=(900, 16)), axis=0).astype(np.float32)[start:stop]
    n = len(vectors)
    return FrameSequence(
        np.arange(n) / 15, vectors, np.zeros(n, np.uint8), np.ones(n, np.float32), Space("film", 16, {}), n / 15
    )


def test_a_learned_kernel_aligns_like_any_method(stored: Path) -> None:
    found = align_sequences(film(0, 900), film(300, 600), method=read_kernel(stored))
    assert found.offset_seconds == pytest.approx(20, abs=1)
    assert found.method == "lamv"
    same = align_sequences(film(0, 900), film(0, 900), method=read_kernel(stored))
    assert (same.offset_seconds, same.score) == (pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.05))
    with pytest.raises(InvalidArgument, match="learned at 15 frames per second, and 25"):
        align_sequences(film(0, 900), film(300, 600), method=read_kernel(stored), frames_per_second=25)
