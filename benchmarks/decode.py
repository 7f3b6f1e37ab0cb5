"""How fast videos are read, beside Debian's `ffmpeg -f null` decoding the same files one after another.

    .venv/bin/python benchmarks/decode.py [FOLDER] [--workers 2] [--rounds 3]

Every row reads all files of the folder (default: ../shared/tmk/videos), one single-threaded decode per file, files
side by side in as many processes as the machine has cores. Rounds take turns, and the best of each row counts. On a
machine with other work look at the processor seconds: those of a row, shared by the cores, are what it takes alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import FfmpegRate
from reelspace.media import open_video, probe

TMK = Tap(FfmpegRate(15), Picture(64, 64, exact=True))
GRAY = Picture(32, 32, layout="gray", filter="area")


def decode_every_frame(path: str) -> int:
    with open_video(path) as reader:
        reader._foretells = False  # noqa: SLF001 - what leaving frames out is worth
        return sum(1 for _ in reader.read([TMK]))


def exact(path: str) -> int:
    with open_video(path) as reader:
        return sum(1 for _ in reader.read([TMK]))


def fast(path: str) -> int:
    with open_video(path, fast=True) as reader:
        return sum(1 for _ in reader.read([TMK]))


def two_a_second(path: str) -> int:
    with open_video(path) as reader:
        return sum(1 for _ in reader.frames_at_rate(2, GRAY))


def full_size(path: str) -> int:
    with open_video(path) as reader:
        return sum(1 for _ in reader.frames())


def sixteen(path: str) -> int:
    with open_video(path) as reader:
        end = reader.video.duration_seconds or 1.0
        return sum(1 for _ in reader.frames_at(np.linspace(0, end, 16, endpoint=False).tolist()))


ROWS: dict[str, Callable[[str], int]] = {
    "15 fps 64x64 RGB, every frame decoded": decode_every_frame,
    "15 fps 64x64 RGB, exact": exact,
    "15 fps 64x64 RGB, fast": fast,
    "2 fps 32x32 gray, exact": two_a_second,
    "every frame, full-size RGB": full_size,
    "16 frames by seeks, full-size RGB": sixteen,
}


def timed(name: str, path: str) -> tuple[int, float]:
    """How many frames were handed out, and the processor seconds it took."""
    start = time.process_time()
    return ROWS[name](path), time.process_time() - start


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument(
        "folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "tmk" / "videos"
    )
    words.add_argument("--workers", type=int, default=os.cpu_count())
    words.add_argument("--rounds", type=int, default=3)
    asked = words.parse_args()
    paths = sorted((str(path) for path in asked.folder.iterdir()), key=os.path.getsize, reverse=True)
    videos = [probe(path) for path in paths]
    seconds = sum(video.duration_seconds or 0 for video in videos)
    frames = sum(video.frame_count or 0 for video in videos)
    wall: dict[str, float] = {}
    processor: dict[str, float] = {}
    made: dict[str, int] = {}
    ffmpeg = shutil.which("ffmpeg")

    def note(name: str, wall_seconds: float, processor_seconds: float) -> None:
        wall[name] = min(wall.get(name, wall_seconds), wall_seconds)
        processor[name] = min(processor.get(name, processor_seconds), processor_seconds)

    with ProcessPoolExecutor(asked.workers) as pool:
        list(pool.map(probe, paths))  # starts the processes, reads the files once
        for _ in range(asked.rounds):
            if ffmpeg:
                start, used = time.perf_counter(), children_seconds()
                for path in paths:
                    command = [ffmpeg, "-v", "quiet", "-nostdin", "-i", path, "-an", "-f", "null", "-"]
                    subprocess.run(command, check=False)
                note("ffmpeg", time.perf_counter() - start, children_seconds() - used)
            for name in ROWS:
                start = time.perf_counter()
                results = list(pool.map(timed, repeat(name), paths))
                made[name] = sum(count for count, _ in results)
                note(name, time.perf_counter() - start, sum(used for _, used in results))
    print(
        f"{len(paths)} videos, {seconds:.1f} s, {frames} frames; {asked.workers} processes, best of {asked.rounds}"
    )
    print(f"{' ':48s} {'seconds':>8s} {'processor':>9s} {'frames/s':>9s} {'x real time':>11s} {'to ffmpeg':>9s}")
    for name, took in wall.items():
        label = "ffmpeg -f null, one after another" if name == "ffmpeg" else f"{name} ({made[name]})"
        share = f"{wall['ffmpeg'] / took:8.2f}x" if ffmpeg else ""
        figures = f"{took:8.2f} {processor[name]:9.2f} {frames / took:9.0f} {seconds / took:11.1f} {share:>9s}"
        print(f"{label:48s} {figures}")


if __name__ == "__main__":
    main()
