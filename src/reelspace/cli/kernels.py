"""`train kernel`."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from reelspace.alignment.fourier import FourierKernel
from reelspace.alignment.kernel_file import LearnedKernel, write_kernel
from reelspace.alignment.offsets import track
from reelspace.cli.embedding import licence_notice
from reelspace.cli.output import console, count, notices, print_json, shown
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, MediaError, MissingExtra
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Model, rows_of
from reelspace.media.sources import content_id, find_videos
from reelspace.models import open_model
from reelspace.training.planted import Clip, KnownPair, Planting, plant_pairs

__all__ = ["ClipsRead", "kernel", "read_clips", "read_pairs"]

Tell = Callable[[str, float], None]
"""Told what is being done, and how much of it is done."""

_FRAME_ENCODERS: dict[str, Callable[[float], FrameEncoder]] = {"reelprint": Reelprint, "pdqf": lambda _: Pdqf()}
_COLUMNS = ("path_a", "path_b", "offset_seconds")


def kernel(
    *,
    pairs: Path | None,
    videos: Sequence[str],
    output: Path,
    encoder: str,
    frames_per_second: float,
    periods: Sequence[int],
    harmonics: int,
    norm: str,
    planted: int,
    steps: int,
    seed: int,
    cache: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Runs `reelspace train kernel`."""
    try:
        from reelspace.training.kernel import KernelTraining, train_kernel
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("torch, which learns the kernel,", extra="models") from error
    if (pairs is None) == (not videos):
        raise InvalidArgument("give either --pairs FILE, whose offsets are known, or --videos to make pairs from")
    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise InvalidArgument(f"frames per second are positive, got {frames_per_second}")
    start = FourierKernel(tuple(periods), harmonics=harmonics, norm=norm)
    how = KernelTraining(steps=steps, seed=seed, tolerance_frames=0.1 * frames_per_second)
    known = None if pairs is None else read_pairs(pairs)
    sources = find_videos(videos) if known is None else sorted({path for a, b, _ in known for path in (a, b)})
    with _watched() as tell:
        clips, space = read_clips(
            sources, encoder, frames_per_second=frames_per_second, cache=cache, device=device, tell=tell
        )
        if known is None:
            made = plant_pairs(list(clips.values()), planted, seed=seed, planting=_planting(len(clips)))
        else:
            made = _known_pairs(known, clips, frames_per_second)
        how = replace(how, batch=min(how.batch, len(made)))
        trained = train_kernel(
            made,
            start,
            training=how,
            on_step=lambda step, loss: tell(f"learning, loss {loss:.4f}", step / steps),
        )
    provenance = {
        "method": "LAMV (Baraldi et al. 2018)",
        "reelspace": version("reelspace"),
        "space": str(space),
        "videos": len(clips),
        "pairs": len(made),
        "pairs_from": "planted offsets" if known is None else "known offsets",
        "steps": steps,
        "seed": seed,
        "loss_before": trained.loss_before,
        "loss_after": trained.loss_after,
    }
    learned = LearnedKernel(trained.kernel, frames_per_second, provenance)
    write_kernel(learned, output)
    if as_json:
        print_json({"output": output, "digest": learned.digest, **provenance})
    else:
        console().print(
            f"Wrote {shown(str(output))}, learned from {count(len(made), 'pair')} of {count(len(clips), 'video')}: "
            f"loss {trained.loss_before:.4f} before, {trained.loss_after:.4f} after."
        )


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Paths and offsets in a CSV file with the columns path_a, path_b, offset_seconds.

    What happens at second t of b happens at second ``t + offset_seconds`` of a. Paths are seen from where the file
    lies.

    Raises:
        InvalidArgument: when it cannot be read, lacks a column, has no rows, or an offset is no number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read {path}: {error}") from error
    if not rows or (lacking := [name for name in _COLUMNS if name not in rows[0]]):
        said = f"it lacks {', '.join(lacking)}" if rows else "it has no rows"
        raise InvalidArgument(f"{path} is a CSV file with the columns {','.join(_COLUMNS)}, but {said}")
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            offset = float(row["offset_seconds"] or "")
        except ValueError:
            offset = math.nan
        if not (math.isfinite(offset) and row["path_a"] and row["path_b"]):
            raise InvalidArgument(f"{path}, line {line}: two paths and an offset in seconds, got {row}")
        a, b = (_beside(path, row[name]) for name in _COLUMNS[:2])
        found.append((a, b, offset))
    return found


def _beside(path: Path, source: str) -> str:
    return source if "://" in source else str(path.parent / source)


def _known_pairs(known: Sequence[tuple[str, str, float]], clips: dict[str, Clip], rate: float) -> list[KnownPair]:
    made = [
        KnownPair(clips[a], clips[b], offset * rate, frozenset((a, b)))
        for a, b, offset in known
        if a in clips and b in clips
    ]
    if len(made) < 2:
        raise InvalidArgument(f"a kernel is learned from two pairs or more, and {len(made)} could be read")
    return made


