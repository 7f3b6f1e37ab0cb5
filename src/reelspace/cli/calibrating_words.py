"""The words of `reelspace calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["calibrating"]

calibrating = typer.Typer()


@calibrating.command("calibrate")
def calibrate(
    *,
    library: Annotated[
        Path | None,
        typer.Option(
            "--library",
            "-l",
            envvar="REELSPACE_LIBRARY",
            show_default="./.reelspace",
            help="Folder of the library.",
        ),
    ] = None,
    false_positives: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            help="Wanted share of queries for which something is reported although the library holds no copy.",
        ),
    ] = 0.01,
    noise: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            metavar="FOLDER",
            help="Videos that surely share nothing with the library, or a library of them: queries, too.",
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="At most so many videos are queries.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Find the score that strangers in your library reach only so often; `copies` and `match` then use it."""
    from reelspace.cli import calibrating as words

    words.calibrate(
        library=library, false_positives=false_positives, noise=noise, sample=sample, seed=seed, as_json=as_json
    )
