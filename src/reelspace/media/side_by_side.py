"""Two videos next to each other, in sync: the picture of an alignment."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Picture
from reelspace.errors import InvalidArgument, Truncated
from reelspace.media import open_video
from reelspace.media.reader import VideoReader
from reelspace.media.writer import VideoWriter

__all__ = ["render_side_by_side"]

Pixels = NDArray[np.uint8]

_DARK = 24
_COLOURS = np.array([[255, 166, 64], [77, 170, 255]], np.uint8)  # of A and of B, below the picture and in the bar
_STRIP, _LANE, _GAP = 4, 6, 4  # pixels
_WIDEST = 2  # a panel is at most twice as wide as high; wider pictures get bars above and below


def render_side_by_side(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    offset_seconds: float,
    output: str | os.PathLike[str],
    height: int = 360,
    frames_per_second: Fraction = Fraction(30),
) -> None:
    """Writes an MP4 that shows A on the left and B on the right at the same time.

    What happens at second ``t`` of B happens at second ``t + offset_seconds`` of A, as in `Alignment`. It runs
    from the first instant of either to the last; a panel is dark where its video has not begun or has ended.
    Below, a bar shows where each of them runs, and now. In sync to within half a frame of the output; memory does
    not grow with the length.

    Args:
        a: path or URL.
        b: path or URL.
        offset_seconds: B's start on A's clock.
        output: the file to write.
        height: rows of either picture.
        frames_per_second: of the output.

    Raises:
        InvalidArgument: when the two share no second at this offset, or the height is below 16.
        MediaError: when one of them cannot be read.
    """
    if height < 16:
        raise InvalidArgument(f"side by side needs a height of at least 16 pixels, got {height}")
    with open_video(a) as reader_a, open_video(b) as reader_b:
        readers = (reader_a, reader_b)
        lag = round(offset_seconds * frames_per_second)
        starts = (max(0, -lag), max(0, lag))
        counts = [_frame_count(reader, frames_per_second) for reader in readers]
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
        if max(starts) >= min(ends):
            lengths = " and ".join(f"{float(count / frames_per_second):.1f} s" for count in counts)
            raise InvalidArgument(
                f"videos of {lengths} share no second at an offset of {offset_seconds} s; align them first"
            )
        widths = [_panel_width(reader, height) for reader in readers]
        columns = [slice(0, widths[0]), slice(widths[0] + _GAP, widths[0] + _GAP + widths[1])]
        bar_top = height + _STRIP + _GAP
        canvas = np.full((bar_top + 2 * _LANE + _GAP, columns[1].stop, 3), _DARK, np.uint8)
        for side in (0, 1):
            canvas[height : height + _STRIP, columns[side]] = _COLOURS[side]
            top = bar_top + side * _LANE
            ran = slice(*(round(k / max(ends) * canvas.shape[1]) for k in (starts[side], ends[side])))
            canvas[top : top + _LANE - 1, ran] = _COLOURS[side]
        panels = [
            _panel(reader, frames_per_second, start=start, height=height, width=width)
            for reader, start, width in zip(readers, starts, widths, strict=True)
        ]
        with VideoWriter(output, canvas.shape[1], canvas.shape[0], frames_per_second) as writer:
            for number, pictures in enumerate(zip_longest(*panels)):
                shown = canvas.copy()
                for column, picture in zip(columns, pictures, strict=True):
                    if picture is not None:
                        shown[:height, column] = picture
                now = min(round(number / max(ends) * canvas.shape[1]), canvas.shape[1] - 2)
                shown[bar_top - 1 : bar_top + 2 * _LANE, now : now + 2] = 255
                writer.write(shown)


def _frame_count(reader: VideoReader, rate: Fraction) -> int:
    """How many frames of the output the video fills; decodes it through when its container does not say."""
    seconds = reader.video.duration_seconds
    if seconds is not None:
        return max(1, math.ceil(seconds * float(rate) - 1e-6))
    return sum(1 for _ in _as_far_as_it_goes(reader.frames_at_rate(float(rate), Picture(16, 16))))


def _panel_width(reader: VideoReader, height: int) -> int:
    return min(2 * round(height * reader.video.width / reader.video.height / 2) or 2, _WIDEST * height)


def _panel(reader: VideoReader, rate: Fraction, *, start: int, height: int, width: int) -> Iterator[Pixels | None]:
    """Pictures of one side, uint8 (height, width, 3), after ``start`` times nothing."""
    for _ in range(start):
        yield None
    rows = min(height, max(2, round(width * reader.video.height / reader.video.width)))
    above = (height - rows) // 2
    picture = Picture(width, rows, filter="area")
    for frame in _as_far_as_it_goes(reader.frames_at_rate(float(rate), picture)):
        if rows == height:
            yield frame.pixels
        else:
            yield np.pad(frame.pixels, ((above, height - rows - above), (0, 0), (0, 0)))


def _as_far_as_it_goes(frames: Iterator[Frame]) -> Iterator[Frame]:
    """A truncated file is shown to where it breaks off."""
    with contextlib.suppress(Truncated):
        yield from frames
