"""The README says what the catalog says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_table_of_models_is_the_catalogs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from reelspace.cli.app import main

    monkeypatch.delenv("REELSPACE_MODELS", raising=False)
    with pytest.raises(SystemExit):
        main(["models", "list", "--markdown"])
    found = re.search(r"<!-- models -->\n(.*)<!-- /models -->", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1].strip() == capsys.readouterr().out.strip()
