"""What a run tells whoever watches it, and what it says at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "FileDone", "Outcome", "Progress", "Report"]

Outcome = Literal["indexed", "same-content", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A file is being decoded.

    Attributes:
        source: path or URL.
        video_seconds: how far decoding has come, on the clock of the video.
    """

    source: str
    video_seconds: float


@dataclass(frozen=True, slots=True)
class FileDone:
    """A file came to its end.

    Attributes:
        source: path or URL.
        outcome: ``indexed``; ``same-content`` for a file whose bytes were in the library already (a moved file, a
            duplicate); ``failed``; ``skipped`` for one the ledger knew to be done, or to have failed, and that has
            not changed since.
        reason: why it failed, now or then; a note for a truncated file that was kept.
        video_seconds: seconds of video that were decoded for it in this run.
    """

    source: str
    outcome: Outcome
    reason: str | None
    video_seconds: float


Event = Progress | FileDone


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes:
        indexed: files decoded and stored.
        same_content: files whose bytes were in the library already.
        skipped: files the ledger knew to be done and that have not changed.
        failed: files that failed in this run.
        known_failures: files that failed in an earlier run, have not changed, and were not tried again.
        video_seconds: seconds of video decoded.
        elapsed_seconds: by the clock on the wall.
        interrupted: whether the run was stopped before the last file; running it again goes on from there.
    """

    indexed: int
    same_content: int
    skipped: int
    failed: tuple[FileDone, ...]
    known_failures: tuple[FileDone, ...]
    video_seconds: float
    elapsed_seconds: float
    interrupted: bool
