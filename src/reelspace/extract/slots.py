"""Memory that a worker and its parent share: pictures are written once, read once, and never sent down a pipe."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.extract.clips import BATCH_BYTES, Reading

__all__ = ["COUNT", "Slots", "Stowed"]

COUNT = 3  # one is written, one is under way, one is read


class Stowed(NamedTuple):
    """Where an array lies.

    Attributes:
        slot: number of the slot.
        shape: of the array.
        dtype: likewise, as numpy spells it.
    """

    slot: int
    shape: tuple[int, ...]
    dtype: str


class Slots:
    """A few places of equal size in one piece of memory without a name, so that nothing stays behind after a kill.

    Args:
        descriptor: of the memory, as `reserve` made it; this object keeps a duplicate.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)
        self._size = len(self._memory) // COUNT

    @staticmethod
    def reserve(readings: Sequence[Reading]) -> int:
        """Makes memory in which the clips of these readings find room; gives its descriptor, to be closed."""
        size = max([BATCH_BYTES, *(_clip_bytes(reading) for reading in readings)])
        size += -size % mmap.PAGESIZE
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("reelspace")
        else:
            descriptor, path = tempfile.mkstemp(prefix="reelspace-")
            os.unlink(path)  # noqa: PTH108 # it lives on without a name
        os.ftruncate(descriptor, COUNT * size)
        return descriptor

    def write(self, slot: int, pixels: NDArray[Any]) -> Stowed:
        """Puts an array into a slot."""
        np.copyto(self._view(slot, pixels.shape, pixels.dtype), pixels)
        return Stowed(slot, pixels.shape, pixels.dtype.str)

    def read(self, stowed: Stowed) -> NDArray[Any]:
        """A copy of what lies in a slot."""
        return self._view(stowed.slot, stowed.shape, np.dtype(stowed.dtype)).copy()

    def _view(self, slot: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.ndarray(shape, dtype, buffer=self._memory, offset=slot * self._size)


def _clip_bytes(reading: Reading) -> int:
    side = reading.preprocessing.side or 0  # where it depends on the video, pictures are small
    depth = 4 if reading.clip.mode == "squashed" else 1
    return reading.clip.frames * side * side * 3 * depth
