"""Scores of many pairs of TMK descriptors: every offset of every pair, without visiting every offset.

For one pair and period, K (see `reelspace.alignment.tmk`) is a trigonometric polynomial of low degree, and all that
is wanted of it is its largest value at whole frames. Four steps, each with a bound, so that the answer is within
``tolerance`` of that value and not merely likely to be:

1. Harmonics whose sum cannot reach half the tolerance are left out: ``|X_j| <= 2 a_j``, since rows have norm
   sqrt(a_j).
2. Cross-spectra X_j of a block of pairs come from matrix products, three real ones per complex one (Gauss).
3. One product with a cosine table gives K on a grid of G points. Around the largest, seven grid values make a
   polynomial whose distance to K over two cells either way is at most ``max |K^(7)| h^7 |x(x^2-1)(x^2-4)(x^2-9)| /
   7!``.
   It is evaluated at the whole frames on both sides of its maximum.
4. Elsewhere K exceeds its grid values by at most ``max |K''| h^2 / 8``. Where that could still beat what was found,
   by more than a small part of the tolerance, step 3 is repeated.

The arithmetic is array API: numpy arrays run on the CPU's cores, torch tensors wherever they lie.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.tmk import TmkDescriptor, read_tmk
from reelspace.core.machine import available_cores
from reelspace.errors import InvalidArgument, MissingExtra, SpaceMismatch

__all__ = [
    "TmkFiles",
    "TmkMatch",
    "TmkScores",
    "TmkStack",
    "compare_tmk",
    "tmk_all_pairs",
    "tmk_matches",
    "tmk_scores",
]

Array = Any
"""A numpy array or a torch tensor."""

_STENCIL = 3  # grid values used on either side of the largest
_REACH = 2.0  # cells either side of it that the polynomial answers for
# Largest |x (x^2-1) (x^2-4) (x^2-9)| on [-2, 2], over 7!.
_REMAINDER = float(max(abs(x * (x**2 - 1) * (x**2 - 4) * (x**2 - 9)) for x in np.linspace(0, 2, 2001))) / 5040
_CPU_TILE = 64  # rows and columns of one product: spectra and grid of a tile stay in the last-level cache
_DEVICE_TILE = 512


@dataclass(frozen=True, slots=True, eq=False)
class TmkStack:
    """Many descriptors of one set of parameters, as two arrays.

    Arrays may be numpy (memory-mapped too) or torch tensors on any device.

    Attributes:
        averages: float32 (N, d).
        waves: float32 (N, 2, P, m, d): cosines, then sines, the order of a ``.tmk`` file.
        periods: in frames.
        coefficients: float64 (m,) numpy, the kernel's a_j.
        frames_per_second: rate of the frames.

    Raises:
        InvalidArgument: when the shapes disagree.
    """

    averages: Array
    waves: Array
    periods: tuple[int, ...]
    coefficients: NDArray[np.float64]
    frames_per_second: int

    def __post_init__(self) -> None:
        count, dimensions = self.averages.shape
        shape = (count, 2, len(self.periods), len(self.coefficients), dimensions)
        if tuple(self.waves.shape) != shape:
            raise InvalidArgument(f"waves of this stack have shape {shape}, got {tuple(self.waves.shape)}")

    def __len__(self) -> int:
        return int(self.averages.shape[0])

    @classmethod
    def of(cls, descriptors: Sequence[TmkDescriptor]) -> TmkStack:
        """Stacks descriptors, in memory.

        Raises:
            InvalidArgument: when there is none.
            SpaceMismatch: when they were not all made with one set of parameters.
        """
        if not descriptors:
            raise InvalidArgument("a stack needs at least one descriptor, got none")
        first = descriptors[0]
        waves = np.empty((len(descriptors), 2, *first.cosines.shape), dtype=np.float32)
        for row, descriptor in zip(waves, descriptors, strict=True):
            first.require_compatible(descriptor, where="a stack of TMK descriptors")
            row[0], row[1] = descriptor.cosines, descriptor.sines
        averages = np.stack([descriptor.average for descriptor in descriptors])
        return cls(averages, waves, first.periods, first.coefficients.astype(np.float64), first.frames_per_second)

    def at_period(self, index: int) -> TmkStack:
        """The same videos with one of the periods only; views, not copies."""
        waves = self.waves[:, :, index : index + 1]
        return TmkStack(
            self.averages, waves, self.periods[index : index + 1], self.coefficients, self.frames_per_second
        )

    def to_torch(self, device: str = "cpu") -> TmkStack:
        """The same stack as torch tensors on ``device``.

        Raises:
            MissingExtra: without torch.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingExtra("torch", extra="gpu") from error
        averages, waves = (torch.from_numpy(np.array(array)).to(device) for array in (self.averages, self.waves))
        return TmkStack(averages, waves, self.periods, self.coefficients, self.frames_per_second)


