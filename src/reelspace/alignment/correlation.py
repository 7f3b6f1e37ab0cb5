"""How many sequences line up, pair by pair, at every offset: correlation of what changes.

A still scene looks alike at every offset, so what a picture looks like on average over the second around it is
taken out first, and only how it differs from that is correlated. All pairs are matrix products of spectra: per
frequency, recordings times dimensions. Frames are placed at their own times and interpolated between them, so that
recordings of 10 and of 50 frames per second meet without the half a frame by which "the frame on screen" lags.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.timeline import Proposal
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument

__all__ = ["Correlation", "Track", "correlations", "fused", "peaks", "proposals", "track"]

_AROUND_SECONDS = 0.4
_FEW_SECONDS = 2.0  # offsets at which two share less than a few of these score less
_BLOCK_BYTES = 128 << 20
_PEAKS = 3  # of a pair that are looked at
_APART_SECONDS = 0.5  # between two of them
_NEAR_SECONDS = 0.15  # around an offset that another method names, where this one's peak is looked for
_LEAST = 0.02  # correlation below which a peak is none

# The chance that a peak is within 0.25 s of the truth: a logistic curve over the logarithms of its height and of
# its lead on the best peak elsewhere. Fitted on pairs of takes, and of strangers, of the tuning half of
# benchmarks/sync_quality.py; on the other half peaks said to be right in 0.30-0.70 of the cases were in 0.42, and
# of 264 said to be right in more than 0.98 all were.
_HEIGHT, _LEAD, _INTERCEPT = 2.6, 3.7, 2.6
_ERROR = 0.12  # standard error of a peak, in its own width over the root of its height; from the same pairs


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What changes in one recording, on a clock of equal steps from second 0 on.

    Attributes:
        vectors: float32 (N, D); zeros where there is no evidence. Each descriptor in it has mean square 1.
        frames_per_second: of the rows.
    """

    vectors: NDArray[np.float32]
    frames_per_second: float


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """How two recordings correlate at every offset.

    Attributes:
        first: number of one.
        second: number of the other, which begins that offset after the first.
        offsets_seconds: float64 (K,), increasing.
        curve: float32 (K,), in [-1, 1]: 0 for strangers; 1 would be the very same vectors, many of them.
        shared_seconds: float32 (K,): how long the two meet at each offset.
        step_seconds: between two offsets.
    """

    first: int
    second: int
    offsets_seconds: NDArray[np.float64]
    curve: NDArray[np.float32]
    shared_seconds: NDArray[np.float32]
    step_seconds: float

    def around(self, offset_seconds: float, within_seconds: float) -> Correlation:
        """Only the offsets near one: what is to be said of the pair when that much is known."""
        near = np.abs(self.offsets_seconds - offset_seconds) <= within_seconds
        return replace(
            self,
            offsets_seconds=self.offsets_seconds[near],
            curve=self.curve[near],
            shared_seconds=self.shared_seconds[near],
        )


def track(sequences: Sequence[FrameSequence], *, frames_per_second: float = 20.0) -> Track:
    """What changes in one recording, by one or more descriptors of it side by side.

    Of each frame the picture without its borders is taken (view 1) where there is one, else the whole (view 0).

    Args:
        sequences: of the same recording; each counts the same.
        frames_per_second: of the rows.

    Raises:
        InvalidArgument: when there is no sequence, or the rate is not positive.
    """
    clock = _clock(sequences, frames_per_second)
    parts = [
        _changes(*_on_clock(sequence, clock), round(_around_seconds(sequence) * frames_per_second))
        for sequence in sequences
    ]
    return Track(np.concatenate(parts, axis=1), frames_per_second)


def fused(sequences: Sequence[FrameSequence], *, frames_per_second: float = 20.0) -> FrameSequence:
    """One sequence of several descriptors of a recording side by side, on a clock of equal steps.

    What methods that take one sequence (`alignment.offsets`) are given; frames are chosen and mixed as in `track`.
    Each descriptor has unit length, and a row weighs the share of them that are evidence.

    Args:
        sequences: of the same recording.
        frames_per_second: of the rows.

    Raises:
        InvalidArgument: as `track`.
    """
    clock = _clock(sequences, frames_per_second)
    parts = [_on_clock(sequence, clock) for sequence in sequences]
    vectors = np.concatenate([_unit(vectors * shown[:, None]) for vectors, shown in parts], axis=1)
    space = Space(
        "+".join(sequence.space.name for sequence in sequences),
        vectors.shape[1],
        {"parts": [str(sequence.space) for sequence in sequences], "frames_per_second": frames_per_second},
    )
    return FrameSequence(
        clock,
        vectors,
        np.zeros(len(clock), np.uint8),
        np.mean([shown for _, shown in parts], axis=0, dtype=np.float32),
        space,
        max(sequence.duration_seconds for sequence in sequences),
    )


