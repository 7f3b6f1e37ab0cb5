from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.tmk import (
    HARMONICS,
    PERIODS,
    TmkAccumulator,
    TmkDescriptor,
    kernel_coefficients,
    read_tmk,
    tmk_descriptor,
    tmk_space,
    write_tmk,
)
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, SpaceMismatch


def features(count: int, seed: int = 0) -> np.ndarray:
    """Features that change slowly, as those of video do: float32 (count, 256)."""
    steps = np.random.default_rng(seed).normal(size=(count, 256))
    return (100 * np.cumsum(steps, axis=0)).astype(np.float32)


def slow_descriptor(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine rows by the definition, in double precision."""
    unit = x.astype(np.float64)
    for row in unit:
        length = np.linalg.norm(row)
        if length > 0:
            row[:] = row / length
    cosines, sines = np.zeros((2, len(PERIODS), HARMONICS, 256))
    for p, period in enumerate(PERIODS):
        for j in range(HARMONICS):
            for t, row in enumerate(unit):
                cosines[p, j] += row * np.cos(2 * np.pi * j * t / period)
                sines[p, j] += row * np.sin(2 * np.pi * j * t / period)
            for waves in (cosines, sines):
                length = np.linalg.norm(waves[p, j])
                if length > 0:
                    waves[p, j] *= np.sqrt(kernel_coefficients()[j]) / length
    return cosines, sines


def test_descriptors_follow_the_definition() -> None:
    x = features(40)
    x[7] = 0  # a black frame
    descriptor = tmk_descriptor(x)
    cosines, sines = slow_descriptor(x)
    np.testing.assert_allclose(descriptor.cosines, cosines, atol=2e-7)
    np.testing.assert_allclose(descriptor.sines, sines, atol=2e-6)  # nearly cancels at t near 0
    np.testing.assert_allclose(descriptor.average, x.mean(axis=0), rtol=1e-4)
    assert not descriptor.sines[:, 0].any()


@pytest.mark.parametrize("size", [1, 7, 1024, 5000])
def test_pieces_of_any_size_give_one_descriptor(size: int) -> None:
    x = features(3000)
    whole, pieces = tmk_descriptor(x), tmk_descriptor(x[i : i + size] for i in range(0, len(x), size))
    assert pieces.frame_count == 3000
    np.testing.assert_allclose(pieces.cosines, whole.cosines, atol=2e-7)
    np.testing.assert_allclose(pieces.sines, whole.sines, atol=2e-7)
    np.testing.assert_allclose(pieces.average, whole.average, rtol=1e-5, atol=1e-3)


def test_angles_stay_exact_after_hours() -> None:
    hours = TmkAccumulator()
    hours.frame_count = start = 10 * 3600 * 15
    x = features(5)
    hours.push(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    times = np.arange(start, start + 5)
    for p, period in enumerate(PERIODS):
        angles = 2 * np.pi * ((31 * times) % period) / period
        expected = np.cos(angles) @ unit
        expected *= np.sqrt(kernel_coefficients()[31]) / np.linalg.norm(expected)
        np.testing.assert_allclose(hours.finish().cosines[p, 31], expected, atol=1e-9)


def test_a_black_video_has_a_descriptor_of_zeros() -> None:
    descriptor = tmk_descriptor(np.zeros((30, 256), dtype=np.float32))
    assert not descriptor.cosines.any()
    assert TmkDescriptor.from_bytes(descriptor.to_bytes()).duration_seconds == 2.0


def test_kernel_coefficients_are_the_modified_bessel_functions() -> None:
    from scipy import special

    expected = 2 * special.ive(np.arange(1, 32), 32) / (1 - np.exp(-64))
    np.testing.assert_allclose(kernel_coefficients()[1:], expected, rtol=1e-9)


def test_files_keep_every_bit(tmp_path: Path) -> None:
    descriptor = tmk_descriptor(features(20))
    write_tmk(descriptor, tmp_path / "a.tmk")
    again = read_tmk(tmp_path / "a.tmk")
    assert (tmp_path / "a.tmk").stat().st_size == 263344
    assert (again.frame_count, again.periods, again.frames_per_second) == (20, PERIODS, 15)
    for name in ("coefficients", "average", "cosines", "sines"):
        np.testing.assert_array_equal(getattr(again, name), getattr(descriptor, name))


CONTENT = tmk_descriptor(features(20)).to_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no .tmk file"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(500), "no .tmk file"),
        (CONTENT[:20], "no .tmk file"),
        (CONTENT[:-1], "263344 bytes, got 263343"),
        (CONTENT + b"\0", "263344 bytes, got 263345"),
        (CONTENT[:16] + b"\xff\xff\xff\x7f" + CONTENT[20:], "impossible header"),
        (CONTENT[:12] + bytes(4) + CONTENT[16:], "impossible header"),
        (CONTENT[:1200] + b"\xff\xff\xff\xff" + CONTENT[1204:], "NaN"),
        (CONTENT[:1200] + b"\x00\x00\x80\x7e" + CONTENT[1204:], "longer than"),
    ],
)
def test_damaged_files_are_refused_with_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "damaged.tmk").write_bytes(content)
    with pytest.raises(FormatError, match=said) as caught:
        read_tmk(tmp_path / "damaged.tmk")
    assert "damaged.tmk" in str(caught.value)


def test_other_parameters_are_not_compared() -> None:
    descriptor = tmk_descriptor(features(20))
    other = replace(descriptor, frames_per_second=30)
    with pytest.raises(SpaceMismatch, match=r"15 frames per second.*30 frames per second"):
        descriptor.require_compatible(other, where="b.tmk")
    descriptor.require_compatible(replace(descriptor, frame_count=9), where="b.tmk")


def test_exact_and_fast_descriptors_have_different_spaces() -> None:
    exact, fast = (tmk_space(Space("pdqf", 256, {"exact": exact})) for exact in (True, False))
    assert exact.fingerprint != fast.fingerprint


def test_wrong_shapes_and_no_frames_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least one frame"):
        TmkAccumulator().finish()
    with pytest.raises(InvalidArgument, match=r"\(N, 256\)"):
        TmkAccumulator().push(np.zeros((3, 64), dtype=np.float32))
