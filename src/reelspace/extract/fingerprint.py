"""One file, one decode pass, every fingerprint asked for."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Tap
from reelspace.core.sampling import AtTimes
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.encoders.encoder import FrameEncoder
from reelspace.errors import DecodeFailed, Truncated
from reelspace.extract.clips import ClipMaker, Clips, clip_maker
from reelspace.extract.plan import Plan, Summing
from reelspace.media import open_video
from reelspace.media.reader import VideoReader
from reelspace.media.sources import content_id
from reelspace.store.rows import Signature, trusted_seconds

__all__ = ["Fingerprints", "fingerprint"]

BATCH_FRAMES = 128
BATCH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What one pass over a file gave.

    Attributes:
        video_id: content id.
        video: what the container says.
        seen_seconds: end of the last picture that came out.
        sequences: frame vectors, one of each encoder asked for.
        signatures: one of each signer asked for.
        note: what is wrong with a truncated file that was kept all the same.
    """

    video_id: str
    video: Video
    seen_seconds: float
    sequences: tuple[FrameSequence, ...]
    signatures: tuple[Signature, ...]
    note: str | None

    @property
    def duration_seconds(self) -> float:
        """What the container promises where the pictures bear it out, else what was seen."""
        return trusted_seconds(self.video.duration_seconds, self.seen_seconds)


def fingerprint(
    source: str,
    plan: Plan,
    *,
    video_id: str | None = None,
    encoders: Sequence[int] | None = None,
    signers: Sequence[int] | None = None,
    readings: Sequence[int] | None = None,
    threads: int = 1,
    on_progress: Callable[[float], None] | None = None,
    on_clips: Callable[[int, Clips], None] | None = None,
) -> Fingerprints:
    """Decodes a file once for everything in ``plan``. Memory does not depend on its length but for the rows.

    Args:
        source: path or URL.
        plan: what to make of it.
        video_id: its content id, where it is known; else the file is read for it first.
        encoders: the numbers of those wanted; None for all.
        signers: likewise.
        readings: likewise.
        threads: that decode it; many files are better decoded side by side, on one thread each.
        on_progress: told the second of the video that was reached, for every frame.
        on_clips: given the clips of each reading, by its number, as they are made.

    Raises:
        MediaError: when the file cannot be used; `Truncated` only where the plan does not keep partial files.
    """
    known_id = video_id or content_id(source)
    decode = partial(
        _decoded,
        source,
        plan,
        video_id=known_id,
        encoders=encoders,
        signers=signers,
        readings=_chosen(len(plan.readings), readings) if on_clips is not None else (),
        on_progress=on_progress,
        on_clips=on_clips,
    )
    if threads > 1 and on_clips is None:  # clips that were handed out cannot be taken back
        # What comes out before a break is certain on one thread only.
        with contextlib.suppress(DecodeFailed, Truncated):
            return decode(threads=threads)
    return decode(threads=1)


def _decoded(
    source: str,
    plan: Plan,
    *,
    video_id: str,
    encoders: Sequence[int] | None,
    signers: Sequence[int] | None,
    readings: Sequence[int],
    threads: int,
    on_progress: Callable[[float], None] | None,
    on_clips: Callable[[int, Clips], None] | None,
) -> Fingerprints:
    rows = [_Rows(plan.encoders[i], plan.encoder_space(i)) for i in _chosen(len(plan.encoders), encoders)]
    sums = [
        _Sum(plan.signers[i].tap, plan.signers[i].start(decoding=plan.decoding))
        for i in _chosen(len(plan.signers), signers)
    ]
    wanting: list[_Rows | _Sum] = [*rows, *sums]
    batches = [_Batch(taker) for taker in wanting]
    makers: list[ClipMaker] = []
    note, shown_seconds = None, 0.0
    with open_video(source, fast=plan.fast, threads=threads) as reader:
        if on_clips is not None:
            makers = [clip_maker(plan.readings[i], reader, partial(on_clips, i)) for i in readings]
        takers: list[_Batch | ClipMaker] = [*batches, *makers]
        try:
            for tap, frame in _frames(reader, [taker.tap for taker in takers]):
                takers[tap].push(frame)
                shown_seconds = max(shown_seconds, frame.shown_seconds)
                if on_progress is not None:
                    on_progress(shown_seconds)
        except Truncated as error:
            if threads > 1 or not plan.keep_partial:
                raise
            note = error.reason
        video = reader.video
    for batch in batches:
        batch.flush()
    seen_seconds = shown_seconds + (float(1 / video.frame_rate) if video.frame_rate else 0.0)
    if video.duration_seconds is not None and _sparse([taker.tap for taker in takers]):
        seen_seconds = max(seen_seconds, video.duration_seconds)  # the end was not looked at
    duration_seconds = trusted_seconds(video.duration_seconds, seen_seconds)
    for maker in makers:
        maker.finish(duration_seconds)
    return Fingerprints(
        video_id,
        video,
        seen_seconds,
        tuple(row.finish(duration_seconds) for row in rows),
        tuple(total.finish() for total in sums),
        note,
    )


