"""Methods side by side on one benchmark: what each finds, how well it places it, what it costs.

Every file is decoded once for all methods; descriptors are kept in the benchmark's folder. A method sees pictures
alone, no names. Times are seconds of one core (`time.process_time`), so that what else the machine does is no part
of them; decoding is counted to each method in full.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.tmk_scores import TmkStack, tmk_scores
from reelspace.core.frames import Picture, Tap
from reelspace.core.results import CopySegment
from reelspace.core.sampling import AtRate
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.encoders.encoder import Described, FrameEncoder
from reelspace.encoders.models.pdqf import pdqf
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.evaluation.benchmark_make import Benchmark, Query, Reference, in_processes, read_benchmark
from reelspace.evaluation.edits import EDITS, GROUPS
from reelspace.evaluation.metrics_segments import (
    average_over_pairs,
    boundary_errors_seconds,
    precision_recall_curve,
    segment_score,
)
from reelspace.evaluation.report import Cell, Curve, Provenance, Report, file_digest
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.plan import Plan, Summing, TmkSigner, default_plan, descriptor_of
from reelspace.store.rows import Signature
from reelspace.tasks import copies

__all__ = ["METHODS", "Answer", "BenchmarkResult", "Found", "Method", "PdqHash", "Video", "run_benchmark"]

Which = Literal["tune", "report", "all"]

COLUMNS = (
    "method",
    "edits",
    "queries",
    "µAP",
    "found without a false pair",
    "found",
    "false pairs",
    "segment F1",
    "boundary error s",
    "90 % of them s",
    "core s per video",
    "MB per hour",
)


class Found(NamedTuple):
    """One reference that a method names for a query.

    Attributes:
        reference: its number.
        score: the surer, the higher.
        reported: whether the method reports it by its own default.
        segments: where, best first.
    """

    reference: int
    score: float
    reported: bool
    segments: tuple[CopySegment, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """What is known of one file.

    Attributes:
        sequences: frame vectors, by the name of their space.
        signature: TMK's, where it was asked for.
        seconds: length of the video.
        decode_seconds: of one core.
        encode_seconds: of one core, by the name of the space.
    """

    sequences: Mapping[str, FrameSequence]
    signature: Signature | None
    seconds: float
    decode_seconds: float
    encode_seconds: Mapping[str, float]


Search: TypeAlias = Callable[[Video], list[Found]]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to find copies.

    Attributes:
        name: as the command takes it.
        encoders: whose rows it reads.
        tmk: whether it reads TMK signatures.
        index: references in, a search out.
        size_bytes: what it keeps of one video.
        parameters: what decides its answers, for the report.
    """

    name: str
    encoders: tuple[FrameEncoder, ...]
    index: Callable[[Sequence[Video]], Search]
    size_bytes: Callable[[Video], int]
    parameters: Mapping[str, Any]
    tmk: bool = False

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return (*(encoder.space.name for encoder in self.encoders), *(("tmk",) if self.tmk else ()))


# ── by frame sequences, in order ──


def _by_rows(name: str, *encoders: FrameEncoder) -> Method:
    """`tasks.copies`: of several encoders the surest opinion counts, as in `Library.match`."""
    spaces = [encoder.space.name for encoder in encoders]

    def index(references: Sequence[Video]) -> Search:
        ids = [str(number) for number in range(len(references))]
        matrices = [FrameMatrix.concatenate([video.sequences[s] for video in references], ids) for s in spaces]
        cohorts = [copies.cohort_of(matrix) for matrix in matrices]

        def search(query: Video) -> list[Found]:
            opinions = [
                {
                    ("", ids[found.reference]): found.segments
                    for found in copies.match(query.sequences[s], matrix, threshold=0, cohort=cohort)
                }
                for s, matrix, cohort in zip(spaces, matrices, cohorts, strict=True)
            ]
            return [
                Found(int(reference), segments[0].score, segments[0].score >= copies.DEFAULT_THRESHOLD, segments)
                for (_, reference), segments in copies.merged(opinions).items()
            ]

        return search

    def size_bytes(video: Video) -> int:
        rows = (video.sequences[s] for s in spaces)
        return sum(r.vectors.nbytes + r.times_seconds.nbytes + r.views.nbytes + r.weights.nbytes for r in rows)

    identities = {encoder.space.name: encoder.space.fingerprint for encoder in encoders}
    return Method(name, encoders, index, size_bytes, {"threshold": copies.DEFAULT_THRESHOLD, "spaces": identities})


