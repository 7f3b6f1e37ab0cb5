"""Convolutions of 3 x 3 as matrix products, for nets that run on numpy alone.

Pictures lie as (H, W, N, C), the pictures of a batch beside one another at each place: copying a place copies one
long run of memory. What surrounds a picture is part of the array (`rectified` makes it), so that no convolution
copies its input for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["every_second", "in_tiles", "rectified", "tile_weights", "untiled"]

TILE = 4  # rows and columns of the outputs that are computed together
_SEEN = TILE + 2  # and of the inputs that they depend on

# F(4 x 4, 3 x 3): Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.3.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
_INPUTS = np.kron(_INPUT, _INPUT).astype(np.float32)  # both directions in one matrix: (36, 36)
_OUTPUTS = np.kron(_OUTPUT, _OUTPUT).astype(np.float32)  # (16, 36)


def rectified(
    x: NDArray[np.float32], bias: NDArray[np.float32], *, before: int, after: int = 0
) -> NDArray[np.float32]:
    """``max(x + bias, 0)`` of (H, W, N, C), with rows and columns of zeros before and after. Changes ``x``."""
    height, width, *rest = x.shape
    x += bias
    framed = np.empty((before + height + after, before + width + after, *rest), np.float32)
    framed[:before] = framed[before + height :] = 0
    framed[:, :before] = framed[:, before + width :] = 0
    np.maximum(x, 0, out=framed[before : before + height, before : before + width])
    return framed


def every_second(x: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """A convolution in steps of two: (1 + H, 1 + W, N, in) -> (H / 2, W / 2, N, out).

    Args:
        x: with one row and column of surroundings before.
        weight: (3, 3, in, out).
    """
    height, width, n, deep = x.shape
    rows, columns = height // 2, width // 2
    down, across, along, _ = x.strides
    windows = np.lib.stride_tricks.as_strided(
        x, (rows, columns, n, 3, 3, deep), (2 * down, 2 * across, along, down, across, x.itemsize)
    )
    # (H / 2, W / 2, N, 3, 3, in) -> (H / 2 * W / 2 * N, 9 * in): the one copy
    product = windows.reshape(-1, 9 * deep) @ weight.reshape(9 * deep, -1)
    return product.reshape(rows, columns, n, -1)


def tile_weights(weight: NDArray[np.floating]) -> NDArray[np.float32]:
    """What `in_tiles` multiplies with, of a kernel (3, 3, in, out): (36, in, out)."""
    wide = np.einsum("iy,jx,yxco->ijco", _KERNEL, _KERNEL, weight.astype(np.float64), optimize=True)
    return np.ascontiguousarray(wide.reshape(_SEEN * _SEEN, *weight.shape[2:]), np.float32)


def in_tiles(x: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A convolution, 4 x 4 outputs at a time: 36 products of numbers instead of 144 (Winograd's; Lavin and Gray).

    Args:
        x: (1 + H + 1, 1 + W + 1, N, in), one row and column of surroundings; H and W are multiples of 4.
        weights: as `tile_weights` makes them.

    Returns:
        (4, 4, H / 4, W / 4, N, out): row and column within a tile come first; `untiled` puts them in place.
    """
    height, width, n, deep = x.shape
    rows, columns = (height - 2) // TILE, (width - 2) // TILE
    down, across, *_ = x.strides
    seen = np.lib.stride_tricks.as_strided(
        x,
        (_SEEN, _SEEN, rows, columns, n * deep),
        (down, across, TILE * down, TILE * across, x.itemsize),
    )
    tiles = _INPUTS @ seen.reshape(_SEEN * _SEEN, -1)  # (36, H / 4 * W / 4 * N * in)
    product = np.matmul(tiles.reshape(_SEEN * _SEEN, -1, deep), weights)  # (36, H / 4 * W / 4 * N, out)
    found: NDArray[np.float32] = _OUTPUTS @ product.reshape(_SEEN * _SEEN, -1)
    return found.reshape(TILE, TILE, rows, columns, n, -1)


def untiled(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """A view of what `in_tiles` gives in the order of the picture: (H / 4, 4, W / 4, 4, N, out)."""
    return tiles.transpose(2, 0, 3, 1, 4, 5)
