"""The frames a squashed clip is made of, against torch's own interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from reelspace.core.squash import squash_taps
from reelspace.errors import InvalidArgument


def test_half_as_many_frames_are_means_of_pairs():
    indices, weights = squash_taps(8, 4)
    assert indices.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (weights == 0.5).all()


def test_as_many_frames_are_the_frames_themselves():
    indices, weights = squash_taps(5, 5)
    assert indices.tolist() == [[k, k] for k in range(5)]
    assert (weights.sum(axis=1) == 1).all()


def test_one_frame_is_repeated():
    indices, weights = squash_taps(1, 16)
    assert (indices == 0).all()
    assert (weights.sum(axis=1) == 1).all()


def test_two_frames_fade_into_each_other():
    indices, weights = squash_taps(2, 4)  # centres at -.25 (held at 0), .25, .75, 1.25 (held at 1)
    assert (weights * indices).sum(axis=1).tolist() == [0.0, 0.25, 0.75, 1.0]


@pytest.mark.parametrize("frames", [1, 8, 16, 32])
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 99, 1000, 10007, 100003])
def test_taps_are_those_of_torch(count: int, frames: int):
    values = np.random.default_rng(count).uniform(0, 255, count).astype(np.float32)
    indices, weights = squash_taps(count, frames)
    theirs = functional.interpolate(torch.from_numpy(values)[None, None], size=frames, mode="linear")[0, 0].numpy()
    assert np.abs((values[indices] * weights).sum(axis=1) - theirs).max() < 1e-4


def test_nothing_squashes_to_nothing():
    with pytest.raises(InvalidArgument, match="at least one frame, got 0 to 16"):
        squash_taps(0, 16)
