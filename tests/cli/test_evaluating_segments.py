"""`reelspace evaluate vsc2022` and `vcsl` through their own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from reelspace.cli.evaluating_segments_words import evaluating_segments
from reelspace.errors import InvalidArgument
from reelspace.media.synthetic import render_clips, render_copies

HEADER = "query_id,ref_id,query_start,query_end,ref_start,ref_end"

evaluate = typer.Typer()
evaluate.add_typer(evaluating_segments)  # as the command does


def said(*words: object) -> Any:
    done = CliRunner().invoke(evaluate, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def table(report: Any) -> dict[str, float]:
    return dict(report["rows"])


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(f"{HEADER}\nQ000001,R000002,4,14,10,18\nQ000003,R000004,0,5,0,5\n", "utf-8")
    return path


def test_predictions_are_judged_and_what_is_missing_counted(truth: Path, tmp_path: Path) -> None:
    (tmp_path / "found.csv").write_text(f"score,{HEADER}\n0.5,1,2,4,14,10,18\n0.9,1,9,0,1,0,1\n", "utf-8")
    document = said(
        "vsc2022", "--truth", truth, "--predictions", tmp_path / "found.csv", "--output", tmp_path / "out"
    )
    rows = table(document["reports"]["matches"])
    assert rows["µAP of the pairs alone"] == pytest.approx(0.25)
    assert 0 < rows["matching µAP"] < 1
    assert (rows["true pairs"], rows["true pairs without a prediction"]) == (2, 1)
    assert rows["predicted pairs that are not true"] == 1
    assert {Path(file).name for file in document["written"]} == {
        "report.json",
        "report.md",
        "precision-and-recall.png",
    }
    assert set(document["reports"]["matches"]["provenance"][0]["inputs"]) == {"truth.csv", "found.csv"}


def write_descriptors(path: Path, prefix: str, vectors: dict[int, np.ndarray]) -> Path:
    np.savez(
        path,
        video_ids=np.concatenate([np.full(len(v), f"{prefix}{n:06d}") for n, v in vectors.items()]),
        features=np.concatenate(list(vectors.values())),
        timestamps=np.concatenate([np.arange(len(v), dtype=float) for v in vectors.values()]),
    )
    return path


def test_descriptors_are_judged_by_themselves_and_matched_here(truth: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    q1, q3, r2, r4, r5 = (random.normal(size=(n, 64)).astype(np.float32) for n in (20, 20, 30, 30, 30))
    r2[10:18], r4[0:12] = q1[4:12], q3[0:12]
    queries = write_descriptors(tmp_path / "q.npz", "Q", {1: q1, 3: q3})
    references = write_descriptors(tmp_path / "r.npz", "R", {2: r2, 4: r4, 5: r5})
    noise = write_descriptors(tmp_path / "n.npz", "R", {9: random.normal(size=(50, 64)).astype(np.float32)})
    document = said(
        "vsc2022",
        *("--truth", truth),
        *("--descriptors", queries, references),
        *("--noise", noise),
        *("--queries", queries),
        *("--references", references),
        *("--output", tmp_path / "out"),
    )
    assert table(document["reports"]["descriptors"])["descriptor µAP"] == 1.0
    assert table(document["reports"]["matches"])["µAP of the pairs alone"] == 1.0
    again = said("vsc2022", "--truth", truth, "--predictions", tmp_path / "out" / "matching_results.csv")
    assert table(again["reports"]["matches"]) == table(document["reports"]["matches"])


def test_footage_is_indexed_and_matched(tmp_path: Path) -> None:
    """A folder of queries against a folder of references; both are named by number."""
    originals = tmp_path / "references"
    originals.mkdir()
    clips = render_clips(originals, count=2, seconds=6, scale=0.5)
    copies = tmp_path / "queries"
    copies.mkdir()
    planted = render_copies(clips, copies, edits=["mirrored"])
    lines = [HEADER]
    for number, clip in enumerate(clips):
        clip.rename(originals / f"R{number:06d}.mp4")
    for number, copy in enumerate(planted):
        copy.query.rename(copies / f"Q{number:06d}.mp4")
        ends = [f"{end}" for span in (copy.query_span, copy.reference_span) for end in (span.start, span.end)]
        lines.append(",".join([str(number), str(clips.index(copy.reference)), *ends]))
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n", "utf-8")
    document = said("vsc2022", "--truth", tmp_path / "truth.csv", "--queries", copies, "--references", originals)
    assert table(document["reports"]["matches"])["matching µAP"] > 0.9


def test_vcsl_predictions_are_judged_on_the_pairs_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"a-b": [[0, 0, 10, 10]], "a-z": [[0, 0, 1, 1]]}', "utf-8")
    (tmp_path / "found.json").write_text('{"a-b": [[0, 0, 10, 5]], "a-c": []}', "utf-8")
    (tmp_path / "pairs.csv").write_text("query_id,reference_id\na,b\na,c\na,d\n", "utf-8")
    (tmp_path / "sets.json").write_text('{"test": {"one": ["a-b", "a-z"]}}', "utf-8")
    words = ("vcsl", "--truth", tmp_path / "labels.json", "--predictions", tmp_path / "found.json")
    rows = table(
        said(*words, "--pairs", tmp_path / "pairs.csv", "--query-sets", tmp_path / "sets.json")["reports"][
            "segments"
        ]
    )
    assert rows["segments, all pairs: recall"] == 0.5
    assert rows["segments, all pairs: precision"] == 1.0
    assert rows["pairs without a prediction entry"] == 1
    assert rows["pairs of query sets not judged"] == 1
    ours, published = (table(said(*words, *more)["reports"]["segments"]) for more in ([], ["--as-published"]))
    assert (ours["videos missed (FRR)"], published["videos missed (FRR)"]) == (
        0.5,
        pytest.approx(1 / 1.5, abs=1e-6),
    )


def test_vcsl_features_are_compared_and_written_as_predictions(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(30, 64)), random.normal(size=(40, 64))
    b[5:25] = a[5:25]
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features" / "a.npy", a)
    np.save(tmp_path / "features" / "b.npy", b)
    (tmp_path / "labels.json").write_text('{"a-b": [[5, 5, 25, 25]], "a-gone": [[0, 0, 1, 1]]}', "utf-8")
    words = ("vcsl", "--truth", tmp_path / "labels.json")
    document = said(*words, "--features", tmp_path / "features", "--output", tmp_path / "out")
    rows = table(document["reports"]["segments"])
    assert rows["segments, all pairs: precision"] > 0.8
    assert rows["pairs without a prediction entry"] == 1
    again = said(*words, "--predictions", tmp_path / "out" / "predictions.json")
    assert table(again["reports"]["segments"]) == rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vsc2022", "--truth", "TRUTH"], "give predictions"),
        (["vsc2022", "--truth", "TRUTH", "--queries", "TRUTH"], "give predictions"),
        (["vsc2022", "--truth", "TRUTH", "--predictions", "TRUTH", "--noise", "TRUTH"], "normalises descriptors"),
        (["vsc2022", "--truth", "TRUTH", "--queries", "FEATURES", "--references", "TRUTH"], "of two kinds"),
        (["vsc2022", "--truth", "TRUTH", "--queries", "EMPTY", "--references", "EMPTY"], "no video in"),
        (["vcsl", "--truth", "TRUTH", "--videos", "EMPTY", "--method", "houg"], "did you mean 'hough'"),
        (["vcsl", "--truth", "TRUTH"], "give either predictions"),
        (["vcsl", "--truth", "TRUTH", "--predictions", "TRUTH", "--features", "TRUTH"], "give either predictions"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: list[str], message: str, truth: Path, tmp_path: Path
) -> None:
    places = {"TRUTH": truth, "EMPTY": tmp_path / "empty", "FEATURES": tmp_path / "queries.npz"}
    places["EMPTY"].mkdir()
    places["FEATURES"].touch()
    with pytest.raises(InvalidArgument, match=message):
        CliRunner().invoke(evaluate, [str(places.get(word, word)) for word in words], catch_exceptions=False)


def test_a_file_that_is_not_there_is_wrong_words() -> None:
    done = CliRunner().invoke(evaluate, ["vcsl", "--truth", "/nowhere/labels.json"])
    assert done.exit_code == 2
    assert "does not exist" in done.output
