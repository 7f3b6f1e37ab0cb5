"""Models at work: clips of many videos in, batched; vectors of each video out."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.core.clips import ClipSpec
from reelspace.core.embeddings import ClipSequence, until_next
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.encoders.encoder import Encoder
from reelspace.encoders.pictures import PictureEncoder
from reelspace.errors import InvalidArgument, NotFinite
from reelspace.extract.clips import Clips, Reading
from reelspace.extract.plan import decoded_space

__all__ = ["Computed", "Model", "ModelRun", "as_clips", "readings_of", "require_finite", "rows_of"]

CPU_BATCH_BYTES = 10 << 20  # of pixels: four clips of 16 x 224 x 224, more gain nothing there
DEVICE_BATCH_BYTES = 80 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded encoder, and what is wanted of it.

    Attributes:
        encoder: what runs.
        outputs: names of its outputs.
        clip: how it is to read videos; the row's own frames and spacing, in one of the modes.

    Raises:
        UnknownName: for an output the encoder does not have.
        InvalidArgument: for a clip of another number of frames than it was made for, or a mode it cannot read in.
    """

    encoder: Encoder
    outputs: tuple[str, ...]
    clip: ClipSpec

    def __post_init__(self) -> None:
        for output in self.outputs:
            if output not in self.encoder.spec.maps:
                self.encoder.spec.require_output(output)
        if self.clip.frames != self.encoder.spec.clip.frames:
            raise InvalidArgument(
                f"{self.encoder.spec.name} reads {self.encoder.spec.clip.frames} frames, got {self.clip.frames}"
            )
        if isinstance(self.encoder, PictureEncoder) and self.clip.mode != "tiled":
            raise InvalidArgument(f"{self.encoder.spec.name} describes single pictures; give windows='tiled'")
        if self.clip.mode == "squashed" and self.encoder.spec.preprocessing.side is None:
            raise InvalidArgument(
                f"{self.encoder.spec.name} reads pictures at their own shape, and squashed clips are of one size; "
                "give windows='tiled' or 'views'"
            )
        if self.clip.crops == 3 and self.clip.mode == "views" and self.encoder.spec.preprocessing.crop is None:
            raise InvalidArgument(f"{self.encoder.spec.name} sees whole pictures; it has no crops to the sides")

    @property
    def reading(self) -> Reading:
        """How it reads videos."""
        tap = self.encoder.frame_encoder.tap if isinstance(self.encoder, PictureEncoder) else None
        return Reading(self.clip, self.encoder.spec.preprocessing, tap)

    @property
    def in_frames(self) -> bool:
        """Whether its vectors form frame sequences, which feed alignment; else clip sequences."""
        return self.encoder.spec.of_pictures and self.clip.mode == "tiled"

    def spaces(self, *, decoding: str = "exact") -> tuple[Space, ...]:
        """The identity of the vectors of each output."""
        return tuple(self.space(output, decoding=decoding) for output in self.outputs)

    def space(self, output: str, *, decoding: str = "exact") -> Space:
        """The identity of the vectors of an output, of frames that were decoded so."""
        space = self.encoder.spec.space(output, digest=self.encoder.digest, clip=self.clip)
        return decoded_space(space, decoding=decoding)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What one model made of one video.

    Attributes:
        starts_seconds: float64 (N,).
        ends_seconds: float64 (N,).
        vectors: {output: float32 (N, D)}, maps (N, ..., D).
        spent_seconds: the model's share of the time.
    """

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    vectors: Mapping[str, NDArray[np.float32]]
    spent_seconds: float

    @property
    def finite(self) -> bool:
        """Whether all numbers are."""
        return all(np.isfinite(vectors).all() for vectors in self.vectors.values())

    def probabilities(self) -> NDArray[np.float32]:
        """Of each class, from ``logits``: float32 (N, classes), rows that add up to 1."""
        scores = self.vectors["logits"]
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)

    def pooled(self) -> Computed:
        """One row: the mean of all, from the first start to the last end."""
        return Computed(
            self.starts_seconds.min(keepdims=True),
            self.ends_seconds.max(keepdims=True),
            {name: values.mean(axis=0, keepdims=True) for name, values in self.vectors.items()},
            self.spent_seconds,
        )


def readings_of(models: Sequence[Model]) -> tuple[Reading, ...]:
    """The different readings of these models."""
    return tuple(dict.fromkeys(model.reading for model in models))


def rows_of(
    model: Model, made: Computed, output: str, *, decoding: str, duration_seconds: float
) -> FrameSequence | ClipSequence:
    """The rows the library keeps: a `FrameSequence` of a model of pictures, else a `ClipSequence`."""
    space = model.space(output, decoding=decoding)
    if model.clip.mode == "views":
        made = made.pooled()
    vectors = made.vectors[output]
    if not model.in_frames:
        return ClipSequence(made.starts_seconds, np.minimum(made.ends_seconds, duration_seconds), vectors, space)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    n = len(vectors)
    return FrameSequence(
        made.starts_seconds,
        unit.astype(np.float16),
        np.zeros(n, np.uint8),
        np.ones(n, np.float32),
        space,
        duration_seconds,
    )


def require_finite(source: str, made: Sequence[tuple[Model, Computed]]) -> None:
    """Refuses what models made of a file when not all of it are numbers.

    Raises:
        NotFinite: naming the models.
    """
    if bad := [model.encoder.spec.name for model, computed in made if not computed.finite]:
        raise NotFinite(source, f"{', '.join(bad)} gave numbers that are not finite; try --dtype float32")


def as_clips(rows: FrameSequence | ClipSequence) -> ClipSequence:
    """Rows as clips; a picture stands for the time until the next, the last one until the end of the video."""
    if isinstance(rows, ClipSequence):
        return rows
    ends = until_next(rows.times_seconds, np.array([0, len(rows)]), [rows.duration_seconds])
    return ClipSequence(rows.times_seconds, ends, rows.vectors, rows.space)


class _Part(NamedTuple):
    """What a model made of some clips of a video."""

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    vectors: dict[str, NDArray[np.float32]]
    spent_seconds: float


@dataclass(slots=True, eq=False)
class _Ticket:
    """A video on its way."""

    wanted: frozenset[int]  # numbers of the models
    closed: bool = False
    waiting: int = 0  # clips that are not computed yet
    parts: dict[int, list[_Part]] = field(default_factory=lambda: defaultdict(list))


class ModelRun:
    """Computes in a thread of its own, batching clips of the same shape across videos.

    It never waits for a batch to fill: it takes what is there, so batches grow by themselves when the models are
    what everything waits for.

    Attributes:
        waiting_bytes: of pixels that are not computed yet.

    Args:
        models: what to compute.
        batch: clips in a batch; None for what suits the device.
        on_done: called, in that thread, when a video is done or the thread has failed.
    """

    def __init__(
        self, models: Sequence[Model], *, batch: int | None = None, on_done: Callable[[], None] | None = None
    ) -> None:
        self.waiting_bytes = 0
        self._models = models
        self._readings = readings_of(models)
        self._batch = batch
        self._on_done = on_done or (lambda: None)
        self._queue: deque[tuple[str, int, Clips]] = deque()
        self._tickets: dict[str, _Ticket] = {}
        self._done: deque[tuple[str, dict[int, Computed]]] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="reelspace models", daemon=True)
        self._thread.start()

    def open(self, video: str, models: Sequence[int]) -> None:
        """Announces a video: which models are to be run on it, by number."""
        with self._changed:
            self._tickets[video] = _Ticket(frozenset(models))

    def put(self, video: str, reading: int, clips: Clips) -> None:
        """Hands over clips of an announced video."""
        with self._changed:
            if video not in self._tickets:  # dropped meanwhile
                return
            self._tickets[video].waiting += len(clips.pixels)
            self._queue.append((video, reading, clips))
            self.waiting_bytes += clips.pixels.nbytes
            self._changed.notify_all()

    def close(self, video: str) -> None:
        """No more clips of this video will come: once all are computed, it is done."""
        with self._changed:
            self._tickets[video].closed = True
            self._settle(video)

    def is_open(self, video: str) -> bool:
        """Whether it was announced, and is not done or dropped."""
        with self._changed:
            return video in self._tickets

    def drop(self, video: str) -> None:
        """Forgets a video."""
        with self._changed:
            self._tickets.pop(video, None)

    def take(self) -> list[tuple[str, dict[int, Computed]]]:
        """The videos that are done since the last call: what each model, by number, made of them.

        Raises:
            whatever a model raised.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            done, self._done = list(self._done), deque()
            return done

    def wait_below(self, waiting_bytes: int) -> None:
        """Returns once less than that is waiting, or the thread has failed or is to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.waiting_bytes < waiting_bytes or self._ending or self._error is not None
            )

    def end(self) -> None:
        """Stops after the batch that is being computed."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()

    # In the thread

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._compute(*batch)
        except BaseException as error:  # noqa: BLE001 # raised again in `take`
            with self._changed:
                self._error = error
                self._changed.notify_all()
            self._on_done()

    def _next(self) -> tuple[int, list[tuple[str, Clips]]] | None:
        """Clips of one reading and shape, as many as make a batch; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or bool(self._queue))
            if self._ending:
                return None
            _, reading, first = self._queue[0]
            shape, most = first.pixels.shape[1:], self._most(reading, first)
            taken: list[tuple[str, Clips]] = []
            left: deque[tuple[str, int, Clips]] = deque()
            count = 0
            for video, its_reading, clips in self._queue:
                room = most - count
                if its_reading != reading or clips.pixels.shape[1:] != shape or room <= 0:
                    left.append((video, its_reading, clips))
                    continue
                now, later = _split(clips, room)
                taken.append((video, now))
                count += len(now.pixels)
                if later is not None:
                    left.append((video, its_reading, later))
            self._queue = left
            return reading, taken

    def _most(self, reading: int, clips: Clips) -> int:
        if self._batch is not None:
            return self._batch
        on_cpu = all(
            str(getattr(model.encoder, "device", "cpu")) == "cpu"
            for model in self._models
            if model.reading == self._readings[reading]
        )
        budget = CPU_BATCH_BYTES if on_cpu else DEVICE_BATCH_BYTES
        return max(1, budget // max(1, int(clips.pixels[0].nbytes)))

    def _compute(self, reading: int, batch: list[tuple[str, Clips]]) -> None:
        for number, model in enumerate(self._models):
            if model.reading != self._readings[reading]:
                continue
            with self._changed:
                mine = [
                    (video, clips)
                    for video, clips in batch
                    if video in self._tickets and number in self._tickets[video].wanted
                ]
            if not mine:
                continue
            pixels = np.concatenate([clips.pixels for _, clips in mine])
            began = time.monotonic()
            found = _encoded(model, pixels)
            each_seconds = (time.monotonic() - began) / len(pixels)
            first = 0
            for video, clips in mine:
                count = len(clips.pixels)
                vectors = {name: values[first : first + count] for name, values in found.items()}
                first += count
                part = _Part(clips.starts_seconds, clips.ends_seconds, vectors, each_seconds * count)
                with self._changed:
                    if video in self._tickets:
                        self._tickets[video].parts[number].append(part)
        with self._changed:
            for video, clips in batch:
                self.waiting_bytes -= clips.pixels.nbytes
                if video in self._tickets:
                    self._tickets[video].waiting -= len(clips.pixels)
                    self._settle(video)
            self._changed.notify_all()

    def _settle(self, video: str) -> None:
        ticket = self._tickets[video]
        if ticket.closed and not ticket.waiting:
            del self._tickets[video]
            made = {n: _joined(self._models[n], ticket.parts[n]) for n in sorted(ticket.wanted)}
            self._done.append((video, made))
            self._on_done()


def _split(clips: Clips, count: int) -> tuple[Clips, Clips | None]:
    """The first ``count`` clips, and the rest."""
    if len(clips.pixels) <= count:
        return clips, None
    return Clips(*(part[:count] for part in clips)), Clips(*(part[count:] for part in clips))


def _encoded(model: Model, pixels: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The outputs of a batch; halves it when the device's memory does not hold it."""
    try:
        return model.encoder.encode(pixels, outputs=model.outputs)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError" or len(pixels) == 1:
            raise
    half = len(pixels) // 2
    parts = [_encoded(model, pixels[:half]), _encoded(model, pixels[half:])]
    return {name: np.concatenate([part[name] for part in parts]) for name in model.outputs}


def _joined(model: Model, parts: Sequence[_Part]) -> Computed:
    """One video's batches, one after the other."""
    vectors = {name: np.concatenate([part.vectors[name] for part in parts]) for name in model.outputs}
    return Computed(
        np.concatenate([part.starts_seconds for part in parts]),
        np.concatenate([part.ends_seconds for part in parts]),
        vectors,
        sum(part.spent_seconds for part in parts),
    )