@dataclass(frozen=True, slots=True)
class TmkFiles(Sequence[TmkStack]):
    """``.tmk`` files as a sequence of stacks, each read when it is asked for and not kept.

    Attributes:
        paths: the files, in order.
        block: files per stack.
    """

    paths: tuple[Path, ...]
    block: int = 512

    def __post_init__(self) -> None:
        if self.block < 1:
            raise InvalidArgument(f"a block holds at least one file, got {self.block}")

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.block)

    def __getitem__(self, index: Any) -> Any:  # slices are not needed, so not offered
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self) * self.block
        return TmkStack.of([read_tmk(path) for path in self.paths[start : start + self.block]])


@dataclass(frozen=True, slots=True, eq=False)
class TmkScores:
    """Scores of N queries against M references.

    Attributes:
        level1: float32 (N, M): cosine of the average features.
        level2: float32 (N, M): largest K over periods and whole-frame offsets, over a_0 + 2 sum a_j.
        offsets_frames: int32 (N, M): the offset of that largest value, in (-T/2, T/2]: what happens at frame t of
            the reference happens at frame t + offset of the query.
        periods: int32 (N, M): the period T it was found at.
        frames_per_second: rate of the frames.
    """

    level1: Array
    level2: Array
    offsets_frames: Array
    periods: Array
    frames_per_second: int

    @property
    def offsets_seconds(self) -> Array:
        """The offsets in seconds: an event at t of the reference is at t + offset of the query."""
        return self.offsets_frames / self.frames_per_second


