"""Decoding with PyAV: one pass over a file, any number of takers, no frame decoded that nobody needs."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from heapq import heappop, heappush
from itertools import islice
from types import TracebackType
from typing import Literal, Self

import av
import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Picture, SamplerState, Tap
from reelspace.core.sampling import AtRate, AtTimes, EveryFrame
from reelspace.core.video import Video
from reelspace.errors import InvalidArgument, MediaError
from reelspace.media.orientation import Orientation
from reelspace.media.pictures import PictureMaker
from reelspace.media.pyav_stream import Clock, OpenedStream, Packet, Shown, Timing

__all__ = ["PyAVReader"]

_AS_DISPLAYED = Picture()
_REORDERING = 16  # frames that may be decoded before and shown after another (H.264 A.3, HEVC A.4: MaxDpbFrames)
_MOST_WAITING = 8 * _REORDERING  # packets; more says that the rule above is broken
_WORTH_A_SEEK = 4  # frames that need not be decoded
_WORTH_A_BLIND_SEEK_SECONDS = 5.0  # without an index a seek may lead back to where one is
_STEP_BACK_SECONDS = 1.0


class _OutOfStep(Exception):
    """The packets' timestamps did not foretell the frames: decode plainly instead."""


class PyAVReader:
    """A `VideoReader` on PyAV.

    Frames that no tap wants and no other frame refers to are not decoded, where the codec allows that exactly. In
    such a frame damage goes unnoticed; any other irregularity makes the pass start again, decoding everything.

    Attributes:
        video: what the container says.

    Raises:
        CannotOpen, NoVideoStream, DecodeFailed: on opening.
    """

    def __init__(self, source: str | os.PathLike[str], *, fast: bool = False, threads: int = 1) -> None:
        if threads < 1:
            raise InvalidArgument(f"decoding takes at least one thread, got {threads}")
        self._source = os.fspath(source)
        self._fast = fast
        self._threads = threads
        self._closed = False
        self._in_use: set[OpenedStream] = set()
        try:
            opened, packet, frame = self._look()
            self._orientation = Orientation.of(frame)
            self.video: Video = opened.describe(frame, self._orientation)
            self._timing = opened.timing(packet, self.video)
        except BaseException:
            self.close()
            raise
        self._foretells = opened.strict and not self._timing.counted
        self._fresh: OpenedStream | None = opened

    @property
    def decode_mode(self) -> Literal["exact", "fast"]:
        """``fast`` when opened so: its times and pixels differ, and vectors of the two are not to be mixed."""
        return "fast" if self._fast else "exact"

    def close(self) -> None:
        """Closes every container; further reads raise. Closing twice is harmless."""
        self._closed = True
        while self._in_use:
            self._in_use.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── the contract ──

    def read(self, taps: Sequence[Tap]) -> Iterator[tuple[int, Frame]]:
        """One decode for all ``taps``; see `VideoReader.read`."""
        with contextlib.closing(self._cursor()) as cursor:
            yield from self._read_from(cursor, taps, cursor.go(None))

    def count_frames(self) -> int:
        """How many frames `frames` gives; see `VideoReader.count_frames`."""
        if self._closed:
            raise InvalidArgument(f"{self._source}: the reader is closed; open the video again")
        opened = self._open(strict=False)
        try:
            return opened.count_frames()
        finally:
            self._give_back(opened)

    def frames(self, picture: Picture = _AS_DISPLAYED) -> Iterator[Frame]:
        """Every frame."""
        return (frame for _, frame in self.read([Tap(EveryFrame(), picture)]))

    def frames_at_rate(
        self, frames_per_second: float | Fraction, picture: Picture = _AS_DISPLAYED
    ) -> Iterator[Frame]:
        """The frame on screen at ``k / frames_per_second`` seconds for k = 0, 1, ... while the video lasts."""
        return (frame for _, frame in self.read([Tap(AtRate(frames_per_second), picture)]))

    def frames_at(self, times_seconds: Sequence[float], picture: Picture = _AS_DISPLAYED) -> Iterator[Frame]:
        """The frame on screen at each time, by seeking; see `VideoReader.frames_at`.

        Times asked in order are handed out as they are decoded; otherwise all pictures are made before the first is
        handed out.
        """
        order = sorted(range(len(times_seconds)), key=times_seconds.__getitem__)
        in_order = self._frames_at(AtTimes(tuple(times_seconds[index] for index in order)), picture)
        return in_order if order == list(range(len(order))) else _rearranged(in_order, order)

    # ── opened containers ──

    def _look(self) -> tuple[OpenedStream, Packet, av.VideoFrame]:
        """Opens and decodes to the first picture; strictly, unless already that fails."""
        opened = self._open(strict=not self._fast)
        if opened.strict:
            with contextlib.suppress(MediaError):
                packet, frame = opened.first_frame()
                if not opened.failures:
                    return opened, packet, frame
            self._give_back(opened)
            opened = self._open(strict=False)
        return opened, *opened.first_frame()

    def _open(self, *, strict: bool) -> OpenedStream:
        opened = OpenedStream(self._source, fast=self._fast, strict=strict, threads=self._threads)
        self._in_use.add(opened)
        return opened

    def _take(self, *, strict: bool) -> OpenedStream:
        """A stream standing at its beginning; at first the one that was opened to look at the first picture."""
        if self._closed:
            raise InvalidArgument(f"{self._source}: the reader is closed; open the video again")
        fresh, self._fresh = self._fresh, None
        if fresh is not None and fresh.strict != strict:
            self._give_back(fresh)
            fresh = None
        return fresh or self._open(strict=strict)

    def _give_back(self, opened: OpenedStream) -> None:
        self._in_use.discard(opened)
        opened.close()

    # ── passes ──

    def _read_from(self, cursor: _Cursor, taps: Sequence[Tap], since: int | None) -> Iterator[tuple[int, Frame]]:
        """One pass from where the cursor stands: the keyframe shown at ``since`` ticks, or the beginning."""
        handed_out = 0
        while cursor.foretells:
            ahead = _ReadAhead(cursor.opened, self._timing, self._takers(taps), since)
            try:
                for item in islice(ahead.run(), handed_out, None):
                    yield item
                    handed_out += 1
            except _OutOfStep:
                if since is None or not cursor.warm_up(since):
                    cursor.distrust()
                    since = None
            else:
                if ahead.end is not None:
                    self._require_whole(cursor.opened, ahead.end, since)
                return
        # All ways hand out the same, up to where something went wrong.
        yield from islice(self._read_plainly(cursor.opened, self._takers(taps), since), handed_out, None)

    def _cursor(self) -> _Cursor:
        return _Cursor(self._take, self._give_back, self._timing, foretells=self._foretells)

    def _takers(self, taps: Sequence[Tap]) -> _Takers:
        makers = {tap.picture: PictureMaker(tap.picture, self.video, self._orientation) for tap in taps}
        return _Takers([(tap.sampler.start(), makers[tap.picture]) for tap in taps], self._timing)

    def _read_plainly(
        self, opened: OpenedStream, takers: _Takers, since: int | None
    ) -> Iterator[tuple[int, Frame]]:
        """Decodes every frame and asks the samplers then; a frame waits for the next one, which ends it.

        After a seek, frames before the keyframe ``since`` may lack what they refer to, and are left out.
        """
        waiting: Shown | None = None
        for shown in opened.frames(Clock(self._timing)):
            if since is not None and shown.ticks < since:
                continue
            if waiting is not None:
                wants = takers.judge(waiting.ticks, shown.ticks, waiting.duration)
                yield from takers.deliver(waiting.frame, waiting.ticks, wants)
            waiting = shown
            if takers.done:
                return
        if waiting is None:
            raise opened.without_picture()
        end = waiting.ticks + waiting.duration
        wants = takers.judge(waiting.ticks, end, waiting.duration, last=True)
        yield from takers.deliver(waiting.frame, waiting.ticks, wants)
        self._require_whole(opened, end, since)

    def _require_whole(self, opened: OpenedStream, end: int, since: int | None) -> None:
        opened.require_whole(self.video, self._timing.seconds(end), counted_all=since is None)

    def _frames_at(self, at: AtTimes, picture: Picture) -> Iterator[Frame]:
        """Runs of times, each decoded on from a keyframe; a new run begins where a seek saves decoding."""
        times = at.times_seconds
        with contextlib.closing(self._cursor()) as cursor:
            start = 0
            while start < len(times):
                seeks = start > 0 or cursor.saves(0.0, times[0])
                # Some containers read their index at the first seek: look at the next times after it.
                since = cursor.go(times[start] if seeks else None)
                end = start + 1
                while end < len(times) and not cursor.saves(times[end - 1], times[end]):
                    end += 1
                tap = Tap(AtTimes(times[start:end]), picture)
                for _, frame in self._read_from(cursor, [tap], since):
                    yield frame
                start = end


