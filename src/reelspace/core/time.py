"""Intervals of time: half-open, in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reelspace.errors import InvalidArgument

__all__ = ["Span", "total_seconds", "union"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The half-open interval ``[start, end)``, both in seconds. Spans that meet share nothing.

    Raises:
        InvalidArgument: when an end is not finite or lies before the start.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise InvalidArgument(f"a span needs finite ends, got [{self.start}, {self.end})")
        if self.end < self.start:
            raise InvalidArgument(f"a span ends at or after its start, got [{self.start}, {self.end})")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """The second half-way between both ends."""
        return 0.5 * (self.start + self.end)

    def __contains__(self, seconds: float) -> bool:
        return self.start <= seconds < self.end

    def overlap(self, other: Span) -> float:
        """Seconds that both cover; 0 for spans that only meet."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def intersection(self, other: Span) -> Span | None:
        """What both cover, or None when they share nothing."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def hull(self, other: Span) -> Span:
        """The shortest span that covers both."""
        return Span(min(self.start, other.start), max(self.end, other.end))

    def iou(self, other: Span) -> float:
        """Intersection over union of the covered seconds, in [0, 1]; 0 when both are empty."""
        shared = self.overlap(other)
        covered = self.duration + other.duration - shared
        return shared / covered if covered > 0 else 0.0

    def shifted(self, seconds: float) -> Span:
        """The same length, later by ``seconds``."""
        return Span(self.start + seconds, self.end + seconds)


def union(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans, in order, that cover exactly what ``spans`` cover; spans that meet become one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = merged[-1].hull(span)
        else:
            merged.append(span)
    return merged


def total_seconds(spans: Iterable[Span]) -> float:
    """Seconds covered by at least one of ``spans``."""
    return sum(span.duration for span in union(spans))
