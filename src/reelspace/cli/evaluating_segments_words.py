"""The words of `reelspace evaluate vsc2022` and `vcsl`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluating_segments"]

evaluating_segments = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the report, its charts, and what was found here into this folder."),
]


@evaluating_segments.command("vsc2022")
def vsc2022(
    *,
    truth: Annotated[Path, typer.Option(exists=True, help="Ground truth: a .csv of matches.")],
    predictions: Annotated[
        Path | None, typer.Option(exists=True, help="Predictions of the matching track: a .csv of scored matches.")
    ] = None,
    descriptors: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            exists=True, metavar="QUERIES REFERENCES", help="Judge descriptors by themselves: two .npz files."
        ),
    ] = None,
    noise: Annotated[
        Path | None,
        typer.Option(exists=True, help="Normalise their scores against the descriptors of this noise set, a .npz."),
    ] = None,
    beta: Annotated[float, typer.Option(help="How much of the noise set's similarity is taken off.")] = 1.0,
    queries: Annotated[
        Path | None,
        typer.Option(exists=True, help="Find the matches here: descriptors (.npz), a library, a folder of videos."),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(exists=True, help="Where to find them, of the same kind as the queries.")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Video Similarity Challenge 2022: micro average precision of matches, and of descriptors."""
    from reelspace.cli import evaluating_segments as words

    words.vsc2022(
        truth=truth,
        predictions=predictions,
        descriptors=descriptors,
        noise=noise,
        beta=beta,
        queries=queries,
        references=references,
        output=output,
        as_json=as_json,
    )


@evaluating_segments.command("vcsl")
def vcsl(
    *,
    truth: Annotated[Path, typer.Option(exists=True, help="Labels: JSON of segments by pair.")],
    predictions: Annotated[
        Path | None, typer.Option(exists=True, help="Predictions: JSON of segments by pair.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(exists=True, help="Find them here: a folder of ID.npy, one row per second.")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(exists=True, help="Find them here: a library, or a folder of ID.mp4 and the like."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(exists=True, show_default="those labelled or predicted", help="The pairs of a split: a .csv."),
    ] = None,
    query_sets: Annotated[
        Path | None, typer.Option(exists=True, help="Average over query sets, too: split_meta_pairs.json.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the query sets: train, val, test or all.")] = "test",
    method: Annotated[
        str,
        typer.Option("--method", "-m", help="How --features are compared: hough, dynamic, network, dtw or refine."),
    ] = "hough",
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, show_default="0.6", help="Lowest score of a stretch found here."),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published", help="As alipay/VCSL: 1e-6 s in denominators, half of the pairs taken for copies."
        ),
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Video Copy Segment Localization: precision, recall and F1 of segments."""
    from reelspace.cli import evaluating_segments as words

    words.vcsl(
        truth=truth,
        predictions=predictions,
        features=features,
        videos=videos,
        pairs=pairs,
        query_sets=query_sets,
        split=split,
        method=method,
        threshold=threshold,
        as_published=as_published,
        output=output,
        as_json=as_json,
    )
