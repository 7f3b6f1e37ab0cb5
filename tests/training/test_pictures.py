"""The generator and the edits that reelprint learns from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

torch = pytest.importorskip("torch")

from reelspace.training import edits, images  # noqa: E402
from reelspace.training.edits import light, strong  # noqa: E402
from reelspace.training.images import Draw, scenes  # noqa: E402


def draw(seed: int = 0) -> Draw:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return Draw(generator)


def test_pictures_and_edits_follow_from_the_seed_and_stay_in_range() -> None:
    first, again, other = (scenes(draw(seed), 5) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for pictures in (first, light(draw(), first), strong(draw(), first)):
        assert pictures.shape[:2] == (10, 3)
        assert pictures.isfinite().all()
        assert 0 <= pictures.min() <= pictures.max() <= 1
    assert torch.equal(strong(draw(5), first), strong(draw(5), first))


def test_two_frames_of_a_film_are_liker_than_two_films_and_not_the_same() -> None:
    pictures = scenes(draw(), 40).flatten(1)
    pictures = (pictures - pictures.mean(1, keepdim=True)) / pictures.std(1, keepdim=True)
    film = (pictures[::2] * pictures[1::2]).mean(1)
    strangers = (pictures[::2] * pictures[1::2].roll(1, 0)).mean(1)
    assert film.mean() > strangers.mean() + 0.3
    assert film.max() < 0.9999


def likeness(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Correlation of pictures, one by one."""
    one, other = ((p.flatten(1) - p.flatten(1).mean(1, keepdim=True)) for p in (pictures, others))
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))


@pytest.mark.parametrize("ingredient", images.INGREDIENTS)
def test_scenes_are_others_without_an_ingredient(ingredient: str) -> None:
    without = scenes(draw(), 6, without=(ingredient,))
    assert without.shape == (12, 3, 96, 96)
    assert without.isfinite().all()
    assert 0 <= without.min() <= without.max() <= 1
    assert not torch.equal(without, scenes(draw(), 6))


def test_without_second_frames_both_pictures_are_of_different_films() -> None:
    films, strangers = scenes(draw(), 24), scenes(draw(), 24, without=("second frames",))
    assert likeness(films[::2], films[1::2]).mean() > 0.5
    assert abs(likeness(strangers[::2], strangers[1::2]).mean()) < 0.2


def test_without_any_edit_a_copy_is_the_picture_itself() -> None:
    pictures = scenes(draw(), 4)
    plain = torch.nn.functional.interpolate(pictures, size=(64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(strong(draw(), pictures, without=edits.INGREDIENTS), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("ingredient", edits.INGREDIENTS)
def test_each_edit_alone_changes_pictures_and_leaves_them_known(ingredient: str) -> None:
    pictures = scenes(draw(), 20)
    others = [name for name in edits.INGREDIENTS if name != ingredient]
    plain, copies = strong(draw(), pictures, without=edits.INGREDIENTS), strong(draw(1), pictures, without=others)
    changed = (copies - plain).abs().amax(dim=(1, 2, 3)) > 0.05
    assert 0.1 < changed.float().mean() <= 1
    if ingredient not in ("crop", "turns", "mirror", "surroundings"):  # pixels stay where they are, or nearly
        assert likeness(plain, copies).median() > 0.6


def test_compression_rounds_the_cosine_transforms_of_blocks() -> None:
    picture = scenes(draw(), 1)[0, 0, :64, :64]
    cosines, coarser = edits._block_cosines(64, torch.device("cpu"))
    found = (cosines @ picture @ cosines.T).numpy()
    for row in range(0, 64, 8):
        for column in range(0, 64, 8):
            block = picture[row : row + 8, column : column + 8].numpy()
            expected = scipy.fft.dctn(block, norm="ortho")
            np.testing.assert_allclose(found[row : row + 8, column : column + 8], expected, atol=1e-5)
    assert torch.equal(coarser[8:16, 8:16], coarser[:8, :8])
    assert coarser[0, 0] == 1 < coarser[7, 7]


def test_beside_its_surroundings_the_whole_picture_is_there() -> None:
    white = torch.ones(64, 3, 96, 96)
    only = [name for name in edits.INGREDIENTS if name != "surroundings"]
    filled = (strong(draw(), white, without=only) > 0.99).all(dim=1).float().mean(dim=(1, 2))
    assert (filled == 1).float().mean() > 0.5  # the other half stands alone, or on white
    assert filled[filled < 1].min() > 1 / 2.6**2
