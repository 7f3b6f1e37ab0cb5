from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import pytest

from reelspace.encoders.compact import from_int8, to_int8
from reelspace.encoders.models import reelprint
from reelspace.encoders.models.reelprint import DIMENSIONS, Reelprint, descriptors
from reelspace.errors import FormatError

torch = pytest.importorskip("torch")


def film(frames: int = 10, side: int = 128, seed: int = 0) -> np.ndarray:
    """Smooth random coloured pictures, uint8 (frames, side, side, 3), each unlike the one before."""
    random = np.random.default_rng(seed)
    at = (np.arange(side) + 0.5) / side
    waves = np.cos(np.pi * np.arange(12)[:, None] * at)
    spectrum = random.normal(size=(frames, 12, 12, 1)) + 0.5 * random.normal(size=(frames, 12, 12, 3))
    spectrum = spectrum / (1 + np.hypot(*np.mgrid[:12, :12]))[..., None]
    pictures = np.einsum("fuvc,uy,vx->fyxc", spectrum, waves, waves, optimize=True)
    return np.clip(128 + 45 * pictures / pictures.std(), 0, 255).astype(np.uint8)


def slow(pictures: np.ndarray) -> np.ndarray:
    """The net in torch, from the shipped arrays, operation by operation."""
    functional = torch.nn.functional
    with np.load(files("reelspace.encoders").joinpath("weights/reelprint.npz")) as arrays:
        net = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}

    def convolved(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        weight = net[f"{name}.weight"].permute(3, 2, 0, 1)
        return functional.conv2d(x, weight, net[f"{name}.bias"], stride, weight.shape[2] // 2)

    x = functional.relu(convolved((torch.from_numpy(pictures).permute(0, 3, 1, 2) - 0.5) * 4, "stem", 2))
    for block in range(3):
        inner = convolved(functional.relu(convolved(x, f"{block}.first", 2)), f"{block}.second", 1)
        x = functional.relu(inner + convolved(x, f"{block}.short", 2))
    pooled = x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    return functional.normalize(pooled @ net["head.weight"] + net["head.bias"], dim=1).numpy()


def test_the_net_in_numpy_is_the_net_in_torch() -> None:
    pictures = np.random.default_rng(0).random((5, 64, 64, 3), dtype=np.float32)
    np.testing.assert_allclose(descriptors(pictures), slow(pictures), atol=1e-3)


def test_the_shipped_weights_fit_four_megabytes_and_have_their_digest() -> None:
    data = files("reelspace.encoders").joinpath("weights/reelprint.npz").read_bytes()
    assert len(data) <= 4_000_000
    assert Reelprint().space.parameters["weights"] == hashlib.sha256(data).hexdigest()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reelprint, "_SHA256", "0" * 64)
    reelprint._weights.cache_clear()
    with pytest.raises(FormatError, match="install reelspace again"):
        descriptors(np.zeros((1, 64, 64, 3), np.float32))


def test_half_precision_and_eight_bits_keep_the_similarity() -> None:
    vectors = Reelprint().encode(film()).vectors[:, 0]
    half, eight = vectors.astype(np.float16).astype(np.float32), from_int8(to_int8(vectors))
    np.testing.assert_allclose(half @ half.T, vectors @ vectors.T, atol=1e-3)
    np.testing.assert_allclose(eight @ eight.T, vectors @ vectors.T, atol=0.02)


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_a_flat_picture_carries_no_evidence(level: int) -> None:
    described = Reelprint().encode(np.full((5, 128, 128, 3), level, np.uint8))
    assert described.vectors.shape == (5, 4, DIMENSIONS)
    assert not described.weights.any()
    assert not described.vectors.any()


def test_vectors_have_unit_length_and_do_not_depend_on_their_neighbours() -> None:
    pictures = film(20)
    whole = Reelprint().encode(pictures).vectors[:, 0]
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(Reelprint().encode(pictures[3:4]).vectors[:, 0], whole[3:4], atol=1e-5)


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_the_view_without_borders_is_the_picture_that_was_framed(colour: int) -> None:
    inside = film(side=88)
    framed = np.full((10, 128, 128, 3), colour, np.uint8)
    framed[:, 20:108, 20:108] = inside
    described = Reelprint().encode(framed)
    plain = Reelprint().encode(film(side=128))
    alike = (described.vectors[:, 1] * plain.vectors[:, 0]).sum(axis=1)
    assert (described.weights[:, 1] > 0).all()
    assert alike.min() > 0.97


def test_pictures_side_by_side_are_described_each() -> None:
    left, right = film(seed=1), film(seed=2)
    both = np.concatenate([left[:, :, ::2], right[:, :, ::2]], axis=2)
    described = Reelprint().encode(both)
    for one in (left, right):
        plain = Reelprint().encode(one).vectors[:, 0]
        assert np.max([(described.vectors[:, view] * plain).sum(axis=1) for view in (2, 3)], axis=0).mean() > 0.95


@pytest.mark.parametrize(
    ("edit", "least"),
    [
        (lambda p: p[:, :, ::-1], 0.8),
        (lambda p: p[:, 8:120, 4:124], 0.8),
        (lambda p: np.repeat(p.mean(axis=3, keepdims=True), 3, axis=3), 0.8),
        (lambda p: 255 * (p / 255.0) ** 1.6, 0.8),
    ],
    ids=["mirror", "crop", "grey", "gamma"],
)
def test_an_edited_picture_is_liker_to_itself_than_to_any_other(edit: object, least: float) -> None:
    pictures = film(12, seed=4)
    edited = np.asarray(edit(pictures)).astype(np.uint8)  # type: ignore[operator]
    rows = np.arange(128) * edited.shape[1] // 128
    columns = np.arange(128) * edited.shape[2] // 128
    found = Reelprint().encode(np.ascontiguousarray(edited[:, rows][:, :, columns])).vectors[:, 0]
    alike = found @ Reelprint().encode(pictures).vectors[:, 0].T
    assert alike.diagonal().mean() > least
    assert (alike.argmax(axis=1) == np.arange(12)).all()
