"""One opened container and its video stream: packets in, decoded frames out, on the clock of `Video`."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias, cast

import av
import av.container
import av.video.stream
from av.stream import Disposition

from reelspace.core.video import Video
from reelspace.errors import CannotOpen, DecodeFailed, InvalidArgument, MediaError, NoVideoStream, Truncated
from reelspace.media.containers import missing_bytes, why_unreadable
from reelspace.media.orientation import Orientation
from reelspace.media.sources import open_source

__all__ = ["Clock", "OpenedStream", "Packet", "Shown", "Timing"]

if TYPE_CHECKING:
    Packet: TypeAlias = av.Packet[av.video.stream.VideoStream]
else:
    Packet = av.Packet

# Containers that store no presentation times: with reordered frames, those libavformat guesses run backwards.
_WITHOUT_PRESENTATION_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo"})

# Codecs whose decoder, told to skip frames nobody refers to, gives every other frame bit for bit.
_SKIPS_EXACTLY = frozenset({"h264", "hevc", "mpeg4"})
_WHOLE_FRAMES = frozenset({0, 1})  # field order unknown, progressive

# Codecs of which each packet gives one picture: hidden ones travel with the next shown (VP9 annex B, AV1 7.5).
_ONE_PICTURE_PER_PACKET = _SKIPS_EXACTLY | {"vp9", "libdav1d", "av1"}

_HOPELESS = 500  # packets in a row without a picture before a stream is given up
_LONGEST_GAP_SECONDS = 3600  # timestamps that jump further are wrong
_MISSED_SECONDS = 0.25  # less is not missed: sound outlasts the picture, cues are cut off
_LOST_TAIL = 0.1  # share of the packets that must fail at the end before a file counts as truncated

_FAILURES = (av.FFmpegError, OSError, ValueError, RuntimeError)


class Shown(NamedTuple):
    """A decoded frame with its presentation time and its own duration, in ticks from time zero."""

    frame: av.VideoFrame
    ticks: int
    duration: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How the timestamps of one video are to be read. A tick is the stream's time base.

    Attributes:
        base: seconds per tick.
        zero: the container's first instant in ticks, rounded as the `ffmpeg` command does.
        nominal: ticks from frame to frame at the average rate.
        gap: the longest believable step, in ticks.
        counted: the container stores no presentation times: the k-th frame shown has the k-th decoding time.
    """

    base: Fraction
    zero: int
    nominal: int
    gap: int
    counted: bool

    def seconds(self, ticks: int) -> float:
        """Ticks from time zero in seconds, rounded once."""
        return ticks * self.base.numerator / self.base.denominator


