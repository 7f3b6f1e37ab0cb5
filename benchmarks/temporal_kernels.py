"""The best of 2,000 offsets of every pair, by every temporal kernel, beside the PyTorch reference.

    .venv/bin/python benchmarks/temporal_kernels.py [--videos 1024] [--rounds 3] [--torch cuda]

Descriptors: d = 512, 16 harmonics, 4 periods (CTE: 64 frequencies of one), offsets -1000 .. 999, made up, for the
time does not depend on what they hold; every tenth query is a moved and noisy copy of a stored video. The reference
is written as videoalignment computes it: both sides normalised at every call, all of (batch, period, harmonic,
offset) held at once; the best of several batch sizes and thread counts counts. Rounds of the reference and of ours
alternate, so that what else the machine does falls on both; ratios are medians over rounds: by the clock, and by
the processor's time (times the cores, where the machine is otherwise idle and the reference is fastest on one).

The error is the largest of the scores against the reference's, as a share of the largest score; "best" says whether
the offset of a copy is the reference's. A plain copy of the stored descriptors is timed in the same rounds: what
one query has to read.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reelspace.alignment.fourier import NORMS, TMK, TMK_POULLOT, FourierKernel
from reelspace.alignment.kernel_scores import all_best_offsets, best_offsets
from reelspace.core.machine import available_cores

D = 512
OFFSETS = range(-1000, 1000)
KERNELS = {
    "TMK, feat_freq": TMK,
    "TMK, feat": FourierKernel(TMK.periods, norm="feat"),
    "TMK, freq": FourierKernel(TMK.periods, norm="freq"),
    "TMK, matrix": FourierKernel(TMK.periods, norm="matrix"),
    "TMK_Poullot": TMK_POULLOT,
    "CTE": FourierKernel((4096,), harmonics=64, norm="matrix"),
}


def made_up(kernel: FourierKernel, count: int, seed: int) -> np.ndarray:
    """Descriptors (N, P, 2m, d) as `FourierKernel.describe` gives them, of videos that are not there."""
    random = np.random.default_rng(seed)
    weights = np.sqrt(np.tile(kernel.coefficients, 2)).astype(np.float32)[..., None]
    shape = (len(kernel.periods), 2 * kernel.harmonics, D)
    return np.stack([random.standard_normal(shape, dtype=np.float32) * weights for _ in range(count)])


def normalised(raw: np.ndarray, kernel: FourierKernel) -> np.ndarray:
    return np.stack([kernel.normalise(one) for one in raw])


def queries_from(raw: np.ndarray, kernel: FourierKernel, count: int) -> np.ndarray:
    """Every tenth a copy, moved and with as much noise as picture; the others strangers."""
    random = np.random.default_rng(1)
    queries = made_up(kernel, count, seed=2)
    for index in range(0, count, 10):
        queries[index] += kernel.shift(raw[index], float(random.integers(-900, 900)))
    return queries


def reference(
    query: torch.Tensor, stored: torch.Tensor, kernel: FourierKernel, turns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest score and its place for one query (P, 2m, d) and a batch (b, P, 2m, d), by broadcasting."""
    m = kernel.harmonics
    a, b = kernel.normalise(query[None]), kernel.normalise(stored)
    (sa, ca), (sb, cb) = ((x[:, :, :m], x[:, :, m:]) for x in (a, b))
    even = (sa * sb).sum(-1) + (ca * cb).sum(-1)  # (b, P, m)
    odd = (sa * cb).sum(-1) - (ca * sb).sum(-1)
    curve = even[..., None] * torch.cos(turns) + odd[..., None] * torch.sin(turns)  # (b, P, m, K)
    curve = curve.sum(2).mean(1) / NORMS[kernel.norm].divisor(m)
    best = curve.max(dim=1)
    return best.values, best.indices


@dataclass
class Reference:
    """The reference loop over some stored videos, at its best batch size and thread count."""

    query: torch.Tensor
    stored: torch.Tensor
    kernel: FourierKernel
    batch: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        rates = 2 * np.pi * np.arange(self.kernel.harmonics) / np.array(self.kernel.periods)[:, None]
        self.turns = torch.from_numpy(rates[:, :, None] * np.array(OFFSETS))
        self.turns = torch.remainder(self.turns, 2 * np.pi).float()  # an angle of 300 has three digits fewer
        settings = [(batch, threads) for batch in (1, 2, 4, 8) for threads in sorted({1, available_cores()})]
        rates_of = {setting: self._pass(*setting)[0] for setting in settings for _ in range(2)}
        self.batch, self.threads = min(rates_of, key=lambda setting: rates_of[setting])

    def _pass(self, batch: int, threads: int) -> tuple[float, float]:
        torch.set_num_threads(threads)
        return timed(
            lambda: [
                reference(self.query, part, self.kernel, self.turns) for part in torch.split(self.stored, batch)
            ]
        )

    def seconds_per_pair(self, at_least: float) -> tuple[float, float]:
        """By the clock and by the processor, over so many seconds or a little more."""
        passes: list[tuple[float, float]] = []
        while sum(wall for wall, _ in passes) < at_least:
            passes.append(self._pass(self.batch, self.threads))
        wall, processor = np.sum(passes, axis=0) / (len(passes) * len(self.stored))
        return float(wall), float(processor)


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - used