# ── the plain recipe of ThreatExchange ──

_LEVEL1, _LEVEL2 = 0.7, 0.7  # the defaults of its tools


def _tmk() -> Method:
    """TMK+PDQF of whole videos: both levels at least 0.7, ranked by level 2; the offset says where."""
    return Method(
        "tmk+pdqf",
        (),
        _tmk_index,
        lambda _video: 48 + 4 * (32 + 256 + 2 * 4 * 32 * 256),  # of a .tmk file
        {"level 1": _LEVEL1, "level 2": _LEVEL2},
        tmk=True,
    )


def _tmk_index(references: Sequence[Video]) -> Search:
    stack = _stacked(references)

    def search(query: Video) -> list[Found]:
        scores = tmk_scores(_stacked([query]), stack, workers=1)
        levels = zip(scores.level1[0].tolist(), scores.level2[0].tolist(), strict=True)
        offsets, periods = (
            scores.offsets_seconds[0].tolist(),
            (scores.periods[0] / scores.frames_per_second).tolist(),
        )
        return [
            Found(
                number,
                level2,
                level1 >= _LEVEL1 and level2 >= _LEVEL2,
                (_shifted((query.seconds, references[number].seconds), offsets[number], periods[number], level2),),
            )
            for number, (level1, level2) in enumerate(levels)
        ]

    return search


def _stacked(videos: Sequence[Video]) -> TmkStack:
    return TmkStack.of([descriptor_of(video.signature) for video in videos if video.signature is not None])


def _shifted(lengths: tuple[float, float], offset: float, period: float, score: float) -> CopySegment:
    """What two videos share when second ``t`` of the reference is second ``t + offset`` of the query.

    Offsets are known but for whole periods: the one is taken at which most is shared.
    """
    query, reference = lengths
    turns = np.arange(math.ceil((-reference - offset) / period), math.floor((query - offset) / period) + 1)
    offsets = offset + period * turns
    shared = np.minimum(query, reference + offsets) - np.maximum(0.0, offsets)
    if not (shared > 0).any():
        return CopySegment(Span(0.0, query), Span(0.0, reference), 1.0, score)
    best = float(offsets[shared.argmax()])
    span = Span(max(0.0, best), min(query, reference + best))
    return CopySegment(span, span.shifted(-best), 1.0, score)


# ── frames without their order ──

_HAMMING, _QUALITY, _SHARE = 31, 50, 0.8  # the defaults of vPDQ and of python-threatexchange's extension for it
_VIDEOS_AT_ONCE = 256


