"""A way of looking at two stored vectors before they are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LinearMap", "Look"]

LinearMap: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Rows (N, D) -> rows (N, D), each a linear function of its own row."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Two linear maps that bring a query's and a reference's vectors to what they would show in common.

    The similarity under a look is the cosine of the mapped vectors: `of_query` of a query's row with `of_reference`
    of a reference's. Because the maps are linear, searching stored rows for a look is a plain vector search.

    Attributes:
        key: what the encoder needs to know it again (the regions of both pictures).
        of_query: map of the query's vectors.
        of_reference: map of the reference's vectors.
        mirrored: whether it takes the query for a mirror image.
        rotation_degrees: clockwise turn it gives the query's picture, after mirroring: 0, 90, 180 or 270.
        dimensions: how many numbers the maps leave to compare: the fewer, the more alike strangers look.
    """

    key: Any
    of_query: LinearMap
    of_reference: LinearMap
    mirrored: bool
    dimensions: int
    rotation_degrees: int = 0

    @classmethod
    def plain(cls, dimensions: int) -> Look:
        """The look that changes nothing."""
        return cls(None, _unchanged, _unchanged, mirrored=False, dimensions=dimensions)


def _unchanged(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows
