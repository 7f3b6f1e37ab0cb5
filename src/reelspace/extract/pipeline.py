"""From a list of files to a library: what is known is left alone, the rest is decoded once and stored.

    sources ──► ledger: untouched? ──► claim ──► worker: hash ──► content known? ──► worker: decode, encode
                       │ skip                                       │ only the ledger        │
                       ▼                                            ▼                        ▼
                     report ◄───────────────────────────────────  writer: one step for many files

Worker processes decode, each one file at a time on one thread. This process hands out paths and takes results; its
writer thread is the only one that writes. A claim (a lock that dies with its holder) keeps two processes that index
into one library from working on the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait

from reelspace.core.machine import available_cores
from reelspace.errors import CannotOpen, InvalidArgument, ReelspaceError
from reelspace.extract.events import Event, FileDone, Outcome, Progress, Report
from reelspace.extract.fingerprint import Fingerprints
from reelspace.extract.messages import Broken, Failed, Hashed, Wanted
from reelspace.extract.plan import Plan
from reelspace.extract.seat import Seat
from reelspace.extract.stamps import stamp_of
from reelspace.extract.writer import Writer
from reelspace.store.locks import FileLock
from reelspace.store.rows import Finished, LedgerEntry, Stamp, StoredVideo
from reelspace.store.store import Store
from reelspace.store.tables import frame_table_name, signature_table_name

__all__ = ["extract"]

TICK_SECONDS = 0.2
WAITING_BYTES = 256 << 20  # of results not on disk yet, beyond which no new file is begun
UNREADABLE = Stamp(0, 0)


def extract(
    sources: Iterable[str],
    *,
    store: Store,
    plan: Plan,
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
        plan: what is made of every file.
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
    if not plan.encoders and not plan.signers:
        raise InvalidArgument("nothing to make of the files; give at least one encoder or signer")
    store.require(
        frames=[plan.encoder_space(i) for i in range(len(plan.encoders))],
        signatures=[plan.signer_space(i) for i in range(len(plan.signers))],
    )
    stopping = stop or threading.Event()
    run = _Run(
        dict.fromkeys(sources),
        store=store,
        plan=plan,
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


class _Run:
    def __init__(
        self,
        sources: Iterable[str],
        *,
        store: Store,
        plan: Plan,
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
        self._all_tables = frozenset((*self._encoder_tables, *self._signer_tables))
        self._commits_by_others = store.commits_by_others()  # that the ledger read next knows of
        record = store.record()
        self._ledger = store.ledger(record)
        self._tables = store.tables_by_video(record=record)
        self._todo = deque(sources)
        self._elsewhere: deque[str] = deque()  # claimed by another process when their turn came
        # Files whose bytes another file of this run is being decoded for, by content id.
        self._same: defaultdict[str, list[tuple[str, Stamp, FileLock, float]]] = defaultdict(list)
        self._done: dict[Outcome, int] = defaultdict(int)
        self._failed: list[FileDone] = []
        self._known_failures: list[FileDone] = []
        self._video_seconds = 0.0

    def go(self, stopping: threading.Event) -> Report:
        began = time.monotonic()
        self._writer = Writer(self._store)
        try:
            while not stopping.is_set():
                self._writer.check()
                self._hand_out(stopping)
                busy = {seat.connection: seat for seat in self._seats if seat.source is not None}
                if not busy and not self._todo and not self._elsewhere:
                    break
                self._listen(busy)
        finally:
            for seat in self._seats:
                seat.end()
            self._writer.close()
            for seat in self._seats:
                if seat.claim is not None:
                    seat.claim.release()
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
        if not busy:
            time.sleep(TICK_SECONDS)
        for connection in wait(list(busy), TICK_SECONDS) if busy else ():
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

    def _react(self, seat: Seat, message: Hashed | Progress | Fingerprints | Failed | Broken) -> None:
        match message:
            case Progress():
                seat.video_seconds = message.video_seconds
                self._tell(message)
            case Hashed():
                self._decide(seat, message)
            case Fingerprints():
                self._store_result(seat, message)
            case Failed():
                self._fail(seat, message)
            case Broken():
                raise ReelspaceError(f"a worker could not begin:\n{message.trace}")

    def _decide(self, seat: Seat, hashed: Hashed) -> None:
        """A file's content is known now: what does it still need?"""
        missing = self._missing(hashed.video_id)
        elsewhere = any(other.hashed and other.hashed.video_id == hashed.video_id for other in self._seats)
        if missing and not elsewhere:
            seat.hashed = hashed
            seat.ask(
                Wanted(
                    tuple(i for i, name in enumerate(self._encoder_tables) if name in missing),
                    tuple(i for i, name in enumerate(self._signer_tables) if name in missing),
                )
            )
            return
        seat.ask(Wanted((), ()))
        began = seat.began
        source, claim = seat.clear()
        if missing:
            self._same[hashed.video_id].append((source, hashed.stamp, claim, began))
        else:
            self._record_same_content(source, hashed.stamp, hashed.video_id, claim, note=None, began=began)

    def _store_result(self, seat: Seat, made: Fingerprints) -> None:
        stored = StoredVideo(made.video_id, made.video, made.seen_seconds)
        began, hashed = seat.began, seat.hashed
        source, claim = seat.clear()
        if hashed is None:
            raise ReelspaceError(f"a worker decoded {source} without having been asked to")
        entry = _entry(source, hashed.stamp, stored.video_id, made.note, spent_seconds=time.monotonic() - began)
        self._writer.put(Finished(entry, stored, made.sequences, made.signatures), claim)
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

    def _fail(self, seat: Seat, failed: Failed) -> None:
        hashed, began, seconds = seat.hashed, seat.began, seat.video_seconds
        source, claim = seat.clear()
        self._video_seconds += seconds
        video_id = hashed.video_id if hashed is not None and failed.of_content else None
        if hashed is not None:
            stamp = hashed.stamp
        else:
            try:
                stamp = stamp_of(source)
            except CannotOpen:
                stamp = UNREADABLE
        spent = time.monotonic() - began
        self._record_failure(source, stamp, video_id, claim, failed, spent_seconds=spent)
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
        self._fail(seat, Failed(reason, error, of_content=True))

    def _finish(self, done: FileDone) -> None:
        self._done[done.outcome] += 1
        self._tell(done)


def _entry(source: str, stamp: Stamp, video_id: str, note: str | None, *, spent_seconds: float) -> LedgerEntry:
    return LedgerEntry(source, stamp, video_id, "indexed", note, None, datetime.now(UTC), spent_seconds)
