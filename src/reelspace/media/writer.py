"""Pictures into an H.264 file that any player opens."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["VideoWriter"]

_BT709 = 1  # the number of this colour space, its primaries and its transfer in ITU-T H.273


class VideoWriter:
    """Writes one MP4 at a constant frame rate: H.264, 4:2:0, BT.709 colours, index in front.

    Use it as a context manager. The file appears under its name, complete, when the block ends well; when it ends
    with an error nothing is left, and a file that was there before stays as it was. Odd sizes are made even by
    repeating the last column or row, for 4:2:0 has one colour per two by two pixels.

    Args:
        path: the file to write, in a folder that is there.
        width: columns of every picture.
        height: rows of every picture.
        frames_per_second: the constant rate, as a fraction: ``Fraction(30000, 1001)``, never 29.97.
        crf: x264's constant quality, 0 (lossless, but for the 4:2:0 colours) to 51 (worst).
        threads: of the encoder; 0 takes all cores. The bytes depend on it.

    Raises:
        InvalidArgument: for an impossible size, rate or quality, or a folder that is not there.
        OSError: when the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        frames_per_second: Fraction,
        *,
        crf: int = 20,
        threads: int = 0,
    ) -> None:
        if width < 1 or height < 1:
            raise InvalidArgument(f"a picture has at least one pixel, got {width}x{height}")
        if frames_per_second <= 0:
            raise InvalidArgument(f"a frame rate is positive, got {frames_per_second}")
        if not 0 <= crf <= 51:
            raise InvalidArgument(f"crf lies in 0..51, got {crf}")
        self.path = Path(path).absolute()
        if not self.path.parent.is_dir():
            raise InvalidArgument(f"no folder {self.path.parent} to write {self.path.name} into; make it first")
        self.frame_count = 0
        self._shape = (height, width, 3)
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        self._part = self.path.with_name(self.path.name + ".part")
        # The film's own clock ticks in whole frames: at the usual 1000 Hz the length of 29.97 fps would be rounded.
        ticks_per_second = frames_per_second.numerator * -(-1000 // frames_per_second.numerator)
        options = {"movflags": "+faststart", "movie_timescale": str(ticks_per_second)}
        self._container = av.open(str(self._part), "w", format="mp4", options=options)
        stream = self._container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # No mbtree: with it the same pictures give other bytes now and then (x264 of av 18.1, one run in ten).
        stream.options = {"crf": str(crf), "preset": "veryfast", "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.time_base = 1 / frames_per_second
        context.thread_count = threads
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream = stream
        self._reformatter = VideoReformatter()

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Appends one picture, uint8 (H, W, 3) RGB.

        Raises:
            InvalidArgument: for another shape or dtype.
        """
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise InvalidArgument(f"this writer takes uint8 {self._shape}, got {pixels.dtype} {pixels.shape}")
        if self._pad != ((0, 0), (0, 0), (0, 0)):
            pixels = np.pad(pixels, self._pad, mode="edge")
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(pixels, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = self.frame_count, self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))
        self.frame_count += 1

    def close(self) -> None:
        """Finishes the file and gives it its name.

        Raises:
            InvalidArgument: when no picture was written.
        """
        if self.frame_count == 0:
            self.discard()
            raise InvalidArgument(f"no picture was written to {self.path}; a video has at least one")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._part.replace(self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leaves nothing behind."""
        with contextlib.suppress(av.FFmpegError):  # the index of a half-written file may not be writable
            self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()
