"""What every decoding backend must keep, on real footage."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from reelspace.core.frames import Frame, Picture, Tap
from reelspace.core.sampling import AtIndices, AtRate, AtTimes, EveryFrame, FfmpegRate
from reelspace.errors import InvalidArgument
from reelspace.media import BACKENDS, count_frames, open_video

SMALL = Picture(48, 32, layout="gray", filter="area")
SHARED_VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
NATURAL = sorted(path.name for path in (SHARED_VIDEOS / "natural").glob("*"))


def fingerprint(frame: Frame) -> tuple[float, str]:
    return frame.shown_seconds, hashlib.sha256(frame.pixels.tobytes()).hexdigest()


def on_screen(full: list[tuple[float, str]], seconds: float) -> tuple[float, str]:
    """The slow way: the last frame not later than ``seconds``."""
    return max((frame for frame in full if frame[0] <= seconds), default=full[0])


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_natural_clip_is_tried(shared: Path):
    assert len(NATURAL) == 48


@pytest.mark.parametrize("name", NATURAL)
def test_sparse_frames_are_those_of_a_full_decode(shared: Path, backend: str, name: str):
    with open_video(shared / "videos" / "natural" / name, backend=backend) as reader:
        full = [fingerprint(frame) for frame in reader.frames(SMALL)]
        times = [time for time, _ in full]
        assert times == sorted(set(times))
        assert reader.count_frames() == len(full)
        chance = random.Random(name)
        asked = [chance.uniform(times[0], times[-1]) for _ in range(6)]
        asked += [chance.choice(times), times[-1], times[0] - 1.0, times[-1] + 1.0]
        got = list(reader.frames_at(asked, SMALL))
    assert [frame.time_seconds for frame in got] == asked
    assert [fingerprint(frame) for frame in got] == [on_screen(full, seconds) for seconds in asked]


@pytest.mark.parametrize("name", NATURAL[::4])
def test_frames_are_found_by_their_number(shared: Path, backend: str, name: str):
    with open_video(shared / "videos" / "natural" / name, backend=backend) as reader:
        full = [fingerprint(frame) for frame in reader.frames(SMALL)]
        asked = sorted(random.Random(name).choices(range(len(full)), k=8))
        got = [fingerprint(frame) for _, frame in reader.read([Tap(AtIndices(tuple(asked)), SMALL)])]
    assert got == [full[index] for index in asked]


ODD_COUNTS = {
    "derived_truncated_flower_60pct.mp4": 90,  # of 150 the header promises
    "derived_truncated_stream_50pct.webm": 36,
}


@pytest.mark.parametrize("name", ODD_COUNTS)
def test_frames_of_a_file_that_is_cut_off_are_counted_as_far_as_they_are_there(
    shared: Path, backend: str, name: str
):
    (source,) = (shared / "videos" / "odd").rglob(name)
    assert count_frames(source, backend=backend) == ODD_COUNTS[name]


def test_fast_reading_counts_what_it_hands_out(shared: Path, backend: str):
    source = shared / "videos" / "natural" / "wolf_head_turn.mp4"
    with open_video(source, backend=backend, fast=True) as reader:
        assert reader.count_frames() == len(list(reader.frames(SMALL))) < count_frames(source)


@pytest.mark.parametrize("name", NATURAL[::3])
def test_frames_left_out_change_none_that_are_handed_out(shared: Path, backend: str, name: str):
    """Alone, a slow rate leaves out all it can; beside a tap that wants every frame nothing can be left out."""
    slow = [Tap(AtRate(2), SMALL), Tap(FfmpegRate(5), Picture(32, 32, exact=True))]
    with open_video(shared / "videos" / "natural" / name, backend=backend) as reader:
        sparing = [(tap, frame.time_seconds, *fingerprint(frame)) for tap, frame in reader.read(slow)]
        every = reader.read([*slow, Tap(EveryFrame(), Picture(1, 1))])
        whole = [(tap, frame.time_seconds, *fingerprint(frame)) for tap, frame in every if tap < 2]
    assert sparing == whole


def test_each_tap_gets_its_frames_in_the_order_of_time(shared: Path, backend: str):
    taps = [Tap(EveryFrame(), SMALL), Tap(AtRate(7), SMALL), Tap(AtTimes((1.0, 1.0, 99.0)), SMALL)]
    with open_video(shared / "videos" / "natural" / "stream_rocks.mp4", backend=backend) as reader:
        got: list[list[Frame]] = [[], [], []]
        for tap, frame in reader.read(taps):
            got[tap].append(frame)
        alone = list(reader.frames(SMALL))
    assert [fingerprint(frame) for frame in got[0]] == [fingerprint(frame) for frame in alone]
    assert [frame.time_seconds for frame in got[1]] == [k / 7 for k in range(22)]
    full = [fingerprint(frame) for frame in alone]
    assert [fingerprint(frame) for frame in got[1]] == [on_screen(full, k / 7) for k in range(22)]
    assert [frame.time_seconds for frame in got[2]] == [1.0, 1.0, 99.0]


def test_reading_stops_when_no_tap_wants_more(shared: Path, backend: str):
    with open_video(shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4", backend=backend) as reader:
        assert len(list(reader.read([Tap(AtTimes((0.5,)), SMALL)]))) == 1  # and never meets the missing end


def test_a_closed_reader_refuses_to_read(shared: Path, backend: str):
    reader = open_video(shared / "videos" / "natural" / "stream_rocks.mp4", backend=backend)
    started = reader.frames(SMALL)
    next(started)
    reader.close()
    reader.close()
    with pytest.raises(InvalidArgument, match="closed"):
        next(reader.frames(SMALL))
    with pytest.raises(InvalidArgument, match="closed"):
        list(started)
