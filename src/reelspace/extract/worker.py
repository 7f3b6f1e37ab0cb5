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
from typing import Any

from reelspace.errors import CannotOpen, MediaError
from reelspace.extract.clips import Clips
from reelspace.extract.events import Progress
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.messages import Broken, Failed, Free, Hashed, Job, Made, Wanted
from reelspace.extract.plan import Plan
from reelspace.extract.slots import COUNT, Slots
from reelspace.extract.stamps import stamp_of
from reelspace.media.sources import content_id

__all__ = ["serve", "serve_descriptor"]

PROGRESS_SECONDS = 0.25


def serve_descriptor(descriptor: int, memory: int) -> None:
    """Serves on an inherited socket and memory; the process dies with its parent, whatever it is doing then."""

    def end_with_parent() -> None:
        hang_up = select.poll()
        hang_up.register(descriptor, 0)  # only the other end's hanging up is reported
        hang_up.poll()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    serve(Connection(descriptor), Slots(memory))


def serve(connection: Connection, slots: Slots) -> None:
    """Answers jobs until the other end closes; the first message is the pickled setup."""
    try:
        with connection:
            try:
                plan: Plan = pickle.loads(connection.recv_bytes())  # noqa: S301 # our parent's
            except Exception:  # noqa: BLE001 # whatever importing a user's encoder may raise
                connection.send(Broken(traceback.format_exc()))
                return
            desk = _Desk(connection, slots)
            while True:
                _answer(desk, desk.receive(), plan)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class _Desk:
    """The line to the parent, and the slots that may be written."""

    def __init__(self, connection: Connection, slots: Slots) -> None:
        self.send = connection.send
        self._connection = connection
        self._slots = slots
        self._free = list(range(COUNT))

    def receive(self) -> Any:
        """The parent's next message but for `Free`."""
        while isinstance(message := self._connection.recv(), Free):
            self._free.append(message.slot)
        return message

    def hand_over(self, reading: int, clips: Clips) -> None:
        """Gives clips to the parent; waits until there is a slot for them: decoding never runs far ahead."""
        while not self._free:
            self._free.append(self._connection.recv().slot)
        stowed = self._slots.write(self._free.pop(), clips.pixels)
        self.send(Made(reading, clips.starts_seconds, clips.ends_seconds, stowed))


def _answer(connection: _Desk, job: Job, plan: Plan) -> None:
    of_content = False
    try:
        stamp = stamp_of(job.source)
        connection.send(Hashed(stamp, video_id := content_id(job.source)))
        wanted: Wanted = connection.receive()
        if wanted == Wanted():
            return
        of_content = True
        made = fingerprint(
            job.source,
            plan,
            video_id=video_id,
            encoders=wanted.encoders,
            signers=wanted.signers,
            readings=wanted.readings,
            threads=job.threads,
            on_progress=_Teller(connection, job.source).tell,
            on_clips=connection.hand_over if wanted.readings else None,
        )
        if stamp_of(job.source) != stamp:
            connection.send(Failed("changed while it was read", CannotOpen.__name__, of_content=False))
        else:
            connection.send(made)
    except MediaError as error:
        connection.send(Failed(error.reason, type(error).__name__, of_content))
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 # one file never stops the run; the ledger says what it was
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"unexpected {type(error).__name__}: {error} ({place.name}, line {place.lineno})"
        connection.send(Failed(reason, type(error).__name__, of_content))


class _Teller:
    """Says how far a file has come, a few times a second."""

    def __init__(self, connection: _Desk, source: str) -> None:
        self._connection = connection
        self._source = source
        self._told = time.monotonic()

    def tell(self, video_seconds: float) -> None:
        if (now := time.monotonic()) - self._told >= PROGRESS_SECONDS:
            self._connection.send(Progress(self._source, video_seconds))
            self._told = now
