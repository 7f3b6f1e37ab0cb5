"""Every pair of many sequences at many offsets, by each method, without the sequences in memory.

A search reads each sequence once and keeps its descriptor in a file that goes away with it. Exact CTE, whose
spectra are larger than the features, keeps lengths alone, and reads blocks of sequences again as they are compared.
Blocks are scored against blocks by matrix products.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.aggregation import SumAggregation
from reelspace.alignment.cte import CirculantEncoding, cte_descriptor
from reelspace.alignment.expansion import Expansion, expand_queries
from reelspace.alignment.fourier import FourierKernel
from reelspace.alignment.kernel_scores import best_offsets
from reelspace.alignment.methods import best_offsets as best_of_scores
from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.layout import FeatureFolder, Stretch, Track

__all__ = [
    "Best",
    "ExactCteSearch",
    "KernelSearch",
    "PublishedCteSearch",
    "Search",
    "Sequences",
    "SumSearch",
    "best_by_length",
]

Best = tuple[NDArray[np.float32], NDArray[np.int64]]
"""The best score of each pair (Q, R), and the offset in frames that it is reached at (Q, R)."""

_BLOCK = 512  # descriptors of a kernel side by side: 134 MB at 4 periods of 16 harmonics in 512 dimensions
_SPECTRA_BYTES = 512 << 20  # of each side of a block of pairs
_PUBLISHED_LAMBDA = 0.1


@dataclass(slots=True)
class Sequences:
    """The stretches of a dataset, read one at a time; those that cannot be read are counted.

    Attributes:
        folder: where their features are.
        stretches: in the order that searches keep.
        on_read: told how many were read, and of how many.
        lost: what is wrong with a video, by its name.
    """

    folder: FeatureFolder
    stretches: Sequence[Stretch]
    on_read: Callable[[int, int], None] | None = None
    lost: dict[str, str] = field(default_factory=dict)

    def each(self) -> Iterator[tuple[int, Track]]:
        """The number and the frames of every stretch that can be read.

        Raises:
            FormatError: when two have frames of different dimensions.
        """
        dimensions = None
        for number, stretch in enumerate(self.stretches):
            try:
                track = self.folder.read(stretch)
            except (FormatError, InvalidArgument) as error:
                self.lost.setdefault(stretch.video, str(error))
                continue
            finally:
                if self.on_read is not None:
                    self.on_read(number + 1, len(self.stretches))
            if dimensions not in {None, track.vectors.shape[1]}:
                raise FormatError(
                    f"features of one kind are needed: those of {stretch.video} have {track.vectors.shape[1]} "
                    f"dimensions, others {dimensions}"
                )
            dimensions = track.vectors.shape[1]
            yield number, track

    def read(self, number: int) -> Track:
        """The frames of one stretch that could be read before."""
        return self.folder.read(self.stretches[number])


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What one pass over the sequences gave.

    Attributes:
        numbers: of the stretches that could be read; everything else about a search counts by places in this list.
        lengths: int64 (N,), in frames.
        digest: SHA-256 of all times and vectors.
        descriptors: (N, *), in a file without a name; None where none were made.
    """

    numbers: tuple[int, ...]
    lengths: NDArray[np.int64]
    digest: str
    descriptors: NDArray[Any] | None


def read_once(sequences: Sequences, describe: Callable[[Track], NDArray[Any]] | None) -> Read:
    """Reads every sequence and describes it.

    Raises:
        InvalidArgument: when none could be read, saying why the first could not.
    """
    numbers: list[int] = []
    lengths: list[int] = []
    digest = hashlib.sha256()
    store: NDArray[Any] | None = None
    for number, track in sequences.each():
        digest.update(track.times.tobytes())
        digest.update(track.vectors.tobytes())
        if describe is not None:
            made = describe(track)
            if store is None:
                store = scratch((len(sequences.stretches), *made.shape), made.dtype)
            store[len(numbers)] = made
        numbers.append(number)
        lengths.append(track.length)
    if not numbers:
        why = next(iter(sequences.lost.values()), "the dataset has no video")
        raise InvalidArgument(f"no features could be read: {why}")
    return Read(
        tuple(numbers),
        np.array(lengths, np.int64),
        digest.hexdigest(),
        None if store is None else store[: len(numbers)],
    )


