from __future__ import annotations

import json
from pathlib import Path

import pytest

from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.vcdb import read_vcdb, vcdb_fold

WRONG = (
    "067fb2aa9623905a42a2b0b286de1386e45c5bf8.flv,8f19329946455ae5c2c7b788ea6f6513bf5e1c9a.flv,"
    "00:01:06,00:02:18,00:00:05,00:01:17"
)


def test_segments_and_pairs_are_those_of_the_original(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "metrics_unit.json").read_text())["gt"]["VCDB"]
    dataset = read_vcdb(shared / "golden" / "evalsets" / "VCDB")
    assert {(s.video, s.begin_seconds, s.end_seconds, s.global_seconds) for s in dataset.segments} == {
        (v["video"], v["begin"], v["end"], v["global"]) for v in golden["videos"]
    }
    assert len(dataset.segments) == len(golden["videos"])
    found = [[p.a.video, p.a.begin_seconds, p.b.video, p.b.begin_seconds, 0] for p in dataset.pairs]
    assert found == golden["pairs"]
    assert len(found) == golden["n_pairs"]
    assert len(dataset.videos) == 7
    assert all(video.whole for video in dataset.videos)


def annotate(root: Path, topics: int) -> None:
    (root / "annotation").mkdir()
    for topic in range(topics):
        (root / "annotation" / f"t{topic:02}.txt").write_text("a.b.mp4,c.flv,00:00:01,00:00:05,01:00:00,01:00:04\n")


def test_times_have_hours_and_names_may_have_dots(tmp_path: Path) -> None:
    annotate(tmp_path, 1)
    (pair,) = read_vcdb(tmp_path).pairs
    assert (pair.a.video, pair.b.video) == ("t00/a.b", "t00/c")
    assert (pair.b.begin_seconds, pair.b.end_seconds) == (3600, 3604)


def test_lines_known_to_be_wrong_are_left_out(tmp_path: Path) -> None:
    annotate(tmp_path, 1)
    (tmp_path / "annotation" / "run_forrest_fun.txt").write_text(f"{WRONG}\n")
    assert len(read_vcdb(tmp_path).pairs) == 1


def test_folds_split_sorted_topics(tmp_path: Path) -> None:
    annotate(tmp_path, 11)
    dataset = read_vcdb(tmp_path)
    held_out = [{v.video[:3] for v in vcdb_fold(dataset, k, validation=True).videos} for k in range(5)]
    assert held_out == [{f"t{2 * k:02}", f"t{2 * k + 1:02}"} for k in range(5)]
    training = vcdb_fold(dataset, 0, validation=False)
    assert {v.video[:3] for v in training.videos} == {f"t{k:02}" for k in range(2, 11)}
    assert (len(training.pairs), len(training.segments)) == (9, 18)
    with pytest.raises(InvalidArgument, match="got -1"):
        vcdb_fold(dataset, -1, validation=True)


@pytest.mark.parametrize(("line", "said"), [("a,b,c", "6 fields"), ("a,b,0,1,2,3", "HH:MM:SS")])
def test_lines_that_are_none_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation" / "t.txt").write_text(f"{line}\n")
    with pytest.raises(FormatError, match=said):
        read_vcdb(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no topic files"):
        read_vcdb(tmp_path)
