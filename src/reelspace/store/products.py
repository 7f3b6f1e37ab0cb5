"""Inner products of queries with millions of stored float16 rows, at the speed of memory.

NumPy turns float16 into float32 one number at a time (1.1 GB/s a core), which would be nearly all of a search.
Shifting the bits into place instead is exact and vectorised: read as a whole number, sign-extended and shifted by
13, a float16 is the float32 of ``2 ** -112`` times its value, subnormal numbers included; the queries carry the
factor ``2 ** 112``. A few rows at a time, so that the float32 never leaves the cache. Rows of int8 are turned
likewise a few at a time, and their scales multiply the products.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from reelspace.core.compact import CompactRows
from reelspace.core.machine import available_cores

__all__ = ["over_blocks"]

T = TypeVar("T")
Rows = NDArray[np.int64]

_MOST_PRODUCTS = 4 << 20  # held at once by each core, 4 bytes each
_MOST_ROWS = 32_768  # of a block
_CACHED_BYTES = 2 << 20  # of float32 rows, made and used up within a core's cache
_SIGN_EXPONENT_MANTISSA = np.int32(-0x7000_2000)  # 0x8fffe000: without the copies of the sign


def over_blocks(
    vectors: NDArray[np.floating] | CompactRows,
    queries: NDArray[np.float32],
    take: Callable[[slice | Rows, NDArray[np.float32]], T],
    *,
    rows: Rows | None = None,
    block_rows: int = _MOST_ROWS,
) -> Iterator[T]:
    """What ``take`` makes of each block of products, in the order of the rows; blocks are computed on all cores.

    Args:
        vectors: float16, float32 or compact (N, D), finite; may be memory-mapped.
        queries: (Q, D), of length 1 at most.
        take: is given the rows of a block (all in a stretch: a slice) and float32 (B, Q) that it may change.
        rows: int64, increasing: only these rows; None for all.
        block_rows: rows of a block at most.
    """
    scales = vectors.scales if isinstance(vectors, CompactRows) else None
    plain = np.asarray(
        vectors.codes if isinstance(vectors, CompactRows) else vectors
    )  # slices of a memmap are dear
    factor, products = _PRODUCTS.get(plain.dtype, (1.0, np.matmul))
    wide = np.ascontiguousarray(queries.T * np.float32(factor))  # (D, Q)
    count = len(vectors) if rows is None else len(rows)
    step = max(1, min(block_rows, _MOST_PRODUCTS // max(1, len(queries))))

    def block(first: int) -> T:
        where = slice(first, min(count, first + step)) if rows is None else rows[first : first + step]
        found = products(plain[where], wide)
        if scales is not None:
            found *= scales[where][:, None]
        return take(where, found)

    cores = min(available_cores(), -(-count // step))
    if cores <= 1:
        yield from map(block, range(0, count, step))
        return
    # Each core its own block: the matrix product inside must not ask for all of them again.
    with _ONE_THREAD_EACH, ThreadPoolExecutor(cores) as pool:
        yield from pool.map(block, range(0, count, step))


def _products_of_halves(vectors: NDArray[np.floating], wide: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (B, Q): products of float16 (B, D) with ``wide``, whose columns are ``2 ** 112`` times too long."""
    whole = vectors.view(np.int16)
    dimensions = vectors.shape[1]
    step = max(1, _CACHED_BYTES // (4 * dimensions))
    found = np.empty((len(vectors), wide.shape[1]), np.float32)
    bits = np.empty((min(step, len(vectors)), dimensions), np.int32)
    for first in range(0, len(vectors), step):
        part = whole[first : first + step]
        into = bits[: len(part)]
        np.copyto(into, part)
        np.left_shift(into, 13, out=into)
        np.bitwise_and(into, _SIGN_EXPONENT_MANTISSA, out=into)
        np.matmul(into.view(np.float32), wide, out=found[first : first + step])
    return found


def _products_of_bytes(codes: NDArray[np.int8], wide: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (B, Q): products of int8 (B, D) with ``wide``."""
    step = max(1, _CACHED_BYTES // (4 * codes.shape[1]))
    found = np.empty((len(codes), wide.shape[1]), np.float32)
    numbers = np.empty((min(step, len(codes)), codes.shape[1]), np.float32)
    for first in range(0, len(codes), step):
        part = codes[first : first + step]
        into = numbers[: len(part)]
        np.copyto(into, part)
        np.matmul(into, wide, out=found[first : first + step])
    return found


# How much longer the queries are made, and what multiplies rows with them.
_PRODUCTS: dict[np.dtype[Any], tuple[float, Callable[..., NDArray[np.float32]]]] = {
    np.dtype(np.float16): (2.0**112, _products_of_halves),
    np.dtype(np.int8): (1.0, _products_of_bytes),
}


class _OneThreadEach:
    """While anybody is inside, matrix products use one thread each.

    The setting is one for the process, so that the first in and the last out have to change it: two searches that
    each put back what they found would leave it at one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._libraries: ThreadpoolController | None = None  # looking for them takes milliseconds
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._libraries = self._libraries or ThreadpoolController()
                self._limiter = self._libraries.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


_ONE_THREAD_EACH = _OneThreadEach()
