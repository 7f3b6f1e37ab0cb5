"""`reelspace calibrate` through its own words, on rendered clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reelspace.cli.calibrating_words import calibrating
from reelspace.errors import InvalidArgument
from reelspace.library import Library
from reelspace.media.synthetic import render_clips, render_copies
from reelspace.tasks.calibration import FILE_NAME
from reelspace.tasks.copies import DEFAULT_THRESHOLD

app = typer.Typer()
app.add_typer(calibrating)
app.callback()(lambda: None)  # beside other commands, as it is in the end


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine strangers, and an edited copy of one of them."""
    folder = tmp_path_factory.mktemp("clips")
    rendered = render_clips(folder, count=9, seconds=3, scale=0.4)
    render_copies(rendered[:2], folder, edits=["mirrored"])
    return folder


@pytest.fixture(scope="module")
def indexed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("library") / "lib"
    Library(place, tmk=False).add(clips)
    return place


@pytest.fixture
def library(indexed: Path) -> Iterator[Path]:
    yield indexed
    (indexed / FILE_NAME).unlink(missing_ok=True)


def said(*words: object) -> str:
    done = CliRunner().invoke(app, ["calibrate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_threshold_is_said_and_kept(library: Path) -> None:
    assert Library(library).threshold == DEFAULT_THRESHOLD
    document = json.loads(said("--library", library, "--false-positives", "0.2", "--json"))
    assert (document["queries"], document["videos"], document["copies"]) == (10, 10, 1)
    assert not document["extrapolated"]
    assert document["threshold"] == pytest.approx(Library(library).threshold, abs=1e-6)
    assert Path(document["written"]) == library / FILE_NAME
    assert all(Path(pair["query"]).is_file() for pair in document["closest"])


def test_too_few_strangers_for_a_rate_are_called_that(library: Path) -> None:
    text = said("--library", library, "--false-positives", "0.001")
    assert "10 queries among 88 pairs of strangers" in text
    assert "To have seen 0.10% takes 999 queries" in text
    assert "Left out as copies: 1 pair" in text


def test_a_folder_of_strangers_is_asked_too(library: Path, tmp_path: Path) -> None:
    render_clips(tmp_path, count=8, seconds=3, scale=0.4, seed=77)
    document = json.loads(said("--library", library, "--noise", tmp_path, "--json"))
    assert document["queries"] == 18
    assert document["pairs"] == 88 + 8 * 10


def test_what_was_calibrated_for_other_vectors_is_not_used(library: Path) -> None:
    said("--library", library, "--false-positives", "0.2")
    kept = json.loads((library / FILE_NAME).read_text("utf-8"))
    (library / FILE_NAME).write_text(json.dumps({**kept, "threshold": 0.77}), "utf-8")
    assert Library(library).threshold == 0.77
    (library / FILE_NAME).write_text(json.dumps({**kept, "spaces": ["another"]}), "utf-8")
    assert Library(library).threshold == DEFAULT_THRESHOLD


def test_a_library_may_be_its_own_noise_but_says_nothing_then(library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(library, copy)
    document = json.loads(said("--library", library, "--noise", copy, "--json"))
    assert document["queries"] == 10  # all of the noise set is in the library


def test_a_noise_folder_without_a_readable_video_is_refused(library: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video", "utf-8")
    with pytest.raises(InvalidArgument, match=r"no video in .* can be read; a noise set is"):
        said("--library", library, "--noise", tmp_path, "--json")


def test_an_empty_library_cannot_be_calibrated(tmp_path: Path) -> None:
    Library(tmp_path / "empty")
    with pytest.raises(InvalidArgument, match="holds no videos yet"):
        said("--library", tmp_path / "empty")
