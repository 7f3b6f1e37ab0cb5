"""What an evaluation found, with all that is needed to find it again: as JSON, as Markdown, as pictures."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from reelspace.errors import InvalidArgument, MissingExtra

__all__ = ["Cell", "Curve", "Provenance", "Report", "file_digest"]

Cell = str | int | float | None
"""One cell of a table; None is not known, and stays empty."""

_BLOCK_BYTES = 1 << 20
_COLOURS = ("#2e86ab", "#e4572e", "#3a7d44", "#8d5a97", "#f2a541", "#1f2430", "#7bdff2", "#a44a3f")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made by and of.

    Attributes:
        method: its name, as the command takes it.
        parameters: of the method and of the measure, anything JSON knows.
        inputs: SHA-256 of what was read, by name; see `file_digest`.
        seeds: of everything random.
        versions: of reelspace, numpy and Python unless others are given.
        date: ISO 8601, in UTC; now unless another is given.
    """

    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                "reelspace": version("reelspace"),
                "numpy": version("numpy"),
                "python": platform.python_version(),
            }
        )
    )
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart.

    Attributes:
        chart: the chart it is drawn in, also the name of the picture's file; curves of one chart share it.
        name: what the legend calls it.
        x: finite numbers.
        y: as many.
        x_label: of the horizontal axis, with its unit.
        y_label: of the vertical axis.
        x_logarithmic: whether the horizontal axis is.

    Raises:
        InvalidArgument: when there are not as many x as y, or a number is not finite.
    """

    chart: str
    name: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    x_label: str
    y_label: str
    x_logarithmic: bool = False

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise InvalidArgument(f"curve {self.name!r}: {len(self.x)} x need as many y, got {len(self.y)}")
        if not all(map(math.isfinite, (*self.x, *self.y))):
            raise InvalidArgument(f"curve {self.name!r}: only finite numbers can be drawn")


@dataclass(frozen=True, slots=True)
class Report:
    """A table with its provenance, remarks and curves.

    Attributes:
        title: one line.
        columns: the header.
        rows: as many cells each as there are columns; a number without a value is None.
        provenance: one, or one per method compared.
        curves: what is drawn beside the table.
        notes: what a reader must know, one sentence or more each.

    Raises:
        InvalidArgument: when a row has more or fewer cells than there are columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    provenance: Sequence[Provenance] = ()
    curves: Sequence[Curve] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InvalidArgument(
                    f"report {self.title!r}: rows have {len(self.columns)} cells, got {len(row)}: {list(row)}"
                )

    def document(self) -> dict[str, Any]:
        """The report as what JSON knows; numbers that are not finite become null."""
        plain = {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "notes": list(self.notes),
            "provenance": [
                {name: _mapped(getattr(entry, name)) for name in Provenance.__dataclass_fields__}
                for entry in self.provenance
            ],
            "curves": [
                {name: _mapped(getattr(curve, name)) for name in Curve.__dataclass_fields__}
                for curve in self.curves
            ],
        }
        return _finite(plain)  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """The report as one JSON document."""
        return json.dumps(self.document(), indent=2, allow_nan=False)

    def to_markdown(self) -> str:
        """The report as a Markdown page: title, table, notes, provenance."""
        lines = [f"# {self.title}", "", *self.table_lines()]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        for entry in self.provenance:
            lines += ["", f"## {entry.method}", "", f"- date: {entry.date}"]
            for name in ("parameters", "inputs", "seeds", "versions"):
                content = getattr(entry, name)
                if content:
                    items = ", ".join(f"{key} {_shown(value)}" for key, value in content.items())
                    lines.append(f"- {name}: {items}")
        return "\n".join(lines) + "\n"

    def table_lines(self) -> list[str]:
        """The table alone, as lines of Markdown; numbers stand to the right."""
        numeric = [
            any(isinstance(row[i], int | float) for row in self.rows)
            and not any(isinstance(row[i], str) for row in self.rows)
            for i in range(len(self.columns))
        ]
        rule = ["---:" if right else "---" for right in numeric]
        body = [[_escaped(_shown(cell)) for cell in row] for row in self.rows]
        return [f"| {' | '.join(cells)} |" for cells in ([_escaped(c) for c in self.columns], rule, *body)]

    def cells(self) -> list[list[str]]:
        """The rows as text, as a terminal shows them."""
        return [[_shown(cell) for cell in row] for row in self.rows]

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes ``report.json``, ``report.md`` and, where there are curves, ``CHART.png`` per chart.

        Returns:
            The files written.

        Raises:
            MissingExtra: when there are curves and matplotlib is not installed; the two texts are written.
            InvalidArgument: when the folder cannot be made or written into.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            files = [place / "report.json", place / "report.md"]
            for file, text in zip(files, (self.to_json(), self.to_markdown()), strict=True):
                file.write_text(text, "utf-8")
            return files + [_drawn(chart, curves, place) for chart, curves in _charts(self.curves).items()]
        except OSError as error:
            raise InvalidArgument(f"cannot write the report to {place}: {error.strerror}") from error


def file_digest(*files: str | os.PathLike[str]) -> str:
    """SHA-256 of the content of files, one after the other in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with Path(file).open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _mapped(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike) else value


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _charts(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    charts: dict[str, list[Curve]] = {}
    for curve in curves:
        charts.setdefault(curve.chart, []).append(curve)
    return charts


def _drawn(chart: str, curves: Sequence[Curve], folder: Path) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", extra="plots") from error
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        axes.plot(curve.x, curve.y, label=curve.name, color=_COLOURS[number % len(_COLOURS)], lw=1.4)
    axes.set(xlabel=curves[0].x_label, ylabel=curves[0].y_label, title=chart)
    if curves[0].x_logarithmic:
        axes.set_xscale("log")
    axes.grid(color="#d9dce3", lw=0.5)
    axes.legend(fontsize=8)
    place = folder / f"{chart.lower().replace(' ', '-').replace('/', '-')}.png"
    figure.savefig(place, dpi=110)
    return place