def _clock(sequences: Sequence[FrameSequence], frames_per_second: float) -> NDArray[np.float64]:
    """The seconds of the rows, from 0 on."""
    if not sequences or not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise InvalidArgument(
            f"a track needs sequences and a positive rate, got {len(sequences)} and {frames_per_second} per second"
        )
    count = max(1, *(round(sequence.duration_seconds * frames_per_second) for sequence in sequences))
    clock: NDArray[np.float64] = np.arange(count) / frames_per_second
    return clock


def _on_clock(sequence: FrameSequence, clock: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (N, D) at the seconds asked for, mixed between two frames, and where there is evidence (N,)."""
    times, row = np.unique(sequence.times_seconds, return_inverse=True)
    vectors = np.zeros((max(len(times), 1), sequence.space.dimensions), np.float32)
    for view in (0, 1):
        mine = (sequence.views == view) & (sequence.weights > 0)
        vectors[row[mine]] = sequence.vectors[mine]
    shown = np.linalg.norm(vectors, axis=1) > 1e-6
    vectors = _unit(vectors)
    if len(times) < 2:
        return np.repeat(vectors[:1], len(clock), axis=0), np.full(len(clock), bool(shown[0]))
    after = np.clip(np.searchsorted(times, clock, side="right"), 1, len(times) - 1)
    part = np.clip((clock - times[after - 1]) / (times[after] - times[after - 1]), 0, 1).astype(np.float32)
    mixed = (1 - part)[:, None] * vectors[after - 1] + part[:, None] * vectors[after]
    return mixed, shown[after - 1] & shown[after]


def _around_seconds(sequence: FrameSequence) -> float:
    """How far around each frame its mean is taken: further where frames are few, so that some are in it."""
    steps = np.diff(np.unique(sequence.times_seconds))
    return max(_AROUND_SECONDS, 2 * float(np.median(steps))) if len(steps) else _AROUND_SECONDS


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length, or zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-6)
    return unit


def _changes(vectors: NDArray[np.float32], shown: NDArray[np.bool_], around: int) -> NDArray[np.float32]:
    """Each row less the mean of those up to ``around`` rows away; mean square length 1 where there is evidence.

    Lengths are replaced by their square roots before: a cut, or a lamp switched on, does not drown the rest.
    """
    vectors *= shown[:, None]
    place = np.arange(len(vectors))
    low, high = np.maximum(place - around, 0), np.minimum(place + around + 1, len(vectors))
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])
    counts = np.concatenate([[0], np.cumsum(shown)])
    means = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)[:, None]
    changes = ((vectors - means) * shown[:, None]).astype(np.float32)
    lengths = np.linalg.norm(changes, axis=1, keepdims=True)
    np.divide(changes, np.sqrt(lengths), out=changes, where=lengths > 1e-6)
    power = float((changes**2).sum()) / max(int(shown.sum()), 1)
    return changes / np.float32(math.sqrt(power)) if power > 1e-12 else np.zeros_like(changes)


def correlations(tracks: Sequence[Track], *, minimum_shared_seconds: float = 1.0) -> Iterator[Correlation]:
    """The correlation of every pair at every offset at which the two share enough.

    ``c(o) = sum_t a(t + o) b(t) / (sqrt(A(o) B(o)) + few)``, with A and B the energy of what meets, and ``few``
    that of two average seconds: a chance likeness of few frames scores low. Memory is bounded by a block of
    dimensions and of recordings, never by the number of pairs.

    Args:
        tracks: of one rate.
        minimum_shared_seconds: offsets at which two share less are left out (half of the shorter one, where that is
            less).

    Raises:
        InvalidArgument: when the tracks differ in rate or dimensions.
    """
    if not tracks:
        return
    rate = tracks[0].frames_per_second
    if len({(one.frames_per_second, one.vectors.shape[1]) for one in tracks}) != 1:
        raise InvalidArgument("tracks of one rate and one number of dimensions are needed; make them the same way")
    lengths = [len(one.vectors) for one in tracks]
    size = 1 << max(1, (sum(sorted(lengths)[-2:]) - 1).bit_length())
    energies = [
        np.concatenate([[0.0], np.cumsum((one.vectors**2).sum(axis=1), dtype=np.float64)]) for one in tracks
    ]
    rows_at_once = max(1, _BLOCK_BYTES // (4 * size * len(tracks)))
    for first in range(0, len(tracks), rows_at_once):
        rows = range(first, min(first + rows_at_once, len(tracks)))
        products = _products(tracks, rows, size)
        for i, j in combinations(range(len(tracks)), 2):
            if i not in rows:
                continue
            least = max(1.0, min(minimum_shared_seconds * rate, 0.5 * min(lengths[i], lengths[j])))
            offsets = np.arange(math.ceil(least) - lengths[j], lengths[i] - math.ceil(least) + 1)
            start, end = np.maximum(offsets, 0), np.minimum(offsets + lengths[j], lengths[i])
            met_a = energies[i][end] - energies[i][start]
            met_b = energies[j][end - offsets] - energies[j][start - offsets]
            few = _FEW_SECONDS * rate * math.sqrt(energies[i][-1] / lengths[i] * energies[j][-1] / lengths[j])
            scale = np.sqrt(met_a * met_b) + few
            curve = products[i - first, j, offsets % size] / np.where(scale > 0, scale, 1.0)
            shared = ((end - start) / rate).astype(np.float32)
            yield Correlation(i, j, offsets / rate, curve.astype(np.float32), shared, 1 / rate)


def _products(tracks: Sequence[Track], rows: range, size: int) -> NDArray[np.float32]:
    """Sums of products of some recordings with all, at every shift modulo ``size``: (rows, recordings, size)."""
    dimensions = tracks[0].vectors.shape[1]
    at_once = max(1, _BLOCK_BYTES // (4 * size * len(tracks)))
    cross = np.zeros((size // 2 + 1, len(rows), len(tracks)), np.complex64)
    for low in range(0, dimensions, at_once):
        spectra = np.stack(
            [np.fft.rfft(one.vectors[:, low : low + at_once], n=size, axis=0) for one in tracks], axis=1
        ).astype(np.complex64, copy=False)  # (F, recordings, dimensions)
        cross += spectra[:, rows.start : rows.stop] @ spectra.conj().swapaxes(1, 2)
    return np.fft.irfft(cross.transpose(1, 2, 0), n=size).astype(np.float32, copy=False)


def peaks(curve: NDArray[np.float32], offsets_seconds: NDArray[np.float64]) -> list[int]:
    """The highest places of a curve over offsets, apart from one another, highest first: three at most."""
    left = curve.copy()
    found: list[int] = []
    while len(found) < _PEAKS and len(left) and left[best := int(left.argmax())] > _LEAST:
        found.append(best)
        left[np.abs(offsets_seconds - offsets_seconds[best]) < _APART_SECONDS] = -np.inf
    return found


def proposals(found: Correlation, *, near: Sequence[float] | None = None) -> tuple[Proposal, ...]:
    """The offsets a pair may have, with the probability that each is right to 0.25 s, and its error.

    Probabilities were fitted on tracks of reelprint and PDQF at 20 frames per second; of others they are a guess.

    Args:
        found: the pair.
        near: offsets in seconds that another method names: the highest place within 0.15 s of each is judged. None
            judges the highest of all.
    """
    places = peaks(found.curve, found.offsets_seconds) if near is None else _beside(found, near)
    made = [_proposal(found, place) for place in places]
    total = sum(proposal.probability for proposal in made)
    return tuple(replace(one, probability=one.probability / max(total, 1.0)) for one in made)


def _beside(found: Correlation, near: Sequence[float]) -> list[int]:
    places: list[int] = []
    for seconds in near:
        around = np.flatnonzero(np.abs(found.offsets_seconds - seconds) <= _NEAR_SECONDS)
        if len(around) and found.curve[best := int(around[found.curve[around].argmax()])] > _LEAST:
            places.append(best)
    return list(dict.fromkeys(places))


def _proposal(found: Correlation, place: int) -> Proposal:
    """A place of the curve: refined by a parabola, its probability by itself, its error."""
    last = len(found.curve) - 1
    before, here, after = (float(found.curve[i]) for i in (max(place - 1, 0), place, min(place + 1, last)))
    elsewhere = found.curve[np.abs(found.offsets_seconds - found.offsets_seconds[place]) >= _APART_SECONDS]
    rival = max(_LEAST, float(elsewhere.max(initial=0.0)))
    evidence = _HEIGHT * math.log(here) + _LEAD * math.log(here / rival) + _INTERCEPT
    bend = max(2 * here - before - after, 1e-4)
    vertex = 0.5 * (after - before) / bend if 0 < place < last else 0.0
    width = found.step_seconds * math.sqrt(2 * here / bend)
    return Proposal(
        float(found.offsets_seconds[place]) + found.step_seconds * min(max(vertex, -0.5), 0.5),
        1 / (1 + math.exp(-evidence)),
        _ERROR * width / math.sqrt(here),
    )
