"""`models`: the catalog for people, and the weights on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reelspace.cli.output import console, count, notices, print_json, print_rows, seconds, shown, size
from reelspace.encoders import checkpoint as store
from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.checkpoint import Checkpoint, OnProgress, checkpoint_of, is_here
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import UnknownName

__all__ = ["check", "import_files", "list_models", "pull", "show"]

_HEADER = ("name", "reads", "gives", "classes", "text", "here", "licence")


def list_models(
    *, family: str | None, text: bool, classes: bool, commercial: bool, markdown: bool, as_json: bool
) -> None:
    """Runs `reelspace models list`."""
    rows = list(catalog().values())
    families = {row.family for row in rows}
    if family is not None and family not in families:
        raise UnknownName("family", family, families)
    chosen = [
        row
        for row in rows
        if (family is None or row.family == family)
        and (not text or row.text_output is not None)
        and (not classes or "logits" in row.outputs)
        and (not commercial or row.weights.commercial)
    ]
    if as_json:
        print_json({"models": [_facts(row) for row in chosen]})
    elif markdown:
        _print_markdown(chosen)
    else:
        print_rows([_cells(row) for row in chosen], header=_HEADER)


def show(name: str, *, as_json: bool) -> None:
    """Runs `reelspace models show`."""
    row = find(name)
    if as_json:
        print_json(_facts(row))
        return
    weights, how = row.weights, row.preprocessing
    lines = [
        ("family", row.family),
        ("reads", f"{_reads(row)}, {_resizing(row)}"),
        ("mean, std", f"{_numbers(how.mean)}; {_numbers(how.std)}"),
        ("one vector per video", _views(row)),
        ("gives", ", ".join(f"{output} {n}" for output, n in row.outputs.items())),
        ("maps, on request", ", ".join(row.maps)),
        ("classes", row.labels or ""),
        ("text", f"in the space of {row.text_output}" if row.text_output else ""),
        ("compared by", row.distance),
        ("licence", _licence(row)),
        ("trained on", weights.trained_on),
        ("score", row.score),
        ("paper", row.paper),
        ("remark", row.remark),
        ("from", _origin(row)),
        ("files", ", ".join(file.name + (" (optional)" if file.optional else "") for file in weights.files)),
        ("on this machine", _here(row)),
    ]
    console().print(f"[bold]{shown(row.name)}[/]")
    print_rows([(label, value) for label, value in lines if value], indent="  ")


def pull(names: Sequence[str], *, as_json: bool) -> None:
    """Runs `reelspace models pull`."""
    pulled = []
    for row in [find(name) for name in names]:
        _tell_licence(row)
        with _progress() as on_progress:
            found = checkpoint_of(row.weights, name=row.name, on_progress=on_progress)
        pulled.append(_pulled(row, found))
        if not as_json:
            _print_checkpoint(row, found)
    if as_json:
        print_json({"models": pulled})


def import_files(name: str, files: Sequence[Path], *, as_json: bool) -> None:
    """Runs `reelspace models import`."""
    row = find(name)
    _tell_licence(row)
    found = store.import_files(row.weights, files, name=row.name, on_replaced=_tell_replaced)
    if as_json:
        print_json({"models": [_pulled(row, found)]})
    else:
        _print_checkpoint(row, found)


def check(name: str, *, device: str, as_json: bool) -> None:
    """Runs `reelspace models check`."""
    from reelspace.extract.contract import check_encoder

    report = check_encoder(name, device=device)
    if as_json:
        document: dict[str, Any] = {
            "encoder": report.encoder,
            "status": report.status,
            "difference": min(report.difference, 1e9),  # JSON knows no infinity
            "tolerance": report.tolerance,
            "outputs": {output: list(values.shape) for output, values in report.got.items()},
            "record": report.path,
        }
        print_json(document)
    else:
        said = {
            "matches": "gives the vectors it gave before",
            "recorded": "its vectors are recorded now, and held to from here on",
            "differs": "does not give the vectors it gave before: nothing is written into a library with it",
        }[report.status]
        console().print(
            f"[bold]{shown(report.encoder)}[/]  {report.status}: {said} "
            f"(difference {report.difference:.2g}, allowed {report.tolerance:g})"
        )
        console().print(f"record: {shown(str(report.path))}")
    if report.status == "differs":
        raise SystemExit(1)


def _cells(row: EncoderSpec) -> tuple[str, ...]:
    vectors = ", ".join(f"{output} {n}" for output, n in row.outputs.items() if output != "logits")
    classes = str(row.outputs.get("logits", ""))
    return (
        row.name,
        _reads(row),
        vectors,
        classes,
        "yes" if row.text_output else "",
        _here(row),
        _licence(row),
    )


def _print_markdown(rows: Sequence[EncoderSpec]) -> None:
    out = console()
    table = [(*_HEADER, "published score"), *((*_cells(row), row.score) for row in rows)]
    here = _HEADER.index("here")  # differs from machine to machine
    lines = [[cell for column, cell in enumerate(cells) if column != here] for cells in table]
    for cells in (lines[0], ["---"] * len(lines[0]), *lines[1:]):
        out.print(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |", markup=False)


def _reads(row: EncoderSpec) -> str:
    """``16 frames, 2.1 s, 224 px``."""
    clip, side = row.clip, row.preprocessing.side
    pixels = "" if side is None else f", {side} px"
    if row.of_pictures:
        return f"pictures{pixels}"
    return f"{count(clip.frames, 'frame')}, {seconds(clip.window_seconds)}{pixels}"


def _resizing(row: EncoderSpec) -> str:
    how = row.preprocessing
    rules = {
        "shortest": f"shorter side {how.size}",
        "square": f"squeezed to {how.size} x {how.size}",
        "cover": f"middle square to {how.size}",
        "area": f"about {how.size} pixels in all",
        "as-is": "as the encoder itself wants them",
    }
    crop = "" if how.crop is None else f", middle {how.crop}"
    return f"{rules[how.resize]}{crop}, {how.filter}"


def _views(row: EncoderSpec) -> str:
    if row.of_pictures:
        return ""
    spread = "frames spread over the video" if row.clip.spread else ""
    return ", ".join(part for part in (f"{row.clip.clips} clips x {row.clip.crops} crops, mean", spread) if part)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _licence(row: EncoderSpec) -> str:
    """As the row has it; a no to commercial use is never left to be known by heart."""
    marks = {True: "", False: " (non-commercial)", None: " (commercial use unclear)"}
    return row.weights.licence + marks[row.weights.commercial]


def _here(row: EncoderSpec) -> str:
    return ("yes" if row.weights.files else "built in") if is_here(row.weights) else ""


def _origin(row: EncoderSpec) -> str:
    weights = row.weights
    if weights.folder is not None:
        return weights.folder
    if weights.repo is not None:
        return f"hub: {weights.repo} @ {weights.revision or 'main, at the first pull'}"
    return ", ".join(file.url for file in weights.files if file.url) or weights.page or ""


def _facts(row: EncoderSpec) -> Mapping[str, Any]:
    weights = asdict(row.weights)
    return {
        "name": row.name,
        "family": row.family,
        "clip": {**asdict(row.clip), "window_seconds": row.clip.window_seconds},
        "preprocessing": asdict(row.preprocessing),
        "outputs": row.outputs,
        "default_output": row.default_output,
        "maps": row.maps,
        "text_output": row.text_output,
        "distance": row.distance,
        "labels": row.labels,
        "factory": row.factory,
        "options": row.options,
        **{name: weights.pop(name) for name in ("licence", "commercial", "trained_on")},
        "paper": row.paper,
        "score": row.score,
        "remark": row.remark,
        "weights": weights,
        "here": is_here(row.weights),
    }


def _tell_licence(row: EncoderSpec) -> None:
    weights = row.weights
    trained = f"; trained on {weights.trained_on}" if weights.trained_on else ""
    notices().print(f"{shown(row.name)}: weights under {shown(_licence(row) + trained)}")


def _tell_replaced(name: str, before: str, after: str) -> None:
    notices().print(
        f"{shown(name)}: SHA-256 {after} took the place of {before}; vectors of the two are not mixed",
        style="yellow",
    )


def _pulled(row: EncoderSpec, found: Checkpoint) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "digest": found.digest,
        "files": dict(found.files),
        "licence": row.weights.licence,
        "commercial": row.weights.commercial,
        "trained_on": row.weights.trained_on,
    }


def _print_checkpoint(row: EncoderSpec, found: Checkpoint) -> None:
    out = console()
    out.print(f"[bold]{shown(row.name)}[/]  digest {found.digest}")
    for path in found.files.values():
        out.print(f"  {shown(str(path))}  {size(path.stat().st_size)}")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar for each file that comes, on stderr."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=notices(), transient=True) as progress:

        def on_progress(name: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(shown(name), total=total)
            progress.update(bars[name], completed=done, total=total)

        yield on_progress