def _rearranged(frames: Iterator[Frame], order: list[int]) -> Iterator[Frame]:
    """Hands out the frame that came as the k-th in place ``order[k]``."""
    found = dict(zip(order, frames, strict=True))
    for index in range(len(order)):
        yield found.pop(index)


class _Cursor:
    """A place in a video: at its beginning or at a keyframe.

    Attributes:
        opened: the stream, standing there.
        foretells: whether it is opened strictly, and its packets are believed.
    """

    def __init__(
        self,
        take: Callable[..., OpenedStream],
        give_back: Callable[[OpenedStream], None],
        timing: Timing,
        *,
        foretells: bool,
    ) -> None:
        self._take, self._give_back, self._timing = take, give_back, timing
        self.foretells = foretells
        self._seeks = not timing.counted  # after a seek nobody could tell how many frames were shown before
        self.opened = take(strict=foretells)
        self._at_beginning = True
        self._warmed_up: int | None = None

    def close(self) -> None:
        self._give_back(self.opened)

    def distrust(self) -> None:
        """Goes to the beginning for good: what a decoder makes of damage depends on all that came before."""
        self.foretells = self._seeks = False
        self._reopen()
        self._at_beginning = False

    def warm_up(self, since: int) -> bool:
        """Goes a keyframe further back than ``since``, once: False when that was done already.

        Frames behind the keyframe of an open group may name, though not use, frames from before it, and a strict
        decoder stumbles over that.
        """
        if self._warmed_up == since:
            return False
        self._warmed_up = since
        if self._seek(since + self._timing.zero - 1) is None:
            self._reopen()
        return True

    def go(self, seconds: float | None) -> int | None:
        """Goes to a keyframe shown at or before ``seconds``: its ticks; None for the beginning, the last resort."""
        found = None if seconds is None else self._seek(self._stamp(seconds))
        if found is None and not self._at_beginning:
            self._reopen()
        self._at_beginning = False
        return found

    def _reopen(self) -> None:
        self.close()
        self.opened = self._take(strict=self.foretells)

    def saves(self, standing_seconds: float, wanted_seconds: float) -> bool:
        """Whether a seek spares decoding, when everything before ``standing_seconds`` is decoded already."""
        if not self._seeks:
            return False
        keyframe = self.opened.keyframe_before(self._stamp(wanted_seconds))
        if keyframe is None:
            return wanted_seconds - standing_seconds > _WORTH_A_BLIND_SEEK_SECONDS
        return keyframe - self._stamp(standing_seconds) > _WORTH_A_SEEK * self._timing.nominal

    def _seek(self, target: int) -> int | None:
        """Steps further and further back until the keyframe found is shown no later than ``target``."""
        self._at_beginning = False
        wanted = target
        step = max(1, round(_STEP_BACK_SECONDS / self._timing.base))
        while wanted > self._timing.zero:
            found = self.opened.seek(wanted)
            if found is not None and found[0] <= target:
                return found[0] - self._timing.zero
            wanted = (wanted if found is None else min(wanted, found[1])) - step
            step *= 2
        return None

    def _stamp(self, seconds: float) -> int:
        """The container's own timestamp of a time."""
        return math.floor(seconds / self._timing.base) + self._timing.zero


