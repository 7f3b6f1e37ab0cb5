from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve

from reelspace.errors import InvalidArgument
from reelspace.evaluation.datasets.layout import video_times
from reelspace.evaluation.metrics_alignment import (
    average_precision,
    detections,
    found_and_known,
    localization_errors,
    localized,
    mean_average_precision,
    precision_recall,
    ranked_average_precision,
)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    """What the functions of videoalignment gave; facts/tmk.md, section 4."""
    return json.loads((shared / "golden" / "metrics_unit.json").read_text())  # type: ignore[no-any-return]


def test_average_precision_equals_the_original(golden: dict[str, Any]) -> None:
    for case in golden["ap"]:
        assert average_precision(case["ranks"], case["nres"]) == pytest.approx(case["ap"], abs=1e-12)


def test_unknown_videos_are_taken_out_of_the_ranking_as_in_the_original(golden: dict[str, Any]) -> None:
    for case in golden["ap_with_nulls"]:
        labels = np.array(case["ranked_labels"])
        assert np.flatnonzero(labels[labels >= 0] == 1).tolist() == case["pos_ranks"]
        assert ranked_average_precision(-np.arange(len(labels)), labels) == pytest.approx(case["ap"], abs=1e-12)


def test_precision_and_recall_equal_the_original(golden: dict[str, Any]) -> None:
    for case in golden["pr_f1"]:
        curve = precision_recall(case["probas"], case["labels"])
        if case["precision"] is not None:  # of the longest case only the summary was kept
            np.testing.assert_allclose(curve.precision, case["precision"], atol=1e-12)
            np.testing.assert_allclose(curve.recall, case["recall"], atol=1e-12)
            np.testing.assert_allclose(curve.thresholds, case["thresholds"], atol=1e-12)
        assert curve.area == pytest.approx(case["auc"], abs=1e-12)
        assert curve.best_f1 == pytest.approx(case["max_f1"], abs=1e-12)


def test_shares_localized_equal_the_original(golden: dict[str, Any]) -> None:
    for case in golden["loc"]:
        errors = [np.inf if error is None else error for error in case["errors"]]
        expected = {float(limit): share for limit, share in case["pct_strictly_less"].items()}
        assert localized(errors) == pytest.approx(expected)


def test_times_of_frames_equal_the_original(golden: dict[str, Any]) -> None:
    for rate, expected in golden["get_timestamps_x15"].items():
        np.testing.assert_allclose(video_times(len(expected), float(rate)), expected, atol=1e-12)


def test_segments_are_labelled_as_in_the_original(golden: dict[str, Any]) -> None:
    for case in golden["vcdb_segment_labels"]:
        found, known = found_and_known(tuple(case["query"]), case["pred_start_s"], case["annotated(qb,qe,vb,ve)"])
        assert (found, known) == (case["found"], case["could_be_fn"])
        made = detections(np.array([0.5]), np.array([found]), np.array([known]), as_published=True)
        assert made.labels.tolist() == case["labels_appended"]
        assert [0.5 if score == "score" else score for score in case["probas_appended"]] == made.scores.tolist()


def test_average_precision_is_the_area_that_a_slow_loop_sums() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        labels = rng.random(30) < 0.3
        relevant = int(labels.sum()) + int(rng.integers(0, 3))
        area, hits = 0.0, 0
        for rank, label in enumerate(labels):
            if label:
                before = 1.0 if rank == 0 else hits / rank
                hits += 1
                area += (before + hits / (rank + 1)) / 2 / relevant
        assert average_precision(np.flatnonzero(labels), relevant) == pytest.approx(area)
    assert average_precision([], 0) == 0


def test_the_curve_is_scikit_learns_also_with_equal_scores() -> None:
    rng = np.random.default_rng(4)
    for size in (1, 2, 7, 200):
        scores, labels = np.round(rng.random(size), 1), rng.random(size) < 0.5
        labels[0] = True
        curve = precision_recall(scores, labels)
        precision, recall, thresholds = precision_recall_curve(labels, scores)
        np.testing.assert_allclose(curve.precision, precision)
        np.testing.assert_allclose(curve.recall, recall)
        np.testing.assert_allclose(curve.thresholds, thresholds)
        assert curve.area == pytest.approx(auc(recall, precision))


def test_what_is_missed_lowers_every_recall_and_no_precision() -> None:
    whole = precision_recall([3, 2, 1], [1, 0, 1])
    short = precision_recall([3, 2, 1], [1, 0, 1], missed=2)
    np.testing.assert_allclose(short.recall, whole.recall / 2)
    np.testing.assert_array_equal(short.precision, whole.precision)
    assert short.best_f1 < whole.best_f1
    assert (whole.best_threshold, short.best_threshold) == (1, 1)


def test_without_anything_to_detect_there_is_no_curve() -> None:
    with pytest.raises(InvalidArgument, match="nothing is to be detected"):
        precision_recall([1, 2], [0, 0])


def test_a_miss_is_a_wrong_detection_and_something_not_found() -> None:
    made = detections(np.array([0.9, 0.8, 0.7]), np.array([True, False, False]), np.array([True, True, False]))
    assert (made.labels.tolist(), made.missed) == ([1, 0, 0], 1)


def test_published_a_miss_counts_its_own_score_as_right() -> None:
    made = detections(
        np.array([0.9, 0.8, 0.7]), np.array([True, False, False]), np.array([True, True, False]), as_published=True
    )
    assert (made.scores.tolist(), made.labels.tolist(), made.missed) == ([0.9, 0.8, 0.7, 0], [1, 1, 0, 0], 0)


def test_recordings_are_judged_by_the_pair_they_match_best() -> None:
    scores = np.array([[9.0, 5, 1], [5, 9, 6], [1, 6, 9]])
    offsets = np.array([[0.0, 2.5, 0], [-2.5, 0, 4], [0, -4, 0]])
    true = np.array([[np.nan, 2.0, np.nan], [-2.0, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    assert localization_errors(scores, offsets, true).tolist() == [0.5, np.inf, np.inf]


def test_a_mean_of_precisions_counts_all_that_is_to_be_found_and_no_query_without() -> None:
    scores = np.array([[0, 3.0, 2, 1], [3, 0, 2, 1], [2, 2, 0, 1], [1, 2, 3, 0]])
    relevant = np.zeros((4, 4), bool)
    relevant[0, 1] = relevant[0, 3] = True
    within_three = (1 + (1 / 2 + 2 / 3) / 2) / 2
    assert mean_average_precision(scores, relevant) == pytest.approx(within_three)
    assert mean_average_precision(scores, relevant, depth=1) == pytest.approx(0.5)
    assert mean_average_precision(scores, relevant, depth=1, as_published=True) == pytest.approx(1 / 4)
    with pytest.raises(InvalidArgument, match="no query"):
        mean_average_precision(scores, np.zeros((4, 4), bool))
