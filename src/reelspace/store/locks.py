"""Locks between processes that the system takes back when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from reelspace.errors import StoreBusy

__all__ = ["FileLock"]

POLL_SECONDS = 0.005


class FileLock:
    """An exclusive lock on a file of no content (`flock`), held by this object and nobody else.

    Two objects on one path exclude each other, in one process as well as in two. Waiting as a context manager takes
    at most ``timeout_seconds``.

    Attributes:
        path: the file; it is made when the lock is taken and, with ``temporary``, removed when it is given back.
    """

    def __init__(self, path: Path, *, timeout_seconds: float = 60.0, temporary: bool = False) -> None:
        self.path = path
        self._timeout_seconds = timeout_seconds
        self._temporary = temporary
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Takes the lock if it is free; whether this object holds it now."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file between our open and our lock: then this lock is on a file
            # that nobody else will ever open.
            named = self.path.stat().st_ino == os.fstat(descriptor).st_ino
        except (BlockingIOError, FileNotFoundError):
            named = False
        if not named:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def acquire(self) -> None:
        """Takes the lock, waiting for it.

        Raises:
            StoreBusy: when another holder kept it for longer than the time-out.
        """
        deadline = time.monotonic() + self._timeout_seconds
        while not self.try_acquire():
            if time.monotonic() > deadline:
                raise StoreBusy(
                    f"{self.path} was held by another process for {self._timeout_seconds:g} seconds; "
                    "wait for that process or end it, then run again"
                )
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Gives the lock back; harmless when it is not held."""
        if self._descriptor is None:
            return
        if self._temporary:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
