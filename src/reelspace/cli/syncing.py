"""`sync`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reelspace.cli.output import console, count, notices, print_json, print_rows, seconds, shortened, shown
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.sync import SYNC_METHODS, PairOffset, Sync, synchronise

__all__ = ["sync"]

FORMATS = (".json", ".csv")


def sync(
    videos: Sequence[str],
    *,
    method: str,
    least_confidence: float,
    plot: Path | None,
    render: Path | None,
    output: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Runs `reelspace sync`."""
    _check(method, plot, render, output)
    with _watched() as told:
        found = synchronise(
            videos, method=method, least_confidence=least_confidence, workers=workers, on_progress=told
        )
    for one in found.unreadable:
        notices().print(f"[red]left out[/]  {shown(one.source)}: {shown(one.reason)}")
    written: dict[str, str] = {}
    if output is not None:
        output.write_text(_as_csv(found) if output.suffix.lower() == ".csv" else _as_json(found), "utf-8")
        written["output"] = str(output)
    if plot is not None:
        from reelspace.plots import plot_timeline

        written["plot"] = str(
            plot_timeline([[(r.source, r.span, r.confidence) for r in g] for g in found.groups], plot)
        )
    if render is not None and found.groups:
        from reelspace.media.grid import render_grid

        first = found.groups[0]
        render_grid([r.source for r in first], starts_seconds=[r.span.start for r in first], output=render)
        written["render"] = str(render)
    if as_json:
        print_json({**found.to_dict(), **written})
    else:
        _tell(found, written)
    if not found.groups:
        raise SystemExit(1)


def _check(method: str, plot: Path | None, render: Path | None, output: Path | None) -> None:
    """Refuses what could not be answered or written, before films are decoded for it."""
    if method not in SYNC_METHODS:
        raise UnknownName("method of synchronising", method, SYNC_METHODS)
    if plot is not None:
        from reelspace.plots import ready

        ready(plot)
    if render is not None and (render.suffix.lower() != ".mp4" or render.is_dir()):
        raise InvalidArgument(f"--render names an .mp4 file, got {str(render)!r}")
    if output is not None and (output.suffix.lower() not in FORMATS or output.is_dir()):
        raise InvalidArgument(f"--output names a .json or .csv file, got {str(output)!r}")
    for path in (render, output):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _watched() -> Iterator[Callable[[str, float], None]]:
    """Says on stderr, where that is a terminal, how many seconds of video were read."""
    reached: dict[str, float] = {}
    with notices().status("reading") as status:

        def told(source: str, video_seconds: float) -> None:
            news = video_seconds >= reached.get(source, 0.0) + 1.0
            if news or source not in reached:
                reached[source] = video_seconds
                status.update(f"{sum(list(reached.values())):.0f} s of video read")

        yield told


def _tell(found: Sync, written: dict[str, str]) -> None:
    """The table of each group, and what did not fit."""
    out = console()
    names = shortened([r.source for group in found.groups for r in group] + [one.source for one in found.unplaced])
    for number, group in enumerate(found.groups, start=1):
        if len(found.groups) > 1:
            out.print(f"[bold]event {number}[/]")
        rows = [
            (
                str(place),
                f"{r.span.start:.3f} s",
                seconds(r.span.duration),
                f"{r.confidence:.3f}",
                f"{r.residual_seconds:.3f} s",
                names[r.source],
            )
            for place, r in enumerate(group, start=1)
        ]
        print_rows(rows, header=("", "starts at", "length", "confidence", "residual", "recording"))
    if not found.groups:
        out.print("no two recordings show the same event at the same time", style="yellow")
    for one in found.unplaced:
        out.print(f"[yellow]not placed[/]  {shown(names[one.source])}: {shown(one.reason)}")
    for pair in found.outliers:
        out.print(f"[yellow]disagrees[/]  {_outlier(pair, names)}")
    if found.cycle_count:
        open_ones = f"{len(found.cycles)} do not close" if found.cycles else "all close"
        out.print(f"{count(found.cycle_count, 'cycle')} of three checked, {open_ones} to 0.2 s", style="dim")
    for name, path in written.items():
        out.print(f"{name}: {shown(path)}")


def _outlier(pair: PairOffset, names: dict[str, str]) -> str:
    return (
        f"{shown(names[pair.a])} and {shown(names[pair.b])}: by themselves {pair.offset_seconds:+.3f} s apart "
        f"(probability {pair.probability:.2f}), which the others contradict"
    )


def _as_json(found: Sync) -> str:
    return json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n"


def _as_csv(found: Sync) -> str:
    """One row per recording; those on no timeline have no event."""
    text = io.StringIO()
    fields = ("event", "recording", "start_seconds", "end_seconds", "confidence", "residual_seconds", "reason")
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    for event, group in enumerate(found.groups, start=1):
        for r in group:
            row: dict[str, Any] = asdict(r)
            table.writerow(
                {
                    "event": event,
                    "recording": r.source,
                    "start_seconds": round(r.span.start, 6),
                    "end_seconds": round(r.span.end, 6),
                    "confidence": round(row["confidence"], 6),
                    "residual_seconds": round(row["residual_seconds"], 6),
                }
            )
    for one in (*found.unplaced, *found.unreadable):
        table.writerow({"recording": one.source, "reason": one.reason})
    return text.getvalue()
