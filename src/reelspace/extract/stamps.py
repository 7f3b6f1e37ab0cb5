"""Whether a file is the one seen last time, told without reading it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from reelspace.errors import CannotOpen
from reelspace.media.sources import source_stat
from reelspace.store.rows import Stamp

__all__ = ["missing", "stamp_of"]


def stamp_of(source: str) -> Stamp:
    """Size and time of a source; for an object store its mark of the version stands in for the time.

    Raises:
        CannotOpen: when there is no such file or it may not be looked at.
        MissingExtra: for a URL whose file system is not installed.
    """
    found = source_stat(source)
    changed = found.modified_ns or 0
    if found.etag is not None:
        changed = int.from_bytes(hashlib.blake2b(found.etag.encode(), digest_size=7).digest(), "big")
    return Stamp(found.size_bytes or 0, changed)


def missing(sources: Iterable[str]) -> list[str]:
    """Those of ``sources`` that are certainly not there: what a library may be asked to forget.

    What may not be looked at, or lies on a server that does not answer, may be there.
    """
    return [source for source in sources if not _may_be_there(source)]


def _may_be_there(source: str) -> bool:
    try:
        stamp_of(source)
    except CannotOpen as error:
        return not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
    return True
