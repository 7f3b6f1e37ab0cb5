"""Models over files, without a library: what `embed` and `classify` are made of."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from reelspace.core.machine import available_cores
from reelspace.core.sequence import FrameSequence
from reelspace.core.video import Video
from reelspace.encoders.encoder import FrameEncoder
from reelspace.errors import MediaError, NotFinite
from reelspace.extract.clips import Clips
from reelspace.extract.fingerprint import Fingerprints, fingerprint
from reelspace.extract.models import Computed, Model, ModelRun, readings_of, require_finite
from reelspace.extract.plan import Plan

__all__ = ["Encoded", "encode_videos"]

WAITING_PIXELS = 96 << 20  # bytes of clips not computed yet, beyond which decoding waits


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the models made of one file.

    Attributes:
        source: path or URL.
        video: what the container says.
        duration_seconds: as the pictures bear it out.
        made: of each model, in the order given.
        sequences: of each frame encoder, in the order given.
    """

    source: str
    video: Video
    duration_seconds: float
    made: tuple[Computed, ...]
    sequences: tuple[FrameSequence, ...] = ()


def encode_videos(
    sources: Iterable[str],
    models: Sequence[Model],
    *,
    encoders: tuple[FrameEncoder, ...] = (),
    workers: int | None = None,
    batch: int | None = None,
    fast: bool = False,
    keep_partial: bool = False,
    on_progress: Callable[[str, float], None] | None = None,
) -> Iterator[Encoded | MediaError]:
    """Decodes each file once for all models, several files side by side, and batches clips across files.

    Yields a result or an error for every file, in the order in which they end; one bad file stops nothing. Memory
    is bounded by a few batches of clips.

    Args:
        sources: paths and URLs.
        models: what to compute.
        encoders: the package's own frame encoders, for whole sequences from the same decode pass.
        workers: files decoded at the same time; None for one per core.
        batch: clips computed at a time; None for what suits the device.
        fast: see `media.open_video`.
        keep_partial: take what decodes of truncated files.
        on_progress: told (source, second of the video) now and then, in the thread that decodes.
    """
    files = list(dict.fromkeys(sources))
    plan = Plan(encoders, readings=readings_of(models), fast=fast, keep_partial=keep_partial)
    run = _Run(plan, models, batch=batch, on_progress=on_progress)
    pool = ThreadPoolExecutor(workers or available_cores(), thread_name_prefix="reelspace decoder")
    try:
        for source in files:
            pool.submit(run.decode, source)
        left = len(files)
        while left:
            for outcome in run.outcomes():
                left -= 1
                yield outcome
    finally:
        run.stop()
        pool.shutdown(cancel_futures=True)


class _Run:
    """Threads that decode and the thread of the models, and what they have to say."""

    def __init__(
        self,
        plan: Plan,
        models: Sequence[Model],
        *,
        batch: int | None,
        on_progress: Callable[[str, float], None] | None,
    ) -> None:
        self._plan = plan
        self._models = models
        self._every = range(len(models))
        self._on_progress = on_progress
        self._news: queue.SimpleQueue[tuple[str, Fingerprints | BaseException] | None] = queue.SimpleQueue()
        self._computer = ModelRun(models, batch=batch, on_done=lambda: self._news.put(None))
        self._decoded: dict[str, Fingerprints] = {}
        self._stopping = False

    def decode(self, source: str) -> None:
        """One file, in a thread of the pool."""

        def go_on(video_seconds: float) -> None:
            if self._stopping:
                raise _Stopped
            if self._on_progress is not None:
                self._on_progress(source, video_seconds)

        def hand_over(reading: int, clips: Clips) -> None:
            self._computer.wait_below(WAITING_PIXELS)
            if self._stopping:
                raise _Stopped
            self._computer.put(source, reading, clips)

        self._computer.open(source, self._every)
        try:
            made = fingerprint(
                source,
                self._plan,
                video_id=source,
                on_progress=go_on,
                on_clips=hand_over,
            )
        except BaseException as error:  # noqa: BLE001 # raised again in the caller's thread, or yielded
            self._news.put((source, error))
        else:
            self._news.put((source, made))

    def outcomes(self) -> Iterator[Encoded | MediaError]:
        """Waits for news; gives the files that ended with it."""
        news = self._news.get()
        if news is not None:
            source, outcome = news
            if isinstance(outcome, MediaError):
                self._computer.drop(source)
                yield outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                self._decoded[source] = outcome
                self._computer.close(source)
        for source, found in self._computer.take():
            made = self._decoded.pop(source)
            computed = tuple(found[i] for i in self._every)
            try:
                require_finite(source, list(zip(self._models, computed, strict=True)))
            except NotFinite as error:
                yield error
                continue
            yield Encoded(source, made.video, made.duration_seconds, computed, made.sequences)

    def stop(self) -> None:
        """Ends the threads."""
        self._stopping = True
        self._computer.end()


class _Stopped(Exception):
    """The caller wants no more."""
