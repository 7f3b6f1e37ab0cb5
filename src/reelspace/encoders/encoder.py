"""The contract of a frame encoder."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Tap
from reelspace.core.space import Space

__all__ = ["Described", "FrameEncoder"]


class Described(NamedTuple):
    """Descriptors of N consecutive frames, V views each.

    Attributes:
        vectors: float32 (N, V, D).
        weights: float32 (N, V) in [0, 1]: how much evidence each carries. A view that does not exist for a frame
            (no borders to cut off) has weight 0 and is not stored.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]


class FrameEncoder(Protocol):
    """Turns pictures into one or more vectors per frame, without knowing their neighbours' times."""

    @property
    def space(self) -> Space:
        """The identity of the vectors."""
        ...

    @property
    def tap(self) -> Tap:
        """Which frames it wants, and how."""
        ...

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Descriptors of consecutive frames, as the tap delivers them: uint8 (N, H, W, 3) or (N, H, W)."""
        ...
