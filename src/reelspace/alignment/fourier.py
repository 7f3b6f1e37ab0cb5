"""Temporal matching kernels on frame descriptors: TMK and TMK_Poullot as in videoalignment.

A sequence x_t becomes, for each period T and harmonic j, ``sqrt(a_j) sum_t x_t sin(2 pi j t / T)`` and the same
with cos (Poullot et al. 2015, Eq. 8). How well two sequences match when the second is moved by o frames is then

    s(o) = mean_T sum_j (s_j.s_j' + c_j.c_j') cos(2 pi j o / T) + (s_j.c_j' - c_j.s_j') sin(2 pi j o / T)

after a normalisation (Baraldi et al. 2018, "LAMV", section 3.2). The largest value is at ``o = t_a - t_b``: what
happens at time t of b happens at time t + o of a. Arrays are numpy or torch; times count frames and may have
fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.tmk import PERIODS, kernel_coefficients
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["NORMS", "TMK", "TMK_POULLOT", "FourierKernel"]

Array = Any
"""A numpy array or a torch tensor."""

_EPS = 1e-8
_SMALLEST = 1e-7  # videoalignment does not let a_j fall below this
_CHUNK = 4096


class _Norm(NamedTuple):
    """How one normalisation treats descriptors and scores."""

    features: bool  # every row (period, harmonic, sine or cosine) to length sqrt(a_j)
    frequencies: bool  # every dimension of a period to length sqrt(m) over its rows
    matrix: bool  # every period to length 1
    divisor: Callable[[int], float]  # of the score, given m


NORMS: Mapping[str, _Norm] = MappingProxyType(
    {
        "feat": _Norm(features=True, frequencies=False, matrix=False, divisor=lambda _: 512.0),
        "freq": _Norm(features=False, frequencies=True, matrix=False, divisor=float),
        "feat_freq": _Norm(features=True, frequencies=True, matrix=False, divisor=lambda _: 512.0),
        "matrix": _Norm(features=False, frequencies=False, matrix=True, divisor=lambda _: 1.0),
    }
)
"""The normalisations by name. The divisor 512 is videoalignment's, whatever the dimension."""


