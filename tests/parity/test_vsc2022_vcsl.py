"""Measures of segments against facebookresearch/vsc2022@644d521 and alipay/VCSL@25ee60f on made-up answers.

``make_vsc2022.py`` and ``make_vcsl.py`` made the numbers, and say with which command.
"""

from __future__ import annotations

import json
import runpy
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.evaluation import vsc2022
from reelspace.evaluation.metrics_segments import (
    average_over_pairs,
    average_over_query_sets,
    match_average_precision,
    micro_average_precision,
    segment_score,
)
from reelspace.evaluation.vsc2022 import (
    Descriptors,
    descriptor_pairs,
    descriptor_report,
    match_report,
    normalised,
    read_descriptors,
    read_matches,
)

HERE = Path(__file__).parent
MADE: dict[str, Any] = runpy.run_path(str(HERE / "make_vsc2022.py"))
MADE_VCSL: dict[str, Any] = runpy.run_path(str(HERE / "make_vcsl.py"))
VSC: dict[str, Any] = json.loads((HERE / "data" / "vsc2022.json").read_text("utf-8"))
VCSL: dict[str, Any] = json.loads((HERE / "data" / "vcsl.json").read_text("utf-8"))


def segments(rows: list[Any]) -> list[CopySegment]:
    return [
        CopySegment(Span(row.query_start, row.query_end), Span(row.ref_start, row.ref_end), 1.0, row.score)
        for row in rows
    ]


def by_pair(rows: list[Any]) -> dict[tuple[str, str], list[CopySegment]]:
    pairs = defaultdict(list)
    for row, segment in zip(rows, segments(rows), strict=True):
        pairs[row.query_id, row.ref_id].append(segment)
    return pairs


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, Descriptors]:
    for name in ("q", "r", "n"):
        ids, times, vectors = MADE["features"](name)
        np.savez(tmp_path / f"{name}.npz", video_ids=ids, features=vectors, timestamps=times)
    return {
        name: read_descriptors(tmp_path / f"{name}.npz", prefix=ids) for name, ids in zip("qrn", "QRR", strict=True)
    }


def listed(pairs: dict[tuple[str, str], float]) -> list[Any]:
    return sorted([*pair, pytest.approx(score, abs=1e-6)] for pair, score in pairs.items())


def vcsl_scores(*, as_published: bool) -> list[Any]:
    return [
        segment_score(segments(found), segments(true), as_published=as_published)
        for found, true in MADE_VCSL["pairs"]()
    ]


@pytest.mark.parametrize(("case", "expected"), [*zip(MADE["cases"](), VSC["matching"], strict=True)])
def test_the_matching_track_scores_as_its_evaluator_says(case: Any, expected: list[float]) -> None:
    found, true = by_pair(case.found), by_pair(case.true)
    assert match_average_precision(found, true) == pytest.approx(expected[0], abs=1e-9)


@pytest.mark.parametrize(("seed", "expected"), [*enumerate(VSC["ranked"])])
def test_the_descriptor_track_scores_as_its_evaluator_says(seed: int, expected: float) -> None:
    assert micro_average_precision(*MADE["answers"](seed)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("case", "expected"), [*zip(MADE["cases"](), VSC["matching"], strict=True)])
def test_pairs_alone_score_as_its_evaluator_says_where_scores_are_positive(
    case: Any, expected: list[float], tmp_path: Path
) -> None:
    if case.found and min(row.score for row in case.found) > 0:
        report = match_report(by_pair(case.found), by_pair(case.true))
        assert dict(report.rows)["µAP of the pairs alone"] == pytest.approx(expected[1], abs=1e-9)
    MADE["write_csv"](case.true, tmp_path / "rows.csv")
    assert read_matches(tmp_path / "rows.csv") == by_pair(case.true)


def test_descriptors_are_ranked_as_by_the_descriptor_track(sides: dict[str, Descriptors]) -> None:
    true = by_pair(MADE["cases"]()[0].true)
    pairs = descriptor_pairs(sides["q"], sides["r"])
    assert listed(pairs) == VSC["candidates"]
    assert dict(descriptor_report(pairs, true).rows)["descriptor µAP"] == pytest.approx(VSC["descriptor"], abs=1e-9)


@pytest.mark.parametrize(
    ("limit", "expected"), [("frame_pairs_per_query", "few_frames"), ("pairs_per_query", "few_pairs")]
)
def test_only_the_best_of_all_queries_together_are_ranked(
    limit: str, expected: str, sides: dict[str, Descriptors], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vsc2022, "_BLOCK_ROWS", 10)  # blocks cut videos
    pairs = descriptor_pairs(sides["q"], sides["r"], **{limit: MADE["FEW"][limit]})
    assert listed(pairs) == VSC[expected]
    assert len(pairs) < len(VSC["candidates"])


def test_normalised_descriptors_are_those_of_the_baseline(sides: dict[str, Descriptors]) -> None:
    queries, references = normalised(sides["q"], sides["r"], sides["n"], beta=MADE["BETA"])
    assert queries.vectors[:, -1] == pytest.approx(np.array(VSC["bias"]), abs=1e-6)
    pairs = descriptor_pairs(queries, references)
    assert listed(pairs) == VSC["normalised_candidates"]
    true = by_pair(MADE["cases"]()[0].true)
    assert dict(descriptor_report(pairs, true).rows)["descriptor µAP"] == pytest.approx(VSC["normalised"], abs=1e-9)


def test_seconds_on_a_grid_score_as_vcsl_published() -> None:
    on_grid = [0, 2, 4, 6, 8, 10, *range(12, 25)]
    ours, theirs = vcsl_scores(as_published=True), VCSL["pairs"]
    for number in on_grid:
        assert (ours[number].precision, ours[number].recall) == pytest.approx(theirs[number], abs=1e-9)


def test_off_the_grid_only_the_float32_of_vcsl_differs() -> None:
    for ours, theirs in zip(vcsl_scores(as_published=True), VCSL["pairs"], strict=True):
        assert (ours.precision, ours.recall) == pytest.approx(theirs, abs=3e-7)


def test_without_its_slack_vcsl_differs_by_a_millionth() -> None:
    for ours, theirs in zip(vcsl_scores(as_published=False), VCSL["pairs"], strict=True):
        assert (ours.precision, ours.recall) == pytest.approx(theirs, abs=1e-6)


def test_averages_of_pairs_are_those_of_vcsl() -> None:
    ours = average_over_pairs(vcsl_scores(as_published=True), as_published=True)
    for name, value in VCSL["micro"].items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-7)


def test_averages_of_query_sets_are_those_of_vcsl() -> None:
    scores = {("query", str(number)): score for number, score in enumerate(vcsl_scores(as_published=True))}
    sets = {name: [("query", str(number)) for number in members] for name, members in MADE_VCSL["SETS"].items()}
    ours = average_over_query_sets(scores, sets)
    for name, value in VCSL["macro"].items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-7)