@dataclass
class Task:
    """One way to ask: how many pairs, and how many bytes of descriptors have to be read at least."""

    name: str
    pairs: float
    run: Callable[[], object]
    read: int = 0


def tasks(queries: object, stored: object, halves: object, kernel: FourierKernel) -> list[Task]:
    """What is timed; everything is waited for."""
    count = len(stored)

    def search(number: int, rows: object) -> Callable[[], object]:
        def ask() -> None:
            best_offsets(queries[:number], rows, kernel, offsets=OFFSETS).scores[0, 0].item()

        return ask

    def every() -> None:
        for _, _, best in all_best_offsets(stored, kernel, offsets=OFFSETS):
            best.scores[0, 0].item()

    return [
        Task("1 query", count, search(1, stored), stored.nbytes),
        Task("1 query, halves", count, search(1, halves), halves.nbytes),
        Task("32 queries", 32 * count, search(32, stored)),
        Task("32 queries, halves", 32 * count, search(32, halves)),
        Task("all pairs", count * (count - 1) / 2, every),
    ]


def measure(name: str, kernel: FourierKernel, arguments: argparse.Namespace) -> None:
    """The rows of one kernel."""
    raw = made_up(kernel, arguments.videos, seed=0)
    raw_queries = queries_from(raw, kernel, 32)
    stored, queries = normalised(raw, kernel), normalised(raw_queries, kernel)
    halves = stored.astype(np.float16)
    slow = Reference(torch.from_numpy(raw_queries[0]), torch.from_numpy(raw[:128].copy()), kernel)
    del raw
    arrays = [torch.from_numpy(x).to(arguments.torch) if arguments.torch else x for x in (queries, stored, halves)]
    every = tasks(*arrays, kernel)
    ours: dict[str, list[tuple[float, float]]] = {task.name: [] for task in every}
    theirs: dict[str, list[tuple[float, float]]] = {task.name: [] for task in every}
    copies: list[float] = []
    for task in every:
        task.run()
    for _ in range(arguments.rounds):
        copies.append(timed(halves.copy)[0])
        for task in every:
            took = timed(task.run)
            ours[task.name].append((took[0] / task.pairs, took[1] / task.pairs))
            theirs[task.name].append(slow.seconds_per_pair(min(2.0, max(0.3, took[0]))))
    torch.set_num_threads(1)
    sample = [reference(torch.from_numpy(q), slow.stored, kernel, slow.turns) for q in raw_queries[:8]]
    scores, places = (np.stack([part[i].numpy() for part in sample]) for i in (0, 1))
    for task in every:
        mine, other = np.array(ours[task.name]), np.array(theirs[task.name])
        clock, processor = np.median(other / mine, axis=0)
        line = f"{name:16s} {task.name:20s} {1 / mine[:, 0].min():9,.0f} {clock:9.1f} {processor:9.1f} "
        line += f"{1e6 * mine[:, 1].min():9.2f} "
        if task.name != "all pairs":
            rows = halves if "halves" in task.name else stored
            found = best_offsets(queries[:8], rows[: len(slow.stored)], kernel, offsets=OFFSETS)
            line += f"{np.abs(found.scores - scores).max() / np.abs(scores).max():9.1e} "
            line += "same  " if found.offsets[0, 0] == places[0, 0] + OFFSETS[0] else "other "
        if task.read:
            line += f"{task.read / task.pairs / mine[:, 0].min() / 1e9:9.1f}"
        print(line)
    fastest = min(wall for each in theirs.values() for wall, _ in each)
    print(
        f"{name:16s} {'reference':20s} {1 / fastest:9,.0f}   batches of {slow.batch}, {slow.threads} threads; "
        f"a plain copy of the halves reads {halves.nbytes / min(copies) / 1e9:.1f} GB/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernels", nargs="*", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--torch", metavar="DEVICE", help="torch tensors on this device instead of numpy")
    arguments = parser.parse_args()
    print(f"{arguments.videos} videos, {len(OFFSETS)} offsets, d = {D}, {available_cores()} cores")
    print(
        f"{'kernel':16s} {'what':20s} {'pairs/s':>9s} {'x clock':>9s} {'x proc.':>9s} {'us proc.':>9s} "
        f"{'error':>9s} {'best':6s}{'GB/s read':>9s}"
    )
    for name in arguments.kernels:
        measure(name, KERNELS[name], arguments)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
