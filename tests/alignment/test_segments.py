from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.segments import METHODS, find_segments
from reelspace.alignment.similarity import Similarity
from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName

STEP = 0.2


def walk(seconds: float, seed: int) -> np.ndarray:
    """A film as a smooth random walk of unit vectors at 50 per second, so that speeds can be sampled."""
    random = np.random.default_rng(seed)
    knots = random.normal(size=(int(seconds / 0.4) + 3, 64))
    at = np.arange(int(seconds * 50)) / 20
    low = at.astype(int)
    film = knots[low] * (1 - (at - low))[:, None] + knots[low + 1] * (at - low)[:, None]
    return film / np.linalg.norm(film, axis=1, keepdims=True)


def sampled(film: np.ndarray, *, speed: float = 1.0) -> np.ndarray:
    at = np.arange(0, len(film) / 50 / speed, STEP) * speed * 50
    return film[np.minimum(at.round().astype(int), len(film) - 1)]


def found(query: np.ndarray, reference: np.ndarray, method: str, **options: float) -> list[CopySegment]:
    times = [np.arange(len(x)) * STEP for x in (query, reference)]
    matrix = np.maximum(query @ reference.T, 0).astype(np.float32)
    return find_segments(
        Similarity(matrix, *times, *(np.full(len(x), 32, np.float32) for x in (query, reference))),
        query_seconds=len(query) * STEP,
        reference_seconds=len(reference) * STEP,
        method=method,
        **options,
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_stretch_inserted_between_other_films_is_found_where_it_is(method: str) -> None:
    film = walk(30, 0)
    query = np.concatenate([walk(6, 1), film[600:1000], walk(5, 2)])  # 12 s to 20 s, from second 6 on
    (segment,) = found(sampled(query), sampled(film), method)
    assert segment.speed == pytest.approx(1.0, abs=0.01)
    for got, true in zip(
        (segment.query.start, segment.query.end, segment.reference.start, segment.reference.end),
        (6, 14, 12, 20),
        strict=True,
    ):
        assert got == pytest.approx(true, abs=0.25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("speed", [0.5, 0.75, 1.3, 2.0])
def test_a_changed_speed_is_measured(method: str, speed: float) -> None:
    film = walk(30, 3)
    query = np.concatenate([sampled(walk(4, 4)), sampled(film[400:1200], speed=speed), sampled(walk(4, 5))])
    (segment, *_) = found(query, sampled(film), method)
    assert segment.speed == pytest.approx(speed, rel=0.03)
    assert segment.query.iou(Span(4, 4 + 16 / speed)) > 0.9
    assert segment.reference.iou(Span(8, 24)) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_rearranged_stretches_are_separate_segments(method: str) -> None:
    film = walk(30, 6)
    query = np.concatenate([film[1000:1400], film[100:500]])
    segments = sorted(found(sampled(query), sampled(film), method), key=lambda s: s.query.start)
    assert len(segments) == 2
    assert segments[0].reference.iou(Span(20, 28)) > 0.9
    assert segments[1].reference.iou(Span(2, 10)) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_an_edit_in_between_leaves_both_sides(method: str) -> None:
    film = walk(30, 7)
    query = np.concatenate([film[:400], film[700:1200]])  # 6 s cut out at second 8
    segments = sorted(found(sampled(query), sampled(film), method), key=lambda s: s.query.start)
    assert [round(s.reference.start - s.query.start) for s in segments] == [0, 6]
    assert segments[0].query.end == pytest.approx(8, abs=0.3)
    assert segments[1].query.start == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_unrelated_films_share_nothing(method: str) -> None:
    assert found(sampled(walk(20, 8)), sampled(walk(20, 9)), method, threshold=0.6) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_static_picture_overlaps_at_ordinary_speed(method: str) -> None:
    still = np.ones((60, 64)) / 8.0
    (segment, *_) = found(still, still[:40], method)
    assert segment.speed == 1.0
    assert segment.query.duration == pytest.approx(8.0, abs=0.5)
    assert segment.reference.duration == pytest.approx(8.0, abs=0.5)


@pytest.mark.parametrize("method", METHODS)
def test_a_few_bad_frames_do_not_end_a_segment(method: str) -> None:
    film = walk(20, 10)
    query = sampled(film)
    query[40:43] = sampled(walk(20, 11))[40:43]
    (segment,) = found(query, sampled(film), method)
    assert segment.query.iou(Span(0, 20)) > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_pieces_in_reversed_order_that_touch_are_told_apart(method: str) -> None:
    film = walk(24, 13)
    query = np.concatenate([film[800:1200], film[400:800], film[:400]])
    segments = sorted(found(sampled(query), sampled(film), method), key=lambda s: s.query.start)
    assert [round(s.reference.start) for s in segments] == [16, 8, 0]
    for place, segment in enumerate(segments):
        assert segment.query.iou(Span(8 * place, 8 * place + 8)) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_footage_that_is_shown_twice_is_found_twice(method: str) -> None:
    film, other = walk(8, 14), walk(6, 15)
    reference = np.concatenate([film, other, film])
    segments = sorted(found(sampled(film), sampled(reference), method), key=lambda s: s.reference.start)
    assert [round(s.reference.start) for s in segments] == [0, 14]


@pytest.mark.parametrize("method", METHODS)
def test_a_scene_that_is_only_like_itself_is_no_second_copy(method: str) -> None:
    scene = np.random.default_rng(16).normal(size=64)
    film = walk(16, 17) + 1.4 * scene / np.linalg.norm(scene)  # one room: all of it is alike
    film /= np.linalg.norm(film, axis=1, keepdims=True)
    (segment,) = found(sampled(film[300:700]), sampled(film), method)
    assert segment.reference.iou(Span(6, 14)) > 0.95


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("speed", [0.5, 0.8, 1.6, 2.0])
def test_noise_moves_the_ends_by_a_few_samples_at_most(method: str, speed: float) -> None:
    film = walk(30, 18)
    query = np.concatenate([sampled(walk(4, 19)), sampled(film[400:1200], speed=speed), sampled(walk(4, 20))])
    query = query + 0.06 * np.random.default_rng(21).normal(size=query.shape)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    segment = max(found(query, sampled(film), method), key=lambda s: s.query.duration)
    assert segment.query.start == pytest.approx(4, abs=0.5)
    assert segment.query.end == pytest.approx(4 + 16 / speed, abs=0.5)
    assert segment.speed == pytest.approx(speed, rel=0.04)


def test_dtw_follows_a_change_of_speed() -> None:
    film = walk(30, 22)
    query = np.concatenate([sampled(film[:500]), sampled(film[500:1300], speed=1.6)])
    first, second = sorted(found(query, sampled(film), "dtw"), key=lambda s: s.query.start)
    assert (first.speed, second.speed) == (pytest.approx(1, abs=0.03), pytest.approx(1.6, abs=0.05))
    assert first.query.end == pytest.approx(10, abs=0.8)  # just after the change both lines still agree
    assert second.query.start == pytest.approx(10, abs=0.8)


@pytest.mark.parametrize(("reference_says", "start"), [(0.1, 0.0), (1.0, 4.0)])
def test_a_copy_reaches_through_a_fade_when_both_videos_have_it(reference_says: float, start: float) -> None:
    film = sampled(walk(12, 23))
    times = np.arange(len(film)) * STEP
    evidence = np.where(times < 4, 0.1, 1.0).astype(np.float32)
    other = np.where(times < 4, reference_says, 1.0).astype(np.float32)
    matrix = (np.maximum(film @ film.T, 0) * np.sqrt(np.outer(evidence, other))).astype(np.float32)
    spread = np.full(len(film), 32, np.float32)
    seen = Similarity(matrix, times, times, spread, spread, evidence, other)
    (segment,) = find_segments(seen, query_seconds=12, reference_seconds=12)
    assert segment.query.start == pytest.approx(start, abs=0.15)
    assert segment.reference.start == pytest.approx(start, abs=0.15)
    assert segment.query.end == 12


def test_one_frame_that_is_in_the_film_is_found() -> None:
    film = walk(10, 12)
    (segment, *_) = found(sampled(film)[20:21], sampled(film), "hough")
    assert segment.reference.start == pytest.approx(4.0, abs=0.2)


def test_an_empty_matrix_has_no_segments() -> None:
    nothing = Similarity(
        np.zeros((0, 5), np.float32), np.zeros(0), np.arange(5.0), np.zeros(0, np.float32), np.ones(5, np.float32)
    )
    assert find_segments(nothing, query_seconds=1.0, reference_seconds=5.0) == []


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'hough'"):
        found(sampled(walk(5, 0)), sampled(walk(5, 0)), "houg")


def test_a_threshold_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="between 0 and 1"):
        found(sampled(walk(5, 0)), sampled(walk(5, 0)), "hough", threshold=1.5)
