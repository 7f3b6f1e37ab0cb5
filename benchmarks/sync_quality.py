"""How exactly recordings of one event are put on one timeline: natural clips, takes of them with offsets known.

    python benchmarks/sync_quality.py [--videos ../shared/videos] [--half report|tune|all] [--takes FOLDER]

Each clip is an event. Takes of it begin and end where they like (they share at least a fifth of it), at other frame
rates, sizes and qualities: four are plain encodes, six are mildly edited. Frame k of a take shows what the clip
shows at second ``start + k / rate``, so the offset of any two is known exactly; but x264 at crf 36 leaves slow
motion out until it has become large, so that some takes show it up to 0.3 s late: they count apart. Asked are

- pairs: `reelspace.pair.Pair.align` on every two plain encodes, and on edited takes 1 and 2, 3 and 4, 5 and 6;
- groups: `reelspace.sync` on the first three to six edited takes with a take of another clip among them, which must
  be named.

Clips are split in halves by the hash of their name, as in copies_quality.py: the confidence was fitted on the
`tune` half. Every take is described once; with `--takes` the rendered takes and their descriptors are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import pickle
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from copy_edits import filtered, tuning_half
from reelspace.core.frames import Picture
from reelspace.core.results import CopySegment
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.own_times import timing_encoders
from reelspace.media import open_video
from reelspace.pair import Pair, Side
from reelspace.sync import Described, place

EDITED, PLAIN = 6, 4  # takes of a clip
METHODS = ("auto", "correlation", "segments", "tmk", "tmk-poullot", "cte")
WIDEST = 480
LONGEST_SECONDS = 30.0
SHORTEST_SECONDS = 4.0
RATES = (Fraction(10), Fraction(12), Fraction(15), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(50))
EDITS = {
    "plain": "null",
    "small": "scale=160:-2",
    "crop to 81%": "crop=iw*0.9:ih*0.9:iw*0.1*{a}:ih*0.1*{b}",
    "letterbox": "pad=iw:ih*1.3:0:(oh-ih)/2",
    "gamma": "lutyuv=y=gammaval(1.5)",
    "grey": "hue=s=0",
    "caption": "drawbox=iw*0.1:ih*0.8:iw*0.8:ih*0.12:color=black:t=fill",
    "noise": "noise=alls=20:allf=t",
    "blur": "gblur=sigma=2",
}
ENCODES = ("plain", "small")
KINDS = {
    "plain encodes": {"plain", "small"},
    "plain encodes, crf 36": {"plain", "small"},
    "grey, gamma, noise, blur": {"plain", "small", "grey", "gamma", "noise", "blur"},
    "caption, letterbox": set(EDITS) - {"crop to 81%"},
    "crop to 81%": set(EDITS),
}
"""Each pair counts for the first of these that has the edits of both; strong compression for itself."""


@dataclass(frozen=True)
class Take:
    """One recording of a clip.

    Attributes:
        clip: the event.
        path: the file.
        start: the second of the event it begins at.
        end: and where it ends.
        edit: a name in `EDITS`.
        rate: frames per second, as text.
        crf: of the encoder.
    """

    clip: str
    path: str
    start: float
    end: float
    edit: str
    rate: str
    crf: int


def render_takes(job: tuple[Path, str, Path]) -> tuple[list[Take], list[Take]]:
    """The edited and the plain takes of one clip, rendered unless the folder has them; none of one too short."""
    videos, name, folder = job
    stem = name.replace("/", "-")
    places = [(stem, list(EDITS), EDITED), (f"{stem}-plain", list(ENCODES), PLAIN)]
    if all((folder / f"{place}.json").exists() for place, _, _ in places):
        edited, plain = (json.loads((folder / f"{place}.json").read_text()) for place, _, _ in places)
        return [Take(**take) for take in edited], [Take(**take) for take in plain]
    with open_video(videos / name) as reader:
        scale = min(1.0, WIDEST / max(reader.video.width, reader.video.height))
        width, height = (max(2, round(n * scale / 2) * 2) for n in (reader.video.width, reader.video.height))
        times, pictures = [], []
        for frame in reader.frames(Picture(width, height, filter="area")):
            if frame.time_seconds > LONGEST_SECONDS:
                break
            times.append(frame.time_seconds)
            pictures.append(frame.pixels)
    shown, clock = np.stack(pictures), np.array(times)
    edited, plain = (
        rendered(name, folder / place, edits, count, shown=shown, clock=clock) for place, edits, count in places
    )
    return edited, plain


def rendered(
    name: str, stem: Path, edits: list[str], count: int, *, shown: NDArray[np.uint8], clock: NDArray[np.float64]
) -> list[Take]:
    """Takes with edits among these, by chance that hangs on the file's name alone."""
    length, takes = float(clock[-1]), []
    if length >= SHORTEST_SECONDS:
        seed = name if edits == list(EDITS) else stem.name
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big"))
        for number in range(count):
            start, end = random.uniform(0, 0.4) * length, random.uniform(0.6, 1.0) * length
            rate = RATES[random.integers(len(RATES))]
            edit, crf = str(random.choice(edits)), int(random.choice([23, 30, 36]))
            moments = start + np.arange(int((end - start) * rate)) / float(rate)
            rows = np.searchsorted(clock, moments + 1e-9, side="right") - 1
            picture = EDITS[edit].format(a=round(random.random(), 3), b=round(random.random(), 3))
            path = stem.with_name(f"{stem.name}-{number}.mp4")
            write(path, shown[np.maximum(rows, 0)], picture, rate, crf)
            takes.append(Take(name, str(path), float(start), float(end), edit, str(rate), crf))
    stem.with_name(f"{stem.name}.json").write_text(json.dumps([asdict(take) for take in takes]))
    return takes


