"""A benchmark out of anyone's footage: edited queries with exact truth, and the references they are searched in.

    DIR/references/    links to the clean videos
    DIR/queries/       the edited ones
    DIR/truth.csv      a row for each stretch of a query that shows a reference
    DIR/benchmark.json what it was made from and how: see `Benchmark`

Some videos become *strangers*: no reference shows them. They stand before, behind and beside the copies, and some
queries show nothing else. Each video belongs to the tuning or to the reporting half by its content, and so do its
queries.
"""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from multiprocessing import get_context
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from reelspace.core.frames import Picture, Tap
from reelspace.core.machine import available_cores
from reelspace.core.sampling import EveryFrame
from reelspace.core.time import Span
from reelspace.errors import CannotOpen, FormatError, InvalidArgument, MediaError, UnknownName
from reelspace.evaluation.edits import EDITS, Film, Recipe, Truth, recipe, render
from reelspace.media import open_video
from reelspace.media.sources import content_id, find_videos

__all__ = [
    "Benchmark",
    "Query",
    "Reference",
    "Refused",
    "half_of",
    "in_processes",
    "make_benchmark",
    "read_benchmark",
]

Half = Literal["tune", "report"]

_SHORTEST_SECONDS = 2.0
_FEWEST_STRANGERS = 3  # one to make a query of, and two to put around it
_OURS = {"references", "queries", "truth.csv", "benchmark.json", "benchmark.json.part"}
_FLAT = 2.0  # standard deviation of gray levels below which a picture is of one colour
_TRUTH_COLUMNS = (
    "query",
    "reference",
    "query_start_seconds",
    "query_end_seconds",
    "reference_start_seconds",
    "reference_end_seconds",
    "speed",
    "mirrored",
    "rotation_degrees",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """A clean video that queries may show.

    Attributes:
        name: unique in the benchmark.
        file: below the benchmark's folder.
        content_id: SHA-256 of its bytes.
        source: where it came from.
        half: ``tune`` or ``report``, by its content.
        seconds: its length.
    """

    name: str
    file: str
    content_id: str
    source: str
    half: Half
    seconds: float


@dataclass(frozen=True, slots=True)
class Query:
    """An edited video.

    Attributes:
        name: unique in the benchmark.
        file: below the benchmark's folder.
        edit: name in `EDITS`.
        half: of the video it was made from.
        clip: content id of that video.
        filters: what was done to its pictures, as FFmpeg's filters.
        seconds: its length.
        truths: what it shows of references; nothing where it was made from a stranger.
    """

    name: str
    file: str
    edit: str
    half: Half
    clip: str
    filters: str
    seconds: float
    truths: tuple[Truth, ...]

    @property
    def group(self) -> str:
        """The row of the summary it counts in."""
        return EDITS[self.edit].group


class Refused(NamedTuple):
    """A video that could not be used, or a query that could not be rendered, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What lies in a benchmark's folder.

    Attributes:
        folder: where.
        seed: of all random choices.
        settings: what it was made with.
        versions: of what rendered it.
        references: the clean videos.
        strangers: content ids of the videos that are no reference, by source.
        queries: the edited videos that are there.
        refused: videos and queries that are not.
        missing: how many queries an interrupted run left to render.
    """

    folder: Path
    seed: int
    settings: dict[str, Any]
    versions: dict[str, str]
    references: tuple[Reference, ...]
    strangers: dict[str, str]
    queries: tuple[Query, ...]
    refused: tuple[Refused, ...]
    missing: int = 0


def make_benchmark(
    videos: str | PathLike[str] | Sequence[str | PathLike[str]],
    folder: str | PathLike[str],
    *,
    seed: int = 0,
    queries_per_clip: int = 1,
    edits: Sequence[str] = (),
    distractors: int | None = None,
    longest_seconds: float = 30.0,
    workers: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Benchmark:
    """Makes a benchmark, or goes on with one: queries that are there already are not rendered again.

    Args:
        videos: files, folders or globs of clean footage; copies among them are taken for strangers.
        folder: where to; made when it is not there.
        seed: the same seed, videos and settings give the same benchmark.
        queries_per_clip: of each edit.
        edits: names in `EDITS`; all of them when none is named.
        distractors: how many videos become strangers; None for a fifth, at least three.
        longest_seconds: of a longer video, a stretch of this length stands for the whole.
        workers: processes; None for one per core.
        on_progress: told what is being done, how much of it is done, and how much there is to do.

    Raises:
        InvalidArgument: when settings are impossible, the folder holds a benchmark of another seed or other files,
            or too few videos can be used.
        UnknownName: for an edit that is not in `EDITS`.
    """
    names = _known(edits)
    if queries_per_clip < 1 or longest_seconds < _SHORTEST_SECONDS or (workers is not None and workers < 1):
        raise InvalidArgument(
            f"a benchmark takes at least one query per clip, {_SHORTEST_SECONDS:g} s and one worker, got "
            f"{queries_per_clip}, {longest_seconds:g} s and {workers}"
        )
    if distractors is not None and distractors < _FEWEST_STRANGERS:
        raise InvalidArgument(f"at least {_FEWEST_STRANGERS} distractors are needed, got {distractors}")
    place = Path(folder).absolute()
    if (place / "benchmark.json").exists() and (made := read_benchmark(place)).seed != seed:
        raise InvalidArgument(f"{place} holds a benchmark of seed {made.seed}, not {seed}; name another folder")
    if place.is_dir() and (others := {path.name for path in place.iterdir()} - _OURS):
        raise InvalidArgument(f"{place} holds other files, such as {min(others)}; name an empty or a new folder")
    sources = find_videos(videos, exclude=[place])
    tell = on_progress or (lambda _what, _done, _all: None)
    films, refused = _usable(sources, workers, tell)
    count = max(_FEWEST_STRANGERS, round(len(films) / 5)) if distractors is None else distractors
    if len(films) - count < 2:
        raise InvalidArgument(
            f"a benchmark takes at least two references and {count} other videos, got {len(films)} usable of "
            f"{len(sources)}" + "".join(f"; {Path(s).name}: {reason}" for s, reason in refused[:3])
        )
    shuffled = sorted(films, key=lambda film: _drawn(seed, film.content_id))
    strangers = tuple(shuffled[:count])
    references = tuple(film._replace(name=_reference_name(film)) for film in films if film not in strangers)
    planned = _planned(
        references, strangers, names, seed=seed, number=queries_per_clip, longest_seconds=longest_seconds
    )
    for part in ("references", "queries"):
        (place / part).mkdir(parents=True, exist_ok=True)
    listed = tuple(_linked(film, place) for film in references)
    jobs = [(each.recipe, place / each.file) for each in planned if not (place / each.file).exists()]
    failed: list[Refused] = []
    done = len(planned) - len(jobs)
    tell("rendering", done, len(planned))
    try:
        for (_, output), reason in in_processes(_rendered, jobs, workers):
            done += 1
            if reason is not None:
                failed.append(Refused(f"queries/{output.name}", reason))
            tell("rendering", done, len(planned))
    except KeyboardInterrupt:
        pass  # what is rendered is listed below, and how much is not
    there = [each for each in planned if (place / each.file).exists()]
    benchmark = Benchmark(
        place,
        seed,
        {
            "queries_per_clip": queries_per_clip,
            "edits": names,
            "distractors": count,
            "longest_seconds": longest_seconds,
        },
        {"reelspace": version("reelspace"), "av": version("av"), "python": platform.python_version()},
        listed,
        {film.source: film.content_id for film in strangers},
        tuple(each.query for each in there),
        (*refused, *failed),
        len(planned) - len(there) - len(failed),
    )
    _write(benchmark)
    return benchmark


def read_benchmark(folder: str | PathLike[str]) -> Benchmark:
    """The benchmark in a folder.

    Raises:
        CannotOpen: when there is none.
        FormatError: when its files are not what `make_benchmark` writes.
    """
    place = Path(folder).absolute()
    try:
        listed = json.loads((place / "benchmark.json").read_text("utf-8"))
        with (place / "truth.csv").open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise CannotOpen(str(place), "no benchmark there; make one with `reelspace benchmark make`") from error
    except ValueError as error:
        raise FormatError(f"{place / 'benchmark.json'}: {error}; make the benchmark again") from error
    try:
        truths: dict[str, list[Truth]] = {}
        for row in rows:
            truths.setdefault(row["query"], []).append(_truth(row))
        return Benchmark(
            place,
            listed["seed"],
            listed["settings"],
            listed["versions"],
            tuple(Reference(**reference) for reference in listed["references"]),
            listed["strangers"],
            tuple(Query(**query, truths=tuple(truths.get(query["name"], ()))) for query in listed["queries"]),
            tuple(Refused(**refused) for refused in listed["refused"]),
            listed["missing"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{place}: {error!r} in benchmark.json or truth.csv; make the benchmark again") from error


def _known(edits: Sequence[str]) -> list[str]:
    for name in edits:
        if name not in EDITS:
            raise UnknownName("edit", name, EDITS)
    return list(dict.fromkeys(edits)) or list(EDITS)


def half_of(content: str) -> Half:
    """Which half a video belongs to, by the SHA-256 of its bytes: its name and place say nothing."""
    return "tune" if int(content[:8], 16) % 2 == 0 else "report"


# ── the plan ──


class _Planned(NamedTuple):
    query: Query
    file: str
    recipe: Recipe


def _drawn(*words: object) -> int:
    """A number that these words decide."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, words)).encode()).digest()[:8], "big")


def _planned(
    references: tuple[Film, ...],
    strangers: tuple[Film, ...],
    edits: Sequence[str],
    *,
    seed: int,
    number: int,
    longest_seconds: float,
) -> list[_Planned]:
    """Every query of the references, and one per group of edits of each stranger."""
    groups: dict[str, list[str]] = {}
    for edit in edits:
        if EDITS[edit].stretch != "spliced":  # which would show references
            groups.setdefault(EDITS[edit].group, []).append(edit)
    wanted = [(film, edit, n) for film in references for edit in edits for n in range(number)]
    wanted += [
        (film, of_group[_drawn(seed, film.content_id, group) % len(of_group)], 0)
        for film in strangers
        for group, of_group in groups.items()
    ]
    planned = []
    for film, edit, n in wanted:
        half = half_of(film.content_id)
        around = [other for other in strangers if other is not film]
        made = recipe(
            edit,
            film,
            np.random.default_rng(_drawn(seed, film.content_id, edit, n)),
            strangers=_of_half(around, half, at_least=2),
            references=_of_half(references, half, at_least=3),
            longest_seconds=longest_seconds,
        )
        name = f"{_reference_name(film)}-{edit}-{n}"
        file = f"queries/{name}-{made.digest}.mp4"
        seconds = float(sum(piece.frames for piece in made.pieces) / made.frames_per_second)
        query = Query(name, file, edit, half, film.content_id, ",".join(made.filters), seconds, made.truths)
        planned.append(_Planned(query, file, made))
    return planned


def _of_half(films: Sequence[Film], half: Half, *, at_least: int) -> tuple[Film, ...]:
    """Those of the same half; all, where they are too few."""
    same = tuple(film for film in films if half_of(film.content_id) == half)
    return same if len(same) >= at_least else tuple(films)


def _reference_name(film: Film) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(film.source).stem)[:60].strip("._") or "video"
    return f"{stem}-{film.content_id[:8]}"


# ── files ──


def _linked(film: Film, place: Path) -> Reference:
    """Puts a link to a clean video among the references; a copy where links cannot be had."""
    name = film.name or _reference_name(film)
    path = place / "references" / f"{name}{Path(film.source).suffix.lower()}"
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(film.source)
    except OSError:
        shutil.copyfile(film.source, path)
    content = film.content_id
    return Reference(name, f"references/{path.name}", content, film.source, half_of(content), film.seconds)


def _write(benchmark: Benchmark) -> None:
    """Truth first; what names it, last and at once."""
    place = benchmark.folder
    with (place / "truth.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(_TRUTH_COLUMNS)
        table.writerows(_row(query.name, truth) for query in benchmark.queries for truth in query.truths)
    document = {
        "seed": benchmark.seed,
        "settings": benchmark.settings,
        "versions": benchmark.versions,
        "references": [asdict(reference) for reference in benchmark.references],
        "strangers": benchmark.strangers,
        "queries": [{k: v for k, v in asdict(query).items() if k != "truths"} for query in benchmark.queries],
        "refused": [refused._asdict() for refused in benchmark.refused],
        "missing": benchmark.missing,
    }
    part = place / "benchmark.json.part"
    part.write_text(json.dumps(document, indent=1), "utf-8")
    part.replace(place / "benchmark.json")


def _row(query: str, truth: Truth) -> list[object]:
    ends = (truth.query_span.start, truth.query_span.end, truth.reference_span.start, truth.reference_span.end)
    return [
        query,
        truth.reference,
        *(round(end, 6) for end in ends),
        truth.speed,
        int(truth.mirrored),
        truth.rotation_degrees,
    ]


def _truth(row: dict[str, str]) -> Truth:
    return Truth(
        row["reference"],
        Span(float(row["query_start_seconds"]), float(row["query_end_seconds"])),
        Span(float(row["reference_start_seconds"]), float(row["reference_end_seconds"])),
        float(row["speed"]),
        row["mirrored"] == "1",
        int(row["rotation_degrees"]),
    )


# ── work in other processes ──


def _usable(
    sources: Sequence[str], workers: int | None, tell: Callable[[str, int, int], None]
) -> tuple[list[Film], list[Refused]]:
    """The videos a benchmark can be made of, in the order of their content; the others with the reason."""
    looked: dict[str, Film | str] = {}
    for (source,), found in in_processes(_looked_at, [(source,) for source in sources], workers):
        looked[source] = found
        tell("looking", len(looked), len(sources))
    films: dict[str, Film] = {}
    refused = []
    for source in sources:
        found = looked[source]
        if isinstance(found, str):
            refused.append(Refused(source, found))
        elif found.content_id in films:
            refused.append(Refused(source, f"the same bytes as {films[found.content_id].source}"))
        else:
            films[found.content_id] = found
    return sorted(films.values(), key=lambda film: film.content_id), refused


def _looked_at(source: str) -> Film | str:
    """A film, or why it is of no use; decoded to the end, for what a container promises may not be there."""
    if "://" in source:
        return "a URL; copy it here first"
    contrast, times = 0.0, []
    try:
        content = content_id(source)
        with open_video(source) as reader:
            video = reader.video
            for _, frame in reader.read([Tap(EveryFrame(), Picture(32, 32, "gray", "area"))]):
                contrast = max(contrast, float(frame.pixels.std()))
                times.append(frame.shown_seconds)
    except (MediaError, OSError) as error:
        return error.reason if isinstance(error, MediaError) else str(error)
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    seconds = times[-1] + step
    if seconds < _SHORTEST_SECONDS or step <= 0:
        return f"too short: {seconds:.2f} s of at least {_SHORTEST_SECONDS:g} s"
    if contrast < _FLAT:
        return "of one colour throughout"
    rate = video.frame_rate or Fraction(1 / step).limit_denominator(1001)
    return Film(None, content, source, seconds, video.width, video.height, rate)


def _rendered(made: Recipe, output: Path) -> str | None:
    """Renders one query; why not, where it cannot be."""
    try:
        render(made, output)
    except MediaError as error:
        return str(error)
    except OSError as error:  # FFmpeg's errors are of this kind, too
        return f"{type(error).__name__}: {error}"
    return None


def in_processes(
    work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int | None
) -> Iterator[tuple[tuple[Any, ...], T | str]]:
    """Each job with what came of it, as they finish; a job whose process died says so instead.

    On Ctrl-C what has begun is finished, and nothing else is begun.
    """
    count = min(workers or available_cores(), max(1, len(jobs)))
    context = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(count, mp_context=context, initializer=_deaf_to_interrupts) as pool:
        waiting = {pool.submit(work, *job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                try:
                    yield waiting[future], future.result()
                except BrokenExecutor:
                    yield waiting[future], "a process died over it or one beside it; try again"
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _deaf_to_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
