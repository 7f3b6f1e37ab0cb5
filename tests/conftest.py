"""Fixtures every part uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Two test processes fill two cores; torch's own threads would only fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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


@pytest.fixture(scope="session", autouse=True)
def _no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see an empty store of checkpoints, write nothing into the user's, and ask no hub."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REELSPACE_MODELS_CACHE", str(tmp_path_factory.mktemp("models")))
        environment.setenv("HF_HUB_OFFLINE", "1")
        environment.delenv("REELSPACE_MODELS", raising=False)
        yield
