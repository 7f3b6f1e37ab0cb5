"""Turning, mirroring, sizes and colours, on clips whose truth is known and against the `ffmpeg` command."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import EveryFrame, FfmpegRate
from reelspace.media import open_video, probe

LOSSLESS = {"crf": "0", "preset": "ultrafast"}

# Display matrices of the eight ways to lay a rectangle on itself (a b / c d, sign by sign), the clockwise turn, the
# mirroring after it, and what numpy must do to the stored picture.
ORIENTATIONS = {
    "as stored": ((1, 0, 0, 1), 0, False, lambda p: p),
    "turned right": ((0, 1, -1, 0), 90, False, lambda p: np.rot90(p, -1)),
    "upside down": ((-1, 0, 0, -1), 180, False, lambda p: np.rot90(p, 2)),
    "turned left": ((0, -1, 1, 0), 270, False, lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), 0, True, lambda p: p[:, ::-1]),
    "turned right, mirrored": ((0, 1, 1, 0), 90, True, lambda p: np.rot90(p, -1)[:, ::-1]),
    "upside down, mirrored": ((1, 0, 0, -1), 180, True, lambda p: np.rot90(p, 2)[:, ::-1]),
    "turned left, mirrored": ((0, -1, -1, 0), 270, True, lambda p: np.rot90(p, 1)[:, ::-1]),
}


def corners(height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """A picture whose corners all differ: (H, W, 3)."""
    picture = np.full((height, width, 3), 60, np.uint8)
    picture[: height // 4, : width // 4] = 235
    picture[: height // 4, -width // 4 :] = 180
    picture[-height // 4 :, : width // 4] = 120
    return picture


@pytest.fixture
def ffmpeg() -> str:
    return shutil.which("ffmpeg") or pytest.skip("compares with the ffmpeg command")


def ffmpeg_frames(ffmpeg: str, path: Path, width: int, height: int, *extra: str) -> NDArray[np.uint8]:
    words = [ffmpeg, "-v", "error", "-nostdin", "-i", str(path), "-s", f"{width}x{height}", "-an", *extra]
    raw = subprocess.run([*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("case", ORIENTATIONS)
def test_all_eight_orientations_are_undone(make_clip, case: str):
    (a, b, c, d), degrees, mirrored, undo = ORIENTATIONS[case]
    one, last = 1 << 16, 1 << 30
    path = make_clip(
        "turned.mp4",
        corners()[None],
        options=LOSSLESS,
        prepare=lambda stream: stream.set_display_matrix([a * one, b * one, 0, c * one, d * one, 0, 0, 0, last]),
    )
    expected = undo(corners())
    with open_video(path) as reader:
        assert (reader.video.rotation_degrees, reader.video.mirrored) == (degrees, mirrored)
        assert (reader.video.height, reader.video.width) == expected.shape[:2]
        taps = [Tap(EveryFrame(), picture) for picture in (Picture(), Picture(exact=True), Picture(layout="gray"))]
        for index, frame in reader.read(taps):
            truth = expected[:, :, 0] if index == 2 else expected
            assert frame.pixels.shape == truth.shape
            assert np.abs(frame.pixels.astype(int) - truth).max() <= 3


@pytest.mark.parametrize("case", ["turned right", "turned left, mirrored"])
def test_exact_pictures_of_turned_clips_are_ffmpegs_own(make_clip, ffmpeg: str, case: str):
    (a, b, c, d), *_ = ORIENTATIONS[case]
    one, last = 1 << 16, 1 << 30
    noise = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), np.uint8)
    path = make_clip(
        "turned.mp4",
        noise,
        prepare=lambda stream: stream.set_display_matrix([a * one, b * one, 0, c * one, d * one, 0, 0, 0, last]),
    )
    with open_video(path) as reader:
        got = np.stack([frame.pixels for frame in reader.frames(Picture(20, 14, exact=True))])
    assert np.array_equal(got, ffmpeg_frames(ffmpeg, path, 20, 14))


def test_non_square_pixels_widen_the_picture_and_odd_sizes_stay(make_clip):
    def wide(stream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    assert (probe(make_clip("wide.mp4", corners()[None], prepare=wide)).width) == 64
    odd = make_clip("odd.mp4", corners(33, 47)[None], pixel_format="yuv444p", options=LOSSLESS)
    with open_video(odd) as reader:
        (frame,) = reader.frames()
    assert frame.pixels.shape == (33, 47, 3)
    assert np.abs(frame.pixels.astype(int) - corners(33, 47)).max() <= 3


# AVColorSpace and AVColorRange of H.273 (ITU-T), and the luma weights of each matrix.
MATRICES = {"bt709": (1, (0.2126, 0.7152, 0.0722)), "bt601": (6, (0.299, 0.587, 0.114))}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
def test_gray_is_luma_over_the_full_range_whatever_the_matrix(make_clip, matrix: str, full_range: bool):
    """A saturated colour, written as luma and chroma by the stated matrix, must come back as that luma."""
    code, weights = MATRICES[matrix]

    def tag(stream) -> None:
        stream.codec_context.colorspace = code
        stream.codec_context.color_range = 2 if full_range else 1

    colour = np.array([200, 40, 90], np.uint8)
    path = make_clip(
        "colour.mp4",
        np.broadcast_to(colour, (1, 64, 64, 3)).copy(),
        pixel_format="yuv444p",
        options=LOSSLESS,
        prepare=tag,
    )
    with open_video(path) as reader:
        taps = [Tap(EveryFrame(), Picture(16, 16, layout="gray")), Tap(EveryFrame(), Picture(16, 16))]
        gray, rgb = (frame.pixels.astype(float) for _, frame in reader.read(taps))
    # swscale wrote the samples with the matrix it was told of; reading must agree with RGB read by the same matrix
    assert gray.mean() == pytest.approx(rgb.reshape(-1, 3).mean(axis=0) @ weights, abs=2.0)


def test_the_graph_follows_a_change_of_size_within_the_stream(make_clip, tmp_path: Path):
    parts = [
        make_clip(f"{size}.h264", np.full((5, size, size, 3), level, np.uint8), options=LOSSLESS).read_bytes()
        for size, level in ((32, 60), (64, 200))
    ]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(parts))
    with open_video(joined) as reader:
        frames = list(reader.frames(Picture(16, 16, exact=True)))
    assert [frame.pixels.shape for frame in frames] == [(16, 16, 3)] * 10
    assert [round(float(frame.pixels.mean()), -1) for frame in frames] == [60.0] * 5 + [200.0] * 5


NATURAL = ["bear_cage_vp9.webm", "dance_animated_drawings.mp4", "redhead_shh_wm.mp4", "eye_makeup.avi"]
ODD = [
    "full_range_testpattern.mp4",
    "h264_10bit_testpattern.mp4",
    "hevc_10bit_testpattern.mp4",
    "av1_10bit_misty_valley.mp4",
    "rotate_and_reflect_man.mp4",
    "nonsquare_sar_64_45_bbb_bird.mp4",
    "derived_interlaced_tff_h264.mkv",
    "animated_gif_cartoon.gif",
]


@pytest.mark.parametrize("name", [*(f"natural/{name}" for name in NATURAL), *(f"odd/{name}" for name in ODD)])
def test_pictures_are_ffmpegs_bytes_unless_they_are_turned_after_scaling(shared: Path, ffmpeg: str, name: str):
    """Differences to ``ffmpeg -pix_fmt rgb24``: exact none; bicubic none either, unless turned after scaling."""
    path = shared / "videos" / name
    taps = [Tap(EveryFrame(), Picture(64, 64, exact=True)), Tap(EveryFrame(), Picture(64, 64))]
    got: list[list[NDArray[np.uint8]]] = [[], []]
    with open_video(path) as reader:
        for tap, frame in reader.read(taps):
            got[tap].append(frame.pixels)
            if len(got[1]) == 8:
                break
        turned = reader.video.rotation_degrees != 0
    truth = ffmpeg_frames(ffmpeg, path, 64, 64, "-vsync", "passthrough", "-frames:v", str(len(got[0])))
    assert np.array_equal(np.stack(got[0]), truth)
    difference = np.abs(np.stack(got[1]).astype(int) - truth)
    assert difference.mean() <= (1.5 if turned else 0)


@pytest.mark.parametrize(
    "name",
    ["odd/vfr_pool_1s.mp4", "odd/square_642x642_bbb_bird.webm", "natural/peppers_tray_hands_wm.mp4"],
)
def test_ffmpegs_rate_gives_the_frames_of_the_ffmpeg_command(shared: Path, ffmpeg: str, name: str):
    """Pixels and choice together, with the rule of ffmpeg 5.1, on even and uneven timestamps."""
    version = subprocess.run([ffmpeg, "-version"], capture_output=True, check=True, text=True).stdout
    if not version.startswith("ffmpeg version 5.1"):
        pytest.skip("the rule tested is that of ffmpeg 5.1")
    path = shared / "videos" / name
    with open_video(path) as reader:
        sampler = FfmpegRate(15, durations="rounded")
        got = np.stack([frame.pixels for _, frame in reader.read([Tap(sampler, Picture(64, 64, exact=True))])])
    assert np.array_equal(got, ffmpeg_frames(ffmpeg, path, 64, 64, "-r", "15"))
