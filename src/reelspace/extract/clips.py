"""From the frames of a decode pass to the clips that models read: cut out, resized and cropped as they come.

This runs where the file is decoded. What leaves it is a model's own small pictures, never whole frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.core.clips import ClipSpec
from reelspace.core.frames import Frame, Picture, Tap
from reelspace.core.sampling import AtIndices, AtRate, AtTimes, EveryFrame
from reelspace.encoders.spec import Preprocessing
from reelspace.errors import DecodeFailed
from reelspace.media.reader import VideoReader

__all__ = ["ClipMaker", "Clips", "Reading", "clip_maker"]

BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model reads a video. Models that read it alike share its clips.

    Attributes:
        clip: which frames make a clip.
        preprocessing: how they are resized and cropped.
        tap: of the package's own encoders of pictures, which say themselves which frames they want, and how.
    """

    clip: ClipSpec
    preprocessing: Preprocessing
    tap: Tap | None = None


class Clips(NamedTuple):
    """B clips of one video, ready for a model.

    Attributes:
        starts_seconds: float64 (B,).
        ends_seconds: float64 (B,): half-open.
        pixels: uint8 (B, T, h, w, 3), or float32 on the same scale for squashed clips.
    """

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    pixels: NDArray[Any]


Emit = Callable[[Clips], None]


class ClipMaker(Protocol):
    """Makes the clips of one reading of one video."""

    @property
    def tap(self) -> Tap:
        """The frames it wants."""
        ...

    def push(self, frame: Frame) -> None:
        """Takes the next frame of its tap."""
        ...

    def finish(self, duration_seconds: float) -> None:
        """Hands out what is left; the video lasts so long."""
        ...


def clip_maker(reading: Reading, reader: VideoReader, emit: Emit) -> ClipMaker:
    """The maker of the clips of one reading of an opened video; ``emit`` gets them, in the order of time."""
    if reading.tap is not None:
        return _AsTaken(reading.tap, reading.clip.spacing_seconds, emit)
    if reading.clip.mode == "squashed":
        return _Squashed(reading, reader, emit)
    return _Views(reading, reader, emit) if reading.clip.mode == "views" else _Tiles(reading, emit)