def scratch(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array in a file without a name, which goes when the array does: memory holds what is in use of it."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)


class Search(Protocol):
    """Sequences of one dataset that were read by one method."""

    @property
    def read(self) -> Read:
        """What the pass over the sequences gave."""
        ...

    def best(self, queries: NDArray[np.int64], references: NDArray[np.int64], offsets: range) -> Best:
        """The best of some offsets for every pair of two lists of places."""
        ...


class KernelSearch:
    """By a temporal matching kernel.

    Args:
        kernel: TMK, TMK_Poullot or a learned one.
        sequences: to be read.
        as_published: keep the scale of videoalignment's scores; else a sequence scores 1 with itself.
    """

    def __init__(self, kernel: FourierKernel, sequences: Sequences, *, as_published: bool = False) -> None:
        self.kernel = kernel
        self.read = read_once(sequences, lambda track: kernel.describe(track.vectors, track.times))
        raw = self.raw
        self._ready = scratch(raw.shape, raw.dtype)
        for rows in _blocks(np.arange(len(raw)), _BLOCK):
            self._ready[rows] = kernel.normalise(raw[rows])
        self._unit = np.float32(1 if as_published else 1 / kernel.self_score(raw.shape[-1]))

    @property
    def raw(self) -> NDArray[np.float32]:
        """Descriptors (N, P, 2m, d) that are not normalised: they can be added and shifted."""
        return _described(self.read)

    def best(self, queries: NDArray[np.int64], references: NDArray[np.int64], offsets: range) -> Best:
        """As `Search.best`."""
        if len(queries) > len(references):  # the longer side is read once for many of the other
            scores, places = self.best(references, queries, _negated(offsets))
            return scores.T, -places.T
        return self._against(
            (self._ready[rows] for rows in _blocks(queries, _BLOCK)), references, offsets, len(queries)
        )

    def expanded(
        self,
        queries: NDArray[np.int64],
        references: NDArray[np.int64],
        found: Best,
        expansion: Expansion,
        offsets: range,
    ) -> Best:
        """The same for queries made of what they found; references are neighbours in the list, in order."""
        first = int(references[0])
        made = expand_queries(
            self.kernel,
            self.raw[queries],
            self.raw[first : first + len(references)],
            scores=found[0],
            best=found[1],
            expansion=expansion,
            offsets=np.asarray(offsets),
        )
        ready = (self.kernel.normalise(made[rows]) for rows in _blocks(np.arange(len(made)), _BLOCK))
        return self._against(ready, references, offsets, len(queries))

    def _against(
        self, queries: Iterator[NDArray[Any]], references: NDArray[np.int64], offsets: range, count: int
    ) -> Best:
        scores = np.empty((count, len(references)), np.float32)
        places = np.empty(scores.shape, np.int64)
        row = 0
        for block in queries:
            column = 0
            for rows in _blocks(references, _BLOCK):
                found = best_offsets(block, self._ready[rows], self.kernel, offsets=offsets)
                here = slice(row, row + len(block)), slice(column, column + len(rows))
                scores[here], places[here] = found.scores * self._unit, found.offsets
                column += len(rows)
            row += len(block)
        return scores, places


class SumSearch:
    """By the sum of frames: for retrieval alone, every offset is 0."""

    def __init__(self, sequences: Sequences) -> None:
        self._method = SumAggregation()
        self.read = read_once(sequences, lambda track: self._method.describe(track.vectors))
        self._ready = self._method.normalise(_described(self.read))

    def best(self, queries: NDArray[np.int64], references: NDArray[np.int64], offsets: range) -> Best:  # noqa: ARG002
        """As `Search.best`."""
        scores = self._method.scores(self._ready[queries], self._ready[references], np.zeros(1))[:, :, 0]
        return scores, np.zeros(scores.shape, np.int64)


class ExactCteSearch:
    """By circulant temporal encoding with transforms long enough for both sides: right for all lengths and offsets.

    Every pair costs as much as the longer sequence is long, so all of EVVE takes hours on two cores; some hundred
    ``harmonics`` make it shorter, and offsets coarser.

    Args:
        sequences: to be read.
        harmonics: the lowest frequencies kept; None for all. Cost and memory are in proportion, and sharpness.
    """

    def __init__(self, sequences: Sequences, *, harmonics: int | None = None) -> None:
        self._sequences, self._harmonics = sequences, harmonics
        self.read = read_once(sequences, None)
        self._dimensions = sequences.read(self.read.numbers[0]).vectors.shape[1]

    def best(self, queries: NDArray[np.int64], references: NDArray[np.int64], offsets: range) -> Best:
        """As `Search.best`."""
        longest = max(int(self.read.lengths[side].max()) for side in (queries, references))
        reach = max(longest, 1 + max(abs(offsets[0]), abs(offsets[-1])))
        method = CirculantEncoding(frames=reach, harmonics=self._harmonics)
        every = (1 << (2 * reach - 2).bit_length()) // 2 + 1  # frequencies of the transform for two of that length
        frequencies = every if self._harmonics is None else min(self._harmonics, every)
        step = max(1, _SPECTRA_BYTES // (8 * frequencies * self._dimensions))
        scores = np.empty((len(queries), len(references)), np.float32)
        places = np.empty(scores.shape, np.int64)
        for row in range(0, len(queries), step):
            left = self._spectra(queries[row : row + step], method)
            for column in range(0, len(references), step):
                right = self._spectra(references[column : column + step], method)
                here = slice(row, row + len(left)), slice(column, column + len(right))
                scores[here], places[here] = best_of_scores(method, left, right, np.asarray(offsets))
        return scores, places

    def _spectra(self, places: NDArray[np.int64], method: CirculantEncoding) -> NDArray[np.complex64]:
        return np.stack(
            [method.describe(_on_grid(self._sequences.read(self.read.numbers[place]))) for place in places]
        )


class PublishedCteSearch:
    """By circulant temporal encoding as videoalignment computes it, with its faults; see `cte_reference_scores`."""

    def __init__(self, sequences: Sequences, *, harmonics: int = 64) -> None:
        self.read = read_once(sequences, lambda track: cte_descriptor(track.vectors, harmonics=harmonics))

    def best(self, queries: NDArray[np.int64], references: NDArray[np.int64], offsets: range) -> Best:
        """As `Search.best`; which offset an entry stands for is videoalignment's opinion."""
        stored, half = _described(self.read), len(offsets) // 2
        length = 1 << max(0, half - 1).bit_length()
        scores = np.empty((len(queries), len(references)), np.float32)
        places = np.empty(scores.shape, np.int64)
        step = max(1, (64 << 20) // (16 * length))
        for row, query in enumerate(queries):
            left = _as_complex(stored[query])  # (d, m)
            own = np.sum(np.abs(left) ** 2, axis=0) + _PUBLISHED_LAMBDA
            for first in range(0, len(references), step):
                here = slice(first, first + step)
                right = _as_complex(stored[references[here]])  # (R, d, m)
                cross = np.sum(np.conj(left) * right, axis=1)  # (R, m)
                others = np.sum(np.abs(right) ** 2, axis=1) + _PUBLISHED_LAMBDA
                before = np.fft.ifft(cross / own, n=length).real[:, :half][:, ::-1]
                after = np.fft.ifft(np.conj(cross) / others, n=length).real[:, : len(offsets) - half]
                every = np.concatenate([before, after], axis=1)  # (R, K)
                top = np.argmax(every, axis=1)
                scores[row, here] = every[np.arange(len(top)), top]
                places[row, here] = np.asarray(offsets)[top]
        return scores, places


def best_by_length(search: Search, queries: NDArray[np.int64], references: NDArray[np.int64]) -> Best:
    """The best of the offsets at which two can meet, and a few more.

    Of a query of N frames and a reference of M, offsets from ``1 - M'`` to ``N' - 1`` are tried, N' and M' being
    the powers of two not below N and M: what is tried depends on the two alone, and many pairs are tried together.
    """
    scores = np.empty((len(queries), len(references)), np.float32)
    places = np.empty(scores.shape, np.int64)
    rows_of, columns_of = (_by_power(search.read.lengths[side]) for side in (queries, references))
    for query_power, rows in rows_of.items():
        for reference_power, columns in columns_of.items():
            here = np.ix_(rows, columns)
            offsets = range(1 - reference_power, query_power)
            scores[here], places[here] = search.best(queries[rows], references[columns], offsets)
    return scores, places


def _by_power(lengths: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Places by the power of two not below their length."""
    powers = np.array([1 << max(0, int(length) - 1).bit_length() for length in lengths])
    return {int(power): np.flatnonzero(powers == power) for power in np.unique(powers)}


def _on_grid(track: Track) -> NDArray[np.float32]:
    """One row per whole frame: the one described nearest to it."""
    frames = np.arange(track.length)
    after = np.clip(np.searchsorted(track.times, frames), 1, max(1, len(track.times) - 1))
    after = np.minimum(after, len(track.times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(frames - track.times[before] <= track.times[after] - frames, before, after)
    return track.vectors[nearest]


def _described(read: Read) -> NDArray[Any]:
    if read.descriptors is None:
        raise InvalidArgument("these sequences were read without being described")
    return read.descriptors


def _as_complex(descriptor: NDArray[Any]) -> NDArray[Any]:
    m = descriptor.shape[-1] // 2
    return np.asarray(descriptor[..., :m] + 1j * descriptor[..., m:])


def _negated(offsets: range) -> range:
    return range(-offsets[-1], -offsets[0] + 1, offsets.step)


def _blocks(places: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(places), size):
        yield places[first : first + size]
