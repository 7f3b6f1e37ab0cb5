"""Rows people write themselves, in a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelspace.core.clips import ClipSpec
from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights
from reelspace.encoders.toml_rows import rows_from_toml
from reelspace.errors import FormatError

BASE = EncoderSpec(
    name="tiny-4x32",
    family="tiny",
    factory="tiny_model:tiny",
    clip=ClipSpec(4, 0.5),
    preprocessing=Preprocessing("shortest", 36, crop=32),
    outputs={"pooled": 8, "logits": 3},
    weights=Weights(
        (WeightFile("config.json"), WeightFile("net.safetensors", sha256="a" * 64, size_bytes=9)),
        repo="acme/tiny",
        revision="b" * 40,
        licence="CC-BY-NC-4.0",
        commercial=False,
    ),
    paper="Nobody 2026",
    options={"depth": 2, "heads": 1},
    score="99.9",
)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def rows(folder: Path, text: str) -> tuple[EncoderSpec, ...]:
    return rows_from_toml(written(folder, text), known={BASE.name: BASE})


def test_a_row_like_another_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    (row,) = rows(
        tmp_path,
        """
        [[encoder]]
        name = "tiny-cows"
        like = "tiny-4x32"
        weights.folder = "cows"
        options.depth = 3
        clip.spacing_seconds = 1
        preprocessing.mean = [0.5, 0.5, 0.5]
        """,
    )
    assert row.weights.folder == str(tmp_path / "cows")
    assert row.weights.files == (WeightFile("config.json"), WeightFile("net.safetensors"))  # their sums are unknown
    assert row.weights.repo is None
    assert row.weights.revision is None
    assert row.weights.licence == "CC-BY-NC-4.0"
    assert dict(row.options) == {"depth": 3, "heads": 1}
    assert row.clip == ClipSpec(4, 1.0)
    assert row.preprocessing == Preprocessing("shortest", 36, crop=32, mean=(0.5, 0.5, 0.5))
    assert (row.name, row.outputs, row.paper, row.score) == ("tiny-cows", BASE.outputs, BASE.paper, "")


def test_another_repository_has_a_commit_and_sums_of_its_own(tmp_path: Path) -> None:
    (row,) = rows(
        tmp_path,
        '[[encoder]]\nname = "other"\nlike = "tiny-4x32"\nweights = {repo = "me/tiny", files = ["net.pth"]}',
    )
    assert row.weights.repo == "me/tiny"
    assert row.weights.revision is None
    assert row.weights.files == (WeightFile("net.pth"),)


def test_a_whole_row_needs_no_other(tmp_path: Path) -> None:
    text = """
        [[encoder]]
        name = "own"
        family = "tiny"
        factory = "tiny_model:tiny"
        paper = "me 2026"
        labels = "kinetics400"
        maps = ["tokens"]
        clip = { frames = 8, spacing_seconds = 0.25, clips = 5, crops = 3 }
        preprocessing = { resize = "square", size = 64, scale = 1, std = [1, 1, 1] }
        outputs = { pooled = 16, logits = 400 }
        [encoder.weights]
        licence = "MIT"
        commercial = true
        files = [{ name = "net.pth", url = "https://example.org/net.pth", size_bytes = 12 }]
        """
    (row,) = rows_from_toml(written(tmp_path, text))
    assert row.clip == ClipSpec(8, 0.25, clips=5, crops=3)
    assert row.preprocessing.std == (1.0, 1.0, 1.0)
    assert row.maps == ("tokens",)
    assert row.weights.files == (WeightFile("net.pth", url="https://example.org/net.pth", size_bytes=12),)


def test_a_row_may_be_like_one_above_it(tmp_path: Path) -> None:
    text = '[[encoder]]\nname = "a"\nlike = "tiny-4x32"\n[[encoder]]\nname = "b"\nlike = "a"\nremark = "b"'
    first, second = rows(tmp_path, text)
    assert (first.name, second.name, second.outputs) == ("a", "b", BASE.outputs)


LIKE = '[[encoder]]\nname = "mine"\nlike = "tiny-4x32"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[encoder]\n", "is not a TOML file"),
        ("name = 'x'\n", r"begins with \[\[encoder\]\]"),
        ('[[encoder]]\nname = "mine"\nlike = "tiny-4x23"', "'mine', like: .*did you mean 'tiny-4x32'"),
        (LIKE.replace('name = "mine"', ""), "encoder 1: it needs a name of its own"),
        ('[[encoder]]\nname = "tiny-4x32"\nlike = "tiny-4x32"', "an encoder of that name already"),
        (LIKE + "weights.foldr = 'x'", "'mine', weights: there is no field 'foldr'; did you mean 'folder'"),
        (LIKE + "clip.frames = 'four'", "'mine', clip, frames: expected a whole number, got 'four'"),
        (LIKE + "clip.frames = 0", "'mine', clip: a clip has at least one frame"),
        (LIKE + "preprocessing.resize = 'long'", "preprocessing, resize: expected 'shortest' or 'square' or"),
        (LIKE + "preprocessing.mean = [1, 2]", "preprocessing, mean: expected a list of 3"),
        (LIKE + "outputs = {pooled = 'x'}", r"outputs\.pooled: expected a whole number, got 'x'"),
        (LIKE + "weights.revision = 'main'", "'mine', weights: a revision is a commit of 40 hex digits"),
        (LIKE + "weights = 3", "'mine', weights: expected a table, got 3"),
        ('[[encoder]]\nname = "mine"\nfamily = "x"', "'mine': it says nothing of factory, clip, preprocessing"),
    ],
)
def test_a_wrong_row_is_refused_with_file_row_and_field(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FormatError, match=rf"mine\.toml.*{says}"):
        rows(tmp_path, text)


def test_the_rows_of_the_users_file_are_in_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(catalog()))
    path = written(tmp_path, f'[[encoder]]\nname = "mine"\nlike = "{name}"\nweights.folder = "/weights"')
    monkeypatch.setenv("REELSPACE_MODELS", str(path))
    assert find("mine").outputs == find(name).outputs
    assert find("mine").weights.folder == "/weights"
    monkeypatch.setenv("REELSPACE_MODELS", str(tmp_path / "nowhere.toml"))
    with pytest.raises(FormatError, match=r"REELSPACE_MODELS names .*nowhere\.toml, and there is no such file"):
        catalog()
