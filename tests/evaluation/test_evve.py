from __future__ import annotations

import json
import pickle
from itertools import combinations
from pathlib import Path

import pytest

from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.evve import read_evve


def test_videos_and_positive_pairs_are_those_of_the_original(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "metrics_unit.json").read_text())["gt"]["EVVE"]
    dataset = read_evve(shared / "golden" / "evalsets" / "EVVE")
    sides = {"query": dataset.queries, "database": dataset.database}
    found = {
        (v.video, v.event, v.label, split, dataset.durations_seconds[v.video])
        for split, videos in sides.items()
        for v in videos
    }
    assert found == {(v["video"], v["event"], v["pos_null"], v["split"], v["end"]) for v in golden["videos"]}
    pairs = sorted(
        [a.video, 0, b.video, 0, -1]
        for videos in sides.values()
        for a, b in combinations([v for v in videos if v.label == 1], 2)
        if a.event == b.event
    )
    assert pairs == sorted(golden["pairs"])
    assert len(pairs) == golden["n_pairs"]


def test_durations_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "fair.dat").write_text("a 1 query\n\nb -1 database\n")
    dataset = read_evve(tmp_path)
    assert [video.video for video in dataset.queries] == ["fair/a"]
    assert dataset.database[0].label == -1
    assert not dataset.durations_seconds


@pytest.mark.parametrize("line", ["a 2 query", "a 1 train", "a 1"])
def test_lines_that_are_none_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "fair.dat").write_text(f"a 1 query\n{line}\n")
    with pytest.raises(FormatError, match=r"fair\.dat:2"):
        read_evve(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps(Path("x")), "asks for .*Path"),
        (pickle.dumps({"a": "b"}), "a table of seconds"),
        (b"nonsense", "not a pickled table"),
    ],
)
def test_durations_that_are_none_are_refused_and_never_run(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "fair.dat").write_text("a 1 query\n")
    (tmp_path / "annotations" / "durations.pkl").write_bytes(content)
    with pytest.raises(FormatError, match=said):
        read_evve(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no event files"):
        read_evve(tmp_path)
