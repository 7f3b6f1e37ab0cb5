"""Every command as a user runs it: what it prints, what it writes, how it exits."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from reelspace.alignment.tmk import read_tmk
from reelspace.core.space import Space
from reelspace.media import open_video, probe


def test_index_again_reads_nothing_and_says_so(footage, run):
    said = run("index", footage.folder, "--library", footage.library, "--json")
    assert said.status == 0
    assert (said.json["indexed"], said.json["skipped"]) == (0, 5)
    assert [Path(f["source"]).name for f in said.json["known_failures"]] == ["broken.mp4"]


def test_strict_makes_a_failed_file_exit_1(footage, run):
    assert run("index", footage.folder, "--library", footage.library, "--strict").status == 1


def test_status_counts_and_names_the_failure_with_its_reason(footage, run):
    said = run("status", "--library", footage.library, "--json").json
    assert (said["indexed"], said["videos"], sum(said["failed"].values())) == (5, 5, 1)
    assert said["failures"][0]["reason"] == "cannot open: not a media file, or its header is damaged"
    assert (said["threshold"], said["calibrated"]) == (0.6, None)
    people = run("status", "--library", footage.library, "--files").out
    assert "copies are reported from a score of 0.6 on, not calibrated" in people
    assert "clip-1-trimmed.mp4" in people
    assert "broken.mp4" in people


def test_copies_finds_what_was_planted_where_it_was_planted(footage, run):
    groups = run("copies", "--library", footage.library, "--json").json["groups"]
    found = {
        frozenset((Path(m["query"]).name, Path(m["reference"]).name)): m
        for group in groups
        for m in group["matches"]
    }
    assert found.keys() == {frozenset((c.query.name, c.reference.name)) for c in footage.planted}
    for copy in footage.planted:
        match = found[frozenset((copy.query.name, copy.reference.name))]
        (segment,) = match["segments"]
        flipped = Path(match["query"]).name != copy.query.name
        query, reference = ("reference", "query") if flipped else ("query", "reference")
        assert abs(segment[query]["start"] - copy.query_span.start) < 0.25
        assert abs(segment[query]["end"] - copy.query_span.end) < 0.25
        assert abs(segment[reference]["start"] - copy.reference_span.start) < 0.25
        assert segment["speed"] == pytest.approx(1.0, abs=0.03)
        assert segment["mirrored"] == (copy.edit == "mirrored")


def test_copies_draws_a_picture_of_each_pair(footage, run, tmp_path):
    said = run("copies", "--library", footage.library, "--plots", tmp_path / "pictures", "--json")
    pictures = [Path(p) for p in said.json["pictures"]]
    assert len(pictures) == 2
    assert all(p.read_bytes().startswith(b"\x89PNG") and p.stat().st_size > 10_000 for p in pictures)


def test_copies_by_whole_video_hashes_misses_the_mirrored_one(footage, run):
    words = ("copies", "--library", footage.library, "--method", "tmk", "--threshold", 0.4, "--json")
    pairs = run(*words).json["pairs"]
    assert [{Path(p["query"]).name, Path(p["reference"]).name} for p in pairs] == [
        {"clip-1.mp4", "clip-1-trimmed.mp4"}
    ]


def test_match_finds_a_file_that_is_not_in_the_library(footage, run, tmp_path):
    outside = shutil.copy(footage.folder / "clip-2.mp4", tmp_path / "somewhere else.mp4")
    said = run("match", outside, "--library", footage.library, "--json").json
    names = [Path(m["reference"]).name for m in said["matches"]]
    assert set(names) == {"clip-2.mp4", "clip-2-mirrored.mp4"}
    assert names[0] == "clip-2.mp4"  # the very same bytes come first
    assert said["matches"][0]["score"] == 1.0


def test_match_leaves_the_query_itself_out(footage, run):
    said = run("match", footage.folder / "clip-3.mp4", "--library", footage.library)
    assert said.status == 0
    assert said.out.startswith("Nothing in")


def test_copies_against_another_library(footage, run, tmp_path):
    other = tmp_path / "other"
    run("index", footage.folder / "clip-2-mirrored.mp4", "--library", other)
    groups = run("copies", "--library", other, "--against", footage.library, "--json").json["groups"]
    names = {frozenset(Path(f).name for f in group["files"]) for group in groups}
    assert names == {frozenset({"clip-2-mirrored.mp4", "clip-2.mp4"})}


def test_align_gives_the_offset_the_overlap_a_plot_and_a_film(footage, run, tmp_path):
    (copy,) = [c for c in footage.planted if c.edit == "trimmed"]
    plot, film = tmp_path / "new folder" / "a.png", tmp_path / "new folder" / "a.mp4"
    said = run("align", copy.reference, copy.query, "--plot", plot, "--render", film, "--json").json
    assert said["offset_seconds"] == pytest.approx(copy.reference_span.start, abs=0.1)
    assert (said["method"], said["confidence"] > 0.9) == ("correlation", True)
    assert said["overlap_b"]["start"] == pytest.approx(0.0, abs=0.1)
    assert plot.stat().st_size > 20_000
    assert probe(film).width > probe(film).height


@pytest.mark.parametrize("method", ["correlation", "tmk", "cte", "segments"])
def test_align_by_each_method(footage, run, method):
    (copy,) = [c for c in footage.planted if c.edit == "trimmed"]
    said = run("align", copy.reference, copy.query, "--method", method, "--json").json
    assert said["offset_seconds"] == pytest.approx(copy.reference_span.start, abs=0.12)
    swapped = run("align", copy.query, copy.reference, "--method", method, "--json").json
    assert swapped["offset_seconds"] == pytest.approx(-copy.reference_span.start, abs=0.12)


def test_align_says_how_sure_it_is(footage, run):
    (copy,) = [c for c in footage.planted if c.edit == "trimmed"]
    assert re.search(r"confidence (1\.0|0\.9)", run("align", copy.reference, copy.query).out)
    strangers = run("align", footage.folder / "clip-1.mp4", footage.folder / "clip-2.mp4")
    assert strangers.status == 0
    assert "take the offset as a guess" in strangers.out


def test_tmk_hash_and_compare_agree_with_one_another(footage, run, tmp_path):
    said = run("tmk", "hash", footage.folder / "clip-1.mp4", "-o", tmp_path / "a.tmk", "--json")
    assert said.json["hashes"][0]["frames"] == read_tmk(tmp_path / "a.tmk").frame_count
    same = run("tmk", "compare", tmp_path / "a.tmk", footage.folder / "clip-1.mp4", "--json").json
    assert same["level1"] == pytest.approx(1, abs=1e-5)
    assert same["level2"] == pytest.approx(1, abs=1e-5)
    other = run("tmk", "compare", tmp_path / "a.tmk", footage.folder / "clip-2.mp4", "--json").json
    assert max(other["level1"], other["level2"]) < 0.7


def test_hashing_a_folder_writes_a_file_each_and_one_broken_video_does_not_stop_it(footage, run, tmp_path):
    said = run("tmk", "hash", footage.folder, "-o", tmp_path / "hashes", "--json")
    assert said.status == 1
    assert [Path(f["video"]).name for f in said.json["failures"]] == ["broken.mp4"]
    assert {p.name for p in (tmp_path / "hashes").iterdir()} == {
        *(f"clip-{n}.tmk" for n in (1, 2, 3)),
        "clip-1-trimmed.tmk",
        "clip-2-mirrored.tmk",
    }
    assert run("tmk", "hash", footage.folder, "-o", tmp_path / "one.tmk").status == 2


def test_export_writes_vectors_with_their_space(footage, run, tmp_path):
    rows = run("export", "--library", footage.library, "-o", tmp_path / "f.npz", "--json").json["rows"]
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["vector"].shape == (rows, 256)
        assert len(arrays["video_index"]) == rows
        assert Space.from_json(str(arrays["space"])).name == "reelprint"
        assert np.allclose(np.linalg.norm(arrays["vector"].astype(np.float32), axis=1), 1, atol=2e-3)
    for what, count in (("frames", rows), ("signatures", 5), ("videos", 5)):
        run("export", "--library", footage.library, "-o", tmp_path / "x.parquet", "--what", what)
        table = pq.read_table(tmp_path / "x.parquet")
        assert table.num_rows == count
        assert "broken.mp4" not in " ".join(table["source"].to_pylist())


def test_forgetting_a_file_takes_it_out_of_the_answers(footage, run, tmp_path):
    library = tmp_path / "lib"
    shutil.copytree(footage.library, library)
    assert run("forget", footage.folder / "clip-2-mirrored.mp4", "-l", library, "--json").json["forgotten"] == 1
    groups = run("copies", "-l", library, "--json").json["groups"]
    assert [len(group["matches"]) for group in groups] == [1]


def test_the_library_of_the_environment_is_the_default(footage, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "reelspace", "status", "--json"],
        env={**os.environ, "REELSPACE_LIBRARY": str(footage.library)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert str(footage.library).encode() in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["copis"], 2, "Did you mean 'copies'"),
        (["index"], 2, "Missing argument"),
        (["index", "/no/such/folder"], 2, "/no/such/folder"),
        (["forget"], 2, "--missing"),
        (["align", "a.mp4", "b.mp4"], 2, "a.mp4"),
        (["copies", "--library", "/no/such/library"], 1, "reelspace index FOLDER --library"),
        (["copies", "--threshold", "7"], 2, "less than or equal to 1"),
        (["tmk", "compare", "/no/such.tmk", "/no/such.tmk"], 1, "/no/such.tmk"),
    ],
)
def test_wrong_words_and_failed_work_say_what_to_do(run, words, status, says):
    said = run(*words)
    assert said.status == status
    assert says in said.err
    assert "Traceback" not in said.err


def test_a_wrong_method_suggests_the_nearest(footage, run):
    files = footage.folder / "clip-1.mp4", footage.folder / "clip-2.mp4"
    said = run("align", *files, "--method", "tmk-poulot")
    assert (said.status, "did you mean 'tmk-poullot'" in said.err) == (2, True)


def test_errors_with_json_are_one_document_too(run):
    said = run("status", "--library", "/no/such/library", "--json")
    assert said.status == 1
    assert said.json["error"]["kind"] == "NotALibrary"


def test_an_empty_folder_is_no_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    said = run("index", tmp_path / "empty", "--library", tmp_path / "lib")
    assert said.status == 0
    assert "No video files there" in said.out
    assert run("copies", "--library", tmp_path / "lib").out.strip() == "No copies at a score of 0.6 or more."


def test_interrupting_keeps_what_is_done_and_says_how_to_go_on(footage, run, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    source = (footage.folder / "clip-1.mp4").read_bytes()
    for number in range(60):  # bytes after the last box are no part of a film, but make another content
        (folder / f"{number:02d}.mp4").write_bytes(source + b"\0\0\0\x10free" + number.to_bytes(8, "big"))
    words = [sys.executable, "-m", "reelspace", "index", str(folder), "--library", str(tmp_path / "lib")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "lib" / "videos.lance").exists():
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on with:  reelspace index" in complaints
    assert "Traceback" not in complaints
    done = run("status", "--library", tmp_path / "lib", "--json").json["indexed"]
    assert 0 < done < 60
    again = run("index", folder, "--library", tmp_path / "lib", "--json").json
    assert (again["indexed"], again["skipped"]) == (60 - done, done)


def test_fast_and_exact_are_not_mixed(footage, run, tmp_path):
    library = tmp_path / "fast"
    assert run("index", footage.folder / "clip-1.mp4", "--fast", "--library", library).status == 0
    said = run("copies", "--library", library, "--against", footage.library)
    assert said.status == 1
    assert said.err.count("reelprint@") == 2
    assert run("index", footage.folder / "clip-2.mp4", "--library", library).status == 0  # goes on as it was made
    assert run("copies", "--library", library).status == 0


def test_the_side_by_side_film_is_in_sync(footage, run, tmp_path):
    (copy,) = [c for c in footage.planted if c.edit == "trimmed"]
    run("align", copy.reference, copy.query, "--render", tmp_path / "f.mp4")
    middle = copy.reference_span.middle
    with open_video(tmp_path / "f.mp4") as reader:
        (frame,) = reader.frames_at([middle])
    left, right = np.array_split(frame.pixels[:360].astype(float).mean(axis=2), 2, axis=1)
    width = min(left.shape[1], right.shape[1]) - 8
    assert np.corrcoef(left[:, :width].ravel(), right[:, -width:].ravel())[0, 1] > 0.8


def shell(line: str, **options) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -m reelspace"
    line = f"set -o pipefail; {line.replace('reelspace', command, 1)}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize("as_json", ["", "--json"])
def test_a_reader_that_leaves_early_is_no_failure(footage, as_json):
    done = shell(f"reelspace status --files -l {footage.library} {as_json} | head -1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("as_json", ["", "--json"])
def test_a_full_disk_behind_stdout_is_said_in_a_line(footage, as_json):
    done = shell(f"reelspace status -l {footage.library} {as_json} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "reelspace: No space left on device\n")


@pytest.mark.parametrize(
    "words",
    [
        ["tmk", "hash", "CLIP", "-o", "TAKEN"],
        ["tmk", "hash", "CLIP", "-o", "/proc/x.tmk"],
        ["export", "-l", "LIBRARY", "-o", "/proc/x.npz"],
        ["copies", "-l", "LIBRARY", "--plots", "TAKEN"],
        ["align", "CLIP", "CLIP", "--plot", "TAKEN/a.png"],
        ["index", "CLIP", "-l", "/proc/x"],
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(footage, run, tmp_path, words):
    taken = tmp_path / "taken"
    taken.write_text("a file where a folder is wanted")
    names = {"CLIP": str(footage.folder / "clip-1.mp4"), "LIBRARY": str(footage.library)}
    said = run(*(names.get(word, word.replace("TAKEN", str(taken))) for word in words), "--json")
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert said.json["error"]["message"] in said.err


@pytest.mark.parametrize("words", [["status", "--bogus"], ["copis"], ["match"], ["match", "a", "--limit", "0"]])
def test_wrong_words_with_json_are_one_document_too(run, words):
    said = run(*words, "--json")
    assert said.status == 2
    assert said.json["error"]["kind"] == "InvalidArgument"


def test_interrupting_with_json_is_one_document_too(footage, tmp_path):
    words = [sys.executable, "-m", "reelspace", "tmk", "hash", str(footage.folder), "-o", str(tmp_path / "h")]
    process = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "h").exists():
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "Interrupted")


def test_names_that_steer_terminals_are_spelled_out(footage, run, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(footage.folder / "clip-1.mp4", folder / "new\nline \x1b[31m[red] $a_$ 漢.mp4")
    (folder / "bad\r.mp4").write_bytes(b"no video")
    said = run("index", folder, "--library", tmp_path / "lib")
    assert r"bad\r.mp4" in said.err
    shown = run("status", "--library", tmp_path / "lib", "--files").out
    assert r"new\nline \x1b[31m[red] $a_$ 漢.mp4" in shown
    assert "\x1b" not in shown
    plots = tmp_path / "plots"
    assert run("match", footage.folder / "clip-1.mp4", "-l", tmp_path / "lib", "--plots", plots).status == 0
    assert [p.name for p in plots.iterdir()] == [r"001-clip-1--new\nline \x1b[31m[red] $a_$ 漢.png"]


def test_a_terminal_that_cannot_show_a_name_gets_it_spelled_out(footage, run, tmp_path):
    (tmp_path / "漢.mp4").write_bytes(b"no video")
    run("index", tmp_path, "--library", tmp_path / "lib")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = shell(f"reelspace status -l {tmp_path / 'lib'}", env=env)
    assert (done.returncode, r"\u6f22.mp4" in done.stdout) == (0, True)


def test_a_misspelt_path_makes_no_library(run, tmp_path):
    assert run("index", tmp_path / "typo", "--library", tmp_path / "lib").status == 2
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize(
    "words", [["--method", "tmc"], ["--plot", "a.foo"], ["--plot", "a"], ["--render", "a.foo"], ["--render", "a"]]
)
def test_what_align_cannot_do_is_said_before_anything_is_decoded(footage, run, words):
    broken = footage.folder / "broken.mp4"
    said = run("align", broken, broken, *words)
    assert said.status == 2
    assert "broken" not in said.err


def test_videos_of_one_name_get_a_hash_each(footage, run, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("x.mp4", "x.mov", f"{folder}.mp4"):
            shutil.copy(footage.folder / "clip-1.mp4", tmp_path / folder / name)
    assert run("tmk", "hash", tmp_path, "-o", tmp_path / "h").status == 0
    written = {str(p.relative_to(tmp_path / "h")) for p in (tmp_path / "h").rglob("*.tmk")}
    assert written == {"a.tmk", "b.tmk", *(f"{f}/x.{s}.tmk" for f in "ab" for s in ("mov", "mp4"))}


@pytest.mark.parametrize("words", [lambda folder: [folder], lambda _: ["--missing"]], ids=["named", "missing"])
def test_a_folder_that_is_gone_is_forgotten_whole(footage, run, tmp_path, words):
    library, folder = tmp_path / "lib", tmp_path / "gone"
    shutil.copytree(footage.library, library)
    (folder / "below").mkdir(parents=True)
    shutil.copy(footage.folder / "clip-1.mp4", folder / "a.mp4")
    shutil.copy(footage.folder / "clip-1.mp4", folder / "below" / os.fsdecode(b"\xff.mp4"))
    run("index", folder, "-l", library)
    shutil.rmtree(folder)
    assert run("forget", *words(folder), "-l", library, "--json").json["forgotten"] == 2
    assert run("status", "-l", library, "--json").json["indexed"] == 5
