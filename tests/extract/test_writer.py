"""Results are written in groups, and an error in writing reaches the run."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from made_up_encoders import Means

from reelspace.errors import StoreBusy
from reelspace.extract import writer as writer_module
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan
from reelspace.store.locks import FileLock
from reelspace.store.rows import Finished, LedgerEntry, Stamp
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


def test_what_comes_while_a_step_fails_gives_its_claim_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    begun, go_on = threading.Event(), threading.Event()

    def refuse(self: Store, batch: list) -> None:
        begun.set()
        go_on.wait()
        raise StoreBusy("taken")

    monkeypatch.setattr(Store, "commit", refuse)
    writer = writer_module.Writer(store)
    now = datetime.now(UTC)
    for i in range(3):
        claim = FileLock(tmp_path / f"{i}.lock", temporary=True)
        assert claim.try_acquire()
        if i == 1:
            begun.wait()
        if i == 2:
            go_on.set()
            writer._thread.join()
        entry = LedgerEntry(f"{i}.mp4", Stamp(1, 1), None, "failed", "broken", "CannotOpen", now, 0.0)
        with pytest.raises(StoreBusy) if i == 2 else nullcontext():
            writer.put(Finished(entry), claim)
    assert all(FileLock(tmp_path / f"{i}.lock", temporary=True).try_acquire() for i in range(3))


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
