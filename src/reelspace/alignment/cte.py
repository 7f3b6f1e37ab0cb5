"""Circulant temporal encoding: the shift of two sequences by regularised deconvolution (Revaud et al. 2013, CVPR).

The Fourier transform along time turns correlation at every shift into a product per frequency; dividing by the
first sequence's own power (Eq. 12) keeps still scenes, which resemble themselves at every shift, from drowning the
peak.

`cte_scores` takes a transform long enough for both sequences, so it is right for all lengths and in both
directions. `CirculantEncoding` is the same for many: one transform length for all of them, so that descriptors can
be stored, moved in time and compared all at once.
`cte_reference_scores` is what videoalignment computes: transforms of each video's own power of two, which only
describe the same frequencies when the two agree, and negative offsets that are one frame off.
Arrays are numpy or torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from reelspace.errors import InvalidArgument

__all__ = ["CirculantEncoding", "cte_descriptor", "cte_reference_scores", "cte_scores"]

Array = Any
"""A numpy array or a torch tensor."""

_DIMENSIONS_AT_ONCE = 32


def cte_scores(a: Array, b: Array, *, regulariser: float = 0.1) -> tuple[Array, Array]:
    """How well two sequences match at every shift that lets them meet.

    Args:
        a: features (N, d).
        b: features (M, d).
        regulariser: lambda, as a share of the mean power of ``a`` per frequency: a frequency in which ``a`` has no
            more than that counts little.

    Returns:
        Offsets in frames, int64 (N + M - 1,), increasing from ``-(M - 1)``, and the score at each, float32, 1 for a
        with itself: what happens at frame t of b happens at frame t + offset of a.

    Raises:
        InvalidArgument: when a sequence is empty or the dimensions differ.
    """
    xp = array_api_compat.array_namespace(a, b)
    (n, d), m = a.shape, b.shape[0]
    if not n or not m or b.shape[1] != d:
        raise InvalidArgument(
            f"two sequences (N, d) and (M, d) with frames are needed, got {(n, d)}, {tuple(b.shape)}"
        )
    length = _power_of_two(n + m - 1)
    device = array_api_compat.device(a)
    cross = xp.zeros((length // 2 + 1,), dtype=xp.complex64, device=device)
    power = xp.zeros((length // 2 + 1,), dtype=xp.float32, device=device)
    for start in range(0, d, _DIMENSIONS_AT_ONCE):  # an hour of 256 dimensions would not fit at once
        part = slice(start, start + _DIMENSIONS_AT_ONCE)
        left = xp.fft.rfft(xp.astype(a[:, part], xp.float32), n=length, axis=0)
        right = xp.fft.rfft(xp.astype(b[:, part], xp.float32), n=length, axis=0)
        cross += xp.astype(xp.sum(left * xp.conj(right), axis=1), xp.complex64)
        power += xp.astype(xp.sum(xp.real(left * xp.conj(left)), axis=1), xp.float32)
    weight = _weight(power, regulariser, xp)
    own = xp.fft.irfft(power * weight, n=length)[0]  # what a scores with itself at offset 0
    scores = xp.fft.irfft(cross * weight, n=length) / xp.where(
        own > 0, own, xp.ones_like(own)
    )  # o - length wrapped to o
    offsets = xp.arange(-(m - 1), n, device=device)
    return offsets, xp.astype(scores[offsets % length], xp.float32)


@dataclass(frozen=True, slots=True)
class CirculantEncoding:
    """Circulant temporal encoding of many sequences: the transform of all has one length.

    Attributes:
        frames: length of the longest sequence.
        harmonics: how many of the lowest frequencies are kept; None for all, which costs as much memory as twice to
            four times the longest sequence.
        regulariser: lambda, as of `cte_scores`.

    Raises:
        InvalidArgument: when a number is not positive.
    """

    frames: int = 16384
    harmonics: int | None = None
    regulariser: float = 0.1

    def __post_init__(self) -> None:
        if self.frames < 1 or (self.harmonics or 1) < 1 or not self.regulariser > 0:
            raise InvalidArgument(
                "circulant encoding has positive frames, harmonics and regulariser, got "
                f"{self.frames}, {self.harmonics}, {self.regulariser}"
            )

    @property
    def _length(self) -> int:
        return _power_of_two(2 * self.frames - 1)

    @property
    def _kept(self) -> int:
        every = self._length // 2 + 1
        return every if self.harmonics is None else min(self.harmonics, every)

    def describe(self, features: Array, times: Array | None = None) -> Array:
        """The spectrum of one sequence: features (N, d) to complex64 (F, d), lowest frequencies first.

        Args:
            features: frame descriptors; rows of zeros change nothing.
            times: (N,) in frames, rounded to whole ones and of one frame each; None takes 0, 1, 2, ...

        Raises:
            InvalidArgument: when the sequence is longer than `frames`, or has another number of times.
        """
        xp = array_api_compat.array_namespace(features)
        device = array_api_compat.device(features)
        grid = xp.astype(features, xp.float32)
        if times is not None:
            if times.shape != (features.shape[0],):
                raise InvalidArgument(
                    f"{features.shape[0]} frames need as many times, got shape {tuple(times.shape)}"
                )
            places = xp.astype(xp.round(xp.asarray(times, dtype=xp.float64, device=device)), xp.int64)
            if bool(xp.any(places < 0)):
                raise InvalidArgument("circulant encoding counts frames from 0 on, and got a time before it")
            grid = xp.zeros((int(xp.max(places)) + 1, features.shape[1]), dtype=xp.float32, device=device)
            grid[places] = xp.astype(features, xp.float32)
        if grid.shape[0] > self.frames:
            raise InvalidArgument(
                f"a sequence of {grid.shape[0]} frames is longer than this encoding takes, {self.frames}; "
                "make one with more frames"
            )
        parts = [
            xp.fft.rfft(grid[:, start : start + _DIMENSIONS_AT_ONCE], n=self._length, axis=0)[: self._kept]
            for start in range(0, grid.shape[1], _DIMENSIONS_AT_ONCE)
        ]
        return xp.astype(xp.concat(parts, axis=1), xp.complex64)

    def shift(self, descriptor: Array, frames: Array | float) -> Array:
        """The descriptor of the same sequence with ``frames`` added to its times: (..., F, d), same shape.

        Args:
            descriptor: one, or many.
            frames: for all of them, or an array (...,) with one number for each.
        """
        xp = array_api_compat.array_namespace(descriptor)
        device = array_api_compat.device(descriptor)
        moments = xp.asarray(frames, dtype=xp.float64, device=device)[..., None, None]
        rates = xp.arange(self._kept, dtype=xp.float64, device=device)[:, None] * (2 * np.pi / self._length)
        return descriptor * xp.astype(xp.exp(-1j * (rates * moments)), xp.complex64)

    def normalise(self, descriptor: Array) -> Array:
        """The descriptor itself: `scores` divides by the power of its first side."""
        return descriptor

    def scores(self, a: Array, b: Array, offsets: Array) -> Array:
        """Scores of all pairs at all offsets: (A, F, d), (B, F, d), whole offsets (K,) to float32 (A, B, K).

        1 for a sequence with itself at offset 0. Unlike the kernels', the two sides do not weigh the same.

        Raises:
            InvalidArgument: when an offset is as long as the encoding, or no whole number.
        """
        xp = array_api_compat.array_namespace(a)
        moments = xp.astype(offsets, xp.int64)
        if bool(xp.any(xp.abs(moments) >= self.frames)) or bool(xp.any(moments != offsets)):
            raise InvalidArgument(f"offsets here are whole numbers of less than {self.frames} frames")
        power = xp.sum(xp.real(a) ** 2 + xp.imag(a) ** 2, axis=-1)  # (A, F)
        weight = _weight(power, self.regulariser, xp)
        own = self._at_offsets(power * weight, moments[:1] * 0, xp)  # (A, 1)
        left = xp.permute_dims(a, (1, 0, 2))  # (F, A, d)
        right = xp.permute_dims(xp.conj(b), (1, 2, 0))  # (F, d, B)
        cross = xp.permute_dims(left @ right, (1, 2, 0)) * weight[:, None, :]  # (F, A, B) -> (A, B, F)
        scores = self._at_offsets(cross, moments, xp)
        return xp.astype(scores / xp.where(own > 0, own, xp.ones_like(own))[:, :, None], xp.float32)

    def _at_offsets(self, spectrum: Array, moments: Array, xp: Any) -> Array:
        return xp.take(xp.fft.irfft(spectrum, n=self._length), moments % self._length, axis=-1)


def cte_descriptor(features: Array, *, harmonics: int = 64) -> Array:
    """The descriptor of videoalignment: features (N, d) to (d, 2m), lowest frequencies, real then imaginary parts.

    Raises:
        InvalidArgument: when there is no frame, or the transform has fewer frequencies.
    """
    xp = array_api_compat.array_namespace(features)
    length = _power_of_two(features.shape[0])
    if not features.shape[0] or harmonics > length:
        raise InvalidArgument(f"{features.shape[0]} frames do not give {harmonics} frequencies")
    spectrum = xp.fft.fft(features, n=length, axis=0)[:harmonics].T  # (d, m)
    return xp.concat([xp.real(spectrum), xp.imag(spectrum)], axis=1)


def cte_reference_scores(a: Array, b: Array, count: int, *, regulariser: float = 0.1) -> Array:
    """The scores videoalignment computes of two `cte_descriptor` arrays, with its faults: float32 (count,).

    Entry i stands for offset ``i - count // 2``, but its first half holds offsets one frame larger and is divided
    by the power of a, the second by that of b; frequencies above m are taken as zero without their mirror images.

    Raises:
        InvalidArgument: when the descriptors have different shapes.
    """
    xp = array_api_compat.array_namespace(a, b)
    if a.shape != b.shape:
        raise InvalidArgument(f"descriptors of one shape are needed, got {tuple(a.shape)} and {tuple(b.shape)}")
    m, half = a.shape[1] // 2, count // 2
    length = _power_of_two(half)
    left, right = a[:, :m] + 1j * a[:, m:], b[:, :m] + 1j * b[:, m:]
    cross = xp.sum(xp.conj(left) * right, axis=0)
    power_a, power_b = (xp.sum(xp.abs(side) ** 2, axis=0) + regulariser for side in (left, right))
    before = xp.real(xp.fft.ifft(cross / power_a, n=length))[:half]
    after = xp.real(xp.fft.ifft(xp.conj(cross) / power_b, n=length))[: count - half]
    return xp.concat([xp.flip(before), after], axis=0)


def _weight(power: Array, regulariser: float, xp: Any) -> Array:
    """What a frequency counts: 1 / (power + lambda), lambda being a share of the mean power (..., F)."""
    return 1 / (power + regulariser * xp.mean(power, axis=-1, keepdims=True) + 1e-20)


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()
