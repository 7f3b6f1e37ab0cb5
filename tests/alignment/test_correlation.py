"""Correlation of what changes: against a slow loop, and whatever the frame rates."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.alignment import correlation
from reelspace.alignment.correlation import Correlation, Track, correlations, fused, peaks, proposals, track
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument

SPACE = Space("made-up", 24, {})


def event(seconds: NDArray[np.float64], seed: int = 0) -> NDArray[np.float32]:
    """A smooth path in 24 dimensions, so that any second of the event can be asked for."""
    random = np.random.default_rng(seed)
    rates, phases = random.uniform(0.3, 1.5, (24, 6)), random.uniform(0, 6.3, (24, 6))
    found: NDArray[np.float32] = np.cos(2 * np.pi * seconds[:, None, None] * rates + phases).sum(axis=2)
    return found.astype(np.float32)


def recording(start: float, duration: float, rate: float, *, seed: int = 0) -> FrameSequence:
    times = np.arange(int(duration * rate)) / rate
    ones = np.ones(len(times), np.float32)
    return FrameSequence(times, event(start + times, seed), np.zeros(len(times), np.uint8), ones, SPACE, duration)


def test_it_is_the_sum_of_products_over_what_meets() -> None:
    random = np.random.default_rng(0)
    tracks = [Track(random.normal(size=(n, 3)).astype(np.float32), 10.0) for n in (31, 24, 40)]
    found = list(correlations(tracks, minimum_shared_seconds=0.5))
    assert [(c.first, c.second) for c in found] == list(combinations(range(3), 2))
    for c in found:
        a, b = tracks[c.first].vectors, tracks[c.second].vectors
        few = 2.0 * 10 * np.sqrt((a**2).sum() / len(a) * (b**2).sum() / len(b))
        assert c.offsets_seconds[0] == pytest.approx((5 - len(b)) / 10)
        assert c.offsets_seconds[-1] == pytest.approx((len(a) - 5) / 10)
        for seconds, score, shared in zip(c.offsets_seconds, c.curve, c.shared_seconds, strict=True):
            o = round(seconds * 10)
            meet = [(t + o, t) for t in range(len(b)) if 0 <= t + o < len(a)]
            left, right = (np.array(rows) for rows in zip(*meet, strict=True))
            scale = np.sqrt((a[left] ** 2).sum() * (b[right] ** 2).sum()) + few
            assert score == pytest.approx((a[left] * b[right]).sum() / scale, abs=1e-5)
            assert shared == pytest.approx(len(meet) / 10)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [track([recording(start, 5, 20)]) for start in (0, 1, 2, 3)]
    whole = [c.curve for c in correlations(tracks)]
    monkeypatch.setattr(correlation, "_BLOCK_BYTES", 4 * 256 * 4 * 2)
    for one, other in zip(whole, [c.curve for c in correlations(tracks)], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("rates", [(10, 50), (12, 24), (29.97, 25), (15, 15)])
def test_the_peak_is_at_the_offset_whatever_the_frame_rates(rates: tuple[float, float]) -> None:
    tracks = [track([recording(s, 8, r)]) for s, r in zip((3.0, 4.3), rates, strict=True)]
    (found,) = correlations(tracks)
    best = int(found.curve.argmax())
    assert found.offsets_seconds[best] == pytest.approx(1.3, abs=0.0251)
    assert found.curve[best] > 0.6


def test_a_still_picture_correlates_with_nothing() -> None:
    still = recording(0, 6, 20)
    still.vectors[:] = still.vectors[0]
    assert not track([still]).vectors.any()
    (found,) = correlations([track([still]), track([recording(0, 6, 20)])])
    assert not found.curve.any()


def test_frames_without_evidence_count_for_nothing_and_pictures_without_borders_go_first() -> None:
    plain = recording(0, 6, 20)
    dark = FrameSequence(
        plain.times_seconds, plain.vectors, plain.views, (plain.times_seconds >= 3).astype(np.float32), SPACE, 6.0
    )
    assert not track([dark]).vectors[:60].any()
    bordered = FrameSequence(
        plain.times_seconds.repeat(2),
        np.stack([event(plain.times_seconds, seed=9), plain.vectors], axis=1).reshape(-1, 24),
        np.tile(np.array([0, 1], np.uint8), len(plain)),
        np.ones(2 * len(plain), np.float32),
        SPACE,
        6.0,
    )
    np.testing.assert_allclose(track([bordered]).vectors, track([plain]).vectors, atol=1e-5)


def test_descriptors_count_the_same_whatever_their_scale() -> None:
    one, other = recording(0, 6, 20), recording(0, 6, 20, seed=1)
    made = track([one, FrameSequence(other.times_seconds, other.vectors * 50, *rest(other))]).vectors
    powers = [(made[:, part] ** 2).sum() for part in (slice(0, 24), slice(24, 48))]
    assert powers[0] == pytest.approx(powers[1], rel=1e-4)


def rest(sequence: FrameSequence) -> tuple[NDArray[np.uint8], NDArray[np.float32], Space, float]:
    return sequence.views, sequence.weights, sequence.space, sequence.duration_seconds


def test_recordings_without_pictures_and_of_one_picture_are_taken() -> None:
    none = FrameSequence(
        np.empty(0), np.empty((0, 24), np.float32), np.empty(0, np.uint8), np.empty(0, np.float32), SPACE, 2.0
    )
    made = [track([none]), track([recording(0, 0.05, 20)]), track([recording(0, 5, 20)])]
    assert all(np.isfinite(c.curve).all() for c in correlations(made))
    assert list(correlations([])) == []


def test_tracks_made_differently_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="one rate"):
        list(correlations([track([recording(0, 5, 20)]), track([recording(0, 5, 20)], frames_per_second=10)]))
    with pytest.raises(InvalidArgument, match="positive rate"):
        track([], frames_per_second=20)


def curve(*heights: tuple[float, float]) -> Correlation:
    """Triangles of 0.1 s to either side at (offset, height), on a grid of 0.05 s."""
    offsets = np.arange(-100, 101) * 0.05
    values = np.zeros(len(offsets), np.float32)
    for offset, height in heights:
        np.maximum(values, height * (1 - np.abs(offsets - offset) / 0.1), out=values, casting="same_kind")
    return Correlation(0, 1, offsets, values, np.ones_like(values), 0.05)


def test_peaks_are_apart_and_highest_first() -> None:
    found = curve((1.0, 0.5), (1.3, 0.45), (-2.0, 0.3), (3.0, 0.2), (4.0, 0.1))
    assert found.offsets_seconds[peaks(found.curve, found.offsets_seconds)] == pytest.approx([1.0, -2.0, 3.0])
    assert peaks(np.full(9, 0.01, np.float32), np.arange(9.0)) == []


def test_a_lone_high_peak_is_sure_and_one_among_equals_is_not() -> None:
    (alone,) = proposals(curve((1.02, 0.5)))
    assert alone.offset_seconds == pytest.approx(1.02, abs=0.011)
    assert alone.probability > 0.99
    equals = proposals(curve((1.0, 0.5), (-2.0, 0.5), (3.0, 0.5)))
    assert sum(one.probability for one in equals) == pytest.approx(1.0)
    assert max(one.probability for one in equals) < 0.4


def test_what_another_method_names_is_judged_by_the_peak_beside_it() -> None:
    found = curve((1.0, 0.5), (-2.0, 0.2))
    (beside,) = proposals(found, near=[-2.1])
    assert beside.offset_seconds == pytest.approx(-2.0, abs=0.01)
    assert beside.probability < 0.1
    assert proposals(found, near=[3.0]) == ()


def test_among_the_offsets_around_one_a_lower_peak_may_be_sure() -> None:
    near = curve((1.0, 0.5), (-2.0, 0.4)).around(-1.8, 1.01)
    assert (near.offsets_seconds[0], near.offsets_seconds[-1]) == pytest.approx((-2.8, -0.8))
    (one,) = proposals(near)
    assert one.offset_seconds == pytest.approx(-2.0, abs=0.01)
    assert one.probability > 0.9


def test_fused_rows_hold_each_descriptor_at_unit_length_on_an_even_clock() -> None:
    one, other = recording(0, 6, 24), recording(0, 6, 10, seed=1)
    made = fused([one, other], frames_per_second=10)
    np.testing.assert_allclose(made.times_seconds, np.arange(60) / 10)
    assert made.space.name == "made-up+made-up"
    for part in (made.vectors[:, :24], made.vectors[:, 24:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, rtol=1e-5)
    right = other.vectors / np.linalg.norm(other.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(made.vectors[:, 24:], right, atol=1e-5)
    other.weights[:30] = 0
    half = fused([one, other], frames_per_second=10)
    assert half.weights[[5, 45]] == pytest.approx([0.5, 1.0])
    assert not half.vectors[5, 24:].any()


def test_sparse_sequences_are_compared_over_a_wider_stretch() -> None:
    tracks = [track([slow(s)]) for s in (3.0, 7.0)]
    (found,) = correlations(tracks)
    assert found.offsets_seconds[found.curve.argmax()] == pytest.approx(4.0, abs=0.1)


def slow(start: float) -> FrameSequence:
    """One frame per second of a path that takes seconds."""
    seconds = np.arange(30.0)
    vectors = event((start + seconds) / 8)
    return FrameSequence(seconds, vectors, np.zeros(30, np.uint8), np.ones(30, np.float32), SPACE, 30.0)
