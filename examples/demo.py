"""The main job on real files: index a folder, find the copies in it, show why.

    make demo                        renders a few clips and edited copies of them, and finds those copies
    make demo VIDEOS=/my/folder      the same on your own videos

Every step is a `reelspace` command; the demo prints it before it runs it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path("demo")


def reelspace(*words: str, quiet: bool = False) -> str:
    """Runs one command, shows it, and returns what it wrote to stdout."""
    if not quiet:
        print(f"\n$ reelspace {shlex.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "reelspace", *words],
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout or ""


def render(folder: Path) -> list[dict[str, object]]:
    """Renders the demo's own clips and copies once; returns what was planted."""
    truth = folder.parent / "planted.json"
    if not truth.exists():
        from reelspace.media.synthetic import render_clips, render_copies

        print(f"Rendering clips, and edited copies of them, into {folder} ...", flush=True)
        clips = render_clips(folder)
        planted = render_copies(clips, folder)
        truth.write_text(
            json.dumps(
                [
                    {
                        "edit": copy.edit,
                        "query": str(copy.query),
                        "reference": str(copy.reference),
                        "query_span": [copy.query_span.start, copy.query_span.end],
                        "reference_span": [copy.reference_span.start, copy.reference_span.end],
                        "speed": copy.speed,
                    }
                    for copy in planted
                ],
                indent=2,
            )
        )
    planted_copies: list[dict[str, object]] = json.loads(truth.read_text())
    return planted_copies


def check(planted: list[dict[str, object]], groups: list[dict[str, object]]) -> None:
    """Sets what was found beside what was planted."""
    found = {
        frozenset(Path(match[side]).name for side in ("query", "reference")): match
        for group in groups
        for match in group["matches"]
    }
    print(f"\n{'planted edit':28} {'planted at':>15} {'found at':>15} {'speed':>6} {'score':>6}")
    for copy in planted:
        names = frozenset(Path(str(copy[side])).name for side in ("query", "reference"))
        match = found.get(names)
        start, end = copy["reference_span"]
        line = f"{copy['edit']!s:28} {f'{start:.2f}-{end:.2f} s':>15} "
        if match is None:
            print(line + f"{'not found':>15}")
            continue
        side = "reference" if Path(match["reference"]).name == Path(str(copy["reference"])).name else "query"
        best = max(match["segments"], key=lambda s: min(end, s[side]["end"]) - max(start, s[side]["start"]))
        span, speed = best[side], best["speed"] if side == "reference" else 1 / best["speed"]
        spot = f"{span['start']:.2f}-{span['end']:.2f} s"
        print(line + f"{spot:>15} {speed:6.2f} {best['score']:6.2f}")


def main() -> None:
    """Parses the one option and runs the job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path, help="your own folder; without it the demo renders clips")
    own = parser.parse_args().videos
    if own is not None and not own.exists():
        raise SystemExit(f"there is no folder {own}; give VIDEOS=/path/to/your/videos")

    run = HERE / (f"own-{hashlib.sha256(str(own.resolve()).encode()).hexdigest()[:8]}" if own else "rendered")
    run.mkdir(parents=True, exist_ok=True)
    folder, library, pictures = own or run / "videos", str(run / "library"), run / "pictures"
    planted = [] if own else render(folder)

    reelspace("index", str(folder), "--library", library)
    reelspace("copies", "--library", library, "--plots", str(pictures))
    groups = json.loads(reelspace("copies", "--library", library, "--json", quiet=True))["groups"]
    if planted:
        check(planted, groups)
    if groups:
        # The pair whose clocks differ most shows best what aligning does.
        def shift(match: dict[str, list[dict[str, dict[str, float]]]]) -> float:
            return abs(match["segments"][0]["query"]["start"] - match["segments"][0]["reference"]["start"])

        shown = max((match for group in groups for match in group["matches"]), key=shift)
        words = [shown["reference"], shown["query"], "--plot", str(pictures / "alignment.png")]
        reelspace("align", *words, "--render", str(pictures / "side-by-side.mp4"))
        print(f"\nPictures: {pictures.resolve()}")
    print(f"Library:  {Path(library).resolve()}   (try: .venv/bin/reelspace status --library {library})")


if __name__ == "__main__":
    main()
