"""Offsets of pairs become one clock, whatever some of them say."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from reelspace.alignment.timeline import Link, Proposal, Timeline, solve_timeline
from reelspace.errors import InvalidArgument


def starts(timeline: Timeline, group: int = 0) -> dict[int, float]:
    return {placed.recording: placed.start_seconds for placed in timeline.groups[group]}


def measured(places: list[float], *, noise: float, seed: int, probability: float = 0.9) -> list[Link]:
    """Every pair of recordings that begin there, measured with an error."""
    random = np.random.default_rng(seed)
    return [
        Link(i, j, (Proposal(float(places[j] - places[i] + noise * random.normal()), probability),))
        for i, j in combinations(range(len(places)), 2)
    ]


def test_exact_offsets_give_exact_starts_and_every_cycle_closes() -> None:
    timeline = solve_timeline([60] * 4, measured([3.0, 0.5, 7.25, 1.0], noise=0, seed=0))
    assert starts(timeline) == pytest.approx({1: 0.0, 3: 0.5, 0: 2.5, 2: 6.75}, abs=1e-6)
    assert [placed.recording for placed in timeline.groups[0]] == [1, 3, 0, 2]
    assert (timeline.cycle_count, timeline.cycles, timeline.outliers) == (4, (), ())
    assert max(abs(link.residual_seconds or 0) for link in timeline.links) < 1e-6


def test_the_starts_are_the_least_squares_solution_when_all_pairs_agree() -> None:
    links = measured([0.0, 4.0, 9.0, 2.0, 6.0], noise=0.02, seed=1, probability=0.99)
    rows, wanted = np.zeros((len(links), 5)), np.zeros(len(links))
    for row, link in enumerate(links):
        rows[row, link.first], rows[row, link.second] = -1, 1
        wanted[row] = link.proposals[0].offset_seconds
    oracle = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    found = starts(solve_timeline([30] * 5, links))
    assert [found[i] for i in range(5)] == pytest.approx(oracle - oracle.min(), abs=1e-3)


def test_a_sharper_pair_pulls_harder() -> None:
    links = [
        Link(0, 1, (Proposal(1.0, 0.9, 0.02),)),
        Link(1, 2, (Proposal(1.0, 0.9, 0.02),)),
        Link(0, 2, (Proposal(2.2, 0.9, 0.2),)),
    ]
    assert starts(solve_timeline([30] * 3, links))[2] == pytest.approx(2.0, abs=0.01)


def test_weak_proposals_that_close_a_cycle_outweigh_a_strong_one_that_does_not() -> None:
    places = [0.0, 5.0, 8.0, 12.0]
    links = measured(places, noise=0.01, seed=2, probability=0.8)
    wrong = next(i for i, link in enumerate(links) if (link.first, link.second) == (0, 3))
    links[wrong] = Link(0, 3, (Proposal(-20.0, 0.95), Proposal(12.0, 0.04)))
    timeline = solve_timeline([40] * 4, links)
    assert [starts(timeline)[i] for i in range(4)] == pytest.approx(places, abs=0.05)
    assert [(link.first, link.second, link.agrees) for link in timeline.outliers] == [(0, 3, 1)]
    assert {cycle.recordings for cycle in timeline.cycles} == {(0, 1, 3), (0, 2, 3)}
    assert abs(timeline.cycles[0].residual_seconds) == pytest.approx(32, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_wrong_pairs_and_a_stranger_change_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform(0, 40, 7)
    links = []
    for i, j in combinations(range(7), 2):
        wrong, other = (Proposal(float(random.uniform(-60, 60)), p) for p in (0.7, 0.05))
        true = Proposal(float(places[j] - places[i] + 0.03 * random.normal()), 0.85)
        if j == 6:
            links.append(Link(i, j, (other,)))
        else:
            links.append(Link(i, j, (wrong, other) if random.random() < 0.33 else (true, other)))
    timeline = solve_timeline([60] * 7, links)
    found = starts(timeline)
    assert sorted(found) == list(range(6))
    first = min(range(6), key=lambda i: places[i])
    assert all(found[i] == pytest.approx(places[i] - places[first], abs=0.1) for i in range(6))
    assert [(one.recording, one.probability) for one in timeline.unplaced] == [(6, 0.05)]


def test_two_events_get_two_clocks_the_larger_first() -> None:
    pairs = [(0, 2, 4.0), (0, 4, 6.0), (2, 4, 2.0), (1, 3, -3.0)]
    timeline = solve_timeline([20] * 6, [Link(i, j, (Proposal(d, 0.9),)) for i, j, d in pairs])
    assert starts(timeline) == pytest.approx({0: 0, 2: 4, 4: 6}, abs=1e-6)
    assert starts(timeline, 1) == pytest.approx({3: 0, 1: 3}, abs=1e-6)
    assert [(one.recording, one.nearest) for one in timeline.unplaced] == [(5, None)]


def test_the_confidence_of_a_lone_pair_is_about_its_own_and_agreement_raises_it() -> None:
    alone = solve_timeline([20] * 2, [Link(0, 1, (Proposal(3.0, 0.8),))])
    together = solve_timeline([20] * 4, measured([0, 3, 5, 6], noise=0.01, seed=3, probability=0.8))
    assert [placed.confidence for placed in alone.groups[0]] == pytest.approx([0.8, 0.8], abs=0.05)
    assert min(placed.confidence for placed in together.groups[0]) > 0.99
    assert not solve_timeline([20] * 2, [Link(0, 1, (Proposal(3.0, 0.3),))]).groups


def test_a_recording_its_pairs_disagree_about_is_less_sure_than_one_they_agree_on() -> None:
    links = measured([0, 3, 5], noise=0.0, seed=0, probability=0.9)
    links += [Link(0, 3, (Proposal(2.0, 0.9),)), Link(1, 3, (Proposal(7.0, 0.9),))]
    links.append(Link(2, 3, (Proposal(-8.0, 0.3),)))
    timeline = solve_timeline([20] * 4, links)
    confidence = {placed.recording: placed.confidence for placed in timeline.groups[0]}
    assert confidence.get(3, 0.0) < 0.8 < min(confidence[i] for i in (0, 1, 2))


def test_a_pair_that_cannot_meet_says_nothing_against_the_others() -> None:
    # 0 and 2 share no second: that they show nothing in common is what one expects.
    links = [Link(0, 1, (Proposal(8.0, 0.9),)), Link(1, 2, (Proposal(8.0, 0.9),)), Link(0, 2, ())]
    timeline = solve_timeline([10, 10, 10], links)
    assert starts(timeline) == pytest.approx({0: 0, 1: 8, 2: 16}, abs=1e-6)
    assert min(placed.confidence for placed in timeline.groups[0]) > 0.8


def test_no_links_leave_everything_unplaced() -> None:
    timeline = solve_timeline([5, 5], [])
    assert timeline.groups == ()
    assert [one.recording for one in timeline.unplaced] == [0, 1]


@pytest.mark.parametrize(
    ("durations", "links", "message"),
    [
        ([5, 0], [], "positive"),
        ([5, 5], [Link(0, 2, ())], "joins two"),
        ([5, 5], [Link(1, 1, ())], "joins two"),
        ([5, 5], [Link(0, 1, ()), Link(1, 0, ())], "given twice"),
    ],
)
def test_what_is_no_graph_is_refused(durations: list[float], links: list[Link], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        solve_timeline(durations, links)


def test_a_proposal_is_a_number_with_a_probability() -> None:
    for bad in ((float("nan"), 0.5, 0.1), (0.0, 1.5, 0.1), (0.0, 0.5, 0.0)):
        with pytest.raises(InvalidArgument, match="a proposal has"):
            Proposal(*bad)
