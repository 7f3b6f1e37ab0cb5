"""What the PyAV backend does beside the contract: it closes, shares, leaves out, and stays small."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtRate, AtTimes, EveryFrame
from reelspace.errors import CannotOpen, InvalidArgument, MediaError, Truncated, UnknownName
from reelspace.media import open_video
from reelspace.media.pictures import PictureMaker
from reelspace.media.pyav_reader import PyAVReader
from reelspace.media.pyav_stream import OpenedStream

TINY = Picture(8, 8, layout="gray", filter="area")


def numbered(count: int) -> np.ndarray:
    """Frames that tell their number by their brightness: uint8 (count, 48, 64, 3)."""
    levels = np.linspace(20, 235, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 48, 64, 3)).copy()


def open_files() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of frames at each decoding."""
    counts: list[int] = []
    plain = OpenedStream.decode

    def counting(self: OpenedStream, packet, *, skip: bool = False):
        frames = plain(self, packet, skip=skip)
        counts.append(len(frames))
        return frames

    monkeypatch.setattr(OpenedStream, "decode", counting)
    return counts


# ── closing ──


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_files_are_closed_on_every_way_out(make_clip, tmp_path: Path):
    clip = make_clip("a.mp4", numbered(30))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:600])
    before = open_files()
    with open_video(clip) as reader:
        list(reader.frames(TINY))
        next(reader.frames(TINY))
        list(reader.frames_at([0.1, 0.9, 0.2], TINY))
        half_read = reader.frames(TINY)
        next(half_read)
    assert open_files() == before
    for _ in range(3):
        with pytest.raises(MediaError):
            open_video(broken)
    with contextlib.suppress(RuntimeError), open_video(clip) as reader:
        next(reader.frames(TINY))
        raise RuntimeError
    assert open_files() == before


def test_a_reader_may_be_read_again(make_clip):
    with open_video(make_clip("a.mp4", numbered(12))) as reader:
        first, second = list(reader.frames(TINY)), list(reader.frames(TINY))
        (one,) = reader.frames_at([0.2], TINY)
    assert [f.shown_seconds for f in first] == [f.shown_seconds for f in second] == [i / 25 for i in range(12)]
    assert np.array_equal(one.pixels, first[5].pixels)


# ── sharing and leaving out ──


def test_equal_pictures_are_made_once_and_unwanted_frames_never(make_clip, monkeypatch: pytest.MonkeyPatch):
    made = []
    plain = PictureMaker.__call__

    def counting(self, frame):
        made.append(frame.pts)
        return plain(self, frame)

    monkeypatch.setattr(PictureMaker, "__call__", counting)
    with open_video(make_clip("a.mp4", numbered(50))) as reader:
        taps = [Tap(AtRate(5), TINY), Tap(AtTimes((0.0, 1.0)), TINY), Tap(AtRate(1), Picture(4, 4))]
        frames = list(reader.read(taps))
    assert len(frames) == 10 + 2 + 2
    assert len(made) == 10 + 2


def test_a_picture_handed_out_is_never_written_again(make_clip):
    with open_video(make_clip("a.mp4", numbered(20))) as reader:
        frames = list(reader.frames(TINY))
    levels = [float(frame.pixels.mean()) for frame in frames]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 200


def test_sparse_frames_of_a_long_clip_decode_few_frames(make_clip, decoded: list[int]):
    clip = make_clip("long.mp4", numbered(600), options={"g": "25", "preset": "ultrafast"})
    decoded.clear()
    with open_video(clip) as reader:
        frames = list(reader.frames_at([4.0, 4.2, 20.0], TINY))
    assert [frame.shown_seconds for frame in frames] == [4.0, 4.2, 20.0]
    assert sum(decoded) < 60  # three intervals of 25 frames, not 600


def test_times_within_one_keyframe_interval_share_a_seek(make_clip, monkeypatch: pytest.MonkeyPatch):
    clip = make_clip("long.mp4", numbered(300), options={"g": "50", "preset": "ultrafast"})
    seeks = []
    plain = OpenedStream.seek
    monkeypatch.setattr(OpenedStream, "seek", lambda self, ticks: seeks.append(ticks) or plain(self, ticks))
    with open_video(clip) as reader:
        assert len(list(reader.frames_at([6.0, 6.4, 6.8, 7.5], TINY))) == 4
        assert len(seeks) == 1
        seeks.clear()
        assert len(list(reader.frames_at([index / 25 for index in range(300)], TINY))) == 300
        assert seeks == []


