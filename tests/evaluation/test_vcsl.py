from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.errors import FormatError, InvalidArgument, UnknownName
from reelspace.evaluation.vcsl import (
    compare_features,
    read_features,
    read_pairs,
    read_query_sets,
    read_segments,
    segment_report,
    write_segments,
)

A, B = ("q1", "r1"), ("q1", "r2")


def segment(*ends: float) -> CopySegment:
    return CopySegment(Span(ends[0], ends[1]), Span(ends[2], ends[3]), 1.0, 1.0)


def test_a_label_is_two_corners_query_first(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"q1-r1": [[4, 10, 14, 18]]}', "utf-8")
    assert read_segments(tmp_path / "labels.json") == {A: [segment(4, 14, 10, 18)]}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = {A: [segment(4, 14.5, 10, 18), segment(0, 1, 2, 3)], B: []}
    assert write_segments(tmp_path / "found.json", found) == 2
    assert read_segments(tmp_path / "found.json") == found


def test_ids_may_have_dashes_when_both_have_as_many(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"a-1-b-2": []}', "utf-8")
    assert list(read_segments(tmp_path / "labels.json")) == [("a-1", "b-2")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "no JSON"),
        ("[]", "got list"),
        ('{"q1r1": []}', "not QUERY-REFERENCE"),
        ('{"q1-r1": [[1, 2, 3]]}', "pair 'q1-r1'"),
        ('{"q1-r1": [[5, 2, 3, 4]]}', "ends at or after its start"),
        ('{"q1-r1": 7}', "pair 'q1-r1'"),
    ],
)
def test_a_broken_label_file_names_what_breaks_it(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(text, "utf-8")
    with pytest.raises(FormatError, match=said):
        read_segments(tmp_path / "labels.json")


def test_pairs_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("query_id,reference_id\nq1,r1\nq1,r2\nq1,r1\n", "utf-8")
    assert read_pairs(tmp_path / "pairs.csv") == [A, B]
    (tmp_path / "pairs.csv").write_text("query,reference\nq1,r1\n", "utf-8")
    with pytest.raises(FormatError, match="query_id and reference_id"):
        read_pairs(tmp_path / "pairs.csv")


def test_query_sets_are_those_of_the_split(tmp_path: Path) -> None:
    (tmp_path / "sets.json").write_text('{"val": {"x": ["q1-r1"]}, "test": {"y": ["q1-r2"]}}', "utf-8")
    assert read_query_sets(tmp_path / "sets.json", split="test") == {"y": [B]}
    assert read_query_sets(tmp_path / "sets.json", split="all") == {"x": [A], "y": [B]}
    with pytest.raises(UnknownName, match="no split named 'tset'; did you mean 'test'"):
        read_query_sets(tmp_path / "sets.json", split="tset")


def test_the_report_counts_what_is_missing() -> None:
    true = {A: [segment(0, 10, 0, 10)]}
    found = {("q9", "r9"): [segment(0, 1, 0, 1)], A: [segment(0, 5, 0, 5)]}
    table = dict(segment_report(found, true, pairs=[A, B]).rows)
    assert table["segments, all pairs: precision"] == 1.0
    assert table["segments, all pairs: recall"] == 0.25
    assert table["segments, all pairs: F1"] == pytest.approx(0.4)
    assert table["pairs"] == 2
    assert table["pairs that share footage"] == 1
    assert table["pairs without a prediction entry"] == 1
    assert table["predicted pairs not judged"] == 1


def test_pairs_of_query_sets_that_are_not_judged_are_counted() -> None:
    true = {A: [segment(0, 10, 0, 10)]}
    table = dict(segment_report(true, true, pairs=[A], query_sets={"x": [A, B], "y": [B]}).rows)
    assert table["query sets"] == 1
    assert table["pairs of query sets not judged"] == 2
    assert table["segments, by query set: F1"] == 1.0


def test_without_pairs_there_is_no_report() -> None:
    with pytest.raises(InvalidArgument, match="at least one pair"):
        segment_report({}, {})


def test_features_of_a_pair_are_compared_and_files_that_are_not_there_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    q1, r1, r2 = (random.normal(size=(n, 64)).astype(np.float32) for n in (40, 60, 50))
    r1[10:30] = 3 * q1[5:25]
    for name, features in (("q1", q1), ("r1", r1), ("r2", r2)):
        np.save(tmp_path / f"{name}.npy", features)
    compared = compare_features(tmp_path, [A, B, ("q1", "gone")])
    assert compared.missing == ("gone",)
    assert compared.segments[B] == ()
    (found,) = compared.segments[A]
    assert (found.query.start, found.query.end) == pytest.approx((5, 25), abs=1)
    assert (found.reference.start, found.reference.end) == pytest.approx((10, 30), abs=1)


def test_rows_of_zeros_carry_no_evidence(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.diag([2.0, 0.0, 1.0]))
    sequence = read_features(tmp_path / "x.npy")
    assert sequence.weights.tolist() == [1, 0, 1]
    assert sequence.vectors[0].tolist() == [1, 0, 0]
    assert (sequence.times_seconds[2], sequence.duration_seconds) == (2.0, 3.0)


@pytest.mark.parametrize("array", [np.zeros(3), np.array([["a"]]), np.array([[np.nan]])])
def test_a_file_without_features_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(FormatError, match=r"finite numbers \(N, D\)"):
        read_features(tmp_path / "x.npy")


def test_a_folder_without_the_features_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q1.npy").write_text(json.dumps([]), "utf-8")
    with pytest.raises(InvalidArgument, match="both files of none of 1 pairs"):
        compare_features(tmp_path, [A])
    (tmp_path / "r1.npy").write_text("", "utf-8")
    with pytest.raises(FormatError, match="holds no array"):
        compare_features(tmp_path, [A])
