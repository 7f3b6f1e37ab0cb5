"""TMK: a whole video as Fourier sums of its frame features (Poullot et al. 2015; Facebook 2019, hashing.pdf).

A descriptor holds, for each period T and harmonic j, the sums of the normalised frame features times cos(2 pi j t /
T) and sin(2 pi j t / T), t counting frames. From two descriptors alone follows their similarity at every shift in
time:

    K(o) = c0.c0' + sum_j cos(j d) (c_j.c_j' + s_j.s_j') + sin(j d) (s_j.c_j' - c_j.s_j'),    d = 2 pi o / T

Descriptors and files are those of ThreatExchange's ``tmk/cpp``; many pairs at once are scored by
`reelspace.alignment.tmk_scores`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelspace.core.space import Space
from reelspace.errors import CannotOpen, FormatError, InvalidArgument, SpaceMismatch

__all__ = [
    "FRAMES_PER_SECOND",
    "HARMONICS",
    "PERIODS",
    "TmkAccumulator",
    "TmkDescriptor",
    "kernel_coefficients",
    "read_tmk",
    "tmk_descriptor",
    "tmk_space",
    "write_tmk",
]

FRAMES_PER_SECOND = 15
PERIODS = (2731, 4391, 9767, 14653)
"""Periods in frames: four primes, 3 to 16 minutes."""
HARMONICS = 32
_BETA = 32.0

_MAGIC = b"TMK1FVECPDQF"
_HEADER = struct.Struct("<12s5i")
_LIMIT = 1 << 20  # no header field is larger in any sane file; keeps a damaged one from asking for gigabytes


@lru_cache
def _kernel(count: int, beta: float) -> tuple[float, ...]:
    # The integral over a period by the trapezoid rule, exact to double precision for a function this smooth:
    # a_j = I_j(beta) / sinh(beta), with exp(-beta) taken out of both.
    angles = 2 * np.pi * np.arange(1024) / 1024
    bessel = np.fft.rfft(np.exp(beta * (np.cos(angles) - 1))).real[:count] / 1024
    values = 2 * bessel / (1 - np.exp(-2 * beta))
    values[0] = (bessel[0] - np.exp(-2 * beta)) / (1 - np.exp(-2 * beta))
    return tuple(values.tolist())


def kernel_coefficients(count: int = HARMONICS, *, beta: float = _BETA) -> NDArray[np.float64]:
    """Fourier coefficients a_0 .. a_{count-1} of the periodic kernel that compares times, float64 (count,).

    ``a_0 = (I_0(beta) - exp(-beta)) / (2 sinh beta)``, ``a_j = I_j(beta) / sinh(beta)``: Poullot et al. 2015.

    Raises:
        InvalidArgument: when count is outside 1..256.
    """
    if not 1 <= count <= 256:
        raise InvalidArgument(f"a kernel has 1 to 256 coefficients, got {count}")
    return np.array(_kernel(count, beta))


@dataclass(frozen=True, slots=True, eq=False)
class TmkDescriptor:
    """One video, or one stretch of it, as TMK keeps it.

    Attributes:
        frames_per_second: rate at which frames were counted.
        frame_count: how many frames went in.
        periods: int (P,), in frames.
        coefficients: float32 (m,), the kernel's a_j.
        average: float32 (d,), mean of the raw features.
        cosines: float32 (P, m, d), each row of norm sqrt(a_j), or zero.
        sines: float32 (P, m, d), likewise; row 0 of each period is zero.

    Raises:
        InvalidArgument: when shapes disagree, a value is not finite, or a row is longer than its sqrt(a_j).
    """

    frames_per_second: int
    frame_count: int
    periods: tuple[int, ...]
    coefficients: NDArray[np.float32]
    average: NDArray[np.float32]
    cosines: NDArray[np.float32]
    sines: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.frames_per_second < 1 or self.frame_count < 0 or not self.periods or min(self.periods) < 1:
            raise InvalidArgument(
                f"a TMK descriptor has positive rate and periods, got {self.frames_per_second} per second, "
                f"{self.frame_count} frames, periods {self.periods}"
            )
        shape = (len(self.periods), len(self.coefficients), len(self.average))
        if self.cosines.shape != shape or self.sines.shape != shape:
            raise InvalidArgument(f"waves have shape {shape}, got {self.cosines.shape} and {self.sines.shape}")
        for name in ("coefficients", "average", "cosines", "sines"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidArgument(f"the {name} of a TMK descriptor are finite; these hold NaN or infinity")
        if (self.coefficients < 0).any() or not self.coefficients.any():
            raise InvalidArgument(f"kernel coefficients are not negative, nor all zero, got {self.coefficients}")
        if self.sines[:, 0].any():
            raise InvalidArgument("the sine of the constant harmonic is zero; here it is not")
        for name in ("cosines", "sines"):
            powers = np.square(getattr(self, name), dtype=np.float64).sum(axis=-1)
            # Scores prune by |c_j.c_j'| <= a_j, so this is what makes them right.
            if (powers > self.coefficients * 1.001 + 1e-12).any():
                raise InvalidArgument(f"a row of the {name} is longer than the square root of its coefficient")

    @property
    def duration_seconds(self) -> float:
        """Seconds of video that went in."""
        return self.frame_count / self.frames_per_second

    def require_compatible(self, other: TmkDescriptor, *, where: str) -> None:
        """Refuses to go on unless both were made with one set of parameters, as ThreatExchange's tools do.

        Raises:
            SpaceMismatch: naming both sets of parameters.
        """
        same = (
            self.frames_per_second == other.frames_per_second
            and self.periods == other.periods
            and self.cosines.shape == other.cosines.shape
            and np.allclose(self.coefficients, other.coefficients, rtol=1e-6, atol=0)
        )
        if not same:
            raise SpaceMismatch(have=self._parameters(), got=other._parameters(), where=where)

    def _parameters(self) -> str:
        return (
            f"TMK at {self.frames_per_second} frames per second, periods {self.periods}, "
            f"{len(self.coefficients)} harmonics from a_0 = {self.coefficients[0]:.6g}, "
            f"{len(self.average)} dimensions"
        )

    def to_bytes(self) -> bytes:
        """The ``.tmk`` file: byte for byte what ThreatExchange's tools read and write."""
        header = _HEADER.pack(
            _MAGIC,
            self.frames_per_second,
            len(self.periods),
            len(self.coefficients),
            len(self.average),
            self.frame_count,
        )
        arrays = (self.coefficients, self.average, self.cosines, self.sines)
        body = b"".join(np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays)
        return header + np.array(self.periods, dtype="<i4").tobytes() + body

    @classmethod
    def from_bytes(cls, content: bytes, *, source: str = "TMK data") -> TmkDescriptor:
        """The descriptor in the content of a ``.tmk`` file; ``source`` names it in errors.

        Raises:
            FormatError: when it is not exactly such a file.
        """
        if len(content) < _HEADER.size or content[: len(_MAGIC)] != _MAGIC:
            raise FormatError(
                f"{source} is no .tmk file: it starts with {content[: len(_MAGIC)]!r}, not {_MAGIC!r}; "
                "make one with `reelspace tmk hash VIDEO -o FILE.tmk`"
            )
        _, rate, period_count, harmonics, dimensions, frame_count = _HEADER.unpack_from(content)
        sizes = (rate, period_count, harmonics, dimensions)
        if min(sizes) < 1 or max(sizes) > _LIMIT or frame_count < 0:
            raise FormatError(
                f"{source}: impossible header: {rate} frames per second, {period_count} periods, {harmonics} "
                f"harmonics, {dimensions} dimensions, {frame_count} frames; the file is damaged, make it again"
            )
        shape = (period_count, harmonics, dimensions)
        wanted = _HEADER.size + 4 * (
            period_count + harmonics + dimensions + 2 * period_count * harmonics * dimensions
        )
        if len(content) != wanted:
            raise FormatError(
                f"{source}: a .tmk file with this header has {wanted} bytes, got {len(content)}; "
                "the file is cut or damaged, make it again"
            )
        periods = np.frombuffer(content, "<i4", period_count, _HEADER.size)
        values = np.frombuffer(content, "<f4", offset=_HEADER.size + 4 * period_count).astype(np.float32)
        ends = np.cumsum([harmonics, dimensions, period_count * harmonics * dimensions])
        coefficients, average, cosines, sines = np.split(values, ends)
        try:
            return cls(
                rate,
                frame_count,
                tuple(periods.tolist()),
                coefficients,
                average,
                cosines.reshape(shape),
                sines.reshape(shape),
            )
        except InvalidArgument as error:
            raise FormatError(f"{source}: {error}; the file is damaged, make it again") from error


