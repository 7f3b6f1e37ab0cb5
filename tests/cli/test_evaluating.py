"""`reelspace evaluate` through its own words: the golden numbers of videoalignment come out of the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve
from typer.testing import CliRunner

from reelspace.cli.evaluating_words import evaluating
from reelspace.errors import InvalidArgument, UnknownName

METHODS = {"tmk-poullot": "TMK_Poullot", "tmk": "TMK", "cte": "CTE"}
NAMES = {"climbing": "Climbing", "madonna": "Madonna", "vcdb": "VCDB", "evve": "EVVE"}
FOLDERS = {"climbing": "climbing", "madonna": "madonna", "vcdb": "VCDB", "evve": "EVVE"}

Evaluate = Callable[..., Any]


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    """What main.py of videoalignment printed for golden/evalsets; facts/tmk.md, section 4."""
    return json.loads((shared / "golden" / "eval_results.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture
def evaluate(shared: Path) -> Evaluate:
    def command(dataset: str, *words: object) -> Any:
        root = shared / "golden" / "evalsets" / FOLDERS[dataset]
        done = CliRunner().invoke(
            evaluating, [dataset, "--root", str(root), *map(str, words), "--json"], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return command


def percents(document: Any, column: int) -> dict[str, float]:
    return {row[0]: row[column] for row in document["rows"]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", ["climbing", "madonna"])
def test_recordings_are_placed_as_by_the_original(
    evaluate: Evaluate, golden: dict[str, Any], dataset: str, method: str
) -> None:
    expected = golden[METHODS[method]][NAMES[dataset]]
    longest = golden["max_length"][NAMES[dataset]]
    found = evaluate(dataset, "--method", method, "--as-published", "--longest-offset", longest)
    for limit, percent in expected["pct"].items():
        assert percents(found, 2)[f"< {limit} s"] == pytest.approx(percent, abs=1e-4)
    (errors,) = found["details"].values()
    for video, error in zip(expected["videos"], expected["errors"], strict=True):
        assert errors[video] == (None if error is None else pytest.approx(error, abs=1e-5))
    if dataset == "madonna":
        assert percents(found, 2)["mAP"] == pytest.approx(100 * expected["map_localization"], abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_segments_are_found_as_by_the_original(evaluate: Evaluate, golden: dict[str, Any], method: str) -> None:
    expected = golden[METHODS[method]]["VCDB"]
    found = evaluate("vcdb", "--method", method, "--as-published")
    assert percents(found, 3)["F1"] == pytest.approx(100 * expected["max_f1"], abs=1e-4)
    assert percents(found, 3)["area under the curve"] == pytest.approx(100 * expected["auc"], abs=1e-4)
    scores, labels = zip(*expected["probas_labels_sorted"], strict=True)
    precision, recall, _ = precision_recall_curve(labels, scores)
    (curve,) = found["curves"]
    np.testing.assert_allclose(curve["y"][::-1], precision, atol=1e-5)
    np.testing.assert_allclose(curve["x"][::-1], recall, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_events_are_retrieved_as_by_the_original(evaluate: Evaluate, golden: dict[str, Any], method: str) -> None:
    checked = 0
    for key, expected in golden[METHODS[method]]["EVVE"].items():
        name = key.removeprefix("map_qe_").partition("_")[0]
        words = [] if name == "none" else ["--query-expansion", name, "--n1", 3, "--n2", 20 if name == "don" else 0]
        found = evaluate("evve", "--method", method, "--as-published", "--longest-offset", 160, *words)
        values = percents(found, 3)
        assert values["all queries"] == pytest.approx(100 * expected["overall"], abs=1e-4)
        for event, precision in expected["per_event"].items():
            assert values[event] == pytest.approx(100 * precision, abs=1e-4)
        checked += 1
    assert checked == (1 if method == "cte" else 3)


def test_what_the_original_does_wrong_is_right_by_default(evaluate: Evaluate) -> None:
    assert percents(evaluate("madonna", "--method", "cte"), 2) == {
        "< 0.1 s": 87.5,
        "< 1 s": 87.5,
        "< 10 s": 87.5,
        "mAP": 100,
    }  # as published 0, 0, 75 and 87.5: of eight recordings one shares nothing with the others
    assert percents(evaluate("vcdb", "--method", "cte"), 3)["F1"] > 93  # as published 41
    assert percents(evaluate("evve", "--method", "cte"), 3)["all queries"] > 47  # as published 25
    madonna = evaluate("madonna", "--method", "tmk")
    assert percents(madonna, 2)["mAP"] == pytest.approx(90.476190, abs=1e-4)  # 7 queries instead of 8
    assert "Put right here" in madonna["notes"][-1]


def test_the_whole_table_stands_beside_the_published_one(evaluate: Evaluate) -> None:
    found = evaluate("evve", "--method", "all")
    columns = found["columns"]
    assert columns[:3] == ["", "queries", "positives"]
    row = dict(zip(columns, found["rows"][3], strict=True))
    assert row[""] == "all queries"
    assert row["tmk-poullot freq, published %"] == 51.53
    assert row["tmk feat_freq, published %"] == 53.43
    assert row["tmk feat_freq + aqe, published %"] == 58.36
    assert row["cte, published %"] is None
    assert row["tmk feat_freq + don, published %"] is None
    assert len([column for column in columns if column.endswith(" %") and "published" not in column]) == 7
    assert [entry["method"] for entry in found["provenance"]][-1] == "tmk feat_freq + don"
    assert len({entry["inputs"]["features"] for entry in found["provenance"]}) == 1


def test_other_parameters_have_no_published_number(evaluate: Evaluate) -> None:
    words = ("--harmonics", 8, "--period", 1039, "--period", 253, "--norm", "freq")
    found = evaluate("climbing", *words)
    assert found["columns"][2:] == ["tmk freq m=8 %", "tmk freq m=8, published %"]
    assert all(row[3] is None for row in found["rows"])
    assert found["provenance"][0]["parameters"]["periods"] == [1039, 253]
    assert found["rows"][2][2] == pytest.approx(85.714286, abs=1e-5)


def test_a_report_is_written_and_the_table_shown(shared: Path, tmp_path: Path) -> None:
    root = shared / "golden" / "evalsets" / "VCDB"
    done = CliRunner().invoke(
        evaluating, ["vcdb", "--root", str(root), "-m", "tmk", "-m", "sum", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "F1 of topicx" in done.stdout
    assert "67.3" in done.stdout
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "precision-and-recall.png",
        "report.json",
        "report.md",
    ]
    assert "| F1 | 12 | 14 | 84.62 | 67.3 |" in (tmp_path / "out" / "report.md").read_text()


def test_missing_and_broken_features_are_counted(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "climbing"
    shutil.copytree(shared / "golden" / "evalsets" / "climbing", root)
    features = root / "rmac_resnet34_29"
    for place in (features, *features.rglob("*")):
        place.chmod(0o755)
    (features / "camD" / "v7.pkl").unlink()
    (features / "camB" / "v4.pkl").write_bytes(b"no pickle")
    done = CliRunner().invoke(evaluating, ["climbing", "--root", str(root), "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert set(found["missing"]) == {"camD/v7", "camB/v4"}
    assert found["notes"][0].startswith("5 of 7 videos could be read.")
    assert found["rows"][0][1] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "tkm"], "did you mean 'tmk'"),
        (["-m", "lamv"], "train kernel"),
        (["-m", "cte", "--norm", "freq"], "no normalisation"),
        (["-m", "all", "--harmonics", "8"], "own parameters"),
        (["--kernel", "k.json"], "--method lamv"),
        (["--longest-offset", "9"], "as_published"),
        (["--features", "nowhere"], "no features could be read"),
    ],
)
def test_wrong_words_are_refused_with_what_to_do(shared: Path, words: list[str], said: str) -> None:
    root = shared / "golden" / "evalsets" / "climbing"
    with pytest.raises((InvalidArgument, UnknownName), match=said):
        CliRunner().invoke(evaluating, ["climbing", "--root", str(root), *words], catch_exceptions=False)
