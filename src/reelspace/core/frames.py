"""When and how frames of a video are wanted: what decoders and encoders agree on.

A taker says *when* it wants pictures (a `Sampler`) and *how* (a `Picture`): together a `Tap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["Frame", "Picture", "Sampler", "SamplerState", "Tap"]


class Frame(NamedTuple):
    """One picture and when it is shown.

    Attributes:
        time_seconds: the second asked for by the sampler's grid (`AtRate`, `FfmpegRate`, `AtTimes`) or, for
            `EveryFrame`, the frame's own presentation time.
        shown_seconds: the frame's own presentation time, on the clock of `Video`.
        pixels: uint8 (H, W, 3) RGB, or (H, W) for gray. The caller may keep it: it is never written again.
    """

    time_seconds: float
    shown_seconds: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """How a taker wants its pixels.

    Attributes:
        width: columns, or None for the displayed size. Give both or neither.
        height: rows, likewise.
        layout: ``rgb24`` (H, W, 3) or ``gray`` (H, W), full range 0..255.
        filter: swscale's filter: ``bicubic`` (the `ffmpeg` command's own), ``bilinear`` or ``area``.
        exact: the very bytes ``ffmpeg -s WxH -pix_fmt rgb24`` gives (a filter graph; bicubic, rgb24 only).

    Raises:
        InvalidArgument: for a size given by half, or ``exact`` with another filter or layout.
    """

    width: int | None = None
    height: int | None = None
    layout: Literal["rgb24", "gray"] = "rgb24"
    filter: Literal["bicubic", "bilinear", "area"] = "bicubic"
    exact: bool = False

    def __post_init__(self) -> None:
        if (self.width is None) != (self.height is None):
            raise InvalidArgument(f"give width and height or neither, got {self.width} and {self.height}")
        if self.width is not None and self.height is not None and (self.width < 1 or self.height < 1):
            raise InvalidArgument(f"a picture has at least one pixel, got {self.width}x{self.height}")
        if self.exact and (self.layout, self.filter) != ("rgb24", "bicubic"):
            raise InvalidArgument(f"exact pictures are bicubic rgb24, got {self.filter} {self.layout}")


class Sampler(Protocol):
    """Decides, frame by frame in the order of presentation, which ones a taker gets. Pure arithmetic.

    A sampler is a frozen description; `start` makes the state for one pass.
    """

    def start(self) -> SamplerState:
        """Fresh state for one pass over one video."""
        ...


class SamplerState(Protocol):
    """The state of one pass; fed with presentation times on the clock of `Video`, in increasing order."""

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:
        """The grid times at which this frame is handed out: empty to drop it, several to repeat it.

        ``until_seconds`` is when the next frame takes its place; for the last frame ``time_seconds`` plus its own
        duration. ``duration_seconds`` is the frame's own duration as the container states it (else the average):
        the `ffmpeg` command goes by that one, and the two differ where timestamps are rounded or uneven.
        """
        ...

    def finish(self) -> Sequence[float]:
        """Grid times at which the last frame is handed out once more when the video ends."""
        ...

    @property
    def done(self) -> bool:
        """Whether no later frame can be wanted, so that decoding may stop."""
        ...


@dataclass(frozen=True, slots=True)
class Tap:
    """One taker of a decode pass: when, and how."""

    sampler: Sampler
    picture: Picture
