from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from reelspace.encoders.models.pdqf_views import PdqfViews, looks, looks_near


def film(frames: int = 10, side: int = 128, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (frames, side, side), each unlike the one before."""
    random = np.random.default_rng(seed)
    at = (np.arange(side) + 0.5) / side
    waves = np.cos(np.pi * np.arange(12)[:, None] * at)
    spectrum = random.normal(size=(frames, 12, 12)) / (1 + np.hypot(*np.mgrid[:12, :12]))
    pictures = np.einsum("fuv,uy,vx->fyx", spectrum, waves, waves, optimize=True)
    return np.clip(128 + 45 * pictures / pictures.std(), 0, 255).astype(np.uint8)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9)))


def test_the_whole_picture_equals_a_slow_cosine_transform() -> None:
    pictures = film(2)
    found = PdqfViews().encode(pictures).vectors[:, 0]
    side = 128
    for picture, vector in zip(pictures.astype(float), found, strict=True):
        slow = np.zeros((16, 16))
        for u in range(16):
            for v in range(16):
                down = np.cos(np.pi * u * (np.arange(side) + 0.5) / side) * (np.sqrt(2) if u else 1)
                across = np.cos(np.pi * v * (np.arange(side) + 0.5) / side) * (np.sqrt(2) if v else 1)
                slow[u, v] = (picture * np.outer(down, across)).mean() * np.hypot(u, v) ** 0.8
        np.testing.assert_allclose(vector, slow.ravel() / np.linalg.norm(slow), atol=2e-5)


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_a_flat_picture_carries_no_evidence(level: int) -> None:
    described = PdqfViews().encode(np.full((5, 128, 128), level, np.uint8))
    assert not described.weights.any()
    assert not described.vectors.any()


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize(("rows", "columns"), [(24, 0), (0, 24), (20, 20)])
def test_the_view_without_borders_is_the_picture_that_was_framed(colour: int, rows: int, columns: int) -> None:
    encoder = PdqfViews()
    inside = film()[:, :: 128 // 64, :: 128 // 64]
    height, width = 128 - 2 * rows, 128 - 2 * columns
    stretched = inside[:, np.arange(height) * 64 // height][:, :, np.arange(width) * 64 // width]
    framed = np.full((10, 128, 128), colour, np.uint8)
    framed[:, rows : rows + height, columns : columns + width] = stretched
    described = encoder.encode(framed)
    plain = encoder.encode(inside.repeat(2, axis=1).repeat(2, axis=2))
    assert (described.weights[:, 1] > 0).all()
    assert cosine(described.vectors[:, 1], plain.vectors[:, 0]) > 0.97
    assert cosine(described.vectors[:, 0], plain.vectors[:, 0]) < 0.8


def test_a_picture_without_borders_has_no_second_view() -> None:
    described = PdqfViews().encode(film())
    assert (described.weights[:, 0] > 0.9).all()
    assert not described.weights[:, 1].any()


def test_mirroring_and_turning_a_vector_is_describing_the_mirrored_and_turned_picture() -> None:
    encoder, pictures = PdqfViews(), film()
    plain = encoder.encode(pictures).vectors[:, 0]
    whole = [look for look in looks() if look.dimensions == 256]
    assert {(look.mirrored, look.rotation_degrees) for look in whole} == set(
        product((False, True), (0, 90, 180, 270))
    )
    for look in whole:
        back = pictures[:, :, ::-1] if look.mirrored else pictures
        turned = encoder.encode(np.rot90(back, -look.rotation_degrees // 90, axes=(1, 2))).vectors[:, 0]
        np.testing.assert_allclose(look.of_query(plain), look.of_reference(turned), atol=1e-5)


def test_cutting_a_region_out_of_a_vector_is_describing_the_cut_picture() -> None:
    encoder, pictures = PdqfViews(), film()
    plain = encoder.encode(pictures).vectors[:, 0]
    whole = (0.0, 1.0, 0.0, 1.0)
    crops = [k for k in looks() if not k.mirrored and not k.rotation_degrees and k.key[0] == whole]
    for look in crops:
        top, bottom, left, right = (round(edge * 128) for edge in look.key[1])
        cut = pictures[:, top:bottom, left:right]
        rows, columns = (np.arange(128) * cut.shape[1] // 128, np.arange(128) * cut.shape[2] // 128)
        query = encoder.encode(cut[:, rows][:, :, columns]).vectors[:, 0]
        # Steps of nearest pixels and rounded edges leave a few hundredths.
        assert cosine(look.of_query(query), look.of_reference(plain)) > 0.93, look.key


def test_looks_are_linear() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 3, 256)).astype(np.float32)
    for look in looks()[::17]:
        for mapping in (look.of_query, look.of_reference):
            np.testing.assert_allclose(mapping(2 * a - b), 2 * mapping(a) - mapping(b), atol=1e-4)


def test_looks_nearby_are_other_regions_inside_the_picture() -> None:
    for look in looks()[::23]:
        near = looks_near(look, 0.05)
        assert near
        for other in near:
            assert other.key != look.key
            assert other.mirrored == look.mirrored
            assert other.rotation_degrees == look.rotation_degrees
            for top, bottom, left, right in other.key[:2]:
                assert 0 <= top < bottom <= 1
                assert 0 <= left < right <= 1


def test_settings_are_part_of_the_space() -> None:
    assert PdqfViews().space != PdqfViews(frames_per_second=2.0).space
    assert PdqfViews().space == PdqfViews().space
    assert PdqfViews().tap.picture.width == 128
