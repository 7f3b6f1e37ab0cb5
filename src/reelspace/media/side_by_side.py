"""Two videos next to each other, in sync: the picture of an alignment."""

from __future__ import annotations

import os
from fractions import Fraction

from reelspace.errors import InvalidArgument
from reelspace.media import open_video
from reelspace.media.grid import frame_count, render_opened

__all__ = ["render_side_by_side"]


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
        counts = [frame_count(reader, frames_per_second) for reader in readers]
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
        if max(starts) >= min(ends):
            lengths = " and ".join(f"{float(count / frames_per_second):.1f} s" for count in counts)
            raise InvalidArgument(
                f"videos of {lengths} share no second at an offset of {offset_seconds} s; align them first"
            )
        render_opened(
            readers,
            list(zip(starts, ends, strict=True)),
            output=output,
            height=height,
            columns=2,
            frames_per_second=frames_per_second,
            captions=False,
        )
