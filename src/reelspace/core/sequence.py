"""The vectors of one video in the order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.core.compact import CompactRows
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument

__all__ = ["FrameMatrix", "FrameSequence"]


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


@dataclass(frozen=True, slots=True, eq=False)
class FrameMatrix:
    """The frame sequences of many videos, one after the other, so that one matrix product scores them all.

    Rows of video ``i`` are ``bounds[i]:bounds[i + 1]``. The arrays may be memory-mapped: read them in blocks.

    Attributes:
        vectors: float16 (N, D), or as compact rows, which give float32; of unit length.
        times_seconds: float64 (N,).
        views: uint8 (N,).
        weights: float32 (N,).
        bounds: int64 (V + 1,).
        video_ids: content id of each of the V videos.
        durations_seconds: float64 (V,).
        space: the identity of the vectors.

    Raises:
        InvalidArgument: when the arrays are not parallel.
    """

    vectors: NDArray[np.float16] | CompactRows
    times_seconds: NDArray[np.float64]
    views: NDArray[np.uint8]
    weights: NDArray[np.float32]
    bounds: NDArray[np.int64]
    video_ids: tuple[str, ...]
    durations_seconds: NDArray[np.float64]
    space: Space

    def __post_init__(self) -> None:
        rows = {
            len(self.vectors),
            len(self.times_seconds),
            len(self.views),
            len(self.weights),
            int(self.bounds[-1]),
        }
        if len(rows) != 1:
            raise InvalidArgument(f"a frame matrix is parallel arrays, got lengths {sorted(rows)}")
        if not len(self.bounds) - 1 == len(self.video_ids) == len(self.durations_seconds):
            raise InvalidArgument(
                f"{len(self.bounds) - 1} row ranges, {len(self.video_ids)} ids and "
                f"{len(self.durations_seconds)} durations do not describe the same videos"
            )

    def __len__(self) -> int:
        """How many videos."""
        return len(self.video_ids)

    def sequence(self, index: int) -> FrameSequence:
        """The rows of one video: views into this matrix, and copies of compact rows."""
        rows = slice(int(self.bounds[index]), int(self.bounds[index + 1]))
        return FrameSequence(
            self.times_seconds[rows],
            self.vectors[rows],
            self.views[rows],
            self.weights[rows],
            self.space,
            float(self.durations_seconds[index]),
        )

    @classmethod
    def concatenate(cls, sequences: Sequence[FrameSequence], video_ids: Sequence[str]) -> FrameMatrix:
        """Stacks sequences of one space, in memory.

        Raises:
            SpaceMismatch: when they are not all of one space.
            InvalidArgument: when there is none, or not one id each.
        """
        if not sequences:
            raise InvalidArgument("a frame matrix needs at least one sequence, got none")
        space = sequences[0].space
        for sequence, video_id in zip(sequences, video_ids, strict=False):
            space.require(sequence.space, where=f"video {video_id}")
        return cls(
            np.concatenate([s.vectors for s in sequences]).astype(np.float16, copy=False),
            np.concatenate([s.times_seconds for s in sequences]),
            np.concatenate([s.views for s in sequences]),
            np.concatenate([s.weights for s in sequences]),
            np.cumsum([0, *(len(s) for s in sequences)], dtype=np.int64),
            tuple(video_ids),
            np.array([s.duration_seconds for s in sequences], dtype=np.float64),
            space,
        )
