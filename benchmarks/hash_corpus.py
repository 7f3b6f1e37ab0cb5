"""Hashing a folder of videos with TMK+PDQF, beside Debian's `ffmpeg -f null` decoding the same files one by one.

    python benchmarks/hash_corpus.py [FOLDER] [--workers 2] [--rounds 5]

Folder: ../shared/tmk/videos by default. `exact` writes what ThreatExchange's tools would; `fast` skips frames that
no other refers to, the loop filter, and colour. Rounds take turns; ratios are of the same round, the median counts.
The C++ tool, tmk-hash-video, spends 95 % of its time in the ffmpeg command of the second row.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

from reelspace.alignment.tmk import TmkDescriptor
from reelspace.media import probe
from reelspace.pair import tmk_hashes


def hashed(paths: list[str], *, fast: bool, workers: int) -> list[TmkDescriptor]:
    return [found for _, found in tmk_hashes(paths, fast=fast, workers=workers) if isinstance(found, TmkDescriptor)]


def cosines(a: TmkDescriptor, b: TmkDescriptor) -> list[float]:
    """Of the averages, the cosine features and the sine features, each taken as one long vector."""
    parts = (
        (x.ravel(), y.ravel()) for x, y in ((a.average, b.average), (a.cosines, b.cosines), (a.sines, b.sines))
    )
    return [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x, y in parts]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "shared" / "tmk" / "videos"
    words.add_argument("folder", nargs="?", type=Path, default=here)
    words.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    words.add_argument("--rounds", type=int, default=5)
    asked = words.parse_args()
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("this comparison needs the ffmpeg command")
    paths = sorted((str(path) for path in asked.folder.iterdir()), key=os.path.getsize, reverse=True)
    footage = sum(probe(path).duration_seconds or 0.0 for path in paths)

    null = ["-an", "-f", "null", "-"]
    tool = ["-s", "64:64", "-an", "-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "15", "-y", os.devnull]
    commands = {"ffmpeg -f null, one by one": null, "tmk-hash-video's ffmpeg": tool}
    wall: dict[str, list[float]] = {name: [] for name in (*commands, "exact", "fast")}
    made: dict[str, list[TmkDescriptor]] = {}
    hashed(paths, fast=False, workers=asked.workers)  # reads the files once
    for _ in range(asked.rounds):
        for name, words_after in commands.items():
            began = time.perf_counter()
            for path in paths:
                subprocess.run([ffmpeg, "-v", "error", "-nostdin", "-i", path, *words_after], check=True)
            wall[name].append(time.perf_counter() - began)
        for name in ("exact", "fast"):
            began = time.perf_counter()
            made[name] = hashed(paths, fast=name == "fast", workers=asked.workers)
            wall[name].append(time.perf_counter() - began)

    reference = wall["ffmpeg -f null, one by one"]
    print(f"{len(paths)} files, {footage:.1f} s of video, {asked.workers} at a time, {asked.rounds} rounds")
    print(f"{'':28} {'wall s (median)':>16} {'s of video per s':>17} {'to ffmpeg (median, best)':>26}")
    for name, seconds in wall.items():
        ratios = [r / s for r, s in zip(reference, seconds, strict=True)]
        typical = statistics.median(seconds)
        ratio = f"{statistics.median(ratios):16.2f} {max(ratios):9.2f}"
        print(f"{name:28} {typical:16.2f} {footage / typical:17.1f} {ratio}")
    lowest = np.min([cosines(a, b) for a, b in zip(made["exact"], made["fast"], strict=True)], axis=0)
    print(
        f"lowest cosine of fast to exact: average {lowest[0]:.5f}, cosines {lowest[1]:.5f}, sines {lowest[2]:.5f}"
    )


if __name__ == "__main__":
    main()
