"""PDQF against features computed by ThreatExchange's tmk/cpp (facebook/ThreatExchange@baefb4ed).

``golden/pdqf_frames.npz``: 17 pictures (14 of real videos, then black, white, noise) and their 256 floats.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reelspace.encoders.models.pdqf import pdqf


def test_features_of_given_pixels_are_the_reference_s(shared: Path) -> None:
    with np.load(shared / "golden" / "pdqf_frames.npz") as golden:
        rgb, theirs = golden["rgb"], golden["feature"]
    ours = pdqf(rgb)
    assert ours.dtype == np.float32
    lengths = np.linalg.norm(theirs, axis=1)
    real = lengths > 1
    assert real.sum() == 15
    assert (np.abs(ours - theirs).max(axis=1)[real] < 1e-6 * lengths[real]).all()


def test_the_rounding_noise_of_flat_pictures_is_the_reference_s(shared: Path) -> None:
    with np.load(shared / "golden" / "pdqf_frames.npz") as golden:
        rgb, theirs = golden["rgb"], golden["feature"]
    black, white = 14, 15
    assert 0 < np.linalg.norm(theirs[white]) < 1e-11  # noise, but TMK scales it to unit length
    np.testing.assert_array_equal(pdqf(rgb[[black, white]]), theirs[[black, white]])
