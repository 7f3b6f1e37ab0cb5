"""Searching clip vectors: exactly and through LanceDB's index, beside FAISS on the same rows, in one process.

    python benchmarks/search.py [--rows 1000000] [--dimensions 512] [--rounds 20] [--k 10] [--library FOLDER]

The rows are made up: videos of 250 windows, each a walk around one of 2,000 subjects, so that neighbours lie close
and subjects overlap. They go through the store like any others. Queries are rows nobody stored: one half windows of
the same subjects (near: best cosines of 0.6 to 0.8), the other half far from all rows, as texts are (0.2 to 0.3).
FAISS gets the very numbers that the store keeps (float16, as float32), in memory; ours are mapped from disk. Every
method answers in turn, round by round; latencies are of one call, of one query or 32. Recall is against products in
float64 of all rows. Memory is what each method adds to the process; mapped files count apart.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from reelspace.core.embeddings import ClipSequence, Embeddings
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.store.nearest import nearest_exact
from reelspace.store.rows import Finished, LedgerEntry, Stamp, StoredVideo
from reelspace.store.store import Store

WINDOWS = 250  # of a video
SUBJECTS = 2_000
BATCH = 32
VIDEOS_AT_ONCE = 200
Search = Callable[[np.ndarray, int], np.ndarray]


def subjects(dimensions: int, random: np.random.Generator) -> np.ndarray:
    """Centres that are alike in groups, as real ones: a tree of two levels."""
    coarse = random.standard_normal((40, dimensions), dtype=np.float32)
    fine = random.standard_normal((SUBJECTS, dimensions), dtype=np.float32)
    return coarse[random.integers(0, 40, SUBJECTS)] + 0.7 * fine


def walk(centre: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Windows of one video: slow drift around its subject, and noise of their own."""
    steps = random.standard_normal((count, len(centre)), dtype=np.float32)
    drift = np.cumsum(0.08 * steps, axis=0)
    own = random.standard_normal(len(centre), dtype=np.float32)
    noise = random.standard_normal((count, len(centre)), dtype=np.float32)
    return centre + 0.4 * own + drift + 0.4 * noise


def made_up(number: int, vectors: np.ndarray, space: Space) -> Finished:
    starts = np.arange(len(vectors)) * 2.0
    clips = ClipSequence(starts, starts + 2.0, vectors, space)
    source, video_id, seconds = f"/made/up/{number:06d}.mp4", f"{number:064x}", 2.0 * len(vectors)
    rest = {"codec": "h264", "pixel_format": "yuv420p", "container": "mov", "frame_count": None}
    facts = Video(
        source, seconds, Fraction(25), 640, 360, 0, mirrored=False, start_seconds=0.0, size_bytes=1, **rest
    )
    entry = LedgerEntry(source, Stamp(1, 1), video_id, "indexed", None, None, datetime.now(UTC), 0.0)
    return Finished(entry, StoredVideo(video_id, facts, seconds), clips=(clips,))