class PdqHash:
    """PDQ of one frame per second: which of its 16 x 16 cosine coefficients lie above their median.

    Rows are 256 signs, weights the quality in hundredths. The 64 x 64 picture is scaled by areas, where PDQ's own
    code takes two box filters over the whole picture.

    Source: hashing.pdf and vpdq/ of facebook/ThreatExchange.
    """

    def __init__(self) -> None:
        self.space = Space("pdq", 256, {"frames_per_second": 1, "filter": "area", "side_pixels": 64})
        self.tap = Tap(AtRate(1), Picture(64, 64, "gray", "area"))

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Signs and quality of uint8 (N, 64, 64) gray pictures: vectors (N, 1, 256), weights (N, 1)."""
        coefficients = pdqf(frames)
        signs = np.where(coefficients > np.median(coefficients, axis=1, keepdims=True), 1.0, -1.0)
        gray = frames.astype(np.int64)
        steps = sum(
            np.abs(np.trunc(np.diff(gray, axis=axis) * 100 / 255)).sum(axis=(1, 2), dtype=np.int64)
            for axis in (1, 2)
        )
        quality = np.minimum(steps // 90, 100) / 100
        return Described(signs[:, None].astype(np.float32), quality[:, None].astype(np.float32))


def _vpdq() -> Method:
    """vPDQ: a frame is found when any frame of the other video lies within 31 bits.

    A pair's score is the larger of two shares, frames of the query found in the reference and the reverse, for a
    copy may be a part of either; it is reported from 80 % on. Its segment reaches from the first to the last frame
    found.
    """
    parameters = {"hamming": _HAMMING, "quality": _QUALITY, "share": _SHARE}
    return Method("vpdq", (PdqHash(),), _vpdq_index, lambda video: 32 * len(video.sequences["pdq"]), parameters)


def _vpdq_index(references: Sequence[Video]) -> Search:
    clear = [_clear(video) for video in references]

    def search(query: Video) -> list[Found]:
        mine = _clear(query)
        return [
            found
            for first in range(0, len(clear), _VIDEOS_AT_ONCE)
            for found in _vpdq_found(mine, clear[first : first + _VIDEOS_AT_ONCE], first)
        ]

    return search


def _clear(video: Video) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Hashes of quality 50 and more, and their seconds."""
    rows = video.sequences["pdq"]
    keep = rows.weights >= _QUALITY / 100 - 1e-6
    return rows.vectors[keep].astype(np.float32), rows.times_seconds[keep]


def _vpdq_found(
    query: tuple[NDArray[np.float32], NDArray[np.float64]],
    references: Sequence[tuple[NDArray[np.float32], NDArray[np.float64]]],
    first: int,
) -> list[Found]:
    counts = np.array([len(signs) for signs, _ in references])
    if len(query[0]) == 0 or not counts.any():
        return []
    near = query[0] @ np.concatenate([signs for signs, _ in references]).T >= 256 - 2 * _HAMMING  # (Q, all rows)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    found = []
    owners = np.repeat(np.arange(len(counts)), counts)
    for number in np.unique(owners[near.any(axis=0)]).tolist():
        hits = near[:, bounds[number] : bounds[number + 1]]
        mine, theirs = hits.any(axis=1), hits.any(axis=0)
        score = float(max(mine.mean(), theirs.mean()))
        spans = [
            Span(float(times[which][0]), float(times[which][-1]) + 1.0)  # one frame stands for a second
            for times, which in ((query[1], mine), (references[number][1], theirs))
        ]
        found.append(Found(first + number, score, score >= _SHARE, (CopySegment(spans[0], spans[1], 1.0, score),)))
    return found


METHODS: Mapping[str, Callable[[], Method]] = {
    "reelspace": lambda: _by_rows("reelspace", *default_plan().encoders),
    "pdqf-views": lambda: _by_rows("pdqf-views", PdqfViews()),
    "reelprint": lambda: _by_rows("reelprint", Reelprint()),
    "tmk+pdqf": _tmk,
    "vpdq": _vpdq,
}
"""What can be compared: the library as it is, each of its two descriptors, and two of ThreatExchange's methods."""