@dataclass(frozen=True, slots=True)
class TmkMatch:
    """A pair that passes both levels; rows count through all blocks."""

    query: int
    reference: int
    level1: float
    level2: float
    offset_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Tables for one set of parameters and tolerance.

    Attributes:
        harmonics: J, how many are summed.
        grid: G, points of the grid; a cell is ``h = 2 pi / G``.
        table: float32 (2J, G), cos then sin at the grid points.
        fine: float32 (7, F), from stencil values to their polynomial at ``places``.
        places: float32 (F,), in cells.
        lagrange: float32 (7, 7), from stencil values to the polynomial's coefficients, constant first.
        bounds: float32 (2, J): ``j^2 h^2 / 8``, the most that a harmonic rises above grid values, and
            ``(1/12 + 1/8) j^4 h^4 / 8``, the most that a bound by second differences may miss of that.
        slack: by how much more than the best, in units of K, another maximum must be able to rise to be looked at.
        total: a_0 + 2 sum a_j, K of a video with itself.
        tails: what harmonics j, j + 1, ... can reach together, for j = 0 .. m.
    """

    harmonics: int
    grid: int
    table: Array
    fine: Array
    places: Array
    lagrange: Array
    bounds: Array
    slack: float
    total: float
    tails: tuple[float, ...]


@lru_cache(maxsize=16)
def _sizes(coefficients: tuple[float, ...], tolerance: float) -> tuple[int, int, tuple[float, ...]]:
    """Harmonics J and grid points G that keep all errors below ``tolerance`` times the total, and the tails."""
    bounds = 2 * np.array(coefficients)
    bounds[0] /= 2  # its sine row is zero
    tails = np.append(np.cumsum(bounds[::-1])[::-1], 0.0)
    total = float(tails[0])
    harmonics = max(2, int(np.argmax(tails <= 0.5 * tolerance * total)))
    harmonics = min(harmonics, len(coefficients))
    seventh = float((np.arange(harmonics) ** 7.0 * bounds[:harmonics]).sum())  # of K, at most
    step = (0.2 * tolerance * total / (_REMAINDER * seventh)) ** (1 / 7) if seventh > 0 else 1.0
    return harmonics, max(64, 16 * math.ceil(2 * math.pi / step / 16)), tuple(tails.tolist())


def _plan(stack: TmkStack, tolerance: float) -> _Plan:
    if not 1e-7 <= tolerance <= 0.1:
        raise InvalidArgument(f"the tolerance of a score lies in 1e-7 .. 0.1, got {tolerance}")
    xp = array_api_compat.array_namespace(stack.waves)
    device = array_api_compat.device(stack.waves)
    harmonics, grid, tails = _sizes(tuple(stack.coefficients.tolist()), tolerance)
    cell = 2 * np.pi / grid
    j = np.arange(harmonics)
    angles = np.outer(j, np.arange(grid)) * cell
    nodes = np.arange(-_STENCIL, _STENCIL + 1)
    powers = np.arange(len(nodes))
    lagrange = np.linalg.inv(nodes[:, None].astype(np.float64) ** powers).T
    places = np.linspace(-_REACH, _REACH, 33)

    def table(values: NDArray[np.floating]) -> Array:
        return xp.asarray(values.astype(np.float32), device=device)

    return _Plan(
        harmonics,
        grid,
        table(np.concatenate([np.cos(angles), np.sin(angles)])),
        table(lagrange @ places ** powers[:, None]),
        table(places),
        table(lagrange),
        table(np.stack([(j * cell) ** 2 / 8, (1 / 12 + 1 / 8) * (j * cell) ** 4 / 8])),
        0.2 * tolerance * tails[0],
        tails[0],
        tails,
    )


class _Workers:
    """Runs a function over items: in threads with one BLAS thread each for numpy, one after another for torch."""

    def __init__(self, stack: TmkStack, workers: int | None) -> None:
        if workers is not None and workers < 1:
            raise InvalidArgument(f"at least one worker is needed, got {workers}")
        own = array_api_compat.is_numpy_array(stack.waves)
        self._count = (workers or available_cores()) if own else 0

    def each(self, function: Callable[[Any], None], items: Iterable[Any]) -> None:
        if self._count < 1:
            for item in items:
                function(item)
            return
        # The limit holds for the whole process, so it is lifted again after every block.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(self._count) as pool:
            for _ in pool.map(function, items):
                pass


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """A block made ready for products.

    Attributes:
        averages: float32 (N, d), rows of unit length or zero.
        tiles: for every `size` rows n, float32 (P, 3, J, n, d) of c, c + s, s for queries, (P, 3, J, d, n) of
            c, c - s, s for references: each tile lies in one piece of memory, which products run a third faster on.
        size: rows of a tile.
    """

    averages: Array
    tiles: list[Array]
    size: int


def _ready(stack: TmkStack, plan: _Plan, workers: _Workers, *, query: bool) -> _Side:
    xp = array_api_compat.array_namespace(stack.waves)
    size = _CPU_TILE if array_api_compat.is_numpy_array(stack.waves) else _DEVICE_TILE
    # (n, P, J, d) -> (P, J, n, d) or (P, J, d, n)
    axes = (1, 2, 0, 3) if query else (1, 2, 3, 0)
    tiles: list[Array] = [None] * -(-len(stack) // size)

    def lay(index: int) -> None:
        rows = stack.waves[index * size : (index + 1) * size, :, :, : plan.harmonics]
        cosines, sines = (xp.permute_dims(rows[:, kind], axes) for kind in (0, 1))
        tile = xp.empty(
            (cosines.shape[0], 3, *cosines.shape[1:]), dtype=xp.float32, device=array_api_compat.device(rows)
        )
        tile[:, 0] = cosines
        tile[:, 2] = sines
        tile[:, 1] = tile[:, 0] + tile[:, 2] if query else tile[:, 0] - tile[:, 2]
        tiles[index] = tile

    workers.each(lay, range(len(tiles)))
    lengths = xp.linalg.vector_norm(stack.averages, axis=1, keepdims=True)
    return _Side(stack.averages / xp.where(lengths > 0, lengths, xp.ones_like(lengths)), tiles, size)


class _Scratch(threading.local):
    """Buffers that every thread keeps from tile to tile: fresh memory costs as much as the arithmetic on it."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Array) -> Array:
        """An uninitialised float32 array of ``shape`` beside ``like``; overwritten by the next of that name."""
        count = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.shape[0] < count:
            xp = array_api_compat.array_namespace(like)
            kept = self._kept[name] = xp.empty((count,), dtype=xp.float32, device=array_api_compat.device(like))
        return kept[:count].reshape(shape)


