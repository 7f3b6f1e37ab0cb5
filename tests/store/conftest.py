"""Puts this folder on the path, so that tests share `made_up`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path: Path):
    from reelspace.store.store import Store

    return Store.create(tmp_path / "library")
