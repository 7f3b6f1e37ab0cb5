"""The datasets of videoalignment, evaluated by any method: the rows of the published tables beside ours.

By default what is wrong in the original evaluators is put right; ``as_published`` reproduces them, number for
number. Of each dataset `FAULTS` says what differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.expansion import EXPANSIONS, Expansion
from reelspace.alignment.fourier import FourierKernel
from reelspace.alignment.kernel_file import read_kernel
from reelspace.alignment.methods import LEARNED, METHODS
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.evaluation.datasets import evve
from reelspace.evaluation.datasets.climbing import read_climbing
from reelspace.evaluation.datasets.embedding import embed_missing
from reelspace.evaluation.datasets.layout import DEFAULT_FEATURES, FRAMES_PER_SECOND, FeatureFolder, Stretch
from reelspace.evaluation.datasets.madonna import madonna_fold, read_madonna
from reelspace.evaluation.datasets.recordings import AlignmentSet
from reelspace.evaluation.datasets.vcdb import Vcdb, read_vcdb, vcdb_fold
from reelspace.evaluation.metrics_alignment import (
    detections,
    found_and_known,
    localization_errors,
    localized,
    mean_average_precision,
    precision_recall,
    ranked_average_precision,
)
from reelspace.evaluation.published import PUBLISHED
from reelspace.evaluation.report import Cell, Curve, Provenance, Report, file_digest
from reelspace.evaluation.searches import (
    Best,
    ExactCteSearch,
    KernelSearch,
    PublishedCteSearch,
    Search,
    Sequences,
    SumSearch,
    best_by_length,
)

__all__ = ["DATASETS", "FAULTS", "TABLE", "Evaluation", "Setting", "evaluate"]

_MOST_POINTS = 500  # of a curve in a report
_PUBLISHED_DEPTH = 50  # Madonna's mAP looks at so many
_PUBLISHED_STEP = 5  # and tries every fifth offset
_CTE_HARMONICS = 64
_LIMITS_SECONDS = (0.1, 1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """One method with its parameters: one row of a table.

    Attributes:
        method: ``tmk``, ``tmk-poullot``, ``cte``, ``sum`` or ``lamv``.
        norm: a name of `fourier.NORMS`; None for the method's own.
        harmonics: m; None for the method's own (16; of CTE all, or 64 as published).
        periods: in frames of 1/15 s; none for the method's own.
        kernel: file of a learned kernel, for ``lamv``.
        expansion: ``aqe`` or ``don``, for EVVE; None for none.
        added: N1 of the expansion, None for its own.
        subtracted: N2, likewise.
        consistent: whether an expansion takes only what agrees in time.
        longest_offset: as published, so many frames are tried in both directions; None for the dataset's own.
        as_published: with the faults of videoalignment.

    Raises:
        UnknownName: for another method or expansion.
        InvalidArgument: for parameters the method does not have.
    """

    method: str
    norm: str | None = None
    harmonics: int | None = None
    periods: tuple[int, ...] = ()
    kernel: str | os.PathLike[str] | None = None
    expansion: str | None = None
    added: int | None = None
    subtracted: int | None = None
    consistent: bool = False
    longest_offset: int | None = None
    as_published: bool = False

    def __post_init__(self) -> None:
        if self.method not in {*METHODS, LEARNED}:
            raise UnknownName("temporal method", self.method, [*METHODS, LEARNED])
        if self.expansion is not None and self.expansion not in EXPANSIONS:
            raise UnknownName("query expansion", self.expansion, EXPANSIONS)
        if (self.method == LEARNED) != (self.kernel is not None):
            raise InvalidArgument(
                f"{LEARNED} and a kernel file go together: `reelspace train kernel` writes one; got the method "
                f"{self.method} and {'no kernel' if self.kernel is None else self.kernel}"
            )
        fixed = isinstance(METHODS.get(self.method), FourierKernel)
        if not fixed and (self.norm is not None or self.periods):
            raise InvalidArgument(
                f"{self.method} has no normalisation or periods to choose; tmk and tmk-poullot have"
            )
        if self.harmonics is not None and (self.method in {"sum", LEARNED} or self.harmonics < 1):
            raise InvalidArgument(f"{self.method} has no {self.harmonics} harmonics to choose")
        if self.expansion is not None and not fixed and self.method != LEARNED:
            raise InvalidArgument(f"queries are expanded for temporal kernels, which {self.method} is none of")
        if self.expansion is None and (self.added is not None or self.subtracted is not None or self.consistent):
            raise InvalidArgument(
                "what is added or subtracted, and how, is of a query expansion; name one, aqe or don"
            )
        if self.longest_offset is not None and (self.longest_offset < 1 or not self.as_published):
            raise InvalidArgument(
                "the longest offset is a positive number of frames, and given with as_published; by default every "
                "offset at which two can meet is tried"
            )

    def fourier_kernel(self) -> FourierKernel | None:
        """The kernel, where the method is one."""
        if self.kernel is not None:
            learned = read_kernel(self.kernel)
            if learned.frames_per_second != FRAMES_PER_SECOND:
                raise InvalidArgument(
                    f"{self.kernel} counts {learned.frames_per_second:g} frames a second, and evaluation "
                    f"{FRAMES_PER_SECOND:g}; train it at that rate"
                )
            return learned.kernel
        own = METHODS[self.method]
        if not isinstance(own, FourierKernel):
            return None
        return replace(
            own,
            norm=self.norm or own.norm,
            harmonics=self.harmonics or own.harmonics,
            periods=self.periods or own.periods,
        )

    def query_expansion(self, references: int) -> Expansion | None:
        """How queries are expanded, by no more references than there are."""
        if self.expansion is None:
            return None
        own = EXPANSIONS[self.expansion]
        added = own.added if self.added is None else self.added
        subtracted = own.subtracted if self.subtracted is None else self.subtracted
        return Expansion(min(added, references), min(subtracted, references), consistent=self.consistent)

    @property
    def label(self) -> str:
        """What the table calls it."""
        kernel = METHODS.get(self.method)
        words = [self.method]
        if isinstance(kernel, FourierKernel):
            words.append(self.norm or kernel.norm)
        if self.harmonics is not None:
            words.append(f"m={self.harmonics}")
        if self.expansion is not None:
            words.append(f"+ {self.expansion}")
        return " ".join(words)

    def published(self, dataset: str) -> Mapping[str, float]:
        """The published row for these very parameters, in percent; empty where there is none."""
        own, kernel = METHODS.get(self.method), self.fourier_kernel()
        if not isinstance(own, FourierKernel) or kernel is None or replace(kernel, norm=own.norm) != own:
            return {}
        if self.expansion is not None and (self.query_expansion(10**6) != EXPANSIONS[self.expansion]):
            return {}
        return PUBLISHED.get((dataset, self.method, kernel.norm, self.expansion or ""), {})

    def search(self, sequences: Sequences) -> Search:
        """Reads the sequences by this method."""
        kernel = self.fourier_kernel()
        if kernel is not None:
            return KernelSearch(kernel, sequences, as_published=self.as_published)
        if self.method == "sum":
            return SumSearch(sequences)
        if self.as_published:
            return PublishedCteSearch(sequences, harmonics=self.harmonics or _CTE_HARMONICS)
        return ExactCteSearch(sequences, harmonics=self.harmonics)

    def parameters(self) -> dict[str, Any]:
        """Everything that decides the numbers, for provenance."""
        kernel = self.fourier_kernel()
        given: dict[str, Any] = {
            "expansion": self.expansion,
            "added": self.added,
            "subtracted": self.subtracted,
            "consistent": self.consistent,
            "longest_offset": self.longest_offset,
            "as_published": self.as_published,
            "frames_per_second": FRAMES_PER_SECOND,
        }
        if kernel is not None:
            given |= {"norm": kernel.norm, "harmonics": kernel.harmonics, "periods": kernel.periods}
            given |= {"beta": kernel.beta} if self.kernel is None else {"kernel": read_kernel(self.kernel).digest}
        else:
            given |= {"harmonics": self.harmonics}
        return {name: value for name, value in given.items() if value is not None}


TABLE: tuple[Setting, ...] = (
    Setting("sum"),
    Setting("cte"),
    Setting("tmk-poullot"),
    Setting("tmk", norm="freq"),
    Setting("tmk", norm="feat_freq"),
)
"""What ``all`` stands for; EVVE is also asked with its queries expanded."""

FAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "climbing": (
            "offsets are tried in a fixed range instead of wherever two recordings can meet",
            "CTE transforms each video at its own power of two and is one frame off for negative offsets",
        ),
        "madonna": (
            "offsets are tried in a fixed range instead of wherever two recordings can meet",
            "CTE transforms each video at its own power of two and is one frame off for negative offsets",
            "mAP divides by the recordings found instead of all, looks at 50, and tries every fifth offset",
            "recordings that share no moment with any other count as 0 in the mAP",
        ),
        "evve": (
            "offsets are tried in a fixed range instead of wherever two videos can meet",
            "CTE transforms each video at its own power of two",
            "scores of feat and feat_freq are divided by 512, whatever the dimension (which changes no ranking)",
        ),
        "vcdb": (
            "a missed pair makes the wrong detection count as right and a score of 0 as wrong",
            "offset 0 is not tried: a segment cannot begin where the video does",
            "CTE transforms each video at its own power of two and is one frame off for negative offsets",
        ),
    }
)
"""What ``as_published`` reproduces of each dataset's evaluation in videoalignment, and is put right otherwise."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A report, and what it could not count.

    Attributes:
        report: the table.
        missing: what is wrong with a video whose features could not be read, by its name.
        details: by method: what each recording's offset is off by, in seconds (infinite where no pair is
            annotated), or each query's average precision, by the video's name; nothing of VCDB.
    """

    report: Report
    missing: Mapping[str, str]
    details: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table by one method."""

    name: str
    counts: tuple[int, ...]
    percent: float | None


@dataclass(frozen=True, slots=True)
class _Measured:
    rows: tuple[_Row, ...]
    curves: tuple[Curve, ...]
    details: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Task:
    """A dataset that is read.

    Attributes:
        title: of the report.
        counted: header of the counts of a row.
        stretches: that are read.
        aliases: files not named like their video.
        annotations: files, for their digest.
        measure: what is made of a search.
    """

    title: str
    counted: tuple[str, ...]
    stretches: tuple[Stretch, ...]
    aliases: Mapping[str, str]
    annotations: tuple[Path, ...]
    measure: Callable[[Search, Setting], _Measured]


def evaluate(
    dataset: str,
    root: str | os.PathLike[str],
    settings: Sequence[Setting],
    *,
    features: str | os.PathLike[str] | None = None,
    encoder: str | None = None,
    fold: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Evaluates methods on a dataset in videoalignment's layout.

    Args:
        dataset: a name in `DATASETS`.
        root: its folder.
        settings: one for each pair of columns.
        features: folder of frame features; None for ``rmac_resnet34_29`` in the root, or for one named after the
            encoder.
        encoder: makes the features that are not there from the videos: ``reelprint``, ``pdqf``, or a model of
            pictures.
        fold: of Madonna and VCDB, whose validation side alone is evaluated.
        on_progress: told what is done, how much of it, and of how much.

    Raises:
        UnknownName: for another dataset.
        InvalidArgument: when annotations or all features are missing, or a setting does not fit the dataset.
        FormatError: for annotations that are none.
    """
    if dataset not in DATASETS:
        raise UnknownName("dataset", dataset, DATASETS)
    place = Path(root)
    if dataset != "evve" and any(setting.expansion for setting in settings):
        raise InvalidArgument(f"queries are expanded to retrieve, in evve; {dataset} has none to expand")
    task = DATASETS[dataset](place, fold)
    default = DEFAULT_FEATURES if encoder is None else encoder.replace("/", "-").replace(":", "-")
    folder = FeatureFolder(Path(features or place / default), place / "videos", task.aliases)
    missing: dict[str, str] = {}
    if encoder is not None:
        missing |= embed_missing(folder, task.stretches, encoder, on_progress=on_progress)
    measured, provenance = [], []
    for setting in settings:

        def on_read(done: int, count: int, label: str = setting.label) -> None:
            if on_progress is not None:
                on_progress(label, done, count)

        sequences = Sequences(folder, task.stretches, on_read)
        search = setting.search(sequences)
        measured.append(task.measure(search, setting))
        missing = {**sequences.lost, **missing}
        inputs = {"features": search.read.digest, "annotations": file_digest(*task.annotations)}
        provenance.append(Provenance(setting.label, setting.parameters(), inputs))
    report = Report(
        task.title if fold is None else f"{task.title}, validation side of fold {fold}",
        *_table(dataset, task, settings, measured),
        provenance,
        [curve for one in measured for curve in one.curves],
        _notes(dataset, task, settings, missing),
    )
    details = {setting.label: one.details for setting, one in zip(settings, measured, strict=True)}
    return Evaluation(report, MappingProxyType(missing), MappingProxyType(details))


def _table(
    dataset: str, task: _Task, settings: Sequence[Setting], measured: Sequence[_Measured]
) -> tuple[list[str], list[list[Cell]]]:
    columns = ["", *task.counted]
    for setting in settings:
        columns += [f"{setting.label} %", f"{setting.label}, published %"]
    rows: list[list[Cell]] = []
    for number, first in enumerate(measured[0].rows if measured else ()):
        cells: list[Cell] = [first.name, *first.counts]
        for setting, one in zip(settings, measured, strict=True):
            cells += [one.rows[number].percent, setting.published(dataset).get(first.name)]
        rows.append(cells)
    return columns, rows


def _notes(dataset: str, task: _Task, settings: Sequence[Setting], missing: Mapping[str, str]) -> list[str]:
    videos = len({stretch.video for stretch in task.stretches})
    notes = [f"{videos - len(missing)} of {videos} videos could be read."]
    if missing:
        some = "; ".join(f"{name}: {why}" for name, why in list(missing.items())[:3])
        notes[0] += f" Missing videos are counted nowhere else: {some}" + ("; ..." if len(missing) > 3 else ".")
    heading = (
        "As published, with the faults of videoalignment"
        if any(setting.as_published for setting in settings)
        else "Put right here, unlike in the published numbers"
    )
    return [*notes, f"{heading}: {'; '.join(FAULTS[dataset])}."]


# ── recordings: Climbing, Madonna ──


def _recordings(dataset: AlignmentSet, title: str, file: Path) -> _Task:
    def measure(search: Search, setting: Setting) -> _Measured:
        return _measure_recordings(dataset, search, setting)

    return _Task(title, ("recordings",), dataset.recordings, dataset.aliases, (file,), measure)


def _measure_recordings(dataset: AlignmentSet, search: Search, setting: Setting) -> _Measured:
    everything = np.arange(len(search.read.numbers))
    longest = setting.longest_offset or dataset.longest_offset_frames
    scores, places = _found(search, everything, everything, setting, longest)
    above = np.triu(
        np.ones(scores.shape, bool), k=1
    )  # the earlier recording is the first side, as in videoalignment
    scores, places = np.where(above, scores, scores.T), np.where(above, places, -places.T)
    true = _true_offsets(dataset, search.read.numbers)
    errors = localization_errors(scores, places / FRAMES_PER_SECOND, true)
    rows = [
        _Row(f"< {limit:g} s", (len(errors),), share) for limit, share in localized(errors, _LIMITS_SECONDS).items()
    ]
    if dataset.name == "madonna":
        rows.append(
            _Row("mAP", (len(errors),), 100 * _madonna_precision(search, setting, scores, ~np.isnan(true), longest))
        )
    reached = np.sort(errors[np.isfinite(errors)])
    curve = Curve(
        "localization",
        setting.label,
        np.maximum(reached, 0.01),
        100 * np.arange(1, len(reached) + 1) / len(errors),
        "error of the offset [s]",
        "recordings with no larger one [%]",
        x_logarithmic=True,
    )
    names = [dataset.recordings[number].video for number in search.read.numbers]
    return _Measured(tuple(rows), (_thinned(curve),), dict(zip(names, errors.tolist(), strict=True)))


def _madonna_precision(
    search: Search,
    setting: Setting,
    scores: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    longest: int,
) -> float:
    if setting.as_published:
        everything = np.arange(len(scores))
        scores, _ = search.best(everything, everything, range(-longest, longest, _PUBLISHED_STEP))
        return mean_average_precision(scores, relevant, depth=_PUBLISHED_DEPTH, as_published=True)
    return mean_average_precision(scores, relevant)


def _true_offsets(dataset: AlignmentSet, numbers: Sequence[int]) -> NDArray[np.float64]:
    """Of what was read: second t of k is second t + offset of i; NaN for those that share nothing."""
    count = len(dataset.recordings)
    true = np.full((count, count), np.nan)
    for pair in dataset.pairs:
        true[pair.a, pair.b], true[pair.b, pair.a] = -pair.offset_seconds, pair.offset_seconds
    return true[np.ix_(numbers, numbers)]


# ── EVVE ──


def _evve(root: Path, fold: int | None) -> _Task:
    _no_folds("evve", fold)
    dataset = evve.read_evve(root)

    def measure(search: Search, setting: Setting) -> _Measured:
        return _measure_evve(dataset, search, setting)

    stretches = tuple(Stretch(video.video) for video in (*dataset.queries, *dataset.database))
    files = tuple(sorted((root / "annotations").glob("*.dat")))
    return _Task("EVVE: event retrieval, mAP", ("queries", "positives"), stretches, {}, files, measure)


def _measure_evve(dataset: evve.Evve, search: Search, setting: Setting) -> _Measured:
    videos = [(*dataset.queries, *dataset.database)[number] for number in search.read.numbers]
    split = sum(number < len(dataset.queries) for number in search.read.numbers)
    queries, database = videos[:split], videos[split:]
    if not queries or not database:
        raise InvalidArgument(f"{len(queries)} queries and {len(database)} videos of the database could be read")
    places = np.arange(len(videos))
    longest = setting.longest_offset or evve.LONGEST_OFFSET_FRAMES
    found = _found(search, places[:split], places[split:], setting, longest)
    expansion = setting.query_expansion(len(database))
    if expansion is not None and isinstance(search, KernelSearch):
        reach = longest if setting.as_published else int(search.read.lengths.max())
        found = search.expanded(places[:split], places[split:], found, expansion, range(-reach, reach))
    labels = np.array([video.label for video in database])
    events = np.array([video.event for video in database])
    asked = np.array([query.event for query in queries])
    known = np.where(asked[:, None] == events, labels, 0)  # (Q, R)
    precisions = np.array([ranked_average_precision(*row) for row in zip(found[0], known, strict=True)])
    rows = [
        _Row(
            str(event),
            (int(np.sum(asked == event)), int(np.sum((events == event) & (labels == 1)))),
            100 * float(precisions[asked == event].mean()),
        )
        for event in np.unique(asked)
    ]
    means = [row.percent for row in rows if row.percent is not None]
    total = len(queries), int(np.sum(labels == 1))
    rows += [
        _Row("all queries", total, 100 * float(precisions.mean())),
        _Row("mean of events", total, float(np.mean(means))),
    ]
    curves = []
    if (known == 1).any():
        every = precision_recall(found[0][known >= 0], known[known >= 0] == 1)
        curves.append(_precision_curve(setting.label, every.recall, every.precision))
    details = dict(zip([query.video for query in queries], precisions.tolist(), strict=True))
    return _Measured(tuple(rows), tuple(curves), details)


# ── VCDB ──


def _vcdb(root: Path, fold: int | None) -> _Task:
    dataset = read_vcdb(root)
    if fold is not None:
        dataset = vcdb_fold(dataset, fold, validation=True)

    def measure(search: Search, setting: Setting) -> _Measured:
        return _measure_vcdb(dataset, search, setting)

    files = tuple(sorted((root / "annotation").glob("*.txt")))
    stretches = (*dataset.segments, *dataset.videos)
    return _Task("VCDB: copied segments", ("segments", "pairs"), stretches, {}, files, measure)


def _measure_vcdb(dataset: Vcdb, search: Search, setting: Setting) -> _Measured:
    everything = (*dataset.segments, *dataset.videos)
    split = sum(number < len(dataset.segments) for number in search.read.numbers)
    segments, videos = (
        [everything[number] for number in numbers]
        for numbers in (search.read.numbers[:split], search.read.numbers[split:])
    )
    if not segments or not videos:
        raise InvalidArgument(f"{len(segments)} segments and {len(videos)} videos could be read")
    asked = np.arange(split)
    scores = np.empty((len(segments), len(videos)), np.float32)
    starts = np.empty(scores.shape)
    for column in range(len(videos)):  # each video has offsets of its own
        length = int(search.read.lengths[split + column])
        offsets = range(-length, 0) if setting.as_published else range(1 - length, 1)
        found = search.best(asked, np.array([split + column]), offsets)
        scores[:, column], starts[:, column] = found[0][:, 0], -found[1][:, 0] / FRAMES_PER_SECOND
    hit, known = _labelled(dataset, segments, videos, starts)
    other = np.array([[segment.video != video.video for video in videos] for segment in segments])
    made = detections(scores[other], hit[other], known[other], as_published=setting.as_published)
    curve = precision_recall(made.scores, made.labels, missed=made.missed)
    at = int(np.argmax(np.append(curve.thresholds, np.inf) == curve.best_threshold))
    counts = len(segments), int(np.sum(known[other]))
    rows = [
        _Row("F1", counts, 100 * curve.best_f1),
        _Row("precision", counts, 100 * float(curve.precision[at])),
        _Row("recall", counts, 100 * float(curve.recall[at])),
        _Row("area under the curve", counts, 100 * curve.area),
    ]
    topics = np.array([segment.video.split("/", maxsplit=1)[0] for segment in segments])
    for topic in np.unique(topics):
        chosen = other & (topics == topic)[:, None]
        told = chosen & (scores >= curve.best_threshold)
        right, there = int(np.sum(hit & told)), int(np.sum(known & chosen))
        f1 = 200 * right / max(1, int(np.sum(told)) + there)
        rows.append(_Row(f"F1 of {topic}", (int(np.sum(topics == topic)), there), f1 if there else None))
    return _Measured(tuple(rows), (_precision_curve(setting.label, curve.recall, curve.precision),))


def _labelled(
    dataset: Vcdb, segments: Sequence[Stretch], videos: Sequence[Stretch], starts: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which segments were found in which videos, and which are annotated there: bool (S, V) each."""
    annotated: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for pair in dataset.pairs:
        for a, b in ((pair.a, pair.b), (pair.b, pair.a)):
            interval = (a.begin_seconds, a.end_seconds, b.begin_seconds, b.end_seconds)
            annotated.setdefault((a.video, b.video), []).append(interval)
    hit, known = np.zeros(starts.shape, bool), np.zeros(starts.shape, bool)
    for row, segment in enumerate(segments):
        for column, video in enumerate(videos):
            if (intervals := annotated.get((segment.video, video.video))) is not None:
                hit[row, column], known[row, column] = found_and_known(
                    (segment.begin_seconds, segment.end_seconds), float(starts[row, column]), intervals
                )
    return hit, known


# ── all ──


def _found(
    search: Search, queries: NDArray[np.int64], references: NDArray[np.int64], setting: Setting, longest: int
) -> Best:
    if setting.as_published:
        return search.best(queries, references, range(-longest, longest))
    return best_by_length(search, queries, references)


def _precision_curve(label: str, recall: NDArray[np.float64], precision: NDArray[np.float64]) -> Curve:
    return _thinned(Curve("precision and recall", label, recall[::-1], precision[::-1], "recall", "precision"))


def _thinned(curve: Curve) -> Curve:
    keep = np.unique(np.linspace(0, max(0, len(curve.x) - 1), _MOST_POINTS).astype(np.int64))[: len(curve.x)]
    return replace(curve, x=np.asarray(curve.x)[keep], y=np.asarray(curve.y)[keep])


def _climbing(root: Path, fold: int | None) -> _Task:
    _no_folds("climbing", fold)
    return _recordings(read_climbing(root), "Climbing: temporal alignment", root / "gt_climbing.align")


def _madonna(root: Path, fold: int | None) -> _Task:
    dataset = read_madonna(root)
    if fold is not None:
        dataset = madonna_fold(dataset, fold, validation=True)
    return _recordings(dataset, "Madonna: temporal alignment", root / "gt_madonna.align")


def _no_folds(dataset: str, fold: int | None) -> None:
    if fold is not None:
        raise InvalidArgument(f"{dataset} has no folds; madonna and vcdb have")


DATASETS: Mapping[str, Callable[[Path, int | None], _Task]] = MappingProxyType(
    {"evve": _evve, "climbing": _climbing, "madonna": _madonna, "vcdb": _vcdb}
)
"""The datasets by name."""
