"""The one writer of a run: a thread that stores what comes in, many files to a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from reelspace.store.locks import FileLock
from reelspace.store.rows import Finished
from reelspace.store.store import Store

__all__ = ["Writer"]

SHARE_OF_TIME = 0.05  # of one core at most, for writing
LONGEST_WAIT_SECONDS = 2.0
COMMIT_BYTES = 64 << 20
COMPACT_AFTER_COMMITS = 200


class Writer:
    """Takes finished files, and commits them in groups; a file's claim is given back once it is on disk.

    A step costs tens of milliseconds whatever it holds, so after each one the writer lets results gather until
    writing takes no more than a twentieth of the time.

    Attributes:
        waiting_bytes: memory of results that are not on disk yet.
        commits: steps written.
    """

    def __init__(self, store: Store) -> None:
        self.waiting_bytes = 0
        self.commits = 0
        self._store = store
        self._waiting: list[tuple[Finished, FileLock]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="reelspace writer", daemon=True)
        self._thread.start()

    def put(self, finished: Finished, claim: FileLock) -> None:
        """Hands a finished file over, with the claim on it.

        Raises:
            whatever an earlier step raised; the claim is given back then.
        """
        with self._changed:
            if self._error is None:
                self._waiting.append((finished, claim))
                self.waiting_bytes += finished.size_bytes
                self._changed.notify()
                return
        claim.release()
        self.check()

    def check(self) -> None:
        """Raises what an earlier step raised."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Writes what is waiting, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        rest_until = 0.0
        while (batch := self._next(rest_until)) is not None:
            began = time.monotonic()
            try:
                self._store.commit([finished for finished, _ in batch])
                self.commits += 1
                if self.commits % COMPACT_AFTER_COMMITS == 0:
                    self._store.compact()
            except BaseException as error:  # noqa: BLE001 # raised again where results are put
                with self._changed:
                    self._error = error
                    batch = [*batch, *self._waiting]  # what came meanwhile is not written either
                    self._waiting = []
                return
            finally:
                for _, claim in batch:
                    claim.release()
            ended = time.monotonic()
            rest_until = ended + min((ended - began) / SHARE_OF_TIME, LONGEST_WAIT_SECONDS)

    def _next(self, rest_until: float) -> Sequence[tuple[Finished, FileLock]] | None:
        """What is to be written now; None when all is written and the writer is closing."""

        def ready() -> bool:
            return self._closing or self.waiting_bytes >= COMMIT_BYTES

        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._waiting))
            self._changed.wait_for(ready, timeout=max(0.0, rest_until - time.monotonic()))
            batch, self._waiting, self.waiting_bytes = self._waiting, [], 0
            return batch or None
