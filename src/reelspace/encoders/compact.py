"""Smaller forms of unit vectors, for libraries too large for two bytes a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_int8", "from_signs", "to_int8", "to_signs"]


def to_int8(vectors: NDArray[np.floating]) -> NDArray[np.int8]:
    """One byte a number: each row (N, D) scaled so that its largest number is 127. Its length is not kept."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0).astype(np.float32)
    scaled: NDArray[np.int8] = np.rint(vectors * (127 / np.maximum(largest, 1e-12))).astype(np.int8)
    return scaled


def from_int8(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    """Unit vectors, float32 (N, D), whose cosines are about those of the originals."""
    return _unit(rows.astype(np.float32))


def to_signs(vectors: NDArray[np.floating]) -> NDArray[np.uint8]:
    """One bit a number, 256 bits for 256 numbers: uint8 (N, D / 8)."""
    return np.packbits(np.asarray(vectors) > 0, axis=1)


def from_signs(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit vectors, float32 (N, D), whose products are 1 - 2 * Hamming distance / D.

    The angle between two originals is about pi * Hamming distance / D (Charikar 2002), so their cosine is
    about ``sin(pi / 2 * product)``.
    """
    return _unit(np.unpackbits(rows, axis=1).astype(np.float32) * 2 - 1)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.maximum(length, np.float32(1e-12))
    return unit
