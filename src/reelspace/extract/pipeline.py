"""From a list of files to a library: what is known is left alone, the rest is decoded once and stored.

    sources ──► ledger: untouched? ──► claim ──► worker: hash ──► content known? ──► worker: decode, encode
                       │ skip                                       │ only the ledger        │      │ clips
                       │                                            │                        │      ▼
                       ▼                                            ▼                        ▼   models, batched
                     report ◄───────────────────────────────────  writer: one step for many files

Worker processes decode, each one file at a time on one thread. This process hands out paths and takes results; its
writer thread is the only one that writes. A claim (a lock that dies with its holder) keeps two processes that index
into one library from working on the same file. Models (those of torch) live once, in this process: workers make the
small pictures they read and put them into shared memory; a thread computes them, batched across videos.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from reelspace.core.embeddings import ClipSequence
from reelspace.core.machine import available_cores
from reelspace.core.sequence import FrameSequence
from reelspace.errors import CannotOpen, InvalidArgument, NotFinite, ReelspaceError
from reelspace.extract.events import Event, FileDone, Outcome, Progress, Report
from reelspace.extract.fingerprint import Fingerprints
from reelspace.extract.messages import Broken, Failed, Hashed, Made, Wanted
from reelspace.extract.models import Computed, Model, ModelRun, readings_of, require_finite, rows_of
from reelspace.extract.plan import Plan
from reelspace.extract.seat import Seat
from reelspace.extract.stamps import stamp_of
from reelspace.extract.writer import Writer
from reelspace.store.locks import FileLock
from reelspace.store.rows import Finished, LedgerEntry, Stamp, StoredVideo
from reelspace.store.store import Store
from reelspace.store.tables import clip_table_name, frame_table_name, signature_table_name

__all__ = ["extract"]

TICK_SECONDS = 0.2
WAITING_BYTES = 256 << 20  # of results not on disk yet, beyond which no new file is begun
WAITING_PIXELS = 192 << 20  # bytes of clips not computed yet, beyond which workers wait
UNREADABLE = Stamp(0, 0)


def extract(
    sources: Iterable[str],
    *,
    store: Store,
    plan: Plan,
    models: Sequence[Model] = (),
    batch: int | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    silence_seconds: float = 120.0,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Indexes files into a library; running it again does only what is left.

    A file whose size and time the ledger knows is not even read; one whose bytes the library knows is not decoded.
    One broken file never stops the run: it is in the ledger with its reason, and is tried again when it changes or
    on request. A worker that crashes, or says nothing for too long, is replaced, and its file has failed.

    SIGINT and SIGTERM end the run early: workers are ended, results that are there are stored, and the report says
    ``interrupted``. A second one raises at once.

    Args:
        sources: absolute paths and URLs, as `media.sources.find_videos` gives them.
        store: the library.
        plan: what is made of every file; its readings are those of ``models``, whatever it says.
        models: what is computed from clips of every file.
        batch: clips computed at a time; None for what suits the device.
        workers: decoding processes; None for one per core, 0 to decode in this process (one file at a time; for
            file systems that live in it, such as ``memory://``).
        retry_failed: try files again that failed before and have not changed.
        silence_seconds: how long a worker may make no progress.
        on_event: told of every file and its progress, in this thread.
        stop: ends the run early when it is set, like a signal.

    Raises:
        InvalidArgument: for a negative number of workers, or a plan that makes nothing.
        SpaceMismatch: when the library holds vectors of other spaces of the same names.
        StoreBusy: when another process keeps the library's write lock for too long.
        StoreError: when the disk does not take it.
        ReelspaceError: when workers cannot be started.
    """
    if workers is not None and workers < 0:
        raise InvalidArgument(f"workers are 0 or more, got {workers}")
    if not plan.encoders and not plan.signers and not models:
        raise InvalidArgument("nothing to make of the files; give at least one encoder or signer")
    store.require(
        frames=[
            *(plan.encoder_space(i) for i in range(len(plan.encoders))),
            *(space for m in models if m.in_frames for space in m.spaces(decoding=plan.decoding)),
        ],
        clips=[space for m in models if not m.in_frames for space in m.spaces(decoding=plan.decoding)],
        signatures=[plan.signer_space(i) for i in range(len(plan.signers))],
    )
    stopping = stop or threading.Event()
    run = _Run(
        dict.fromkeys(sources),
        store=store,
        plan=replace(plan, readings=readings_of(models)),
        models=models,
        batch=batch,
        workers=workers,
        retry_failed=retry_failed,
        silence_seconds=silence_seconds,
        tell=on_event or _ignore,
    )
    with _signals(stopping):
        return run.go(stopping)


