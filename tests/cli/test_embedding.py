"""What `embed` and `search` refuse before anything is loaded or decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelspace.cli.app import main
from reelspace.library import Library


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_two_videos_of_one_name_are_noticed_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a/class/v.mp4", "b/class/v.webm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    # the weights are not on this machine, which would be said next
    said = refused(capsys, "embed", tmp_path, "-e", "hiera-base-16x224", "-o", tmp_path / "out")
    assert "would both be class/v.pt; write .npz or .parquet instead" in said


def test_a_file_is_no_folder_for_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "out").touch()
    (tmp_path / "film.mp4").touch()
    said = refused(capsys, "embed", tmp_path, "-e", "hiera-base-16x224", "-o", tmp_path / "out")
    assert "out is a file; name a folder for one .pt per video" in said


@pytest.mark.parametrize("words", [("--path", "*.mp4"), ("--against-text", "cat"), ("--longer", "3")])
def test_a_matrix_ignores_no_filter(tmp_path: Path, words: tuple[str, str], capsys: pytest.CaptureFixture[str]):
    Library(tmp_path / "library")
    matrix = ("search", "dog", "-l", tmp_path / "library", "--matrix", tmp_path / "m.csv")
    assert "give it no filter and no --against-text" in refused(capsys, *matrix, *words)
