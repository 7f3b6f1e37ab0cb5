"""Sum aggregation, the baseline of Baraldi et al. 2018: a video is the sum of its frames, and says not when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat

__all__ = ["SumAggregation"]

Array = Any
"""A numpy array or a torch tensor."""


@dataclass(frozen=True, slots=True)
class SumAggregation:
    """Videos by the mean of their frames: for retrieval alone, every offset scores the same."""

    def describe(self, features: Array, times: Array | None = None) -> Array:  # noqa: ARG002
        """Features (N, d) to their sum (d,); times do not matter."""
        xp = array_api_compat.array_namespace(features)
        return xp.sum(xp.astype(features, xp.float32), axis=0)

    def shift(self, descriptor: Array, frames: Array | float) -> Array:  # noqa: ARG002
        """The descriptor itself: a sum does not know when."""
        return descriptor

    def normalise(self, descriptor: Array) -> Array:
        """Descriptors (..., d) to unit length; one of nothing stays zero."""
        xp = array_api_compat.array_namespace(descriptor)
        length = xp.sqrt(xp.sum(descriptor**2, axis=-1, keepdims=True))
        return descriptor / xp.where(length > 0, length, xp.ones_like(length))

    def scores(self, a: Array, b: Array, offsets: Array) -> Array:
        """The cosine of all pairs, the same at all offsets: normalised (A, d), (B, d), (K,) to (A, B, K)."""
        xp = array_api_compat.array_namespace(a)
        cosines = a @ b.T
        return xp.broadcast_to(cosines[:, :, None], (*cosines.shape, offsets.shape[0]))
