from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reelspace.encoders.models import reelprint  # noqa: E402
from reelspace.errors import FormatError, InvalidArgument  # noqa: E402
from reelspace.training.descriptor import (  # noqa: E402
    Recipe,
    ReelprintNet,
    contrastive_loss,
    folded,
    recipe_of,
    train,
)

SHORT = Recipe(steps=40, decay=10, warmup=5, films=4, memory=0, hardening=1000, dimensions=32)


def test_the_loss_is_the_slow_loss() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(1)), dim=2
    )
    memory = torch.nn.functional.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    loss, _ = contrastive_loss(vectors, memory, temperature=0.1, entropy=0.0)
    losses = []
    for copy in (1, 2):
        for i in range(8):
            for query, key in (((copy, i), (0, i)), ((0, i), (copy, i))):
                q = vectors[query]
                strangers = [vectors[v, j] for v in range(3) for j in range(8) if j % 4 != i % 4]
                against = torch.stack([q @ s for s in [*strangers, *memory]]) / 0.1
                right = q @ vectors[key] / 0.1
                losses.append(-(right - torch.logsumexp(torch.cat([right[None], against]), 0)))
    assert float(loss) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-4)


def test_a_short_run_learns(tmp_path: Path) -> None:
    first, last = train(tmp_path, SHORT)
    assert (first["step"], last["step"]) == (25, 40)
    assert last["loss"] < first["loss"]
    assert last["first"] > first["first"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [first, last]
    assert recipe_of(tmp_path) == SHORT


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def average_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["average"]


def same_to_the_last_bit(one: Path, other: Path) -> bool:
    first, second = average_of(one), average_of(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_run_is_the_run_it_would_have_been_to_the_last_bit(tmp_path: Path) -> None:
    whole = replace(SHORT, steps=26, decay=0, films=2, memory=64)
    train(tmp_path / "parts", whole, keep_going=lambda step, _figures: step < 5)
    train(tmp_path / "parts", whole, resume=True, keep_going=lambda step, _figures: step < 9)
    parts = train(tmp_path / "parts", whole, resume=True)
    once = train(tmp_path / "whole", whole)
    assert same_to_the_last_bit(tmp_path / "parts", tmp_path / "whole")
    assert [{**e, "seconds": 0} for e in parts] == [{**e, "seconds": 0} for e in once]


def test_a_killed_run_goes_on_as_the_run_it_would_have_been(tmp_path: Path) -> None:
    recipe = replace(SHORT, steps=60, decay=0, films=2, memory=64)
    words = (
        "import sys; from pathlib import Path; from reelspace.training.descriptor import Recipe, train;"
        "import torch; torch.set_num_threads(1);"
        f"train(Path(sys.argv[1]), {recipe!r}, save_every=3)"
    )
    with subprocess.Popen([sys.executable, "-c", words, str(tmp_path / "killed")]) as running:
        while not (tmp_path / "killed" / "checkpoint.pt").exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
    short = replace(recipe, steps=torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] + 4)
    assert short.steps <= recipe.steps
    train(tmp_path / "killed", short, resume=True)
    train(tmp_path / "whole", short)
    assert same_to_the_last_bit(tmp_path / "killed", tmp_path / "whole")


def test_a_run_is_neither_made_up_nor_overwritten_nor_run_backwards(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nothing to resume"):
        train(tmp_path, SHORT, resume=True)
    with pytest.raises(InvalidArgument, match="nothing to resume"):
        recipe_of(tmp_path)
    train(tmp_path, replace(SHORT, steps=2, decay=0, films=2))
    with pytest.raises(InvalidArgument, match="holds a run: --resume"):
        train(tmp_path, SHORT)
    with pytest.raises(InvalidArgument, match="at step 2, past the 1"):
        train(tmp_path, replace(SHORT, steps=1, decay=0), resume=True)
    with pytest.raises(InvalidArgument, match="has 32 dimensions, not 16"):
        train(tmp_path, replace(SHORT, dimensions=16), resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(FormatError, match="no checkpoint that can be read"):
        train(tmp_path, SHORT, resume=True)
    (tmp_path / "recipe.json").write_text('{"stairs": 3}')
    with pytest.raises(InvalidArgument, match="not a recipe of this release"):
        recipe_of(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps is at least 1, got 0"),
        ({"decay": 30_000}, "the decay is part of the run: got 30000 of 20000 steps"),
        ({"films": 1}, "at least 2 films"),
        ({"temperature": 0.0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"averaging": 1.0}, r"decay in \[0, 1\)"),
        ({"memory": -1}, "memory is at least 0"),
        ({"without": ("miror",)}, "did you mean 'mirror'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Recipe(**wrong)


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    recipe = Recipe(steps=100, decay=20, warmup=10, learning_rate=1.0)
    assert [recipe.rate(step) for step in (0, 4, 9, 50, 80, 90, 99)] == pytest.approx(
        [0.1, 0.5, 1.0, 1.0, 1.0, 0.5, 0.05]
    )


def test_folded_weights_give_what_the_net_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = ReelprintNet().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    arrays = folded(net)
    monkeypatch.setattr(reelprint, "_net", lambda: reelprint.Net(arrays))
    pictures = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(reelprint.descriptors(pictures), expected, atol=1e-3)
