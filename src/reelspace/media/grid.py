"""Many videos in a grid, in sync: the picture of a timeline."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Picture
from reelspace.errors import InvalidArgument, Truncated
from reelspace.media import open_video
from reelspace.media.reader import VideoReader
from reelspace.media.writer import VideoWriter

__all__ = ["frame_count", "render_grid", "render_opened"]

Pixels = NDArray[np.uint8]

_DARK = 24
_COLOURS = np.array(  # of each video, below its picture and in the bar; then again from the first
    [
        [255, 166, 64],
        [77, 170, 255],
        [112, 224, 112],
        [240, 98, 146],
        [255, 221, 87],
        [149, 117, 205],
        [77, 208, 200],
        [188, 143, 110],
    ],
    np.uint8,
)
_STRIP, _LANE, _GAP = 4, 6, 4  # pixels
_WIDEST = 2  # a panel is at most twice as wide as high; wider pictures get bars above and below
_GLYPHS = {  # five rows of three pixels, each row an octal digit
    "0": 0o75557,
    "1": 0o26227,
    "2": 0o71747,
    "3": 0o71717,
    "4": 0o55711,
    "5": 0o74717,
    "6": 0o74757,
    "7": 0o71222,
    "8": 0o75757,
    "9": 0o75717,
    ":": 0o02020,
    ".": 0o00002,
    " ": 0o00000,
}
_LEAST_CAPTIONED = 90  # rows of a panel; a smaller one would be hidden by its caption


@dataclass(frozen=True, slots=True)
class _Cell:
    """One video's place in the picture and in time.

    Attributes:
        top: first row of its panel.
        left: first column.
        width: columns of its panel.
        begins: frame of the output it begins at.
        ends: and the frame after its last.
    """

    top: int
    left: int
    width: int
    begins: int
    ends: int


def render_grid(
    videos: Sequence[str | os.PathLike[str]],
    *,
    starts_seconds: Sequence[float],
    output: str | os.PathLike[str],
    height: int = 240,
    columns: int | None = None,
    frames_per_second: Fraction = Fraction(30),
    captions: bool = True,
) -> None:
    """Writes a silent MP4 that shows all videos at the same time, each from its start on the common clock.

    It runs from the first instant of any to the last. Pictures keep their shape; a panel is dark where its video
    has not begun, has ended, or breaks off. Below, a bar shows where each of them runs, and now. In sync to within
    half a frame of the output. Every video is decoded once, side by side; memory does not grow with the length.

    Args:
        videos: paths or URLs, row by row.
        starts_seconds: when each begins, on one clock; the earliest begins with the output.
        output: the file to write.
        height: rows of a panel.
        columns: panels side by side; None for about as many as there are rows.
        frames_per_second: of the output.
        captions: write each video's number, from 1, and its own clock into the panel (90 rows and more).

    Raises:
        InvalidArgument: when there is no video, not one finite start each, no column, or the height is below 16.
        MediaError: when one of them cannot be read.
    """
    if not videos or len(starts_seconds) != len(videos) or not all(map(math.isfinite, starts_seconds)):
        raise InvalidArgument(
            f"a grid needs one start for each video, got {len(videos)} and {list(starts_seconds)}"
        )
    if height < 16:
        raise InvalidArgument(f"a panel needs a height of at least 16 pixels, got {height}")
    across = math.ceil(math.sqrt(len(videos))) if columns is None else columns
    if across < 1:
        raise InvalidArgument(f"a grid has at least one column, got {columns}")
    with ExitStack() as opened:
        readers = [opened.enter_context(open_video(video)) for video in videos]
        begins = [round((start - min(starts_seconds)) * frames_per_second) for start in starts_seconds]
        counts = [frame_count(reader, frames_per_second) for reader in readers]
        render_opened(
            readers,
            [(begin, begin + count) for begin, count in zip(begins, counts, strict=True)],
            output=output,
            height=height,
            columns=across,
            frames_per_second=frames_per_second,
            captions=captions,
        )


def render_opened(
    readers: Sequence[VideoReader],
    stretches: Sequence[tuple[int, int]],
    *,
    output: str | os.PathLike[str],
    height: int,
    columns: int,
    frames_per_second: Fraction,
    captions: bool,
) -> None:
    """The same of videos that are open; ``stretches`` are the frames of the output each begins and ends at."""
    cells = _laid_out(readers, stretches, columns, height)
    canvas = _empty(cells, height)
    last = max(cell.ends for cell in cells)
    bar = slice(len(canvas) - len(cells) * _LANE - _GAP - 1, len(canvas) - _GAP)
    panels = [
        _panel(reader, frames_per_second, start=cell.begins, height=height, width=cell.width)
        for reader, cell in zip(readers, cells, strict=True)
    ]
    with VideoWriter(output, canvas.shape[1], canvas.shape[0], frames_per_second) as writer:
        for number, pictures in enumerate(zip_longest(*panels)):
            shown = canvas.copy()
            for index, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
                if picture is None:
                    continue
                panel = shown[cell.top : cell.top + height, cell.left : cell.left + cell.width]
                panel[:] = picture
                if captions and height >= _LEAST_CAPTIONED:
                    minutes, tenths = divmod(int((number - cell.begins) * 10 // frames_per_second), 600)
                    text = f"{index + 1}  {minutes}:{tenths // 10:02d}.{tenths % 10}"
                    _write(panel, text, pixels=height // 120 + 1)
            now = min(round(number / last * canvas.shape[1]), canvas.shape[1] - 2)
            shown[bar, now : now + 2] = 255
            writer.write(shown)


def frame_count(reader: VideoReader, rate: Fraction) -> int:
    """How many frames of the output a video fills; decodes it through when its container does not say."""
    seconds = reader.video.duration_seconds
    if seconds is not None:
        return max(1, math.ceil(seconds * float(rate) - 1e-6))
    return sum(1 for _ in _as_far_as_it_goes(reader.frames_at_rate(float(rate), Picture(16, 16))))


def _laid_out(
    readers: Sequence[VideoReader], stretches: Sequence[tuple[int, int]], across: int, height: int
) -> list[_Cell]:
    """Panels row by row; a column is as wide as its widest, the others stand in its middle."""
    widths = [_panel_width(reader, height) for reader in readers]
    wide = [max(widths[column::across]) for column in range(min(across, len(widths)))]
    lefts = np.cumsum([0, *(width + _GAP for width in wide)]).tolist()
    return [
        _Cell(
            top=(number // across) * (height + _STRIP + _GAP),
            left=lefts[number % across] + (wide[number % across] - width) // 2,
            width=width,
            begins=begins,
            ends=ends,
        )
        for number, (width, (begins, ends)) in enumerate(zip(widths, stretches, strict=True))
    ]


def _empty(cells: Sequence[_Cell], height: int) -> Pixels:
    """What stays the same in every picture: the dark ground, a strip under each panel, and the bar."""
    bar_top = max(cell.top for cell in cells) + height + _STRIP + _GAP
    columns = max(cell.left + cell.width for cell in cells)
    canvas = np.full((bar_top + len(cells) * _LANE + _GAP, columns, 3), _DARK, np.uint8)
    last = max(cell.ends for cell in cells)
    for number, cell in enumerate(cells):
        colour = _COLOURS[number % len(_COLOURS)]
        below = cell.top + height
        canvas[below : below + _STRIP, cell.left : cell.left + cell.width] = colour
        top = bar_top + number * _LANE
        ran = slice(*(round(k / last * columns) for k in (cell.begins, cell.ends)))
        canvas[top : top + _LANE - 1, ran] = colour
    return canvas


def _panel_width(reader: VideoReader, height: int) -> int:
    return min(2 * round(height * reader.video.width / reader.video.height / 2) or 2, _WIDEST * height)


def _panel(reader: VideoReader, rate: Fraction, *, start: int, height: int, width: int) -> Iterator[Pixels | None]:
    """Pictures of one video, uint8 (height, width, 3), after ``start`` times nothing."""
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


def _write(panel: Pixels, text: str, *, pixels: int) -> None:
    """Writes digits into the upper left corner of a panel, in place, white on dark; ``pixels`` per stroke."""
    strokes = [np.array([int(bit) for bit in f"{_GLYPHS[letter]:015b}"], bool).reshape(5, 3) for letter in text]
    rows = np.concatenate([np.pad(stroke, ((0, 0), (0, 1))) for stroke in strokes], axis=1)  # (5, 4 * letters)
    ink = np.pad(rows.repeat(pixels, axis=0).repeat(pixels, axis=1), 2 * pixels)
    inside = panel[: len(ink), : ink.shape[1]]
    inside //= 4
    inside[ink[:, : inside.shape[1]]] = 255
