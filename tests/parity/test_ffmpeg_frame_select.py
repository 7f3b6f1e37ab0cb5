"""Which frames ``ffmpeg -r 15`` keeps, as ffmpeg 5.1.9 and 9.0.2 kept them.

``golden/ffmpeg_frame_select.json`` was made with the command of ThreatExchange's TMK,
``ffmpeg -i CLIP -s 64:64 -an -f rawvideo -c:v rawvideo -pix_fmt rgb24 -r 15 pipe:1``, on clips of constant rate
whose frames tell their number.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from reelspace.core.sampling import FfmpegRate


@pytest.mark.parametrize(("version", "durations"), [("ffmpeg_5.1", "rounded"), ("ffmpeg_9.0.2", "exact")])
def test_the_frames_ffmpeg_keeps_are_kept(shared: Path, version: str, durations: str):
    cases = json.loads((shared / "golden" / "ffmpeg_frame_select.json").read_text())["cases"]
    assert len(cases) == 9
    for case in cases:
        fps, count = Fraction(case["fps"]), case["n_in"]
        state = FfmpegRate(15, durations=durations).start()  # type: ignore[arg-type]
        kept: list[int] = []
        for index in range(count):
            kept += [index] * len(state.push(float(index / fps), float((index + 1) / fps), float(1 / fps)))
        kept += [count - 1] * len(state.finish())
        assert kept == case[version], f"{fps} frames per second"
