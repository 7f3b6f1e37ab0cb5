"""The words of `reelspace benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["benchmark"]

benchmark = typer.Typer(
    help="A benchmark from your own footage: edited copies with exact truth, and what each method makes of them.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes at work; one per core when left out.")]


Half = Annotated[
    Literal["tune", "report", "all"],
    typer.Option(help="Choose thresholds on `tune`; tell the figures of `report`."),
]


@benchmark.command()
def make(
    *,
    videos: Annotated[list[str], typer.Option(help="A folder, file or glob of clean videos; may be repeated.")],
    out: Annotated[
        Path, typer.Option("--out", "--output", "-o", help="The folder to make it in: new, empty or a benchmark.")
    ],
    seed: Annotated[int, typer.Option(help="Another seed, another benchmark.")] = 0,
    queries_per_clip: Annotated[int, typer.Option(min=1, help="Of each edit.")] = 1,
    edits: Annotated[
        list[str] | None, typer.Option(metavar="NAME[,NAME]", help="Only these edits; may be repeated.")
    ] = None,
    distractors: Annotated[
        int | None, typer.Option(min=3, help="Videos that are no reference; a fifth of them when left out.")
    ] = None,
    longest_seconds: Annotated[
        float, typer.Option(min=2, help="Of a longer video a stretch of this length is edited.")
    ] = 30.0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make edited copies of clean videos, with exact truth. What was stopped goes on where it was."""
    from reelspace.cli import benchmarking as words

    words.make(
        videos,
        output=out,
        seed=seed,
        queries_per_clip=queries_per_clip,
        edits=_names(edits),
        distractors=distractors,
        longest_seconds=longest_seconds,
        workers=workers,
        as_json=as_json,
    )


@benchmark.command()
def run(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where `benchmark make` made it.")],
    method: Annotated[
        list[str] | None, typer.Option(metavar="NAME[,NAME]", help="Only these methods; may be repeated.")
    ] = None,
    half: Half = "report",
    workers: Workers = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the tables as JSON and Markdown, and curves, into this folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search for every edited copy by every method: what is found, how well it is placed, what it costs."""
    from reelspace.cli import benchmarking as words

    words.run(folder, methods=_names(method), half=half, workers=workers, output=output, as_json=as_json)


def _names(given: list[str] | None) -> list[str]:
    return [name for words in given or () for name in words.split(",")]
