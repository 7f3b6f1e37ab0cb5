"""Methods side by side: each against a slow, obvious count, and the whole run on rendered footage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.alignment.tmk import tmk_descriptor
from reelspace.alignment.tmk_scores import compare_tmk
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.evaluation import benchmark_run
from reelspace.evaluation.benchmark_make import Benchmark, Query, make_benchmark
from reelspace.evaluation.benchmark_run import (
    METHODS,
    Answer,
    BenchmarkResult,
    Found,
    PdqHash,
    Video,
    run_benchmark,
)
from reelspace.evaluation.edits import Truth
from reelspace.extract.plan import TmkSigner
from reelspace.media.synthetic import render_clips
from reelspace.store.rows import Signature

# ── the methods ──


def hashed(bits: NDArray[np.bool_], quality: NDArray[np.float32], seconds: float) -> Video:
    times = np.arange(len(bits), dtype=np.float64)
    rows = FrameSequence(
        times,
        np.where(bits, 1, -1).astype(np.float16),
        np.zeros(len(bits), np.uint8),
        quality.astype(np.float32),
        PdqHash().space,
        seconds,
    )
    return Video({"pdq": rows}, None, seconds, 0.0, {"pdq": 0.0})


def test_vpdq_counts_frames_near_in_either_direction(monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(benchmark_run, "_VIDEOS_AT_ONCE", 3)
    pool = random.random((12, 256)) < 0.5
    videos = []
    for _ in range(8):
        bits = pool[random.integers(12, size=random.integers(2, 7))].copy()
        for row in bits:
            row[random.permutation(256)[: random.integers(10, 40)]] ^= True  # distances around the limit of 31
        videos.append((bits, random.choice([0.3, 0.49, 0.5, 1.0], len(bits), p=[0.1, 0.1, 0.3, 0.5])))
    references = [hashed(bits, quality, len(bits)) for bits, quality in videos]
    query_bits, query_quality = videos.pop(4)
    found = {f.reference: f for f in METHODS["vpdq"]().index(references)(references[4])}

    for number, reference in enumerate(references):
        bits, quality = reference.sequences["pdq"].vectors > 0, reference.sequences["pdq"].weights
        mine = [n for n in range(len(query_bits)) if query_quality[n] >= 0.5]
        theirs = [n for n in range(len(bits)) if quality[n] >= 0.5]
        near = [(a, b) for a in mine for b in theirs if np.sum(query_bits[a] != bits[b]) <= 31]
        shares = [len({pair[side] for pair in near}) / len(of) for side, of in enumerate((mine, theirs)) if of]
        assert (number in found) == bool(near)
        if near:
            f = found[number]
            assert f.score == pytest.approx(max(shares))
            assert f.reported == (max(shares) >= 0.8)
            assert f.segments[0].query == Span(min(a for a, _ in near), max(a for a, _ in near) + 1)
            assert f.segments[0].reference == Span(min(b for _, b in near), max(b for _, b in near) + 1)


def test_pdq_bits_lie_above_the_median_and_quality_counts_steps():
    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 64), np.uint8)
    frames[2] = 128 + frames[2] // 64  # hardly anything to see
    described = PdqHash().encode(frames)
    for picture, signs, (weight,) in zip(
        frames.astype(int), described.vectors[:, 0], described.weights, strict=True
    ):
        steps = 0
        for i in range(64):
            for j in range(64):
                steps += abs(int((picture[i, j] - picture[i + 1, j]) * 100 / 255)) if i < 63 else 0
                steps += abs(int((picture[i, j] - picture[i, j + 1]) * 100 / 255)) if j < 63 else 0
        assert weight == pytest.approx(min(100, steps // 90) / 100)
        assert (signs > 0).sum() == 128


def signed(features: NDArray[np.float32]) -> Video:
    d = tmk_descriptor(features)
    signature = Signature(TmkSigner().space(decoding="exact"), d.frame_count, d.average, d.cosines, d.sines)
    return Video({}, signature, len(features) / 15, 0.0, {"tmk": 0.0})


def test_tmk_ranks_by_level_2_and_places_the_query_by_its_offset():
    random = np.random.default_rng(2)
    shots = np.repeat(random.normal(0.0, 1.0, (2, 100, 256)), 60, axis=1).astype(np.float32)
    film, other = shots + random.normal(0.0, 0.3, shots.shape).astype(np.float32)
    references = [signed(film), signed(other)]
    query = signed(film[1500:4500])  # from second 100 on
    found = {f.reference: f for f in METHODS["tmk+pdqf"]().index(references)(query)}
    for number, features in enumerate((film, other)):
        pair = compare_tmk(tmk_descriptor(film[1500:4500]), tmk_descriptor(features))
        assert found[number].score == pytest.approx(pair.level2, abs=2e-4)
        assert found[number].reported == (pair.level1 >= 0.7 and pair.level2 >= 0.7)
    segment = found[0].segments[0]
    # The shortest period is 182 s long, so the offset comes as 82 s; its finest harmonic is 5.7 s long.
    assert segment.reference.start - segment.query.start == pytest.approx(100.0, abs=3)
    assert segment.query.duration == pytest.approx(200, abs=3)


# ── what is measured ──


def query(name: str, *references: str, start: float = 0.0) -> Query:
    truths = tuple(Truth(r, Span(0, 10), Span(start, start + 10), 1.0, False, 0) for r in references)
    return Query(name, f"queries/{name}.mp4", "grey", "report", name, "", 10.0, truths)


def answer(of: Query, **found: tuple[float, bool, float]) -> Answer:
    """By reference: the score, whether it is reported, and where in the reference it is placed."""
    said = {
        name: Found(0, score, reported, (CopySegment(Span(0, 10), Span(start, start + 10), 1.0, score),))
        for name, (score, reported, start) in found.items()
    }
    return Answer(of, said, 0.1)


def test_cells_of_a_perfect_answer():
    answers = [answer(query("q1", "a"), a=(0.9, True, 0.0)), answer(query("q2", "b", start=5), b=(0.8, True, 5.0))]
    assert benchmark_run._measured(answers) == [1.0, 1.0, 1.0, 0, 1.0, 0.0, 0.0]


def test_cells_of_answers_that_are_partly_wrong():
    answers = [
        answer(query("q1", "a"), a=(0.9, True, 2.0), b=(0.2, False, 0.0)),  # two seconds off
        answer(query("q2", "b"), b=(0.4, False, 0.0)),  # below the default
        answer(query("q3"), a=(0.6, True, 0.0)),  # shows nothing of any reference
        answer(query("q4", "c")),
    ]
    average, without_false, found, false, f1, median, high = benchmark_run._measured(answers)
    assert average == pytest.approx((1 + 2 / 3) / 3)  # right, false, right; the third is never named
    assert without_false == pytest.approx(1 / 3)
    assert found == pytest.approx(1 / 3)
    assert false == 1
    precision, recall = (0.8 * 1.0 + 0.0) / 2, 0.8 / 3  # pair q1-a: 8 of 10 s on one axis, all on the other
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert median == pytest.approx(1.0)  # of 0, 0, 2 and 2 s
    assert high == pytest.approx(2.0)


# ── the run ──


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    videos = tmp_path_factory.mktemp("videos")
    render_clips(videos, count=6, seconds=4, scale=0.4)
    folder = tmp_path_factory.mktemp("benchmark")
    return make_benchmark(videos, folder, edits=["grey", "inserted"], workers=2)


@pytest.fixture(scope="module")
def result(benchmark: Benchmark) -> BenchmarkResult:
    return run_benchmark(benchmark.folder, half="all", workers=2)


def cells(result: BenchmarkResult, method: str, edits: str) -> Mapping[str, object]:
    (row,) = [row for row in result.groups.rows if row[:2] == [method, edits]]
    return dict(zip(result.groups.columns, row, strict=True))


def test_whole_copies_are_found_by_every_method(result: BenchmarkResult):
    for method in METHODS:
        row = cells(result, method, "photometric")
        assert row["µAP"] == 1.0, method
        assert row["found without a false pair"] == 1.0, method
    assert cells(result, "reelspace", "photometric")["segment F1"] > 0.95


def test_costs_are_told_of_every_method(result: BenchmarkResult, benchmark: Benchmark):
    hours = sum(reference.seconds for reference in benchmark.references) / 3600
    tmk = cells(result, "tmk+pdqf", "all")
    assert tmk["MB per hour"] == pytest.approx(3 * 263344 / hours / 1e6)
    assert 0.05 < cells(result, "vpdq", "all")["MB per hour"] < 0.2  # 32 bytes per second
    for method in METHODS:
        assert cells(result, method, "all")["core s per video"] > 0


def test_strangers_are_asked_too(result: BenchmarkResult, benchmark: Benchmark):
    assert cells(result, "reelspace", "all")["queries"] == len(benchmark.queries)
    assert sum(not a.query.truths for a in result.answers["reelspace"]) == 6


def test_a_second_run_decodes_nothing_and_says_the_same(
    result: BenchmarkResult, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def none(_work, jobs, _workers):
        asked.extend(jobs)
        return []

    monkeypatch.setattr(benchmark_run, "in_processes", none)
    again = run_benchmark(benchmark.folder, half="all", methods=["vpdq", "reelprint"])
    assert asked == []
    for method in ("vpdq", "reelprint"):
        one, other = cells(again, method, "all"), cells(result, method, "all")
        assert {k: v for k, v in one.items() if "core" not in k} == {
            k: v for k, v in other.items() if "core" not in k
        }


def test_the_halves_are_apart_and_the_whole_is_both(result: BenchmarkResult, benchmark: Benchmark):
    names: dict[str, set[str]] = {}
    for half in ("tune", "report"):
        of_half = [query for query in benchmark.queries if query.half == half]
        if any(query.truths for query in of_half):
            part = run_benchmark(benchmark.folder, half=half, methods=["vpdq"])
            names[half] = {a.query.name for a in part.answers["vpdq"]}
            assert names[half] == {query.name for query in of_half}
            assert part.groups.provenance[0].parameters["half"] == half
        else:
            with pytest.raises(InvalidArgument, match="--half all"):
                run_benchmark(benchmark.folder, half=half, methods=["vpdq"])
    assert names


def test_what_cannot_be_read_is_named_and_found_by_nobody(benchmark: Benchmark, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(benchmark.folder, folder, symlinks=True)
    shutil.rmtree(folder / "descriptors")
    spoilt = next(query for query in benchmark.queries if query.truths)
    (folder / spoilt.file).write_bytes(b"no film")
    part = run_benchmark(folder, half="all", methods=["vpdq"], workers=2)
    assert list(part.unreadable) == [spoilt.file]
    assert next(a for a in part.answers["vpdq"] if a.query.name == spoilt.name).found == {}
    assert cells(part, "vpdq", "all")["queries"] == len(benchmark.queries)


def test_an_unknown_method_is_refused(benchmark: Benchmark):
    with pytest.raises(UnknownName, match="reelprint"):
        run_benchmark(benchmark.folder, methods=["reelprnt"])
