"""The samplers are arithmetic: every expectation here can be checked by hand or by a slow loop."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelspace.core.frames import Sampler
from reelspace.core.sampling import AtIndices, AtRate, AtTimes, EveryFrame, FfmpegRate, Spaced
from reelspace.errors import InvalidArgument


def pick(sampler: Sampler, times: list[float], last_duration: float) -> list[tuple[int, float]]:
    """(index of the frame, grid time) of everything handed out for frames shown at ``times``."""
    state = sampler.start()
    untils = [*times[1:], times[-1] + last_duration]
    picked: list[tuple[int, float]] = []
    for index, (time, until) in enumerate(zip(times, untils, strict=True)):
        if not state.done:
            picked += [(index, grid) for grid in state.push(time, until, until - time)]
    picked += [(len(times) - 1, grid) for grid in state.finish()]
    return picked


def constant(fps: Fraction | int, count: int) -> list[float]:
    return [float(index / Fraction(fps)) for index in range(count)]


def test_every_frame_is_handed_out_once_at_its_own_time():
    assert pick(EveryFrame(), [0.0, 0.04, 0.1], 0.04) == [(0, 0.0), (1, 0.04), (2, 0.1)]


def test_spaced_frames_keep_their_own_times_and_leave_out_those_that_come_too_soon():
    assert pick(Spaced(0.05), [0.0, 0.033, 0.067, 0.1, 0.117], 0.02) == [(0, 0.0), (2, 0.067), (4, 0.117)]
    millisecond = [0.0, 0.049, 0.101, 0.15]  # as Matroska rounds 20 per second
    assert [index for index, _ in pick(Spaced(0.05), millisecond, 0.05)] == [0, 1, 2, 3]
    with pytest.raises(InvalidArgument, match="apart"):
        Spaced(-1.0)


def test_a_frame_is_on_screen_from_its_time_until_the_next_one():
    assert pick(AtTimes((0.0, 0.99, 1.0, 1.5)), [0.0, 1.0, 2.0], 1.0) == [(0, 0.0), (0, 0.99), (1, 1.0), (1, 1.5)]


def test_times_outside_the_video_get_its_first_and_last_frame():
    assert pick(AtTimes((-3.0, 0.5, 9.0, 9.0)), [0.2, 1.0], 0.1) == [(0, -3.0), (0, 0.5), (1, 9.0), (1, 9.0)]


def test_times_are_done_as_soon_as_the_last_is_handed_out():
    state = AtTimes((0.1, 0.2)).start()
    assert not state.done
    assert list(state.push(0.0, 0.3, 0.3)) == [0.1, 0.2]
    assert state.done


def test_no_times_want_no_frame():
    assert AtTimes(()).start().done


def test_indices_count_frames_in_the_order_of_presentation():
    assert pick(AtIndices((0, 2, 2, 3)), [0.1, 0.2, 0.7, 0.9, 1.0], 0.1) == [(0, 0.1), (2, 0.7), (2, 0.7), (3, 0.9)]


def test_indices_after_the_last_frame_get_the_last_frame():
    assert pick(AtIndices((1, 5, 9)), [0.0, 0.5], 0.5) == [(1, 0.5), (1, 0.5), (1, 0.5)]


def test_indices_are_done_as_soon_as_the_last_is_handed_out():
    state = AtIndices((0,)).start()
    assert not state.done
    assert list(state.push(0.3, 0.4, 0.1)) == [0.3]
    assert state.done
    assert AtIndices(()).start().done
    assert not AtIndices((), to_end=True).start().done


@pytest.mark.parametrize("indices", [(-1, 2), (3, 2)])
def test_indices_that_are_negative_or_decrease_are_refused(indices: tuple[int, ...]):
    with pytest.raises(InvalidArgument, match="count from 0 and do not decrease"):
        AtIndices(indices)


def test_a_rate_repeats_slow_frames_and_drops_fast_ones():
    assert pick(AtRate(2), [0.0, 1.0], 1.0) == [(0, 0.0), (0, 0.5), (1, 1.0), (1, 1.5)]
    assert pick(AtRate(1), constant(10, 21), 0.1) == [(0, 0.0), (10, 1.0), (20, 2.0)]


def test_a_rate_stops_where_the_video_ends():
    assert pick(AtRate(1), [0.0, 0.5], 0.5) == [(0, 0.0)]
    assert pick(AtRate(1), [0.0, 0.5], 0.6) == [(0, 0.0), (1, 1.0)]


def test_its_own_fractional_rate_takes_every_frame_once():
    ntsc = Fraction(30000, 1001)
    assert [index for index, _ in pick(AtRate(ntsc), constant(ntsc, 500), float(1 / ntsc))] == list(range(500))


@given(
    steps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=30),
    rate=st.sampled_from([0.3, 1, 7, 15, Fraction(30000, 1001)]),
    start=st.floats(-1.0, 2.0),
)
def test_a_rate_gives_what_a_search_for_each_grid_time_gives(steps: list[float], rate: float, start: float):
    times = [start]
    for step in steps:
        times.append(times[-1] + step)
    end = times[-1] + 0.5
    grid = [float(k / rate) for k in range(10_000) if k / rate < end]
    expected = [(max((i for i, time in enumerate(times) if time <= at), default=0), at) for at in grid]
    assert pick(AtRate(rate), times, end - times[-1]) == expected
    assert pick(AtTimes(tuple(grid)), times, end - times[-1]) == expected


def test_ffmpegs_rate_is_not_every_second_frame():
    picked = [index for index, _ in pick(FfmpegRate(15), constant(30, 60), 1 / 30)]
    assert picked[:8] == [0, 1, 2, 3, 5, 7, 9, 11]
    assert len(picked) == 32


@given(
    steps=st.lists(st.floats(0.005, 0.7), min_size=1, max_size=60),
    start=st.floats(-0.5, 1.5),
    durations=st.sampled_from(["exact", "rounded"]),
)
def test_ffmpegs_rate_leaves_no_gap_and_keeps_the_order(steps: list[float], start: float, durations: str):
    times = [start]
    for step in steps:
        times.append(times[-1] + step)
    picked = pick(FfmpegRate(15, durations=durations), times, 0.04)  # type: ignore[arg-type]
    assert [grid for _, grid in picked] == [k / 15 for k in range(len(picked))]
    indices = [index for index, _ in picked]
    assert indices == sorted(indices)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AtRate(0),
        lambda: AtRate(float("inf")),
        lambda: FfmpegRate(-15),
        lambda: FfmpegRate(15, durations="floor"),
        lambda: AtTimes((0.0, float("nan"))),
        lambda: AtTimes((1.0, 0.5)),
    ],
)
def test_impossible_samplers_are_refused(make):
    with pytest.raises(InvalidArgument):
        make()