def read_tmk(path: str | PathLike[str]) -> TmkDescriptor:
    """Reads a ``.tmk`` file.

    Raises:
        FormatError: when it is not exactly such a file.
        CannotOpen: when it is not there or cannot be read.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            start = file.read(len(_MAGIC))
            # A film given by mistake is not read to its end.
            content = start + (file.read() if start == _MAGIC else b"")
    except OSError as error:
        raise CannotOpen(str(place), (error.strerror or str(error)).lower()) from error
    return TmkDescriptor.from_bytes(content, source=str(place))


def write_tmk(descriptor: TmkDescriptor, path: str | PathLike[str]) -> None:
    """Writes a ``.tmk`` file that ThreatExchange's tools read.

    Raises:
        OSError: when it cannot be written.
    """
    Path(path).write_bytes(descriptor.to_bytes())


def tmk_space(features: Space) -> Space:
    """The identity of TMK descriptors of frame features: exact and fast ones are of different spaces."""
    return Space(
        "tmk",
        features.dimensions * (1 + 2 * len(PERIODS) * HARMONICS),
        {
            "features": features.fingerprint,
            "frames_per_second": FRAMES_PER_SECOND,
            "periods": list(PERIODS),
            "harmonics": HARMONICS,
            "beta": _BETA,
        },
    )


@lru_cache(maxsize=8)
def _circle(period: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and sine of 2 pi k / period for k = 0 .. period-1, computed in double precision."""
    angles = 2 * np.pi * np.arange(period) / period
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@dataclass(slots=True)
class TmkAccumulator:
    """Takes the frame features of one video in order, in pieces of any size, and makes its descriptor.

    Memory does not depend on the length: sums only, float64.

    Attributes:
        dimensions: length of a frame feature.
        frames_per_second: rate of the frames, kept in the descriptor.
        periods: in frames.
        harmonics: how many, counting the constant one.
    """

    dimensions: int = 256
    frames_per_second: int = FRAMES_PER_SECOND
    periods: tuple[int, ...] = PERIODS
    harmonics: int = HARMONICS
    frame_count: int = field(default=0, init=False)
    _total: NDArray[np.float64] = field(init=False, repr=False)
    _waves: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dimensions < 1 or self.harmonics < 1 or not self.periods or min(self.periods) < 1:
            raise InvalidArgument(
                f"TMK needs positive sizes, got {self.dimensions} dimensions, {self.harmonics} harmonics, "
                f"periods {self.periods}"
            )
        self._total = np.zeros(self.dimensions)
        self._waves = np.zeros((len(self.periods), 2 * self.harmonics, self.dimensions))

    def push(self, features: NDArray[np.float32]) -> None:
        """Adds the features of the next frames: float32 (N, dimensions), not normalised.

        Raises:
            InvalidArgument: for another shape.
        """
        if features.ndim != 2 or features.shape[1] != self.dimensions:
            raise InvalidArgument(f"frame features have shape (N, {self.dimensions}), got {features.shape}")
        for start in range(0, len(features), 1024):
            self._add(features[start : start + 1024])

    def _add(self, features: NDArray[np.float32]) -> None:
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        unit = np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)
        times = np.arange(self.frame_count, self.frame_count + len(features), dtype=np.int64)
        turns = np.arange(self.harmonics, dtype=np.int64)[:, None] * times  # j t, exact however long the video
        for index, period in enumerate(self.periods):
            cosine, sine = _circle(period)
            phase = turns % period
            self._waves[index] += np.concatenate([cosine[phase], sine[phase]]) @ unit
        self._total += features.sum(axis=0, dtype=np.float64)
        self.frame_count += len(features)

    def finish(self) -> TmkDescriptor:
        """The descriptor of all frames so far; more may be added afterwards.

        Raises:
            InvalidArgument: when there was no frame.
        """
        if not self.frame_count:
            raise InvalidArgument("a TMK descriptor needs at least one frame, got none")
        coefficients = kernel_coefficients(self.harmonics)
        waves = self._waves.reshape(len(self.periods), 2, self.harmonics, self.dimensions)
        norms = np.linalg.norm(waves, axis=-1, keepdims=True)
        unit = np.divide(waves, norms, out=np.zeros_like(waves), where=norms > 0)
        scaled = (unit * np.sqrt(coefficients)[:, None]).astype(np.float32)
        return TmkDescriptor(
            self.frames_per_second,
            self.frame_count,
            self.periods,
            coefficients.astype(np.float32),
            (self._total / self.frame_count).astype(np.float32),
            np.ascontiguousarray(scaled[:, 0]),
            np.ascontiguousarray(scaled[:, 1]),
        )


def tmk_descriptor(features: NDArray[np.float32] | Iterable[NDArray[np.float32]]) -> TmkDescriptor:
    """The descriptor of one video's PDQF features (N, 256), given whole or as pieces in order.

    Raises:
        InvalidArgument: when there is no frame, or a shape is wrong.
    """
    accumulator = TmkAccumulator()
    for piece in [features] if isinstance(features, np.ndarray) else features:
        accumulator.push(piece)
    return accumulator.finish()
