from __future__ import annotations

import numpy as np
import pytest

from reelspace.core.compact import CompactRows, from_signs, require_precision, to_int8, to_signs
from reelspace.errors import InvalidArgument, UnknownName


def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    near = random.normal(size=(1, 256)) + random.normal(size=(40, 256)) * np.geomspace(0.1, 5, 40)[:, None]
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def test_eight_bits_keep_cosines_to_a_hundredth() -> None:
    v = vectors()
    small = to_int8(v)
    assert small.nbytes == v.nbytes // 4 + 4 * len(v)
    np.testing.assert_allclose(small[:] @ small[:].T, v @ v.T, atol=0.01)


def test_eight_bits_keep_the_length() -> None:
    long = vectors() * np.geomspace(1e-3, 1e3, 40, dtype=np.float32)[:, None]
    lengths = np.linalg.norm(to_int8(long)[:], axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(long, axis=1), rtol=1e-5)


def test_compact_rows_are_indexed_like_an_array() -> None:
    small = to_int8(vectors())
    whole = np.asarray(small)
    assert (whole.shape, whole.dtype) == (small.shape, small.dtype) == ((40, 256), np.float32)
    for rows in (slice(3, 9), np.array([5, 1, 1]), np.arange(40) % 2 == 0):
        np.testing.assert_array_equal(small[rows], whole[rows])


def test_compact_rows_are_an_array_by_a_copy_only() -> None:
    with pytest.raises(ValueError, match="by a copy only"):
        np.asarray(to_int8(vectors()), copy=False)


def test_codes_without_their_scales_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\(2, 4\) and \(3,\)"):
        CompactRows(np.zeros((2, 4), np.int8), np.zeros(3, np.float32))


def test_a_precision_nobody_knows_is_refused() -> None:
    assert require_precision("int8") == "int8"
    with pytest.raises(UnknownName, match="did you mean 'int8'"):
        require_precision("int4")


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
    assert not to_int8(nothing)[:].any()
    assert to_int8(nothing[:0])[:].shape == (0, 256)
