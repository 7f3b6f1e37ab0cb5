"""What is written comes back: pictures, colours, times; and nothing half-written is ever seen."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument
from reelspace.media.writer import VideoWriter


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth pictures that 4:2:0 does not hurt."""
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([x * 2 + 9 * i, y * 2 + 5 * i, x + y], axis=-1) % 180 + 30 for i in range(count)]
    return np.array(frames, dtype=np.uint8)


def read(path: Path) -> tuple[NDArray[np.uint8], list[Fraction]]:
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    frames = np.array([frame.to_ndarray(format="rgb24") for frame in decoded])
    return frames, [frame.pts * frame.time_base for frame in decoded]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(15, 2), Fraction(1)])
def test_every_picture_comes_back_at_its_exact_time(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 64, 48, rate) as writer:
        for picture in pictures(12, 48, 64):
            writer.write(picture)
    frames, times = read(path)
    assert len(frames) == writer.frame_count == 12
    assert times == [k / rate for k in range(12)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        assert stream.frames == 12
        assert stream.duration * stream.time_base == 12 / rate


def test_lossless_pictures_come_back_but_for_rounding_of_the_colours(tmp_path: Path) -> None:
    flat = np.empty((4, 32, 32, 3), np.uint8)
    flat[:] = np.array([[200, 30, 40], [20, 180, 60], [10, 60, 220], [128, 128, 128]])[:, None, None, :]
    with VideoWriter(tmp_path / "flat.mp4", 32, 32, Fraction(10), crf=0) as writer:
        for picture in flat:
            writer.write(picture)
    frames, _ = read(tmp_path / "flat.mp4")
    assert np.abs(frames.astype(int) - flat).max() <= 3


def test_colours_are_tagged_so_that_players_need_not_guess(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 32, 32, Fraction(10)) as writer:
        writer.write(pictures(1, 32, 32)[0])
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"


@pytest.mark.parametrize(("width", "height"), [(33, 32), (32, 33), (35, 21), (1, 1)])
def test_odd_sizes_are_padded_with_the_last_column_and_row(tmp_path: Path, width: int, height: int) -> None:
    (picture,) = pictures(1, height, width)
    with VideoWriter(tmp_path / "odd.mp4", width, height, Fraction(10), crf=0) as writer:
        writer.write(picture)
    frames, _ = read(tmp_path / "odd.mp4")
    assert frames.shape == (1, height + height % 2, width + width % 2, 3)
    assert np.abs(frames[0, :height, :width].astype(int) - picture).mean() < 8


def test_lower_quality_makes_a_smaller_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)
    for crf in (10, 40):
        with VideoWriter(tmp_path / f"{crf}.mp4", 96, 96, Fraction(10), crf=crf) as writer:
            for picture in noise:
                writer.write(picture)
    assert (tmp_path / "40.mp4").stat().st_size < 0.3 * (tmp_path / "10.mp4").stat().st_size


def test_the_index_lies_in_front_of_the_pictures(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 32, 32, Fraction(10)) as writer:
        writer.write(pictures(1, 32, 32)[0])
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_nothing_is_seen_before_the_end_and_nothing_stays_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the old one")
    with contextlib.suppress(KeyboardInterrupt), VideoWriter(path, 32, 32, Fraction(10)) as writer:
        writer.write(pictures(1, 32, 32)[0])
        assert path.read_bytes() == b"the old one"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]
    with VideoWriter(path, 32, 32, Fraction(10)) as writer:
        writer.write(pictures(1, 32, 32)[0])
    assert len(read(path)[0]) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_without_pictures_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidArgument, match="at least one"),
        VideoWriter(tmp_path / "a.mp4", 32, 32, Fraction(10)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_odd_names_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"a:b.mp4", "-x.mp4", "100%d.mp4", "noext", "é\n.mp4"}
    for name in names:
        with VideoWriter(name, 32, 32, Fraction(10)) as writer:
            writer.write(pictures(1, 32, 32)[0])
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    moving = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    written = set()
    for _ in range(10):
        with VideoWriter(tmp_path / "a.mp4", 288, 160, Fraction(25), threads=1) as writer:
            for k in range(12):
                writer.write(moving[2 * k : 2 * k + 160, k : k + 288])
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_wrong_arguments_and_pictures_are_refused(tmp_path: Path) -> None:
    for width, height, rate, crf in ((0, 2, 1, 20), (2, 2, 0, 20), (2, 2, 1, 60)):
        with pytest.raises(InvalidArgument):
            VideoWriter(tmp_path / "a.mp4", width, height, Fraction(rate), crf=crf)
    for picture in (np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.float32)):
        with (
            pytest.raises(InvalidArgument, match="takes uint8"),
            VideoWriter(tmp_path / "a", 4, 6, Fraction(1)) as w,
        ):
            w.write(picture)
    with pytest.raises(InvalidArgument, match="no folder"):
        VideoWriter(tmp_path / "nowhere" / "a.mp4", 2, 2, Fraction(1))
    assert list(tmp_path.iterdir()) == []
