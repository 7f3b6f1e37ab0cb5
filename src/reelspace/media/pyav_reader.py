"""Decoding with PyAV: one pass over a file, any number of takers, no frame decoded that nobody needs."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import av
import av.container
import av.video.stream

from reelspace.core.frames import Frame, Picture, SamplerState, Tap
from reelspace.core.sampling import AtRate, AtTimes, EveryFrame
from reelspace.core.video import Video
from reelspace.errors import CannotOpen, DecodeFailed, InvalidArgument, MediaError, NoVideoStream, Truncated
from reelspace.media.orientation import Orientation
from reelspace.media.pictures import PictureMaker

__all__ = ["PyAVReader"]

# Codecs whose decoder, told to skip frames nobody refers to, gives every other frame bit for bit. HEVC is one of
# them only without temporal layers: a layer's "non-reference" frame may be referred to by the layer above it.
_SKIPS_EXACTLY = frozenset({"h264", "hevc", "mpeg4"})

# Containers that store no presentation times: a frame's time is that of its turn among the decoding times.
_WITHOUT_PRESENTATION_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo"})

_LONGEST_REORDERING = 128  # packets read ahead before giving up to find the order of presentation
_HOPELESS = 500  # packets in a row without a picture before a stream is given up
_LONGEST_GAP_SECONDS = 3600.0  # a jump of the timestamps beyond this is an error of the timestamps


class _Shown(NamedTuple):
    """A decoded frame with its presentation time, all in ticks of the stream's time base, from time zero."""

    frame: av.VideoFrame
    ticks: int
    duration: int


class _OutOfStep(Exception):  # noqa: N818
    """The packets' timestamps did not foretell the frames: decode plainly instead."""


