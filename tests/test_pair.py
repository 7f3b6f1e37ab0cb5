"""How two files line up, and how sure that is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.alignment.fourier import FourierKernel
from reelspace.alignment.kernel_file import LearnedKernel, write_kernel
from reelspace.core.frames import Picture
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.core.video import Video
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import open_video
from reelspace.media.synthetic import render_clips
from reelspace.media.writer import VideoWriter
from reelspace.pair import ALIGN_METHODS, Pair, Side, align, kernel_of

FLAT = FourierKernel((2731, 253), harmonics=4, norm="feat_freq", learned=((1 / 4,) * 4,) * 2)
LATE = 1.37
"""When the second recording begins, on the clock of the first."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One clip at 30 frames per second, and from second `LATE` on at 12, darker and smaller."""
    folder = tmp_path_factory.mktemp("pair")
    (clip,) = render_clips(folder / "clips", count=1, seconds=6, scale=0.3)
    with open_video(clip) as reader:
        frames = list(reader.frames(Picture(96, 54, filter="area")))
    clock = np.array([frame.time_seconds for frame in frames])
    late = folder / "late.mp4"
    with VideoWriter(late, 64, 36, Fraction(12), crf=34) as writer:
        for moment in LATE + np.arange(4 * 12) / 12:
            pixels = frames[int(np.searchsorted(clock, moment + 1e-9, side="right")) - 1].pixels
            rows, columns = (np.linspace(0, n - 1, m).astype(int) for n, m in ((54, 36), (96, 64)))
            writer.write(pixels[rows][:, columns] // 2 + 30)
    return clip, late


@pytest.fixture(scope="module")
def pair(recordings: tuple[Path, Path]) -> Pair:
    return Pair.read(*recordings)


@pytest.mark.parametrize("method", ["auto", "correlation", "tmk", "cte"])
def test_recordings_of_other_rates_line_up_to_a_twentieth_of_a_second_and_that_is_sure(
    pair: Pair, method: str
) -> None:
    found = pair.align(method=method)
    assert found.offset_seconds == pytest.approx(LATE, abs=0.05)
    assert found.confidence is not None
    assert found.confidence > 0.9
    assert found.method == ("correlation" if method == "auto" else method)
    assert found.overlap_a is not None
    assert found.overlap_a.start == pytest.approx(LATE, abs=0.05)


def test_the_segment_is_found_too(pair: Pair) -> None:
    (segment,) = pair.align().segments
    assert segment.query.middle - segment.reference.middle == pytest.approx(LATE, abs=0.25)


def test_frames_for_offsets_are_at_their_own_times_and_copies_are_found_by_five_per_second(pair: Pair) -> None:
    reelprint, pdqf = pair.b.frames
    np.testing.assert_allclose(np.unique(pdqf.times_seconds), np.arange(48) / 12, atol=1e-3)
    assert (reelprint.space.name, pdqf.space.name) == ("reelprint", "pdqf")
    views, thinned = pair.b.rows
    assert views.space.name == "pdqf-views"
    assert thinned.space == reelprint.space
    # Of 12 per second those on screen at 0, 0.2, 0.4, ...
    assert (np.unique(thinned.times_seconds)[:6] * 12).round() == pytest.approx([0, 2, 4, 7, 9, 12])


def test_a_learned_kernel_gives_the_offset_at_its_own_rate(pair: Pair, tmp_path: Path) -> None:
    write_kernel(LearnedKernel(FLAT, 15.0, {"space": "any"}), tmp_path / "kernel.json")
    learned = kernel_of("lamv", tmp_path / "kernel.json")
    found = pair.align(method="lamv", kernel=learned)
    assert found.method == "lamv"
    assert np.diff(found.offsets_seconds) == pytest.approx(1 / 15)
    with pytest.raises(InvalidArgument, match="train kernel"):
        pair.align(method="lamv")
    with pytest.raises(InvalidArgument, match="only that one"):
        pair.align(method="auto", kernel=learned)


def test_another_encoder_says_nothing_of_how_sure_it_is(recordings: tuple[Path, Path]) -> None:
    found = align(*recordings, encoder="reelprint", method="correlation")
    assert found.offset_seconds == pytest.approx(LATE, abs=0.15)
    assert found.confidence is None


def test_an_unknown_method_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UnknownName, match="correlation"):
        align("no such file.mp4", "nor this.mp4", method="corelation")
    assert ALIGN_METHODS[0] == "auto"


# ---- what decides, on made-up sequences


def side(vectors: NDArray[np.float32]) -> Side:
    """20 frames per second, described by one encoder."""
    n = len(vectors)
    space = Space("made-up", vectors.shape[1], {})
    frames = FrameSequence(np.arange(n) / 20, vectors, np.zeros(n, np.uint8), np.ones(n, np.float32), space, n / 20)
    video = Video("made-up", n / 20, None, 2, 2, 0, False, "none", "gray", "none", None, 0.0, None)
    return Side(video, n / 20, (frames,), ())


def loop(seconds: float) -> NDArray[np.float32]:
    """The same second of noise over and over."""
    once = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    return np.tile(once, (round(seconds), 1))


@pytest.mark.parametrize(("speed", "method", "offset"), [(1.0, "correlation", 1.0), (1.5, "segments", 1.2)])
def test_where_peaks_are_many_the_one_beside_the_best_stretch_is_taken(
    monkeypatch: pytest.MonkeyPatch, speed: float, method: str, offset: float
) -> None:
    segment = CopySegment(Span(1.2, 3.2), Span(0.0, 2.0), speed, 0.9)
    monkeypatch.setattr(Pair, "segments", lambda _self, *, threshold: [segment])
    looping = Pair(side(loop(8)), side(loop(5)))
    assert looping.align(method="correlation").offset_seconds != pytest.approx(1.0, abs=0.2)
    found = looping.align()
    assert (found.method, found.offset_seconds) == (method, pytest.approx(offset, abs=0.03))
    assert found.segments == (segment,)


def test_what_stands_still_has_no_correlation_and_auto_asks_the_frames_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pair, "segments", lambda _self, *, threshold: [])
    still = Pair(side(np.ones((60, 16), np.float32)), side(loop(5)))
    with pytest.raises(InvalidArgument, match="nothing changes"):
        still.align(method="correlation")
    with pytest.raises(InvalidArgument, match="share no footage"):
        still.align(method="segments")
    assert still.align().method == "tmk"
