"""What a user waits for: start-up, and `match` against a library of 1,000 stored videos, as whole commands.

    python benchmarks/everyday.py [--videos 1000] [--seconds 60] [--rounds 5]

The library holds made-up vectors (random walks, five a second) of videos of the given length, and one rendered
clip, an excerpt of which is the query; a match that does not find it fails the benchmark. Medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np

from reelspace import Library
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.media.synthetic import render_clips, render_copies
from reelspace.store.rows import Finished, LedgerEntry, Stamp, StoredVideo
from reelspace.store.store import Store


def made_up(number: int, seconds: float, spaces: list[Space], random: np.random.Generator) -> Finished:
    """One stored video nobody ever saw."""
    count = int(seconds * 5)
    times, ones = np.arange(count) / 5, np.ones(count, np.float32)
    rows = []
    for space in spaces:
        vectors = np.cumsum(random.normal(size=(count, space.dimensions)), axis=0).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        views = np.zeros(count, np.uint8)
        rows.append(FrameSequence(times, vectors.astype(np.float16), views, ones, space, seconds))
    source, video_id = f"/made/up/{number:06d}.mp4", f"{number:064x}"
    rest = {"codec": "h264", "pixel_format": "yuv420p", "container": "mov", "frame_count": None}
    rest |= {"start_seconds": 0.0, "size_bytes": 1}
    facts = Video(source, seconds, Fraction(25), 640, 360, 0, mirrored=False, **rest)
    entry = LedgerEntry(source, Stamp(1, 1), video_id, "indexed", None, None, datetime.now(UTC), 0.0)
    return Finished(entry, StoredVideo(video_id, facts, seconds), tuple(rows))


def timed(words: list[str], rounds: int) -> tuple[float, str]:
    """Median wall seconds, and what the last run wrote."""
    walls, said = [], ""
    for _ in range(rounds):
        began = time.perf_counter()
        said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
        walls.append(time.perf_counter() - began)
    return statistics.median(walls), said


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--videos", type=int, default=1000)
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--rounds", type=int, default=5)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "library"
        clips = render_clips(Path(folder) / "clips", count=2)
        (planted,) = render_copies(clips, Path(folder), edits=["trimmed"])
        library = Library(place, tmk=False)
        library.add(planted.reference)
        spaces = [space for name, space in library.spaces().items() if name.startswith("frames_")]
        random, store = np.random.default_rng(0), Store(place)
        for start in range(0, asked.videos, 100):
            store.commit([made_up(n, asked.seconds, spaces, random) for n in range(start, start + 100)])

        command = [sys.executable, "-m", "reelspace"]
        match = [*command, "match", str(planted.query), "--library", str(place), "--json"]
        timed(match, 1)  # maps the vectors once
        rows = {
            "python -c 'pass'": [sys.executable, "-c", "pass"],
            "import reelspace": [sys.executable, "-c", "import reelspace"],
            "reelspace --help": [*command, "--help"],
            "reelspace status": [*command, "status", "--library", str(place)],
            f"reelspace match, {asked.videos} x {asked.seconds:g} s": match,
        }
        print(f"{'':38} {'seconds':>8}")
        for name, line in rows.items():
            seconds, said = timed(line, asked.rounds)
            print(f"{name:38} {seconds:8.2f}")
        found = [Path(m["reference"]).name for m in json.loads(said)["matches"]]
        if found != [planted.reference.name]:
            raise SystemExit(f"match found {found}")


if __name__ == "__main__":
    main()
