"""From a decoded frame to the pixels a taker wants."""

from __future__ import annotations

from typing import cast

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture
from reelspace.core.video import Video
from reelspace.errors import DecodeFailed
from reelspace.media.orientation import Orientation

__all__ = ["PictureMaker"]


class PictureMaker:
    """Makes one kind of `Picture` from the frames of one stream; keeps its filter graph between frames.

    Conversion to RGB goes by the stream's own matrix and range; what it does not say is BT.601, limited, as ffmpeg
    takes it. Gray is the stream's luma, stretched to the full range. Alpha is left out, as ffmpeg does: what a GIF
    leaves transparent is white, the colour its decoder gives it. HDR is not tone-mapped.
    """

    def __init__(self, picture: Picture, video: Video, orientation: Orientation) -> None:
        self._source = video.source
        self._picture = picture
        self._orientation = orientation
        self._width, self._height = picture.width or video.width, picture.height or video.height
        self._graph: av.filter.Graph | None = None
        self._graph_input: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """The pixels: uint8 (H, W, 3), or (H, W) for gray; an array of its own.

        Raises:
            DecodeFailed: when the frame cannot be converted.
        """
        kind = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        try:
            if self._graph is None or kind != self._graph_input:
                self._graph, self._graph_input = self._build(frame), kind
            self._graph.push(frame)
            return cast("NDArray[np.uint8]", self._graph.vpull().to_ndarray())
        except av.FFmpegError as error:
            reason = f"no picture: {frame.format.name} of {frame.width}x{frame.height} does not convert"
            raise DecodeFailed(self._source, f"{reason} ({error.strerror})") from error

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        picture, turn = self._picture, self._orientation
        turning = [
            *([("transpose", "cclock_flip")] if turn.transposes else []),
            *([("hflip", None)] if turn.flips_x else []),
            *([("vflip", None)] if turn.flips_y else []),
        ]
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1:pixel_aspect=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        width, height = self._width, self._height
        if picture.exact:  # the order of the `ffmpeg` command: turning first
            steps = [*turning, ("scale", f"{width}:{height}"), ("format", picture.layout)]
        else:  # the same picture, but the small one is turned
            if turn.transposes:
                width, height = height, width
            steps = [
                *self._untagging(frame),
                ("scale", f"{width}:{height}:flags={picture.filter}"),
                ("format", picture.layout),
                *turning,
            ]
        graph = av.filter.Graph()
        graph.threads = 1
        nodes = [
            graph.add(name, arguments) for name, arguments in [("buffer", source), *steps, ("buffersink", None)]
        ]
        graph.link_nodes(*nodes).configure()
        return graph

    def _untagging(self, frame: av.VideoFrame) -> list[tuple[str, str | None]]:
        """Takes the matrix off a YUV frame that becomes gray.

        swscale 9 otherwise converts BT.709 or BT.2020 luma to BT.601 luma where it also scales: up to 8 levels off.
        """
        is_yuv = not frame.format.is_rgb and len(frame.format.components) >= 3
        return [("setparams", "colorspace=unknown")] if self._picture.layout == "gray" and is_yuv else []
