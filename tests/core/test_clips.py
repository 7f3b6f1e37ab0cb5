"""Where the windows of a video lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelspace.core.clips import ClipSpec
from reelspace.errors import InvalidArgument


def test_tiles_lie_side_by_side_and_the_last_ends_with_the_video():
    windows = ClipSpec(16, 0.125).windows(5.0)
    assert windows.starts_seconds.tolist() == [0.0, 2.0, 3.0]
    assert windows.ends_seconds.tolist() == [2.0, 4.0, 5.0]
    assert windows.times_seconds[1].tolist() == [2.0 + i / 8 for i in range(16)]


def test_a_video_shorter_than_a_window_has_one_that_ends_with_it():
    windows = ClipSpec(16, 0.125).windows(0.7)
    assert (windows.starts_seconds.tolist(), windows.ends_seconds.tolist()) == ([0.0], [0.7])


def test_pictures_stay_on_their_grid():
    assert ClipSpec(1, 0.5).windows(2.2).times_seconds[:, 0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


@given(st.integers(1, 32), st.floats(0.01, 1.0), st.floats(0.001, 500.0))
def test_tiles_cover_the_whole_video_in_order(frames: int, spacing: float, duration: float):
    windows = ClipSpec(frames, spacing).windows(duration)
    assert windows.starts_seconds[0] == 0.0
    assert (np.diff(windows.starts_seconds) > 0).all()
    assert (windows.starts_seconds[1:] <= windows.ends_seconds[:-1] + 1e-9).all()
    assert windows.ends_seconds[-1] == pytest.approx(duration, abs=spacing * 1e-3)
    assert len(windows.starts_seconds) <= duration / (frames * spacing) + 2


def test_views_are_placed_evenly_from_the_first_moment_to_the_last():
    windows = ClipSpec(4, 0.5, clips=3, mode="views").windows(10.0)
    assert windows.starts_seconds.tolist() == [0.0, 4.0, 8.0]
    assert windows.times_seconds[2].tolist() == [8.0, 8.5, 9.0, 9.5]


def test_one_view_is_the_middle():
    assert ClipSpec(4, 0.5, mode="views").windows(10.0).starts_seconds.tolist() == [4.0]


def test_spread_views_take_the_middle_of_each_segment():
    windows = ClipSpec(4, 0.25, spread=True, mode="views").windows(8.0)
    assert windows.times_seconds.tolist() == [[1.0, 3.0, 5.0, 7.0]]
    twice = ClipSpec(4, 0.25, spread=True, clips=2, mode="views").windows(12.0)
    assert twice.times_seconds.tolist() == [[1.0, 4.0, 7.0, 10.0], [2.0, 5.0, 8.0, 11.0]]
    assert (twice.starts_seconds.tolist(), twice.ends_seconds.tolist()) == ([0.0, 0.0], [12.0, 12.0])


@pytest.mark.parametrize(
    "wrong",
    [{"frames": 0}, {"spacing_seconds": 0.0}, {"spacing_seconds": float("nan")}, {"crops": 2}, {"mode": "x"}],
)
def test_impossible_clips_are_refused(wrong: dict):
    with pytest.raises(InvalidArgument):
        ClipSpec(**{"frames": 4, "spacing_seconds": 0.1} | wrong)


def test_squashed_clips_go_by_frame_counts():
    with pytest.raises(InvalidArgument, match="number of frames"):
        ClipSpec(16, 0.1, mode="squashed").windows(3.0)