# ── the run ──


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method said to one query.

    Attributes:
        query: what was asked.
        found: by the name of the reference.
        search_seconds: of one core.
    """

    query: Query
    found: Mapping[str, Found]
    search_seconds: float


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a run says.

    Attributes:
        groups: a row per method and group of edits, and one per method for all of them.
        edits: a row per method and edit.
        answers: of each method.
        unreadable: files of the benchmark that could not be read, and why.
    """

    groups: Report
    edits: Report
    answers: Mapping[str, tuple[Answer, ...]]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def run_benchmark(
    folder: str | PathLike[str],
    *,
    methods: Sequence[str] = (),
    half: Which = "report",
    workers: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> BenchmarkResult:
    """Searches for the queries of one half among all references, by each method.

    Args:
        folder: of a benchmark.
        methods: names in `METHODS`; all of them when none is named.
        half: ``tune`` for choosing thresholds and the like, ``report`` for figures to be told, or ``all``.
        workers: decoding processes; None for one per core.
        on_progress: told what is being done, how much of it is done, and how much there is to do.

    Raises:
        CannotOpen, FormatError: when there is no such benchmark.
        UnknownName: for a method that is not in `METHODS`.
        InvalidArgument: when the half has no query, or no reference can be read.
    """
    for name in methods:
        if name not in METHODS:
            raise UnknownName("method", name, METHODS)
    chosen = [METHODS[name]() for name in (dict.fromkeys(methods) or METHODS)]
    benchmark = read_benchmark(folder)
    queries = [query for query in benchmark.queries if half in {query.half, "all"}]
    if not any(query.truths for query in queries):
        raise InvalidArgument(f"{benchmark.folder} has no query in its half {half!r}; try --half all")
    tell = on_progress or (lambda _what, _done, _all: None)
    videos, unreadable = _described(benchmark, queries, chosen, workers, tell)
    references = [reference for reference in benchmark.references if reference.file in videos]
    if not references:
        raise InvalidArgument(f"no reference of {benchmark.folder} can be read: {next(iter(unreadable.values()))}")
    answers: dict[str, tuple[Answer, ...]] = {}
    with threadpool_limits(limits=1, user_api="blas"):
        for method in chosen:
            search = method.index([videos[reference.file] for reference in references])
            said = []
            for number, query in enumerate(queries):
                tell(f"searching by {method.name}", number, len(queries))
                said.append(_asked(search, query, videos.get(query.file), references))
            answers[method.name] = tuple(said)
    costs = {method.name: _costs(method, videos, references, answers[method.name]) for method in chosen}
    return BenchmarkResult(
        _report(benchmark, chosen, answers, costs, half, by=lambda query: query.group, names=(*GROUPS, "all")),
        _report(benchmark, chosen, answers, costs, half, by=lambda query: query.edit, names=tuple(EDITS)),
        answers,
        unreadable,
    )


def _asked(search: Search, query: Query, video: Video | None, references: Sequence[Reference]) -> Answer:
    """A query that cannot be read is one to which nothing is found."""
    began = time.process_time()
    found = search(video) if video is not None else []
    return Answer(query, {references[f.reference].name: f for f in found}, time.process_time() - began)


# ── what is measured ──


def _report(
    benchmark: Benchmark,
    methods: Sequence[Method],
    answers: Mapping[str, Sequence[Answer]],
    costs: Mapping[str, tuple[float, float]],
    half: Which,
    *,
    by: Callable[[Query], str],
    names: Sequence[str],
) -> Report:
    rows: list[list[Cell]] = []
    curves = []
    for name in names:
        for method in methods:
            mine = [a for a in answers[method.name] if name in {by(a.query), "all"}]
            if any(a.query.truths for a in mine):
                rows.append([method.name, name, len(mine), *_measured(mine), *costs[method.name]])
            if name == "all":
                scores, right, total = _ranked(mine)
                curve = precision_recall_curve(scores, right, total)
                points = curve.recalls, curve.precisions
                curves.append(Curve("precision and recall", method.name, *points, "recall", "precision"))
    inputs = {file: file_digest(benchmark.folder / file) for file in ("benchmark.json", "truth.csv")}
    provenance = [
        Provenance(
            method.name,
            {**method.parameters, "half": half, **benchmark.settings},
            inputs,
            {"benchmark": benchmark.seed},
        )
        for method in methods
    ]
    notes = [
        f"{len(benchmark.references)} references; times are seconds of one core, decoding counted to each method",
        "found: true pairs that the method reports by its own default; false pairs: reported, nothing shared",
    ]
    return Report(f"Copies found, half: {half}", COLUMNS, rows, provenance, curves, notes)


def _ranked(answers: Sequence[Answer]) -> tuple[list[float], list[bool], int]:
    """Scores of all pairs, whether they are true, and how many true ones there are."""
    true = [{truth.reference for truth in answer.query.truths} for answer in answers]
    pairs = [(f.score, name in t) for a, t in zip(answers, true, strict=True) for name, f in a.found.items()]
    return [score for score, _ in pairs], [right for _, right in pairs], sum(map(len, true))


def _measured(answers: Sequence[Answer]) -> list[Cell]:
    """The cells from µAP to the boundary errors."""
    scores, right, total = _ranked(answers)
    highest_false = max((score for score, good in zip(scores, right, strict=True) if not good), default=-np.inf)
    without_false = sum(score > highest_false for score, good in zip(scores, right, strict=True) if good)
    reported = false = 0
    placed, errors = [], [np.zeros((0, 4))]
    for answer in answers:
        true = _true_segments(answer.query)
        said = {name: list(found.segments) for name, found in answer.found.items() if found.reported}
        reported += len(said.keys() & true.keys())
        false += len(said.keys() - true.keys())
        for name in said.keys() | true.keys():
            placed.append(segment_score(said.get(name, []), true.get(name, [])))
            errors.append(boundary_errors_seconds(said.get(name, []), true.get(name, [])))
    met = np.concatenate(errors)
    return [
        precision_recall_curve(scores, right, total).average_precision,
        without_false / total,
        reported / total,
        false,
        average_over_pairs(placed).f1,
        *((round(float(np.quantile(met, q)), 4) if met.size else None) for q in (0.5, 0.9)),
    ]


def _true_segments(query: Query) -> dict[str, list[CopySegment]]:
    """The truth in the words of answers."""
    true: dict[str, list[CopySegment]] = {}
    for t in query.truths:
        segment = CopySegment(t.query_span, t.reference_span, t.speed, 1.0, t.mirrored, t.rotation_degrees)
        true.setdefault(t.reference, []).append(segment)
    return true


def _costs(
    method: Method, videos: Mapping[str, Video], references: Sequence[Reference], answers: Sequence[Answer]
) -> tuple[float, float]:
    """Core seconds per video (decoding, describing, and searching for it), megabytes per hour of references."""
    files = [*(reference.file for reference in references), *(a.query.file for a in answers)]
    made = [
        videos[file].decode_seconds + sum(videos[file].encode_seconds[space] for space in method.spaces)
        for file in files
        if file in videos
    ]
    kept = [videos[reference.file] for reference in references]
    hours = sum(video.seconds for video in kept) / 3600
    searched = float(np.mean([answer.search_seconds for answer in answers]))
    return float(np.mean(made)) + searched, sum(map(method.size_bytes, kept)) / hours / 1e6


# ── descriptors ──


def _described(
    benchmark: Benchmark,
    queries: Sequence[Query],
    methods: Sequence[Method],
    workers: int | None,
    tell: Callable[[str, int, int], None],
) -> tuple[dict[str, Video], dict[str, str]]:
    """All that the methods read, by file; from the benchmark's folder where it lies there. And what cannot be."""
    encoders = {encoder.space.name: encoder for method in methods for encoder in method.encoders}
    tmk = any(method.tmk for method in methods)
    files = {reference.file: reference.content_id for reference in benchmark.references}
    files |= {query.file: Path(query.file).stem for query in queries}  # its name tells its recipe
    places = {file: _places(benchmark.folder, name, encoders.values(), tmk=tmk) for file, name in files.items()}
    jobs = [
        (benchmark.folder / file, files[file], tuple(encoders.values()), places[file])
        for file in files
        if not all(place.exists() for place in places[file].values())
    ]
    for place in {place.parent for of_file in places.values() for place in of_file.values()}:
        place.mkdir(parents=True, exist_ok=True)
    unreadable: dict[str, str] = {}
    for done, ((path, *_), reason) in enumerate(in_processes(_describe, jobs, workers), start=1):
        tell("describing", done, len(jobs))
        if reason is not None:
            unreadable[str(path.relative_to(benchmark.folder))] = reason
    readable = [file for file in files if file not in unreadable]
    return {file: _loaded(places[file], encoders) for file in readable}, unreadable


def _places(folder: Path, name: str, encoders: Iterable[FrameEncoder], *, tmk: bool) -> dict[str, Path]:
    spaces = [encoder.space for encoder in encoders]
    if tmk:
        spaces.append(TmkSigner().space(decoding="exact"))
    below = folder / "descriptors"
    return {space.name: below / f"{space.name}-{space.fingerprint}" / f"{name}.npz" for space in spaces}


def _describe(
    path: Path,
    name: str,
    encoders: Sequence[FrameEncoder],
    places: Mapping[str, Path],
) -> str | None:
    """Decodes one file and keeps what it lacks; why not, where it cannot be read."""
    encoders = [encoder for encoder in encoders if not places[encoder.space.name].exists()]
    timed = [_TimedEncoder(encoder) for encoder in encoders]
    signers = [_TimedSigner()] if "tmk" in places and not places["tmk"].exists() else []
    plan = Plan(encoders=tuple(timed), signers=tuple(signers))
    began = time.process_time()
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            made = fingerprint(str(path), plan, video_id=name)
    except (MediaError, OSError) as error:
        return error.reason if isinstance(error, MediaError) else str(error)
    spent = {encoder.space.name: encoder.seconds for encoder in timed}
    if signers:
        spent["tmk"] = signers[0].seconds
    decode = time.process_time() - began - sum(spent.values())
    kept: dict[str, dict[str, Any]] = {
        rows.space.name: {
            "times_seconds": rows.times_seconds,
            "vectors": rows.vectors,
            "views": rows.views,
            "weights": rows.weights,
        }
        for rows in made.sequences
    }
    for total in made.signatures:
        kept["tmk"] = {
            "frame_count": total.frame_count,
            "average": total.average,
            "cosines": total.cosines,
            "sines": total.sines,
        }
    for space, arrays in kept.items():
        part = places[space].with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **arrays, seconds=[made.duration_seconds, decode, spent[space]])
        part.replace(places[space])
    return None


