"""Every way to compare two whole sequences at every offset, behind one protocol.

A method describes each sequence once, without knowing the others; descriptors add up, move in time, and are
compared many at a time. Evaluation, query expansion (`reelspace.alignment.expansion`) and stored videos need that.
`reelspace.alignment.offsets` aligns two sequences, with sharper kernels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import array_api_compat

from reelspace.alignment.aggregation import SumAggregation
from reelspace.alignment.cte import CirculantEncoding
from reelspace.alignment.fourier import TMK, TMK_POULLOT
from reelspace.alignment.kernel_file import read_kernel
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["LEARNED", "METHODS", "TemporalMethod", "best_offsets", "temporal_method"]

Array = Any
"""A numpy array or a torch tensor."""

_SCORES_AT_ONCE = 1 << 23


class TemporalMethod(Protocol):
    """Sequences in, one descriptor each; pairs of descriptors in, a score for each offset out."""

    def describe(self, features: Array, times: Array | None = None) -> Array:
        """The descriptor of one sequence: features (N, d), times (N,) in frames. The sum of two describes both."""
        ...

    def shift(self, descriptor: Array, frames: Array | float) -> Array:
        """Descriptors (..., *) as if ``frames`` were added to their times: one number, or an array (...,)."""
        ...

    def normalise(self, descriptor: Array) -> Array:
        """Descriptors as `scores` takes them."""
        ...

    def scores(self, a: Array, b: Array, offsets: Array) -> Array:
        """Scores of all pairs at all offsets: normalised (A, *), (B, *), offsets (K,) in frames to (A, B, K).

        What happens at frame t of b happens at frame t + offset of a.
        """
        ...


METHODS: Mapping[str, TemporalMethod] = MappingProxyType(
    {
        "tmk": TMK,
        "tmk-poullot": TMK_POULLOT,
        "cte": CirculantEncoding(),
        "sum": SumAggregation(),
    }
)
"""The methods that nothing has to be learned for, with videoalignment's parameters; `dataclasses.replace` makes
others (``replace(METHODS["tmk"], norm="freq", harmonics=32)``). ``sum`` does not localise."""

LEARNED = "lamv"
"""The name of the kernel that is learned."""


def temporal_method(name: str, *, kernel: str | os.PathLike[str] | None = None) -> TemporalMethod:
    """The method of that name.

    Args:
        name: in `METHODS`, or ``lamv``.
        kernel: file of the learned kernel, for ``lamv`` and nothing else.

    Raises:
        UnknownName: for another name.
        InvalidArgument: when ``lamv`` comes without a kernel, or another method with one.
        FormatError: when the file is not a kernel.
    """
    if name != LEARNED and name not in METHODS:
        raise UnknownName("temporal method", name, [*METHODS, LEARNED])
    if (name == LEARNED) != (kernel is not None):
        raise InvalidArgument(
            f"{LEARNED} is learned: it takes a kernel file, which `reelspace train kernel` writes"
            if kernel is None
            else f"{name} takes no learned kernel; with one, the method is {LEARNED}"
        )
    return METHODS[name] if kernel is None else read_kernel(kernel).kernel


def best_offsets(method: TemporalMethod, a: Array, b: Array, offsets: Array) -> tuple[Array, Array]:
    """The best score of all pairs and where it lies, a block of ``b`` at a time.

    Args:
        method: what made the descriptors.
        a: normalised (A, *).
        b: normalised (B, *).
        offsets: (K,) in frames.

    Returns:
        Scores (A, B), and the offsets they are reached at (A, B), the first of equal ones.
    """
    xp = array_api_compat.array_namespace(a)
    step = max(1, _SCORES_AT_ONCE // max(1, a.shape[0] * offsets.shape[0]))
    scores, places = [], []
    for start in range(0, b.shape[0], step):
        block = method.scores(a, b[start : start + step], offsets)  # (A, step, K)
        scores.append(xp.max(block, axis=-1))
        places.append(xp.take(offsets, xp.reshape(xp.argmax(block, axis=-1), (-1,))))
        places[-1] = xp.reshape(places[-1], scores[-1].shape)
    return xp.concat(scores, axis=1), xp.concat(places, axis=1)
