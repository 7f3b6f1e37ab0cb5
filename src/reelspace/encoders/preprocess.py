"""From decoded pictures to the pixels a model reads, as its authors resized and cropped them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reelspace.encoders.spec import Preprocessing

__all__ = ["crops_of"]


def crops_of(frames: NDArray[np.uint8], how: Preprocessing, *, crops: int = 1) -> NDArray[np.uint8]:
    """Resizes and crops frames of one video.

    Args:
        frames: uint8 (N, H, W, 3) RGB.
        how: the rule; normalising is left to the encoder.
        crops: 1: the centre; 3: both ends of the longer side, and the centre between them.

    Returns:
        uint8 (crops, N, h, w, 3).
    """
    raise NotImplementedError