def _loaded(places: Mapping[str, Path], encoders: Mapping[str, FrameEncoder]) -> Video:
    sequences, signature, spent = {}, None, {}
    decode = duration = 0.0
    for space, place in places.items():
        with np.load(place) as kept:
            duration, decoded, spent[space] = map(float, kept["seconds"])
            decode = max(decode, decoded)
            if space == "tmk":
                identity = TmkSigner().space(decoding="exact")
                arrays = (kept["average"], kept["cosines"], kept["sines"])
                signature = Signature(identity, int(kept["frame_count"]), *arrays)
            else:
                rows = (kept["times_seconds"], kept["vectors"], kept["views"], kept["weights"])
                sequences[space] = FrameSequence(*rows, encoders[space].space, duration)
    return Video(sequences, signature, duration, decode, spent)


class _TimedEncoder:
    """A frame encoder, and the core seconds it took."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self.space, self.tap = encoder.space, encoder.tap
        self.seconds = 0.0
        self._encoder = encoder

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        began = time.process_time()
        described = self._encoder.encode(frames)
        self.seconds += time.process_time() - began
        return described


class _TimedSigner:
    """TMK over PDQF, and the core seconds it took. A signer and its sums in one, for one video."""

    def __init__(self) -> None:
        self._signer = TmkSigner()
        self.tap = self._signer.tap
        self.seconds = 0.0

    def space(self, *, decoding: str) -> Space:
        return self._signer.space(decoding=decoding)

    def start(self, *, decoding: str) -> Summing:
        self._sums = self._signer.start(decoding=decoding)
        return self

    def push(self, frames: NDArray[np.uint8]) -> None:
        began = time.process_time()
        self._sums.push(frames)
        self.seconds += time.process_time() - began

    def finish(self) -> Signature:
        return self._sums.finish()
