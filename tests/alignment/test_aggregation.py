from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.aggregation import SumAggregation
from reelspace.alignment.methods import METHODS

METHOD = SumAggregation()


def test_videos_compare_by_the_cosine_of_their_means_at_every_offset() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    left, right = (METHOD.normalise(METHOD.describe(x))[None] for x in (a, b))
    scores = METHOD.scores(left, right, np.arange(-3, 4))
    means = a.mean(axis=0), b.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    np.testing.assert_allclose(scores, np.full((1, 1, 7), cosine), rtol=1e-5)


def test_a_video_of_nothing_is_like_nothing() -> None:
    empty = METHOD.normalise(METHOD.describe(np.zeros((3, 5))))
    assert (METHOD.scores(empty[None], empty[None], np.zeros(1)) == 0).all()


def test_moving_changes_nothing() -> None:
    descriptor = METHOD.describe(np.ones((3, 5)))
    assert METHOD.shift(descriptor, 7) is descriptor


@pytest.mark.parametrize("name", METHODS)
def test_torch_tensors_give_what_numpy_gives(name: str) -> None:
    torch = pytest.importorskip("torch")
    method = METHODS[name]
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(n, 6)).astype(np.float32) for n in (40, 30))
    times, offsets = np.arange(40.0) * 2, np.arange(-50, 50)
    a, b = method.describe(x, times), method.describe(y)
    moved = method.shift(np.stack([a, a]), np.array([0.0, 3.0]))
    scores = method.scores(method.normalise(moved), method.normalise(b)[None], offsets)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    ta, tb = method.describe(tx, torch.from_numpy(times)), method.describe(ty)
    tmoved = method.shift(torch.stack([ta, ta]), torch.tensor([0.0, 3.0]))
    tscores = method.scores(method.normalise(tmoved), method.normalise(tb)[None], torch.from_numpy(offsets))
    np.testing.assert_allclose(tscores.numpy(), scores, atol=1e-4 * np.abs(scores).max())
