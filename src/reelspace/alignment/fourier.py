"""Temporal matching kernels on frame descriptors: TMK and TMK_Poullot as in videoalignment, and LAMV.

A sequence x_t becomes, for each period T and harmonic j, ``sqrt(a_j) sum_t x_t sin(2 pi j t / T)`` and the same
with cos (Poullot et al. 2015, Eq. 8). How well two sequences match when the second is moved by o frames is then

    s(o) = mean_T sum_j (s_j.s_j' + c_j.c_j') cos(2 pi j o / T) + (s_j.c_j' - c_j.s_j') sin(2 pi j o / T)

after a normalisation (Baraldi et al. 2018, "LAMV", section 3.2). The largest value is at ``o = t_a - t_b``: what
happens at time t of b happens at time t + o of a. LAMV is the same with coefficients a_j that were learned
(`reelspace.training.kernel`) and lie in a small file (`reelspace.alignment.kernel_file`). Arrays are numpy or
torch; times count frames and may have fractions.
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
    own: Callable[[NDArray[np.float64], int], float]  # a sequence's score with itself, given a (P, m) and d


NORMS: Mapping[str, _Norm] = MappingProxyType(
    {
        "feat": _Norm(
            features=True,
            frequencies=False,
            matrix=False,
            divisor=lambda _: 512.0,
            own=lambda a, _: float((2 * a.sum(axis=1) - a[:, 0]).mean()) / 512,  # the constant wave has no sine
        ),
        "freq": _Norm(
            features=False,
            frequencies=True,
            matrix=False,
            divisor=float,
            own=lambda _, dimensions: float(dimensions),
        ),
        "feat_freq": _Norm(
            features=True,
            frequencies=True,
            matrix=False,
            divisor=lambda _: 512.0,
            own=lambda a, dimensions: a.shape[1] * dimensions / 512,
        ),
        "matrix": _Norm(
            features=False, frequencies=False, matrix=True, divisor=lambda _: 1.0, own=lambda _, __: 1.0
        ),
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
        learned: a_j of each period, (P, m), where they were learned (LAMV); beta says nothing then.

    Raises:
        InvalidArgument: when a period or the number of harmonics is not positive, or the learned coefficients are
            not m positive numbers for each period.
        UnknownName: for a norm that is not in `NORMS`.
    """

    periods: tuple[int, ...]
    harmonics: int = 16
    norm: str = "feat_freq"
    beta: float = 32.0
    learned: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if not self.periods or min(self.periods) < 1 or self.harmonics < 1 or not self.beta > 0:
            raise InvalidArgument(
                "a kernel has positive periods, harmonics and beta, got "
                f"{self.periods}, {self.harmonics}, {self.beta}"
            )
        if self.norm not in NORMS:
            raise UnknownName("normalisation", self.norm, NORMS)
        if self.learned is not None:
            sizes = [len(row) for row in self.learned]
            if sizes != [self.harmonics] * len(self.periods):
                raise InvalidArgument(
                    f"{len(self.periods)} periods of {self.harmonics} harmonics need as many learned coefficients, "
                    f"got rows of {sizes}"
                )
            if not all(0 < a < np.inf for row in self.learned for a in row):
                raise InvalidArgument("learned coefficients are positive numbers; some are zero, negative or none")

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The kernel's a_j, float64 (P, m): learned, or of one von Mises kernel for all periods.

        As videoalignment takes them: not below 1e-7.
        """
        fixed = np.broadcast_to(
            kernel_coefficients(self.harmonics, beta=self.beta), (len(self.periods), self.harmonics)
        )
        return np.maximum(fixed if self.learned is None else np.array(self.learned), _SMALLEST)

    def self_score(self, dimensions: int) -> float:
        """What a sequence of d-dimensional frames scores with itself at offset 0, but for those that are 0."""
        return NORMS[self.norm].own(self.coefficients, dimensions)

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
        waves = xp.reshape(waves, (len(self.periods), 2 * self.harmonics, -1))
        return waves * xp.asarray(self._roots(), device=device)

    def shift(self, descriptor: Array, frames: Array | float) -> Array:
        """The descriptor of the same sequence with ``frames`` added to its times: (..., P, 2m, d), same shape.

        Args:
            descriptor: one, or many, not normalised.
            frames: for all of them, or an array (...,) with one number for each.
        """
        xp = array_api_compat.array_namespace(descriptor)
        moments = xp.asarray(frames, dtype=xp.float64, device=array_api_compat.device(descriptor))
        turns = self._waves(xp.reshape(moments, (-1,)), xp).T  # (N, P*2m)
        turns = xp.reshape(turns, (*moments.shape, len(self.periods), 2 * self.harmonics, 1))
        sin, cos = turns[..., : self.harmonics, :], turns[..., self.harmonics :, :]
        sines, cosines = descriptor[..., : self.harmonics, :], descriptor[..., self.harmonics :, :]
        return xp.concat([sines * cos + cosines * sin, cosines * cos - sines * sin], axis=-2)

    def normalise(self, descriptor: Array) -> Array:
        """What `scores` compares: descriptors (..., P, 2m, d) to the same shape."""
        xp = array_api_compat.array_namespace(descriptor)
        norm = NORMS[self.norm]
        if norm.features:
            roots = xp.asarray(self._roots(), device=array_api_compat.device(descriptor))
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

    def _roots(self) -> NDArray[np.float32]:
        """The root of a_j beside every row of a descriptor: (P, 2m, 1)."""
        return np.sqrt(np.tile(self.coefficients, (1, 2))).astype(np.float32)[:, :, None]

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
