"""The temporal methods side by side on planted offsets in real footage: the synthetic counterpart of LAMV's tables.

    python benchmarks/temporal_methods.py [--videos ../shared/videos/natural] [--encoder reelprint|pdqf]
                                          [--pairs 256] [--queries 150] [--steps 400] [--seed 0] [--kernel FILE]
                                          [--cache FOLDER] [--output FILE]

Clips are split in two halves by the hash of their name (`copy_edits.tuning_half`): the kernel is learned from one,
figures are reported on the other. `training.planted` makes films of 3 to 6 clips; each query is a part of one film
(10 to 70 % of it), between up to two strangers on either side, with up to half of the frames of both missing and
noise of up to twice a frame's own length. Every query is compared with every film at every offset.

- localised: share of the queries whose best offset to their own film is right within so many seconds;
- mAP: of the film a query was cut from among all films; films that share other footage with it are left out.

All methods get the same sequences, without their mean. Fixed and learned kernels have the same periods and number
of harmonics, so descriptors of one size; CTE once with as many numbers, and once with its whole spectrum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from copy_edits import tuning_half
from reelspace.alignment.aggregation import SumAggregation
from reelspace.alignment.cte import CirculantEncoding
from reelspace.alignment.fourier import TMK, TMK_POULLOT, FourierKernel
from reelspace.alignment.kernel_file import LearnedKernel, read_kernel, write_kernel
from reelspace.alignment.methods import TemporalMethod, best_offsets
from reelspace.cli.kernels import read_clips
from reelspace.media.sources import find_videos
from reelspace.training.kernel import KernelTraining, train_kernel
from reelspace.training.planted import KnownPair, plant_pairs

RATE = 15.0
WITHIN_SECONDS = (0.1, 1.0, 10.0)
QUERIES_AT_ONCE = 25


def measure(
    method: TemporalMethod, pairs: Sequence[KnownPair], reach: int
) -> tuple[list[float], float, int, float]:
    """Shares localised within each tolerance, mAP, bytes of a descriptor, seconds of describing and scoring."""
    began = time.perf_counter()
    films = np.stack([described(method, pair, "a") for pair in pairs])
    offsets = np.arange(-reach, reach + 1)
    scores, best = [], []
    for start in range(0, len(pairs), QUERIES_AT_ONCE):
        queries = np.stack([described(method, pair, "b") for pair in pairs[start : start + QUERIES_AT_ONCE]])
        block, where = best_offsets(method, queries, films, offsets)  # CTE weighs by the power of its first side
        scores.append(block)
        best.append(-where)  # planted offsets are times of the film less those of the query
    scores, best = np.concatenate(scores), np.concatenate(best)  # (queries, films)
    seconds = time.perf_counter() - began
    errors = np.abs(np.diagonal(best) - [pair.offset_frames for pair in pairs]) / RATE
    ranks = []
    for query, pair in enumerate(pairs):
        strangers = [i for i, other in enumerate(pairs) if i != query and other.names.isdisjoint(pair.names)]
        ranks.append(1 + int((scores[query, strangers] >= scores[query, query]).sum()))
    precision = float(np.mean(1 / np.array(ranks)))
    return [float((errors < most).mean()) for most in WITHIN_SECONDS], precision, films[0].nbytes, seconds


def described(method: TemporalMethod, pair: KnownPair, side: str) -> np.ndarray:
    clip = getattr(pair, side)
    return method.normalise(method.describe(clip.vectors, clip.times))


def methods(learned: FourierKernel, frames: int) -> Mapping[str, TemporalMethod]:
    numbers = 2 * learned.harmonics * len(learned.periods)
    fixed = replace(learned, learned=None)
    return MappingProxyType(
        {
            "sum (no time)": SumAggregation(),
            "TMK_Poullot": replace(TMK_POULLOT, harmonics=learned.harmonics),
            "TMK freq": replace(fixed, norm="freq"),
            "TMK feat_freq": fixed,
            "TMK feat_freq, beta 512": replace(fixed, beta=512.0),
            f"CTE, {numbers // 2} frequencies": CirculantEncoding(frames, harmonics=numbers // 2),
            "CTE, whole spectrum": CirculantEncoding(frames),
            "LAMV": learned,
        }
    )


def table(kernel: LearnedKernel, pairs: Sequence[KnownPair], heading: str) -> str:
    reach = int(np.ceil(max(side.times[-1] for pair in pairs for side in (pair.a, pair.b))))
    lines = [
        heading,
        "",
        "| method | < 0.1 s | < 1 s | < 10 s | mAP | kB per video | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, method in methods(kernel.kernel, reach + 2).items():
        localised, precision, size, seconds = measure(method, pairs, reach)
        cells = ["-"] * 3 if isinstance(method, SumAggregation) else [f"{100 * share:.1f} %" for share in localised]
        lines.append(f"| {name} | {' | '.join(cells)} | {precision:.3f} | {size / 1000:.0f} | {seconds:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", default="../shared/videos/natural")
    parser.add_argument("--encoder", default="reelprint")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernel", type=Path, help="a learned kernel; else one is learned")
    parser.add_argument("--output", type=Path, help="where to keep the kernel that is learned")
    parser.add_argument("--cache", type=Path, help="folder that keeps the frames' vectors")
    words = parser.parse_args()
    halves: dict[bool, list[str]] = {True: [], False: []}
    for source in find_videos(words.videos):
        halves[tuning_half(Path(source).name)].append(source)
    read = {
        half: read_clips(sources, words.encoder, frames_per_second=RATE, cache=words.cache)
        for half, sources in halves.items()
    }
    if words.kernel is not None:
        kernel = read_kernel(words.kernel)
    else:
        pairs = plant_pairs(list(read[True].clips.values()), words.pairs, seed=words.seed)
        trained = train_kernel(pairs, TMK, training=KernelTraining(steps=words.steps, seed=words.seed))
        kernel = LearnedKernel(trained.kernel, RATE, {"seed": words.seed, "loss_after": trained.loss_after})
        if words.output is not None:
            write_kernel(kernel, words.output)
    report = list(read[False].clips.values())
    seconds = sum(clip.times[-1] + 1 for clip in report) / RATE
    heading = (
        f"{words.queries} queries against as many films, planted with seed {words.seed + 1} in {len(report)} clips "
        f"({seconds:.0f} s) of {words.videos}, {words.encoder} at {RATE:g} frames per second; m = "
        f"{kernel.kernel.harmonics}, periods {', '.join(map(str, kernel.kernel.periods))}; LAMV learned with seed "
        f"{words.seed} from {words.pairs} pairs of the other {len(read[True].clips)} clips, {words.steps} steps "
        f"(digest {kernel.digest[:12]})."
    )
    print(table(kernel, plant_pairs(report, words.queries, seed=words.seed + 1), heading))


if __name__ == "__main__":
    main()