def describe(path: str) -> Path:
    """Writes what `align` reads of a take beside it, unless that was made by the same encoders before."""
    spaces = "".join(encoder.space.fingerprint for encoder in (*timing_encoders(), PdqfViews()))
    beside = Path(f"{path}.{hashlib.sha256(spaces.encode()).hexdigest()[:8]}.pickle")
    if not beside.exists():
        with threadpool_limits(limits=1, user_api="blas"):  # one take per core
            beside.write_bytes(pickle.dumps(Side.read(path)))
    return beside


def described(path: str) -> Side:
    side: Side = pickle.loads(describe(path).read_bytes())  # written by this program
    return side


def write(path: Path, frames: NDArray[np.uint8], picture: str, rate: Fraction, crf: int) -> None:
    """Pictures through a filter into an H.264 file of constant rate."""
    with av.open(str(path), "w") as container:
        stream = None
        for number, frame in enumerate(filtered(frames, picture)):
            if stream is None:
                options = {"preset": "veryfast", "crf": str(crf), "threads": "1"}
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pict_type, frame.pts, frame.time_base = 0, number, 1 / rate
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


@dataclass(frozen=True)
class Measured:
    """One answer beside the truth; the error is infinite where there was none."""

    what: str
    error_seconds: float
    confidence: float
    takes: tuple[Take, ...]


@dataclass(frozen=True, eq=False)
class SoughtOnce(Pair):
    """A pair whose segments are known, so that the next method need not look for them again."""

    known: list[CopySegment]

    def segments(self, *, threshold: float | None = None) -> list[CopySegment]:  # noqa: ARG002
        """What is known, whatever the threshold."""
        return self.known


def ask_pairs(takes: tuple[list[Take], list[Take]]) -> list[Measured]:
    """Every two plain encodes, and edited takes 1 and 2, 3 and 4, 5 and 6, by every method of `align`."""
    edited, plain = takes
    found = []
    for a, b in [*combinations(plain, 2), *zip(edited[::2], edited[1::2], strict=True)]:
        sides = described(a.path), described(b.path)
        pair = SoughtOnce(*sides, Pair(*sides).segments())
        kind = next(kind for kind, edits in KINDS.items() if {a.edit, b.edit} <= edits)
        if kind == "plain encodes" and max(a.crf, b.crf) > 30:
            kind = "plain encodes, crf 36"
        for method in METHODS:
            error, confidence = math.inf, 0.0
            if method != "segments" or pair.known:
                aligned = pair.align(method=method)
                error, confidence = aligned.offset_seconds - (b.start - a.start), aligned.confidence or 0.0
            found.append(Measured(f"{kind}: {method}", error, confidence, (a, b)))
    return found


