"""`calibrate`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from reelspace.cli.output import console, count, notices, print_json, print_rows, shortened, shown
from reelspace.errors import InvalidArgument
from reelspace.library import Library
from reelspace.store.store import RECORD_NAME
from reelspace.tasks.calibration import FILE_NAME, Calibration

__all__ = ["calibrate"]


def calibrate(
    *,
    library: Path | None,
    false_positives: float,
    noise: Path | None,
    sample: int,
    seed: int,
    as_json: bool,
) -> None:
    """Runs `reelspace calibrate`."""
    place = Library(library, create=False)
    with _noise_library(noise, like=place) if noise is not None else nullcontext() as strangers:
        found = place.calibrate(false_positives=false_positives, noise=strangers, sample=sample, seed=seed)
        names = _names(found, place, *([strangers] if strangers is not None else []))
    closest = [(names[pair.query], names[pair.reference], pair.score) for pair in found.closest]
    if as_json:
        fields = {name: getattr(found, name) for name in Calibration.__dataclass_fields__}
        pairs = [dict(zip(("query", "reference", "score"), pair, strict=True)) for pair in closest]
        print_json({"library": place.path, **fields, "closest": pairs, "written": place.path / FILE_NAME})
        return
    out, wanted = console(), found.false_positives
    folder = shown(str(place.path))
    out.print(
        f"[bold]Threshold {found.threshold:.3f}[/]: meant to let through at most {wanted:.2%} of the queries that "
        f"have no copy in {folder}."
    )
    low, high = found.rate_interval
    out.print(
        f"Seen: {found.queries} queries among {count(found.pairs, 'pair')} of strangers; {found.rate:.2%} of the "
        f"queries reach it (95 % confidence: {low:.2%} to {high:.2%})."
    )
    if found.extrapolated:
        placed = (
            f"How their scores fall off says little of it: the threshold stops at {found.threshold:.3f}, or copies "
            "would be silenced, and may let through more than wanted."
            if found.threshold >= found.copies_from
            else "The threshold lies beyond all that were seen, by how their scores fall off."
        )
        out.print(
            f"To have seen {wanted:.2%} takes {math.ceil(1 / wanted) - 1} queries. {placed} "
            "More videos, or a noise set (--noise), would settle it."
        )
    if found.copies:
        out.print(f"Left out as copies: {count(found.copies, 'pair')} that score {found.copies_from:g} or more.")
    if closest:
        out.print("\nThe closest strangers. If some of them share footage after all, the threshold is too high:")
        short = shortened([source for pair in closest for source in pair[:2]])
        rows = [(short[query], short[reference], f"{score:.3f}") for query, reference, score in closest]
        print_rows(rows, header=("query", "reference", "score"))
    out.print(f"\nKept in {folder}: `copies` and `match` use it where no --threshold is given.")


def _names(found: Calibration, *libraries: Library) -> dict[str, str]:
    """Path or URL of the videos that are named, by content id."""
    wanted = {video for pair in found.closest for video in pair[:2]}
    entries = (entry for library in libraries for entry in library.files())
    return {entry.video_id: entry.source for entry in entries if entry.video_id in wanted}


@contextmanager
def _noise_library(folder: Path, *, like: Library) -> Iterator[Library]:
    """The library in a folder, or its videos, indexed as ``like`` is for as long as they are needed."""
    if (folder / RECORD_NAME).is_file():
        yield Library(folder, create=False)
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = Library(Path(scratch) / "noise", fast=like.fast, tmk=False)
        report = made.add(folder)
        if report.interrupted:
            raise KeyboardInterrupt
        for failed in report.failed:
            notices().print(f"[red]failed[/]  {shown(failed.source)}: {shown(failed.reason or '')}")
        if not made.spaces():
            raise InvalidArgument(
                f"no video in {folder} can be read; a noise set is a folder of videos, or a library"
            )
        yield made
