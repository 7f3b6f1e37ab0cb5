from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument
from reelspace.evaluation.metrics_segments import (
    SegmentScore,
    average_over_pairs,
    average_over_query_sets,
    boundary_errors_seconds,
    match_average_precision,
    match_curve,
    micro_average_precision,
    precision_recall_curve,
    segment_score,
)

PAIR = ("query", "reference")
WHOLE = SegmentScore(1.0, 1.0, found=True, true=True)
MISSED = SegmentScore(1.0, 0.0, found=False, true=True)
ALARM = SegmentScore(0.0, 1.0, found=True, true=False)
QUIET = SegmentScore(1.0, 1.0, found=False, true=False)


def segment(*ends: float, score: float = 1.0) -> CopySegment:
    return CopySegment(Span(ends[0], ends[1]), Span(ends[2], ends[3]), 1.0, score)


def made_up(seed: int, count: int) -> list[CopySegment]:
    """On whole seconds, so that an oracle can count them one by one."""
    random = np.random.default_rng(seed)
    starts, lengths = random.integers(0, 30, (count, 2)), random.integers(0, 12, (count, 2))
    return [
        segment(q, q + n, r, r + m, score=float(score))
        for (q, r), (n, m), score in zip(starts, lengths, random.integers(1, 6, count), strict=True)
    ]


def seconds(spans: list[Span]) -> set[int]:
    return {second for span in spans for second in range(int(span.start), int(span.end))}


def shares_area(a: CopySegment, b: CopySegment) -> bool:
    return a.query.overlap(b.query) > 0 and a.reference.overlap(b.reference) > 0


def slow_match_ap(
    found: dict[tuple[str, str], list[CopySegment]], true: dict[tuple[str, str], list[CopySegment]]
) -> float:
    """Every second counted in a set, anew for every score."""
    total = recall_before = 0.0
    for score in sorted({s.score for of_pair in found.values() for s in of_pair}, reverse=True):
        shared, covered, truth = np.zeros(2), np.zeros(2), np.zeros(2)
        for pair in {*found, *true}:
            taken = [s for s in found.get(pair, []) if s.score >= score]
            there = true.get(pair, [])
            met = [t for t in there if any(shares_area(t, s) for s in taken)]
            for axis, name in enumerate(("query", "reference")):
                taken_seconds, met_seconds, all_seconds = (
                    seconds([getattr(s, name) for s in group]) for group in (taken, met, there)
                )
                shared[axis] += len(taken_seconds & met_seconds)
                covered[axis] += len(taken_seconds)
                truth[axis] += len(all_seconds)
        precision = float(np.sqrt(np.prod(shared / np.maximum(covered, 1))))
        recall = float(np.sqrt(np.prod(shared / truth)))
        total += precision * (recall - recall_before)
        recall_before = recall
    return total


def slow_segment_score(found: list[CopySegment], true: list[CopySegment]) -> tuple[float, float]:
    def right_share(of: list[CopySegment], by: list[CopySegment]) -> float:
        share = 1.0
        for name in ("query", "reference"):
            right = sum(
                len(seconds([getattr(s, name)]) & seconds([getattr(t, name) for t in by if shares_area(s, t)]))
                for s in of
            )
            share *= right / sum(getattr(s, name).duration for s in of)
        return share

    return right_share(found, true), right_share(true, found)


