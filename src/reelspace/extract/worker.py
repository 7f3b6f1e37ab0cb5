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

from reelspace.errors import CannotOpen, MediaError
from reelspace.extract.events import Progress
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.messages import Broken, Failed, Hashed, Job, Wanted
from reelspace.extract.plan import Plan
from reelspace.extract.stamps import stamp_of
from reelspace.media.sources import content_id

__all__ = ["serve", "serve_descriptor"]

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
        made = fingerprint(
            job.source,
            plan,
            video_id=video_id,
            encoders=wanted.encoders,
            signers=wanted.signers,
            threads=job.threads,
            on_progress=_Teller(connection, job.source).tell,
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

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source
        self._told = time.monotonic()

    def tell(self, video_seconds: float) -> None:
        if (now := time.monotonic()) - self._told >= PROGRESS_SECONDS:
            self._connection.send(Progress(self._source, video_seconds))
            self._told = now
