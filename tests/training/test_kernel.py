"""The loss of a temporal kernel is what it says it is, and a learned one is better, on other footage as well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from reelspace.alignment.fourier import NORMS, FourierKernel
from reelspace.alignment.kernel_file import read_kernel
from reelspace.cli import kernels
from reelspace.cli.kernels_words import train_kernel as words
from reelspace.errors import InvalidArgument
from reelspace.training.kernel import KernelTraining, _Task, project_to_simplex, train_kernel
from reelspace.training.planted import Clip, KnownPair, Planting, plant_pairs

START = FourierKernel((1039, 253), harmonics=8)
RUNNER = CliRunner()


def clips(count: int, seed: int, frames: int = 60) -> list[Clip]:
    """Footage with a look of its own that changes slowly, as real footage does, without its mean."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        walk = np.cumsum(rng.normal(size=(frames, 16)), axis=0)
        walk -= walk.mean(axis=0)
        walk /= np.linalg.norm(walk, axis=1, keepdims=True)
        found.append(Clip(f"{seed}/{i}", np.arange(frames, dtype=np.float64), walk.astype(np.float32)))
    return found


def test_planted_offsets_are_true_and_the_same_for_a_seed() -> None:
    easy = Planting(noise=0.0, kept=1.0, strangers=1)
    pairs = plant_pairs(clips(10, 1), 20, seed=5, planting=easy)
    for pair in pairs:
        at_a = {tuple(row): time for row, time in zip(pair.a.vectors.tolist(), pair.a.times, strict=True)}
        offsets = [
            at_a[tuple(row)] - time
            for row, time in zip(pair.b.vectors.tolist(), pair.b.times, strict=True)
            if tuple(row) in at_a
        ]
        assert offsets
        np.testing.assert_allclose(offsets, pair.offset_frames, atol=1)
        assert (np.diff(pair.b.times) > 0).all()
    again = plant_pairs(clips(10, 1), 20, seed=5, planting=easy)
    assert [pair.offset_frames for pair in again] == [pair.offset_frames for pair in pairs]
    other = plant_pairs(clips(10, 1), 20, seed=6, planting=easy)
    assert [pair.offset_frames for pair in other] != [pair.offset_frames for pair in pairs]


def test_worn_frames_are_fewer_noisy_and_of_unit_length() -> None:
    pair = plant_pairs(clips(10, 1), 1, seed=2, planting=Planting(noise=2.0, kept=0.3))[0]
    np.testing.assert_allclose(np.linalg.norm(pair.a.vectors, axis=1), 1, atol=1e-5)
    assert (np.diff(pair.a.times) > 1).any()


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="need 10 clips, got 5"):
        plant_pairs(clips(5, 1), 1, seed=0)
    with pytest.raises(InvalidArgument, match="not a way to plant"):
        Planting(share=(0.5, 0.1))


def test_projecting_finds_the_nearest_point_of_the_simplex() -> None:
    rows = torch.tensor([[0.5, 0.7, -0.1], [0.2, 0.3, 0.5], [5.0, 0.0, 0.0]])
    found = project_to_simplex(rows)
    grid = np.array([(i, j, 100 - i - j) for i in range(101) for j in range(101 - i)]) / 100  # every point, slowly
    for row, ours in zip(rows.numpy(), found.numpy(), strict=True):
        nearest = grid[((grid - row) ** 2).sum(axis=1).argmin()]
        np.testing.assert_allclose(ours, nearest, atol=0.006)
    assert (found > 0).all()


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_loss_is_the_two_margins_of_the_scores_that_the_kernel_gives(norm: str) -> None:
    pairs = plant_pairs(clips(20, 2), 6, seed=1, planting=Planting(clips=(1, 2)))
    kernel = replace(START, norm=norm)
    how = KernelTraining(batch=6, localisation_margin=0.3, retrieval_margin=0.2)
    simplex = kernel.coefficients / kernel.coefficients.sum(axis=1, keepdims=True)
    kernel = replace(kernel, learned=tuple(map(tuple, simplex.tolist())))
    ours = float(_Task(pairs, kernel, how).loss(torch.from_numpy(simplex).float(), torch.arange(6)))
    reach = max(int(np.ceil(side.times[-1])) for pair in pairs for side in (pair.a, pair.b))
    offsets, expected = np.arange(-reach, reach + 1), 0.0
    for one in pairs:
        a = kernel.normalise(kernel.describe(one.a.vectors, one.a.times))[None]
        curves = {
            other: kernel.scores(
                a, kernel.normalise(kernel.describe(other.b.vectors, other.b.times))[None], offsets
            )[0, 0]
            / kernel.self_score(16)
            for other in pairs
        }
        near = np.abs(offsets - one.offset_frames) <= 1.5
        true, elsewhere = curves[one][near].max(), curves[one][~near].max()
        strangers = [curve.max() for other, curve in curves.items() if not other.names & one.names]
        expected += max(0, 0.3 + elsewhere - true) + max([0, *(0.2 + s - true for s in strangers)])
    assert ours == pytest.approx(expected / 6, abs=1e-4)