def _spectra(queries: Array, references: Array, scratch: _Scratch) -> Array:
    """Cross-spectra of a tile, from (P, 3, J, n, d) and (P, 3, J, d, m): float32 (P, 2, J, n*m), Re X and Im X."""
    xp = array_api_compat.array_namespace(queries)
    shape = (*queries.shape[:4], references.shape[4])
    x = scratch.take("spectra", shape, queries)
    xp.matmul(queries, references, out=x)  # c.c', (c + s).(c' - s'), s.s'
    x = xp.reshape(x, (*shape[:3], -1))  # (P, 3, J, n, m) -> (P, 3, J, n*m)
    x[:, 1] -= x[:, 0]
    x[:, 1] += x[:, 2]  # Im X = s.c' - c.s'
    x[:, 0] += x[:, 2]  # Re X = c.c' + s.s'
    return x[:, :2]


def _look(grid: Array, centre: Array, length: Array, plan: _Plan, xp: Any) -> tuple[Array, Array]:
    """Largest K at whole frames within two cells of a grid point: rows (R, G), centres (R,), periods (R,).

    Returns the value, float32 (R,), and the offset in frames, float64 (R,), in [0, T).
    """
    device = array_api_compat.device(grid)
    rows = xp.arange(grid.shape[0], device=device)
    around = xp.arange(-_STENCIL, _STENCIL + 1, device=device)
    stencil = grid[rows[:, None], (centre[:, None] + around) % plan.grid]  # (R, 7)
    place = plan.places[xp.argmax(stencil @ plan.fine, axis=1)]
    terms = (stencil @ plan.lagrange).T  # (7, R), coefficients of powers 0..6
    slope, bend = 6 * terms[6], 30 * terms[6]
    for power in range(5, 0, -1):  # Horner; one Newton step from the best of the fine points
        slope = slope * place + power * terms[power]
        if power > 1:
            bend = bend * place + power * (power - 1) * terms[power]
    width = float(plan.places[1] - plan.places[0])
    step = xp.where(bend < 0, -slope / xp.where(bend < 0, bend, -xp.ones_like(bend)), xp.zeros_like(bend))
    place = place + xp.clip(step, -width, width)

    frames_per_cell = length / plan.grid
    origin = xp.astype(centre, xp.float64) * frames_per_cell
    before = xp.floor(origin + xp.astype(place, xp.float64) * frames_per_cell)
    value, offset = None, before
    for frame in (before, before + 1):
        x = xp.astype((frame - origin) / frames_per_cell, xp.float32)
        k = terms[6]
        for power in range(5, -1, -1):
            k = k * x + terms[power]
        offset = before if value is None else xp.where(k > value, frame, offset)
        value = k if value is None else xp.maximum(k, value)
    return value, offset % length


def _highest(grid: Array, rest: Array, xp: Any) -> Array:
    """An upper bound of K between each grid point and the next: rows (R, G) to (R, G).

    On an interval K exceeds the larger end by at most an eighth of its steepest downward curvature times h^2.
    Second differences give that curvature at grid points; ``rest`` (R,) is what may be added to it in between.
    """
    after = xp.roll(grid, -1, axis=1)
    bend = 2 * grid - xp.roll(grid, 1, axis=1) - after
    bend = xp.maximum(xp.maximum(bend, xp.roll(bend, -1, axis=1)), xp.zeros_like(bend))
    return xp.maximum(grid, after) + 0.125 * bend + rest[:, None]


