"""What the package shows, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import reelspace

HEAVY = {"torch", "av", "lancedb", "pyarrow", "matplotlib", "scipy"}


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import reelspace", "import reelspace.cli.app", "import reelspace.core.results, reelspace.errors"]
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


def test_help_answers_within_a_third_of_a_second() -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "reelspace", "--help"], capture_output=True, check=True)
        return time.perf_counter() - began

    def bare() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import typer, rich.console"], capture_output=True, check=True)
        return time.perf_counter() - began

    # On a busy machine the bar moves with what the interpreter and the command's own parts need there.
    assert min(once() for _ in range(3)) < max(0.3, 2.5 * min(bare() for _ in range(3)))


def test_every_public_name_is_there_and_comes_from_its_home() -> None:
    for name in reelspace.__all__:
        home = sys.modules[getattr(reelspace, name).__module__]
        assert home.__name__.startswith("reelspace.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Libary'"):
        _ = reelspace.Libary  # type: ignore[attr-defined]


def test_every_module_says_what_it_gives() -> None:
    root = Path(reelspace.__file__).parent
    for path in root.rglob("*.py"):
        if path.name in {"__init__.py", "__main__.py"}:
            continue
        module = import_module(".".join(("reelspace", *path.relative_to(root).with_suffix("").parts)))
        assert module.__doc__, f"{path} has no docstring"
        for name in module.__all__:
            assert hasattr(module, name), f"{path} promises {name}"
