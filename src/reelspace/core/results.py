"""What the answers look like."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelspace.core.time import Span, total_seconds

__all__ = ["Alignment", "CopyGroup", "CopyMatch", "CopySegment", "Hit"]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How two videos line up in time.

    Sign: what happens at second ``t`` of B happens at second ``t + offset_seconds`` of A. So a positive offset
    says B was cut from, or began recording, that many seconds after A's start.

    Attributes:
        offset_seconds: the best offset.
        score: the curve's value there, in the method's own unit.
        overlap_a: the span of A that B covers at this offset; None when the two do not meet.
        overlap_b: the same stretch on B's clock.
        offsets_seconds: float64 (K,), every offset that was scored, increasing.
        curve: float32 (K,), the score at each.
        method: the method's name.
        segments: the copied stretches, query = A and reference = B, where they were asked for.
        confidence: probability in [0, 1] that this one offset holds, to a quarter of a second; None where nothing
            was asked that could tell.
    """

    offset_seconds: float
    score: float
    overlap_a: Span | None
    overlap_b: Span | None
    offsets_seconds: NDArray[np.float64]
    curve: NDArray[np.float32]
    method: str
    segments: tuple[CopySegment, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class CopySegment:
    """One stretch of the query that shows the same footage as one stretch of the reference.

    Attributes:
        query: seconds of the query.
        reference: seconds of the reference.
        speed: reference seconds shown per query second; 2.0 means the query plays the footage twice as fast.
        score: in [0, 1]: similarity of the matched frames, see `reelspace.tasks.copies`.
        mirrored: whether the query shows the footage left to right.
        rotation_degrees: clockwise turn of the query's picture, mirrored back before, that gives the reference's.
    """

    query: Span
    reference: Span
    speed: float
    score: float
    mirrored: bool = False
    rotation_degrees: int = 0

    @property
    def orientation(self) -> str:
        """How the query shows the footage, in words: empty when upright, else such as ``mirrored, turned 90``."""
        turned = f"turned {self.rotation_degrees}" if self.rotation_degrees else ""
        return ", ".join(filter(None, ("mirrored" if self.mirrored else "", turned)))


@dataclass(frozen=True, slots=True)
class CopyMatch:
    """All copied stretches between one query and one reference.

    Attributes:
        query: path or URL of the query.
        reference: path or URL of the reference.
        segments: best first.
        score: of the best segment.
    """

    query: str
    reference: str
    segments: tuple[CopySegment, ...]
    score: float

    @property
    def query_seconds(self) -> float:
        """Seconds of the query covered by at least one segment."""
        return total_seconds(segment.query for segment in self.segments)

    @property
    def reference_seconds(self) -> float:
        """Seconds of the reference covered by at least one segment."""
        return total_seconds(segment.reference for segment in self.segments)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """Files connected by copied footage, directly or through one another.

    Attributes:
        files: paths or URLs, the longest video first.
        matches: the pairs found among them, best first.
    """

    files: tuple[str, ...]
    matches: tuple[CopyMatch, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment of a video that answers a search.

    Attributes:
        video: content id, or path or URL.
        span: the seconds.
        score: how like the query it is; a cosine in [-1, 1] unless the search says otherwise.
        query: the seconds of the query that it is like, where the query is a video.
    """

    video: str
    span: Span
    score: float
    query: Span | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