def test_a_learned_kernel_is_no_worse_on_its_pairs_and_better_on_other_footage() -> None:
    hard = Planting(noise=1.5)
    pairs = plant_pairs(clips(20, 3), 32, seed=0, planting=hard)
    trained = train_kernel(pairs, START, training=KernelTraining(steps=24, learning_rate=0.01))
    assert trained.loss_after < trained.loss_before
    np.testing.assert_allclose(trained.kernel.coefficients.sum(axis=1), 1, atol=1e-3)
    other = plant_pairs(clips(20, 4), 32, seed=1, planting=hard)
    unseen = [train_kernel(other, k, training=KernelTraining(steps=0)).loss_before for k in (START, trained.kernel)]
    assert unseen[1] < unseen[0]


def test_a_kernel_that_nothing_improves_is_kept() -> None:
    pairs = plant_pairs(clips(12, 5), 16, seed=0)
    ruinous = KernelTraining(steps=3, learning_rate=50.0)
    trained = train_kernel(pairs, START, training=ruinous)
    assert trained.loss_after <= trained.loss_before
    kept = train_kernel(pairs, START, training=KernelTraining(steps=0)).kernel
    shares = START.coefficients / START.coefficients.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kept.coefficients, shares, rtol=1e-5)


def test_the_seed_decides() -> None:
    pairs = plant_pairs(clips(12, 5), 20, seed=0)
    one, again, other = (train_kernel(pairs, START, training=KernelTraining(steps=8, seed=s)) for s in (1, 1, 2))
    assert one.kernel == again.kernel
    assert one.kernel != other.kernel


def test_pairs_that_do_not_fit_are_refused() -> None:
    pairs = plant_pairs(clips(12, 5), 4, seed=0)
    with pytest.raises(InvalidArgument, match="takes 16 pairs, got 4"):
        train_kernel(pairs, START)
    short = Clip("x", np.arange(3.0), np.ones((3, 5), np.float32))
    with pytest.raises(InvalidArgument, match=r"one length, got \[5, 16\]"):
        train_kernel([*pairs, KnownPair(short, short, 0, frozenset("x"))], START, training=KernelTraining(batch=2))


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("kernel")(words)
    app.callback()(lambda: None)
    return app


def test_the_command_learns_from_videos_and_keeps_their_frames(
    app: typer.Typer, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("dog_collie_256.mp4", "bear_cage_vp9.webm", "wolf_head_turn.mp4", "goat_fence_256.mp4")
    arguments = ["--videos", str(tmp_path / "videos"), "--encoder", "pdqf", "--cache", str(tmp_path / "cache")]
    arguments += ["--period", "1039", "--period", "253", "--steps", "4", "--planted", "16", "--json"]
    (tmp_path / "videos").mkdir()
    for name in names:
        (tmp_path / "videos" / name).symlink_to(shared / "videos" / "natural" / name)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"nothing")
    done = RUNNER.invoke(app, ["kernel", *arguments, "--output", str(tmp_path / "one.json")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["videos"], told["pairs"], told["steps"]) == (4, 16, 4)
    assert "broken.mp4" in done.stderr
    found = read_kernel(tmp_path / "one.json")
    assert (found.digest, found.frames_per_second) == (told["digest"], 15.0)
    assert found.kernel.periods == (1039, 253)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 4
    (tmp_path / "videos" / "broken.mp4").unlink()
    monkeypatch.setattr(
        kernels, "encode_videos", lambda sources, *_, **__: [] if not sources else pytest.fail("decoded again")
    )
    RUNNER.invoke(app, ["kernel", *arguments, "--output", str(tmp_path / "two.json")], catch_exceptions=False)
    assert read_kernel(tmp_path / "two.json") == found


def test_the_command_learns_from_pairs_whose_offset_is_known(
    app: typer.Typer, shared: Path, tmp_path: Path
) -> None:
    table = tmp_path / "pairs.csv"
    natural, variants = shared / "videos" / "natural", shared / "videos" / "variants"
    table.write_text(
        "path_a,path_b,offset_seconds\n"
        f"{natural}/white_rabbit_toy_table.mp4,{variants}/white_rabbit_320.webm,0\n"
        f"{natural}/bear_cage_vp9.webm,{natural}/bear_cage_vp9.webm,0\n"
    )
    arguments = ["--pairs", str(table), "--encoder", "pdqf", "--steps", "2", "--output", str(tmp_path / "k.json")]
    done = RUNNER.invoke(app, ["kernel", *arguments], catch_exceptions=False)
    assert "learned from 2 pairs of 3 videos" in done.stdout
    assert read_kernel(tmp_path / "k.json").provenance["pairs_from"] == "known offsets"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path_a,path_b\nx,y\n", "lacks offset_seconds"),
        ("path_a,path_b,offset_seconds\n", "no rows"),
        ("path_a,path_b,offset_seconds\nx,y,soon\n", "line 2: two paths and an offset"),
        ("path_a,path_b,offset_seconds\nx,y,1\nx,,1\n", "line 3"),
        ("path_a,path_b,offset_seconds\nx,y,nan\n", "line 2"),
    ],
)
def test_a_table_of_pairs_that_does_not_fit_says_where(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InvalidArgument, match=said):
        kernels.read_pairs(tmp_path / "pairs.csv")


def test_words_that_do_not_fit_are_refused(app: typer.Typer, tmp_path: Path) -> None:
    for arguments, said in (
        (["--output", str(tmp_path / "k.json")], "either --pairs"),
        (["--videos", str(tmp_path), "--output", str(tmp_path / "none" / "k.json")], "there is no folder"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            RUNNER.invoke(app, ["kernel", *arguments], catch_exceptions=False)
