"""What a library finds, as the predictions that datasets ask for: pairs of names, and segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

from reelspace.core.results import CopySegment
from reelspace.errors import InvalidArgument
from reelspace.evaluation.metrics_segments import Pair, PairSegments
from reelspace.library import Library

__all__ = ["in_pairs", "library_matches"]


def library_matches(
    queries: Library, references: Library | None = None, *, threshold: float = 0.0
) -> dict[Pair, tuple[CopySegment, ...]]:
    """Every segment that `Library.copies` finds, by the names of the files without folder and suffix.

    Args:
        queries: whose footage is looked for.
        references: where; None for among the queries themselves, each pair once.
        threshold: least score of a segment; 0 for all, where a measure ranks them.

    Raises:
        InvalidArgument: when two files have one name.
        SpaceMismatch: when the two libraries were made with different settings.
    """
    for library in (queries, references or queries):
        _require_names(entry.source for entry in library.files() if entry.outcome == "indexed")
    return {
        (PurePath(match.query).stem, PurePath(match.reference).stem): match.segments
        for group in queries.copies(against=references, threshold=threshold)
        for match in group.matches
    }


def in_pairs(found: PairSegments, pairs: Iterable[Pair]) -> dict[Pair, tuple[CopySegment, ...]]:
    """The same for the pairs that are asked for; of a pair found the other way round, both sides are exchanged."""
    return {
        (query, reference): (
            *found.get((query, reference), ()),
            *(_exchanged(segment) for segment in found.get((reference, query), ())),
        )
        for query, reference in pairs
    }


def _exchanged(segment: CopySegment) -> CopySegment:
    """The segment with the reference as the query."""
    # Mirrored and then turned is undone by the same turn of the mirrored picture.
    turned = segment.rotation_degrees if segment.mirrored else -segment.rotation_degrees % 360
    return replace(
        segment,
        query=segment.reference,
        reference=segment.query,
        speed=1 / segment.speed,
        rotation_degrees=turned,
    )


def _require_names(sources: Iterable[str]) -> None:
    by_name: dict[str, str] = {}
    for source in sources:
        other = by_name.setdefault(PurePath(source).stem, source)
        if other != source:
            raise InvalidArgument(f"{other} and {source} have one name; a dataset knows videos by name alone")
