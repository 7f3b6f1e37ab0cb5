"""What the process that writes and the processes that decode say to one another. Paths are sent, never pixels.

    parent                    worker
    Job            ───────►
                   ◄───────   Hashed
    Wanted         ───────►
                   ◄───────   Progress, Progress, ...
                   ◄───────   Made: clips for a model, in a slot of the memory they share
    Free           ───────►   ... which may be written again
                   ◄───────   Fingerprints or Failed

A file that cannot even be read answers the job with Failed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.extract.slots import Stowed
from reelspace.store.rows import Stamp

__all__ = ["Broken", "Failed", "Free", "Hashed", "Job", "Made", "Wanted"]


@dataclass(frozen=True, slots=True)
class Job:
    """Read this file and say what content it has; decode it on so many threads, if at all."""

    source: str
    threads: int


@dataclass(frozen=True, slots=True)
class Hashed:
    """The file's content id; ``stamp`` is from before it was read."""

    stamp: Stamp
    video_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which encoders, signers and readings, by number, this content still needs."""

    encoders: tuple[int, ...] = ()
    signers: tuple[int, ...] = ()
    readings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """Clips of one reading.

    Attributes:
        reading: its number.
        starts_seconds: float64 (B,).
        ends_seconds: float64 (B,).
        pixels: where they lie.
    """

    reading: int
    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    pixels: Stowed


@dataclass(frozen=True, slots=True)
class Free:
    """This slot was read and may be written again."""

    slot: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The file cannot be used.

    Attributes:
        reason: what the ledger keeps.
        error: name of the error's class.
        of_content: whether any file of the same bytes must end the same way.
    """

    reason: str
    error: str
    of_content: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker itself cannot work; ``trace`` says why."""

    trace: str
