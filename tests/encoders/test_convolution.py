from __future__ import annotations

import numpy as np
import pytest

from reelspace.encoders.convolution import every_second, in_tiles, rectified, tile_weights, untiled


def slow(x: np.ndarray, weight: np.ndarray, *, step: int) -> np.ndarray:
    """Each output by itself; zeros around: (H, W, N, in) -> (H / step, W / step, N, out)."""
    padded = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0), (0, 0)))
    found = np.zeros((x.shape[0] // step, x.shape[1] // step, x.shape[2], weight.shape[3]))
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            window = padded[step * row : step * row + 3, step * column : step * column + 3]
            found[row, column] = np.einsum("yxnc,yxco->no", window, weight)
    return found


@pytest.fixture
def layer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture (8, 12, 3, 5), a kernel (3, 3, 5, 7), and the picture with zeros around."""
    random = np.random.default_rng(0)
    x = random.normal(size=(8, 12, 3, 5)).astype(np.float32)
    weight = random.normal(size=(3, 3, 5, 7)).astype(np.float32)
    return x, weight, np.pad(x, ((1, 1), (1, 1), (0, 0), (0, 0)))


def test_every_second_place_is_the_plain_convolution(layer: tuple[np.ndarray, ...]) -> None:
    x, weight, framed = layer
    found = every_second(framed[:-1, :-1], weight)
    np.testing.assert_allclose(found, slow(x, weight, step=2), atol=1e-4)


def test_tiles_are_the_plain_convolution(layer: tuple[np.ndarray, ...]) -> None:
    x, weight, framed = layer
    found = untiled(in_tiles(framed, tile_weights(weight))).reshape(8, 12, 3, 7)
    np.testing.assert_allclose(found, slow(x, weight, step=1), atol=1e-4)


def test_rectified_pictures_have_zeros_around() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 2, 4)).astype(np.float32)
    bias = np.array([0.5, -0.5, 0.0, 9.0], np.float32)
    expected = np.pad(np.maximum(x + bias, 0), ((1, 2), (1, 2), (0, 0), (0, 0)))
    np.testing.assert_array_equal(rectified(x.copy(), bias, before=1, after=2), expected)
