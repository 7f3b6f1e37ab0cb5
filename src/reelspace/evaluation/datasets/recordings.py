"""Recordings of one event by many cameras, whose places on a common time line are known: Climbing and Madonna.

A line of ``gt_<name>.align`` is ``path begin end global``, in seconds (Douze et al. 2015, "Circulant temporal
encoding for video retrieval and temporal alignment"). Any two recordings that overlap on the time line are a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from reelspace.errors import FormatError
from reelspace.evaluation.datasets.layout import Stretch, annotation_lines, fields_of

__all__ = ["AlignmentSet", "Pair", "components", "overlapping", "read_align_file"]

_LEAST_OVERLAP_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recordings of the same moments.

    Attributes:
        a: number of the first.
        b: number of the second, larger.
        offset_seconds: when a began less when b began: what happens at second t of b happens at second
            ``t - offset`` of a.
    """

    a: int
    b: int
    offset_seconds: float


@dataclass(frozen=True, slots=True)
class AlignmentSet:
    """A dataset of recordings.

    Attributes:
        name: of the dataset.
        recordings: in the order of the file.
        pairs: all that overlap.
        longest_offset_frames: videoalignment tries so many offsets in both directions.
        aliases: files that are not named like their video.
    """

    name: str
    recordings: tuple[Stretch, ...]
    pairs: tuple[Pair, ...]
    longest_offset_frames: int
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def read_align_file(file: Path, video_name: Callable[[str], str]) -> tuple[Stretch, ...]:
    """The recordings of a ``.align`` file.

    Raises:
        InvalidArgument: when it cannot be read.
        FormatError: for a line that is none, or a file without any.
    """
    found = []
    for line, place in annotation_lines(file):
        path, *numbers = fields_of(line, None, 4, place)
        try:
            begin, end, start = map(float, numbers)
        except ValueError as error:
            raise FormatError(f"{place}: begin, end and global are seconds, got {numbers}") from error
        found.append(Stretch(video_name(path), begin, end, start))
    if not found:
        raise FormatError(f"{file}: no recording in it")
    return tuple(found)


def overlapping(recordings: tuple[Stretch, ...]) -> tuple[Pair, ...]:
    """Every two recordings that share at least a hundredth of a second."""
    starts = np.array([r.global_seconds + r.begin_seconds for r in recordings])
    ends = np.array([r.global_seconds + r.end_seconds for r in recordings])
    shared = np.minimum(ends[:, None], ends) - np.maximum(starts[:, None], starts)  # (N, N)
    first, second = np.nonzero(np.triu(shared >= _LEAST_OVERLAP_SECONDS, k=1))
    return tuple(Pair(int(a), int(b), float(starts[a] - starts[b])) for a, b in zip(first, second, strict=True))


def components(count: int, pairs: tuple[Pair, ...]) -> list[int]:
    """Which recordings hang together, each with a number: 0 for the first recording and all it is paired with."""
    label = list(range(count))
    for pair in pairs:
        smaller, larger = sorted((label[pair.a], label[pair.b]))
        label = [smaller if here == larger else here for here in label]
    numbers = {old: new for new, old in enumerate(dict.fromkeys(label))}
    return [numbers[old] for old in label]