@dataclass(frozen=True, slots=True)
class FourierKernel:
    """One temporal matching kernel.

    Attributes:
        periods: in frames.
        harmonics: m, per period, counting the constant one.
        norm: a name in `NORMS`.
        beta: sharpness of the kernel in time: its width is about ``T / (2 pi sqrt(beta))`` frames.

    Raises:
        InvalidArgument: when a period or the number of harmonics is not positive.
        UnknownName: for a norm that is not in `NORMS`.
    """

    periods: tuple[int, ...]
    harmonics: int = 16
    norm: str = "feat_freq"
    beta: float = 32.0

    def __post_init__(self) -> None:
        if not self.periods or min(self.periods) < 1 or self.harmonics < 1 or not self.beta > 0:
            raise InvalidArgument(
                "a kernel has positive periods, harmonics and beta, got "
                f"{self.periods}, {self.harmonics}, {self.beta}"
            )
        if self.norm not in NORMS:
            raise UnknownName("normalisation", self.norm, NORMS)

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The kernel's a_j, float64 (m,), as videoalignment takes them: not below 1e-7."""
        return np.maximum(kernel_coefficients(self.harmonics, beta=self.beta), _SMALLEST)

    def describe(self, features: Array, times: Array | None = None) -> Array:
        """The descriptor of one sequence: features (N, d) to (P, 2m, d), rows sin 0..m-1, then cos 0..m-1.

        Args:
            features: frame descriptors, of unit length as a rule; rows of zeros change nothing.
            times: (N,) in frames; None takes 0, 1, 2, ...

        Raises:
            InvalidArgument: when there are not as many times as frames.
        """
        xp = array_api_compat.array_namespace(features)
        device = array_api_compat.device(features)
        if times is None:
            times = xp.arange(features.shape[0], dtype=xp.float64, device=device)
        if times.shape != (features.shape[0],):
            raise InvalidArgument(f"{features.shape[0]} frames need as many times, got shape {tuple(times.shape)}")
        waves = xp.zeros(
            (len(self.periods) * 2 * self.harmonics, features.shape[1]), dtype=xp.float32, device=device
        )
        for start in range(0, features.shape[0], _CHUNK):  # the trigonometric table stays small for any length
            stop = start + _CHUNK
            waves += self._waves(times[start:stop], xp) @ xp.astype(features[start:stop], xp.float32)
        scale = np.sqrt(np.tile(self.coefficients, 2 * len(self.periods))).astype(np.float32)
        waves *= xp.asarray(scale, device=device)[:, None]
        return xp.reshape(waves, (len(self.periods), 2 * self.harmonics, -1))

    def shift(self, descriptor: Array, frames: float) -> Array:
        """The descriptor of the same sequence with ``frames`` added to its times: (..., P, 2m, d), same shape."""
        xp = array_api_compat.array_namespace(descriptor)
        moment = xp.asarray([float(frames)], dtype=xp.float64, device=array_api_compat.device(descriptor))
        turn = xp.reshape(self._waves(moment, xp), (len(self.periods), 2 * self.harmonics, 1))
        sin, cos = turn[:, : self.harmonics], turn[:, self.harmonics :]
        sines, cosines = descriptor[..., : self.harmonics, :], descriptor[..., self.harmonics :, :]
        return xp.concat([sines * cos + cosines * sin, cosines * cos - sines * sin], axis=-2)

    def normalise(self, descriptor: Array) -> Array:
        """What `scores` compares: descriptors (..., P, 2m, d) to the same shape."""
        xp = array_api_compat.array_namespace(descriptor)
        norm = NORMS[self.norm]
        if norm.features:
            roots = np.sqrt(np.tile(self.coefficients, 2)).astype(np.float32)
            roots = xp.asarray(roots, device=array_api_compat.device(descriptor))[:, None]
            power = xp.sum((descriptor / roots) ** 2, axis=-1, keepdims=True)
            descriptor = descriptor / (xp.sqrt(power + _EPS) + _EPS)
        if norm.frequencies:
            power = xp.sum(descriptor**2, axis=-2, keepdims=True) / self.harmonics
            descriptor = descriptor / (xp.sqrt(power + _EPS) + _EPS)
        if norm.matrix:
            power = xp.sum(xp.sum(descriptor**2, axis=-1, keepdims=True), axis=-2, keepdims=True)
            descriptor = descriptor / xp.where(power > 0, xp.sqrt(power), xp.ones_like(power))
        return descriptor

    def scores(self, a: Array, b: Array, offsets: Array) -> Array:
        """Scores of all pairs at all offsets: normalised (A, P, 2m, d), (B, P, 2m, d), offsets (K,) to (A, B, K).

        Offsets are in frames, ``t_a - t_b``; fractions are allowed.
        """
        xp = array_api_compat.array_namespace(a)
        m = self.harmonics
        left, right = (
            xp.permute_dims(a, (1, 2, 0, 3)),
            xp.permute_dims(b, (1, 2, 3, 0)),
        )  # (P, 2m, A, d), (P, 2m, d, B)
        even = left[:, :m] @ right[:, :m] + left[:, m:] @ right[:, m:]
        odd = left[:, :m] @ right[:, m:] - left[:, m:] @ right[:, :m]
        spectrum = xp.reshape(xp.concat([odd, even], axis=1), (-1, a.shape[0] * b.shape[0]))  # (P*2m, A*B)
        spectrum = spectrum / (len(self.periods) * NORMS[self.norm].divisor(m))
        parts = [
            spectrum.T @ self._waves(offsets[start : start + _CHUNK], xp)  # (A*B, P*2m) @ (P*2m, K)
            for start in range(0, max(1, offsets.shape[0]), _CHUNK)
        ]
        return xp.reshape(xp.concat(parts, axis=1), (a.shape[0], b.shape[0], -1))

    def _waves(self, times: Array, xp: Any) -> Array:
        """Sines, then cosines, of all angles: float32 (P*2m, N), by double precision as an hour is many turns."""
        device = array_api_compat.device(times)
        rates = np.arange(self.harmonics) / np.array(self.periods, dtype=np.float64)[:, None]  # (P, m)
        angles = 2 * np.pi * xp.asarray(rates, device=device)[:, :, None] * xp.astype(times, xp.float64)
        waves = xp.concat([xp.sin(angles), xp.cos(angles)], axis=1)  # (P, 2m, N)
        return xp.astype(xp.reshape(waves, (-1, times.shape[0])), xp.float32)


TMK = FourierKernel((9767, 2731, 1039, 253), norm="feat_freq")
"""TMK with the periods of videoalignment's defaults."""
TMK_POULLOT = FourierKernel(PERIODS, norm="freq")
"""The kernel of Poullot et al. 2015: long periods only, so coarse in time."""
