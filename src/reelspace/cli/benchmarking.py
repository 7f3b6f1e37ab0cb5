"""`benchmark make` and `benchmark run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reelspace.cli.output import console, count, notices, print_json, print_rows, shown, watched
from reelspace.errors import MissingExtra
from reelspace.evaluation.benchmark_make import make_benchmark
from reelspace.evaluation.benchmark_run import Which, run_benchmark
from reelspace.evaluation.report import Report

__all__ = ["make", "run"]

_SHOWN_REFUSED = 20


def make(
    videos: Sequence[str],
    *,
    output: Path,
    seed: int,
    queries_per_clip: int,
    edits: Sequence[str],
    distractors: int | None,
    longest_seconds: float,
    workers: int | None,
    as_json: bool,
) -> None:
    """Runs `reelspace benchmark make`."""
    with watched() as tell:
        made = make_benchmark(
            videos,
            output,
            seed=seed,
            queries_per_clip=queries_per_clip,
            edits=edits,
            distractors=distractors,
            longest_seconds=longest_seconds,
            workers=workers,
            on_progress=tell,
        )
    truths = sum(len(query.truths) for query in made.queries)
    if as_json:
        print_json(
            {
                "benchmark": made.folder,
                "seed": made.seed,
                "references": len(made.references),
                "distractors": len(made.strangers),
                "queries": len(made.queries),
                "truths": truths,
                "missing": made.missing,
                "refused": [refused._asdict() for refused in made.refused],
            }
        )
    else:
        console().print(
            f"{count(len(made.references), 'reference')}, {count(len(made.strangers), 'distractor')}, "
            f"{count(len(made.queries), 'edited video')} with {count(truths, 'copied piece')} in "
            f"{shown(str(made.folder))}. Next:  reelspace benchmark run {shown(shlex.quote(str(output)))}"
        )
        if made.refused:
            print_rows(made.refused[:_SHOWN_REFUSED], header=("left out", "why"))
    if made.missing:
        again = shlex.join(["reelspace", *sys.argv[1:]])
        notices().print(f"Stopped, {made.missing} left. What was done is kept; go on with:  {shown(again)}")
        raise SystemExit(130)


def run(
    folder: Path, *, methods: Sequence[str], half: Which, workers: int | None, output: Path | None, as_json: bool
) -> None:
    """Runs `reelspace benchmark run`."""
    with watched() as tell:
        result = run_benchmark(folder, methods=methods, half=half, workers=workers, on_progress=tell)
    for file, reason in result.unreadable.items():
        notices().print(f"[red]cannot be read[/]  {shown(file)}: {shown(reason)}")
    if as_json:
        unreadable = dict(result.unreadable)
        documents = {name: getattr(result, name).document() for name in ("groups", "edits")}
        print_json({"benchmark": folder, **documents, "unreadable": unreadable})
    else:
        _print_report(result.groups)
        console().print()
        _print_report(result.edits)
    if output is not None:
        for name in ("groups", "edits"):
            _write(getattr(result, name), output / name)


def _print_report(report: Report) -> None:
    print_rows(report.cells(), header=report.columns)


def _write(report: Report, folder: Path) -> None:
    try:
        report.write(folder)
    except MissingExtra as error:  # the texts are written, only the curves are not drawn
        notices().print(f"{shown(str(folder))}: no pictures, {shown(str(error))}")