@contextlib.contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    """While it lasts, the first SIGINT or SIGTERM sets ``stopping``, and a second one does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def first(number: int, frame: object) -> None:  # noqa: ARG001
        stopping.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()


def _ignore(event: Event) -> None:
    """What nobody watches."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file that a worker has done its part for.

    Attributes:
        source: path or URL.
        claim: the lock on it.
        began: monotonic time at which the worker took it.
        hashed: what the worker said of its content, if it came so far.
    """

    source: str
    claim: FileLock
    began: float
    hashed: Hashed | None

    @classmethod
    def of(cls, seat: Seat) -> _Begun:
        """The file a worker was busy with; the worker is idle then."""
        began, hashed = seat.began, seat.hashed
        return cls(*seat.clear(), began, hashed)


class _Run:
    def __init__(
        self,
        sources: Iterable[str],
        *,
        store: Store,
        plan: Plan,
        models: Sequence[Model],
        batch: int | None,
        workers: int | None,
        retry_failed: bool,
        silence_seconds: float,
        tell: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._plan = plan
        self._retry_failed = retry_failed
        self._silence_seconds = silence_seconds
        self._tell = tell
        self._seats: list[Seat] = []
        self._in_process = workers == 0
        self._most_seats = available_cores() if workers is None else max(1, workers)
        self._encoder_tables = [frame_table_name(e.space) for e in plan.encoders]
        self._signer_tables = [signature_table_name(plan.signer_space(i)) for i in range(len(plan.signers))]
        self._models = models
        self._batch = batch
        self._model_tables = [_tables_of(model, plan.decoding) for model in models]
        self._all_tables = frozenset((*self._encoder_tables, *self._signer_tables)).union(*self._model_tables)
        self._commits_by_others = store.commits_by_others()  # that the ledger read next knows of
        record = store.record()
        self._ledger = store.ledger(record)
        self._tables = store.tables_by_video(record=record)
        self._todo = deque(sources)
        self._elsewhere: deque[str] = deque()  # claimed by another process when their turn came
        # Files whose bytes another file of this run is being decoded for, by content id.
        self._same: defaultdict[str, list[tuple[str, Stamp, FileLock, float]]] = defaultdict(list)
        # Files whose decoding is done and whose clips are still being computed, by content id.
        self._computing: dict[str, tuple[_Begun, Fingerprints]] = {}
        self._owed: deque[tuple[Seat, int]] = (
            deque()
        )  # slots that were read, and stay taken while too much is waiting
        self._done: dict[Outcome, int] = defaultdict(int)
        self._failed: list[FileDone] = []
        self._known_failures: list[FileDone] = []
        self._video_seconds = 0.0

    def go(self, stopping: threading.Event) -> Report:
        began = time.monotonic()
        self._writer = Writer(self._store)
        self._woken, wake = Pipe(duplex=False)
        self._computer = ModelRun(self._models, batch=self._batch, on_done=lambda: wake.send_bytes(b"!"))
        try:
            while not stopping.is_set():
                self._writer.check()
                self._hand_out(stopping)
                self._collect()
                busy = {seat.connection: seat for seat in self._seats if seat.source is not None}
                if not busy and not self._todo and not self._elsewhere and not self._computing:
                    break
                self._listen(busy)
        finally:
            for seat in self._seats:
                seat.end()
            self._computer.end()
            self._writer.close()
            for seat in self._seats:
                if seat.claim is not None:
                    seat.claim.release()
            for file, _ in self._computing.values():
                file.claim.release()
            for same in self._same.values():
                for _, _, claim, _ in same:
                    claim.release()
        self._writer.check()
        if not stopping.is_set() and self._writer.commits:
            self._store.compact()
        return Report(
            indexed=self._done["indexed"],
            same_content=self._done["same-content"],
            skipped=self._done["skipped"],
            failed=tuple(self._failed),
            known_failures=tuple(self._known_failures),
            video_seconds=self._video_seconds,
            elapsed_seconds=time.monotonic() - began,
            interrupted=stopping.is_set(),
        )

    # Handing out

    def _hand_out(self, stopping: threading.Event) -> None:
        """Gives a file to every idle worker, starting workers as long as there is work for them."""
        while not stopping.is_set() and self._writer.waiting_bytes < WAITING_BYTES:
            seat = next((seat for seat in self._seats if seat.source is None), None)
            if seat is None and len(self._seats) >= self._most_seats:
                return
            work = self._next_work(stopping)
            if work is None:
                return
            source, stamp, claim = work
            if seat is None:
                seat = Seat(self._plan, in_process=self._in_process)
                self._seats.append(seat)
            try:
                seat.give(source, claim, size_bytes=stamp.size_bytes, threads=self._threads_each())
            except OSError:  # it died while it was idle, which is not this file's fault
                claim.release()
                seat.end()
                self._seats.remove(seat)
                self._todo.appendleft(source)

    def _threads_each(self) -> int:
        """Decoding threads of the next file: 1 while there are files for all workers, more for the last few."""
        busy = sum(seat.source is not None for seat in self._seats)
        return max(1, self._most_seats // (busy + 1 + len(self._todo)))

    def _next_work(self, stopping: threading.Event) -> tuple[str, Stamp, FileLock] | None:
        """The next file that needs work, claimed."""
        if not self._todo and all(seat.source is None for seat in self._seats):
            # Nothing else left to do: see whether others have finished what they had claimed.
            self._todo, self._elsewhere = self._elsewhere, deque()
        while self._todo and not stopping.is_set():
            source = self._todo.popleft()
            try:
                stamp = stamp_of(source)
            except CannotOpen as error:
                stamp, claim = UNREADABLE, self._claim(source)
                if self._settled(source, stamp):
                    continue
                failed = Failed(error.reason, type(error).__name__, of_content=False)
                self._record_failure(source, stamp, None, claim, failed, spent_seconds=0.0)
                continue
            if self._settled(source, stamp):
                continue
            claim = self._claim(source)
            if not claim.try_acquire():
                self._elsewhere.append(source)
                continue
            # Between our reading the ledger and our claim another process may have done the file.
            if self._catch_up(source) and self._settled(source, stamp):
                claim.release()
                continue
            return source, stamp, claim
        return None

    def _claim(self, source: str) -> FileLock:
        name = hashlib.blake2b(os.fsencode(source), digest_size=12).hexdigest()
        return FileLock(self._store.place / "locks" / f"{name}.lock", temporary=True)

    def _catch_up(self, source: str) -> bool:
        """Reads the ledger's line of a file again if another process wrote anything since; whether there is one."""
        if self._store.commits_by_others() == self._commits_by_others:
            return False
        found = self._store.find([source])
        self._ledger.update(found)
        ids = [entry.video_id for entry in found.values() if entry.video_id is not None]
        if ids:
            self._tables |= self._store.tables_by_video(ids)
        return bool(found)

    def _settled(self, source: str, stamp: Stamp) -> bool:
        """Whether the ledger says all there is to do about a file; if so, reports it."""
        entry = self._ledger.get(source)
        if entry is None or entry.stamp != stamp:
            return False
        if entry.outcome == "failed":
            if self._retry_failed:
                return False
            done = FileDone(source, "skipped", entry.reason, 0.0)
            self._known_failures.append(done)
            self._tell(done)
            return True
        if self._missing(entry.video_id):
            return False
        self._finish(FileDone(source, "skipped", entry.reason, 0.0))
        return True

    def _missing(self, video_id: str | None) -> frozenset[str]:
        return self._all_tables - self._tables.get(video_id or "", frozenset())

    # Listening

    def _listen(self, busy: dict[Connection, Seat]) -> None:
        """Waits a moment for what workers have to say."""
        before = time.monotonic()
        for connection in wait([self._woken, *busy], TICK_SECONDS):
            if connection is self._woken:
                self._woken.recv_bytes()
                continue
            seat = busy[connection]  # type: ignore[index] # only connections were given
            try:
                message = seat.receive()
            except (EOFError, OSError):
                self._replace(seat, seat.cause_of_death(), "WorkerCrashed")
            else:
                self._react(seat, message)
        if time.monotonic() - before > self._silence_seconds / 2:
            return  # this process itself was suspended; nobody is to blame for the silence
        for seat in busy.values():
            if seat.silent_for(self._silence_seconds):
                self._replace(seat, f"no progress for {self._silence_seconds:g} s", "WorkerHung")

    def _react(self, seat: Seat, message: Hashed | Progress | Made | Fingerprints | Failed | Broken) -> None:
        match message:
            case Progress():
                seat.video_seconds = message.video_seconds
                self._tell(message)
            case Hashed():
                self._decide(seat, message)
            case Made():
                self._compute(seat, message)
            case Fingerprints():
                self._receive(seat, message)
            case Failed():
                self._video_seconds += seat.video_seconds
                self._fail(_Begun.of(seat), message)
            case Broken():
                raise ReelspaceError(f"a worker could not begin:\n{message.trace}")

    def _decide(self, seat: Seat, hashed: Hashed) -> None:
        """A file's content is known now: what does it still need?"""
        missing = self._missing(hashed.video_id)
        elsewhere = hashed.video_id in self._computing or any(
            other.hashed and other.hashed.video_id == hashed.video_id for other in self._seats
        )
        if missing and not elsewhere:
            seat.hashed = hashed
            models = [i for i, names in enumerate(self._model_tables) if names & missing]
            if models:
                self._computer.open(hashed.video_id, models)
            readings = {self._models[i].reading for i in models}
            seat.ask(
                Wanted(
                    tuple(i for i, name in enumerate(self._encoder_tables) if name in missing),
                    tuple(i for i, name in enumerate(self._signer_tables) if name in missing),
                    tuple(i for i, reading in enumerate(self._plan.readings) if reading in readings),
                )
            )
            return
        seat.ask(Wanted())
        began = seat.began
        source, claim = seat.clear()
        if missing:
            self._same[hashed.video_id].append((source, hashed.stamp, claim, began))
        else:
            self._record_same_content(source, hashed.stamp, hashed.video_id, claim, note=None, began=began)

    def _compute(self, seat: Seat, made: Made) -> None:
        """Clips came: on with them to the models, and their slot is free again unless too much is waiting."""
        if seat.hashed is None:
            raise ReelspaceError(f"a worker read {seat.source} without having been asked to")
        self._computer.put(seat.hashed.video_id, made.reading, seat.clips(made))
        self._owed.append((seat, made.pixels.slot))
        self._free_slots()

    def _free_slots(self) -> None:
        while self._owed and self._computer.waiting_bytes < WAITING_PIXELS:
            seat, slot = self._owed.popleft()
            if seat in self._seats:
                with contextlib.suppress(OSError):  # its death is noticed where it is listened to
                    seat.free(slot)

    def _receive(self, seat: Seat, made: Fingerprints) -> None:
        """A file is decoded; it is done once the models have seen all its clips, too."""
        file = _Begun.of(seat)
        if not self._computer.is_open(made.video_id):
            self._store_result(file, made, {})
            return
        self._computing[made.video_id] = (file, made)
        self._computer.close(made.video_id)

    def _collect(self) -> None:
        """Takes what the models have finished."""
        for video_id, computed in self._computer.take():
            file, made = self._computing.pop(video_id)
            try:
                require_finite(file.source, [(self._models[i], of_model) for i, of_model in computed.items()])
            except NotFinite as error:
                self._fail(file, Failed(error.reason, type(error).__name__, of_content=False))
            else:
                self._store_result(file, made, computed)
        self._free_slots()

    def _store_result(self, file: _Begun, made: Fingerprints, computed: dict[int, Computed]) -> None:
        if file.hashed is None:
            raise ReelspaceError(f"a worker decoded {file.source} without having been asked to")
        stored, source = StoredVideo(made.video_id, made.video, made.seen_seconds), file.source
        rows = [
            rows_of(
                self._models[i],
                of_model,
                output,
                decoding=self._plan.decoding,
                duration_seconds=made.duration_seconds,
            )
            for i, of_model in computed.items()
            for output in self._models[i].outputs
        ]
        entry = _entry(
            source, file.hashed.stamp, stored.video_id, made.note, spent_seconds=time.monotonic() - file.began
        )
        finished = Finished(
            entry,
            stored,
            (*made.sequences, *(row for row in rows if isinstance(row, FrameSequence))),
            made.signatures,
            tuple(row for row in rows if isinstance(row, ClipSequence)),
        )
        self._writer.put(finished, file.claim)
        self._ledger[source] = entry
        self._tables[stored.video_id] = self._tables.get(stored.video_id, frozenset()) | self._all_tables
        self._video_seconds += stored.seen_seconds
        self._finish(FileDone(source, "indexed", made.note, stored.seen_seconds))
        for same, stamp, same_claim, same_began in self._same.pop(stored.video_id, []):
            self._record_same_content(same, stamp, stored.video_id, same_claim, note=made.note, began=same_began)

    def _record_same_content(
        self, source: str, stamp: Stamp, video_id: str, claim: FileLock, *, note: str | None, began: float
    ) -> None:
        entry = _entry(source, stamp, video_id, note, spent_seconds=time.monotonic() - began)
        self._writer.put(Finished(entry), claim)
        self._ledger[source] = entry
        self._finish(FileDone(source, "same-content", note, 0.0))

    def _fail(self, file: _Begun, failed: Failed) -> None:
        hashed = file.hashed
        video_id = hashed.video_id if hashed is not None and failed.of_content else None
        if hashed is not None:
            stamp = hashed.stamp
            self._computer.drop(hashed.video_id)
        else:
            try:
                stamp = stamp_of(file.source)
            except CannotOpen:
                stamp = UNREADABLE
        spent = time.monotonic() - file.began
        self._record_failure(file.source, stamp, video_id, file.claim, failed, spent_seconds=spent)
        if hashed is None:
            return
        for same, same_stamp, same_claim, _ in self._same.pop(hashed.video_id, []):
            if video_id is None:  # the file changed under the worker: the other one is still what it was
                same_claim.release()
                self._todo.appendleft(same)
            else:
                self._record_failure(same, same_stamp, video_id, same_claim, failed, spent_seconds=0.0)

    def _record_failure(
        self,
        source: str,
        stamp: Stamp,
        video_id: str | None,
        claim: FileLock,
        failed: Failed,
        *,
        spent_seconds: float,
    ) -> None:
        known = self._ledger.get(source)
        # What an earlier run made of the same bytes stays, if only another encoder fails on them now.
        if known is not None and known.outcome == "indexed" and known.stamp == stamp:
            claim.release()
        else:
            entry = LedgerEntry(
                source, stamp, video_id, "failed", failed.reason, failed.error, datetime.now(UTC), spent_seconds
            )
            self._writer.put(Finished(entry), claim)
            self._ledger[source] = entry
        done = FileDone(source, "failed", failed.reason, 0.0)
        self._failed.append(done)
        self._tell(done)

    def _replace(self, seat: Seat, reason: str, error: str) -> None:
        """Ends a worker that crashed or hangs; its file has failed, and another worker takes the next one."""
        seat.end()
        self._seats.remove(seat)
        if seat.hashed is None and seat.heard == seat.began and "ended with status" in reason:
            raise ReelspaceError(f"a worker could not begin: {reason}")
        self._video_seconds += seat.video_seconds
        self._fail(_Begun.of(seat), Failed(reason, error, of_content=True))

    def _finish(self, done: FileDone) -> None:
        self._done[done.outcome] += 1
        self._tell(done)


def _tables_of(model: Model, decoding: str) -> frozenset[str]:
    named = frame_table_name if model.in_frames else clip_table_name
    return frozenset(named(space) for space in model.spaces(decoding=decoding))


def _entry(source: str, stamp: Stamp, video_id: str, note: str | None, *, spent_seconds: float) -> LedgerEntry:
    return LedgerEntry(source, stamp, video_id, "indexed", note, None, datetime.now(UTC), spent_seconds)
