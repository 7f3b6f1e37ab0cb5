"""The vectors of one video in the order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.core.space import Space
from reelspace.errors import InvalidArgument

__all__ = ["FrameSequence"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameSequence:
    """Frame descriptors of one video: parallel arrays, one row per described view of a frame.

    A frame may be described more than once (`views`): the whole picture, the picture without its borders, a half.
    Rows are sorted by time, then view.

    Attributes:
        times_seconds: float64 (N,), not decreasing.
        vectors: float16 or float32 (N, D).
        views: uint8 (N,): which part of the picture each row describes; 0 is the whole of it.
        weights: float32 (N,) in [0, 1]: how much evidence the row carries; 0 for flat and black pictures.
        space: the identity of the vectors.
        duration_seconds: length of the video.

    Raises:
        InvalidArgument: when the arrays are not parallel.
    """

    times_seconds: NDArray[np.float64]
    vectors: NDArray[np.floating]
    views: NDArray[np.uint8]
    weights: NDArray[np.float32]
    space: Space
    duration_seconds: float

    def __post_init__(self) -> None:
        n = len(self.vectors)
        lengths = {
            "times_seconds": len(self.times_seconds),
            "views": len(self.views),
            "weights": len(self.weights),
        }
        wrong = [f"{name} {length}" for name, length in lengths.items() if length != n]
        if wrong:
            raise InvalidArgument(f"a frame sequence is parallel arrays: vectors {n}, but {', '.join(wrong)}")
        if self.vectors.ndim != 2 or self.vectors.shape[1] != self.space.dimensions:
            raise InvalidArgument(
                f"vectors of {self.space} have shape (N, {self.space.dimensions}), got {self.vectors.shape}"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def view(self, index: int) -> FrameSequence:
        """The rows of one view only."""
        keep = self.views == index
        return FrameSequence(
            self.times_seconds[keep],
            self.vectors[keep],
            self.views[keep],
            self.weights[keep],
            self.space,
            self.duration_seconds,
        )
