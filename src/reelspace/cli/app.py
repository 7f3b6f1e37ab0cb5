"""The command's words, and how it ends: 0 done, 1 the work failed, 2 the words were wrong, 130 interrupted."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from reelspace.cli.benchmarking_words import benchmark
from reelspace.cli.calibrating_words import calibrating
from reelspace.cli.evaluating_segments_words import evaluating_segments
from reelspace.cli.evaluating_words import evaluating
from reelspace.cli.kernels_words import train_kernel
from reelspace.cli.model_words import models
from reelspace.cli.syncing_words import sync
from reelspace.cli.train_words import train
from reelspace.errors import InvalidArgument, ReelspaceError

__all__ = ["app", "main"]

_INTERRUPTED = 130

app = typer.Typer(
    name="reelspace",
    help="Turns videos into vectors, and vectors into answers: who copied this, which seconds, how do they align.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
tmk = typer.Typer(
    help="Whole-video TMK+PDQF hashes, interchangeable with ThreatExchange's tools.", no_args_is_help=True
)
app.add_typer(tmk, name="tmk")
train.command("kernel")(train_kernel)
app.add_typer(train, name="train")
app.add_typer(models, name="models")
evaluating.add_typer(evaluating_segments)
app.add_typer(evaluating, name="evaluate")
app.add_typer(benchmark, name="benchmark")
app.add_typer(calibrating)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Place = Annotated[
    Path | None,
    typer.Option(
        "--library", "-l", envvar="REELSPACE_LIBRARY", show_default="./.reelspace", help="Folder of the library."
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, show_default="all cores", help="Files decoded at the same time.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, show_default="the library's own", help="Lowest score of a copied stretch to report."
    ),
]
Plots = Annotated[Path | None, typer.Option(help="Draw a picture of each pair into this folder.")]


Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        "-e",
        metavar="NAME[:OUTPUT]",
        help="A model of `reelspace models`, or hf:ORG/NAME; give it again for several.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="What the model computes in; results are float32.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the model: slow to begin, then faster.")]
Batch = Annotated[int | None, typer.Option(min=1, show_default="what suits the device", help="Clips at a time.")]
Windows = Annotated[
    Literal["tiled", "views", "squashed"],
    typer.Option(
        help="tiled: one vector per window, side by side over the whole video. views: the clips and crops of the "
        "model's own paper, averaged. squashed: the whole video resized to one clip in time."
    ),
]


SearchEncoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        metavar="NAME[:OUTPUT]",
        show_default="the only one there is",
        help="Whose vectors to search.",
    ),
]
PathGlob = Annotated[
    str | None, typer.Option("--path", metavar="GLOB", help="Only videos whose path is like this.")
]
Longer = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Only videos at least so long.")]
Shorter = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Only videos at most so long.")]
Gap = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Hits so close together are one moment.")]
SingleWindows = Annotated[bool, typer.Option("--single", help="Show single windows, not moments made of several.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"reelspace {installed('reelspace')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


@app.command()
def index(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, globs or URLs.")],
    library: Place = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option(help="Try files again that failed before.")] = False,
    keep_partial: Annotated[bool, typer.Option(help="Index what decodes of truncated files.")] = False,
    fast: Annotated[
        bool | None,
        typer.Option(
            "--fast/--exact",
            show_default="as the library was made; a new one is exact",
            help="Fast skips frames that no other frame refers to. The two are not mixed.",
        ),
    ] = None,
    tmk: Annotated[bool, typer.Option(help="Also keep a TMK hash of each video (264 kB each).")] = True,
    precision: Annotated[
        Literal["float16", "int8"] | None,
        typer.Option(
            show_default="as the library was made; a new one float16",
            help="What frames are kept in. int8 takes half the room.",
        ),
    ] = None,
    encoders: Encoders = None,
    windows: Windows = "tiled",
    device: Device = "auto",
    dtype: Dtype = "float32",
    compiled: Compile = False,
    batch: Batch = None,
    strict: Annotated[bool, typer.Option(help="Exit 1 when any file of this run failed.")] = False,
    as_json: Json = False,
) -> None:
    """Build or extend a library. Stop it at any moment; the same command goes on where it stopped."""
    from reelspace.cli import indexing

    indexing.index(
        paths,
        library=library,
        workers=workers,
        retry_failed=retry_failed,
        keep_partial=keep_partial,
        fast=fast,
        tmk=tmk,
        precision=precision,
        encoders=encoders or (),
        windows=windows,
        device=device,
        dtype=dtype,
        compiled=compiled,
        batch=batch,
        strict=strict,
        as_json=as_json,
    )


@app.command()
def status(
    library: Place = None,
    files: Annotated[bool, typer.Option("--files", help="List every file, not only those that failed.")] = False,
    as_json: Json = False,
) -> None:
    """What is in the library, what failed, and why."""
    from reelspace.cli import indexing

    indexing.status(library=library, files=files, as_json=as_json)


@app.command()
def forget(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files and folders, there or not any more.")
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="All files that are not there any more, moved or deleted.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", "-e", metavar="NAME[:OUTPUT]", help="The vectors of this model instead."),
    ] = None,
    library: Place = None,
    as_json: Json = False,
) -> None:
    """Take files out of the library, or the vectors of a model. The files themselves stay where they are."""
    from reelspace.cli import indexing

    indexing.forget(paths or (), missing=missing, encoder=encoder, library=library, as_json=as_json)


@app.command()
def embed(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, globs or URLs.")],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", metavar="NAME[:OUTPUT]", help="A model of `reelspace models`, or hf:ORG/NAME."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .npz or .parquet file, or a folder: a .pt per video.")
    ],
    windows: Windows = "tiled",
    normalize: Annotated[bool, typer.Option(help="Scale each vector to unit length (L2).")] = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    compiled: Compile = False,
    workers: Workers = None,
    batch: Batch = None,
    keep_partial: Annotated[bool, typer.Option(help="Take what decodes of truncated files.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit 1 when any file failed.")] = False,
    as_json: Json = False,
) -> None:
    """Write the vectors of videos to a file, without a library."""
    from reelspace.cli import embedding

    embedding.embed(
        paths,
        encoder=encoder,
        output=output,
        windows=windows,
        normalize=normalize,
        device=device,
        dtype=dtype,
        compiled=compiled,
        workers=workers,
        batch=batch,
        keep_partial=keep_partial,
        strict=strict,
        as_json=as_json,
    )


@app.command()
def classify(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO", help="Files, folders, globs or URLs.")],
    encoders: Annotated[
        list[str],
        typer.Option(
            "--encoder", "-e", metavar="NAME", help="A model with classes; give it again to compare several."
        ),
    ],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Classes to name.")] = 5,
    windows: Windows = "views",
    moments: Annotated[bool, typer.Option("--moments", help="Also say it window by window.")] = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    compiled: Compile = False,
    workers: Workers = None,
    batch: Batch = None,
    as_json: Json = False,
) -> None:
    """What is happening in videos, by one classifier or several side by side; each video is decoded once."""
    from reelspace.cli import embedding

    embedding.classify(
        videos,
        encoders=encoders,
        top_k=top_k,
        windows=windows,
        moments=moments,
        device=device,
        dtype=dtype,
        compiled=compiled,
        workers=workers,
        batch=batch,
        as_json=as_json,
    )


@app.command()
def search(
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="A sentence; several are searched one by one.")
    ],
    library: Place = None,
    encoder: SearchEncoder = None,
    limit: Annotated[int, typer.Option("--limit", "-k", min=1, help="Show at most this many moments.")] = 10,
    against: Annotated[
        list[str] | None, typer.Option("--against-text", metavar="TEXT", help="What must not be there; repeatable.")
    ] = None,
    path: PathGlob = None,
    longer: Longer = None,
    shorter: Shorter = None,
    gap: Gap = 0.0,
    windows: SingleWindows = False,
    matrix: Annotated[
        Path | None, typer.Option(help="Write the scores of all texts and videos to this .npz or .csv instead.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Which moments of the library show what a sentence says?"""
    from reelspace.cli import searching
    from reelspace.tasks.search import VideoFilter

    searching.search(
        texts,
        library=library,
        encoder=encoder,
        limit=limit,
        against=against or (),
        among=VideoFilter(path, (longer, shorter)),
        gap_seconds=None if windows else gap,
        matrix=matrix,
        device=device,
        dtype=dtype,
        as_json=as_json,
    )