def _planting(clips: int) -> Planting:
    """The usual films where there are clips enough, else shorter ones, so that some clips are left as strangers."""
    plain = Planting()
    most = min(plain.clips[1], max(1, clips // 2))
    strangers = min(plain.strangers, (clips - most) // 2)
    return replace(plain, clips=(min(plain.clips[0], most), most), strangers=strangers)


class ClipsRead(NamedTuple):
    """The frames of each video that could be read, by its source, and the space of their vectors."""

    clips: dict[str, Clip]
    space: Space


def read_clips(
    sources: Sequence[str],
    encoder: str,
    *,
    frames_per_second: float,
    cache: Path | None = None,
    device: str = "auto",
    tell: Tell = lambda _, __: None,
) -> ClipsRead:
    """Describes the frames of videos as kernels compare them; what cannot be read is named on stderr.

    Args:
        sources: paths and URLs.
        encoder: ``reelprint``, ``pdqf``, or a model of single pictures.
        frames_per_second: how often, and what times count; PDQF has a rate of its own.
        cache: folder of vectors of an earlier run; None keeps none.
        device: of a model.
        tell: told how far it is.

    Raises:
        InvalidArgument: when none could be read, or the model reads clips.
    """
    reading = _reading(encoder, frames_per_second, device)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    kept = {} if cache is None else {source: _cached_at(cache, source, reading.space) for source in sources}
    sequences = {source: _load(place, reading.space) for source, place in kept.items() if place.exists()}
    for outcome in reading.read([source for source in sources if source not in sequences]):
        if isinstance(outcome, MediaError):
            notices().print(f"[red]failed[/]  {shown(outcome.source)}: {shown(outcome.reason)}")
            continue
        source, sequence = outcome
        sequences[source] = sequence
        if source in kept:
            _save(kept[source], sequence)
        tell("reading videos", len(sequences) / len(sources))
    ordered = {source: sequences[source] for source in sources if source in sequences and len(sequences[source])}
    if not ordered:
        raise InvalidArgument("none of the videos could be read")
    clips = {source: Clip(source, *track(frames, frames_per_second)) for source, frames in ordered.items()}
    return ClipsRead(clips, reading.space)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What describes frames: one of the package's own encoders, or a model."""

    encoder: FrameEncoder | None
    model: Model | None
    space: Space

    def read(self, sources: Sequence[str]) -> Iterator[tuple[str, FrameSequence] | MediaError]:
        models = () if self.model is None else (self.model,)
        encoders = () if self.encoder is None else (self.encoder,)
        for outcome in encode_videos(sources, models, encoders=encoders, keep_partial=True):
            if isinstance(outcome, MediaError):
                yield outcome
            elif self.model is None:
                yield outcome.source, outcome.sequences[0].view(0)
            else:
                length, output = outcome.duration_seconds, self.model.outputs[0]
                rows = rows_of(self.model, outcome.made[0], output, decoding="exact", duration_seconds=length)
                if isinstance(rows, FrameSequence):
                    yield outcome.source, rows


def _reading(name: str, frames_per_second: float, device: str) -> _Reading:
    if name in _FRAME_ENCODERS:
        encoder = _FRAME_ENCODERS[name](frames_per_second)
        return _Reading(encoder, None, encoder.space)
    licence_notice([name])
    model = open_model(name, device=device)
    if not model.in_frames:
        raise InvalidArgument(f"{name} reads clips; a temporal kernel goes by single pictures, as sscd-disc-mixup")
    model = replace(model, clip=replace(model.clip, spacing_seconds=1 / frames_per_second))
    return _Reading(None, model, model.space(model.outputs[0]))


def _cached_at(folder: Path, source: str, space: Space) -> Path:
    return folder / f"{content_id(source)[:32]}-{space.fingerprint}.npz"


def _save(place: Path, sequence: FrameSequence) -> None:
    part = place.with_suffix(".part.npz")
    np.savez(
        part,
        times_seconds=sequence.times_seconds,
        vectors=sequence.vectors,
        weights=sequence.weights,
        duration_seconds=sequence.duration_seconds,
    )
    part.replace(place)


def _load(place: Path, space: Space) -> FrameSequence:
    with np.load(place) as kept:
        views = np.zeros(len(kept["vectors"]), np.uint8)
        return FrameSequence(
            kept["times_seconds"],
            kept["vectors"],
            views,
            kept["weights"],
            space,
            float(kept["duration_seconds"]),
        )


@contextmanager
def _watched() -> Iterator[Tell]:
    """A bar on stderr where that is a terminal."""
    screen = notices()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: float) -> None:
        stage = what.partition(",")[0]
        if stage not in tasks:
            tasks[stage] = bar.add_task(what, total=1.0)
        bar.update(tasks[stage], description=what, completed=done)

    with bar:
        yield tell
