"""A small folder of rendered clips with one edited copy of each kind needed, indexed once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reelspace.media.synthetic import PlantedCopy, render_clips, render_copies


@dataclass(frozen=True)
class Said:
    """How one run of the command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Footage:
    folder: Path
    library: Path
    planted: list[PlantedCopy]


Run = Callable[..., Said]


@pytest.fixture(scope="session")
def run() -> Run:
    def command(*words: object) -> Said:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "reelspace", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Footage:
    folder = tmp_path_factory.mktemp("footage")
    clips = render_clips(folder, count=3, seconds=6, scale=0.5)
    planted = render_copies(clips, folder, edits=["trimmed", "mirrored"])
    (folder / "broken.mp4").write_bytes(b"not a video at all" * 100)
    library = tmp_path_factory.mktemp("library") / "lib"
    said = run("index", folder, "--library", library)
    assert said.status == 0, said.err
    return Footage(folder, library, planted)
