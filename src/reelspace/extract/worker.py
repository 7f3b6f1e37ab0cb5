"""A decoding process: one file at a time, all fingerprints of a file from one decode pass.

Started by `pipeline` as a plain child process that imports no `__main__`, so a script without a main guard and a
notebook may index too. It ends when its connection does.
"""

from __future__ import annotations

import os
import pickle
import select
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Tap
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.encoders.encoder import FrameEncoder
from reelspace.errors import CannotOpen, MediaError, Truncated
from reelspace.extract.events import Progress
from reelspace.extract.messages import Broken, Decoded, Failed, Hashed, Job, Wanted
from reelspace.extract.plan import Plan, Summing
from reelspace.extract.stamps import stamp_of
from reelspace.media import open_video
from reelspace.media.sources import content_id
from reelspace.store.rows import Signature, StoredVideo

__all__ = ["serve", "serve_descriptor"]

BATCH_FRAMES = 128
BATCH_BYTES = 32 << 20
PROGRESS_SECONDS = 0.25


def serve_descriptor(descriptor: int) -> None:
    """Serves on an inherited socket; the process dies with its parent, whatever it is doing then."""

    def end_with_parent() -> None:
        hang_up = select.poll()
        hang_up.register(descriptor, 0)  # only the other end's hanging up is reported
        hang_up.poll()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    serve(Connection(descriptor))


def serve(connection: Connection) -> None:
    """Answers jobs until the other end closes; the first message is the pickled setup."""
    try:
        with connection:
            try:
                plan: Plan = pickle.loads(connection.recv_bytes())  # noqa: S301 # our parent's
            except Exception:  # noqa: BLE001 # whatever importing a user's encoder may raise
                connection.send(Broken(traceback.format_exc()))
                return
            while True:
                _answer(connection, connection.recv(), plan)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(connection: Connection, job: Job, plan: Plan) -> None:
    of_content = False
    try:
        stamp = stamp_of(job.source)
        connection.send(Hashed(stamp, video_id := content_id(job.source)))
        wanted: Wanted = connection.recv()
        if not wanted.encoders and not wanted.signers:
            return
        of_content = True
        decoded = _decode(connection, job.source, video_id, plan, wanted)
        if stamp_of(job.source) != stamp:
            connection.send(Failed("changed while it was read", CannotOpen.__name__, of_content=False))
        else:
            connection.send(decoded)
    except MediaError as error:
        connection.send(Failed(error.reason, type(error).__name__, of_content))
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 # one file never stops the run; the ledger says what it was
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {type(error).__name__}: {error} ({place.name}, line {place.lineno})"
        connection.send(Failed(reason, type(error).__name__, of_content))


class _Taker(Protocol):
    tap: Tap

    def encode(self, frames: NDArray[np.uint8], times_seconds: NDArray[np.float64]) -> None: ...


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

    def __init__(self, taker: _Taker) -> None:
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


def _decode(connection: Connection, source: str, video_id: str, plan: Plan, wanted: Wanted) -> Decoded:
    rows = [_Rows(plan.encoders[i], plan.encoder_space(i)) for i in wanted.encoders]
    signers = [plan.signers[i] for i in wanted.signers]
    sums = [_Sum(signer.tap, signer.start(decoding=plan.decoding)) for signer in signers]
    takers: list[_Taker] = [*rows, *sums]
    batches = [_Batch(taker) for taker in takers]
    note, shown_seconds, told = None, 0.0, time.monotonic()
    with open_video(source, fast=plan.fast) as reader:
        try:
            for tap, frame in reader.read([taker.tap for taker in takers]):
                batches[tap].push(frame)
                shown_seconds = max(shown_seconds, frame.shown_seconds)
                if (now := time.monotonic()) - told >= PROGRESS_SECONDS:
                    connection.send(Progress(source, shown_seconds))
                    told = now
        except Truncated as error:
            if not plan.keep_partial:
                raise
            note = error.reason
        video = reader.video
    for batch in batches:
        batch.flush()
    seen_seconds = shown_seconds + (float(1 / video.frame_rate) if video.frame_rate else 0.0)
    stored = StoredVideo(video_id, video, seen_seconds)
    return Decoded(
        stored,
        tuple(row.finish(stored.duration_seconds) for row in rows),
        tuple(total.finish() for total in sums),
        note,
    )
