"""`reelspace train descriptor`, in small."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from reelspace.cli import train_words  # noqa: E402
from reelspace.errors import InvalidArgument  # noqa: E402
from reelspace.training import descriptor  # noqa: E402

SMALL = ("--films", "2", "--steps", "6", "--memory", "64", "--warmup", "2", "--threads", "1")


def run(*words: object) -> Any:
    return CliRunner().invoke(train_words.train, ["descriptor", *map(str, words)])


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_run_leaves_its_checkpoint_log_recipe_and_weights_and_says_their_digest(tmp_path: Path) -> None:
    said = run(tmp_path / "run", *SMALL, "--without", "mirror", "--json")
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "checkpoint.pt",
        "log.jsonl",
        "recipe.json",
        "reelprint.npz",
    }
    weights = Path(document["weights"])
    assert document["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert document["last"]["step"] == document["recipe"]["steps"] == 6
    assert (document["recipe"]["decay"], document["recipe"]["without"]) == (1, ["mirror"])
    with np.load(weights) as arrays:
        assert arrays["head.weight"].shape == (256, 256)
    assert "step 6 of 6" in said.stderr


def test_ctrl_c_leaves_a_checkpoint_and_the_resumed_run_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = descriptor._Run.learn

    def interrupted(one: Any, *arguments: Any) -> Any:
        if one.step == 2:
            signal.raise_signal(signal.SIGINT)
        return learn(one, *arguments)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(descriptor._Run, "learn", interrupted)
        said = run(tmp_path / "cut", *SMALL)
    assert said.exit_code == 130
    assert f"reelspace train descriptor {tmp_path / 'cut'} --resume" in said.stderr
    assert signal.getsignal(signal.SIGINT) is before
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 3
    assert run(tmp_path / "cut", "--resume").exit_code == 0
    assert run(tmp_path / "whole", *SMALL).exit_code == 0
    cut, whole = ((tmp_path / name / "reelprint.npz").read_bytes() for name in ("cut", "whole"))
    assert cut == whole


def test_a_finished_run_can_be_made_longer_and_says_what_else_changes(tmp_path: Path) -> None:
    run(tmp_path, *SMALL)  # a folder that is there and empty
    said = run(tmp_path, "--resume", "--steps", "7", "--memory", "32")
    assert said.exit_code == 0, said.output
    assert "another recipe: memory 64 -> 32" in said.stderr
    assert descriptor.recipe_of(tmp_path).steps == 7


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("--resume",), "nothing to resume"),
        (("--steps", "0"), "steps is at least 1"),
        (("--steps", "10", "--decay", "20"), "got 20 of 10 steps"),
        (("--without", "glyph"), "no ingredient to go without named 'glyph'"),
        (("--device", "abacus"), "no device 'abacus'"),
    ],
)
def test_bad_words_are_refused_before_anything_is_written(tmp_path: Path, words: tuple[str], wrong: str) -> None:
    said = run(tmp_path / "run", *words)
    assert isinstance(said.exception, InvalidArgument)
    assert wrong in str(said.exception)
    assert not (tmp_path / "run").exists()


def test_the_help_names_the_plain_recipe() -> None:
    import typer.main

    plain = descriptor.Recipe()
    words = {p.name: p for p in typer.main.get_command(train_words.train).commands["descriptor"].params}
    shown = {name: words[name].show_default for name in descriptor.Recipe.__slots__ if name in words}
    shown.pop("without")
    assert plain.decay == 0.15 * plain.steps
    assert shown.pop("decay") == "15 % of --steps"
    assert {name: float(text) for name, text in shown.items()} == {
        name: float(getattr(plain, name)) for name in shown
    }
    assert {*descriptor.Recipe.__slots__} - {*words} == {"dimensions"}  # what is shipped has 256
