"""From a decoded frame to the pixels a taker wants."""

from __future__ import annotations

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from reelspace.core.frames import Picture
from reelspace.core.video import Video
from reelspace.media.orientation import Orientation

__all__ = ["PictureMaker"]

_FILTERS = {
    "bicubic": Interpolation.BICUBIC,
    "bilinear": Interpolation.BILINEAR,
    "area": Interpolation.AREA,
}


class PictureMaker:
    """Makes one kind of `Picture` from the frames of one stream; keeps its scaler between frames.

    Alpha is left out, as ffmpeg does: what a GIF leaves transparent is white, the colour its decoder gives it.
    """

    def __init__(self, picture: Picture, video: Video, orientation: Orientation) -> None:
        self._picture = picture
        self._orientation = orientation
        self._size = (picture.width or video.width, picture.height or video.height)
        self._scaler = VideoReformatter()
        self._graph: av.filter.Graph | None = None
        self._graph_input: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """The pixels: uint8 (H, W, 3), or (H, W) for gray; an array of its own."""
        return self._filtered(frame) if self._picture.exact else self._scaled(frame)

    def _scaled(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        width, height = self._size
        if self._orientation.transposes:  # turned after scaling: the small picture is the cheaper one to turn
            width, height = height, width
        scaled = self._scaler.reformat(
            frame,
            width,
            height,
            self._picture.layout,
            interpolation=_FILTERS[self._picture.filter],
            threads=1,
        )
        return self._orientation.apply(scaled.to_ndarray())

    def _filtered(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        shape = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        if self._graph is None or shape != self._graph_input:
            self._graph, self._graph_input = self._build(frame), shape
        self._graph.push(frame)
        return self._graph.vpull().to_ndarray()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        """The filters the `ffmpeg` command puts in: turning first, then scaling, then the layout."""
        graph = av.filter.Graph()
        graph.threads = 1
        turn = self._orientation
        nodes = [
            graph.add(
                "buffer",
                f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1:pixel_aspect=1/1"
                f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
            )
        ]
        if turn.transposes:
            nodes.append(graph.add("transpose", "dir=cclock_flip"))
        if turn.flips_x:
            nodes.append(graph.add("hflip"))
        if turn.flips_y:
            nodes.append(graph.add("vflip"))
        nodes += [
            graph.add("scale", f"{self._size[0]}:{self._size[1]}"),
            graph.add("format", self._picture.layout),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph
