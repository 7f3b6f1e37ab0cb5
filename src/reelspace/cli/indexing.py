"""`index`, `status`, `forget` and `export`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reelspace.cli.embedding import licence_notice
from reelspace.cli.output import console, count, notices, print_json, print_rows, seconds, shortened, shown, size
from reelspace.core.clips import Mode
from reelspace.core.compact import Precision
from reelspace.encoders.load import Dtype
from reelspace.errors import InvalidArgument
from reelspace.extract.events import Event, FileDone, Report
from reelspace.extract.events import Progress as Decoding
from reelspace.library import Library, default_place
from reelspace.media.sources import find_videos
from reelspace.models import open_models
from reelspace.tasks.calibration import Calibration, read_calibration

__all__ = ["export", "forget", "index", "status"]

_SHOWN_FAILURES = 20


def index(
    paths: Sequence[str],
    *,
    library: Path | None,
    workers: int | None,
    retry_failed: bool,
    keep_partial: bool,
    fast: bool | None,
    tmk: bool,
    precision: Precision | None,
    encoders: Sequence[str],
    windows: Mode,
    device: str,
    dtype: Dtype,
    compiled: bool,
    batch: int | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Runs `reelspace index`."""
    sources = find_videos(paths, exclude=[library or default_place()])  # before a misspelt path makes a library
    licence_notice(encoders)
    models = open_models(encoders, windows=windows, device=device, dtype=dtype, compiled=compiled)
    place = Library(library, fast=fast, tmk=tmk, frame_precision=precision)
    with _Watch(len(sources)).shown() as watch:
        report = place.add(
            sources,
            encoders=models,
            batch=batch,
            workers=workers,
            retry_failed=retry_failed,
            keep_partial=keep_partial,
            on_event=watch.tell,
        )
    if as_json:
        print_json({"library": place.path, **asdict(report)})
    else:
        _tell_report(report, place, len(sources))
    if report.interrupted:
        again = shlex.join(["reelspace", *sys.argv[1:]])
        notices().print(f"Stopped. What was done is kept; go on with:  {shown(again)}")
        raise SystemExit(130)
    if strict and (report.failed or report.known_failures):
        raise SystemExit(1)


def status(*, library: Path | None, files: bool, as_json: bool) -> None:
    """Runs `reelspace status`."""
    place = Library(library, create=False)
    summary, entries = place.status(), place.files()
    failed = [entry for entry in entries if entry.outcome == "failed"]
    rests_on = _calibration(place)
    if as_json:
        listed = entries if files else failed
        print_json(
            {
                "library": place.path,
                **asdict(summary),
                "spaces": {name: space.fingerprint for name, space in place.spaces().items()},
                "outdated": list(place.outdated),
                "threshold": place.threshold,
                "calibrated": rests_on and {"videos": rests_on.videos, "false_positives": rests_on.false_positives},
                "files" if files else "failures": [
                    {"source": e.source, "outcome": e.outcome, "reason": e.reason, "video_id": e.video_id}
                    for e in listed
                ],
            }
        )
        return
    out = console()
    out.print(f"[bold]{shown(str(place.path))}[/]  {size(summary.size_bytes)} on disk")
    footage = seconds(summary.video_seconds)
    indexed = f"{count(summary.indexed, 'file')} indexed: {count(summary.videos, 'different video')}"
    out.print(f"{indexed}, {footage} of footage")
    for name, space in place.spaces().items():
        out.print(f"  {name}: {count(summary.rows.get(name, 0), 'row')} of {space}", style="dim")
    for name in place.outdated:
        out.print(
            f"[yellow]The rows of {name} were made by another version of it and are not used:[/]  reelspace forget "
            f"--encoder {name}, then index the videos again."
        )
    how = f"calibrated when it held {count(rests_on.videos, 'video')}" if rests_on else "not calibrated"
    out.print(f"  copies are reported from a score of {place.threshold:.3g} on, {how}", style="dim")
    if files:
        names = shortened([entry.source for entry in entries])
        rows = [(names[entry.source], entry.outcome, entry.reason or "") for entry in entries]
        print_rows(rows, header=("file", "outcome", "note"))
    elif failed:
        out.print(f"{count(len(failed), 'file')} failed:")
        _print_failures([(entry.source, entry.reason or "") for entry in failed], limit=None)


def forget(
    paths: Sequence[str], *, missing: bool, encoder: str | None, library: Path | None, as_json: bool
) -> None:
    """Runs `reelspace forget`."""
    if not paths and not missing and encoder is None:
        raise InvalidArgument(
            "forget what? Name files or folders, or give --missing for all that are gone, or --encoder for a model"
        )
    place = Library(library, create=False)
    if encoder is not None:
        if paths or missing:
            raise InvalidArgument("forget either files or the vectors of a model, not both at once")
        space = place.forget_vectors(encoder)
        if as_json:
            print_json({"library": place.path, "forgotten_space": space})
        else:
            console().print(f"Took the vectors of {shown(space)} out of {shown(str(place.path))}.")
        return
    forgotten = place.forget([*paths, *(place.missing() if missing else ())])
    if as_json:
        print_json({"library": place.path, "forgotten": forgotten})
    else:
        console().print(f"Took {count(forgotten, 'file')} out of {shown(str(place.path))}.")
    if forgotten < len(paths):
        notices().print("Not all of these names are in the library; `reelspace status --files` lists what is.")


def export(output: Path, *, library: Path | None, what: str, as_json: bool) -> None:
    """Runs `reelspace export`."""
    place = Library(library, create=False)
    rows = place.export(output, what=what)
    if as_json:
        print_json({"library": place.path, "output": output, "what": what, "rows": rows})
    else:
        console().print(f"Wrote {count(rows, 'row')} to {shown(str(output))} ({size(output.stat().st_size)}).")


def _calibration(place: Library) -> Calibration | None:
    """What the library's threshold rests on; None where the default is in force."""
    kept = read_calibration(place.path)
    # One of vectors that copies are not found by any more does not count.
    return kept if kept is not None and kept.threshold == place.threshold else None


class _Watch:
    """The progress of a run, on stderr: a bar where that is a terminal, else a line per failed file."""

    def __init__(self, files: int) -> None:
        self._console = notices()
        self._bar = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failed]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("files", total=files, rate="", failed="")
        self._in_flight: dict[str, float] = {}
        self._video_seconds = 0.0
        self._failed = 0

    @contextmanager
    def shown(self) -> Iterator[_Watch]:
        """Draws the bar for as long as the block runs, when somebody can see it."""
        if self._console.is_terminal:
            with self._bar:
                yield self
        else:
            yield self

    def tell(self, event: Event) -> None:
        """Takes one event of the run."""
        if isinstance(event, Decoding):
            self._in_flight[event.source] = event.video_seconds
        else:
            self._finish(event)
        elapsed = self._bar.tasks[0].elapsed or 0.0
        decoded = self._video_seconds + sum(self._in_flight.values())
        rate = f"{decoded / elapsed:.0f} s of video per s" if elapsed > 0.5 and decoded else ""
        self._bar.update(self._task, rate=rate)

    def _finish(self, done: FileDone) -> None:
        self._in_flight.pop(done.source, None)
        self._video_seconds += done.video_seconds
        if done.outcome == "failed":
            self._failed += 1
            self._console.print(f"[red]failed[/]  {shown(done.source)}: {shown(done.reason or '')}")
        failed = f"[red]{self._failed} failed[/]" if self._failed else ""
        self._bar.update(self._task, advance=1, failed=failed)


def _tell_report(report: Report, place: Library, files: int) -> None:
    out = console()
    if not files:
        out.print("No video files there. A file named by itself is always taken; folders are searched by suffix.")
        return
    parts = []
    if report.indexed:
        rate = report.video_seconds / report.elapsed_seconds if report.elapsed_seconds else 0.0
        parts.append(f"{report.indexed} indexed ({seconds(report.video_seconds)} of video, {rate:.0f} s per s)")
    if report.same_content:
        parts.append(f"{report.same_content} with bytes that were there already")
    if report.skipped:
        parts.append(f"{report.skipped} done before")
    if report.failed:
        parts.append(f"[red]{len(report.failed)} failed[/]")
    if report.known_failures:
        parts.append(f"{len(report.known_failures)} failed before, unchanged (--retry-failed tries again)")
    if report.interrupted:
        done = report.indexed + report.same_content + report.skipped
        parts.append(f"{files - done - len(report.failed) - len(report.known_failures)} left")
    out.print(
        f"{count(files, 'file')} in {seconds(report.elapsed_seconds)}: " + ", ".join(parts or ["nothing to do"])
    )
    if report.known_failures:
        _print_failures([(f.source, f.reason or "") for f in report.known_failures], limit=_SHOWN_FAILURES)
    out.print(f"Library: {shown(str(place.path))}", style="dim")


def _print_failures(failures: Sequence[tuple[str, str]], *, limit: int | None) -> None:
    names = shortened([source for source, _ in failures])
    print_rows([(names[source], reason) for source, reason in failures[:limit]], indent="  ")
    if limit is not None and len(failures) > limit:
        console().print(f"  ... and {len(failures) - limit} more: reelspace status")
