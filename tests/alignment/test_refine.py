from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.refine import double_centred, refined_end, refined_line


def test_a_centred_block_is_the_products_of_the_centred_frames() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(n, 16)).astype(np.float32) + 3 for n in (12, 20))
    wanted = (a - a.mean(axis=0)) @ (b - b.mean(axis=0)).T
    np.testing.assert_allclose(double_centred(a @ b.T), wanted, atol=1e-4)


def test_a_line_moves_to_where_frames_of_a_still_scene_really_agree() -> None:
    random = np.random.default_rng(1)
    film = np.cumsum(random.normal(size=(80, 24)), axis=0) * 0.02 + 1  # hardly moves: cosines all above 0.99
    film = (film / np.linalg.norm(film, axis=1, keepdims=True)).astype(np.float32)
    tq, tr = np.arange(40) * 0.2, np.arange(80) * 0.2
    speed, offset, _ = refined_line(
        double_centred(film[20:60] @ film.T),
        tq,
        tr,
        speed=1.0,
        offset_seconds=3.6,
        speeds=np.array([0.95, 1.0, 1.05]),
        shifts_seconds=np.linspace(-0.6, 0.6, 13),
    )
    assert (speed, offset) == (1.0, pytest.approx(4.0, abs=0.01))


def test_a_picture_that_stands_still_keeps_its_line() -> None:
    found = refined_line(
        double_centred(np.ones((10, 20), np.float32)),
        np.arange(10.0),
        np.arange(20.0),
        speed=1.0,
        offset_seconds=4.0,
        speeds=np.array([0.9, 1.0, 1.1]),
        shifts_seconds=np.linspace(-2, 2, 5),
    )
    assert found[:2] == (1.0, 4.0)


@pytest.mark.parametrize("guess", [15, 17, 19, 23])
def test_the_end_is_where_the_level_changes(guess: int) -> None:
    along = np.where(np.arange(40) < 19, 0.9, 0.55) + 0.05 * np.random.default_rng(2).normal(size=40)
    assert refined_end(along.astype(np.float32), guess, 0.3) == 18


def test_an_end_without_a_change_stays() -> None:
    assert refined_end(np.full(30, 0.8, np.float32), 14, 0.2) == 14


def test_the_last_frame_of_the_matrix_may_be_the_end() -> None:
    assert refined_end(np.full(15, 0.8, np.float32), 14, 0.2) == 14
