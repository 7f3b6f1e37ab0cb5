"""Correlation of what changes: against a slow loop, and whatever the frame rates."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.alignment import correlation
from reelspace.alignment.correlation import Track, correlations, track
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
