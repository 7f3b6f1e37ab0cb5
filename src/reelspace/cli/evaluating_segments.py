"""`evaluate vsc2022` and `evaluate vcsl`: copied segments, predicted by anyone or found here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from reelspace.alignment.segments import METHODS
from reelspace.cli.output import console, count, notices, print_json, print_rows, shown
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.evaluation import vcsl as vcsl_files
from reelspace.evaluation import vsc2022 as vsc_files
from reelspace.evaluation.metrics_segments import PairSegments
from reelspace.evaluation.predictions import in_pairs, library_matches
from reelspace.evaluation.report import Provenance, Report, file_digest
from reelspace.library import Library
from reelspace.plots import ready
from reelspace.store.store import RECORD_NAME
from reelspace.tasks.copies import DEFAULT_THRESHOLD

__all__ = ["vcsl", "vsc2022"]

VSC_PREDICTIONS = "matching_results.csv"
VCSL_PREDICTIONS = "predictions.json"

_DESCRIPTORS = ".npz"


def vsc2022(
    *,
    truth: Path,
    predictions: Path | None,
    descriptors: tuple[Path, Path] | None,
    noise: Path | None,
    beta: float,
    queries: Path | None,
    references: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Runs `reelspace evaluate vsc2022`."""
    if (
        (predictions and queries)
        or bool(queries) != bool(references)
        or not (predictions or queries or descriptors)
    ):
        raise InvalidArgument(
            "give predictions (--predictions), or what to find them in (--queries and --references), "
            "or descriptors to judge (--descriptors)"
        )
    if noise and not descriptors:
        raise InvalidArgument("a noise set normalises descriptors; give them with --descriptors QUERIES REFERENCES")
    if output is not None:
        ready(output / "report.png")
    true = vsc_files.read_matches(truth, scored=False)
    reports: dict[str, Report] = {}
    written: list[Path] = []
    if descriptors is not None:
        ours, theirs = _sides(*descriptors)
        if noise is not None:
            background = vsc_files.read_descriptors(noise, prefix="R")
            ours, theirs = vsc_files.normalised(ours, theirs, background, beta=beta)
        made = _made(
            "inner products of frames", truth, *descriptors, noise, parameters={"beta": beta if noise else 0}
        )
        pairs = vsc_files.descriptor_pairs(ours, theirs)
        reports["descriptors"] = vsc_files.descriptor_report(pairs, true, provenance=[made])
    if predictions is not None:
        made = _made("predictions", truth, predictions)
        reports["matches"] = vsc_files.match_report(vsc_files.read_matches(predictions), true, provenance=[made])
    if queries is not None and references is not None:
        found = _matches(queries, references)
        made = _made("reelspace copies", truth, queries, references)
        reports["matches"] = vsc_files.match_report(found, true, provenance=[made])
        if output is not None:
            vsc_files.write_matches(output / VSC_PREDICTIONS, found)
            written.append(output / VSC_PREDICTIONS)
    _tell(reports, output=output, written=written, as_json=as_json)


def vcsl(
    *,
    truth: Path,
    predictions: Path | None,
    features: Path | None,
    videos: Path | None,
    pairs: Path | None,
    query_sets: Path | None,
    split: str,
    method: str,
    threshold: float | None,
    as_published: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Runs `reelspace evaluate vcsl`."""
    if sum(place is not None for place in (predictions, features, videos)) != 1:
        raise InvalidArgument("give either predictions (--predictions), features (--features) or videos (--videos)")
    if method not in METHODS:
        raise UnknownName("method of comparing features", method, METHODS)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    least = DEFAULT_THRESHOLD if threshold is None else threshold
    true = vcsl_files.read_segments(truth)
    judged = vcsl_files.read_pairs(pairs) if pairs is not None else None
    sets = vcsl_files.read_query_sets(query_sets, split=split) if query_sets is not None else None
    found: PairSegments = {}
    missing: Sequence[str] = ()
    if predictions is not None:
        found = vcsl_files.read_segments(predictions)
    elif features is not None:
        compared = vcsl_files.compare_features(features, judged or true, threshold=least, method=method)
        found, missing = compared.segments, compared.missing
    elif videos is not None:
        found = in_pairs(_found_in(videos, None, threshold=least), judged or list(true))
    made = _made(
        "predictions" if predictions else f"reelspace, {method}" if features else "reelspace copies",
        *(truth, predictions, pairs, query_sets),
        parameters={"threshold": least, "as_published": as_published},
    )
    report = vcsl_files.segment_report(
        found, true, pairs=judged, query_sets=sets, as_published=as_published, provenance=[made]
    )
    if missing:
        notices().print(f"{count(len(missing), 'video')} without features, such as {shown(missing[0])}")
    written = []
    if output is not None and predictions is None:
        vcsl_files.write_segments(output / VCSL_PREDICTIONS, found)
        written.append(output / VCSL_PREDICTIONS)
    _tell({"segments": report}, output=output, written=written, as_json=as_json)


def _matches(queries: Path, references: Path) -> PairSegments:
    """What is found of the queries in the references: both descriptors, or both videos."""
    of_descriptors = [place.suffix == _DESCRIPTORS for place in (queries, references)]
    if not any(of_descriptors):
        return _found_in(queries, references)
    if not all(of_descriptors):
        raise InvalidArgument(f"{queries} and {references} are of two kinds; give .npz files, or videos, for both")
    ours, theirs = _sides(queries, references)
    return vsc_files.find_matches(ours.matrix(), theirs.matrix())


def _sides(queries: Path, references: Path) -> tuple[vsc_files.Descriptors, vsc_files.Descriptors]:
    return vsc_files.read_descriptors(queries, prefix="Q"), vsc_files.read_descriptors(references, prefix="R")


def _found_in(queries: Path, references: Path | None, *, threshold: float = 0.0) -> PairSegments:
    """What libraries find; a folder of videos is indexed into one that lasts as long as this run."""
    with tempfile.TemporaryDirectory() as scratch:
        libraries = [
            _library(place, Path(scratch) / str(number))
            for number, place in enumerate((queries, references))
            if place is not None
        ]
        return library_matches(*libraries, threshold=threshold)


def _library(place: Path, scratch: Path) -> Library:
    if (place / RECORD_NAME).is_file():
        return Library(place, create=False)
    library = Library(scratch, tmk=False)
    report = library.add(place)
    if report.interrupted:
        raise KeyboardInterrupt
    notices().print(f"{shown(str(place))}: {count(report.indexed, 'video')} indexed, {len(report.failed)} failed")
    if not library.spaces():
        raise InvalidArgument(f"no video in {place} can be read; give a folder of videos, or a library")
    return library


def _made(by: str, *files: Path | None, parameters: Mapping[str, object] | None = None) -> Provenance:
    """What a report was made by, and of which files."""
    inputs = {file.name: file_digest(file) for file in files if file is not None and file.is_file()}
    return Provenance(by, parameters or {}, inputs)


def _tell(reports: Mapping[str, Report], *, output: Path | None, written: Sequence[Path], as_json: bool) -> None:
    """Prints the tables, and writes each into a folder of its own where there are several."""
    files = list(written)
    for name, report in reports.items():
        if output is not None:
            files += report.write(output / name if len(reports) > 1 else output)
    if as_json:
        print_json({"reports": {name: report.document() for name, report in reports.items()}, "written": files})
        return
    for report in reports.values():
        console().print(f"[bold]{shown(report.title)}[/]")
        print_rows(report.cells(), header=list(report.columns))
    if files:
        console().print(f"Wrote {count(len(files), 'file')} to {shown(str(output))}.")
