from __future__ import annotations

import json
from pathlib import Path

import pytest

from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.climbing import read_climbing
from reelspace.evaluation.datasets.layout import FeatureFolder, Stretch
from reelspace.evaluation.datasets.recordings import AlignmentSet


def named_pairs(dataset: AlignmentSet) -> list[list[object]]:
    """As golden/metrics_unit.json writes them."""
    sides = dataset.recordings
    return [
        [sides[p.a].video, sides[p.a].begin_seconds, sides[p.b].video, sides[p.b].begin_seconds, p.offset_seconds]
        for p in dataset.pairs
    ]


def described(recording: Stretch) -> dict[str, object]:
    return {
        "video": recording.video,
        "begin": recording.begin_seconds,
        "end": recording.end_seconds,
        "global": recording.global_seconds,
    }


def test_recordings_and_pairs_are_those_of_the_original(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "metrics_unit.json").read_text())["gt"]["Climbing"]
    dataset = read_climbing(shared / "golden" / "evalsets" / "climbing")
    key = json.dumps
    assert sorted(map(key, map(described, dataset.recordings))) == sorted(map(key, golden["videos"]))
    assert len(dataset.pairs) == golden["n_pairs"]
    assert named_pairs(dataset) == golden["pairs"]
    assert dataset.longest_offset_frames == 18886


def test_the_one_clip_with_two_suffixes_is_found(tmp_path: Path) -> None:
    (tmp_path / "gt_climbing.align").write_text("albert_ixus70/longvid.avi 0 5 0\ncam/b.avi 0 5 5.005\n")
    dataset = read_climbing(tmp_path)
    assert dataset.recordings[0].video == "albert_ixus70/longvid"
    assert not dataset.pairs  # they meet, and share nothing
    folder = FeatureFolder(tmp_path / "features", tmp_path / "videos", dataset.aliases)
    assert folder.missing(dataset.recordings) == ["albert_ixus70/longvid", "cam/b"]
    for file in ("features/albert_ixus70/longvid.avi.pkl", "videos/albert_ixus70/longvid.avi.mp4"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert folder.missing(dataset.recordings) == ["cam/b"]
    assert folder.video_file("albert_ixus70/longvid") == tmp_path / "videos/albert_ixus70/longvid.avi.mp4"


@pytest.mark.parametrize(
    ("text", "said"), [("a.mp4 0 5\n", "1: a line has 4"), ("a 0 x 1\n", "are seconds"), ("\n", "no recording")]
)
def test_lines_that_are_none_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gt_climbing.align").write_text(text)
    with pytest.raises(FormatError, match=said):
        read_climbing(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"gt_climbing\.align"):
        read_climbing(tmp_path)