class _Takers:
    """The taps of one pass: the states of their samplers and the makers of their pictures, shared where equal."""

    def __init__(self, taps: Sequence[tuple[SamplerState, PictureMaker]], timing: Timing) -> None:
        self._taps = taps
        self._seconds = timing.seconds

    @property
    def done(self) -> bool:
        """Whether nobody wants another frame."""
        return all(state.done for state, _ in self._taps)

    def judge(self, ticks: int, until: int, duration: int, *, last: bool = False) -> list[Sequence[float]]:
        """For each tap the grid times at which it takes the frame shown at ``ticks``."""
        times = self._seconds(ticks), self._seconds(until), self._seconds(duration)
        wants: list[Sequence[float]] = []
        for state, _ in self._taps:
            taken = () if state.done else state.push(*times)
            wants.append([*taken, *state.finish()] if last else taken)
        return wants

    def deliver(
        self, frame: av.VideoFrame, ticks: int, wants: list[Sequence[float]]
    ) -> Iterator[tuple[int, Frame]]:
        """The frame for each tap that wants it, once for each grid time."""
        shown = self._seconds(ticks)
        made: dict[PictureMaker, NDArray[np.uint8]] = {}
        for index, ((_, maker), times) in enumerate(zip(self._taps, wants, strict=True)):
            if times and maker not in made:
                made[maker] = maker(frame)
            for time in times:
                yield index, Frame(time, shown, made[maker])


