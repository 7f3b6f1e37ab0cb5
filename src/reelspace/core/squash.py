"""Squashing a video in time: which of its frames make up each one that is left, and by how much."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["squash_taps"]


def squash_taps(frame_count: int, frames: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What ``frames`` evenly squashed (or stretched) out of ``frame_count`` are made of: two neighbours each.

    This is `torch.nn.functional.interpolate` with ``align_corners=False`` and no antialiasing, along the axis of
    time. Most frames of a long video have no part in the result.

    Args:
        frame_count: how many there are.
        frames: how many are wanted, F.

    Returns:
        Indices int64 (F, 2), not decreasing along either axis, and their weights float32 (F, 2). Where one frame
        has all the weight, both indices are it.

    Raises:
        InvalidArgument: when either count is below 1.
    """
    if frame_count < 1 or frames < 1:
        raise InvalidArgument(f"squashing needs at least one frame, got {frame_count} to {frames}")
    # In float32, for torch's result to the last digit: at frame 100,000 its weights are wrong by up to 0.004.
    scale = np.float32(frame_count) / np.float32(frames)
    centres = np.maximum(scale * (np.arange(frames, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    first = np.minimum(centres.astype(np.int64), frame_count - 1)
    share = np.clip(centres - first.astype(np.float32), 0, 1)
    second = np.where(share > 0, np.minimum(first + 1, frame_count - 1), first)
    return np.stack([first, second], axis=1), np.stack([1 - share, share], axis=1)
