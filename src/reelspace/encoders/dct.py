"""The cosine transform that PDQ-like descriptors are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["dct_rows"]


def dct_rows(count: int, size: int) -> NDArray[np.float64]:
    """Rows 1..``count`` of the orthonormal DCT-II of ``size`` samples; row 0, the mean, is left out.

    ``D[i, j] = sqrt(2 / size) * cos(pi / (2 * size) * (i + 1) * (2 * j + 1))``, float64 (count, size).
    The descriptor of a picture X (size, size) is ``D @ X @ D.T`` (PDQ, Facebook 2019, hashing.pdf).
    """
    i = np.arange(1, count + 1)[:, None]
    j = np.arange(size)[None, :]
    rows: NDArray[np.float64] = np.sqrt(2.0 / size) * np.cos(np.pi / (2 * size) * i * (2 * j + 1))
    return rows
