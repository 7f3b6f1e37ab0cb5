"""Recordings of one event on one timeline, from files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from reelspace.core.frames import Picture
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import open_video
from reelspace.media.synthetic import render_clips
from reelspace.media.writer import VideoWriter
from reelspace.sync import Sync, synchronise

STARTS = {"first": 0.0, "late": 1.87, "small": 1.11, "mirrored": 0.73}
"""When each recording of the event begins, on the event's clock."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of one clip, one of another, and a file that is none."""
    folder = tmp_path_factory.mktemp("event")
    event, other = render_clips(folder / "clips", count=2, seconds=6, scale=0.3)
    with open_video(event) as reader:
        frames = list(reader.frames(Picture(96, 54, filter="area")))
    clock = np.array([frame.time_seconds for frame in frames])
    rates = dict(zip(STARTS, (Fraction(30), Fraction(12), Fraction(25), Fraction(30000, 1001)), strict=True))
    for name, start in STARTS.items():
        with VideoWriter(folder / f"{name}.mp4", 96, 54, rates[name], crf=32) as writer:
            for moment in np.arange(int(4 * rates[name])) / float(rates[name]) + start:
                pixels = frames[int(np.searchsorted(clock, moment + 1e-9, side="right")) - 1].pixels
                if name == "mirrored":
                    pixels = np.ascontiguousarray(pixels[:, ::-1])
                if name == "small":
                    pixels = pixels // 2 + 40
                writer.write(pixels)
    other.rename(folder / "stranger.mp4")
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture(scope="module")
def found(recordings: Path) -> Sync:
    return synchronise(sorted(recordings.glob("*.mp4")))


def starts(found: Sync) -> dict[str, float]:
    return {Path(r.source).stem: r.span.start for r in found.groups[0]}


def test_every_recording_is_put_where_it_began_to_a_twentieth_of_a_second(found: Sync) -> None:
    assert len(found.groups) == 1
    assert starts(found) == pytest.approx(STARTS, abs=0.05)
    assert list(starts(found)) == sorted(STARTS, key=lambda name: STARTS[name])
    assert all(r.span.duration == pytest.approx(4.0, abs=0.1) for r in found.groups[0])
    assert min(r.confidence for r in found.groups[0]) > 0.95


def test_the_stranger_is_named_and_so_is_the_file_that_cannot_be_read(found: Sync) -> None:
    assert [(Path(one.source).name, one.reason[:7]) for one in found.unplaced] == [("stranger.mp4", "nearest")]
    assert [Path(one.source).name for one in found.unreadable] == ["broken.mp4"]
    assert all(one.reason for one in found.unreadable)


def test_every_pair_is_reported_with_what_it_leaves_and_where_both_run(found: Sync) -> None:
    assert len(found.pairs) == 10
    placed = [pair for pair in found.pairs if "stranger" not in pair.a + pair.b]
    assert all(pair.agrees and abs(pair.residual_seconds or 0) < 0.05 for pair in placed)
    late = next(pair for pair in placed if {Path(pair.a).stem, Path(pair.b).stem} == {"first", "late"})
    assert late.overlap is not None
    assert (late.overlap.start, late.overlap.end) == pytest.approx((1.87, 4.0), abs=0.1)
    assert all(pair.overlap is None for pair in found.pairs if pair not in placed)
    assert (found.outliers, found.cycle_count, found.cycles) == ((), 4, ())


@pytest.mark.parametrize("method", ["tmk", "cte"])
def test_the_other_methods_agree(recordings: Path, method: str) -> None:
    found = synchronise([recordings / "first.mp4", recordings / "late.mp4"], method=method)
    assert starts(found)["late"] == pytest.approx(1.87, abs=0.1)


def test_the_same_moment_filmed_once_more_starts_together(recordings: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes((recordings / "first.mp4").read_bytes())
    found = synchronise([recordings / "first.mp4", copy])
    assert starts(found) == pytest.approx({"first": 0.0, "copy": 0.0}, abs=1e-3)


def test_words_that_make_no_sense_are_refused(recordings: Path) -> None:
    with pytest.raises(UnknownName, match="correlation"):
        synchronise([recordings / "first.mp4", recordings / "late.mp4"], method="corelation")
    with pytest.raises(InvalidArgument, match="two are needed"):
        synchronise([recordings / "first.mp4"])
    with pytest.raises(InvalidArgument, match=r"two readable recordings.*broken\.mp4: "):
        synchronise([recordings / "first.mp4", recordings / "broken.mp4"])
