"""Circulant temporal encoding: the shift of two sequences by regularised deconvolution (Revaud et al. 2013, CVPR).

The Fourier transform along time turns correlation at every shift into a product per frequency; dividing by the
first sequence's own power (Eq. 12) keeps still scenes, which resemble themselves at every shift, from drowning the
peak.

`cte_scores` takes a transform long enough for both sequences, so it is right for all lengths and in both
directions.
`cte_reference_scores` is what videoalignment computes: transforms of each video's own power of two, which only
describe the same frequencies when the two agree, and negative offsets that are one frame off.
Arrays are numpy or torch.
"""

from __future__ import annotations

from typing import Any

import array_api_compat

from reelspace.errors import InvalidArgument

__all__ = ["cte_descriptor", "cte_reference_scores", "cte_scores"]

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
    weight = 1 / (power + regulariser * xp.mean(power) + 1e-20)
    own = xp.fft.irfft(power * weight, n=length)[0]  # what a scores with itself at offset 0
    scores = xp.fft.irfft(cross * weight, n=length) / xp.where(
        own > 0, own, xp.ones_like(own)
    )  # o - length wrapped to o
    offsets = xp.arange(-(m - 1), n, device=device)
    return offsets, xp.astype(scores[offsets % length], xp.float32)


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


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()
