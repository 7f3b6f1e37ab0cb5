"""A benchmark from a folder: what is in it, that nothing stops it, and that it can be made again."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from reelspace.errors import CannotOpen, FormatError, InvalidArgument, UnknownName
from reelspace.evaluation import benchmark_make
from reelspace.evaluation.benchmark_make import Benchmark, half_of, make_benchmark, read_benchmark
from reelspace.media.sources import content_id
from reelspace.media.synthetic import render_clips

EDITS = ["inserted", "mirror", "spliced"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, and what people have beside them."""
    folder = tmp_path_factory.mktemp("videos")
    clips = render_clips(folder, count=6, seconds=3.5, scale=0.25)
    render_clips(folder / "short", count=1, seconds=1.0, scale=0.25)
    shutil.copy(clips[0], folder / "copy of clip 1.mp4")
    (folder / "no film.mp4").write_text("this is text")
    return folder


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return make_benchmark(videos, tmp_path_factory.mktemp("made"), seed=3, edits=EDITS, workers=2)


def sums(benchmark: Benchmark) -> dict[str, str]:
    return {
        query.file: hashlib.sha256((benchmark.folder / query.file).read_bytes()).hexdigest()
        for query in benchmark.queries
    }


def test_every_reference_is_edited_in_every_way_and_strangers_once_per_group(made: Benchmark):
    assert len(made.references) == 3
    assert len(made.strangers) == 3
    edited = [query.edit for query in made.queries if query.truths]
    assert sorted(edited) == sorted(EDITS * 3)
    assert sum(not query.truths for query in made.queries) == 3 * 2  # nobody splices strangers
    assert made.missing == 0


def test_what_cannot_be_used_is_named_with_the_reason_and_stops_nothing(made: Benchmark):
    reasons = {Path(source).name: reason for source, reason in made.refused}
    assert reasons.keys() >= {"no film.mp4", "copy of clip 1.mp4"} or reasons.keys() >= {
        "no film.mp4",
        "clip-1.mp4",
    }
    assert any(reason.startswith("the same bytes as") for reason in reasons.values())
    assert any(reason.startswith("too short") for reason in reasons.values())


def test_references_are_the_clean_videos(made: Benchmark):
    for reference in made.references:
        assert content_id(str(made.folder / reference.file)) == reference.content_id
        assert reference.half == half_of(reference.content_id)
    clean = {reference.content_id for reference in made.references}
    assert not clean & set(made.strangers.values())


def test_a_query_is_of_the_half_of_its_clip(made: Benchmark):
    assert all(query.half == half_of(query.clip) for query in made.queries)


def test_the_truth_is_a_row_for_each_stretch(made: Benchmark):
    with (made.folder / "truth.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3 + 3 + 3 * 3  # inserted, mirrored, three pieces spliced
    lengths = {query.name: query.seconds for query in made.queries}
    for row in rows:
        start, end = float(row["query_start_seconds"]), float(row["query_end_seconds"])
        assert 0 <= start < end <= lengths[row["query"]] + 1e-6
        seen = float(row["reference_end_seconds"]) - float(row["reference_start_seconds"])
        assert seen == pytest.approx((end - start) * float(row["speed"]), abs=1e-5)
    assert {row["mirrored"] for row in rows if "-mirror-" in row["query"]} == {"1"}


def test_what_was_written_is_read_again(made: Benchmark):
    again = read_benchmark(made.folder)
    assert again.references == made.references
    assert again.refused == made.refused
    for one, other in zip(again.queries, made.queries, strict=True):
        assert (one.name, one.file, one.edit, one.half) == (other.name, other.file, other.edit, other.half)
        assert [t.reference for t in one.truths] == [t.reference for t in other.truths]


def test_a_rerun_renders_what_is_missing_and_the_same_bytes(made: Benchmark, videos: Path):
    before = sums(made)
    victim = made.folder / made.queries[0].file
    kept = made.folder / made.queries[1].file
    written = kept.stat().st_mtime_ns
    victim.unlink()
    again = make_benchmark(videos, made.folder, seed=3, edits=EDITS, workers=1)
    assert sums(again) == before
    assert kept.stat().st_mtime_ns == written


def test_names_and_places_change_nothing(made: Benchmark, tmp_path: Path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, source in enumerate((*(r.source for r in made.references), *made.strangers)):
        shutil.copy(source, moved / f"{9 - number}.mp4")
    films, refused = benchmark_make._usable([str(p) for p in sorted(moved.iterdir())], 1, lambda *_: None)
    assert not refused
    strangers = sorted(films, key=lambda film: benchmark_make._drawn(3, film.content_id))[:3]
    references = tuple(film._replace(name="x") for film in films if film not in strangers)
    planned = benchmark_make._planned(references, tuple(strangers), EDITS, seed=3, number=1, longest_seconds=30)
    assert {Path(p.file).stem[-16:] for p in planned} == {Path(q.file).stem[-16:] for q in made.queries}


def test_ctrl_c_keeps_what_is_done_and_says_what_is_left(videos: Path, made: Benchmark, tmp_path: Path):
    def interrupt(what: str, done: int, _all: int) -> None:
        if what == "rendering" and done == 2:
            raise KeyboardInterrupt

    stopped = make_benchmark(videos, tmp_path, seed=3, edits=EDITS, workers=1, on_progress=interrupt)
    assert 2 <= len(stopped.queries) < 15
    assert stopped.missing == 15 - len(stopped.queries)
    assert read_benchmark(tmp_path).missing == stopped.missing
    assert not list((tmp_path / "queries").glob("*.part"))
    assert sums(stopped).items() <= sums(made).items()


def test_a_folder_keeps_its_seed(made: Benchmark, videos: Path):
    with pytest.raises(InvalidArgument, match="seed 3, not 4"):
        make_benchmark(videos, made.folder, seed=4)


def test_a_folder_with_other_files_is_left_alone(videos: Path):
    before = set(videos.iterdir())
    with pytest.raises(InvalidArgument, match="holds other files, such as"):
        make_benchmark(videos, videos, edits=["mirror"])
    assert set(videos.iterdir()) == before


def test_impossible_wishes_are_refused_before_any_work(videos: Path, tmp_path: Path):
    with pytest.raises(UnknownName, match="mirror"):
        make_benchmark(videos, tmp_path, edits=["miror"])
    with pytest.raises(InvalidArgument, match="distractors"):
        make_benchmark(videos, tmp_path, distractors=1)
    with pytest.raises(InvalidArgument, match="at least one query"):
        make_benchmark(videos, tmp_path, queries_per_clip=0)
    assert not list(tmp_path.iterdir())


def test_too_few_videos_are_refused(videos: Path, tmp_path: Path):
    with pytest.raises(InvalidArgument, match="1 usable of 2"):
        make_benchmark([videos / "clip-1.mp4", videos / "no film.mp4"], tmp_path, workers=1)


def test_where_there_is_no_benchmark_the_command_that_makes_one_is_named(tmp_path: Path, made: Benchmark):
    with pytest.raises(CannotOpen, match="benchmark make"):
        read_benchmark(tmp_path)
    shutil.copy(made.folder / "truth.csv", tmp_path)
    (tmp_path / "benchmark.json").write_text(json.dumps({"seed": 1}))
    with pytest.raises(FormatError, match="make the benchmark again"):
        read_benchmark(tmp_path)
