"""Results are written in groups, and an error in writing reaches the run."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from made_up_encoders import Means

from reelspace.errors import StoreBusy
from reelspace.extract import writer as writer_module
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan
from reelspace.store.store import Store

PLAN = Plan((Means(),))


def test_results_gather_while_a_step_is_being_written(
    clips: list[Path], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes = []
    commit = Store.commit

    def slow(self: Store, batch: list) -> None:
        sizes.append(len(batch))
        time.sleep(0.3)
        commit(self, batch)

    monkeypatch.setattr(Store, "commit", slow)
    files = [str(shutil.copy(clip, tmp_path / f"{name}{clip.name}")) for name in "ab" for clip in clips]
    assert extract(files, store=store, plan=PLAN, workers=0).indexed == len(clips)
    assert sum(sizes) == len(files)
    assert len(sizes) < len(files) / 2
    assert len(store.ledger()) == len(files)


def test_an_error_in_writing_ends_the_run_and_frees_its_files(
    clips: list[Path], store: Store, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: Store, batch: list) -> None:
        raise StoreBusy("taken")

    monkeypatch.setattr(Store, "commit", refuse)
    with pytest.raises(StoreBusy, match="taken"):
        extract([str(clip) for clip in clips], store=store, plan=PLAN, workers=0)
    monkeypatch.undo()
    assert extract([str(clip) for clip in clips], store=store, plan=PLAN, workers=0).indexed == len(clips)


def test_a_long_run_is_compacted_on_the_way(clips: list[Path], store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer_module, "COMPACT_AFTER_COMMITS", 2)
    monkeypatch.setattr(writer_module, "SHARE_OF_TIME", 1e6)  # no gathering
    compacted = []
    compact = Store.compact

    def seen(self: Store) -> list[str]:
        compacted.append(compact(self, after_fragments=1))
        return compacted[-1]

    monkeypatch.setattr(Store, "compact", seen)
    assert extract([str(clip) for clip in clips], store=store, plan=PLAN, workers=0).indexed == len(clips)
    assert any("frames_means" in names for names in compacted)
    assert len(store.frame_matrix("means")) == len(clips)
