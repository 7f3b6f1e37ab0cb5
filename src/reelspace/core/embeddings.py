"""Vectors of stretches of video: of one video, and of many, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.core.compact import CompactRows
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument

__all__ = ["ClipSequence", "Embeddings", "until_next"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipSequence:
    """The clip vectors of one video, in the order of time.

    Attributes:
        starts_seconds: float64 (N,).
        ends_seconds: float64 (N,): half-open.
        vectors: float32 or float16 (N, D), as the model gave them: not of unit length.
        space: the identity of the vectors.

    Raises:
        InvalidArgument: when the arrays are not parallel, or a number is not finite.
    """

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    vectors: NDArray[np.floating]
    space: Space

    def __post_init__(self) -> None:
        n = len(self.starts_seconds)
        if self.vectors.shape != (n, self.space.dimensions) or len(self.ends_seconds) != n:
            raise InvalidArgument(
                f"{n} starts, {len(self.ends_seconds)} ends and vectors {self.vectors.shape} of {self.space} "
                f"({self.space.dimensions} dimensions) are not parallel"
            )
        if not np.isfinite(self.vectors).all():
            raise InvalidArgument(f"vectors are finite numbers, {self.space} has others; compute them in float32")

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The vectors of many videos, one after the other. The arrays may be memory-mapped: read them in blocks.

    Rows of video ``i`` are ``bounds[i]:bounds[i + 1]``.

    Attributes:
        vectors: float16 or float32 (N, D), rows of unit length.
        norms: float32 (N,): what the rows were divided by; ``vectors * norms[:, None]`` is what the model gave.
        starts_seconds: float64 (N,).
        ends_seconds: float64 (N,): half-open.
        bounds: int64 (V + 1,).
        video_ids: content id of each of the V videos.
        space: the identity of the vectors.

    Raises:
        InvalidArgument: when the arrays are not parallel.
    """

    vectors: NDArray[np.floating] | CompactRows
    norms: NDArray[np.float32]
    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    bounds: NDArray[np.int64]
    video_ids: tuple[str, ...]
    space: Space

    def __post_init__(self) -> None:
        lengths = {len(self.vectors), len(self.norms), len(self.starts_seconds), len(self.ends_seconds)}
        if lengths != {int(self.bounds[-1])} or len(self.bounds) - 1 != len(self.video_ids):
            raise InvalidArgument(
                f"embeddings are parallel arrays: got lengths {sorted(lengths)}, bounds to {int(self.bounds[-1])}, "
                f"{len(self.video_ids)} videos"
            )

    def __len__(self) -> int:
        """How many rows."""
        return len(self.vectors)

    def video_of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """The number of the video each row belongs to."""
        return np.searchsorted(self.bounds, rows, side="right") - 1


def until_next(
    starts: NDArray[np.float64], bounds: NDArray[np.int64], durations: Sequence[float]
) -> NDArray[np.float64]:
    """Ends of pictures that each stand for the time until the next of its video, or until the video's end."""
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    filled = np.diff(bounds) > 0
    last = bounds[1:][filled] - 1
    ends[last] = np.maximum(starts[last], np.asarray(durations, np.float64)[filled])
    return ends
