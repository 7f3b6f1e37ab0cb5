"""Every error the library raises on purpose.

    ReelspaceError
    ├── InvalidArgument (also ValueError)    the words were wrong: nothing was tried
    │   └── UnknownName                      a name that is not known; suggests the nearest one
    ├── MissingExtra (also ImportError)      an optional part is not installed; says which `pip install`
    ├── MediaError                           one file cannot be used; `reason` is what the ledger keeps
    │   ├── CannotOpen                       not a media file, damaged header, encrypted, no permission
    │   ├── NoVideoStream                    opened, but nothing to look at
    │   ├── DecodeFailed                     opened, but no usable picture comes out
    │   ├── Truncated                        fewer pictures than the container promises
    │   └── NotFinite                        a model made numbers of it that are none
    ├── StoreError                           the library on disk
    │   ├── NotALibrary                      no library at that place, or one of another schema version
    │   └── StoreBusy                        another process kept the write lock too long
    ├── SpaceMismatch (also ValueError)      vectors of two embedding spaces were about to be mixed
    ├── CheckpointError                      a model's weights cannot be had, or are not what they were
    └── FormatError (also ValueError)        a file of a known format (.tmk, .npz, weights) that breaks its format

A message says what happened, what was got, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CannotOpen",
    "CheckpointError",
    "DecodeFailed",
    "FormatError",
    "InvalidArgument",
    "MediaError",
    "MissingExtra",
    "NoVideoStream",
    "NotALibrary",
    "NotFinite",
    "ReelspaceError",
    "SpaceMismatch",
    "StoreBusy",
    "StoreError",
    "Truncated",
    "UnknownName",
]

_MOST_NAMED = 12  # a longer list says nothing


class ReelspaceError(Exception):
    """Base of every error raised on purpose."""


class InvalidArgument(ReelspaceError, ValueError):
    """An argument is outside what the function accepts."""


class UnknownName(InvalidArgument):
    """A name that is not in a table; the message suggests the nearest one, or else names all where they are few.

    Args:
        kind: what is named.
        got: the name.
        known: the table.
        listed_by: the command that lists it, for a long one.
    """

    def __init__(self, kind: str, got: str, known: Iterable[str], *, listed_by: str | None = None) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif not names:
            hint = "there is none"
        elif len(names) <= _MOST_NAMED:
            hint = f"known: {', '.join(names)}"
        else:
            hint = f"{len(names)} are known" + (f"; `{listed_by}` lists them" if listed_by else "")
        super().__init__(f"no {kind} named {got!r}; {hint}")


class MissingExtra(ReelspaceError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} is not installed; run: pip install 'reelspace[{extra}]'")


class MediaError(ReelspaceError):
    """One file cannot be used.

    Attributes:
        source: the path or URL.
        reason: one short phrase, without the path; this is what the ledger keeps.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        """Pickle by fields: the error crosses from decoding processes to the one that writes."""
        return type(self), (self.source, self.reason)


class CannotOpen(MediaError):
    """The file is not there, not readable, not media, encrypted, or its header is damaged."""


class NoVideoStream(MediaError):
    """The container opened but holds no video stream."""


class DecodeFailed(MediaError):
    """The stream is there, but no usable picture comes out of it."""


class Truncated(MediaError):
    """Fewer pictures came out than the container promises."""


class NotFinite(MediaError):
    """A model gave infinite numbers, or none, for it: half precision may be too little."""


class StoreError(ReelspaceError):
    """The library on disk cannot do what was asked."""


class NotALibrary(StoreError):
    """There is no library at that place, or it has a schema this version does not read."""


class StoreBusy(StoreError):
    """Another process held the write lock for too long."""


class SpaceMismatch(ReelspaceError, ValueError):
    """Vectors of two different embedding spaces were about to be compared or mixed."""

    def __init__(self, *, have: str, got: str, where: str) -> None:
        super().__init__(
            f"{where} holds vectors of {have}, and cannot be used with {got}; "
            "index into another library, or use the encoder and settings the library was made with"
        )


class FormatError(ReelspaceError, ValueError):
    """A file of a known format that breaks its format."""


class CheckpointError(ReelspaceError):
    """A model's weights are not on this machine and cannot be fetched, or are not what they were."""
