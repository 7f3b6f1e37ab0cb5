"""All pairs of many TMK descriptors at level 2: every offset of four periods, 32 harmonics, 256 dimensions.

    .venv/bin/python benchmarks/tmk_all_pairs.py [--videos 1500] [--workers 2] [--torch cuda]

Descriptors: ThreatExchange's sample hashes from ../shared with as many made-up videos (different lengths, still and
moving, trimmed and noisy copies) as are asked for. Prints pairs per second, the share of this machine's measured
rate of matrix products that the cross-spectra alone come to, and the largest error of a sample against every offset
computed in double precision. The reference tool, tmk-two-level-score, does 484 pairs per second on two cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from reelspace.alignment.tmk import TmkDescriptor, kernel_coefficients, read_tmk, tmk_descriptor
from reelspace.alignment.tmk_scores import TmkScores, TmkStack, tmk_all_pairs, tmk_matches

REFERENCE_PAIRS_PER_SECOND = 484


def made_up(count: int) -> Iterator[TmkDescriptor]:
    """Videos of 5 s to 15 minutes; every third one is a trimmed and noisy copy of an earlier one."""
    rng = np.random.default_rng(0)
    videos: list[np.ndarray] = []
    for i in range(count):
        if i % 3 == 2:
            film = videos[rng.integers(len(videos))]
            start = int(rng.uniform(0, 0.3) * len(film))
            film = film[start:] + rng.normal(size=(len(film) - start, 256)).astype(np.float32) * film.std() * 0.3
        else:
            frames = int(np.exp(rng.uniform(np.log(75), np.log(1500 if i % 20 else 13500))))
            film = np.cumsum(rng.normal(size=(frames, 256)).astype(np.float32), axis=0) * rng.uniform(0.01, 1)
            film += 10 * rng.normal(size=256).astype(np.float32)
        videos.append(film)
        if len(videos) > 40:
            videos.pop(0)
        yield tmk_descriptor(film)


def collection(count: int) -> TmkStack:
    hashes = Path(__file__).resolve().parents[2] / "shared" / "tmk" / "hashes"
    real = [read_tmk(path) for path in sorted(hashes.glob("*.tmk"))]
    return TmkStack.of([*real, *made_up(max(0, count - len(real)))])


def matrix_rate(workers: int) -> float:
    """Floating-point operations per second of float32 products of 2048 x 2048, all workers together."""
    with threadpool_limits(workers, user_api="blas"):
        a = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
        best = min(_seconds(lambda: a @ a) for _ in range(4))
    return 2 * 2048**3 / best


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def largest_error(stack: TmkStack, scores: TmkScores, sample: int) -> float:
    """Against K at every offset, in double precision, for a sample of pairs."""
    rng = np.random.default_rng(1)
    waves = np.asarray(stack.waves, dtype=np.float32)
    total = kernel_coefficients()[0] + 2 * kernel_coefficients()[1:].sum()
    worst = 0.0
    for i, k in rng.integers(0, len(stack), (sample, 2)):
        (ca, sa), (cb, sb) = waves[i].astype(np.float64), waves[k].astype(np.float64)
        best = -np.inf
        for p, period in enumerate(stack.periods):
            even = (ca[p] * cb[p] + sa[p] * sb[p]).sum(axis=1)
            odd = (sa[p] * cb[p] - ca[p] * sb[p]).sum(axis=1)
            angles = 2 * np.pi * np.outer(np.arange(period), np.arange(len(even))) / period
            best = max(best, float((np.cos(angles) @ even + np.sin(angles) @ odd).max()))
        worst = max(worst, abs(best / total - float(scores.level2[i, k])))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1500)
    parser.add_argument("--block", type=int, default=768, help="videos per block")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--torch", metavar="DEVICE", help="torch tensors on this device instead of numpy")
    parser.add_argument("--sample", type=int, default=60, help="pairs checked against every offset")
    arguments = parser.parse_args()

    stack = collection(arguments.videos)
    cut = [
        TmkStack(stack.averages[i : i + arguments.block], stack.waves[i : i + arguments.block], *rest)
        for rest in [(stack.periods, stack.coefficients, stack.frames_per_second)]
        for i in range(0, len(stack), arguments.block)
    ]
    blocks = [block.to_torch(arguments.torch) for block in cut] if arguments.torch else cut
    pairs = len(stack) * (len(stack) - 1) // 2

    before = matrix_rate(arguments.workers)
    rates, first = [], None
    for _ in range(3):
        start = time.perf_counter()
        for _, _, scores in tmk_all_pairs(blocks, workers=arguments.workers):
            first = first or scores
            float(scores.level2[0, 0])  # waits for a device
        rates.append(pairs / (time.perf_counter() - start))
    start = time.perf_counter()
    found = sum(1 for _ in tmk_matches(blocks, workers=arguments.workers))
    matching = pairs / (time.perf_counter() - start)
    after = matrix_rate(arguments.workers)

    needed = 4 * 32 * 4 * 2 * 256  # all harmonics, complex products as four real ones: what the definition asks for
    rate = max(rates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    error = largest_error(cut[0], first, arguments.sample) if first else float("nan")
    lines = [
        ("videos, unordered pairs", f"{len(stack):,}, {pairs:,}"),
        ("workers", f"{arguments.workers}" if not arguments.torch else arguments.torch),
        ("pairs per second, best of 3 (each)", f"{rate:,.0f} ({', '.join(f'{r:,.0f}' for r in rates)})"),
        (
            "the C++ tool on two cores",
            f"{REFERENCE_PAIRS_PER_SECOND:,} ({rate / REFERENCE_PAIRS_PER_SECOND:,.0f} times)",
        ),
        ("matrix products here, before and after", f"{before / 1e9:,.0f} and {after / 1e9:,.0f} GFLOP/s"),
        ("all cross-spectra by plain products, share", f"{rate * needed / max(before, after):.0%} of that rate"),
        ("largest error of level 2 in a sample", f"{error:.1e} over {arguments.sample} pairs"),
        ("thresholds 0.7 / 0.7 instead of all scores", f"{matching:,.0f} pairs per second, {found:,} matches"),
        ("peak memory, descriptors included", f"{peak:.2f} GiB"),
    ]
    for name, value in lines:
        print(f"{name:<45} {value}")


if __name__ == "__main__":
    main()
