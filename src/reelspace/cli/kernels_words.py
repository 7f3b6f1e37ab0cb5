"""The words of `reelspace train kernel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["train_kernel"]


def train_kernel(  # Typer reads a command from its signature
    output: Annotated[Path, typer.Option("--output", "-o", help="The kernel, a small JSON file.")],
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV of path_a,path_b,offset_seconds: second t of b is second t + offset of a."),
    ] = None,
    videos: Annotated[
        list[str] | None, typer.Option(help="Files, folders or globs to make pairs from; may be given again.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="What describes frames: reelprint, pdqf, or a model.")] = "reelprint",
    frames_per_second: Annotated[float, typer.Option(help="Of each video; what the periods count.")] = 15.0,
    period: Annotated[
        list[int] | None, typer.Option(min=1, help="In frames; give each.", show_default="9767 2731 1039 253")
    ] = None,
    harmonics: Annotated[int, typer.Option(min=1, max=256, help="Coefficients per period.")] = 16,
    norm: Annotated[
        Literal["feat", "freq", "feat_freq", "matrix"], typer.Option(help="Normalisation.")
    ] = "feat_freq",
    planted: Annotated[int, typer.Option(min=16, help="Pairs to make from --videos.")] = 256,
    steps: Annotated[int, typer.Option(min=0, help="Of the optimiser.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the frames' vectors for the next run.")
    ] = None,
    device: Annotated[str, typer.Option(help="Of a model: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")
    ] = False,
) -> None:
    """Learn the temporal kernel (LAMV) from pairs of videos whose offset is known, or from pairs made of yours."""
    from reelspace.cli import kernels

    kernels.kernel(
        pairs=pairs,
        videos=videos or [],
        output=output,
        encoder=encoder,
        frames_per_second=frames_per_second,
        periods=period or (9767, 2731, 1039, 253),
        harmonics=harmonics,
        norm=norm,
        planted=planted,
        steps=steps,
        seed=seed,
        cache=cache,
        device=device,
        as_json=as_json,
    )