class _ReadAhead:
    """Asks the samplers about packets before they are decoded, so that the decoder may leave out unwanted frames.

    A frame's turn is settled once more than 16 packets are read that are shown after the *next* frame: no decoder
    reorders further, so no later packet comes between the two. Until then packets wait. Decoding times are not
    relied on; some files state them wrongly.
    """

    def __init__(self, opened: OpenedStream, timing: Timing, takers: _Takers, since: int | None) -> None:
        self._opened, self._timing, self._takers = opened, timing, takers
        self._since = -sys.maxsize if since is None else since
        self._waiting: deque[Packet] = deque()
        self._turns: list[tuple[int, int]] = []  # a heap of (ticks, duration) of packets not judged yet
        self._judged: dict[int, list[Sequence[float]]] = {}
        self._owed: deque[int] = deque()  # ticks of wanted frames that have not come out yet
        self._latest = -sys.maxsize
        self.end: int | None = None  # of the last frame, once it was judged

    def run(self) -> Iterator[tuple[int, Frame]]:
        """What the takers want.

        Raises:
            _OutOfStep: when something does not come as the timestamps foretold; all that was handed out is right.
        """
        for packet in self._opened.packets():
            self._line_up(packet)
            while self._waiting and self._is_settled(self._waiting[0]):
                yield from self._decode(self._waiting.popleft())
            if self._takers.done and not self._owed:
                return
        if self._owed or self.end is None:
            raise _OutOfStep

    def _line_up(self, packet: Packet) -> None:
        self._waiting.append(packet)
        if not packet.size:
            while self._turns:
                self._judge_next()
            return
        if len(self._waiting) > _MOST_WAITING:
            raise _OutOfStep
        if not packet.is_discard:
            heappush(self._turns, (self._ticks(packet), packet.duration or self._timing.nominal))
        while len(self._turns) > 2 + _REORDERING:
            self._judge_next()

    def _judge_next(self) -> None:
        ticks, duration = heappop(self._turns)
        last = not self._turns
        until = ticks + duration if last else self._turns[0][0]
        if ticks <= self._latest or until - ticks > self._timing.gap:
            raise _OutOfStep
        self._latest = ticks
        self._judged[ticks] = wants = self._takers.judge(ticks, until, duration, last=last)
        if any(wants):
            self._owed.append(ticks)
        if last:
            self.end = until

    def _is_settled(self, packet: Packet) -> bool:
        return not packet.size or packet.is_discard or self._ticks(packet) in self._judged

    def _ticks(self, stamped: Packet | av.VideoFrame) -> int:
        if stamped.pts is None:
            raise _OutOfStep
        return stamped.pts - self._timing.zero

    def _decode(self, packet: Packet) -> Iterator[tuple[int, Frame]]:
        wanted = packet.size and any(self._judged.get(self._ticks(packet), ()))
        failures = self._opened.failures
        for frame in self._opened.decode(packet, skip=not wanted):
            ticks = self._ticks(frame)
            wants = self._judged.pop(ticks, None)
            if wants is None:
                raise _OutOfStep
            if any(wants):
                if self._owed.popleft() != ticks:
                    raise _OutOfStep
                yield from self._takers.deliver(frame, ticks, wants)
            # What should have been shown before this frame was left out, as nobody wanted it.
            for passed in [time for time in self._judged if time < ticks]:
                del self._judged[passed]
        if self._opened.failures > failures and not self._lacks_references(packet):
            raise _OutOfStep

    def _lacks_references(self, packet: Packet) -> bool:
        """After a seek: what is shown before the keyframe may refer to what was jumped over. Nobody wants it."""
        return packet.size > 0 and self._ticks(packet) < self._since
