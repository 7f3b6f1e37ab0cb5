from __future__ import annotations

import numpy as np

from reelspace.encoders.panes import lasting_panes, panes


def moving(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth random picture that drifts: uint8 (frames, height, width)."""
    random = np.random.default_rng(seed)
    line = np.arange(height + width + 8 * frames) / 24
    waves = [
        np.interp(line, np.arange(len(line) // 24 + 2), random.uniform(0, 255, len(line) // 24 + 2)) for _ in "xy"
    ]
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    return np.stack(
        [(waves[0][rows + 3 * i] + waves[1][columns + 5 * i + height]) / 2 for i in range(frames)]
    ).astype(np.uint8)


def test_a_picture_in_a_picture_is_found_where_it_lies() -> None:
    film = moving(5, 128, 128, 0)
    film[:, 24:88, 40:104] = 255 - moving(5, 64, 64, 3)
    top, bottom, left, right = panes(film, at_most=2)[0]
    assert max(abs(top - 24), abs(bottom - 88), abs(left - 40), abs(right - 104)) <= 1


def test_two_pictures_side_by_side_are_two_panes() -> None:
    film = np.concatenate([moving(5, 128, 64, 1) // 2, 128 + moving(5, 128, 64, 2) // 2], axis=2)
    found = sorted(panes(film, at_most=2), key=lambda box: box[2])
    assert [box[:2] for box in found] == [(0, 128), (0, 128)]
    assert abs(found[0][3] - 64) <= 1
    assert abs(found[1][2] - 64) <= 1


def test_a_plain_picture_has_no_panes() -> None:
    assert not panes(moving(5, 128, 128, 4), at_most=2)


def test_a_pane_hidden_for_one_stretch_is_described_there_too() -> None:
    film = moving(15, 128, 128, 0)
    shown = film.copy()
    shown[:, 24:88, 40:104] = 255 - moving(15, 64, 64, 3)
    shown[5:10] = film[5:10]  # for a second there is nothing to tell it by
    found = [boxes for _, boxes in lasting_panes(shown, window=5, at_most=2)]
    assert [len(boxes) >= 1 for boxes in found] == [True, True, True]