def ask_group(job: tuple[list[Take], Take]) -> tuple[list[Measured], list[tuple[str, float]], int]:
    """Takes of one clip and one stranger: every offset of the group, strangers wrongly placed, takes left out."""
    takes, stranger = job
    synced = place({take.path: Described.of(described(take.path).frames) for take in (*takes, stranger)})
    placed = {r.source: r for group in synced.groups for r in group if len(group) > 1}
    own = {
        r.source for group in synced.groups if any(r.source == t.path for r in group for t in takes) for r in group
    }
    wrong = [(stranger.path, placed[stranger.path].confidence)] if stranger.path in own else []
    what = f"group of {len(takes)} and a stranger: sync"
    found = []
    for a, b in combinations(takes, 2):
        error, confidence = math.inf, 0.0
        together = any({a.path, b.path} <= {r.source for r in group} for group in synced.groups)
        if together:
            error = placed[b.path].span.start - placed[a.path].span.start - (b.start - a.start)
            confidence = min(placed[a.path].confidence, placed[b.path].confidence)
        found.append(Measured(what, error, confidence, (a, b)))
    return found, wrong, sum(take.path not in placed for take in takes)


def table(measured: list[Measured]) -> None:
    print(f"\n{'':42s} offsets  <= 0.05 s   <= 0.1 s     <= 1 s  median error s")
    kinds = [f"{kind}: {method}" for method in METHODS for kind in KINDS]
    for what in [*kinds, *dict.fromkeys(m.what for m in measured if "group" in m.what)]:
        errors = np.abs([m.error_seconds for m in measured if m.what == what])
        if len(errors):
            shares = [f"{100 * np.mean(errors <= limit):8.1f} %" for limit in (0.05, 0.1, 1.0)]
            print(f"{what:42s} {len(errors):7d} {' '.join(shares)}  {np.median(errors):14.4f}")


def calibration(measured: list[Measured]) -> None:
    for who, ending in (("align", ": auto"), ("sync", ": sync")):
        print(f"\nconfidence of {who}, and how often the offset is right to 0.25 s")
        mine = [m for m in measured if m.what.endswith(ending)]
        for low, high in ((0.0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1.01)):
            some = [m for m in mine if low <= m.confidence < high]
            if some:
                right = np.mean([abs(m.error_seconds) <= 0.25 for m in some])
                mean = np.mean([m.confidence for m in some])
                print(
                    f"  {low:.2f} - {min(high, 1):.2f}: {len(some):4d} offsets, said {mean:.3f}, right {right:.3f}"
                )


def misses(measured: list[Measured]) -> None:
    print("\nmisses of auto and sync by more than 0.1 s")
    for m in sorted(measured, key=lambda m: (m.what, -abs(m.error_seconds))):
        if abs(m.error_seconds) > 0.1 and m.what.endswith((": auto", ": sync")):
            how = "; ".join(f"{t.edit}, {t.rate} fps, crf {t.crf}, {t.start:.1f}-{t.end:.1f} s" for t in m.takes)
            print(f"  {m.what:38s} {m.error_seconds:+8.3f} s  {m.confidence:.3f}  {m.takes[0].clip}  ({how})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "shared" / "videos"
    parser.add_argument("--videos", type=Path, default=here)
    parser.add_argument("--half", choices=["report", "tune", "all"], default="report")
    parser.add_argument("--takes", type=Path, help="folder in which takes are kept from run to run")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ProcessPoolExecutor(arguments.workers) as pool:
        folder = arguments.takes or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(f"natural/{path.name}" for path in (arguments.videos / "natural").iterdir())
        mine = [n for n in names if arguments.half == "all" or tuning_half(n) == (arguments.half == "tune")]
        began = time.perf_counter()
        every = pool.map(render_takes, [(arguments.videos, name, folder) for name in mine])
        events = [takes for takes in every if takes[0]]
        paths = [take.path for takes in events for take in (*takes[0], *takes[1])]
        list(pool.map(describe, paths, chunksize=4))
        ready = time.perf_counter()
        measured = [m for found in pool.map(ask_pairs, events) for m in found]
        print(
            f"{len(events)} clips, half: {arguments.half}; rendering and describing {len(paths)} takes took "
            f"{ready - began:.0f} s, pairs {time.perf_counter() - ready:.0f} s"
        )
        jobs = [
            (edited[:size], events[(number + 1) % len(events)][0][size - 1])
            for size in (3, 4, 5, 6)
            for number, (edited, _) in enumerate(events)
        ]
        answers = list(pool.map(ask_group, jobs))
    measured += [m for found, _, _ in answers for m in found]
    wrong = [one for _, strangers, _ in answers for one in strangers]
    table(measured)
    print(f"\nstrangers placed among takes they do not belong to: {len(wrong)} of {len(answers)} {wrong or ''}")
    print(f"takes left out of their group: {sum(n for _, _, n in answers)} of {sum(len(t) for t, _ in jobs)}")
    calibration(measured)
    misses(measured)


if __name__ == "__main__":
    main()
