"""The samplers: which frames are wanted, as pure arithmetic on presentation times."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from reelspace.core.frames import SamplerState
from reelspace.errors import InvalidArgument

__all__ = ["AtIndices", "AtRate", "AtTimes", "EveryFrame", "FfmpegRate", "Spaced"]

Rate = int | float | Fraction


def _require_rate(rate: Rate) -> None:
    if not (math.isfinite(rate) and rate > 0):
        raise InvalidArgument(f"a rate is a positive number of frames per second, got {rate}")


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """Every frame, once, at its own presentation time."""

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _Every()


@dataclass(slots=True)
class _Every:
    done: bool = field(default=False, init=False)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        return (time_seconds,)

    def finish(self) -> Sequence[float]:
        return ()


@dataclass(frozen=True, slots=True)
class Spaced:
    """Frames at their own presentation times, those that come too soon after another left out.

    Attributes:
        least_seconds: between two frames. Up to 2 ms less is let pass: containers round timestamps, Matroska to a
            millisecond.

    Raises:
        InvalidArgument: when it is negative or not finite.
    """

    least_seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.least_seconds < math.inf:
            raise InvalidArgument(f"frames are a finite number of seconds apart, got {self.least_seconds}")

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _Spacing(self.least_seconds - 0.002)


@dataclass(slots=True)
class _Spacing:
    least_seconds: float
    last_seconds: float = -math.inf
    done: bool = field(default=False, init=False)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        if time_seconds - self.last_seconds < self.least_seconds:
            return ()
        self.last_seconds = time_seconds
        return (time_seconds,)

    def finish(self) -> Sequence[float]:
        return ()


@dataclass(frozen=True, slots=True)
class AtTimes:
    """The frame on screen at each given second.

    A frame is on screen from its own time until the next one's. Times before the first frame get the first, times
    after the last get the last.

    Attributes:
        times_seconds: not decreasing.

    Raises:
        InvalidArgument: when a time is not finite or the times decrease.
    """

    times_seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_seconds", tuple(float(time) for time in self.times_seconds))
        if not all(math.isfinite(time) for time in self.times_seconds):
            raise InvalidArgument(f"times are finite seconds, got {list(self.times_seconds)}")
        if any(b < a for a, b in zip(self.times_seconds, self.times_seconds[1:], strict=False)):
            raise InvalidArgument("times do not decrease; sort them first, or use frames_at of a reader")

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _Times(self.times_seconds)


@dataclass(slots=True)
class _Times:
    times: tuple[float, ...]
    position: int = 0

    @property
    def done(self) -> bool:
        return self.position == len(self.times)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        first = self.position
        while self.position < len(self.times) and self.times[self.position] < until_seconds:
            self.position += 1
        return self.times[first : self.position]

    def finish(self) -> Sequence[float]:
        first, self.position = self.position, len(self.times)
        return self.times[first:]


@dataclass(frozen=True, slots=True)
class AtIndices:
    """The k-th frame in the order of presentation, counted from 0, for each k; at its own presentation time.

    A k that is listed twice is handed out twice; one after the last frame gets the last.

    Attributes:
        indices: not decreasing.
        to_end: whether the pass goes on when all were handed out, so that a reader notices a missing end.

    Raises:
        InvalidArgument: when an index is negative or the indices decrease.
    """

    indices: tuple[int, ...]
    to_end: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", tuple(int(index) for index in self.indices))
        if any(b < a for a, b in zip((0, *self.indices), self.indices, strict=False)):
            raise InvalidArgument(f"indices count from 0 and do not decrease, got {list(self.indices)}")

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _Indices(self.indices, self.to_end)


@dataclass(slots=True)
class _Indices:
    indices: tuple[int, ...]
    to_end: bool = False
    position: int = 0
    pushed: int = 0
    last_seconds: float = 0.0

    @property
    def done(self) -> bool:
        return self.position == len(self.indices) and not self.to_end

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        first = self.position
        while self.position < len(self.indices) and self.indices[self.position] == self.pushed:
            self.position += 1
        self.pushed += 1
        self.last_seconds = time_seconds
        return (time_seconds,) * (self.position - first)

    def finish(self) -> Sequence[float]:
        first, self.position = self.position, len(self.indices)
        return (self.last_seconds,) * (self.position - first)


@dataclass(frozen=True, slots=True)
class AtRate:
    """The frame on screen at ``k / rate`` seconds for k = 0, 1, ... while the video lasts.

    Attributes:
        rate: frames per second; a `Fraction` such as ``Fraction(30000, 1001)`` is kept exact.
        at_least: how many frames there are at least: after a video that gives fewer, its last one stands on.

    Raises:
        InvalidArgument: when the rate is not a positive finite number.
    """

    rate: Rate
    at_least: int = 0

    def __post_init__(self) -> None:
        _require_rate(self.rate)

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _Grid(self.rate, self.at_least)


@dataclass(slots=True)
class _Grid:
    rate: Rate
    at_least: int = 0
    next: int = 0
    done: bool = field(default=False, init=False)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        times = []
        while (time := float(self.next / self.rate)) < until_seconds:
            times.append(time)
            self.next += 1
        return times

    def finish(self) -> Sequence[float]:
        first, self.next = self.next, max(self.next, self.at_least)
        return [float(k / self.rate) for k in range(first, self.next)]


@dataclass(frozen=True, slots=True)
class FfmpegRate:
    """The frames ``ffmpeg -r RATE`` writes to a raw pipe: constant rate by its own rule of dropping and repeating.

    It is not "the frame on screen": from 30 to 15 frames per second it keeps frames 0, 1, 2, 3, 5, 7, 9, ... The
    output has no gaps: the k-th frame handed out is at ``k / rate`` seconds.

    Attributes:
        rate: frames per second.
        durations: how long a frame lasts in units of the output: ``exact``, as ffmpeg 9.0.2 takes it (the
            default), or ``rounded`` to a whole number unless that is 0, as ffmpeg 5.1 does. Both choose the same
            frames at 15, 30, 50 and 60 frames per second, and different ones at 10, 12, 24, 25 and 29.97.

    Raises:
        InvalidArgument: when the rate is not a positive finite number, or the rule is not known.

    Source: the rule in `video_sync_process` of fftools, found equal frame by frame for constant rates from 10 to
    60 (tests/parity/test_ffmpeg_frame_select.py).
    """

    rate: Rate
    durations: Literal["exact", "rounded"] = "exact"

    def __post_init__(self) -> None:
        _require_rate(self.rate)
        if self.durations not in {"exact", "rounded"}:
            raise InvalidArgument(f"durations are 'exact' or 'rounded', got {self.durations!r}")

    def start(self) -> SamplerState:
        """Fresh state for one pass."""
        return _FfmpegGrid(self.rate, rounded=self.durations == "rounded")


# Frames closer to their slot than this are neither dropped nor repeated.
_TOLERANCE = 1.1


@dataclass(slots=True)
class _FfmpegGrid:
    """One output slot is ``1 / rate`` seconds; all quantities below are in slots.

    ffmpeg decides at frame i how many slots to fill with frame i - 1 before it. Those are handed out here when
    frame i - 1 itself is pushed: they depend on frame i only through its time, which is known by then.
    """

    rate: Rate
    rounded: bool
    next: int = 0
    started: bool = False
    repeats_before: deque[int] = field(default_factory=lambda: deque([0, 0, 0], maxlen=3))
    done: bool = field(default=False, init=False)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:
        late = self._slot(time_seconds) - self.next
        duration = float(duration_seconds * self.rate)
        if self.rounded and round(duration) > 0:
            duration = round(duration)
        ahead = late + duration
        if late < 0 < ahead:  # the clamp leaves `ahead` as it was
            late = 0.0
        count, before = 1, 0
        if ahead < -_TOLERANCE:
            count = 0
        elif ahead > _TOLERANCE:
            count = round(ahead)
            if late > _TOLERANCE:
                before = min(round(late - 0.6), count)
        self.repeats_before.append(before)
        # The slots filled with the frame before were handed out with it; the very first frame has none before it.
        first = self.next + (before if self.started else 0)
        self.next += count
        self.started = True
        late = self._slot(until_seconds) - self.next
        return self._times(first, self.next + (max(0, round(late - 0.6)) if late > _TOLERANCE else 0))

    def finish(self) -> Sequence[float]:
        # Nothing was handed out ahead with the last frame: its `until_seconds` is its own end, within tolerance.
        first, self.next = self.next, self.next + sorted(self.repeats_before)[1]
        return self._times(first, self.next)

    def _slot(self, seconds: float) -> float:
        """Time in slots, on ffmpeg's grid of 2**-16 and moved off exact midpoints as it does."""
        slot = round(float(seconds * self.rate) * 65536) / 65536
        return slot if slot == round(slot) else slot + math.copysign(2**-17, slot)

    def _times(self, first: int, end: int) -> list[float]:
        return [float(slot / self.rate) for slot in range(first, end)]
