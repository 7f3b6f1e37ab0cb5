"""Side by side: what happens at t in B is shown with what happens at t + offset in A."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument
from reelspace.media import open_video
from reelspace.media.side_by_side import render_side_by_side
from reelspace.media.writer import VideoWriter

RATE = Fraction(30)
HEIGHT = 32


def counter(path: Path, seconds: float, *, rate: Fraction, first: float = 0.0, width: int = 48) -> Path:
    """A clip whose grey level says which second of the event it shows: 40 + 36 * second."""
    with VideoWriter(path, width, HEIGHT, rate, crf=0) as writer:
        for k in range(round(seconds * rate)):
            level = round(40 + 36 * (first + float(k / rate)))
            writer.write(np.full((HEIGHT, width, 3), level, np.uint8))
    return path


def levels(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean brightness in the middle of either panel, frame by frame."""
    with open_video(path) as reader:
        frames = [frame.pixels.astype(float) for frame in reader.frames()]
    middle = slice(HEIGHT // 2 - 4, HEIGHT // 2 + 4)
    return (
        np.array([frame[middle, 8:40].mean() for frame in frames]),
        np.array([frame[middle, 60:92].mean() for frame in frames]),
    )


@pytest.mark.parametrize("offset", [2.0, -1.5, 0.0])
@pytest.mark.parametrize("rate_of_b", [Fraction(25), Fraction(30000, 1001)])
def test_both_panels_show_the_same_moment_and_are_dark_outside(
    tmp_path: Path, offset: float, rate_of_b: Fraction
) -> None:
    # The event begins when the first of the two does: B shows its second t where A shows t + offset.
    a = counter(tmp_path / "a.mp4", 4, rate=RATE, first=max(0.0, -offset))
    b = counter(tmp_path / "b.mp4", 3, rate=rate_of_b, first=max(0.0, offset))
    render_side_by_side(a, b, offset_seconds=offset, output=tmp_path / "out.mp4", height=HEIGHT)
    left, right = levels(tmp_path / "out.mp4")
    begin_a, begin_b = max(0.0, -offset), max(0.0, offset)
    end = max(begin_a + 4, begin_b + float(round(3 * rate_of_b) / rate_of_b))
    assert len(left) == math.ceil(round(end * 30, 6))
    now = np.arange(len(left)) / 30
    for seen, begin, length in ((left, begin_a, 4), (right, begin_b, 3)):
        inside = (now > begin + 0.05) & (now < begin + length - 0.05)
        assert np.abs(seen[inside] - (40 + 36 * now[inside])).max() < 5
        outside = (now < begin - 0.05) | (now > begin + length + 0.05)
        assert np.all(seen[outside] < 30)
    both = (left > 36) & (right > 36)
    assert abs(np.mean(left[both] - right[both])) < 1.5 * 36 / 30  # half a frame of the output, and one on screen


def test_the_bar_shows_where_each_runs_and_now(tmp_path: Path) -> None:
    a = counter(tmp_path / "a.mp4", 2, rate=RATE)
    b = counter(tmp_path / "b.mp4", 2, rate=RATE)
    render_side_by_side(a, b, offset_seconds=2 / 3, output=tmp_path / "out.mp4", height=HEIGHT)
    with open_video(tmp_path / "out.mp4") as reader:
        first, *_, last = [frame.pixels.astype(int) for frame in reader.frames()]
    lane_a, lane_b = first[-14:-10, 10:].mean(axis=(0, 2)), first[-8:-6, 10:].mean(axis=(0, 2))
    quarter = len(lane_a) // 4
    assert lane_a[:quarter].min() > 80 > 50 > lane_a[-quarter + 6 :].max()
    assert lane_b[-quarter:].min() > 80 > 50 > lane_b[: quarter - 12].max()
    now = [frame[-13, :].min(axis=-1).argmax() for frame in (first, last)]
    assert now[0] <= 3
    assert now[1] >= first.shape[1] - 4


def test_panels_keep_their_shape_and_very_wide_ones_get_bars(tmp_path: Path) -> None:
    a = counter(tmp_path / "a.mp4", 0.2, rate=RATE, first=2.5, width=200)
    b = counter(tmp_path / "b.mp4", 0.2, rate=RATE, first=2.5, width=16)
    render_side_by_side(a, b, offset_seconds=0, output=tmp_path / "out.mp4", height=HEIGHT)
    with open_video(tmp_path / "out.mp4") as reader:
        picture = next(iter(reader.frames())).pixels.mean(axis=2)
    assert picture.shape[1] == 2 * HEIGHT + 4 + 16
    assert picture[:8, :64].max() < 40
    assert picture[HEIGHT // 2, :64].min() > 120
    assert picture[2, 70:].min() > 100


def test_a_truncated_file_is_shown_to_where_it_breaks_off(tmp_path: Path, shared: Path) -> None:
    broken = shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4"
    b = counter(tmp_path / "b.mp4", 1, rate=RATE)
    render_side_by_side(broken, b, offset_seconds=0, output=tmp_path / "out.mp4", height=HEIGHT)
    with open_video(tmp_path / "out.mp4") as reader:
        assert sum(1 for _ in reader.frames()) >= 30


def test_videos_that_do_not_meet_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    a = counter(tmp_path / "a.mp4", 1, rate=RATE)
    for offset in (1.0, -1.0, 1e6):
        with pytest.raises(InvalidArgument, match="share no second"):
            render_side_by_side(a, a, offset_seconds=offset, output=tmp_path / "out.mp4")
    with pytest.raises(InvalidArgument, match="height"):
        render_side_by_side(a, a, offset_seconds=0, output=tmp_path / "out.mp4", height=4)
    assert list(tmp_path.iterdir()) == [a]