class Clock:
    """Presentation times of one pass: strictly increasing, whatever the file says."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._turns: deque[int] = deque()
        self._last: int | None = None
        self._shift = 0

    def sent(self, packet: Packet, *, failed: bool) -> None:
        """Takes down the turn of a packet that was decoded; a failed one gives no frame."""
        if packet.size and packet.dts is not None and not packet.is_discard and not failed:
            self._turns.append(packet.dts)

    def show(self, frame: av.VideoFrame) -> Shown:
        """The frame with its time; frames come in the order of presentation."""
        timing = self._timing
        turn = self._turns.popleft() if self._turns else None
        stamp = turn if timing.counted else frame.pts
        ticks = None if stamp is None else stamp - timing.zero + self._shift
        if self._last is None:
            ticks = ticks or 0
        else:
            following = self._last + timing.nominal
            if ticks is None:
                ticks = following
            elif abs(ticks - following) > timing.gap:
                self._shift += following - ticks
                ticks = following
            ticks = max(ticks, self._last + 1)
        self._last = ticks
        return Shown(frame, ticks, frame.duration or timing.nominal)


class OpenedStream:
    """One container with its video stream, standing at its beginning.

    Attributes:
        strict: opened so, and the decoder can leave out frames exactly. Then every damage it notices is a failure,
            where otherwise it mends the picture with what it finds, perhaps in frames that would be left out.

    Raises:
        CannotOpen, NoVideoStream: on opening.
    """

    def __init__(self, source: str, *, fast: bool, strict: bool, threads: int) -> None:
        self.source = source
        self.closed = False
        self._fast = fast
        self._resources = contextlib.ExitStack()
        try:
            self._bytes = self._resources.enter_context(open_source(source))
            self.container = self._open_container()
            self.stream = self._choose_stream()
            self.strict = strict and self._skips_exactly()
            self._prepare(threads)
        except BaseException:
            self._resources.close()
            raise
        self.promised_packets = self._count_promised()
        self._decoded: deque[tuple[Packet, list[av.VideoFrame]]] = deque()
        self._packets = iter(self.container.demux(self.stream))
        self._ahead: list[Packet] = []
        self._stopped: str | None = None
        self.packets_read = 0
        self._latest_dts: int | None = None
        self.failures = 0
        self._failures_in_a_row = 0

    # ── opening and closing ──

    def _open_container(self) -> av.container.InputContainer:
        # "file:" keeps a colon in a name from being taken for a protocol; the white list keeps a playlist from
        # sending the decoder to other machines.
        target = f"file:{self._bytes}" if isinstance(self._bytes, str) else self._bytes
        try:
            container = av.open(target, "r", options={"protocol_whitelist": "file"})
        except _FAILURES as error:
            with self._stream_of_bytes() as stream:
                raise CannotOpen(self.source, f"cannot open: {why_unreadable(stream)}") from error
        self._resources.callback(container.close)
        # Without the times PyAV asks libavformat to make up, a container that stores none is recognised.
        container.flags &= ~cast("int", av.container.Flags.gen_pts.value)
        return container

    def _choose_stream(self) -> av.video.stream.VideoStream:
        streams = [stream for stream in self.container.streams.video if not _is_cover(stream)]
        if not streams:
            covers = len(self.container.streams.video)
            raise NoVideoStream(
                self.source, "no video stream, only a cover picture" if covers else "no video stream"
            )
        decodable = [stream for stream in streams if cast("object", stream.codec_context) is not None]
        if not decodable:
            raise CannotOpen(self.source, "cannot open: no decoder for its video")

        def rank(stream: av.video.stream.VideoStream) -> tuple[bool, bool, int]:
            empty = stream.frames == 0 and len(stream.index_entries) == 0
            return empty, not stream.disposition & Disposition.default, stream.index

        return min(decodable, key=rank)

    def _prepare(self, threads: int) -> None:
        codec = self.stream.codec_context
        codec.thread_type = "NONE" if threads == 1 else "FRAME"
        codec.thread_count = threads
        if self._fast:
            codec.options = {"skip_loop_filter": "all"}
            codec.skip_frame = "NONREF"
        elif self.strict:
            codec.options = {"err_detect": "explode"}

    def _count_promised(self) -> int | None:
        """Entries of the sample table, which a complete MP4 or MOV keeps apart from the samples."""
        is_table = self.container.format.name.startswith("mov") and self.stream.frames > 0
        return len(self.stream.index_entries) if is_table else None

    def close(self) -> None:
        """Closes container and source. Closing twice is harmless."""
        self.closed = True
        self._resources.close()

    @contextlib.contextmanager
    def _stream_of_bytes(self) -> Iterator[BinaryIO]:
        if isinstance(self._bytes, str):
            with Path(self._bytes).open("rb") as stream:
                yield stream
        else:
            yield self._bytes

    # ── reading ──

    def packets(self) -> Iterator[Packet]:
        """Packets of the video stream in the order of decoding, ending with the empty one that flushes.

        Raises:
            InvalidArgument: when the stream was closed meanwhile.
        """
        yield from [packet for packet, _ in self._decoded]
        while True:
            if self.closed:
                raise InvalidArgument(f"{self.source}: the reader is closed; open the video again")
            if self._ahead:
                yield self._ahead.pop()
                continue
            packet = self._next_packet()
            if packet is None:
                return
            yield packet

    def _next_packet(self) -> Packet | None:
        try:
            packet = next(self._packets, None)
        except _FAILURES as error:
            self._stopped = getattr(error, "strerror", None) or str(error)
            self._packets = iter(())
            packet = cast("Packet", av.Packet())
            packet.stream = self.stream
        if packet is not None and packet.size:
            self.packets_read += 1
            self._latest_dts = packet.dts
        return packet

    def decode(self, packet: Packet, *, skip: bool = False) -> list[av.VideoFrame]:
        """The frames that come out when ``packet`` goes in; none when it cannot be decoded.

        With ``skip`` the packet's own frame is left out if no other frame refers to it.
        """
        if self._decoded and self._decoded[0][0] is packet:
            return self._decoded.popleft()[1]
        codec = self.stream.codec_context
        if not self._fast:
            codec.skip_frame = "NONREF" if skip else "DEFAULT"
        try:
            frames = codec.decode(packet if packet.size else None)
        except _FAILURES:
            self.failures += 1
            self._failures_in_a_row += 1
            return []
        if frames:
            self._failures_in_a_row = 0
        return frames

    def frames(self, clock: Clock) -> Iterator[Shown]:
        """Every frame from here on, with its time."""
        for packet in self.packets():
            failures = self.failures
            frames = self.decode(packet)
            clock.sent(packet, failed=self.failures > failures)
            for frame in frames:
                yield clock.show(frame)

    def first_frame(self) -> tuple[Packet, av.VideoFrame]:
        """The first packet and the first frame that decodes; what was decoded is kept for the pass that follows.

        Raises:
            CannotOpen: when the packets are encrypted.
            DecodeFailed: when no frame comes out.
        """
        first: Packet | None = None
        for packet in self.packets():
            first = first or packet
            if any(packet.has_sidedata(mark) for mark in ("encryption_info", "encryption_init_info")):
                raise CannotOpen(self.source, "cannot open: encrypted")
            frames = self.decode(packet)
            self._decoded.append((packet, frames))
            if frames:
                return first, frames[0]
            if self._failures_in_a_row >= _HOPELESS:
                break
        raise self.without_picture()

    def without_picture(self) -> MediaError:
        """The error that says why no picture came out."""
        if not self.packets_read:
            return DecodeFailed(self.source, "no picture: the video stream is empty")
        with self._stream_of_bytes() as stream:
            if why_unreadable(stream) == "encrypted":
                return CannotOpen(self.source, "cannot open: encrypted")
        return DecodeFailed(
            self.source, f"no picture: none of {self.packets_read} {self.stream.codec_context.name} frames decodes"
        )

    # ── seeking ──

    def seek(self, ticks: int) -> tuple[int, int] | None:
        """Goes to a keyframe at or before ``ticks`` (the container's own), as far as the container knows.

        Returns presentation and decoding time of the first keyframe found there, or None when there is none.
        """
        try:
            self.container.seek(ticks, stream=self.stream)
        except _FAILURES:
            return None
        self._decoded.clear()
        self._ahead.clear()
        self._packets = iter(self.container.demux(self.stream))
        while (packet := self._next_packet()) is not None and packet.size:
            if packet.is_keyframe and packet.pts is not None:
                self._ahead.append(packet)
                return packet.pts, packet.pts if packet.dts is None else packet.dts
        return None

    def keyframe_before(self, ticks: int) -> int | None:
        """Decoding time of the keyframe the container's index gives for ``ticks``; None when it has no index."""
        index = self.stream.index_entries
        found = index.search_timestamp(ticks) if len(index) > 1 else -1
        return index[found].timestamp if found >= 0 else None

    # ── what the container says ──

    def describe(self, frame: av.VideoFrame, orientation: Orientation) -> Video:
        """The facts, given the first frame."""
        stream, container = self.stream, self.container
        base = Fraction(stream.time_base or Fraction(1, av.time_base))
        zero = self._zero(base)
        ratio = stream.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, 16) <= ratio <= 16:  # nonsense, and a danger to memory
            ratio = Fraction(1)
        width, height = max(1, round(frame.width * ratio)), frame.height
        if orientation.transposes:
            width, height = height, width
        return Video(
            source=self.source,
            duration_seconds=self._duration(base, zero),
            frame_rate=self._frame_rate(),
            width=width,
            height=height,
            rotation_degrees=orientation.rotation_degrees,
            mirrored=orientation.mirrored,
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            container=container.format.name,
            frame_count=self._promised_frames(),
            start_seconds=float(zero * base),
            size_bytes=container.size if container.size > 0 else None,
        )

    def timing(self, first: Packet, video: Video) -> Timing:
        """How its timestamps are to be read, given the first packet."""
        codec = self.stream.codec_context
        base = Fraction(self.stream.time_base or Fraction(1, av.time_base))
        counted = first.pts is None or (
            video.container in _WITHOUT_PRESENTATION_TIMES and bool(getattr(codec, "has_b_frames", False))
        )
        return Timing(
            base=base,
            zero=self._zero(base),
            nominal=max(1, round(1 / (video.frame_rate or Fraction(25)) / base)),
            gap=round(_LONGEST_GAP_SECONDS / base),
            counted=counted,
        )

    def _skips_exactly(self) -> bool:
        codec = self.stream.codec_context
        if codec.name not in _SKIPS_EXACTLY or self.container.format.name in _WITHOUT_PRESENTATION_TIMES:
            return False
        # A frame that its own temporal layer does not refer to may still serve the layer above it.
        if codec.name == "hevc" and _temporal_layers(codec.extradata) != 1:
            return False
        # Two fields of a frame may be two packets, of which one is referred to and one is not.
        return codec.field_order in _WHOLE_FRAMES

    def _zero(self, base: Fraction) -> int:
        start = cast("int | None", self.container.start_time)
        return round(Fraction(start, av.time_base) / base) if start else 0

    def _duration(self, base: Fraction, zero: int) -> float | None:
        stream = self.stream
        if stream.duration:
            return float((stream.duration + (stream.start_time or 0) - zero) * base)
        if stated := _matroska_duration(stream.metadata):
            return stated
        return self.container.duration / av.time_base if self.container.duration else None

    def _frame_rate(self) -> Fraction | None:
        if not self.container.duration:  # a still picture, a raw stream: libavformat makes up a rate
            return None
        rate = self.stream.average_rate
        # Matroska's default duration may be nonsense: one tick of its clock.
        if rate and rate >= 1000 and self.container.format.name.startswith("matroska"):
            return None
        return rate or None

    # ── how many ──

    def count_frames(self) -> int:
        """How many frames there are from here to the end; without decoding them where that cannot be wrong.

        The sample table is believed when no byte of the file is missing.
        """
        codec = self.stream.codec_context
        if self._fast or codec.name not in _ONE_PICTURE_PER_PACKET or codec.field_order not in _WHOLE_FRAMES:
            return sum(len(self.decode(packet)) for packet in self.packets())
        promised = self._promised_frames()
        if promised is not None:
            with self._stream_of_bytes() as stream:
                if not missing_bytes(stream):
                    return promised
        return sum(packet.size > 0 and not packet.is_discard for packet in self.packets())

    def _promised_frames(self) -> int | None:
        if not self.promised_packets:
            return None
        return self.promised_packets - sum(entry.is_discard for entry in self.stream.index_entries)

    # ── whether it is whole ──

    def require_whole(self, video: Video, end_seconds: float, *, counted_all: bool) -> None:
        """Called when a pass has read to the end, with the end of the last picture.

        A file is held to promises that cannot be mistaken: its sample table, the lengths its parts state ahead. A
        header's duration alone proves nothing, for many lie; nor do single frames lost to damage.

        Raises:
            Truncated: when fewer pictures came out than the container promises.
        """
        duration = video.duration_seconds
        if self._stopped is not None:
            raise Truncated(self.source, f"reading stopped after {end_seconds:.1f} s: {self._stopped}")
        if self.promised_packets is not None and self._ends_early():
            if counted_all:
                # Packets, not pictures that came out: frames nobody wanted may have been left out.
                present = min(self.packets_read, (video.frame_count or 1) - 1)
                raise Truncated(self.source, f"truncated: {present} of {video.frame_count} frames")
            raise Truncated(self.source, f"truncated: {end_seconds:.1f} of {duration or 0:.1f} s")
        if self._failures_in_a_row > max(1, _LOST_TAIL * self.packets_read):
            raise Truncated(self.source, f"truncated: nothing decodes after {end_seconds:.1f} s")
        if self.promised_packets is None and duration is not None and end_seconds < duration - _MISSED_SECONDS:
            with self._stream_of_bytes() as stream:
                missing = missing_bytes(stream)
            if missing:
                raise Truncated(self.source, f"truncated: {end_seconds:.1f} of {duration:.1f} s")

    def _ends_early(self) -> bool:
        last = self.stream.index_entries[-1].timestamp
        return self._latest_dts is not None and self._latest_dts < last


def _is_cover(stream: av.video.stream.VideoStream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _temporal_layers(extradata: bytes | None) -> int:
    """How many temporal layers an hvcC record declares (ISO/IEC 14496-15, 8.3.3.1); 0 when it does not say."""
    return extradata[21] >> 3 & 7 if extradata and len(extradata) > 22 and extradata[0] == 1 else 0


def _matroska_duration(tags: dict[str, str]) -> float | None:
    """Seconds of the ``DURATION`` tag, ``00:00:05.000000000``: of this stream, where the header has the longest."""
    hours, _, rest = tags.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
