"""Every way to find segments, on the similarity matrices of edited clips whose truth is known.

    .venv/bin/python benchmarks/segment_methods.py --queries FOLDER [--videos ../shared/videos] [--cache FOLDER]
                                                   [--encoder reelprint] [--half report|tune|all] [--edits]

FOLDER holds clips with their truth beside them, as `benchmarks/copies_quality.py --queries FOLDER` leaves them.
Each is compared with the clips it shows and with one stranger; the matrices are kept in the cache. Printed per
method: precision, recall and F1 of segments as VCSL measures them (every segment reported counts, none is filtered
by its score), the errors of all four boundaries of the segment nearest to each true one, false segments among
strangers, and milliseconds of the processor per pair.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from copies_quality import ENCODERS, describe
from copy_edits import tuning_half
from reelspace.alignment.segments import METHODS, find_segments
from reelspace.alignment.similarity import Similarity
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.evaluation.metrics_segments import average_over_pairs, segment_score
from reelspace.tasks import copies

THRESHOLDS = {"reelprint": 0.5, "pdqf-views": 0.45}  # as in tasks/copies.py


@dataclass(frozen=True)
class Pair:
    """One query and one clip."""

    edit: str
    query: str
    reference: str
    similarity: Similarity
    seconds: tuple[float, float]
    truths: tuple[CopySegment, ...]


def pairs(queries: Path, videos: Path, cache: Path, encoder: str, half: str) -> Iterator[Pair]:
    """All pairs of the folder, from the cache or compared now."""
    sequences: dict[Path, FrameSequence | None] = {}

    def sequence(path: Path) -> FrameSequence | None:
        if path not in sequences:
            sequences[path] = describe(path, ENCODERS[encoder])
        return sequences[path]

    truths = {path: json.loads(path.read_text()) for path in sorted(queries.glob("*.json"))}
    clips = sorted({t["name"] for beside in truths.values() for t in beside})
    for beside, shown in truths.items():
        if half != "all" and tuning_half(shown[0]["name"]) != (half == "tune"):
            continue
        stem = Path(shown[0]["name"]).stem
        edit = beside.stem.removeprefix(f"{stem}-").replace("_", " ")
        names = list(dict.fromkeys(t["name"] for t in shown))
        strangers = [name for name in clips if name not in names]
        names.append(strangers[hashlib.sha256(beside.stem.encode()).digest()[0] % len(strangers)])
        for name in names:
            key = f"{beside.resolve()}|{name}|{ENCODERS[encoder].space.fingerprint}"
            key = hashlib.sha256(key.encode()).hexdigest()[:16]
            kept = cache / f"{key}.npz"
            if not kept.exists():
                query, reference = sequence(beside.with_suffix(".mp4")), sequence(videos / name)
                if query is None or reference is None or not len(query) or not len(reference):
                    continue
                seen = copies.best_similarity(query, reference)
                np.savez(kept, *astuple(seen), seconds=(query.duration_seconds, reference.duration_seconds))
            stored = np.load(kept)
            mine = tuple(
                CopySegment(Span(*t["query"]), Span(*t["reference"]), t["speed"], 1.0)
                for t in shown
                if t["name"] == name
            )
            arrays = [stored[f"arr_{i}"] for i in range(7)]
            yield Pair(edit, beside.stem, name, Similarity(*arrays), tuple(stored["seconds"].tolist()), mine)


def found_in(pair: Pair, method: str, threshold: float) -> list[CopySegment]:
    return find_segments(
        pair.similarity,
        query_seconds=pair.seconds[0],
        reference_seconds=pair.seconds[1],
        method=method,
        threshold=threshold,
    )


def row(name: str, answers: list[tuple[Pair, list[CopySegment]]], milliseconds: float) -> str:
    true = [(pair, segments) for pair, segments in answers if pair.truths]
    average = average_over_pairs([segment_score(segments, pair.truths) for pair, segments in true])
    errors: list[float] = []
    speeds: list[float] = []
    for pair, segments in true:
        for truth in pair.truths:
            if not segments:
                continue
            nearest = max(segments, key=lambda s: s.query.iou(truth.query) * s.reference.iou(truth.reference))
            got = (*_ends(nearest.query), *_ends(nearest.reference))
            errors += [abs(a - b) for a, b in zip(got, (*_ends(truth.query), *_ends(truth.reference)), strict=True)]
            speeds.append(abs(nearest.speed / truth.speed - 1))
    strangers = sum(len(segments) for pair, segments in answers if not pair.truths)
    return (
        f"{name:32s} {len(true):5d} {average.precision:9.3f} {average.recall:7.3f} {average.f1:6.3f} "
        f"{np.median(errors):9.3f} {np.quantile(errors, 0.9):7.3f} {max(errors):7.2f} "
        f"{np.quantile(speeds, 0.9):7.3f} {strangers:9d} {milliseconds:8.1f}"
    )


def _ends(span: Span) -> tuple[float, float]:
    return span.start, span.end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--videos", type=Path, default=Path("../shared/videos"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "reelspace_similarities")
    parser.add_argument("--encoder", choices=THRESHOLDS, default="reelprint")
    parser.add_argument("--half", choices=["report", "tune", "all"], default="all")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--edits", action="store_true", help="print each edit too")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    every = list(pairs(arguments.queries, arguments.videos, arguments.cache, arguments.encoder, arguments.half))
    print(
        f"{arguments.encoder}: {len(every)} pairs, of which {sum(not pair.truths for pair in every)} of strangers"
    )
    print(f"{'method':32s} pairs precision  recall     F1 median s    90 %     max speed 90 % strangers ms/pair")
    for method in arguments.methods:
        start = time.process_time()
        answers = [(pair, found_in(pair, method, THRESHOLDS[arguments.encoder])) for pair in every]
        milliseconds = 1e3 * (time.process_time() - start) / len(every)
        print(row(method, answers, milliseconds))
        if arguments.edits:
            groups: dict[str, list[tuple[Pair, list[CopySegment]]]] = defaultdict(list)
            for pair, segments in answers:
                groups[pair.edit].append((pair, segments))
            for edit, mine in groups.items():
                print(row(f"  {edit}", mine, milliseconds))


if __name__ == "__main__":
    main()
