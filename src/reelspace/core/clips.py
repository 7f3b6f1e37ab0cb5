"""Which moments of a video make up the clips a model reads: pure arithmetic on its duration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["ClipSpec", "Mode", "Windows"]

Mode = Literal["tiled", "views", "squashed"]

_REST = 1e-6  # of a step: what is left of a video by rounding is no moment of its own


class Windows(NamedTuple):
    """The W windows of a video, and the moments of the T frames in each.

    Attributes:
        starts_seconds: float64 (W,).
        ends_seconds: float64 (W,): half-open.
        times_seconds: float64 (W, T), not decreasing along T. A moment at or after the end of the video means its
            last frame: so a video shorter than a clip is padded by holding its last frame.
    """

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    times_seconds: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """How many frames make a clip, how far apart, and which clips stand for a video.

    Attributes:
        frames: frames per clip, T; 1 for a model of pictures.
        spacing_seconds: from one frame to the next: in the windows of ``tiled``, and in ``views`` unless
            ``spread``.
        spread: in ``views``, the frames are spread evenly over the whole video (as TSN samples, and models of
            Something-Something) instead of ``spacing_seconds`` apart.
        clips: in ``views``, how many clips, evenly placed.
        crops: in ``views``, how many crops of each: 1 (the centre) or 3 (both ends of the longer side as well).
        mode: ``tiled``: windows side by side over the whole video, a vector each; the last one is moved back so
            that it ends with the video. ``views``: the clips and crops of the paper's own test, averaged to one
            vector per video. ``squashed``: the whole video, every frame of it, resized to ``frames`` in time by
            linear interpolation, as the FiftyOne Hiera plugin reads it; one vector per video.

    Raises:
        InvalidArgument: for counts below 1, a spacing that is not positive, or other numbers of crops than 1 and 3.
    """

    frames: int
    spacing_seconds: float
    spread: bool = False
    clips: int = 1
    crops: int = 1
    mode: Mode = "tiled"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.clips < 1:
            raise InvalidArgument(f"a clip has at least one frame and a video one clip, got {self}")
        if not (math.isfinite(self.spacing_seconds) and self.spacing_seconds > 0):
            raise InvalidArgument(f"frames are a positive number of seconds apart, got {self.spacing_seconds}")
        if self.crops not in {1, 3}:
            raise InvalidArgument(f"crops are 1 or 3, got {self.crops}")
        if self.mode not in {"tiled", "views", "squashed"}:
            raise InvalidArgument(f"mode is 'tiled', 'views' or 'squashed', got {self.mode!r}")

    @property
    def window_seconds(self) -> float:
        """How long one clip lasts: each of its frames stands for ``spacing_seconds``."""
        return self.frames * self.spacing_seconds

    def windows(self, duration_seconds: float) -> Windows:
        """The windows of a video of this length; at least one. Not for ``squashed``, which goes by frame counts."""
        if self.mode == "squashed":
            raise InvalidArgument("squashed clips go by the number of frames, not by the duration")
        return self._tiled(duration_seconds) if self.mode == "tiled" else self._views(duration_seconds)

    def tiles(self, moments: int) -> NDArray[np.int64]:
        """First moments (W,) of the windows of ``tiled``, on a grid of so many, ``spacing_seconds`` apart."""
        full = np.arange(moments // self.frames, dtype=np.int64) * self.frames
        if len(full) and not moments % self.frames:
            return full
        return np.append(full, max(0, moments - self.frames))

    def _tiled(self, duration: float) -> Windows:
        spacing = self.spacing_seconds
        first = self.tiles(max(1, math.ceil(duration / spacing - _REST)))
        starts = first.astype(np.float64) * spacing
        return Windows(
            starts,
            np.minimum(starts + self.window_seconds, duration),
            starts[:, None] + np.arange(self.frames) * spacing,
        )

    def _views(self, duration: float) -> Windows:
        if self.spread:
            step = duration / self.frames
            phases = (np.arange(self.clips) + 1.0) / (self.clips + 1.0)
            times = np.asarray((np.arange(self.frames) + phases[:, None]) * step, np.float64)  # (clips, T)
            return Windows(np.zeros(self.clips), np.full(self.clips, duration), times)
        room = max(0.0, duration - self.window_seconds)
        starts = np.linspace(0.0, room, self.clips) if self.clips > 1 else np.array([room / 2])
        ends = np.minimum(starts + self.window_seconds, duration)
        return Windows(starts, ends, starts[:, None] + np.arange(self.frames) * self.spacing_seconds)
