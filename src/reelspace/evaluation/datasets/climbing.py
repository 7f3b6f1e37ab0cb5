"""Climbing: 89 recordings of a climb by many cameras (Douze et al. 2015), ``gt_climbing.align``."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from reelspace.evaluation.datasets.recordings import AlignmentSet, overlapping, read_align_file

__all__ = ["read_climbing"]


def read_climbing(root: Path) -> AlignmentSet:
    """The dataset in a folder. A video is named as its path is before the first dot, such as ``camera/clip``.

    Raises:
        InvalidArgument: when its annotations cannot be read.
        FormatError: when they are none.
    """
    recordings = read_align_file(root / "gt_climbing.align", lambda path: path.split(".")[0])
    return AlignmentSet(
        "climbing",
        recordings,
        overlapping(recordings),
        longest_offset_frames=18886,
        aliases=MappingProxyType({"albert_ixus70/longvid": "albert_ixus70/longvid.avi"}),
    )
