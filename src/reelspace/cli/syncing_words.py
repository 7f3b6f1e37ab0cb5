"""The words of `reelspace sync`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["sync"]


def sync(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO", help="Recordings of one event: files, folders, globs or URLs.")
    ],
    method: Annotated[
        str, typer.Option(help="Where offsets of pairs come from: correlation, tmk, tmk-poullot or cte.")
    ] = "correlation",
    least_confidence: Annotated[
        float, typer.Option("--least-confidence", min=0, max=0.99, help="Leave out what fits with less.")
    ] = 0.5,
    plot: Annotated[Path | None, typer.Option(help="Draw the timeline into this file.")] = None,
    render: Annotated[
        Path | None, typer.Option(help="Write the largest group as a grid, in sync and silent, to this .mp4.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the timeline to this .json or .csv file.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, show_default="all cores", help="Files decoded at the same time.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")
    ] = False,
) -> None:
    """One timeline for many recordings of one event. Exits 1 when no two of them fit together."""
    from reelspace.cli import syncing

    syncing.sync(
        videos,
        method=method,
        least_confidence=least_confidence,
        plot=plot,
        render=render,
        output=output,
        workers=workers,
        as_json=as_json,
    )
