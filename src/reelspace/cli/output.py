"""What the command says, and where: answers on stdout, everything else on stderr.

With ``--json`` stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "console",
    "count",
    "notices",
    "print_json",
    "print_rows",
    "seconds",
    "shortened",
    "shown",
    "size",
    "visible",
    "watched",
]


def console() -> Console:
    """The console for answers, on stdout."""
    from rich.console import Console

    class Answers(Console):
        def on_broken_pipe(self) -> None:
            _end_unheard()

    return Answers(highlight=False, soft_wrap=True)


def notices() -> Console:
    """The console for progress and remarks, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Writes the one document of this run to stdout."""
    text = json.dumps(_plain(document), indent=2, allow_nan=False)
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _end_unheard()


def _end_unheard() -> None:
    """Ends well: the reader of stdout went away (``reelspace status | head``) and has all it wanted."""
    # What is still buffered goes nowhere, or Python complains of it on the way out.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)


def visible(text: str, *, keep: str = "") -> str:
    """The text with control characters spelled out: a file's name cannot break lines, nor steer the terminal.

    Args:
        text: what to show.
        keep: characters to leave as they are.
    """
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def shown(text: str) -> str:
    """The text as a console prints it: `visible`, and its square brackets are no markup."""
    from rich.markup import escape

    return escape(visible(text))


def count(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _plain(value: Any) -> Any:
    """The value in JSON's own kinds; numbers to the millionth."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path | Fraction):
        return str(value)
    return round(value, 6) if isinstance(value, float) else value


def seconds(value: float) -> str:
    """A length or moment for people: ``9.84 s``, ``3:05.2``, ``1:02:03``."""
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(value, 60)
    if minutes < 60:
        return f"{minutes:.0f}:{rest:04.1f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{rest:02.0f}"


def size(value: int) -> str:
    """Bytes for people: ``1.4 MB``."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def print_rows(rows: Sequence[Sequence[str]], *, header: Sequence[str] = (), indent: str = "") -> None:
    """Writes columns under one another to stdout, never cut or wrapped: good to read, and to pipe into `grep`."""
    if not rows:
        return
    from rich.cells import cell_len

    lines = [[visible(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    out = console()
    for number, line in enumerate(lines):
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        style = "dim" if header and number == 0 else ""
        out.print((indent + "  ".join(cells)).rstrip(), style=style, markup=False)


def shortened(sources: Sequence[str]) -> dict[str, str]:
    """A name for each path or URL: without the folder they all share, unless two would look the same."""
    folders = {os.path.dirname(source) for source in sources}  # noqa: PTH120 # a URL is no Path
    try:
        common = os.path.commonpath(folders) if len(folders) > 1 else next(iter(folders), "")
    except ValueError:  # paths beside URLs
        common = ""
    cut = len(common) + 1 if common and common != "/" else 0
    return {source: source[cut:] if source.startswith(common) else source for source in sources}


@contextmanager
def watched() -> Iterator[Callable[[str, int, int], None]]:
    """A bar per thing that is done, on stderr where that is a terminal: told what, how much, and of how much."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    screen = notices()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, of: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(shown(what), total=of)
        bar.update(tasks[what], completed=done)

    with bar:
        yield tell
