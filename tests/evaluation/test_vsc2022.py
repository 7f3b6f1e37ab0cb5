from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.vsc2022 import (
    Descriptors,
    descriptor_pairs,
    match_report,
    pair_scores,
    read_descriptors,
    read_matches,
    write_descriptors,
    write_matches,
)

HEADER = "query_id,ref_id,query_start,query_end,ref_start,ref_end,score"
PAIR = ("Q000001", "R000002")


def segment(*ends: float, score: float = 1.0) -> CopySegment:
    return CopySegment(Span(ends[0], ends[1]), Span(ends[2], ends[3]), 1.0, score)


def test_matches_are_read_as_they_were_written_the_best_first(tmp_path: Path) -> None:
    found = {PAIR: [segment(0, 1, 2, 3.5, score=0.2), segment(4, 5, 6, 7, score=0.9)]}
    assert write_matches(tmp_path / "x.csv", found) == 2
    assert read_matches(tmp_path / "x.csv") == {PAIR: found[PAIR][::-1]}


def test_ids_that_are_numbers_are_written_out(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\n1,2,0,1,0,1,0.5\n", "utf-8")
    assert list(read_matches(tmp_path / "x.csv")) == [PAIR]


def test_a_ground_truth_needs_no_score_and_predictions_do(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "ref_end,ref_start,query_end,query_start,ref_id,query_id\n4,3,2,1,2,1\n", "utf-8"
    )
    assert read_matches(tmp_path / "x.csv", scored=False) == {PAIR: [segment(1, 2, 3, 4)]}
    with pytest.raises(FormatError, match="no column score"):
        read_matches(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,2,0,one,0,1,0.5", "line 3: could not convert"),
        ("1,2,5,1,0,1,0.5", "line 3: a span ends at or after its start"),
        ("1,2,0,1", "line 3"),
        ("X7,2,0,1,0,1,0.5", "line 3: an id here begins with Q"),
    ],
)
def test_a_broken_row_is_named(row: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\n1,2,0,1,0,1,0.5\n{row}\n", "utf-8")
    with pytest.raises(FormatError, match=said):
        read_matches(tmp_path / "x.csv")


def test_a_pair_scores_as_its_best_segment_also_below_0() -> None:
    assert pair_scores({PAIR: [segment(0, 1, 0, 1, score=-3), segment(0, 1, 0, 1, score=-2)]}) == {PAIR: -2}


def test_true_pairs_without_segments_are_none(tmp_path: Path) -> None:
    true = {PAIR: [segment(0, 1, 0, 1)], ("Q000009", "R000009"): []}
    assert dict(match_report({}, true).rows)["true pairs"] == 1


def descriptors(tmp_path: Path, **arrays: np.ndarray) -> Descriptors:
    given = {"video_ids": np.array(["Q1", "Q1", "Q2"]), "features": np.eye(3), "timestamps": np.arange(3.0)}
    np.savez(tmp_path / "x.npz", **{**given, **arrays})
    return read_descriptors(tmp_path / "x.npz", prefix="Q")


def test_timestamps_are_moments_or_spans(tmp_path: Path) -> None:
    assert descriptors(tmp_path).spans_seconds.tolist() == [[0, 0], [1, 1], [2, 2]]
    spans = descriptors(tmp_path, timestamps=np.array([[0, 1], [1, 2], [0, 1.0]]))
    assert spans.spans_seconds[1].tolist() == [1, 2]
    matrix = spans.matrix()
    assert matrix.times_seconds.tolist() == [0.5, 1.5, 0.5]
    assert (matrix.video_ids, matrix.bounds.tolist()) == (("Q1", "Q2"), [0, 2, 3])
    assert matrix.durations_seconds.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"video_ids": np.array(["Q1", "Q2", "Q1"])}, "rows of Q1 lie apart"),
        ({"video_ids": np.array(["R1", "R1", "R2"])}, "begins with Q"),
        ({"timestamps": np.zeros((3, 3))}, r"got \(3,\), \(3, 3\) and \(3, 3\)"),
        ({"features": np.zeros(3)}, "features"),
    ],
)
def test_broken_descriptors_are_refused(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=said):
        descriptors(tmp_path, **arrays)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("text", "utf-8")
    with pytest.raises(FormatError, match="holds no descriptors"):
        read_descriptors(tmp_path / "x.npz", prefix="Q")


def test_rows_of_a_library_become_descriptors_without_those_that_carry_no_evidence(tmp_path: Path) -> None:
    vectors = np.eye(4, dtype=np.float16)
    weights = np.array([1, 0, 1, 1], np.float32)
    sequence = FrameSequence(np.arange(4.0), vectors, np.zeros(4, np.uint8), weights, Space("x", 4, {}), 4.0)
    matrix = FrameMatrix.concatenate([sequence, sequence], ["a", "b"])
    write_descriptors(tmp_path / "x.npz", matrix, ["Q000001", "Q000002"])
    read = read_descriptors(tmp_path / "x.npz", prefix="Q")
    assert (read.video_ids, read.bounds.tolist()) == (("Q000001", "Q000002"), [0, 3, 6])
    assert read.vectors[:3].tolist() == vectors[[0, 2, 3]].tolist()


def test_both_sides_have_the_same_dimensions(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="3 dimensions, references 2"):
        descriptor_pairs(descriptors(tmp_path), descriptors(tmp_path, features=np.ones((3, 2))))
