"""Clips of a second, and this folder on the path: worker processes import the made-up encoders from it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten different clips of about a second, in landscape and portrait. Not to be written to."""
    from reelspace.media.synthetic import render_clips

    return render_clips(tmp_path_factory.mktemp("clips"), count=10, seconds=1.2, scale=0.25)


@pytest.fixture
def store(tmp_path: Path):
    from reelspace.store.store import Store

    return Store.create(tmp_path / "library")
