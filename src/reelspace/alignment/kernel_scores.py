"""The best offset of every query against every stored video, by a temporal kernel: many pairs, every offset.

`FourierKernel.scores` gives the curve of each pair; where only its highest point is wanted, three things make it
fast. Written with even and odd parts E and O,

    s(c + x) = E(x) + O(x),    s(c - x) = E(x) - O(x),    max of both = E(x) + |O(x)|

so that half of the offsets need computing, once the queries are moved by the middle c of the range. Products of
stored rows with queries are read where they lie, without a copy (float16 is widened a few rows at a time). And
everything between the products and the result stays within the last-level cache.

The scores are those of `FourierKernel.scores` to the rounding of float32. Arrays are numpy or torch; numpy runs on
all cores, torch wherever its tensors lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from reelspace.alignment.fourier import NORMS, FourierKernel
from reelspace.core.machine import available_cores
from reelspace.errors import InvalidArgument

__all__ = ["BestOffsets", "all_best_offsets", "best_offsets"]

Array = Any
"""A numpy array or a torch tensor."""

_QUERIES = 32  # of one product
_ROWS = 64  # of all pairs, at a time
_PAIRS = 2048  # whose spectra are held at once by each core
_CURVES = 256  # of those, evaluated at once
_PLACES = 1024  # offsets on either side of the middle, evaluated at once
_STRIP = 16  # stored videos of one product: their rows stay in a core's cache
_ON_DEVICE = 64  # times as many of everything where arrays are not numpy's
_WIDER = 2.0**112  # what `_widened` leaves out
_SIGN_EXPONENT_MANTISSA = np.int32(-0x7000_2000)  # 0x8fffe000: without the copies of the sign


@dataclass(frozen=True, slots=True, eq=False)
class BestOffsets:
    """The highest point of the curve of each pair.

    Attributes:
        scores: float32 (Q, N), in the unit of the kernel's normalisation.
        offsets: int32 (Q, N), in frames: what happens at frame t of the reference happens at frame t + offset of
            the query.
    """

    scores: Array
    offsets: Array


def best_offsets(
    queries: Array, references: Array, kernel: FourierKernel, *, offsets: range, workers: int | None = None
) -> BestOffsets:
    """The best of some offsets for every query and every reference.

    Args:
        queries: normalised descriptors (Q, P, 2m, d), as `FourierKernel.normalise` gives them.
        references: (N, P, 2m, d), likewise; float32 or float16 (torch: any float), may be memory-mapped. Read once
            for every 2,048 queries or fewer.
        kernel: that made them.
        offsets: in frames, with any positive step.
        workers: threads for numpy arrays; None takes all cores given to the process.

    Raises:
        InvalidArgument: when shapes do not fit the kernel or each other, or there is no offset.
    """
    _require(kernel, queries, references, offsets, workers)
    return _Search(kernel, offsets, references, workers).best(queries, references)


def all_best_offsets(
    descriptors: Array, kernel: FourierKernel, *, offsets: range, block: int = 1024, workers: int | None = None
) -> Iterator[tuple[int, int, BestOffsets]]:
    """The same for all pairs among N videos, a few rows against a block of later ones, each pair once.

    Yields ``(i, k, best)``: ``best`` holds the pairs of rows ``i, i + 1, ...`` (queries, 64 or what is left) with
    rows ``k, k + 1, ...`` (references, ``block`` or what is left), ``k >= i``. Where ``k == i`` the first columns
    are the rows themselves, so pairs among those come in both orders. Memory does not grow with N.

    Args:
        descriptors: normalised (N, P, 2m, d), float32 or float16, may be memory-mapped.
        kernel: that made them.
        offsets: in frames, with any positive step.
        block: references at a time.
        workers: threads for numpy arrays; None takes all cores given to the process.

    Raises:
        InvalidArgument: when shapes do not fit the kernel, there is no offset, or a block is empty.
    """
    if block < 1:
        raise InvalidArgument(f"a block holds at least one video, got {block}")
    _require(kernel, descriptors, descriptors, offsets, workers)
    search = _Search(kernel, offsets, descriptors, workers)
    for i in range(0, descriptors.shape[0], _ROWS):
        queries = search.ready(descriptors[i : i + _ROWS])
        for k in range(i, descriptors.shape[0], block):
            yield i, k, search.against(queries, descriptors[k : k + block])


def _require(kernel: FourierKernel, queries: Array, references: Array, offsets: range, workers: int | None) -> None:
    for name, array in (("queries", queries), ("references", references)):
        if len(array.shape) != 4 or tuple(array.shape[1:3]) != (len(kernel.periods), 2 * kernel.harmonics):
            raise InvalidArgument(
                f"{name} of this kernel have shape (N, {len(kernel.periods)}, {2 * kernel.harmonics}, d), "
                f"got {tuple(array.shape)}"
            )
    if queries.shape[3] != references.shape[3]:
        raise InvalidArgument(f"{queries.shape[3]} and {references.shape[3]} dimensions cannot be compared")
    if not offsets or offsets.step < 1:
        raise InvalidArgument(f"offsets are an increasing range that is not empty, got {offsets}")
    if workers is not None and workers < 1:
        raise InvalidArgument(f"at least one worker is needed, got {workers}")


class _Search:
    """Tables for one kernel and range of offsets, and who computes."""

    def __init__(self, kernel: FourierKernel, offsets: range, like: Array, workers: int | None) -> None:
        self._kernel, self._offsets = kernel, offsets
        self._xp = array_api_compat.array_namespace(like)
        self._own = array_api_compat.is_numpy_array(like)
        self._workers = (workers or available_cores()) if self._own else 1
        self._more = 1 if self._own else _ON_DEVICE
        self._factor = _WIDER if self._own and like.dtype == np.float16 else 1.0
        self._middle = (offsets[0] + offsets[-1]) / 2
        # Places 0, 1, 2, ... steps from the middle, or 1/2, 3/2, ... when the count is even.
        self._from_middle = np.arange((len(offsets) + 1) // 2) + (0.0 if len(offsets) % 2 else 0.5)
        rates = 2 * np.pi * np.arange(1, kernel.harmonics) / np.array(kernel.periods, dtype=np.float64)[:, None]
        angles = rates.reshape(-1, 1) * (self._from_middle * offsets.step)  # (P*(m-1), K/2): the constant is apart
        scale = 1 / (len(kernel.periods) * NORMS[kernel.norm].divisor(kernel.harmonics))
        self._scale = scale
        self._cosines, self._sines = (
            self._xp.asarray((wave(angles) * scale).astype(np.float32), device=array_api_compat.device(like))
            for wave in (np.cos, np.sin)
        )

    def best(self, queries: Array, references: Array) -> BestOffsets:
        """Queries (Q, P, 2m, d) against references (N, P, 2m, d), so many queries at a time."""
        xp, most = self._xp, _PAIRS * self._more
        parts = [
            self.against(self.ready(queries[first : first + most]), references)
            for first in range(0, max(1, queries.shape[0]), most)
        ]
        if len(parts) == 1:
            return parts[0]
        return BestOffsets(*(xp.concat([getattr(p, name) for p in parts]) for name in ("scores", "offsets")))

    def ready(self, queries: Array) -> list[Array]:
        """Blocks of queries, moved by the middle of the range: float32 (P, 2, m, d, 2q).

        Stored sines meet (sine, -cosine), stored cosines (cosine, sine); summed over both, the first column is the
        even part, the second the odd.
        """
        xp, (m, periods) = self._xp, (self._kernel.harmonics, len(self._kernel.periods))
        step = _QUERIES * self._more
        count, d = queries.shape[0], queries.shape[3]
        blocks: list[Array] = [None] * -(-count // step)

        def lay(first: int) -> None:
            moved = self._kernel.shift(xp.astype(queries[first : first + step], xp.float32), -self._middle)
            q = moved.shape[0]
            rows = xp.permute_dims(xp.reshape(moved, (q, periods, 2, m, d)), (1, 2, 3, 0, 4))  # (P, 2, m, q, d)
            block = xp.empty((periods, 2, m, 2 * q, d), dtype=xp.float32, device=array_api_compat.device(moved))
            block[:, :, :, :q] = rows
            block[:, 0, :, q:] = -rows[:, 1]
            block[:, 1, :, q:] = rows[:, 0]
            block *= self._factor
            blocks[first // step] = xp.permute_dims(block, (0, 1, 2, 4, 3))

        self._each(lay, range(0, count, step))
        return blocks

    def against(self, queries: list[Array], references: Array) -> BestOffsets:
        """What `ready` gave against references (N, P, 2m, d), tile by tile."""
        xp = self._xp
        if self._own:
            references = np.asarray(references)  # slices of a memmap are dear
        device = array_api_compat.device(references)
        total, count = sum(block.shape[-1] // 2 for block in queries), references.shape[0]
        scores = xp.empty((total, count), dtype=xp.float32, device=device)
        offsets = xp.empty((total, count), dtype=xp.int32, device=device)
        widest = max((block.shape[-1] // 2 for block in queries), default=1)
        size = max(_STRIP, min(_PAIRS * self._more // widest, -(-count // self._workers)))

        def tile(first: int) -> None:
            rows = references[first : first + size]
            row = 0
            for block in queries:
                q = block.shape[-1] // 2
                value, offset = self._highest(self._spectra(block, rows))
                scores[row : row + q, first : first + size] = xp.reshape(value, (-1, q)).T
                offsets[row : row + q, first : first + size] = xp.reshape(offset, (-1, q)).T
                row += q

        self._each(tile, range(0, count, size))
        return BestOffsets(scores, offsets)

    def _each(self, function: Callable[[int], None], items: range) -> None:
        if self._workers == 1 and not self._own:
            for item in items:
                function(item)
            return
        with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(self._workers) as pool:
            for _ in pool.map(function, items):
                pass

    def _spectra(self, queries: Array, references: Array) -> Array:
        """Even and odd parts of the cross-spectra of a tile: float32 (P, m, 2, n*q)."""
        xp, m = self._xp, self._kernel.harmonics
        count, periods, _, d = references.shape
        width = queries.shape[-1]
        found = xp.empty(
            (periods, m, 2, count, width // 2), dtype=xp.float32, device=array_api_compat.device(queries)
        )
        step = _STRIP * self._more
        for first in range(0, count, step):
            for period in range(periods):
                rows = _widened(references[first : first + step, period], xp)
                rows = xp.permute_dims(xp.reshape(rows, (-1, 2, m, d)), (1, 2, 0, 3))  # (n, 2m, d) -> (2, m, n, d)
                products = xp.matmul(rows, queries[period])  # (2, m, n, 2q)
                products = xp.reshape(products[0] + products[1], (m, -1, 2, width // 2))
                found[period, :, :, first : first + step] = xp.permute_dims(products, (0, 2, 1, 3))
        return xp.reshape(found, (periods, m, 2, -1))

    def _highest(self, spectra: Array) -> tuple[Array, Array]:
        """The largest value of each curve, float32 (pairs,), and its offset, int32, from (P, m, 2, pairs)."""
        xp, device = self._xp, array_api_compat.device(spectra)
        pairs, places = spectra.shape[-1], self._cosines.shape[1]
        constant = xp.sum(spectra[:, 0, 0], axis=0) * self._scale
        even, odd = (xp.reshape(spectra[:, 1:, part], (-1, pairs)) for part in (0, 1))  # (P*(m-1), pairs)
        best = xp.empty((pairs,), dtype=xp.float32, device=device)
        place = xp.zeros((pairs,), dtype=xp.int64, device=device)
        curves = _CURVES * self._more
        width = min(places, _PLACES)
        evens, odds = (xp.empty((min(curves, pairs), width), dtype=xp.float32, device=device) for _ in range(2))
        for first in range(0, pairs, curves):
            here = slice(first, min(pairs, first + curves))
            rows = xp.arange(here.stop - first, device=device)
            for start in range(0, places, width):
                table = slice(start, min(places, start + width))
                e, o = (
                    kept[: here.stop - first, : table.stop - start]
                    if table.stop - start == width
                    else xp.empty((here.stop - first, table.stop - start), dtype=xp.float32, device=device)
                    for kept in (evens, odds)
                )
                xp.matmul(even[:, here].T, self._cosines[:, table], out=e)
                xp.matmul(odd[:, here].T, self._sines[:, table], out=o)
                xp.abs(o, out=o)
                e += o
                top = xp.argmax(e, axis=1)
                value = e[rows, top]
                better = value > best[here] if start else xp.ones_like(value, dtype=xp.bool)
                best[here] = xp.where(better, value, best[here])
                place[here] = xp.where(better, top + start, place[here])
        # On which side of the middle: the sign of the odd part there.
        side = xp.sum(odd * self._sines[:, place], axis=0)
        steps = xp.asarray(self._from_middle, device=device)[place]
        signed = xp.where(side < 0, -steps, steps) * self._offsets.step + self._middle
        return best + constant, xp.astype(xp.round(signed), xp.int32)


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """The libraries of matrix products; looking for them takes milliseconds."""
    return ThreadpoolController()


def _widened(rows: Array, xp: Any) -> Array:
    """Rows as float32; numpy's float16 as ``2 ** -112`` times its value.

    NumPy turns float16 into float32 one number at a time. Sign-extended to 32 bits and shifted by 13, a float16 is
    the float32 of ``2 ** -112`` times its value, subnormal numbers included; the queries carry the factor.
    """
    if not array_api_compat.is_numpy_array(rows) or rows.dtype != np.float16:
        return xp.astype(rows, xp.float32, copy=False)
    bits: NDArray[np.int32] = rows.view(np.int16).astype(np.int32)
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_EXPONENT_MANTISSA, out=bits)
    return bits.view(np.float32)
