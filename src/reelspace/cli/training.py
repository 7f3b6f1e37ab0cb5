"""`train pca` and `train descriptor`."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from reelspace.cli.output import console, count, notices, print_json, seconds, shown, size
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MissingExtra
from reelspace.media.sources import find_videos
from reelspace.training.pca import train_pca

if TYPE_CHECKING:
    from reelspace.training.descriptor import Recipe

__all__ = ["descriptor", "pca"]

ROW_FILE = "model.toml"
WEIGHTS_FILE = "reelprint.npz"
_DECAY = 0.15  # of the steps
_SAID_EVERY = 25  # steps, where stderr is no terminal


def pca(
    paths: Sequence[str],
    *,
    output: Path,
    frames_per_second: float,
    dimensions: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Runs `reelspace train pca`."""
    sources = find_videos(paths)
    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    handler = RichHandler(console=notices(), show_time=False, show_level=False, show_path=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    row = train_pca(sources, output, frames_per_second=frames_per_second, dimensions=dimensions, device=device)
    (output / ROW_FILE).write_text(_as_toml(row), "utf-8")
    if as_json:
        print_json({"output": output, "encoder": row.name, "row": output / ROW_FILE, "outputs": dict(row.outputs)})
    else:
        console().print(
            f"Wrote {shown(str(output))}, fitted on {count(len(sources), 'video')}. To use it as "
            f"[bold]{shown(row.name)}[/]:  export REELSPACE_MODELS={shown(str((output / ROW_FILE).absolute()))}"
        )


def _as_toml(row: EncoderSpec) -> str:
    """The row as a user's own; folders are seen from where the file lies."""
    files = ", ".join(json.dumps(file.name) for file in row.weights.files)
    return (
        "[[encoder]]\n"
        f"name = {json.dumps(row.name)}\n"
        'like = "rmac-resnet34-plain"\n'
        f"remark = {json.dumps(row.remark)}\n"
        f"outputs = {{ frames = {row.outputs['frames']} }}\n"
        f"options = {{ pca = {json.dumps(row.options['pca'])} }}\n"
        f'weights = {{ folder = ".", files = [{files}], trained_on = {json.dumps(row.weights.trained_on)} }}\n'
    )


def descriptor(
    output: Path,
    *,
    changes: Mapping[str, Any],
    resume: bool,
    device: str,
    threads: int,
    save_every: int,
    as_json: bool,
) -> None:
    """Runs `reelspace train descriptor`.

    Args:
        output: folder of the run.
        changes: fields of `Recipe` that were asked for: over the plain recipe or, with ``resume``, the folder's.
        resume: go on with the run in the folder.
        device: of torch.
        threads: of torch.
        save_every: steps between checkpoints.
        as_json: one document instead of a sentence.

    Raises:
        KeyboardInterrupt: when it was interrupted; a checkpoint is there.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", extra="gpu") from error
    from reelspace.encoders.load import chosen_device
    from reelspace.training.descriptor import Recipe, export, recipe_of, train

    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    before = recipe_of(output) if resume else Recipe()
    if "steps" in changes and "decay" not in changes:
        changes = {**changes, "decay": round(changes["steps"] * _DECAY)}
    recipe = replace(before, **changes)
    where = chosen_device(device)
    torch.set_num_threads(threads)
    if resume:
        _say_what_changes(before, recipe)
    with _until_interrupted() as interrupted, _steps_shown(recipe.steps) as told:

        def keep_going(step: int, figures: Mapping[str, float]) -> bool:
            told(step, figures)
            return not interrupted()

        log = train(output, recipe, device=where, resume=resume, save_every=save_every, keep_going=keep_going)
    if not log or log[-1]["step"] < recipe.steps:
        notices().print(
            "Stopped; the checkpoint holds all of it. To go on:  "
            f"[bold]reelspace train descriptor {shown(shlex.quote(str(output)))} --resume[/]"
        )
        raise KeyboardInterrupt
    weights = output / WEIGHTS_FILE
    export(output, weights)
    digest, last = hashlib.sha256(weights.read_bytes()).hexdigest(), log[-1]
    if as_json:
        print_json({"output": output, "weights": weights, "sha256": digest, "recipe": asdict(recipe), "last": last})
    else:
        console().print(
            f"Wrote {shown(str(weights))} ({size(weights.stat().st_size)}) after {count(recipe.steps, 'step')} in "
            f"{seconds(last['seconds'])}: {last['first']:.1%} of the copies are nearest to their original.\n"
            f"SHA-256 {digest}"
        )


def _say_what_changes(before: Recipe, after: Recipe) -> None:
    """A run that goes on by another recipe is not the one it would have been, but for where it ends."""
    old, new = asdict(before), asdict(after)
    turned = [f"{n} {old[n]} -> {new[n]}" for n in old if new[n] != old[n] and n not in ("steps", "decay")]
    if turned:
        notices().print(f"From here on with another recipe: {shown(', '.join(turned))}")


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, or a machine that is taken back, ends the run after the step it is in; a second Ctrl-C at once."""
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        restore()

    for number in before:
        signal.signal(number, hear)
    try:
        yield lambda: bool(heard)
    finally:
        restore()


@contextmanager
def _steps_shown(steps: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Progress on stderr: a bar where that is a terminal, else a line now and then."""
    screen = notices()
    bar = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
        speed_estimate_period=300,
    )
    task = bar.add_task("", total=steps, figures="")

    def told(step: int, figures: Mapping[str, float]) -> None:
        text = f"loss {figures['loss']:.3f}, found first {figures['first']:.0%}"
        bar.update(task, completed=step, figures=text)
        if bar.disable and (step % _SAID_EVERY == 0 or step == steps):
            screen.print(f"step {step} of {steps}: {text}")

    with bar:
        yield told
