"""`sync`, as it is typed."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from reelspace.cli.syncing_words import sync
from reelspace.core.frames import Picture
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import probe
from reelspace.media.synthetic import render_clips
from reelspace.media.writer import VideoWriter

app = typer.Typer()
app.command()(sync)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of one event, one and a quarter seconds apart, a stranger, and a file that is no video."""
    from reelspace.media import open_video

    place = tmp_path_factory.mktemp("sync")
    event, stranger = render_clips(place / "clips", count=2, seconds=5, scale=0.3)
    with open_video(event) as reader:
        frames = [frame.pixels for frame in reader.frames_at_rate(20, Picture(96, 54, filter="area"))]
    for name, part in (("a.mp4", frames[:70]), ("b.mp4", frames[25:])):
        with VideoWriter(place / name, 96, 54, Fraction(20)) as writer:
            for pixels in part:
                writer.write(np.ascontiguousarray(pixels))
    stranger.rename(place / "c [x].mp4")
    (place / "d.mp4").write_bytes(b"nothing" * 99)
    return place


def test_the_table_the_plot_the_grid_and_the_file_say_the_same(folder: Path, tmp_path: Path) -> None:
    said = run(
        *sorted(folder.glob("*.mp4")),
        *("--plot", tmp_path / "t.png", "--render", tmp_path / "new" / "t.mp4", "--output", tmp_path / "t.csv"),
    )
    assert said.exit_code == 0, said.output
    starts = [line.split()[1] for line in said.stdout.splitlines()[1:3]]
    assert [float(start) for start in starts] == pytest.approx([0.0, 1.25], abs=0.02)
    assert "not placed  c [x].mp4: nearest to" in said.stdout
    assert "left out  " in said.stderr
    assert "d.mp4: " in said.stderr
    with (tmp_path / "t.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["event"], Path(row["recording"]).name) for row in rows] == [
        ("1", "a.mp4"),
        ("1", "b.mp4"),
        ("", "c [x].mp4"),
        ("", "d.mp4"),
    ]
    assert float(rows[1]["start_seconds"]) == pytest.approx(1.25, abs=0.02)
    assert all(row["reason"] for row in rows[2:])
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    last = max(float(row["end_seconds"]) for row in rows[:2])
    assert probe(tmp_path / "new" / "t.mp4").duration_seconds == pytest.approx(last, abs=0.1)


def test_json_is_one_document_and_the_file_holds_the_same(folder: Path, tmp_path: Path) -> None:
    said = run(folder / "a.mp4", folder / "b.mp4", "--json", "--output", tmp_path / "t.json")
    document = json.loads(said.stdout)
    (group,) = document["groups"]
    assert [r["span"]["start"] for r in group] == [0.0, pytest.approx(1.25, abs=0.02)]
    assert document["pairs"][0]["overlap"]["end"] == pytest.approx(3.5, abs=0.1)
    assert document["output"] == str(tmp_path / "t.json")
    written = json.loads((tmp_path / "t.json").read_text())
    assert written.keys() == document.keys() - {"output"}


def test_recordings_of_nothing_in_common_end_with_1(folder: Path) -> None:
    said = run(folder / "a.mp4", folder / "c [x].mp4")
    assert said.exit_code == 1
    assert "no two recordings" in said.stdout
    assert "starts at" not in said.stdout


def test_what_could_not_be_answered_is_refused_before_anything_is_decoded(folder: Path, tmp_path: Path) -> None:
    missing = folder / "none.mp4"  # would be an error of its own, were it looked for
    for words, error in (
        (("--method", "tmq"), UnknownName),
        (("--plot", tmp_path / "t.doc"), UnknownName),
        (("--render", tmp_path / "t.avi"), InvalidArgument),
        (("--output", tmp_path / "t.otio"), InvalidArgument),
    ):
        said = run(missing, missing, *words)
        assert isinstance(said.exception, error)
        assert "none.mp4" not in str(said.exception)
    assert list(tmp_path.iterdir()) == []
