"""Smaller forms of vectors, for libraries too large for two bytes a number.

A row is a code, of one byte or one bit a number, and the factor that makes it as long as the vector was. One bit a
number is for estimates; libraries keep float16 or int8 (benchmarks/compact_rows.py prints what each loses).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["PRECISIONS", "CompactRows", "Precision", "from_signs", "require_precision", "to_int8", "to_signs"]

Precision = Literal["float16", "int8"]
"""How the rows of frames are kept: two bytes a number, or one."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def require_precision(name: str) -> Precision:
    """The precision of that name.

    Raises:
        UnknownName: when there is none.
    """
    for precision in PRECISIONS:
        if name == precision:
            return precision
    raise UnknownName("precision of frame rows", name, PRECISIONS)


@dataclass(frozen=True, slots=True, eq=False)
class CompactRows:
    """Vectors of one byte a number. Indexing by rows gives them as float32; `store.products` reads the codes.

    Attributes:
        codes: int8 (N, D); may be memory-mapped.
        scales: float32 (N,): row ``i`` is ``codes[i] * scales[i]``.

    Raises:
        InvalidArgument: when the arrays are not parallel.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.scales.shape != self.codes.shape[:1]:
            raise InvalidArgument(
                f"compact rows are codes (N, D) and scales (N,), got {self.codes.shape} and {self.scales.shape}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Of the numbers that indexing gives."""
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return self.codes.nbytes + self.scales.nbytes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | EllipsisType | NDArray[Any]) -> NDArray[np.float32]:
        return np.multiply(self.codes[rows], self.scales[rows][:, None], dtype=np.float32)

    def __array__(  # numpy fixes how it is called
        self,
        dtype: np.dtype[Any] | None = None,
        copy: bool | None = None,  # noqa: FBT001
    ) -> NDArray[Any]:
        """All of them, in memory.

        Raises:
            ValueError: when no copy may be made.
        """
        if copy is False:
            raise ValueError("compact rows become an array by a copy only")
        return self[...].astype(dtype or np.float32, copy=False)


def to_int8(vectors: NDArray[np.floating]) -> CompactRows:
    """One byte a number: each row (N, D) scaled so that its largest number is 127. Rows keep their length."""
    wide = vectors.astype(np.float32)
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0)
    codes = np.rint(wide * (127 / np.maximum(largest, np.float32(1e-12)))).astype(np.int8)
    lengths = np.linalg.norm(codes.astype(np.float32), axis=1)
    return CompactRows(codes, np.linalg.norm(wide, axis=1) / np.maximum(lengths, 1).astype(np.float32))


def to_signs(vectors: NDArray[np.floating]) -> NDArray[np.uint8]:
    """One bit a number, 256 bits for 256 numbers: uint8 (N, D / 8)."""
    return np.packbits(np.asarray(vectors) > 0, axis=1)


def from_signs(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit vectors, float32 (N, D), whose products are 1 - 2 * Hamming distance / D.

    The angle between two originals is about pi * Hamming distance / D (Charikar 2002), so their cosine is
    about ``sin(pi / 2 * product)``.
    """
    signs = np.unpackbits(rows, axis=1).astype(np.float32) * 2 - 1
    signs /= np.sqrt(np.float32(max(1, signs.shape[1])))
    return signs