class _Outbox:
    """Gathers clips of the same shape, so that they travel and are computed many at a time."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting: list[tuple[float, float, NDArray[Any]]] = []

    def put(self, start_seconds: float, end_seconds: float, pixels: NDArray[Any]) -> None:
        self._waiting.append((start_seconds, end_seconds, pixels))
        if (len(self._waiting) + 1) * pixels.nbytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            starts, ends, pixels = zip(*self._waiting, strict=True)
            self._waiting.clear()
            self._emit(Clips(np.array(starts), np.array(ends), np.stack(pixels)))


def _crops(frame: Frame, reading: Reading, crops: int = 1) -> NDArray[np.uint8]:
    """The crops (crops, h, w, 3) of one frame."""
    from reelspace.encoders.preprocess import crops_of

    return crops_of(frame.pixels[None], reading.preprocessing, crops=crops)[:, 0]


class _AsTaken:
    """Single pictures, as their tap gives them."""

    def __init__(self, tap: Tap, spacing_seconds: float, emit: Emit) -> None:
        self.tap = tap
        self._spacing_seconds = spacing_seconds
        self._outbox = _Outbox(emit)

    def push(self, frame: Frame) -> None:
        height, width = frame.pixels.shape[:2]
        pixels = np.broadcast_to(frame.pixels.reshape(1, height, width, -1), (1, height, width, 3))  # gray as RGB
        self._outbox.put(frame.time_seconds, frame.time_seconds + self._spacing_seconds, pixels)

    def finish(self, duration_seconds: float) -> None:  # noqa: ARG002
        self._outbox.flush()


class _Tiles:
    """Windows side by side: they need no duration beforehand, so none is believed."""

    def __init__(self, reading: Reading, emit: Emit) -> None:
        # A video shorter than a window is padded by holding its last frame.
        self.tap = Tap(AtRate(1 / reading.clip.spacing_seconds, at_least=reading.clip.frames), Picture())
        self._reading = reading
        self._outbox = _Outbox(emit)
        self._latest: list[NDArray[np.uint8]] = []  # the last moments, at most two windows of them
        self._moments = 0

    def push(self, frame: Frame) -> None:
        frames = self._reading.clip.frames
        if len(self._latest) == 2 * frames:
            del self._latest[:frames]
        self._latest.append(_crops(frame, self._reading)[0])
        self._moments += 1
        if self._moments % frames == 0:
            self._put()

    def finish(self, duration_seconds: float) -> None:  # noqa: ARG002
        if self._moments % self._reading.clip.frames:  # the last window ends with the video
            self._put()
        self._outbox.flush()

    def _put(self) -> None:
        clip = self._reading.clip
        start = (self._moments - clip.frames) * clip.spacing_seconds
        self._outbox.put(start, start + clip.window_seconds, np.stack(self._latest[-clip.frames :]))


class _Views:
    """The clips and crops of a paper's own test, placed by the duration."""

    def __init__(self, reading: Reading, reader: VideoReader, emit: Emit) -> None:
        self._reading = reading
        self._outbox = _Outbox(emit)
        self._windows = reading.clip.windows(_duration_of(reader))
        self.tap = Tap(AtTimes(tuple(np.unique(self._windows.times_seconds).tolist())), Picture())
        self._places: defaultdict[float, list[tuple[int, int]]] = defaultdict(list)
        for window, times in enumerate(self._windows.times_seconds.tolist()):
            for position, time in enumerate(times):
                self._places[time].append((window, position))
        self._begun: defaultdict[int, dict[int, NDArray[np.uint8]]] = defaultdict(dict)

    def push(self, frame: Frame) -> None:
        clip = self._reading.clip
        crops = _crops(frame, self._reading, clip.crops)
        for window, position in self._places[frame.time_seconds]:
            self._begun[window][position] = crops
            if len(self._begun[window]) == clip.frames:
                parts = self._begun.pop(window)
                start, end = self._windows.starts_seconds[window], self._windows.ends_seconds[window]
                for crop in range(clip.crops):
                    self._outbox.put(start, end, np.stack([parts[i][crop] for i in range(clip.frames)]))

    def finish(self, duration_seconds: float) -> None:  # noqa: ARG002
        self._outbox.flush()


class _Squashed:
    """The whole video resized to a clip in time, as the FiftyOne Hiera plugin reads it."""

    def __init__(self, reading: Reading, reader: VideoReader, emit: Emit) -> None:
        from reelspace.encoders.preprocess import Squash

        side = reading.preprocessing.side
        if side is None:
            raise DecodeFailed(reader.video.source, "a squashed clip needs a model of one size")
        self._squash = Squash(reader.count_frames(), reading.clip.frames, side)
        # To the end of the file, a little after the last of them: only there a file is seen to be cut off.
        self.tap = Tap(AtIndices(self._squash.indices, to_end=True), Picture())
        self._emit = emit

    def push(self, frame: Frame) -> None:
        self._squash.push(frame.pixels)

    def finish(self, duration_seconds: float) -> None:
        pixels = self._squash.finish()
        self._emit(Clips(np.zeros(1), np.array([duration_seconds]), pixels[None]))


def _duration_of(reader: VideoReader) -> float:
    """What the container says, or where its pictures end."""
    if reader.video.duration_seconds is not None:
        return reader.video.duration_seconds
    step = float(1 / reader.video.frame_rate) if reader.video.frame_rate else 0.0
    tap = Tap(EveryFrame(), Picture(16, 16, filter="bilinear"))
    return max(frame.shown_seconds for _, frame in reader.read([tap])) + step
