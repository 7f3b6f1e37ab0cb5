"""How two sequences of frame descriptors line up in time: one offset for the whole of both.

For copies with cuts or changed speed, where no single offset holds, see `reelspace.alignment.segments`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.cte import cte_scores
from reelspace.alignment.fourier import FourierKernel
from reelspace.alignment.kernel_file import LearnedKernel
from reelspace.alignment.methods import LEARNED
from reelspace.alignment.tmk import PERIODS
from reelspace.core.results import Alignment
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["METHODS", "align_sequences", "track"]

Track = tuple[NDArray[np.float64], NDArray[np.float32]]
"""Times in frames (N,), and rows of unit length or zero (N, d)."""

Curve = Callable[[Track, Track, NDArray[np.int64]], NDArray[np.float32]]

# Kernels as in videoalignment, but with 64 harmonics of a sharper kernel (beta 512) where it takes 16 of beta 32:
# the shortest period, 253 frames, then resolves two frames instead of seven, and offsets come out to a tenth of a
# second.
_TMK = FourierKernel((9767, 2731, 1039, 253), harmonics=64, norm="feat_freq", beta=512.0)
_TMK_POULLOT = FourierKernel(PERIODS, harmonics=64, norm="freq", beta=512.0)


def _by_kernel(kernel: FourierKernel) -> Curve:
    def curve(a: Track, b: Track, offsets: NDArray[np.int64]) -> NDArray[np.float32]:
        left, right = (kernel.normalise(kernel.describe(vectors, times))[None] for times, vectors in (a, b))
        scores: NDArray[np.float32] = kernel.scores(left, right, offsets)[0, 0] / kernel.self_score(a[1].shape[1])
        return scores

    return curve


def _by_deconvolution(a: Track, b: Track, offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    every, scores = cte_scores(_gridded(a), _gridded(b))
    inside = (offsets >= every[0]) & (offsets <= every[-1])
    curve = np.zeros(len(offsets), dtype=np.float32)
    curve[inside] = scores[offsets[inside] - every[0]]
    return curve


def _gridded(track: Track) -> NDArray[np.float32]:
    """One row per whole frame from 0 on: the nearest described one, or zero where none is within a frame."""
    times, vectors = track
    frames = np.arange(int(np.ceil(times[-1])) + 1)
    after = np.clip(np.searchsorted(times, frames), 1, max(len(times) - 1, 1))
    after = np.minimum(after, len(times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(frames - times[before] <= times[after] - frames, before, after)
    present = np.abs(times[nearest] - frames) <= 1.0
    return vectors[nearest] * present[:, None].astype(np.float32)


METHODS: Mapping[str, Curve] = MappingProxyType(
    {
        "tmk": _by_kernel(_TMK),
        "tmk-poullot": _by_kernel(_TMK_POULLOT),
        "cte": _by_deconvolution,
    }
)
"""The methods by name: from two tracks and offsets in frames to the score at each, 1 for a sequence with itself.

``tmk`` and ``cte`` are as exact as the sampling; ``tmk-poullot`` has long periods only and is coarse in time.
"""


def align_sequences(
    a: FrameSequence,
    b: FrameSequence,
    *,
    method: str | LearnedKernel = "tmk",
    frames_per_second: float | None = None,
    minimum_overlap_seconds: float = 2.0,
) -> Alignment:
    """The one offset at which two videos show the same footage best.

    What happens at second t of B happens at second ``t + offset_seconds`` of A. The mean is taken out of each
    sequence first, and each frame scaled to unit length again: what a still scene looks like all the time says
    nothing about when. The best offset is refined between frames by a parabola.

    Args:
        a: its rows of view 0 are used, weighted; times need not be uniform.
        b: likewise, of the same space.
        method: a name in `METHODS`, or a kernel that was learned (LAMV).
        frames_per_second: spacing of the offsets tried; None takes the finer of the two sequences' own, or the rate
            at which a learned kernel counts.
        minimum_overlap_seconds: offsets at which the two share less are not tried (half of the shorter one, where
            that is less).

    Raises:
        UnknownName: for a method that is not in `METHODS`.
        SpaceMismatch: when the sequences are of two spaces.
        InvalidArgument: when one has no frame, a number is not positive, or a learned kernel counts at another
            rate.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise UnknownName("alignment method", method, METHODS)
        name, scored = method, METHODS[method]
    else:
        if frames_per_second not in (None, method.frames_per_second):
            raise InvalidArgument(
                f"the kernel was learned at {method.frames_per_second:g} frames per second, and "
                f"{frames_per_second:g} were asked for; leave the rate out, or learn one at that rate"
            )
        name, scored, frames_per_second = LEARNED, _by_kernel(method.kernel), method.frames_per_second
    a.space.require(b.space, where="sequence A")
    a, b = a.view(0), b.view(0)
    if not len(a) or not len(b):
        raise InvalidArgument(f"both sequences need frames, got {len(a)} and {len(b)}")
    rate = max(_rate(a), _rate(b)) if frames_per_second is None else frames_per_second
    if not (np.isfinite(rate) and rate > 0 and minimum_overlap_seconds > 0):
        raise InvalidArgument(
            f"rate and overlap are positive, got {rate} per second and {minimum_overlap_seconds} seconds"
        )
    least = min(minimum_overlap_seconds, 0.5 * min(a.duration_seconds, b.duration_seconds))
    first, last = least - b.duration_seconds, a.duration_seconds - least
    offsets = np.arange(np.ceil(first * rate), max(np.floor(last * rate), np.ceil(first * rate)) + 1).astype(
        np.int64
    )
    curve = scored(track(a, rate), track(b, rate), offsets)
    best = int(np.argmax(curve))
    seconds = float((offsets[best] + _vertex(curve, best)) / rate)
    covered_a = Span(0.0, a.duration_seconds).intersection(Span(seconds, seconds + b.duration_seconds))
    return Alignment(
        offset_seconds=seconds,
        score=float(curve[best]),
        overlap_a=covered_a,
        overlap_b=covered_a.shifted(-seconds) if covered_a else None,
        offsets_seconds=offsets / rate,
        curve=curve,
        method=name,
    )


def _rate(sequence: FrameSequence) -> float:
    """Frames per second as most of the sequence has them; 1 for a single frame."""
    steps = np.diff(sequence.times_seconds)
    steps = steps[steps > 0]
    return float(1 / np.median(steps)) if len(steps) else 1.0


def track(sequence: FrameSequence, rate: float) -> Track:
    """A sequence as methods compare it: times in frames of that rate, and rows (N, d) without their mean.

    Rows are weighted by their evidence, so of unit length or less; those of flat pictures are zero. Of a sequence
    with several views, take one first.
    """
    vectors = _unit(sequence.vectors.astype(np.float32)) * sequence.weights[:, None]
    total = float(sequence.weights.sum())
    mean = vectors.sum(axis=0) / total if total > 0 else np.zeros_like(vectors[0])
    centred = _unit(vectors - sequence.weights[:, None] * mean) * sequence.weights[:, None]
    return sequence.times_seconds * rate, centred


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-6)
    return unit


def _vertex(curve: NDArray[np.float32], index: int) -> float:
    """Where the parabola through a maximum and its neighbours peaks, in samples from it: within [-0.5, 0.5]."""
    if not 0 < index < len(curve) - 1:
        return 0.0
    before, here, after = (float(value) for value in curve[index - 1 : index + 2])
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
