from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reelspace.training.calibration import Pairs, chance, fitted, made_up_pairs  # noqa: E402
from reelspace.training.images import Draw  # noqa: E402


def test_the_curve_that_made_the_pairs_is_found_again() -> None:
    random = np.random.default_rng(0)
    similarity = random.uniform(0.6, 0.99, 20_000)
    same = random.random(20_000) < chance(similarity, (5.0, -8.0))
    slope, intercept = fitted(Pairs(similarity, same))
    assert slope == pytest.approx(5.0, rel=0.05)
    assert intercept == pytest.approx(-8.0, rel=0.05)


def test_made_up_copies_are_liker_than_their_strangers() -> None:
    generator = torch.Generator()
    generator.manual_seed(0)
    pairs = made_up_pairs(Draw(generator), 24)
    assert pairs.similarity.min() >= 0.5
    assert pairs.similarity[pairs.same].mean() > pairs.similarity[~pairs.same].mean() + 0.1
    assert fitted(pairs)[0] > 1