@app.command()
def similar(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A video, indexed or not.")],
    start: Annotated[
        float | None, typer.Option("--from", min=0, help="Only from this second of the query.")
    ] = None,
    end: Annotated[float | None, typer.Option("--to", min=0, help="Only up to this second of the query.")] = None,
    library: Place = None,
    encoder: SearchEncoder = None,
    limit: Annotated[int, typer.Option("--limit", "-k", min=1, help="Show at most this many moments.")] = 10,
    by: Annotated[
        Literal["best", "mean"],
        typer.Option(help="best: like any window of the query. mean: like the query as a whole."),
    ] = "best",
    path: PathGlob = None,
    longer: Longer = None,
    shorter: Shorter = None,
    gap: Gap = 0.0,
    windows: SingleWindows = False,
    device: Device = "auto",
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Which moments of other videos are most like this one in meaning? For the same footage there is `match`."""
    from reelspace.cli import searching
    from reelspace.tasks.search import VideoFilter

    searching.similar(
        query,
        start=start,
        end=end,
        library=library,
        encoder=encoder,
        limit=limit,
        by=by,
        among=VideoFilter(path, (longer, shorter)),
        gap_seconds=None if windows else gap,
        device=device,
        dtype=dtype,
        as_json=as_json,
    )


@app.command()
def copies(
    library: Place = None,
    against: Annotated[Path | None, typer.Option(help="Compare with this library instead of within one.")] = None,
    method: Annotated[str, typer.Option(help="`frames`: intervals. `tmk`: whole videos, like ThreatExchange.")] = (
        "frames"
    ),
    threshold: Threshold = None,
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Which files of the library show the same footage, and at which seconds."""
    from reelspace.cli import copying

    copying.copies(
        library=library, against=against, method=method, threshold=threshold, plots=plots, as_json=as_json
    )


@app.command()
def match(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A video, indexed or not.")],
    library: Place = None,
    limit: Annotated[int, typer.Option("--limit", "-k", min=1, help="Show at most this many videos.")] = 20,
    threshold: Threshold = None,
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Where in the library is this footage? Finds parts of it, too."""
    from reelspace.cli import copying

    copying.match(query, library=library, limit=limit, threshold=threshold, plots=plots, as_json=as_json)


@app.command()
def align(
    a: Annotated[str, typer.Argument(metavar="A", help="A video.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another video of the same thing.")],
    method: Annotated[
        str, typer.Option(help="auto, correlation, tmk, tmk-poullot, cte, lamv or segments.")
    ] = "auto",
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            "-e",
            metavar="NAME",
            show_default="reelprint and PDQF",
            help="A model of pictures whose frames give the offset.",
        ),
    ] = None,
    kernel: Annotated[
        Path | None,
        typer.Option("--kernel", metavar="FILE", help="For --method lamv: what `reelspace train kernel` wrote."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw similarity, segments and scores into this file.")] = None,
    render: Annotated[Path | None, typer.Option(help="Write both, side by side and in sync, to this .mp4.")] = None,
    as_json: Json = False,
) -> None:
    """How two videos line up in time. A positive offset: B begins that long after A."""
    from reelspace.cli import aligning

    aligning.align(a, b, method=method, encoder=encoder, kernel=kernel, plot=plot, render=render, as_json=as_json)


app.command()(sync)


@tmk.command("hash")
def tmk_hash(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO", help="Files, folders, globs or URLs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .tmk file, or a folder for several videos.")],
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Hash videos into .tmk files that ThreatExchange's tools read."""
    from reelspace.cli import aligning

    aligning.tmk_hash(videos, output=output, workers=workers, as_json=as_json)


@tmk.command("compare")
def tmk_compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A .tmk file or a video.")],
    b: Annotated[str, typer.Argument(metavar="B", help="A .tmk file or a video.")],
    as_json: Json = False,
) -> None:
    """Level-1 and level-2 scores of two hashes. ThreatExchange calls it a match when both reach 0.7."""
    from reelspace.cli import aligning

    aligning.tmk_compare(a, b, as_json=as_json)


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="A .npz or .parquet file.")],
    library: Place = None,
    what: Annotated[
        str, typer.Option(help="frames (of reelprint), pdqf-views, signatures (TMK) or videos.")
    ] = "frames",
    as_json: Json = False,
) -> None:
    """Write what the library holds to one file for other tools."""
    from reelspace.cli import indexing

    indexing.export(output, library=library, what=what, as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits: the entry point of the `reelspace` script."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is still shown
    try:
        # Without --json, typer itself draws what is wrong with the words.
        status = app(args=words, prog_name="reelspace", standalone_mode=not as_json)
    except ReelspaceError as error:
        status = 2 if isinstance(error, InvalidArgument) else 1
        _complain(type(error).__name__, str(error), as_json=as_json)
    except typer.TyperException as error:
        status = error.exit_code
        _complain("InvalidArgument", error.format_message(), as_json=as_json)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except OSError as error:
        status = 1
        said = error.strerror or str(error)
        _complain(type(error).__name__, f"{error.filename}: {said}" if error.filename else said, as_json=as_json)
    if status == _INTERRUPTED:
        _complain("Interrupted", "interrupted", as_json=as_json)
    raise SystemExit(status)


def _complain(kind: str, message: str, *, as_json: bool) -> None:
    from reelspace.cli.output import print_json, visible

    sys.stderr.write(f"reelspace: {visible(message, keep=chr(10))}\n")
    if as_json:
        with contextlib.suppress(OSError):  # the disk behind stdout may be what is full
            print_json({"error": {"kind": kind, "message": message}})
