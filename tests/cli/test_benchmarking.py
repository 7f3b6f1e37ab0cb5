"""`benchmark make` and `benchmark run`, through their own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reelspace.cli.benchmarking_words import benchmark
from reelspace.errors import CannotOpen, UnknownName
from reelspace.media.synthetic import render_clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark") / "made"


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    videos = tmp_path_factory.mktemp("videos")
    render_clips(videos, count=6, seconds=3.5, scale=0.3)
    (videos / "no film.mp4").write_text("text")
    words = ["make", "--videos", str(videos), "--out", str(folder), "--edits", "grey,fps-10", "--workers", "2"]
    said = CliRunner().invoke(benchmark, [*words, "--seed", "5", "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    return json.loads(said.stdout)


def test_make_prints_one_document(made: dict[str, object], folder: Path):
    assert made["benchmark"] == str(folder)
    assert (made["references"], made["distractors"], made["queries"], made["truths"]) == (3, 3, 12, 6)
    (refused,) = made["refused"]
    assert refused["source"].endswith("no film.mp4")
    assert len(list((folder / "queries").iterdir())) == 12


def test_run_prints_tables_and_writes_them(made: dict[str, object], folder: Path, tmp_path: Path):
    words = ["run", str(folder), "--method", "vpdq", "--half", "all", "--workers", "2"]
    said = CliRunner().invoke(benchmark, [*words, "--output", str(tmp_path)], catch_exceptions=False)
    assert said.exit_code == 0
    assert "photometric" in said.stdout
    assert "fps-10" in said.stdout
    assert "| vpdq | all | 12 |" in (tmp_path / "groups" / "report.md").read_text()
    said = CliRunner().invoke(benchmark, [*words, "--json"], catch_exceptions=False)
    document = json.loads(said.stdout)
    assert document["groups"]["columns"][:3] == ["method", "edits", "queries"]
    assert {row[1] for row in document["edits"]["rows"]} == {"grey", "fps-10"}
    assert document["groups"]["provenance"][0]["seeds"] == {"benchmark": 5}


def test_wrong_words_are_told_as_errors(tmp_path: Path):
    with pytest.raises(UnknownName, match="mirror"):
        CliRunner().invoke(
            benchmark,
            ["make", "--videos", str(tmp_path), "--out", str(tmp_path / "x"), "--edits", "miror"],
            catch_exceptions=False,
        )
    with pytest.raises(CannotOpen, match="no benchmark there"):
        CliRunner().invoke(benchmark, ["run", str(tmp_path)], catch_exceptions=False)
    assert CliRunner().invoke(benchmark, ["run", str(tmp_path), "--half", "third"]).exit_code == 2
