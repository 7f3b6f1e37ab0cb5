"""What the library keeps, as plain values: the ledger's entries, the videos, the signatures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reelspace.core.embeddings import ClipSequence
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.errors import InvalidArgument

__all__ = [
    "Finished",
    "LedgerEntry",
    "Signature",
    "SignatureMatrix",
    "Stamp",
    "StoredVideo",
    "Summary",
    "trusted_seconds",
]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells, without reading a file, whether it is the file seen last time.

    Attributes:
        size_bytes: its size.
        mtime_ns: when it was last written, in nanoseconds since 1970; for a URL whatever number the file system
            gives that changes with the content.
    """

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """How one file ended.

    Attributes:
        source: absolute path or URL.
        stamp: size and time of the file as it was read.
        video_id: content id; None when the file could not even be read to its end.
        outcome: ``indexed`` or ``failed``.
        reason: why it failed; for an indexed file a note, such as that it is truncated.
        error: name of the error's class, for a failed file.
        finished_at: when, in UTC.
        spent_seconds: how long the file took.

    Raises:
        InvalidArgument: when an indexed file has no content id, or a failed one no reason.
    """

    source: str
    stamp: Stamp
    video_id: str | None
    outcome: Literal["indexed", "failed"]
    reason: str | None
    error: str | None
    finished_at: datetime
    spent_seconds: float

    def __post_init__(self) -> None:
        if self.outcome == "indexed" and self.video_id is None:
            raise InvalidArgument(f"an indexed file has a content id, {self.source} has none")
        if self.outcome == "failed" and not self.reason:
            raise InvalidArgument(f"a failed file has a reason, {self.source} has none")


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """One content, wherever it lies and however many copies of the file there are.

    Attributes:
        video_id: content id: SHA-256 of the bytes, 64 hex digits.
        video: what the container says; its ``source`` is the first of ``sources``.
        seen_seconds: end of the last picture that came out.
        sources: every path or URL of it in the ledger, sorted.
        tables: names of the tables that hold rows of it, sorted.
    """

    video_id: str
    video: Video
    seen_seconds: float
    sources: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """What the container promises where the pictures bear it out, else what was seen."""
        return trusted_seconds(self.video.duration_seconds, self.seen_seconds)


def trusted_seconds(promised: float | None, seen: float) -> float:
    """What the container promises where the pictures bear it out to a second or 2 %, else their end."""
    if promised is not None and abs(promised - seen) <= 1.0 + 0.02 * seen:
        return promised
    return seen


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """One video in one vector per frequency: what `alignment.tmk` sums up.

    Attributes:
        space: the identity.
        frame_count: frames summed up.
        average: float32 (d,).
        cosines: float32 (P, m, d): periods, frequencies.
        sines: float32 (P, m, d).
    """

    space: Space
    frame_count: int
    average: NDArray[np.float32]
    cosines: NDArray[np.float32]
    sines: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.cosines.shape
        if len(shape) != 3 or self.sines.shape != shape or self.average.shape != shape[-1:]:
            raise InvalidArgument(
                f"a signature is (d,), (P, m, d), (P, m, d), got {self.average.shape}, {shape}, {self.sines.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SignatureMatrix:
    """The signatures of many videos, stacked. The arrays may be memory-mapped: read them in blocks.

    Attributes:
        video_ids: content id of each of the V videos.
        frame_counts: int64 (V,).
        averages: float32 (V, d).
        cosines: float32 (V, P, m, d).
        sines: float32 (V, P, m, d).
        space: the identity.
    """

    video_ids: tuple[str, ...]
    frame_counts: NDArray[np.int64]
    averages: NDArray[np.float32]
    cosines: NDArray[np.float32]
    sines: NDArray[np.float32]
    space: Space

    def __len__(self) -> int:
        return len(self.video_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """One file, done: what is written for it in one step.

    Attributes:
        entry: its line in the ledger.
        video: what is known of its content; None for a failed file, and for one whose content is stored already.
        sequences: frame vectors, at most one of each space.
        signatures: likewise.
        clips: clip vectors, likewise.
    """

    entry: LedgerEntry
    video: StoredVideo | None = None
    sequences: tuple[FrameSequence, ...] = ()
    signatures: tuple[Signature, ...] = ()
    clips: tuple[ClipSequence, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Memory its arrays take."""
        frames, clips = sum(s.vectors.nbytes for s in self.sequences), sum(c.vectors.nbytes for c in self.clips)
        return frames + clips + sum(s.average.nbytes + s.cosines.nbytes + s.sines.nbytes for s in self.signatures)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a library.

    Attributes:
        indexed: files that were indexed.
        failed: how many files failed, by reason, the commonest first.
        videos: different contents among the indexed files.
        video_seconds: their total length.
        rows: rows of each table of vectors.
        size_bytes: bytes on disk.
    """

    indexed: int
    failed: dict[str, int]
    videos: int
    video_seconds: float
    rows: dict[str, int]
    size_bytes: int
