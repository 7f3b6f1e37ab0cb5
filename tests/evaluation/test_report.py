from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from reelspace.errors import InvalidArgument, MissingExtra
from reelspace.evaluation.report import Curve, Provenance, Report, file_digest

CURVE = Curve("precision and recall", "tmk", [0.0, 0.5, 1.0], np.array([1.0, 0.8, 0.5]), "recall", "precision")


def made(**changes: object) -> Report:
    provenance = Provenance(
        "tmk",
        {"harmonics": 16, "periods": (9767, 253)},
        {"features": "ab" * 32},
        {"split": 3},
        {"numpy": "2"},
        "now",
    )
    fields: dict[str, object] = {
        "title": "EVVE",
        "columns": ("event", "mAP", "published", "queries"),
        "rows": (("a|b", 0.41182, None, 3), ("all", float("inf"), 53.43, 9)),
        "provenance": (provenance,),
        "curves": (CURVE,),
        "notes": ("One video is missing.",),
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]


def test_json_holds_everything_and_no_number_json_does_not_know() -> None:
    document = json.loads(made().to_json())
    assert document["rows"] == [["a|b", 0.41182, None, 3], ["all", None, 53.43, 9]]
    assert document["columns"] == ["event", "mAP", "published", "queries"]
    assert document["provenance"][0]["parameters"] == {"harmonics": 16, "periods": [9767, 253]}
    assert document["provenance"][0]["seeds"] == {"split": 3}
    assert document["curves"][0]["y"] == [1.0, 0.8, 0.5]
    assert document["notes"] == ["One video is missing."]


def test_markdown_escapes_bars_and_leaves_unknown_cells_empty() -> None:
    page = made().to_markdown()
    assert page.startswith("# EVVE\n\n| event | mAP | published | queries |\n| --- | ---: | ---: | ---: |\n")
    assert r"| a\|b | 0.4118 |  | 3 |" in page
    assert "- One video is missing.\n" in page
    assert "- inputs: features " + "ab" * 32 in page
    assert "- versions: numpy 2" in page


def test_a_report_says_by_itself_which_versions_and_when() -> None:
    entry = Provenance("cte")
    assert set(entry.versions) == {"reelspace", "numpy", "python"}
    assert entry.versions["numpy"] == np.__version__
    assert entry.date.endswith("+00:00")


def test_written_are_two_texts_and_a_picture_per_chart(tmp_path: Path) -> None:
    other = Curve("errors", "tmk", [0.1, 1.0], [3.0, 4.0], "seconds", "videos", x_logarithmic=True)
    files = made(curves=(CURVE, other)).write(tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["report.json", "report.md", "precision-and-recall.png", "errors.png"]
    assert all(file.stat().st_size for file in files)
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_texts_are_still_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"reelspace\[plots\]"):
        made().write(tmp_path)
    assert (tmp_path / "report.json").exists()
    assert made(curves=()).write(tmp_path) == [tmp_path / "report.json", tmp_path / "report.md"]


def test_rows_have_as_many_cells_as_columns() -> None:
    with pytest.raises(InvalidArgument, match=r"rows have 4 cells, got 2: \['x', 1\]"):
        made(rows=(("x", 1),))


def test_curves_are_finite_and_even() -> None:
    with pytest.raises(InvalidArgument, match="2 x need as many y, got 1"):
        Curve("c", "n", [1, 2], [1], "x", "y")
    with pytest.raises(InvalidArgument, match="finite"):
        Curve("c", "n", [1], [float("nan")], "x", "y")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match=r"cannot write the report to .*file"):
        made().write(tmp_path / "file" / "below")


def test_the_digest_of_files_is_that_of_their_content_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"y")
    expected = hashlib.sha256(b"x" * 3_000_000 + b"y").hexdigest()
    assert file_digest(tmp_path / "a", tmp_path / "b") == expected