def _maxima(spectra: Array, periods: Sequence[int], plan: _Plan, scratch: _Scratch) -> tuple[Array, Array, Array]:
    """Largest K of each pair over periods and whole frames, from (P, 2, J, pairs).

    Returns its value, its offset in [0, T) and the index of its period, each (pairs,).
    """
    device = array_api_compat.device(spectra)
    xp = array_api_compat.array_namespace(spectra)
    count, pairs = len(periods), spectra.shape[-1]
    grid = scratch.take("grid", (count, pairs, plan.grid), spectra)
    for period in range(count):
        wave = xp.reshape(spectra[period], (2 * plan.harmonics, pairs))
        xp.matmul(wave.T, plan.table, out=grid[period])
    magnitude = xp.sqrt(spectra[:, 0] ** 2 + spectra[:, 1] ** 2)
    bounds = plan.bounds @ magnitude  # (P, 2, pairs)
    rise = xp.reshape(bounds[:, 0], (-1,))  # K exceeds its grid values by no more than this
    grid = xp.reshape(grid, (count * pairs, -1))  # a row is one pair at one period
    rows = xp.arange(count * pairs, device=device)
    length = xp.asarray(periods, dtype=xp.float64, device=device)[rows // pairs]
    around, covered = xp.arange(-1, 2, device=device), xp.arange(-2, 2, device=device)

    centre = xp.argmax(grid, axis=1)
    best, offset = _look(grid, centre, length, plan, xp)
    top = xp.max(xp.reshape(best, (count, pairs)), axis=0)
    # The intervals that touch the centre's neighbours are answered for; mask them to see what else there is.
    here = (rows[:, None], (centre[:, None] + around) % plan.grid)
    kept = grid[here]
    grid[here] = -math.inf
    peak = grid[rows, xp.argmax(grid, axis=1)]
    grid[here] = kept
    alive = xp.nonzero(peak + rise > top[rows % pairs] + plan.slack)[0]
    if alive.shape[0]:
        rest = xp.reshape(bounds[:, 1], (-1,))[alive]
        grid, centre, length = grid[alive], centre[alive], length[alive]
        highest = _highest(grid, rest, xp)
    while alive.shape[0]:
        rows = xp.arange(alive.shape[0], device=device)
        highest[rows[:, None], (centre[:, None] + covered) % plan.grid] = -math.inf
        centre = xp.argmax(highest, axis=1)
        keep = xp.nonzero(highest[rows, centre] > top[alive % pairs] + plan.slack)[0]
        alive, grid, length, highest, centre = alive[keep], grid[keep], length[keep], highest[keep], centre[keep]
        value, found = _look(grid, centre, length, plan, xp)
        better = value > best[alive]
        best[alive] = xp.where(better, value, best[alive])
        offset[alive] = xp.where(better, found, offset[alive])
        top = xp.max(xp.reshape(best, (count, pairs)), axis=0)
    winner = xp.argmax(xp.reshape(best, (count, pairs)), axis=0)
    return top, xp.reshape(offset, (count, pairs))[winner, xp.arange(pairs, device=device)], winner


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """Scores blocks of pairs with one plan.

    Attributes:
        like: any stack of the kind that will be scored; says where arrays live and with which parameters.
        plan: the tables.
        workers: who computes.
        level1: pairs below it are not scored further; None scores all.
        level2: likewise; their level 2 is then minus infinity.
    """

    like: TmkStack
    plan: _Plan
    workers: _Workers
    level1: float | None = None
    level2: float | None = None

    def ready(self, stack: TmkStack, *, query: bool) -> _Side:
        """Refuses other parameters, then lays the arrays out for products."""
        if (stack.periods, stack.frames_per_second) != (
            self.like.periods,
            self.like.frames_per_second,
        ) or not np.allclose(stack.coefficients, self.like.coefficients, rtol=1e-6, atol=0):
            raise SpaceMismatch(
                have=_parameters(self.like), got=_parameters(stack), where="a block of TMK descriptors"
            )
        return _ready(stack, self.plan, self.workers, query=query)

    def score(self, queries: _Side, references: _Side, *, symmetric: bool = False) -> TmkScores:
        xp = array_api_compat.array_namespace(queries.averages)
        device = array_api_compat.device(queries.averages)
        level1 = xp.clip(queries.averages @ references.averages.T, -1.0, 1.0)
        level2 = xp.full(level1.shape, -math.inf, dtype=xp.float32, device=device)
        offsets = xp.zeros(level1.shape, dtype=xp.int32, device=device)
        periods = xp.full(level1.shape, self.like.periods[0], dtype=xp.int32, device=device)
        lengths = xp.asarray(self.like.periods, dtype=xp.float64, device=device)

        scratch = _Scratch()

        def score_tile(place: tuple[int, int]) -> None:
            q, r = queries.tiles[place[0]], references.tiles[place[1]]
            rows = place[0] * queries.size + xp.arange(q.shape[3], device=device)
            columns = place[1] * references.size + xp.arange(r.shape[4], device=device)
            if self.level1 is not None:
                wanted = level1[rows[:, None], columns] >= self.level1
                q, r, rows, columns = _narrowed(wanted, q, r, rows, columns)
            if self.level2 is not None and rows.shape[0]:
                first = self._opening()
                opening = _spectra(q[:, :, :first], r[:, :, :first], scratch)
                reach = xp.max(xp.sum(xp.sqrt(opening[:, 0] ** 2 + opening[:, 1] ** 2), axis=1), axis=0)
                possible = reach + self.plan.tails[first] >= self.level2 * self.plan.total
                possible = xp.reshape(possible, (rows.shape[0], columns.shape[0]))
                q, r, rows, columns = _narrowed(possible, q, r, rows, columns)
            if not rows.shape[0]:
                return
            value, offset, period = _maxima(_spectra(q, r, scratch), self.like.periods, self.plan, scratch)
            length = lengths[period]
            signed = xp.where(2 * offset > length, offset - length, offset)
            shape = (rows.shape[0], columns.shape[0])
            for target, result in (
                (level2, value / self.plan.total),
                (offsets, xp.astype(signed, xp.int32)),
                (periods, xp.astype(length, xp.int32)),
            ):
                result = xp.reshape(result, shape)  # noqa: PLW2901
                target[rows[:, None], columns[None, :]] = result
                if symmetric and place[0] < place[1]:
                    target[columns[:, None], rows[None, :]] = -result.T if target is offsets else result.T

        places = product(range(len(queries.tiles)), range(len(references.tiles)))
        self.workers.each(score_tile, [(i, k) for i, k in places if not symmetric or i <= k])
        return TmkScores(level1, level2, offsets, periods, self.like.frames_per_second)

    def _opening(self) -> int:
        """How many harmonics to try first: what the others can reach together is a third of the wanted score."""
        limit = max(self.level2 or 0.0, 0.0) * self.plan.total / 3
        return min(self.plan.harmonics, next(j for j, tail in enumerate(self.plan.tails) if tail <= limit))


def _narrowed(
    wanted: Array, queries: Array, references: Array, rows: Array, columns: Array
) -> tuple[Array, Array, Array, Array]:
    """Only the rows and columns of a tile that hold a wanted pair."""
    xp = array_api_compat.array_namespace(wanted)
    keep_rows = xp.nonzero(xp.any(wanted, axis=1))[0]
    keep_columns = xp.nonzero(xp.any(wanted, axis=0))[0]
    if keep_rows.shape[0] < rows.shape[0]:
        queries, rows = queries[:, :, :, keep_rows], rows[keep_rows]
    if keep_columns.shape[0] < columns.shape[0]:
        references, columns = references[..., keep_columns], columns[keep_columns]
    return queries, references, rows, columns


def _parameters(stack: TmkStack) -> str:
    return (
        f"TMK at {stack.frames_per_second} frames per second, periods {stack.periods}, "
        f"{len(stack.coefficients)} harmonics"
    )


def tmk_scores(
    queries: TmkStack, references: TmkStack, *, tolerance: float = 1e-4, workers: int | None = None
) -> TmkScores:
    """Both levels and the best offset of every query against every reference.

    Args:
        queries: N descriptors.
        references: M descriptors, arrays of the same kind and on the same device.
        tolerance: how far a level 2 may lie from its exact value. Harmonics that cannot reach half of it are left
            out.
        workers: threads for numpy arrays; None takes all cores given to the process.

    Raises:
        SpaceMismatch: when the two were made with different parameters.
        InvalidArgument: for a tolerance outside 1e-7 .. 0.1.
    """
    blocks = _Blocks(queries, _plan(queries, tolerance), _Workers(queries, workers))
    return blocks.score(blocks.ready(queries, query=True), blocks.ready(references, query=False))


def compare_tmk(query: TmkDescriptor, reference: TmkDescriptor) -> TmkMatch:
    """Both levels and the best offset of one pair, level 2 to 1e-6.

    Raises:
        SpaceMismatch: when the two were made with different parameters.
    """
    query.require_compatible(reference, where="the other TMK descriptor")
    scores = tmk_scores(TmkStack.of([query]), TmkStack.of([reference]), tolerance=1e-6, workers=1)
    return TmkMatch(
        0, 0, float(scores.level1[0, 0]), float(scores.level2[0, 0]), float(scores.offsets_seconds[0, 0])
    )


def tmk_all_pairs(
    blocks: Sequence[TmkStack], *, tolerance: float = 1e-4, workers: int | None = None
) -> Iterator[tuple[int, int, TmkScores]]:
    """Scores of all pairs of many videos, block against block: yields (i, k, scores) for blocks ``i <= k``.

    Two blocks are held at a time: give `TmkFiles`, or any sequence that loads a stack when it is indexed. Scores of
    a block with itself are the full square, mirrored; each pair was computed once.

    Raises:
        SpaceMismatch: when blocks were made with different parameters.
    """
    scorer: _Blocks | None = None
    for i in range(len(blocks)):
        stack = blocks[i]
        scorer = scorer or _Blocks(stack, _plan(stack, tolerance), _Workers(stack, workers))
        queries = scorer.ready(stack, query=True)
        for k in range(i, len(blocks)):
            references = scorer.ready(stack if k == i else blocks[k], query=False)
            yield i, k, scorer.score(queries, references, symmetric=i == k)


def tmk_matches(
    queries: Sequence[TmkStack],
    references: Sequence[TmkStack] | None = None,
    *,
    minimum_level1: float = 0.7,
    minimum_level2: float = 0.7,
    tolerance: float = 1e-4,
    workers: int | None = None,
) -> Iterator[TmkMatch]:
    """The pairs that pass both levels, in blocks; without ``references`` the pairs among the queries, each once.

    Pairs that an upper bound rules out are not searched: those below level 1, and those whose first harmonics with
    the most that the others can add stay below level 2. Two blocks are held at a time.

    Raises:
        SpaceMismatch: when blocks were made with different parameters.
    """
    scorer: _Blocks | None = None
    start_query = 0
    for i in range(len(queries)):
        stack = queries[i]
        scorer = scorer or _Blocks(
            stack, _plan(stack, tolerance), _Workers(stack, workers), minimum_level1, minimum_level2
        )
        ready = scorer.ready(stack, query=True)
        start_reference = start_query if references is None else 0
        others = queries if references is None else references
        for k in range(i if references is None else 0, len(others)):
            same = references is None and k == i
            other = stack if same else others[k]
            scores = scorer.score(ready, scorer.ready(other, query=False), symmetric=same)
            yield from _passing(scores, (start_query, start_reference), (minimum_level1, minimum_level2), once=same)
            start_reference += len(other)
        start_query += len(stack)


def _passing(
    scores: TmkScores, starts: tuple[int, int], minimum: tuple[float, float], *, once: bool
) -> Iterator[TmkMatch]:
    xp = array_api_compat.array_namespace(scores.level2)
    seconds = scores.offsets_seconds
    rows, columns = xp.nonzero((scores.level1 >= minimum[0]) & (scores.level2 >= minimum[1]))
    for i, k in zip(rows.tolist(), columns.tolist(), strict=True):
        if once and k <= i:
            continue
        yield TmkMatch(
            starts[0] + i,
            starts[1] + k,
            float(scores.level1[i, k]),
            float(scores.level2[i, k]),
            float(seconds[i, k]),
        )