@pytest.mark.parametrize("seed", range(20))
def test_matching_ap_is_what_counting_every_second_gives(seed: int) -> None:
    names = [PAIR, ("query", "another"), ("other", "reference")]
    found = {name: made_up(seed * 10 + i, 6) for i, name in enumerate(names)}
    true = {name: made_up(seed * 10 + 5 + i, 3) for i, name in enumerate(names[:2])}
    assert match_average_precision(found, true) == pytest.approx(slow_match_ap(found, true), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_precision_and_recall_of_a_pair_are_what_counting_every_second_gives(seed: int) -> None:
    found, true = made_up(seed, 1 + seed % 7), made_up(100 + seed, 1 + seed % 5)
    score = segment_score(found, true)
    assert (score.precision, score.recall) == pytest.approx(slow_segment_score(found, true), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_micro_ap_is_scikit_learns_where_all_is_answered(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    right = random.random(300) < 0.2
    scores = np.round(random.normal(size=300) + right, decimals)
    expected = average_precision_score(right, scores)
    assert micro_average_precision(scores, right, int(right.sum())) == pytest.approx(expected, abs=1e-12)


def test_the_order_of_a_tie_does_not_matter() -> None:
    assert (
        micro_average_precision([1, 1], [True, False], 1)
        == micro_average_precision([1, 1], [False, True], 1)
        == 0.5
    )


def test_nothing_answered_scores_nothing() -> None:
    assert micro_average_precision([], [], 3) == 0.0
    assert match_average_precision({}, {PAIR: [segment(0, 1, 0, 1)]}) == 0.0


def test_the_curve_names_the_score_of_each_point() -> None:
    curve = precision_recall_curve([3, 2, 2, 1], [True, False, True, True], 4)
    assert curve.scores.tolist() == [3, 2, 1]
    assert curve.precisions.tolist() == pytest.approx([1, 2 / 3, 3 / 4])
    assert curve.recalls.tolist() == [0.25, 0.5, 0.75]
    assert curve.best_f1 == pytest.approx(0.75)


def test_segments_found_crosswise_earn_nothing() -> None:
    true = {PAIR: [segment(4, 14, 10, 18), segment(20, 28, 21, 29)]}
    assert match_average_precision({PAIR: [segment(4, 14, 21, 29), segment(20, 28, 10, 18)]}, true) == 0.0


def test_a_segment_found_in_two_pieces_that_touch_is_found_whole() -> None:
    true = {PAIR: [segment(4, 14, 10, 18)]}
    pieces = {PAIR: [segment(4, 9, 10, 14, score=1), segment(9, 14, 14, 18, score=2)]}
    assert match_average_precision(pieces, true) == pytest.approx(1.0)
    assert segment_score(pieces[PAIR], true[PAIR]) == WHOLE


def test_a_segment_of_no_length_is_neither_right_nor_wrong() -> None:
    true = {PAIR: [segment(4, 14, 10, 18)]}
    found = {PAIR: [segment(4, 14, 10, 18, score=1), segment(5, 5, 11, 11, score=2)]}
    assert match_average_precision(found, true) == pytest.approx(1.0)
    assert segment_score([segment(5, 5, 11, 11)], true[PAIR]) == SegmentScore(0.0, 0.0, found=True, true=True)


def test_a_wrong_pair_before_the_right_one_halves_the_precision() -> None:
    true = {PAIR: [segment(4, 14, 10, 18)]}
    found = {PAIR: [segment(4, 14, 10, 18, score=1)], ("query", "x"): [segment(4, 14, 10, 18, score=2)]}
    curve = match_curve(found, true)
    assert curve.precisions.tolist() == pytest.approx([0.0, 0.5])
    assert curve.recalls.tolist() == pytest.approx([0.0, 1.0])


def test_precision_counts_only_pairs_with_an_answer_and_recall_only_pairs_with_something_true() -> None:
    average = average_over_pairs([SegmentScore(0.5, 0.25, found=True, true=True), MISSED, ALARM, QUIET])
    assert (average.precision, average.recall) == (0.25, 0.125)
    assert (average.missed, average.false_alarms, average.pairs) == (0.5, 0.5, 4)
    assert average.f1 == pytest.approx(2 * 0.25 * 0.125 / 0.375)


def test_rates_are_over_the_pairs_counted_unless_as_published() -> None:
    pairs = [WHOLE, WHOLE, MISSED, ALARM]
    assert average_over_pairs(pairs).missed == pytest.approx(1 / 3)
    assert average_over_pairs(pairs, as_published=True).missed == pytest.approx(1 / 2)


def test_finding_nothing_anywhere_is_precise_and_worth_nothing() -> None:
    average = average_over_pairs([MISSED, MISSED])
    assert (average.precision, average.recall, average.f1) == (1.0, 0.0, 0.0)


def test_query_sets_weigh_the_same_however_many_pairs_they_hold() -> None:
    scores = {("a", "1"): WHOLE, ("a", "2"): WHOLE, ("a", "3"): WHOLE, ("b", "1"): MISSED}
    average = average_over_query_sets(scores, {"a": [("a", "1"), ("a", "2"), ("a", "3")], "b": [("b", "1")]})
    assert (average.recall, average.missed, average.pairs) == (0.5, 0.25, 2)


def test_boundary_errors_are_those_of_the_found_segment_that_shares_most() -> None:
    true = [segment(10, 20, 30, 40), segment(50, 60, 0, 10), segment(70, 80, 70, 80)]
    found = [
        segment(10, 12, 30, 32),
        segment(10.5, 20.25, 29, 40),
        segment(50, 60, 20, 30),
        segment(69, 80, 70, 85),
    ]
    assert boundary_errors_seconds(found, true).tolist() == [[0.5, 0.25, 1.0, 0.0], [1.0, 0.0, 0.0, 5.0]]


def test_without_segments_there_are_no_boundary_errors() -> None:
    assert boundary_errors_seconds([], [segment(0, 1, 0, 1)]).shape == (0, 4)
    assert boundary_errors_seconds([segment(0, 1, 0, 1)], []).shape == (0, 4)


@pytest.mark.parametrize(
    ("scores", "right", "total", "said"),
    [
        ([1.0, 2.0], [True], 1, "one score"),
        ([float("nan")], [True], 1, "finite"),
        ([1.0], [False], 0, "truth"),
        ([1.0, 2.0], [True, True], 1, "2 answers are right"),
    ],
)
def test_answers_that_cannot_be_judged_are_refused(
    scores: list[float], right: list[bool], total: int, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        micro_average_precision(scores, right, total)


def test_a_truth_without_seconds_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="covers no second"):
        match_curve({PAIR: [segment(0, 1, 0, 1)]}, {PAIR: [segment(3, 3, 4, 4)]})


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="finite"):
        match_curve({PAIR: [segment(0, 1, 0, 1, score=float("inf"))]}, {PAIR: [segment(0, 1, 0, 1)]})


def test_a_query_set_needs_scored_pairs() -> None:
    with pytest.raises(InvalidArgument, match="no score for b-1"):
        average_over_query_sets({("a", "1"): WHOLE}, {"all": [("a", "1"), ("b", "1")]})
    with pytest.raises(InvalidArgument, match="no pair"):
        average_over_query_sets({("a", "1"): WHOLE}, {"none": []})
    with pytest.raises(InvalidArgument, match="at least one pair"):
        average_over_pairs([])
