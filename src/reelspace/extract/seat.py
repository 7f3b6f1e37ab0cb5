"""One place where a worker sits: the process, the line to it, the file it is busy with."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any

from reelspace.errors import ReelspaceError
from reelspace.extract.clips import Clips
from reelspace.extract.messages import Free, Hashed, Job, Made, Wanted
from reelspace.extract.plan import Plan
from reelspace.extract.slots import Slots
from reelspace.store.locks import FileLock

__all__ = ["Seat"]

HASHED_BYTES_PER_SECOND = 10e6  # the slowest disk or network that is not taken for a hang

DYING_SECONDS = 5.0

# One file per core: the arithmetic libraries' own threads would only fight over them.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_PROGRAM = """
import sys
sys.path[:] = {path!r}
from reelspace.extract.worker import serve_descriptor
serve_descriptor({descriptor}, {memory})
"""


class Seat:
    """A worker and what it is doing. The worker is a process of its own, or a thread of this one.

    Attributes:
        connection: the line to the worker.
        source: the file it is busy with, or None.
        claim: the lock on that file.
        hashed: what it said of the content, once it did.
        began: monotonic time at which it took the file.
        video_seconds: how far it said it has come.
    """

    def __init__(self, plan: Plan, *, in_process: bool) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self.connection, theirs = Pipe()
        memory = Slots.reserve(plan.readings)
        try:
            self._slots = Slots(memory)
            if in_process:
                from reelspace.extract.worker import serve

                threading.Thread(target=serve, args=(theirs, self._slots), daemon=True).start()
            else:
                with theirs:
                    self._process, self._errors = _start(theirs, memory)
        finally:
            os.close(memory)
        try:
            setup = pickle.dumps(plan)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.end()
            raise ReelspaceError(
                f"an encoder cannot be sent to a worker process: {error}; define it in a module, or use workers=0"
            ) from error
        self.connection.send_bytes(setup)
        self._rest()

    def _rest(self) -> None:
        self.source: str | None = None
        self.claim: FileLock | None = None
        self.hashed: Hashed | None = None
        self.began = self.heard = time.monotonic()
        self.allowed_seconds = 0.0
        self.video_seconds = 0.0

    def give(self, source: str, claim: FileLock, *, size_bytes: int, threads: int) -> None:
        """Sets the worker to a file, to be decoded on so many threads."""
        self._rest()
        self.source, self.claim = source, claim
        self.allowed_seconds = size_bytes / HASHED_BYTES_PER_SECOND  # reading it all comes before the first word
        self.connection.send(Job(source, threads))

    def ask(self, wanted: Wanted) -> None:
        """Says what its file still needs."""
        self.allowed_seconds = 0.0
        self.connection.send(wanted)

    def clips(self, made: Made) -> Clips:
        """A copy of the clips that a worker made."""
        return Clips(made.starts_seconds, made.ends_seconds, self._slots.read(made.pixels))

    def free(self, slot: int) -> None:
        """Lets the worker write this slot again."""
        self.heard = time.monotonic()  # it may have waited for us
        self.connection.send(Free(slot))

    def receive(self) -> Any:
        """The worker's next message.

        Raises:
            EOFError, OSError: when it is gone.
        """
        message = self.connection.recv()
        self.heard = time.monotonic()
        return message

    def clear(self) -> tuple[str, FileLock]:
        """The worker is idle again; gives the file and the claim on it."""
        source, claim = self.source, self.claim
        if source is None or claim is None:
            raise ReelspaceError("a worker sent a result without having been given a file")
        self._rest()
        return source, claim

    def silent_for(self, seconds: float) -> bool:
        """Whether it should have said something by now."""
        return self.source is not None and time.monotonic() - self.heard > seconds + self.allowed_seconds

    def end(self) -> None:
        """Ends the worker at once, whatever it is doing."""
        self.connection.close()
        if self._process is not None and self._errors is not None:
            self._process.kill()
            self._process.wait()
            self._errors.close()

    def cause_of_death(self) -> str:
        """Why the line to the worker broke."""
        if self._process is None:
            return "the decoding thread ended"
        try:
            code = self._process.wait(timeout=DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return "the worker closed its line"
        if code < 0:
            name = signal.Signals(-code).name
            return (
                f"the decoder crashed ({name})" if name != "SIGKILL" else "the worker was killed (out of memory?)"
            )
        return f"the worker ended with status {code}: {self._last_words()}"

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _start(theirs: Connection, memory: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    program = _PROGRAM.format(path=sys.path, descriptor=theirs.fileno(), memory=memory)
    # What decoders complain of is in the ledger in better words; the end of this file explains a death.
    errors = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `end`
    # Ctrl-C reaches every process of a terminal, and a service manager's SIGTERM every one of a service; what they
    # mean is the parent's to say. Blocked signals stay so in the child from its first instruction on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process = subprocess.Popen(  # noqa: S603 # this very interpreter
            [sys.executable, "-c", program],
            pass_fds=[theirs.fileno(), memory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | _ONE_THREAD,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process, errors
