from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reelspace.encoders.models import reelprint  # noqa: E402
from reelspace.errors import InvalidArgument  # noqa: E402
from reelspace.training.descriptor import Recipe, ReelprintNet, contrastive_loss, folded, train  # noqa: E402
from reelspace.training.edits import light, strong  # noqa: E402
from reelspace.training.images import Draw, scenes  # noqa: E402

SHORT = Recipe(steps=50, decay=10, warmup=5, films=6, memory=0, hardening=1000, dimensions=32)


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
    assert (first["step"], last["step"]) == (25, 50)
    assert last["loss"] < first["loss"]
    assert last["first"] > first["first"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [first, last]
    assert Recipe(**json.loads((tmp_path / "recipe.json").read_text())) == SHORT


def test_a_resumed_run_is_the_run_it_would_have_been(tmp_path: Path) -> None:
    whole = replace(SHORT, steps=8, decay=0, memory=64)
    train(tmp_path / "parts", replace(whole, steps=5))
    train(tmp_path / "parts", whole, resume=True)
    train(tmp_path / "whole", whole)
    parts, once = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["average"] for name in ("parts", "whole")
    )
    for name, value in parts.items():
        torch.testing.assert_close(value.float(), once[name].float(), atol=1e-5, rtol=1e-4)


def test_nothing_to_resume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nothing to resume"):
        train(tmp_path, SHORT, resume=True)


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
    monkeypatch.setattr(reelprint, "_weights", lambda: arrays)
    pictures = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(reelprint.descriptors(pictures), expected, atol=1e-3)
