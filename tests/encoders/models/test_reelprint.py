from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import pytest

from reelspace.core.compact import to_int8
from reelspace.encoders.models import reelprint
from reelspace.encoders.models.reelprint import DIMENSIONS, Reelprint, descriptors
from reelspace.errors import FormatError
from reelspace.training.descriptor import ReelprintNet

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


def torch_net() -> torch.nn.Module:
    """The net of training with the shipped weights: the inverse of `folded`, each norm left at doing nothing."""
    net = ReelprintNet(DIMENSIONS).eval()
    convolutions = {"stem": (net.stem, net.stem_norm)}
    for index, block in enumerate(net.blocks):
        for name in ("first", "second", "short"):
            convolutions[f"{index}.{name}"] = getattr(block, name), getattr(block, f"{name}_norm")
    with np.load(files("reelspace.encoders").joinpath("weights/reelprint.npz")) as stored, torch.no_grad():
        arrays = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}
        for name, (convolution, norm) in convolutions.items():
            convolution.weight.copy_(arrays[f"{name}.weight"].permute(3, 2, 0, 1))
            norm.bias.copy_(arrays[f"{name}.bias"])
            norm.running_var.fill_(1 - norm.eps)
        net.head.weight.copy_(arrays["head.weight"].T)
        net.head.bias.copy_(arrays["head.bias"])
    return net


@pytest.mark.parametrize("count", [1, 5, 70])
def test_the_net_in_numpy_is_the_net_in_torch(count: int) -> None:
    pictures = np.random.default_rng(0).random((count, 64, 64, 3), dtype=np.float32)
    pictures[0] = film(1)[0, ::2, ::2] / np.float32(255)
    with torch.no_grad():
        expected = torch_net()(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(descriptors(pictures), expected, atol=1e-4)


def test_a_picture_that_repeats_the_one_before_has_its_vector() -> None:
    pictures = film(3)
    noisy = pictures[[0, 0, 0, 1, 1, 2]].astype(np.int16)
    noisy[[1, 4], ::3] += 1  # what coding changes
    described = Reelprint().encode(np.clip(noisy, 0, 255).astype(np.uint8)).vectors[:, 0]
    np.testing.assert_array_equal(described, described[[0, 0, 0, 3, 3, 5]])
    np.testing.assert_allclose(described[[0, 3, 5]], Reelprint().encode(pictures).vectors[:, 0], atol=1e-5)


def test_a_small_thing_that_moves_makes_a_new_picture() -> None:
    pictures = film(1)[[0, 0]]
    pictures[1, 40:48, 40:48] ^= 64
    vectors = Reelprint().encode(pictures).vectors[:, 0]
    assert np.abs(vectors[1] - vectors[0]).max() > 1e-3


def test_a_slow_fade_does_not_stay_the_picture_it_began_as() -> None:
    pictures = np.clip(film(1)[[0] * 24].astype(np.float32) + 0.6 * np.arange(24)[:, None, None, None], 0, 255)
    vectors = Reelprint().encode(pictures.astype(np.uint8)).vectors[:, 0]
    assert len(np.unique(vectors, axis=0)) >= 10


def test_the_shipped_weights_fit_four_megabytes_and_have_their_digest() -> None:
    data = files("reelspace.encoders").joinpath("weights/reelprint.npz").read_bytes()
    assert len(data) <= 4_000_000
    assert Reelprint().space.parameters["weights"] == hashlib.sha256(data).hexdigest()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reelprint, "_SHA256", "0" * 64)
    reelprint._net.cache_clear()
    with pytest.raises(FormatError, match="install reelspace again"):
        descriptors(np.zeros((1, 64, 64, 3), np.float32))


def test_half_precision_and_eight_bits_keep_the_similarity() -> None:
    vectors = Reelprint().encode(film()).vectors[:, 0]
    half, eight = vectors.astype(np.float16).astype(np.float32), to_int8(vectors)[:]
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
