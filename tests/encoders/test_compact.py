from __future__ import annotations

import numpy as np

from reelspace.encoders.compact import from_int8, from_signs, to_int8, to_signs


def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    near = random.normal(size=(1, 256)) + random.normal(size=(40, 256)) * np.geomspace(0.1, 5, 40)[:, None]
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def test_eight_bits_keep_cosines_to_a_hundredth() -> None:
    v = vectors()
    small = to_int8(v)
    assert (small.dtype, small.nbytes) == (np.int8, v.nbytes // 4)
    np.testing.assert_allclose(from_int8(small) @ from_int8(small).T, v @ v.T, atol=0.01)


def test_signs_tell_the_angle() -> None:
    v = vectors()
    small = to_signs(v)
    assert small.shape == (40, 32)
    products = from_signs(small) @ from_signs(small).T
    hamming = np.unpackbits(small[:, None] ^ small[None, :], axis=2).sum(axis=2)
    np.testing.assert_allclose(products, 1 - 2 * hamming / 256, atol=1e-6)
    assert np.abs(np.sin(np.pi / 2 * products) - v @ v.T).mean() < 0.06


def test_nothing_stays_nothing() -> None:
    nothing = np.zeros((2, 256), np.float32)
    assert not from_int8(to_int8(nothing)).any()
