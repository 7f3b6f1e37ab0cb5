"""Fixtures every part uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real footage and golden numbers beside the checkout; tests that need it skip without it.

    In CI it is always there, so a missing folder fails instead of skipping.
    """
    place = Path(__file__).resolve().parents[2] / "shared"
    if not place.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the shared data are expected in CI at {place}")
        pytest.skip("needs ../shared (real footage, golden numbers)")
    return place