class _Opened:
    """One container with its video stream, opened and standing at its beginning."""

    def __init__(self, source: str, *, fast: bool, threads: int) -> None:
        self.source = source
        self.closed = False
        self._files = contextlib.ExitStack()
        try:
            self.container = _open(source, self._files)
            self.stream = _choose_stream(source, self.container)
            self._prepare(fast=fast, threads=threads)
        except BaseException:
            self._files.close()
            raise
        # What was decoded while looking for the first picture, to be decoded no second time.
        self._decoded: deque[tuple[av.Packet, list[av.VideoFrame]]] = deque()
        self._packets = iter(self.container.demux(self.stream))
        self.failed_packets = 0
        self.failed_since_last_picture = 0
        self.packets_read = 0
        self.stopped: str | None = None

    def _prepare(self, *, fast: bool, threads: int) -> None:
        codec = self.stream.codec_context
        codec.thread_type = "NONE" if threads == 1 else "FRAME"
        codec.thread_count = threads
        # Filled-in times are guesses: without them a container that stores none is recognised.
        self.container.flags &= ~av.container.Flags.gen_pts.value
        if fast:
            codec.options = {"skip_loop_filter": "all"}
            codec.skip_frame = "NONREF"

    def close(self) -> None:
        self.closed = True
        self._files.close()

    def packets(self) -> Iterator[av.Packet]:
        """Packets of the video stream in the order of decoding, ending with the empty one that flushes."""
        for packet, _ in list(self._decoded):
            yield packet
        while not self.closed:
            try:
                packet = next(self._packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self.stopped = _short(error)
                flush = av.Packet()
                flush.stream = self.stream
                yield flush
                return
            self.packets_read += packet.size > 0
            yield packet

    def decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        """The pictures that come out when ``packet`` goes in; none for a packet that cannot be decoded."""
        if self._decoded and self._decoded[0][0] is packet:
            return self._decoded.popleft()[1]
        if self.closed:
            raise InvalidArgument(f"{self.source}: the reader is closed; open the video again")
        try:
            frames = self.stream.codec_context.decode(packet if packet.size else None)
        except (av.FFmpegError, OSError):
            self.failed_packets += 1
            self.failed_since_last_picture += 1
            return []
        if frames:
            self.failed_since_last_picture = 0
        return frames

    def first_frame(self) -> av.VideoFrame:
        """Decodes to the first picture, and keeps what came by for the pass that follows."""
        for packet in self.packets():
            if packet.size and (
                packet.has_sidedata("encryption_info") or packet.has_sidedata("encryption_init_info")
            ):
                raise CannotOpen(self.source, "encrypted")
            frames = self.decode(packet)
            self._decoded.append((packet, frames))
            if frames:
                return frames[0]
            if self.failed_packets >= _HOPELESS:
                break
        if not self.packets_read:
            raise DecodeFailed(self.source, "no pictures: the video stream holds no samples")
        raise DecodeFailed(
            self.source, f"no picture decodes: {self.failed_packets} of {self.packets_read} packets are damaged"
        )


class PyAVReader:
    """A `VideoReader` on PyAV.

    Attributes:
        decode_mode: ``exact``, or ``fast`` when opened so: frames no other frame refers to are left out and the
            decoder's loop filter is off, so times and pixels differ. Vectors of the two are not to be mixed.

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
        self._fresh: _Opened | None = self._open()
        self._in_use: set[_Opened] = {self._fresh}
        try:
            first = self._fresh.first_frame()
            self._orientation = Orientation.of(first)
            self.video = _describe(self._source, self._fresh, first, self._orientation)
        except BaseException:
            self.close()
            raise

    @property
    def decode_mode(self) -> str:
        return "fast" if self._fast else "exact"

    def close(self) -> None:
        """Closes every container; further reads raise."""
        self._closed = True
        for opened in list(self._in_use):
            opened.close()
        self._in_use.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def frames(self, picture: Picture = Picture()) -> Iterator[Frame]:  # noqa: B008
        """Every frame."""
        return (frame for _, frame in self.read([Tap(EveryFrame(), picture)]))

    def frames_at_rate(self, frames_per_second: float | Fraction, picture: Picture = Picture()) -> Iterator[Frame]:  # noqa: B008
        """The frame on screen at ``k / frames_per_second`` seconds."""
        return (frame for _, frame in self.read([Tap(AtRate(frames_per_second), picture)]))

    def frames_at(self, times_seconds: Sequence[float], picture: Picture = Picture()) -> Iterator[Frame]:  # noqa: B008
        """The frame on screen at each time."""
        order = sorted(range(len(times_seconds)), key=times_seconds.__getitem__)
        times = AtTimes(tuple(times_seconds[i] for i in order))
        found = [frame for _, frame in self.read([Tap(times, picture)])]
        yield from (found[order.index(i)] for i in range(len(order)))

    def read(self, taps: Sequence[Tap]) -> Iterator[tuple[int, Frame]]:
        """One decode for all ``taps``; see `VideoReader.read`."""
        handed_out = 0
        if not self._fast:
            try:
                for item in self._read(taps, ahead=True):
                    yield item
                    handed_out += 1
            except _OutOfStep:
                pass
            else:
                return
        # Both ways hand out the same frames up to the point where the timestamps stopped foretelling them.
        for number, item in enumerate(self._read(taps, ahead=False)):
            if number >= handed_out:
                yield item

    def _read(self, taps: Sequence[Tap], *, ahead: bool) -> Iterator[tuple[int, Frame]]:
        opened = self._take()
        try:
            clock = _Clock(opened, self.video)
            if ahead and not clock.foretells():
                raise _OutOfStep
            takers = _Takers(taps, self.video, self._orientation, clock)
            way = _read_ahead if ahead else _read_plainly
            yield from way(opened, clock, takers)
        finally:
            self._in_use.discard(opened)
            opened.close()

    def _take(self) -> _Opened:
        if self._closed:
            raise InvalidArgument(f"{self._source}: the reader is closed; open the video again")
        opened, self._fresh = self._fresh or self._open(), None
        self._in_use.add(opened)
        return opened

    def _open(self) -> _Opened:
        return _Opened(self._source, fast=self._fast, threads=self._threads)


class _Clock:
    """Presentation times of one pass, in ticks from time zero: strictly increasing, whatever the file says."""

    def __init__(self, opened: _Opened, video: Video) -> None:
        stream = opened.stream
        self.opened = opened
        self.base = Fraction(stream.time_base or Fraction(1, av.time_base))
        self.zero = _start_ticks(opened)
        rate = video.frame_rate
        self.nominal = max(1, round(1 / (rate * self.base))) if rate else max(1, round(Fraction(1, 25) / self.base))
        self.gap = round(Fraction(_LONGEST_GAP_SECONDS) / self.base)
        self.counted = opened.container.format.name in _WITHOUT_PRESENTATION_TIMES
        self.turns: deque[int] = deque()
        self.last: int | None = None
        self.shift = 0

    def seconds(self, ticks: int) -> float:
        return ticks * self.base.numerator / self.base.denominator

    def foretells(self) -> bool:
        """Whether packets say when frames are shown and the decoder can leave out the others exactly."""
        codec = self.opened.stream.codec_context
        if self.counted or codec.name not in _SKIPS_EXACTLY:
            return False
        if codec.name == "hevc" and _temporal_layers(codec.extradata) != 1:
            return False
        # Two fields of a frame may come as two packets, one referred to and one not.
        return codec.field_order in _WHOLE_FRAMES

    def note(self, packet: av.Packet) -> None:
        """Takes down the turn of a packet about to be decoded."""
        if packet.size and packet.dts is not None and not packet.is_discard:
            self.turns.append(packet.dts)

    def forget(self) -> None:
        """The packet noted last gave no frame and will not."""
        if self.turns:
            self.turns.pop()

    def show(self, frame: av.VideoFrame) -> _Shown:
        """The frame with its time; frames come in the order of presentation."""
        duration = frame.duration if frame.duration and frame.duration > 0 else self.nominal
        turn = self.turns.popleft() if self.turns else None
        stamp = turn if self.counted else frame.pts
        following = None if self.last is None else self.last + self.nominal
        if stamp is None:
            ticks = 0 if following is None else following
        else:
            ticks = stamp - self.zero + self.shift
            if self.last is not None and following is not None:
                if abs(ticks - following) > self.gap:
                    self.shift += following - ticks
                    ticks = following
                ticks = max(ticks, self.last + 1)
        self.last = ticks
        return _Shown(frame, ticks, duration)


_WHOLE_FRAMES = frozenset({0, 1})  # unknown, progressive


class _Takers:
    """The taps of one pass: their samplers' states, and one maker for each different picture."""

    def __init__(self, taps: Sequence[Tap], video: Video, orientation: Orientation, clock: _Clock) -> None:
        self.clock = clock
        self.states: list[SamplerState] = [tap.sampler.start() for tap in taps]
        makers = {tap.picture: PictureMaker(tap.picture, video, orientation) for tap in taps}
        self.makers = [makers[tap.picture] for tap in taps]

    @property
    def done(self) -> bool:
        return all(state.done for state in self.states)

    def judge(self, ticks: int, until: int, duration: int, *, last: bool = False) -> list[Sequence[float]]:
        """For each tap the grid times at which it takes the frame shown at ``ticks``."""
        seconds = self.clock.seconds
        wants: list[Sequence[float]] = []
        for state in self.states:
            times = () if state.done else state.push(seconds(ticks), seconds(until), seconds(duration))
            wants.append([*times, *state.finish()] if last else times)
        return wants

    def deliver(
        self, frame: av.VideoFrame, ticks: int, wants: list[Sequence[float]]
    ) -> Iterator[tuple[int, Frame]]:
        shown = self.clock.seconds(ticks)
        made: dict[int, Frame] = {}
        for index, (times, maker) in enumerate(zip(wants, self.makers, strict=True)):
            if times and id(maker) not in made:
                made[id(maker)] = Frame(shown, shown, maker(frame))
            for time in times:
                yield index, made[id(maker)]._replace(time_seconds=time)


def _read_plainly(opened: _Opened, clock: _Clock, takers: _Takers) -> Iterator[tuple[int, Frame]]:
    """Decodes every frame and asks the samplers then; a frame waits for the next one, which ends it."""
    waiting: _Shown | None = None
    count = 0
    for shown in _decode(opened, clock):
        count += 1
        if waiting is not None:
            wants = takers.judge(waiting.ticks, shown.ticks, waiting.duration)
            yield from takers.deliver(waiting.frame, waiting.ticks, wants)
        waiting = shown
        if takers.done:
            return
    if waiting is None:
        raise DecodeFailed(opened.source, "no picture decodes")
    wants = takers.judge(waiting.ticks, waiting.ticks + waiting.duration, waiting.duration, last=True)
    yield from takers.deliver(waiting.frame, waiting.ticks, wants)
    _require_whole(opened, count, clock)


def _decode(opened: _Opened, clock: _Clock) -> Iterator[_Shown]:
    for packet in opened.packets():
        clock.note(packet)
        failed = opened.failed_packets
        frames = opened.decode(packet)
        if opened.failed_packets > failed:
            clock.forget()
        for frame in frames:
            yield clock.show(frame)


def _read_ahead(opened: _Opened, clock: _Clock, takers: _Takers) -> Iterator[tuple[int, Frame]]:
    """Asks the samplers about packets, before decoding them, so that the decoder may leave out unwanted frames.

    A frame's turn is settled once a packet has been read that decodes no earlier than the *next* frame is shown:
    no later packet can come between the two. Until then packets wait.
    """
    codec = opened.stream.codec_context
    waiting: deque[av.Packet] = deque()
    turns: list[tuple[int, int]] = []  # a heap of (ticks, duration) of packets not judged yet
    judged: dict[int, list[Sequence[float]]] = {}
    owed: deque[int] = deque()  # ticks of wanted frames, in order, that have not come out
    latest_judged: int | None = None
    count = 0

    def judge(*, last: bool) -> None:
        nonlocal latest_judged
        ticks, duration = heappop(turns)
        if latest_judged is not None and ticks <= latest_judged:
            raise _OutOfStep
        latest_judged = ticks
        duration = duration or clock.nominal
        until = turns[0][0] if turns else ticks + duration
        if until - ticks > clock.gap:
            raise _OutOfStep
        wants = takers.judge(ticks, until, duration, last=last)
        judged[ticks] = wants
        if any(wants):
            owed.append(ticks)

    def decode(packet: av.Packet) -> Iterator[tuple[int, Frame]]:
        nonlocal count
        if packet.size:
            wants = judged.get((packet.pts or 0) - clock.zero)
            codec.skip_frame = "DEFAULT" if wants and any(wants) else "NONREF"
        failed = opened.failed_packets
        for frame in opened.decode(packet):
            if frame.pts is None or frame.pts - clock.zero not in judged:
                raise _OutOfStep
            ticks = frame.pts - clock.zero
            count += 1
            wants = judged.pop(ticks)
            for early in [t for t in judged if t < ticks]:
                if any(judged.pop(early)):
                    raise _OutOfStep
            if any(wants):
                owed.popleft()
                yield from takers.deliver(frame, ticks, wants)
        if opened.failed_packets > failed:
            raise _OutOfStep

    for packet in opened.packets():
        waiting.append(packet)
        if packet.size:
            if packet.pts is None or len(waiting) > _LONGEST_REORDERING:
                raise _OutOfStep
            if not packet.is_discard:
                heappush(turns, (packet.pts - clock.zero, packet.duration or 0))
            while len(turns) > 1 and packet.dts is not None and _second(turns) <= packet.dts - clock.zero:
                judge(last=False)
        else:
            while turns:
                judge(last=len(turns) == 1)
        while waiting and (
            not waiting[0].size or waiting[0].is_discard or (waiting[0].pts or 0) - clock.zero in judged
        ):
            yield from decode(waiting.popleft())
        if takers.done and not owed:
            return
    if owed:
        raise _OutOfStep
    if latest_judged is None:
        raise DecodeFailed(opened.source, "no picture decodes")
    _require_whole(opened, count, clock)


def _second(heap: list[tuple[int, int]]) -> int:
    """The second smallest ticks of a heap of at least two."""
    return min(heap[1:3])[0]


def _require_whole(opened: _Opened, count: int, clock: _Clock) -> None:
    promised = opened.stream.frames
    if opened.container.format.name.startswith("mov") and opened.packets_read < promised:
        raise Truncated(opened.source, f"truncated: {opened.packets_read} of {promised} frames")


def _open(source: str, files: contextlib.ExitStack) -> av.container.InputContainer:
    target: str | BinaryIO = "file:" + source
    try:
        container = av.open(target)
    except FileNotFoundError as error:
        raise CannotOpen(source, "no such file") from error
    except PermissionError as error:
        raise CannotOpen(source, "permission denied") from error
    except (av.FFmpegError, OSError) as error:
        if Path(source).is_dir():
            raise CannotOpen(source, "a folder, not a file") from error
        if Path(source).stat().st_size == 0:
            raise CannotOpen(source, "empty file") from error
        raise CannotOpen(source, f"cannot open: {_short(error)}") from error
    files.callback(container.close)
    return container


def _choose_stream(source: str, container: av.container.InputContainer) -> av.video.stream.VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise NoVideoStream(source, "no video stream")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise CannotOpen(source, "no decoder for its video")

    def rank(stream: av.video.stream.VideoStream) -> tuple[bool, bool, int]:
        empty = stream.frames == 0 and len(stream.index_entries) == 0
        return empty, not stream.disposition & av.stream.Disposition.default, stream.index

    return min(known, key=rank)


def _describe(source: str, opened: _Opened, first: av.VideoFrame, orientation: Orientation) -> Video:
    stream, container = opened.stream, opened.container
    base = Fraction(stream.time_base or Fraction(1, av.time_base))
    zero = _start_ticks(opened)
    duration: float | None = None
    if stream.duration:
        duration = float((stream.duration + (stream.start_time or 0) - zero) * base)
    elif container.duration:
        duration = container.duration / av.time_base
    ratio = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 16) <= ratio <= 16:
        ratio = Fraction(1)
    width, height = max(1, round(first.width * ratio)), first.height
    if orientation.transposes:
        width, height = height, width
    return Video(
        source=source,
        duration_seconds=duration,
        frame_rate=stream.average_rate or None,
        width=width,
        height=height,
        rotation_degrees=orientation.rotation_degrees,
        mirrored=orientation.mirrored,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=first.format.name,
        container=container.format.name,
        frame_count=stream.frames or None,
        start_seconds=float(zero * base),
        size_bytes=container.size if container.size > 0 else None,
    )


def _start_ticks(opened: _Opened) -> int:
    """The container's first instant in the stream's ticks, rounded as the `ffmpeg` command does."""
    start = opened.container.start_time
    base = Fraction(opened.stream.time_base or Fraction(1, av.time_base))
    return round(Fraction(start, av.time_base) / base) if start else 0


def _temporal_layers(extradata: bytes | None) -> int:
    """How many temporal layers an hvcC record declares (ISO/IEC 14496-15, 8.3.3.1); 0 when it does not say."""
    return extradata[21] >> 3 & 7 if extradata and len(extradata) > 22 and extradata[0] == 1 else 0


def _short(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
