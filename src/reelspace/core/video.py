"""What is known of a video without its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from reelspace.errors import InvalidArgument

__all__ = ["Video"]


@dataclass(frozen=True, slots=True)
class Video:
    """One video file: where it is and what its container says.

    Time zero is the container's first instant, the clock a player shows: every time in this library is
    ``pts * time_base - container start``. ``start_seconds`` keeps what was subtracted.

    Attributes:
        source: path or URL as given.
        duration_seconds: from time zero to the end of the last frame, as the container promises; None when it
            does not say.
        frame_rate: exact average rate, or None (a still picture, a container that does not say).
        width: columns as displayed: after rotation, with square pixels.
        height: rows as displayed, likewise.
        rotation_degrees: clockwise turn that was needed to display it: 0, 90, 180 or 270.
        mirrored: whether displaying it also needed a mirroring (left to right, after the turn).
        codec: FFmpeg's name of the codec, such as ``h264``.
        pixel_format: FFmpeg's name of the coded pixel format, such as ``yuv420p10le``.
        container: FFmpeg's name of the container format.
        frame_count: frames the container promises, or None when it makes no promise worth holding it to.
        start_seconds: the container's own time of its first instant.
        size_bytes: size of the file, or None for a stream of unknown length.

    Raises:
        InvalidArgument: when a size or rotation is impossible.
    """

    source: str
    duration_seconds: float | None
    frame_rate: Fraction | None
    width: int
    height: int
    rotation_degrees: int
    mirrored: bool
    codec: str
    pixel_format: str
    container: str
    frame_count: int | None
    start_seconds: float
    size_bytes: int | None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidArgument(f"a video has at least one pixel, got {self.width}x{self.height}")
        if self.rotation_degrees not in {0, 90, 180, 270}:
            raise InvalidArgument(f"rotation is 0, 90, 180 or 270 degrees, got {self.rotation_degrees}")