def test_frames_nobody_refers_to_are_left_out_only_when_unwanted(make_clip, decoded: list[int]):
    clip = make_clip("b.mp4", numbered(120), options={"x264-params": "bframes=3:b-adapt=0:scenecut=0:keyint=120"})
    with open_video(clip) as reader:
        assert len(list(reader.frames(TINY))) == 120
        decoded.clear()
        slow = list(reader.frames_at_rate(2, TINY))
    assert sum(decoded) < 80
    assert [frame.shown_seconds for frame in slow] == [25 * index // 2 / 25 for index in range(10)]


def test_damage_is_noticed_and_everything_decoded_instead(shared: Path):
    taps = [Tap(AtRate(3), Picture(32, 32))]
    with open_video(shared / "videos" / "odd" / "derived_bitflips_coffee.mp4") as reader:
        sparing = [frame.pixels for _, frame in reader.read(taps)]
        whole = [frame.pixels for tap, frame in reader.read([*taps, Tap(EveryFrame(), TINY)]) if tap == 0]
    assert np.array_equal(np.stack(sparing), np.stack(whole))


PAIRS = [
    *[(codec, suffix) for codec in ("libx264", "mpeg4", "mjpeg") for suffix in (".mp4", ".mkv", ".avi")],
    *[("libx265", ".mp4"), ("libx265", ".mkv"), ("libvpx", ".webm"), ("libvpx-vp9", ".webm"), ("libvpx", ".avi")],
    *[("mpeg2video", ".mpg"), ("libx264", ".ts"), ("libx264", ".flv")],
]


@pytest.mark.parametrize(("codec", "suffix"), PAIRS)
def test_every_codec_in_every_container_gives_the_same_frames_sparsely(make_clip, codec: str, suffix: str):
    options = {"g": "12", "bf": "2"} if codec in {"libx264", "mpeg4", "mpeg2video"} else {"g": "12"}
    if codec == "libx265":
        options = {"x265-params": "log-level=none:keyint=12", "preset": "ultrafast"}
    if codec in {"libvpx", "libvpx-vp9"}:
        options |= {"deadline": "realtime", "cpu-used": "8"}
    noise = numbered(60) // 2 + np.random.default_rng(0).integers(0, 60, (60, 48, 64, 3), np.uint8)
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = make_clip("a" + suffix, noise, codec=codec, options=options, pixel_format=pixel_format)
    with open_video(clip) as reader:
        full = list(reader.frames(TINY))
        asked = [2.0, 0.05, 1.99, 0.0, 2.3, 1.2, 9.0]
        sparse = list(reader.frames_at(asked, TINY))
    assert len(full) == 60
    assert [round(frame.shown_seconds * 1000) for frame in full] == [40 * index for index in range(60)]
    for seconds, frame in zip(asked, sparse, strict=True):
        truth = max((f for f in full if f.shown_seconds <= seconds), key=lambda f: f.shown_seconds)
        assert frame.shown_seconds == truth.shown_seconds
        assert np.array_equal(frame.pixels, truth.pixels)


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {"x264-params": "open-gop=1:keyint=50:bframes=3"}),
        ("libx265", ".mp4", {"x265-params": "log-level=none:open-gop=1:keyint=50", "preset": "ultrafast"}),
        ("libx264", ".mkv", {"g": "50"}),
        ("libvpx", ".webm", {"g": "50", "deadline": "realtime", "cpu-used": "8"}),
        ("libx264", ".ts", {"g": "50"}),
    ],
)
def test_sparse_frames_of_open_groups_and_late_indexes(
    make_clip, codec: str, suffix: str, options: dict[str, str], decoded
):
    base = np.random.default_rng(0).integers(0, 120, (48, 64, 3), np.uint8)
    moving = np.stack([np.roll(base, index, 1) + np.uint8(index // 8) for index in range(1000)])
    with open_video(make_clip("long" + suffix, moving, codec=codec, options=options)) as reader:
        full = list(reader.frames(TINY))
        decoded.clear()
        asked = [3.3, 12.0, 20.0, 24.96, 25.0, 31.03, 39.9]
        sparse = list(reader.frames_at(asked, TINY))
    for seconds, frame in zip(asked, sparse, strict=True):
        truth = max((f for f in full if f.shown_seconds <= seconds), key=lambda f: f.shown_seconds)
        assert frame.shown_seconds == truth.shown_seconds
        assert np.array_equal(frame.pixels, truth.pixels)
    assert sum(decoded) < (400 if suffix != ".ts" else 1100)  # a transport stream has no index


def test_uneven_timestamps_are_kept(make_clip):
    times = [0, 1, 5, 6, 20, 40]
    with open_video(make_clip("vfr.mkv", numbered(6), times=times)) as reader:
        assert [frame.shown_seconds for frame in reader.frames(TINY)] == [time / 25 for time in times]
        assert [frame.shown_seconds for frame in reader.frames_at_rate(2.5, TINY)] == [0, 0.24, 0.8, 0.8, 1.6]


def test_threads_change_speed_and_nothing_else(shared: Path):
    taps = [Tap(AtRate(4), Picture(32, 32))]
    path = shared / "videos" / "natural" / "lego_robot_arm.mp4"
    with open_video(path) as one, open_video(path, threads=2) as two:
        for (_, a), (_, b) in zip(one.read(taps), two.read(taps), strict=True):
            assert a.time_seconds == b.time_seconds
            assert np.array_equal(a.pixels, b.pixels)


def test_the_fast_mode_says_so_and_decodes_less(shared: Path, decoded: list[int]):
    path = shared / "videos" / "natural" / "baseball_batting_cage.mp4"
    with open_video(path) as exact, open_video(path, fast=True) as fast:
        assert (exact.decode_mode, fast.decode_mode) == ("exact", "fast")
        full = len(list(exact.frames(TINY)))
        assert 0 < len(list(fast.frames(TINY))) < 0.7 * full


# ── sources, arguments ──


def test_a_url_is_read_as_a_stream(make_clip):
    fsspec = pytest.importorskip("fsspec")
    clip = make_clip("a.mp4", numbered(30))
    memory = fsspec.filesystem("memory")
    memory.pipe("/clips/a.mp4", clip.read_bytes())
    memory.pipe("/clips/cut.mp4", clip.read_bytes()[:700])
    with open_video("memory://clips/a.mp4") as remote, open_video(clip) as local:
        assert [f.pixels.tobytes() for f in remote.frames(TINY)] == [f.pixels.tobytes() for f in local.frames(TINY)]
        assert [f.shown_seconds for f in remote.frames_at([0.9, 0.1], TINY)] == [22 / 25, 2 / 25]
    with pytest.raises(CannotOpen, match="cut off before its index"):
        open_video("memory://clips/cut.mp4")


def test_a_file_cut_while_it_streams_is_truncated(make_clip):
    frames = np.random.default_rng(0).integers(0, 255, (100, 48, 64, 3), np.uint8)
    for name, codec in (("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")):
        clip = make_clip(name, frames, codec=codec, options={"g": "10"})
        data = clip.read_bytes()
        with open_video(clip) as reader:
            assert len(list(reader.frames(TINY))) == 100
        clip.write_bytes(data[: len(data) // 2])
        with open_video(clip) as reader, pytest.raises(Truncated, match=r"truncated: \d\.\d of \d\.\d s"):
            list(reader.frames(TINY))


def test_wrong_words_are_refused(make_clip):
    clip = make_clip("a.mp4", numbered(3))
    with pytest.raises(UnknownName, match="did you mean 'pyav'"):
        open_video(clip, backend="pyaw")
    with pytest.raises(InvalidArgument, match="at least one thread"):
        PyAVReader(clip, threads=0)


def test_nothing_reaches_stderr(shared: Path):
    script = (
        "import sys\nfrom reelspace.media import open_video\nfrom reelspace.errors import MediaError\n"
        "for source in sys.argv[1:]:\n"
        "    try:\n"
        "        with open_video(source) as reader:\n"
        "            for _ in reader.frames(): pass\n"
        "    except MediaError: pass\n"
    )
    odd = shared / "videos" / "odd"
    names = ["derived_bitflips_coffee.mp4", "uuid_boxes_no_frame_decodes.mp4", "derived_text_not_video.mp4"]
    done = subprocess.run(
        [sys.executable, "-c", script, *(str(odd / name) for name in names)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""


# ── memory ──

PEAK = (
    "import re, sys\nfrom reelspace.media import open_video\nfrom reelspace.core.frames import Picture\n"
    "with open_video(sys.argv[1]) as reader:\n"
    "    count = sum(1 for _ in reader.frames_at_rate(float(sys.argv[2]), Picture(64, 64)))\n"
    # Not ru_maxrss: that starts at what the process that forked this one had.
    "print(count, int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "rate", "count", "mebibytes"),
    [("all_black_6min_1080p.mp4", 1, 363, 160), ("8k_7680x4320_8frames.mp4", 24, 9, 900)],
)
def test_memory_is_a_few_frames_whatever_the_length(
    shared: Path, name: str, rate: float, count: int, mebibytes: int
):
    words = [sys.executable, "-c", PEAK, str(shared / "videos" / "odd" / name), str(rate)]
    got, peak = map(int, subprocess.run(words, capture_output=True, check=True, text=True).stdout.split())
    assert got == count
    assert peak < mebibytes


def test_pyav_still_needs_what_is_worked_around(shared: Path):
    """When this fails, `Orientation.of` can do without its second way."""
    with av.open(shared / "videos" / "odd" / "mvhevc_90fps_5frames.mov") as container:
        frame = next(container.decode(video=0))
        with pytest.raises(ValueError, match="not a valid Type"):
            list(frame.side_data)
