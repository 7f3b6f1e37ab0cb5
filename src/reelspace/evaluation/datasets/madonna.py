"""Madonna: recordings of one concert from the audience (Douze et al. 2015), ``gt_madonna.align``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reelspace.errors import InvalidArgument
from reelspace.evaluation.datasets.recordings import (
    AlignmentSet,
    Pair,
    components,
    overlapping,
    read_align_file,
)

__all__ = ["FOLDS", "madonna_fold", "read_madonna"]

FOLDS = 5


def read_madonna(root: Path) -> AlignmentSet:
    """The dataset in a folder. A video is named as its file is before the first dot, without folders.

    Raises:
        InvalidArgument: when its annotations cannot be read.
        FormatError: when they are none.
    """
    recordings = read_align_file(root / "gt_madonna.align", lambda path: path.split("/")[-1].split(".")[0])
    return AlignmentSet("madonna", recordings, overlapping(recordings), longest_offset_frames=9085)


def madonna_fold(dataset: AlignmentSet, fold: int, *, validation: bool) -> AlignmentSet:
    """One side of a fold: of C groups of recordings that hang together, each fold validates on ``C // 5``.

    As in videoalignment, the groups left over are always trained on, so with fewer than five nothing is validated.

    Raises:
        InvalidArgument: when there is no such fold.
    """
    if not 0 <= fold < FOLDS:
        raise InvalidArgument(f"folds are 0 to {FOLDS - 1}, got {fold}")
    group = components(len(dataset.recordings), dataset.pairs)
    size = (max(group) + 1) // FOLDS
    held_out = range(fold * size, (fold + 1) * size)
    kept = [i for i, number in enumerate(group) if (number in held_out) == validation]
    place = {old: new for new, old in enumerate(kept)}
    return replace(
        dataset,
        recordings=tuple(dataset.recordings[i] for i in kept),
        pairs=tuple(Pair(place[p.a], place[p.b], p.offset_seconds) for p in dataset.pairs if p.a in place),
    )
