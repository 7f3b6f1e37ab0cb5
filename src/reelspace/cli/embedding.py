"""`embed` and `classify`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reelspace.cli.output import console, count, notices, print_json, print_rows, seconds, shortened, shown, size
from reelspace.core.clips import Mode
from reelspace.core.predictions import Classified, Prediction
from reelspace.encoders.load import Dtype
from reelspace.errors import InvalidArgument, MediaError
from reelspace.extract.models import Model
from reelspace.features import FORMATS, tensor_files, write_embeddings
from reelspace.media.sources import find_videos
from reelspace.models import Embedded, named_output, open_model, require_normalizable
from reelspace.models import classify as classify_videos
from reelspace.models import embed as embed_videos

__all__ = ["classify", "embed", "licence_notice"]


def embed(
    paths: Sequence[str],
    *,
    encoder: str,
    output: Path,
    windows: Mode,
    normalize: bool,
    device: str,
    dtype: Dtype,
    compiled: bool,
    workers: int | None,
    batch: int | None,
    keep_partial: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Runs `reelspace embed`."""
    sources = _videos_at(paths)
    _require_output(output, sources)
    row, wanted = named_output(encoder)
    if normalize:
        require_normalizable(wanted or row.default_output)
    licence_notice([encoder])
    model = open_model(encoder, windows=windows, device=device, dtype=dtype, compiled=compiled)
    with _watched(len(sources)) as tell:
        made = embed_videos(
            sources,
            model,
            normalize=normalize,
            workers=workers,
            batch=batch,
            keep_partial=keep_partial,
            on_progress=tell,
        )
    write_embeddings(output, made.embeddings, {source: source for source in made.embeddings.video_ids})
    _tell_embedded(made, model, output, as_json=as_json)
    if made.failed and (strict or not made.embeddings.video_ids):
        raise SystemExit(1)


def _videos_at(paths: Sequence[str]) -> list[str]:
    sources = find_videos(paths)
    if not sources:
        raise InvalidArgument(
            f"no video files in {', '.join(paths)}; a file named by itself is always taken, folders are searched "
            "by suffix"
        )
    return sources


def _require_output(output: Path, sources: Sequence[str]) -> None:
    """Refuses a place that cannot be written before hours are spent on what should lie there."""
    if output.suffix.lower() not in FORMATS and output.suffix:
        raise InvalidArgument(
            f"the output is a {', '.join(FORMATS)} file, or a folder for one .pt per video; got {output}"
        )
    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    if not output.suffix or output.is_dir():
        if output.is_file():
            raise InvalidArgument(f"{output} is a file; name a folder for one .pt per video, or .npz or .parquet")
        tensor_files(sources)


def _tell_embedded(made: Embedded, model: Model, output: Path, *, as_json: bool) -> None:
    embeddings = made.embeddings
    if as_json:
        print_json(
            {
                "output": output,
                "space": str(embeddings.space),
                "licence": model.encoder.spec.weights.licence,
                "videos": len(embeddings.video_ids),
                "rows": len(embeddings),
                "dimensions": embeddings.space.dimensions,
                "failed": [{"source": e.source, "reason": e.reason} for e in made.failed],
            }
        )
        return
    _print_failures(made.failed)
    console().print(
        f"Wrote {count(len(embeddings), 'vector')} of {embeddings.space.dimensions} from "
        f"{count(len(embeddings.video_ids), 'video')} to {shown(str(output))} ({size(_size_of(output))})."
    )


def _size_of(output: Path) -> int:
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files if file.is_file())


def classify(
    paths: Sequence[str],
    *,
    encoders: Sequence[str],
    top_k: int,
    windows: Mode,
    moments: bool,
    device: str,
    dtype: Dtype,
    compiled: bool,
    workers: int | None,
    batch: int | None,
    as_json: bool,
) -> None:
    """Runs `reelspace classify`."""
    sources = _videos_at(paths)
    licence_notice(encoders)
    found: dict[str, tuple[Classified, ...]] = {}
    failed: list[MediaError] = []
    with _watched(len(sources)) as tell:
        for outcome in classify_videos(
            sources,
            encoders,
            top_k=top_k,
            windows=windows,
            device=device,
            dtype=dtype,
            compiled=compiled,
            workers=workers,
            batch=batch,
            on_progress=tell,
        ):
            if isinstance(outcome, MediaError):
                failed.append(outcome)
            else:
                found[outcome[0].source] = outcome
    if as_json:
        print_json(
            {
                "videos": [
                    {"source": source, "models": [asdict(of_model) for of_model in found[source]]}
                    for source in sources
                    if source in found
                ],
                "failed": [{"source": e.source, "reason": e.reason} for e in failed],
            }
        )
    else:
        _print_failures(failed)
        for source in sources:
            if source in found:
                _print_classified(found[source], moments=moments)
    if failed and not found:
        raise SystemExit(1)


def _print_classified(models: Sequence[Classified], *, moments: bool) -> None:
    """One video: the models side by side."""
    out = console()
    out.print(f"[bold]{shown(os.path.basename(models[0].source))}[/]")  # noqa: PTH119 # a URL is no Path
    most = max(len(model.top) for model in models)
    rows = [[_cell(model.top, rank) for model in models] for rank in range(most)]
    clips = [f"{count(model.clips, 'clip')}, {model.spent_seconds:.2f} s" for model in models]
    print_rows([*rows, clips], header=[model.encoder for model in models], indent="  ")
    if moments:
        for model in models:
            out.print(f"  {shown(model.encoder)}", style="dim")
            print_rows(
                [
                    (
                        f"{seconds(m.span.start)} - {seconds(m.span.end)}",
                        *(_cell(m.top, i) for i in range(len(m.top))),
                    )
                    for m in model.moments
                ],
                indent="    ",
            )


def _cell(top: Sequence[Prediction], rank: int) -> str:
    if rank >= len(top):
        return ""
    prediction = top[rank]
    return f"{prediction.probability:6.1%}  {prediction.label}"


def licence_notice(encoders: Sequence[str]) -> None:
    """Says on stderr under which licence each model's weights come, where that is not free for every use."""
    rows = {row.name: row for row, _ in map(named_output, encoders)}
    for row in rows.values():
        if row.weights.commercial is not True:
            use = "not for commercial use" if row.weights.commercial is False else "no licence was found"
            notices().print(f"{shown(row.name)}: weights under {shown(row.weights.licence)}: {use}", style="yellow")


def _print_failures(failed: Sequence[MediaError]) -> None:
    names = shortened([error.source for error in failed])
    for error in failed:
        notices().print(f"[red]failed[/]  {shown(names[error.source])}: {shown(error.reason)}")


class _Told:
    """Seconds of video read so far, from many threads."""

    def __init__(self, bar: Progress, files: int) -> None:
        self._bar = bar
        self._task = bar.add_task("files", total=files, rate="")
        self._reached: dict[str, float] = {}

    def __call__(self, source: str, video_seconds: float) -> None:
        """Takes news of one file."""
        self._reached[source] = video_seconds
        elapsed = self._bar.tasks[0].elapsed or 0.0
        total = sum(list(self._reached.values()))
        rate = f"{total / elapsed:.0f} s of video per s" if elapsed > 0.5 else ""
        self._bar.update(self._task, completed=max(0, len(self._reached) - 1), rate=rate)


@contextmanager
def _watched(files: int) -> Iterator[_Told]:
    """A bar on stderr where that is a terminal."""
    screen = notices()
    bar = Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    with bar:
        yield _Told(bar, files)
