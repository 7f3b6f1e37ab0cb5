"""Locks exclude, wait, and die with their holder."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reelspace.errors import StoreBusy
from reelspace.store.locks import FileLock


def test_two_locks_on_one_path_exclude_each_other(tmp_path: Path):
    first, second = FileLock(tmp_path / "x"), FileLock(tmp_path / "x")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release()


def test_waiting_too_long_says_who_is_in_the_way(tmp_path: Path):
    with (
        FileLock(tmp_path / "x"),
        pytest.raises(StoreBusy, match=r"held by another process for 0\.05 seconds"),
        FileLock(tmp_path / "x", timeout_seconds=0.05),
    ):
        pass


def test_a_temporary_lock_leaves_no_file(tmp_path: Path):
    with FileLock(tmp_path / "x", temporary=True):
        assert (tmp_path / "x").exists()
    assert not (tmp_path / "x").exists()


def test_removing_the_file_on_release_never_lets_two_in(tmp_path: Path):
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(40):
            with FileLock(tmp_path / "x", temporary=True):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.0005)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_killed_holder_frees_its_lock(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from reelspace.store.locks import FileLock\n"
        "assert FileLock(Path(sys.argv[1])).try_acquire(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "x")], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    lock = FileLock(tmp_path / "x", timeout_seconds=5)
    assert not lock.try_acquire()
    holder.send_signal(signal.SIGKILL)
    with lock:
        holder.wait()
    holder.stdout.close()
