"""A grid in sync: every panel shows the same moment of the event, and is dark outside its video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.errors import CannotOpen, InvalidArgument
from reelspace.media import open_video
from reelspace.media.grid import render_grid
from reelspace.media.writer import VideoWriter

HEIGHT = 32


def counter(path: Path, *, first: float, seconds: float, rate: Fraction, width: int = 48) -> Path:
    """A clip whose grey level says which second of the event it shows: 40 + 40 * second."""
    with VideoWriter(path, width, HEIGHT, rate, crf=0) as writer:
        for k in range(round(seconds * rate)):
            writer.write(np.full((HEIGHT, width, 3), round(40 + 40 * (first + float(k / rate))), np.uint8))
    return path


def shown(path: Path) -> NDArray[np.float64]:
    with open_video(path) as reader:
        return np.stack([frame.pixels for frame in reader.frames()]).astype(float)


def test_five_videos_show_the_same_moment_row_by_row(tmp_path: Path) -> None:
    starts = [0.5, 0.0, 1.0, 1.5, 0.25]
    rates = [Fraction(30), Fraction(25), Fraction(30000, 1001), Fraction(10), Fraction(50)]
    videos = [
        counter(tmp_path / f"{k}.mp4", first=start, seconds=2, rate=rate)
        for k, (start, rate) in enumerate(zip(starts, rates, strict=True))
    ]
    # The earliest begins with the output, wherever the common clock has its zero.
    render_grid(videos, starts_seconds=[7 + start for start in starts], output=tmp_path / "out.mp4", height=HEIGHT)
    frames = shown(tmp_path / "out.mp4")
    assert len(frames) == round(3.5 * 30)
    now = np.arange(len(frames)) / 30
    for number, (start, rate) in enumerate(zip(starts, rates, strict=True)):
        top, left = (number // 3) * (HEIGHT + 8), (number % 3) * 52
        seen = frames[:, top + 8 : top + 24, left + 8 : left + 40].mean(axis=(1, 2, 3))
        inside = (now > start + 0.05) & (now < start + 1.95)
        expected = 40 + 40 * (now[inside] - 0.5 / rate)  # a frame stands until the next
        assert np.abs(seen[inside] - expected).max() < 1 + 40 * (0.6 / rate + 1.5 / 30)
        assert seen[(now < start - 0.05) | (now > start + 2.05)].max(initial=0) < 30


def test_captions_name_the_video_by_its_number_and_run_with_its_clock(tmp_path: Path) -> None:
    videos = [counter(tmp_path / f"{k}.mp4", first=0, seconds=2.5, rate=Fraction(10), width=64) for k in (0, 1)]
    for name, captions in (("with", True), ("without", False)):
        render_grid(
            videos, starts_seconds=[0, 0], output=tmp_path / f"{name}.mp4", height=96, columns=1, captions=captions
        )
    written = np.abs(shown(tmp_path / "with.mp4") - shown(tmp_path / "without.mp4"))
    first, second = (written[:, top : top + 96, :64] for top in (0, 104))
    assert first[:, :9, :40].max() > 60
    assert first[:, 12:].max() < 40
    assert np.abs(first - second)[:, :9, :5].max() > 60  # 1 and 2
    clock = first[:, :9, 8:]
    assert np.abs(clock[2] - clock[1]).max() < 60  # tenths of a second last three frames of the output
    assert np.abs(clock[6] - clock[1]).max() > 60


def test_a_column_is_as_wide_as_its_widest_video_and_the_others_stand_in_its_middle(tmp_path: Path) -> None:
    widths = [48, 24, 16, 24]
    videos = [
        counter(tmp_path / f"{k}.mp4", first=2, seconds=0.2, rate=Fraction(30), width=width)
        for k, width in enumerate(widths)
    ]
    render_grid(videos, starts_seconds=[0] * 4, output=tmp_path / "out.mp4", height=HEIGHT)
    picture = shown(tmp_path / "out.mp4")[0].mean(axis=2)
    assert picture.shape == (2 * (HEIGHT + 8) + 4 * 6 + 4, 48 + 4 + 24)
    third = picture[HEIGHT + 8 + 16, :48] > 80
    assert (third.nonzero()[0][0], third.sum()) == (pytest.approx(16, abs=1), pytest.approx(16, abs=2))


def test_one_video_is_a_grid_too_and_nonsense_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    video = counter(tmp_path / "a.mp4", first=1, seconds=0.5, rate=Fraction(30))
    out = tmp_path / "out.mp4"
    render_grid([video], starts_seconds=[3], output=out, height=HEIGHT)
    assert len(shown(out)) == 15
    out.unlink()
    for videos, starts, height, columns in (
        ([], [], 32, None),
        ([video], [0, 1], 32, None),
        ([video], [float("nan")], 32, None),
        ([video], [0], 8, None),
        ([video], [0], 32, 0),
    ):
        with pytest.raises(InvalidArgument):
            render_grid(videos, starts_seconds=starts, output=out, height=height, columns=columns)
    with pytest.raises(CannotOpen):
        render_grid([video, tmp_path / "none.mp4"], starts_seconds=[0, 0], output=out)
    assert sorted(tmp_path.iterdir()) == [video]
