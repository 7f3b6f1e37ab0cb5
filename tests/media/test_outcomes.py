"""Every unusual or broken file ends as a clear outcome: opened and right, or refused with a reason."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from reelspace.core.frames import Picture
from reelspace.errors import CannotOpen, DecodeFailed, MediaError, NoVideoStream, Truncated
from reelspace.media import open_video, probe

TINY = Picture(8, 8, layout="gray", filter="area")

# Displayed width and height, clockwise degrees, mirrored, frames that come out, first and last time in seconds.
# Sizes and counts are those of videos/manifest.csv; where they differ the comment says why.
OPENED = {
    "-leading-dash_1x1_1fps.mp4": (1, 1, 0, False, 5, 0, 4),
    "8k_7680x4320_8frames.mp4": (7680, 4320, 0, False, 8, Fraction(540, 90000), Fraction(26783, 90000)),
    "all_black_10s.mp4": (320, 240, 0, False, 300, 0, Fraction(299, 30)),
    "animated_gif_cartoon.gif": (314, 273, 0, False, 30, 0, Fraction(29, 10)),
    "av1_10bit_hdr10_portrait_roof.mp4": (720, 1280, 0, False, 127, 0, Fraction(126126, 30000)),
    "av1_10bit_misty_valley.mp4": (1920, 1080, 0, False, 60, 0, Fraction(59059, 60000)),
    # the second packet is missing, so the first frame stays for two
    "avi_wrong_length_bbb_logo.avi": (256, 144, 0, False, 58, 0, Fraction(58, 30)),
    "corrupt_invalid_nalu.mp4": (1080, 720, 0, False, 29, 0, Fraction(29 * 1001, 30000)),
    "corrupt_one_bad_packet.mp4": (1280, 720, 0, False, 49, 0, Fraction(49, 10)),
    "derived_bitflips_coffee.mp4": (1280, 720, 0, False, 286, 0, Fraction(286 * 1001, 30000)),
    "derived_interlaced_tff_h264.mkv": (320, 240, 0, False, 150, 0, Fraction(4967, 1000)),
    "derived_jpeg_named_mp4.mp4": (960, 540, 0, False, 1, 0, 0),
    "derived_one_frame_flower.mp4": (960, 540, 0, False, 1, 0, 0),
    # its edit list starts between keyframes: what leads up to it is shown before time zero
    "edit_list_negative_pts_stairs.mp4": (1080, 1920, 90, False, 68, Fraction(-1, 3), Fraction(177150, 90000)),
    "edit_list_start_1s_black.mp4": (1920, 1080, 0, False, 270, 1, Fraction(299, 30)),
    "empty_second_video_track.mp4": (1080, 720, 0, False, 30, 0, Fraction(87086, 90000)),
    # its pixels are 1137:800
    "first_pts_10s_bbb_bird.mp4": (1137, 640, 0, False, 120, 0, Fraction(119, 30)),
    "full_range_testpattern.mp4": (1280, 720, 0, False, 30, 0, Fraction(29, 30)),
    # the container's square pixels win over the codec's 12:11, as in ffmpeg
    "h263_3gp_bbb_burrow.3gp": (176, 144, 0, False, 15, 0, Fraction(14, 15)),
    "h264_10bit_blue_sky_3frames.mp4": (640, 360, 0, False, 3, 0, Fraction(2, 25)),
    "h264_10bit_testpattern.mp4": (200, 200, 0, False, 30, 0, Fraction(29, 30)),
    "hevc_10bit_testpattern.mp4": (200, 200, 0, False, 30, 0, Fraction(29, 30)),
    "missing_audio_stsd.mp4": (1080, 720, 0, False, 30, 0, Fraction(29029, 30000)),
    # the container starts at 67 ms, with the picture
    "mkv_avg_rate_1000.mkv": (1080, 720, 0, False, 30, 0, Fraction(967, 1000)),
    "mvhevc_90fps_5frames.mov": (1934, 2160, 0, False, 5, 0, Fraction(4, 90)),
    "nonsquare_sar_64_45_bbb_bird.mp4": (1138, 640, 0, False, 120, 0, Fraction(119, 30)),
    "raw_y4m_park_trees_10frames.y4m": (480, 270, 0, False, 10, 0, Fraction(9, 50)),
    "rot0_keyboard_3frames.mov": (568, 320, 0, False, 3, 0, Fraction(2, 30)),
    "rot270_laptop_3frames.mov": (320, 568, 270, False, 3, 0, Fraction(2, 30)),
    "rot90_keyboard_3frames.mov": (320, 568, 90, False, 3, 0, Fraction(2, 30)),
    "rotate_and_reflect_man.mp4": (720, 1080, 90, True, 30, 0, Fraction(29029, 30000)),
    "rotated90_man_dog_bed.mp4": (720, 1280, 270, False, 149, 0, Fraction(148 * 3003, 90000)),
    "smpte_bars_counter_10s.mp4": (1920, 1080, 0, False, 251, 0, 10),
    "square_642x642_bbb_bird.webm": (642, 642, 0, False, 90, 0, Fraction(2966666666, 10**9)),
    "super_slow_motion_floor.mp4": (160, 120, 0, False, 435, 0, Fraction(434, 30)),
    # its pixels are 1024:765
    "vfr_pool_1s.mp4": (455, 256, 0, False, 32, 0, Fraction(16384, 15360)),
}

REFUSED: dict[str, tuple[type[MediaError], str]] = {
    "audio_only_15s.mp4": (NoVideoStream, "no video stream"),
    "audio_only_opus.webm": (NoVideoStream, "no video stream"),
    "subtitles_only.mp4": (NoVideoStream, "no video stream"),
    "derived_text_not_video.mp4": (CannotOpen, "cannot open: not a media file, or its header is damaged"),
    "derived_truncated_no_moov_station.mp4": (CannotOpen, "cannot open: cut off before its index (the moov box)"),
    "drm_clearkey_cannot_open.mp4": (CannotOpen, "cannot open: encrypted"),
    "encrypted_decodes_to_garbage.mp4": (CannotOpen, "cannot open: encrypted"),
    "empty_zero_bytes.webm": (CannotOpen, "empty file"),
    "init_segment_only_no_samples.mp4": (DecodeFailed, "no picture: the video stream is empty"),
    "uuid_boxes_no_frame_decodes.mp4": (DecodeFailed, "no picture: none of 30 h264 frames decodes"),
    "derived_truncated_flower_60pct.mp4": (Truncated, "truncated: 90 of 150 frames"),
    "derived_truncated_stream_50pct.webm": (Truncated, "truncated: 1.2 of 3.0 s"),
}

# Decoded whole it takes most of a minute; tests/media/test_memory.py reads it.
ELSEWHERE = {"all_black_6min_1080p.mp4"}


def test_every_odd_file_has_an_outcome(shared: Path):
    assert {path.name for path in (shared / "videos" / "odd").iterdir()} == {*OPENED, *REFUSED, *ELSEWHERE}


@pytest.mark.parametrize("name", OPENED)
def test_unusual_files_open_and_are_right(shared: Path, name: str):
    width, height, degrees, mirrored, count, first, last = OPENED[name]
    with open_video(shared / "videos" / "odd" / name) as reader:
        video = reader.video
        assert (video.width, video.height) == (width, height)
        assert (video.rotation_degrees, video.mirrored) == (degrees, mirrored)
        times = [frame.shown_seconds for frame in reader.frames(TINY)]
    assert len(times) == count
    assert (times[0], times[-1]) == (float(first), float(last))
    assert times == sorted(set(times))


@pytest.mark.parametrize("name", REFUSED)
def test_bad_files_are_refused_with_a_reason(shared: Path, name: str):
    kind, reason = REFUSED[name]
    with pytest.raises(kind) as caught, open_video(shared / "videos" / "odd" / name) as reader:
        for _ in reader.frames(TINY):
            pass
    assert type(caught.value) is kind
    assert reason in caught.value.reason


def test_a_truncated_file_gives_its_good_frames_first(shared: Path):
    with open_video(shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4") as reader:
        frames = reader.frames(TINY)
        assert len(list(islice(frames, 90))) == 90
        with pytest.raises(Truncated, match="90 of 150"):
            next(frames)


def test_the_reason_does_not_depend_on_the_frames_asked_for(shared: Path):
    path = shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4"
    with open_video(path) as reader, pytest.raises(Truncated, match="90 of 150"):
        list(reader.frames_at_rate(2, TINY))


def test_asking_for_the_missing_end_of_a_truncated_file_says_so(shared: Path):
    with open_video(shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4") as reader:
        assert len(list(reader.frames_at([0.1, 2.0], TINY))) == 2
        with pytest.raises(Truncated):
            list(reader.frames_at([0.1, 4.0], TINY))


@pytest.mark.parametrize(
    ("name", "duration", "rate", "count"),
    [
        ("vfr_pool_1s.mp4", 16384 / 15360, Fraction(30), 32),
        ("mkv_avg_rate_1000.mkv", 0.967, None, None),  # one frame a millisecond is the clock's tick, no rate
        ("derived_jpeg_named_mp4.mp4", None, None, None),
        ("av1_10bit_misty_valley.mp4", 1.001, Fraction(60000, 1001), 60),
        ("edit_list_negative_pts_stairs.mp4", 2.7722, Fraction(51000, 1841), 68),
        ("avi_wrong_length_bbb_logo.avi", 59 / 30, Fraction(30), None),
        ("first_pts_10s_bbb_bird.mp4", 4.0, Fraction(30), 120),
    ],
)
def test_a_probe_says_what_the_container_can_be_held_to(
    shared: Path, name: str, duration: float | None, rate: Fraction | None, count: int | None
):
    video = probe(shared / "videos" / "odd" / name)
    assert video.duration_seconds == (duration if duration is None else pytest.approx(duration, abs=1e-6))
    assert (video.frame_rate, video.frame_count) == (rate, count)
    assert video.size_bytes == (shared / "videos" / "odd" / name).stat().st_size


def test_time_zero_is_the_containers_first_instant(shared: Path):
    assert probe(shared / "videos" / "odd" / "first_pts_10s_bbb_bird.mp4").start_seconds == 10.0
    assert probe(shared / "videos" / "odd" / "mkv_avg_rate_1000.mkv").start_seconds == 0.067


def test_names_that_look_like_protocols_and_patterns_are_files(shared: Path, tmp_path: Path, monkeypatch):
    content = (shared / "videos" / "odd" / "derived_one_frame_flower.mp4").read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.mp4", "-i.mp4", "a%03d.mp4", "concat:a|b.mp4", "späti 中.mp4", "x?y#z.mp4"):
        Path(name).write_bytes(content)
        with open_video(name) as reader:
            assert len(list(reader.frames(TINY))) == 1, name


def test_a_folder_and_a_missing_file_cannot_be_opened(tmp_path: Path):
    for source in (tmp_path, tmp_path / "missing.mp4"):
        with pytest.raises(CannotOpen):
            open_video(source)


def test_a_playlist_does_not_make_the_decoder_call_other_machines(tmp_path: Path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        open_video(playlist)
