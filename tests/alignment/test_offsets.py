from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.offsets import METHODS, align_sequences
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.errors import InvalidArgument, SpaceMismatch, UnknownName
from reelspace.media import open_video

SPACE = Space("pdqf", 64, {})
RATE = 15.0
SHARP = ["tmk", "cte"]  # tmk-poullot has long periods only


def world(seconds: float, seed: int = 0) -> np.ndarray:
    """Footage with a common look, slow motion and cuts, described 60 times a second: float32 (60 * seconds, 64)."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 60)
    x = 8 * rng.normal(size=64) + np.cumsum(0.15 * rng.normal(size=(count, 64)), axis=0)
    for cut in rng.integers(0, count, 1 + count // 300):
        x[cut:] += 2 * rng.normal(size=64)
    return x.astype(np.float32)


def shot(film: np.ndarray, start: float, stop: float, *, rate: float = RATE, noise: float = 0.0) -> FrameSequence:
    """The footage of [start, stop) sampled at a rate, on its own clock."""
    times = np.arange(0, stop - start, 1 / rate)
    vectors = film[np.minimum(((start + times) * 60).round().astype(int), len(film) - 1)]
    vectors = vectors + noise * np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    return sequence(times, vectors, stop - start)


def sequence(times: np.ndarray, vectors: np.ndarray, duration: float, space: Space = SPACE) -> FrameSequence:
    n = len(vectors)
    return FrameSequence(times, vectors, np.zeros(n, np.uint8), np.ones(n, np.float32), space, duration)


@pytest.mark.parametrize("method", SHARP)
@pytest.mark.parametrize(("start", "stop"), [(3.0, 9.0), (0.0, 20.0), (12.0, 18.5)])
def test_a_cut_piece_is_found_in_short_footage(method: str, start: float, stop: float) -> None:
    film = world(20)
    found = align_sequences(shot(film, 0, 20), shot(film, start, stop, noise=0.5), method=method)
    assert found.offset_seconds == pytest.approx(start, abs=0.05)
    assert found.overlap_a is not None
    assert found.overlap_b is not None
    assert (found.overlap_a.start, found.overlap_a.end) == (
        pytest.approx(start, abs=0.05),
        pytest.approx(stop, abs=0.05),
    )
    assert found.overlap_b.duration == pytest.approx(stop - start, abs=0.1)
    swapped = align_sequences(shot(film, start, stop, noise=0.5), shot(film, 0, 20), method=method)
    assert swapped.offset_seconds == pytest.approx(-start, abs=0.05)


@pytest.mark.parametrize("method", SHARP)
def test_recordings_that_overlap_in_part_line_up(method: str) -> None:
    film = world(40, 2)
    found = align_sequences(shot(film, 0, 25), shot(film, 16, 40, noise=0.5), method=method)
    assert found.offset_seconds == pytest.approx(16, abs=0.05)
    assert found.overlap_a is not None
    assert found.overlap_a.duration == pytest.approx(9, abs=0.1)


@pytest.mark.parametrize("method", SHARP)
def test_ten_seconds_are_found_in_an_hour(method: str) -> None:
    film = world(3600, 3)
    found = align_sequences(shot(film, 0, 3600, rate=5), shot(film, 2345, 2360, rate=5, noise=0.3), method=method)
    assert found.offset_seconds == pytest.approx(2345, abs=0.1)


def test_offsets_between_frames_are_found() -> None:
    film = world(30, 4)
    for method in SHARP:
        found = align_sequences(shot(film, 0, 30), shot(film, 7 + 2 / 60, 22 + 2 / 60), method=method)
        assert found.offset_seconds == pytest.approx(7 + 2 / 60, abs=0.02)


@pytest.mark.parametrize("method", SHARP)
def test_rates_may_differ_and_times_be_uneven(method: str) -> None:
    film = world(30, 5)
    times = np.sort(np.random.default_rng(6).choice(np.arange(0, 900), 500, replace=False)) / 60
    uneven = sequence(times, film[((times + 9.0) * 60).round().astype(int)], 15.0)
    found = align_sequences(shot(film, 0, 30, rate=25), uneven, method=method, frames_per_second=25)
    assert found.offset_seconds == pytest.approx(9.0, abs=0.1)


def test_long_periods_alone_are_coarse() -> None:
    film = world(60, 7)
    found = align_sequences(shot(film, 0, 60), shot(film, 20, 50), method="tmk-poullot")
    assert found.offset_seconds == pytest.approx(20, abs=1.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_sequence_scores_one_with_itself_at_offset_zero(method: str) -> None:
    film = shot(world(20, 8), 0, 20)
    found = align_sequences(film, film, method=method)
    assert found.offset_seconds == pytest.approx(0, abs=0.01)
    assert found.score == pytest.approx(1, abs=0.2)
    assert found.method == method
    assert found.curve.max() == found.score
    assert (np.diff(found.offsets_seconds) > 0).all()


def test_every_overlap_of_at_least_two_seconds_is_tried() -> None:
    film = world(20, 9)
    found = align_sequences(shot(film, 0, 20), shot(film, 0, 10))
    assert found.offsets_seconds[0] == pytest.approx(-8, abs=0.1)
    assert found.offsets_seconds[-1] == pytest.approx(18, abs=0.1)
    assert len(found.curve) == len(found.offsets_seconds)


def test_rows_without_weight_and_other_views_are_left_out() -> None:
    film = world(20, 10)
    a, b = shot(film, 0, 20), shot(film, 6, 16)
    vectors = np.repeat(b.vectors, 2, axis=0)
    vectors[1::2] = -5  # a second view that would mislead
    weights = np.ones(len(vectors), np.float32)
    weights[:40] = 0
    vectors[:40] = 99
    both = FrameSequence(
        np.repeat(b.times_seconds, 2), vectors, np.tile([0, 1], len(b)).astype(np.uint8), weights, SPACE, 10.0
    )
    for method in SHARP:
        assert align_sequences(a, both, method=method).offset_seconds == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_one_frame_against_one_frame_is_no_accident(method: str) -> None:
    single = sequence(np.zeros(1), np.ones((1, 64), np.float32), 1.0)
    found = align_sequences(single, single, method=method)
    assert np.isfinite(found.score)


def test_wrong_words_are_refused() -> None:
    a = shot(world(5), 0, 5)
    with pytest.raises(UnknownName, match="did you mean 'cte'"):
        align_sequences(a, a, method="ctee")
    other = sequence(a.times_seconds, a.vectors, 5.0, Space("pdqf", 64, {"fast": True}))
    with pytest.raises(SpaceMismatch, match=other.space.fingerprint):
        align_sequences(a, other)
    with pytest.raises(InvalidArgument, match="0 and"):
        align_sequences(sequence(np.zeros(0), np.zeros((0, 64), np.float32), 1.0), a)
    with pytest.raises(InvalidArgument, match="positive"):
        align_sequences(a, a, frames_per_second=-1)


def described(path: Path) -> FrameSequence:
    encoder = Pdqf()
    with open_video(path) as reader:
        frames = [frame for _, frame in reader.read([encoder.tap])]
        duration = reader.video.duration_seconds or frames[-1].time_seconds
    encoded = encoder.encode(np.stack([frame.pixels for frame in frames]))
    times = np.array([frame.time_seconds for frame in frames])
    views = np.zeros(len(frames), np.uint8)
    return FrameSequence(times, encoded.vectors[:, 0], views, encoded.weights[:, 0], encoder.space, duration)


@pytest.mark.parametrize("method", SHARP)
def test_another_encode_of_real_footage_lines_up_wherever_it_is_cut(shared: Path, method: str) -> None:
    original = described(shared / "videos" / "natural" / "white_rabbit_toy_table.mp4")
    variant = described(shared / "videos" / "variants" / "white_rabbit_320.webm")
    for first, last in ((0, 117), (31, 117), (12, 75), (60, 105)):
        rows = slice(first, last)
        cut = FrameSequence(
            variant.times_seconds[rows] - variant.times_seconds[first],
            variant.vectors[rows],
            variant.views[rows],
            variant.weights[rows],
            variant.space,
            (last - first) / 15,
        )
        found = align_sequences(original, cut, method=method)
        assert found.offset_seconds == pytest.approx(first / 15, abs=0.1)
