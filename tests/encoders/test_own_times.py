"""Frame encoders at frames' own times."""

from __future__ import annotations

import numpy as np

from reelspace.core.sampling import Spaced
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.own_times import AtOwnTimes, timing_encoders


def test_the_vectors_are_the_encoders_own_and_the_space_says_when_they_were_taken() -> None:
    own = AtOwnTimes(Pdqf(), 20.0)
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(own.encode(frames).vectors, Pdqf().encode(frames).vectors)
    assert (own.tap.sampler, own.tap.picture) == (Spaced(0.05), Pdqf().tap.picture)
    assert own.space.name == "pdqf"
    assert own.space.fingerprint != Pdqf().space.fingerprint
    assert own.space.parameters["frames"] == "own times, at most 20 per second"


def test_recordings_are_timed_by_reelprint_and_pdqf() -> None:
    assert [encoder.space.name for encoder in timing_encoders()] == ["reelprint", "pdqf"]
