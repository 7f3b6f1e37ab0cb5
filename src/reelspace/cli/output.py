"""What the command says, and where: answers on stdout, everything else on stderr.

With ``--json`` stdout carries one JSON document and nothing else. Exit status: 0 done, 1 the work failed, 2 the words
were wrong, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "notices", "print_json", "seconds", "size"]


def console() -> Console:
    """The console for answers, on stdout."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def notices() -> Console:
    """The console for progress and remarks, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Writes the one document of this run to stdout."""
    json.dump(document, sys.stdout, indent=2, default=_plain, allow_nan=False)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path | Fraction):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON form for {type(value).__name__}")


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
