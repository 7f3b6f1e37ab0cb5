from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reelspace.errors import InvalidArgument
from reelspace.evaluation.datasets.layout import Stretch
from reelspace.evaluation.datasets.madonna import madonna_fold, read_madonna
from reelspace.evaluation.datasets.recordings import AlignmentSet, Pair, components, overlapping


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "golden" / "metrics_unit.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def dataset(shared: Path) -> AlignmentSet:
    return read_madonna(shared / "golden" / "evalsets" / "madonna")


def test_recordings_and_pairs_are_those_of_the_original(golden: dict[str, Any], dataset: AlignmentSet) -> None:
    videos = {video["video"]: video for video in golden["gt"]["Madonna"]["videos"]}
    assert {r.video: r for r in dataset.recordings} == {
        name: Stretch(name, video["begin"], video["end"], video["global"]) for name, video in videos.items()
    }
    names = [r.video for r in dataset.recordings]
    found = [[names[p.a], 0.0, names[p.b], 0.0, p.offset_seconds] for p in dataset.pairs]
    assert found == golden["gt"]["Madonna"]["pairs"]
    assert len(found) == golden["gt"]["Madonna"]["n_pairs"]
    assert dataset.longest_offset_frames == 9085


def test_groups_that_hang_together_are_those_of_the_original(golden: dict[str, Any], dataset: AlignmentSet) -> None:
    groups = components(len(dataset.recordings), dataset.pairs)
    assert [[r.video, g] for r, g in zip(dataset.recordings, groups, strict=True)] == golden["madonna_components"]


def test_folds_are_those_of_the_original(golden: dict[str, Any], dataset: AlignmentSet) -> None:
    for name, expected in golden["madonna_folds"].items():
        fold, side = name.split("_")
        part = dataset if side == "all" else madonna_fold(dataset, int(fold), validation=side == "val")
        assert [r.video for r in part.recordings] == expected["videos"]
        assert len(part.pairs) == expected["n_pairs"]


def test_what_one_fold_validates_on_it_does_not_train_on() -> None:
    recordings = tuple(Stretch(f"v{i}", 0, 10, 100 * (i // 2)) for i in range(22))  # eleven pairs
    dataset = AlignmentSet("madonna", recordings, overlapping(recordings), 300)
    assert len(dataset.pairs) == 11
    sides = [
        (madonna_fold(dataset, k, validation=False), madonna_fold(dataset, k, validation=True)) for k in range(5)
    ]
    for training, validation in sides:
        assert (len(validation.recordings), len(validation.pairs)) == (4, 2)
        assert {*training.recordings, *validation.recordings} == set(recordings)
        assert all(0 <= p.a < p.b < 18 for p in training.pairs)
    held_out = [r for _, validation in sides for r in validation.recordings]
    assert held_out == list(recordings[:20])  # the eleventh group is left over
    with pytest.raises(InvalidArgument, match="0 to 4, got 5"):
        madonna_fold(dataset, 5, validation=True)


def test_groups_are_joined_by_later_pairs() -> None:
    assert components(5, (Pair(0, 1, 0), Pair(3, 4, 0), Pair(1, 3, 0))) == [0, 0, 1, 0, 0]