def fill(store: Store, rows: int, space: Space, centres: np.ndarray, random: np.random.Generator) -> None:
    videos = -(-rows // WINDOWS)
    for first in range(0, videos, VIDEOS_AT_ONCE):
        batch = []
        for number in range(first, min(videos, first + VIDEOS_AT_ONCE)):
            count = min(WINDOWS, rows - number * WINDOWS)
            centre = centres[random.integers(0, len(centres))]
            batch.append(made_up(number, walk(centre, count, random), space))
        store.commit(batch)


def folder_bytes(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def resident_bytes(kind: str) -> int:
    """Memory of this process: ``RssAnon`` is its own, ``RssFile`` mapped from files."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024


def truth(rows: Embeddings, queries: np.ndarray, k: int) -> np.ndarray:
    """The k best rows of each query, in float64."""
    scores, best = np.full((len(queries), k), -np.inf), np.zeros((len(queries), k), np.int64)
    for first in range(0, len(rows), 16_384):
        found = queries.astype(np.float64) @ rows.vectors[first : first + 16_384].astype(np.float64).T
        numbers = np.broadcast_to(np.arange(first, first + found.shape[1]), found.shape)
        better = np.argpartition(-found, k, axis=1)[:, :k] if found.shape[1] > k else np.argsort(-found, axis=1)
        found, numbers = (np.take_along_axis(a, better, 1) for a in (found, numbers))
        found, numbers = np.concatenate([scores, found], axis=1), np.concatenate([best, numbers], axis=1)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        scores, best = np.take_along_axis(found, order, 1), np.take_along_axis(numbers, order, 1)
    return best


def asked_for(centres: np.ndarray, random: np.random.Generator, count: int = 128) -> dict[str, np.ndarray]:
    """Queries of unit length: near, and far."""
    some = centres[random.integers(0, len(centres), (count, 3))]
    near = np.concatenate([walk(centre, 1, random) for centre in some[:, 0]])
    noise = random.standard_normal(near.shape, dtype=np.float32)
    far = some[:, 1] + some[:, 2] + 4 * noise
    return {name: q / np.linalg.norm(q, axis=1, keepdims=True) for name, q in (("near", near), ("far", far))}


def faiss_flat(rows: Embeddings) -> Any:
    return filled(faiss.IndexFlatIP(rows.vectors.shape[1]), rows)


def faiss_halves(rows: Embeddings) -> Any:
    kind = faiss.ScalarQuantizer.QT_fp16
    return filled(faiss.IndexScalarQuantizer(rows.vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT), rows)


def faiss_ivf(rows: Embeddings) -> Any:
    partitions = math.isqrt(len(rows))
    index = faiss.index_factory(rows.vectors.shape[1], f"IVF{partitions},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10  # as our own index
    return filled(index, rows)


def faiss_hnsw(rows: Embeddings) -> Any:
    index = faiss.IndexHNSWFlat(rows.vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 64, 128
    return filled(index, rows)


FAISS = {"flat": faiss_flat, "fp16": faiss_halves, "ivf-sq8": faiss_ivf, "hnsw": faiss_hnsw}


def filled(index: Any, rows: Embeddings) -> Any:
    if not index.is_trained:
        wanted = min(len(rows), 64 * math.isqrt(len(rows)))
        sample = np.random.default_rng(2).choice(len(rows), wanted, replace=False)
        index.train(rows.vectors[np.sort(sample)].astype(np.float32))
    for first in range(0, len(rows), 65_536):
        index.add(rows.vectors[first : first + 65_536].astype(np.float32))
    return index


class Method(NamedTuple):
    """One way to search, what it took to make, and what it keeps."""

    name: str
    search: Search
    build_seconds: float
    memory_bytes: int
    disk_bytes: int


def methods(
    store: Store, rows: Embeddings, space: Space, *, probes: list[int], others: list[str]
) -> Iterator[Method]:
    def exact(queries: np.ndarray, k: int) -> np.ndarray:
        return nearest_exact(rows, queries, k=k).rows

    yield Method("reelspace exact", exact, 0.0, 0, folder_bytes(store.place / "cache"))
    table = store.place / f"clips_{space.name}.lance"
    before, own, began = folder_bytes(table), resident_bytes("RssAnon"), time.perf_counter()
    if probes:
        store.build_index(space)
    spent, disk = time.perf_counter() - began, folder_bytes(table) - before
    for count in probes:
        index = store.indexed(space, probes=count)[1]
        index(exact_queries(rows), 10)  # reads it
        memory = resident_bytes("RssAnon") - own
        yield Method(f"reelspace index, {count} probes", functools.partial(indexed, index), spent, memory, disk)
    for name in others:
        own, began = resident_bytes("RssAnon"), time.perf_counter()
        index = FAISS[name](rows)
        spent, memory = time.perf_counter() - began, resident_bytes("RssAnon") - own
        for count in probes if name.startswith("ivf") else [0]:
            words = f"faiss {name}" + (f", {count} probes" if count else "")
            yield Method(words, functools.partial(in_faiss, index, count), spent, memory, 0)


def exact_queries(rows: Embeddings) -> np.ndarray:
    return np.asarray(rows.vectors[:: max(1, len(rows) // BATCH)][:BATCH], np.float32)


def indexed(index: Any, queries: np.ndarray, k: int) -> np.ndarray:
    return index(queries, k).rows


def in_faiss(index: Any, probes: int, queries: np.ndarray, k: int) -> np.ndarray:
    if probes:
        index.nprobe = probes
    return index.search(queries, k)[1]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=1_000_000)
    words.add_argument("--dimensions", type=int, default=512)
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--k", type=int, default=10)
    words.add_argument("--library", type=Path, help="kept there, and used again; else in a temporary folder")
    words.add_argument("--probes", type=int, nargs="*", default=[32, 128], help="none: without our index")
    words.add_argument("--faiss", nargs="*", choices=sorted(FAISS), default=list(FAISS))
    asked = words.parse_args()
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    place = asked.library or Path(tempfile.mkdtemp(prefix="reelspace-search-"))
    space = Space("made-up", asked.dimensions, {})
    random = np.random.default_rng(0)
    centres = subjects(asked.dimensions, random)
    try:
        store = Store.create(place)
        if not store.spaces():
            began = time.perf_counter()
            fill(store, asked.rows, space, centres, random)
            print(f"stored {asked.rows:,} x {asked.dimensions} in {time.perf_counter() - began:.1f} s", flush=True)
        began = time.perf_counter()
        rows = store.embeddings(space)
        print(f"mapped in {time.perf_counter() - began:.1f} s", flush=True)
        ways = []
        for way in methods(store, rows, space, probes=asked.probes, others=asked.faiss):
            print(f"{way.name}: {way.build_seconds:.1f} s", flush=True)
            ways.append(way)
        compare(rows, ways, asked_for(centres, np.random.default_rng(1)), rounds=asked.rounds, k=asked.k)
        print(f"mapped from files at the end: {resident_bytes('RssFile') / 1e6:.0f} MB")
    finally:
        if asked.library is None:
            shutil.rmtree(place)


def compare(rows: Embeddings, ways: list[Method], queries: dict[str, np.ndarray], *, rounds: int, k: int) -> None:
    mixed = np.stack(list(queries.values()), axis=1).reshape(-1, rows.vectors.shape[1])  # near, far, near, ...
    seconds: dict[tuple[str, int], list[float]] = {(way.name, n): [] for way in ways for n in (1, BATCH)}
    for way in ways:
        way.search(mixed[:BATCH], k)
    for turn in range(rounds):
        for way in ways:
            for n, first in ((1, 4 * turn), (1, 4 * turn + 1), (1, 4 * turn + 2), (1, 4 * turn + 3), (BATCH, turn)):
                asked = mixed[first % (len(mixed) - n + 1) :][:n]
                began = time.perf_counter()
                way.search(asked, k)
                seconds[way.name, n].append(time.perf_counter() - began)
    cores = len(os.sched_getaffinity(0))
    print(f"\n{len(rows):,} x {rows.vectors.shape[1]} rows, {cores} cores, k = {k}, {rounds} rounds; ms, MB")
    print(f"{'':28} {'one query':>17} {'32 queries':>17} {'recall':>15}")
    print(
        f"{'':28} "
        + "{:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>7} {:>7}".format(
            "p50", "p99", "p50", "p99", *queries, "build s", "memory", "disk"
        )
    )
    expected = {name: truth(rows, some, k) for name, some in queries.items()}
    for way in ways:
        times = [
            np.percentile(1e3 * np.array(seconds[way.name, n]), percent) for n in (1, BATCH) for percent in (50, 99)
        ]
        recalls = [
            np.mean([len({*a} & {*b}) / k for a, b in zip(way.search(some, k), expected[name], strict=True)])
            for name, some in queries.items()
        ]
        print(
            f"{way.name:28} "
            + " ".join(f"{value:8.1f}" for value in times)
            + "".join(f" {value:7.4f}" for value in recalls)
            + f" {way.build_seconds:8.1f} {way.memory_bytes / 1e6:7.0f} {way.disk_bytes / 1e6:7.0f}"
        )


if __name__ == "__main__":
    main()
