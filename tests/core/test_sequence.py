from __future__ import annotations

import numpy as np
import pytest

from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, SpaceMismatch

SPACE = Space("tiny", 4, {})


def sequence(rows: int, *, space: Space = SPACE, seed: int = 0) -> FrameSequence:
    rng = np.random.default_rng(seed)
    return FrameSequence(
        np.arange(rows, dtype=np.float64),
        rng.normal(size=(rows, space.dimensions)).astype(np.float16),
        (np.arange(rows) % 2).astype(np.uint8),
        np.ones(rows, np.float32),
        space,
        float(rows),
    )


def test_arrays_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="times_seconds 2"):
        FrameSequence(
            np.zeros(2), np.zeros((3, 4), np.float16), np.zeros(3, np.uint8), np.ones(3, np.float32), SPACE, 1.0
        )


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\(N, 4\)"):
        FrameSequence(
            np.zeros(3), np.zeros((3, 5), np.float16), np.zeros(3, np.uint8), np.ones(3, np.float32), SPACE, 1.0
        )


def test_a_matrix_gives_back_each_sequence() -> None:
    parts = [sequence(3, seed=1), sequence(0), sequence(5, seed=2)]
    matrix = FrameMatrix.concatenate(parts, ["a", "b", "c"])
    assert len(matrix) == 3
    for index, part in enumerate(parts):
        assert np.array_equal(matrix.sequence(index).vectors, part.vectors)
        assert np.array_equal(matrix.sequence(index).times_seconds, part.times_seconds)
        assert matrix.sequence(index).duration_seconds == part.duration_seconds


def test_one_view_keeps_its_own_times() -> None:
    part = sequence(5)
    assert part.view(1).times_seconds.tolist() == [1.0, 3.0]


def test_sequences_of_two_spaces_are_not_stacked() -> None:
    with pytest.raises(SpaceMismatch):
        FrameMatrix.concatenate([sequence(3), sequence(3, space=Space("tiny", 4, {"other": 1}))], ["a", "b"])


def test_stacking_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        FrameMatrix.concatenate([], [])
