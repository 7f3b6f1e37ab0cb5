"""`evaluate`: datasets of the field, published numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reelspace.alignment.methods import LEARNED
from reelspace.cli.output import console, count, print_json, print_rows, shown, watched
from reelspace.errors import InvalidArgument
from reelspace.evaluation.evaluate import TABLE, Evaluation, Setting, evaluate
from reelspace.plots import ready

__all__ = ["run"]

EVERY = "all"


def run(
    dataset: str,
    *,
    root: Path,
    features: Path | None,
    encoder: str | None,
    methods: Sequence[str],
    norm: str | None,
    harmonics: int | None,
    periods: Sequence[int],
    kernel: Path | None,
    as_published: bool,
    output: Path | None,
    as_json: bool,
    longest_offset: int | None = None,
    fold: int | None = None,
    expansion: str | None = None,
    added: int | None = None,
    subtracted: int | None = None,
    consistent: bool = False,
) -> None:
    """Runs `reelspace evaluate DATASET`."""
    settings = [
        replace(setting, as_published=as_published, longest_offset=longest_offset)
        for method in methods
        for setting in (
            _table(dataset, norm, harmonics, periods, expansion)
            if method == EVERY
            else [
                Setting(
                    method,
                    norm=norm,
                    harmonics=harmonics,
                    periods=tuple(periods),
                    kernel=kernel if method == LEARNED else None,
                    expansion=expansion,
                    added=added,
                    subtracted=subtracted,
                    consistent=consistent,
                )
            ]
        )
    ]
    if kernel is not None and LEARNED not in methods:
        raise InvalidArgument(f"a learned kernel is for the method {LEARNED}; give --method {LEARNED} with it")
    if output is not None:
        ready(output / "report.png")  # the folder can be made and a chart drawn, before long work
    with watched() as tell:
        found = evaluate(dataset, root, settings, features=features, encoder=encoder, fold=fold, on_progress=tell)
    written = found.report.write(output) if output is not None else []
    if as_json:
        document = found.report.document()
        print_json({**document, "missing": found.missing, "details": _finite(found), "written": written})
        return
    console().print(f"[bold]{shown(found.report.title)}[/]")
    # Each stands right of the method it is of, whose name would make the table too wide.
    header = ["published %" if name.endswith(", published %") else name for name in found.report.columns]
    print_rows(found.report.cells(), header=header)
    for note in found.report.notes:
        console().print(f"\n{shown(note)}")
    if written:
        console().print(f"\nWrote {count(len(written), 'file')} to {shown(str(output))}.")


def _table(
    dataset: str, norm: str | None, harmonics: int | None, periods: Sequence[int], expansion: str | None
) -> list[Setting]:
    if norm is not None or harmonics is not None or periods or expansion is not None:
        raise InvalidArgument(
            "the whole table is made with each method's own parameters; take --method tmk to choose"
        )
    expanded = [replace(TABLE[-1], expansion=name) for name in ("aqe", "don")] if dataset == "evve" else []
    return [*TABLE, *expanded]


def _finite(found: Evaluation) -> dict[str, dict[str, float | None]]:
    return {
        label: {name: value if value < float("inf") else None for name, value in numbers.items()}
        for label, numbers in found.details.items()
    }
