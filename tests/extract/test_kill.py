"""Killed, interrupted, and several at once: real processes on one library."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_up_encoders import Means

from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan, TmkSigner
from reelspace.store.store import Store

KILLS = 8

# Imports first, then waits for the word, so that kills strike the work and not the imports.
PROGRAM = """
import json, sys
sys.path[:0] = [{here!r}]
from made_up_encoders import Means
from reelspace.extract.events import FileDone
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan, TmkSigner
from reelspace.store.store import Store
print("ready", flush=True)
place, *files = json.loads(sys.stdin.readline())
def tell(event):
    if isinstance(event, FileDone):
        print("done", flush=True)
report = extract(files, store=Store.create(place), plan=Plan((Means(),), (TmkSigner(),)), workers=2, on_event=tell)
print(json.dumps([report.indexed, report.same_content, report.skipped, len(report.failed), report.interrupted]))
"""


@pytest.fixture
def start() -> Iterator[object]:
    """Starts indexing processes, to be set to work by `go`; ends those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start(**options: object) -> subprocess.Popen[str]:
        program = PROGRAM.format(here=str(Path(__file__).parent))
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str], store: Path, files: list[str]) -> None:
    assert process.stdout.readline() == "ready\n"
    process.stdin.write(json.dumps([str(store), *files]) + "\n")
    process.stdin.flush()


def assert_whole(store: Store) -> None:
    """What the library says it has, it has: nothing half, nothing twice."""
    record = store.record()
    ledger, videos = store.ledger(record), store.videos()
    assert {entry.video_id for entry in ledger.values()} == set(videos)
    if videos:
        assert set(store.frame_matrix("means").video_ids) == set(store.signatures("tmk").video_ids) == set(videos)
        assert len(store.frame_matrix("means")) == len(store.signatures("tmk")) == len(videos)


def assert_equal(store: Store, other: Store) -> None:
    assert {s: e.video_id for s, e in store.ledger().items()} == {s: e.video_id for s, e in other.ledger().items()}
    mine, theirs = store.frame_matrix("means"), other.frame_matrix("means")
    my_sums, their_sums = store.signatures("tmk"), other.signatures("tmk")
    assert sorted(mine.video_ids) == sorted(theirs.video_ids) == sorted(my_sums.video_ids)
    for i, video_id in enumerate(mine.video_ids):
        a, b = mine.sequence(i), theirs.sequence(theirs.video_ids.index(video_id))
        for name in ("vectors", "times_seconds", "views", "weights"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        at, there = my_sums.video_ids.index(video_id), their_sums.video_ids.index(video_id)
        np.testing.assert_array_equal(my_sums.cosines[at], their_sums.cosines[there])
    for name in ("sources", "videos"):  # the tables themselves, not only what the ledger's dict makes of them
        assert store._open(name, store.record()).count_rows() == other._open(name, other.record()).count_rows()


@pytest.fixture
def files(clips: list[Path], tmp_path: Path) -> list[str]:
    """Twenty files: ten contents, each at two places."""
    return [str(shutil.copy(clip, tmp_path / f"{name}-{clip.name}")) for name in ("a", "b") for clip in clips]


def test_kill_9_at_any_moment_loses_only_what_is_in_flight(files: list[str], tmp_path: Path, start):
    whole = Store.create(tmp_path / "uninterrupted")
    began = time.monotonic()
    extract(files, store=whole, plan=Plan((Means(),), (TmkSigner(),)), workers=2)
    usual_seconds = time.monotonic() - began
    moments = random.Random(7)
    waiting = [start(), start()]
    kills_at_work, known = 0, 0
    place = tmp_path / "killed-0"
    for number in range(KILLS):
        process = waiting.pop(0)
        waiting.append(start())
        if known == len(files):  # done between kills: begin anew
            place, known = tmp_path / f"killed-{number}", 0
        go(process, place, files)
        time.sleep(moments.uniform(0, 0.7) * usual_seconds)
        kills_at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (place / "library.json").exists():
            store = Store(place)
            assert_whole(store)
            assert len(store.ledger()) >= known  # nothing that was there is lost
            known = len(store.ledger())
    assert kills_at_work >= KILLS // 2
    report = extract(files, store=Store.create(place), plan=Plan((Means(),), (TmkSigner(),)), workers=2)
    assert report.indexed + report.same_content + report.skipped == len(files)
    assert_whole(Store(place))
    assert_equal(Store(place), whole)


def test_workers_end_when_their_parent_is_killed(files: list[str], tmp_path: Path, start):
    process = start()
    go(process, tmp_path / "library", files)
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(running(child) for child in children):
        time.sleep(0.02)
    assert not any(running(child) for child in children)


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_several_processes_share_the_work(files: list[str], tmp_path: Path, start):
    processes = [start() for _ in range(3)]
    for process in processes:
        go(process, tmp_path / "library", files)
    reports = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert err == ""
        reports.append(json.loads(out.splitlines()[-1]))
    assert all(failed == 0 and not interrupted for *_, failed, interrupted in reports)
    indexed, same, skipped = (sum(column) for column in list(zip(*reports, strict=True))[:3])
    assert indexed + same == len(files)  # every file by one of them
    assert skipped == 2 * len(files)
    store = Store(tmp_path / "library")
    assert_whole(store)
    whole = Store.create(tmp_path / "alone")
    extract(files, store=whole, plan=Plan((Means(),), (TmkSigner(),)), workers=2)
    assert_equal(store, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_report_and_no_traceback(files: list[str], tmp_path: Path, start, number):
    process = start()
    go(process, tmp_path / "library", files)
    assert process.stdout.readline() == "done\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    indexed, same, skipped, failed, interrupted = json.loads(out.splitlines()[-1])
    assert (process.returncode, err, skipped, failed, interrupted) == (0, "", 0, 0, True)
    store = Store(tmp_path / "library")
    assert_whole(store)
    assert len(store.ledger()) == indexed + same < len(files)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_fails_no_file(files: list[str], tmp_path: Path, start, number):
    process = start(start_new_session=True)
    go(process, tmp_path / "library", files)
    assert process.stdout.readline() == "done\n"
    os.killpg(process.pid, number)  # as a terminal and a service manager do: the workers get it, too
    out, _ = process.communicate(timeout=10)
    indexed, same, _, failed, interrupted = json.loads(out.splitlines()[-1])
    assert (failed, interrupted) == (0, True)
    assert len(Store(tmp_path / "library").ledger()) == indexed + same < len(files)