def _chosen(count: int, wanted: Sequence[int] | None) -> Sequence[int]:
    return range(count) if wanted is None else wanted


def _frames(reader: VideoReader, taps: Sequence[Tap]) -> Iterator[tuple[int, Frame]]:
    """One decode for all taps; where all want single moments, those are sought instead of decoding through."""
    if not _sparse(taps):
        yield from reader.read(taps)
        return
    wanted: defaultdict[float, list[int]] = defaultdict(list)
    for number, tap in enumerate(taps):
        for time in tap.sampler.times_seconds:  # type: ignore[attr-defined] # `_sparse` looked
            wanted[time].append(number)
    for frame in reader.frames_at(sorted(wanted), taps[0].picture):
        for number in wanted[frame.time_seconds]:
            yield number, frame


def _sparse(taps: Sequence[Tap]) -> bool:
    return all(isinstance(tap.sampler, AtTimes) and tap.picture == taps[0].picture for tap in taps)


class _Rows:
    """Collects the stored rows of one encoder."""

    def __init__(self, encoder: FrameEncoder, space: Space) -> None:
        self.tap = encoder.tap
        self._encoder = encoder
        self._space = space
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def encode(self, frames: NDArray[np.uint8], times_seconds: NDArray[np.float64]) -> None:
        vectors, weights = self._encoder.encode(frames)
        keep = weights > 0  # (N, V)
        keep[:, 0] = True
        index, views = np.nonzero(keep)
        self._parts.append(
            (times_seconds[index], vectors[keep].astype(np.float16), views.astype(np.uint8), weights[keep])
        )

    def finish(self, duration_seconds: float) -> FrameSequence:
        space = self._space
        times, vectors, views, weights = (
            [np.concatenate(column) for column in zip(*self._parts, strict=True)]
            if self._parts
            else (np.empty(0), np.empty((0, space.dimensions), np.float16), np.empty(0, np.uint8), np.empty(0))
        )
        return FrameSequence(times, vectors, views, weights.astype(np.float32), space, duration_seconds)


class _Sum:
    """Feeds one signer."""

    def __init__(self, tap: Tap, summing: Summing) -> None:
        self.tap = tap
        self._summing = summing

    def encode(self, frames: NDArray[np.uint8], times_seconds: NDArray[np.float64]) -> None:  # noqa: ARG002
        self._summing.push(frames)

    def finish(self) -> Signature:
        return self._summing.finish()


class _Batch:
    """Frames on their way into a taker, handed over when they are enough for one product."""

    def __init__(self, taker: _Rows | _Sum) -> None:
        self.tap = taker.tap
        self._taker = taker
        self._frames: list[Frame] = []

    def push(self, frame: Frame) -> None:
        self._frames.append(frame)
        if len(self._frames) >= BATCH_FRAMES or len(self._frames) * frame.pixels.nbytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._frames:
            pixels = np.stack([frame.pixels for frame in self._frames])
            self._taker.encode(pixels, np.array([frame.time_seconds for frame in self._frames]))
            self._frames.clear()
