"""What frame rows of one byte, and of one bit, a number lose and save: size, search speed, and copies found.

    python benchmarks/compact_rows.py [--videos ../shared/videos] [--queries FOLDER] [--every 7] [--rows 1000000]

Queries are edits of natural clips with known truth (benchmarks/copy_edits.py), of the half that tunes nothing; they
are searched for among all natural clips by reelprint. Only the library's rows are compact. Of one bit a number the
library's rows are signs, and products with them are those of the vectors that the signs stand for.

- recall: queries whose clip is the first, or among the first five, by the mean of the best four frames.
- µAP by frames: of those same scores, over all (query, clip) pairs.
- µAP: of `tasks.copies.match` as it is, its curve that of float16; found and false at the default threshold.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from copies_quality import describe, rendered
from copy_edits import EDITS, Truth, load_clip, tuning_half
from reelspace.core.compact import PRECISIONS, CompactRows, from_signs, to_int8, to_signs
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.video import Video
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.store.products import over_blocks
from reelspace.store.rows import Finished, LedgerEntry, Stamp, StoredVideo
from reelspace.tasks import copies

FORMS: dict[str, Callable[[np.ndarray], np.ndarray | CompactRows]] = {
    "float16": lambda vectors: vectors.astype(np.float16),
    "int8": to_int8,
    "bits": lambda vectors: from_signs(to_signs(vectors)),
}
BITS_BYTES = 32


@dataclass(frozen=True)
class Query:
    """An edited clip: what was stored of it, and what it shows."""

    sequence: FrameSequence
    truths: list[Truth]


def query(job: tuple[str, str], *, folder: Path, clips: dict[str, np.ndarray]) -> Query | None:
    name, edit = job
    path, truths = rendered(folder, name, edit, clips, list(clips))
    sequence = describe(path, Reelprint())
    return None if sequence is None or not len(sequence) else Query(sequence, truths)


def frame_scores(sequence: FrameSequence, library: FrameMatrix) -> np.ndarray:
    """Mean of the best four frames of a query, of two a second, against each video: (V,)."""
    rows = sequence.vectors[np.unique(np.round(sequence.times_seconds * 2), return_index=True)[1]].astype(
        np.float32
    )
    products = rows @ np.asarray(library.vectors, np.float32).T
    best = np.maximum.reduceat(products, library.bounds[:-1], axis=1)  # (Q, V)
    return np.sort(best, axis=0)[-4:].mean(axis=0)


def micro_average_precision(scored: list[tuple[float, bool]], queries: int) -> float:
    right = np.array([r for _, r in sorted(scored, reverse=True)], dtype=float)
    return float((np.cumsum(right) / np.arange(1, len(right) + 1) * right).sum() / queries)


def quality_table(queries: list[Query], library: FrameMatrix) -> None:
    print(f"\n{len(queries)} queries, {len(library)} clips, {len(library.vectors)} rows")
    print(f"{'rows':8s}  recall 1  recall 5  µAP by frames    µAP  found  false")
    plain = np.asarray(library.vectors, np.float32)
    for name, form in FORMS.items():
        kept = replace(library, vectors=form(plain))
        by_frames: list[tuple[float, bool]] = []
        matched: list[tuple[float, bool]] = []
        places: list[int] = []
        for one in queries:
            truth, shown = one.truths[0].name, {t.name for t in one.truths[1:]}
            scores = frame_scores(one.sequence, kept)
            mine = library.video_ids.index(truth)
            others = [i for i, v in enumerate(library.video_ids) if v not in shown]
            places.append(int((scores[others] > scores[mine]).sum()))
            by_frames += [(float(scores[i]), i == mine) for i in others]
            found = copies.match(one.sequence, kept, threshold=0, k=10)
            matched += [(f.segments[0].score, f.reference == mine) for f in found if f.reference in others]
        sure = [right for score, right in matched if score >= copies.DEFAULT_THRESHOLD]
        recall = [np.mean(np.array(places) < k) for k in (1, 5)]
        figures = [micro_average_precision(scored, len(queries)) for scored in (by_frames, matched)]
        print(
            f"{name:8s}  {recall[0]:8.3f}  {recall[1]:8.3f}  {figures[0]:13.4f}  {figures[1]:5.4f}"
            f"  {sum(sure) / len(queries):5.3f}  {len(sure) - sum(sure):5d}"
        )


def size_table(sequences: dict[str, FrameSequence], hours: float) -> None:
    from reelspace.store.store import Store  # after the processes that read and render were forked

    rows = sum(map(len, sequences.values()))
    print(f"\n{rows / hours:,.0f} rows per hour; on disk: the whole library, by what `Store` writes and maps")
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / "library", frame_precision=precision)
            store.commit([finished(name, sequence) for name, sequence in sequences.items()])
            space = next(iter(sequences.values())).space
            mapped = store.frame_matrix(space).vectors.nbytes
            table = sum(f.stat().st_size for f in store.place.glob("frames_*/**/*") if f.is_file())
            table, mapped = table / hours / 1e6, mapped / hours / 1e6
            print(f"{precision:8s}  table {table:6.2f} MB/h, mapped vectors {mapped:6.2f} MB/h")
    print(f"{'bits':8s}  vectors alone {rows * BITS_BYTES / hours / 1e6:6.2f} MB/h")


def finished(name: str, sequence: FrameSequence) -> Finished:
    entry = LedgerEntry(name, Stamp(0, 0), name, "indexed", None, None, datetime.now(UTC), 0.0)
    length = sequence.duration_seconds
    video = Video(
        name,
        length,
        None,
        64,
        64,
        0,
        mirrored=False,
        codec="",
        pixel_format="",
        container="",
        frame_count=None,
        start_seconds=0.0,
        size_bytes=None,
    )
    return Finished(entry, StoredVideo(name, video, length), (sequence,))


def speed_table(count: int) -> None:
    """Every row against some queries, all cores; rounds take turns, the best of each counts."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((count, 256), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signs = to_signs(vectors).view(np.uint64)  # (N, 4)
    halves, eight = vectors.astype(np.float16), to_int8(vectors)
    queries = {n: vectors[:n].copy() for n in (1, 32, 256)}
    del vectors

    def products(rows: np.ndarray | CompactRows, wanted: np.ndarray) -> None:
        for _ in over_blocks(rows, wanted, lambda _, found: found.max(axis=0)):
            pass

    def popcount(_: object, wanted: np.ndarray) -> None:
        codes = to_signs(wanted).view(np.uint64)
        for first in range(0, count, 2048):
            block = signs[first : first + 2048]
            apart = np.zeros((len(block), len(codes)), np.uint16)
            for word in range(4):
                apart += np.bitwise_count(block[:, word, None] ^ codes[None, :, word])
            apart.min(axis=0)

    ways = {"float16": (products, halves), "int8": (products, eight), "bits, one core": (popcount, signs)}
    print(f"\n{count:,} rows: seconds for some queries at once, and rows/s with one")
    for name, (way, rows) in ways.items():
        best = dict.fromkeys(queries, np.inf)
        for _ in range(3):
            for n, wanted in queries.items():
                began = time.perf_counter()
                way(rows, wanted)
                best[n] = min(best[n], time.perf_counter() - began)
        print(
            f"{name:15s}" + "".join(f"{n:5d}: {s:7.3f} s" for n, s in best.items()) + f"  {count / best[1]:,.0f}/s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "shared" / "videos"
    parser.add_argument("--videos", type=Path, default=here)
    parser.add_argument("--queries", type=Path, help="folder in which edited clips are kept from run to run")
    parser.add_argument("--every", type=int, default=7, help="use every n-th query only")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the search that is timed")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.queries or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)

    speed_table(arguments.rows)
    files = {f"natural/{p.name}": p for p in sorted((arguments.videos / "natural").iterdir())}
    with ProcessPoolExecutor(arguments.workers) as pool:
        described = zip(files, pool.map(partial(describe, encoder=Reelprint()), files.values()), strict=True)
        sequences = {name: s for name, s in described if s is not None and len(s)}
        mine = [name for name in sequences if not tuning_half(name)]
        clips = dict(zip(mine, pool.map(load_clip, [files[name] for name in mine]), strict=True))
        jobs = [(name, edit) for name in mine for edit in EDITS][:: arguments.every]
        made = list(pool.map(partial(query, folder=folder, clips=clips), jobs))
    size_table(sequences, sum(s.duration_seconds for s in sequences.values()) / 3600)
    quality_table(
        [q for q in made if q is not None], FrameMatrix.concatenate(list(sequences.values()), list(sequences))
    )


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
