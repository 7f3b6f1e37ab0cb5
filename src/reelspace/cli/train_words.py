"""The words of `reelspace train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]

train = typer.Typer(
    help="Learn: RMAC's whitening from your own videos, or the descriptor reelprint from nothing but formulas.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]


@train.command("pca")
def train_pca(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO", help="Files, folders, globs or URLs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the net and its whitening.")],
    frames_per_second: Annotated[float, typer.Option(min=0.01, help="Of each video.")] = 1.0,
    dimensions: Annotated[int | None, typer.Option(min=1, show_default="all", help="To keep.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Learn the whitening of RMAC on your own videos; the published one is not for commercial use."""
    from reelspace.cli import training

    training.pca(
        videos,
        output=output,
        frames_per_second=frames_per_second,
        dimensions=dimensions,
        device=device,
        as_json=as_json,
    )


@train.command("descriptor")
def train_descriptor(
    output: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Gets the checkpoint, the log, the recipe and the weights.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, by its recipe.")
    ] = False,
    steps: Annotated[int | None, typer.Option(show_default="20000", help="Of the whole run.")] = None,
    decay: Annotated[
        int | None,
        typer.Option(
            show_default="15 % of --steps", help="Last steps, over which the learning rate falls to zero."
        ),
    ] = None,
    films: Annotated[
        int | None, typer.Option(show_default="32", help="Scenes per step; each gives two pictures, eight views.")
    ] = None,
    seed: Annotated[int | None, typer.Option(show_default="0", help="All follows from it.")] = None,
    learning_rate: Annotated[float | None, typer.Option(show_default="0.001")] = None,
    weight_decay: Annotated[float | None, typer.Option(show_default="0.02")] = None,
    warmup: Annotated[
        int | None, typer.Option(show_default="100", help="First steps, over which the learning rate rises.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(show_default="0.06", help="Of InfoNCE.")] = None,
    entropy: Annotated[float | None, typer.Option(show_default="3", help="Weight of the entropy term.")] = None,
    memory: Annotated[
        int | None, typer.Option(show_default="0", help="Views of earlier steps that serve as strangers.")
    ] = None,
    hardening: Annotated[
        int | None, typer.Option(show_default="500", help="Steps over which edits grow to full strength.")
    ] = None,
    averaging: Annotated[
        float | None, typer.Option(show_default="0.997", help="Decay of the moving average of the weights.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INGREDIENT", help="Leave out a part of the pictures or the edits; again for several."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "cpu",
    threads: Annotated[
        int, typer.Option(min=1, help="Of the net on a CPU; drawing the pictures takes one more.")
    ] = 1,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    as_json: Json = False,
) -> None:
    """Learn reelprint, the frame descriptor, on pictures drawn by formula. Ctrl-C leaves a checkpoint to resume.

    A resumed run is the run it would have been: on a CPU, with as many threads, to the last bit.
    """
    from reelspace.cli import training

    given = {
        "steps": steps,
        "decay": decay,
        "films": films,
        "seed": seed,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup": warmup,
        "temperature": temperature,
        "entropy": entropy,
        "memory": memory,
        "hardening": hardening,
        "averaging": averaging,
        "without": tuple(without) if without else None,
    }
    training.descriptor(
        output,
        changes={name: value for name, value in given.items() if value is not None},
        resume=resume,
        device=device,
        threads=threads,
        save_every=save_every,
        as_json=as_json,
    )
