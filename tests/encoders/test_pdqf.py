from __future__ import annotations

import numpy as np
import pytest

from reelspace.encoders.models.pdqf import DIHEDRAL, Pdqf, pdqf
from reelspace.errors import InvalidArgument, SpaceMismatch


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random colour pictures, uint8 (count, 64, 64, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


def slow_pdqf(rgb: np.ndarray) -> np.ndarray:
    """The definition, one frequency at a time, in double precision."""
    luma = rgb.astype(np.float64) @ [0.299, 0.587, 0.114]
    place = np.arange(64)
    features = np.empty((16, 16))
    for i in range(16):
        for j in range(16):
            down = np.cos(np.pi / 128 * (i + 1) * (2 * place + 1))
            across = np.cos(np.pi / 128 * (j + 1) * (2 * place + 1))
            features[i, j] = 2 / 64 * down @ luma @ across
    return features.reshape(256)


def test_features_follow_the_definition() -> None:
    rgb = pictures(11)  # more than one chunk, and a part of one
    expected = np.stack([slow_pdqf(picture) for picture in rgb])
    np.testing.assert_allclose(pdqf(rgb), expected, atol=1e-6 * np.linalg.norm(expected, axis=1).max())


TURNS = {
    "identity": lambda x: x,
    "mirror": lambda x: x[:, ::-1],
    "flip": lambda x: x[::-1],
    "rotate-180": lambda x: np.rot90(x, 2),
    "transpose": lambda x: x.swapaxes(0, 1),
    "rotate-90": lambda x: np.rot90(x, -1),
    "rotate-270": lambda x: np.rot90(x, 1),
    "transverse": lambda x: np.rot90(x.swapaxes(0, 1), 2),
}


@pytest.mark.parametrize("name", TURNS)
def test_turning_the_feature_is_turning_the_picture(name: str) -> None:
    rgb = pictures(3)
    turned = np.ascontiguousarray(np.stack([TURNS[name](picture) for picture in rgb]))
    np.testing.assert_allclose(DIHEDRAL[name](pdqf(rgb)), pdqf(turned), atol=0.01)
    assert name == "identity" or np.abs(pdqf(turned) - pdqf(rgb)).max() > 10


def test_all_eight_turns_are_offered() -> None:
    assert set(DIHEDRAL) == set(TURNS)


def test_flat_pictures_carry_no_weight() -> None:
    rgb = pictures(4)
    rgb[0], rgb[1], rgb[2] = 0, 255, (10, 20, 30)
    described = Pdqf().encode(rgb)
    assert described.vectors.shape == (4, 1, 256)
    assert described.weights[:, 0].tolist() == [0, 0, 0, 1]
    assert not described.vectors[0].any()


def test_features_are_raw() -> None:
    rgb = pictures(2)
    np.testing.assert_array_equal(Pdqf().encode(rgb).vectors[:, 0], pdqf(rgb))


def test_exact_and_fast_vectors_are_never_mixed() -> None:
    exact, fast = Pdqf(), Pdqf(fast=True)
    assert exact.tap.picture.exact
    assert not fast.tap.picture.exact
    with pytest.raises(SpaceMismatch, match=fast.space.fingerprint):
        exact.space.require(fast.space, where="the library")


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\(2, 32, 32, 3\)"):
        pdqf(np.zeros((2, 32, 32, 3), dtype=np.uint8))
