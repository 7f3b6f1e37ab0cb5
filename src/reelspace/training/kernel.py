"""LAMV: the coefficients of the temporal kernel, learned from pairs whose offset is known.

Baraldi, Douze, Cucchiara, Jegou 2018, "LAMV: Learning to Align and Match Videos with Kernelized Temporal Layers". A
set of Fourier coefficients for each period, on the probability simplex (projected back after every step), is what
is learned; frame descriptors stay as they are. Two tasks at once, both triplets: at the true offset a pair must
score higher than at any other (localisation), and higher than strangers do at any offset (retrieval). The published
code holds the projection, not the training: margins and step sizes are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reelspace.alignment.fourier import NORMS, FourierKernel
from reelspace.errors import InvalidArgument
from reelspace.training.planted import Clip, KnownPair

__all__ = ["KernelTraining", "TrainedKernel", "project_to_simplex", "train_kernel"]

_LEAST = 1e-7  # no coefficient vanishes: the normalisations divide by them


@dataclass(frozen=True, slots=True)
class KernelTraining:
    """How a kernel is learned.

    Attributes:
        steps: of the optimiser; 0 keeps the coefficients it starts from.
        batch: pairs per step; each is a stranger to those it shares no footage with.
        learning_rate: of Adam, on coefficients that sum to 1.
        localisation_margin: by how much the true offset must beat all others, where a sequence scores 1 with
            itself.
        retrieval_margin: by how much a pair must beat strangers, likewise.
        tolerance_frames: offsets this near to the true one count as true.
        seed: of the order of the pairs.

    Raises:
        InvalidArgument: when a number is not positive.
    """

    steps: int = 300
    batch: int = 16
    learning_rate: float = 0.004
    localisation_margin: float = 0.1
    retrieval_margin: float = 0.1
    tolerance_frames: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        positive = (self.learning_rate, self.localisation_margin, self.retrieval_margin, self.tolerance_frames)
        if self.steps < 0 or self.batch < 2 or not min(positive) > 0:
            raise InvalidArgument(f"not a way to learn a kernel: {self}")


class TrainedKernel(NamedTuple):
    """A kernel, and the mean loss over all pairs of what it began as and of itself."""

    kernel: FourierKernel
    loss_before: float
    loss_after: float


def train_kernel(
    pairs: Sequence[KnownPair],
    start: FourierKernel,
    *,
    training: KernelTraining | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainedKernel:
    """Learns coefficients from pairs with known offsets; never worse on them than the kernel it starts from.

    The same on the same machine for the same pairs and seed. Memory holds two descriptors per pair.

    Args:
        pairs: at least one batch of them.
        start: periods, harmonics, normalisation, and the coefficients to begin with.
        training: how.
        on_step: told the number of steps done and the loss of the last.

    Raises:
        InvalidArgument: when there are fewer pairs than a batch takes, or their vectors differ in length.
    """
    how = training or KernelTraining()
    if len(pairs) < how.batch:
        raise InvalidArgument(f"a batch takes {how.batch} pairs, got {len(pairs)}")
    if len(sizes := {side.vectors.shape[1] for pair in pairs for side in (pair.a, pair.b)}) != 1:
        raise InvalidArgument(f"the frames of all pairs are of one length, got {sorted(sizes)}")
    task = _Task(pairs, start, how)
    coefficients = torch.from_numpy(start.coefficients / start.coefficients.sum(axis=1, keepdims=True)).float()
    coefficients.requires_grad_()
    optimiser = torch.optim.Adam([coefficients], lr=how.learning_rate)
    rng = np.random.default_rng(how.seed)
    every = task.batches(np.arange(len(pairs)))
    best, before = coefficients.detach().clone(), task.mean_loss(coefficients.detach(), every)
    least, order = before, iter(every[:0])  # the first step draws an order
    for step in range(1, how.steps + 1):
        batch = next(order, None)
        if batch is None:  # all pairs were seen
            order = iter(task.batches(rng.permutation(len(pairs))))
            batch = next(order)
        optimiser.zero_grad()
        loss = task.loss(coefficients, batch)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            coefficients.copy_(project_to_simplex(coefficients))
        if step % len(every) == 0 or step == how.steps:
            now = task.mean_loss(coefficients.detach(), every)
            if now < least:
                best, least = coefficients.detach().clone(), now
        if on_step is not None:
            on_step(step, loss.item())
    learned = tuple(tuple(float(a) for a in row) for row in best.double())
    return TrainedKernel(replace(start, learned=learned), before, least)


def project_to_simplex(rows: torch.Tensor) -> torch.Tensor:
    """The nearest rows (P, m) of numbers that are none negative and sum to 1 (Duchi et al. 2008), at least 1e-7."""
    ordered = rows.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    last = (ordered * counts > excess).sum(dim=1, keepdim=True)  # how many stay above zero
    return (rows - excess.gather(1, last - 1) / last).clamp(min=_LEAST)


class _Task:
    """The pairs, described once without coefficients, and the loss of coefficients on them."""

    def __init__(self, pairs: Sequence[KnownPair], kernel: FourierKernel, how: KernelTraining) -> None:
        norm = NORMS[kernel.norm]
        self._kernel = kernel
        self._how = how
        # What the normalisation still does once the coefficients have come in.
        after = "freq" if norm.frequencies else "matrix" if norm.matrix else None
        self._finish = None if after is None else replace(kernel, norm=after)
        self._own = kernel.self_score(pairs[0].a.vectors.shape[1])
        self._left, self._right = (
            torch.stack([_waves(kernel, getattr(pair, side), unit=norm.features) for pair in pairs])
            for side in "ab"
        )  # (N, P, 2m, d)
        reach = max(int(np.ceil(side.times[-1])) for pair in pairs for side in (pair.a, pair.b))
        self._offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        truth = torch.tensor([pair.offset_frames for pair in pairs], dtype=torch.float64)
        self._true = (self._offsets - truth[:, None]).abs() <= how.tolerance_frames  # (N, K)
        strangers = [[one.names.isdisjoint(other.names) for other in pairs] for one in pairs]
        self._strangers = torch.tensor(strangers)

    def batches(self, order: NDArray[np.int64]) -> list[torch.Tensor]:
        """Whole batches of pairs, in that order; those left over are in the last one, with some of the others."""
        size = self._how.batch
        starts = [*range(0, len(order) - size, size), len(order) - size]
        return [torch.from_numpy(order[start : start + size]) for start in starts]

    def mean_loss(self, coefficients: torch.Tensor, batches: Sequence[torch.Tensor]) -> float:
        with torch.no_grad():
            return float(torch.stack([self.loss(coefficients, batch) for batch in batches]).mean())

    def loss(self, coefficients: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Localisation and retrieval together: the mean over the pairs of a batch."""
        roots = coefficients.sqrt().repeat(1, 2)[:, :, None]  # (P, 2m, 1)
        left, right = (side[batch] * roots for side in (self._left, self._right))
        if self._finish is not None:
            left, right = self._finish.normalise(left), self._finish.normalise(right)
        scores = self._kernel.scores(left, right, self._offsets) / self._own  # (B, B, K)
        own = torch.diagonal(scores).T  # (B, K)
        true = own.masked_fill(~self._true[batch], -torch.inf).amax(dim=1)
        elsewhere = own.masked_fill(self._true[batch], -torch.inf).amax(dim=1)
        strangers = self._strangers[batch][:, batch]
        others = scores.amax(dim=2).masked_fill(~strangers, -torch.inf).amax(dim=1)
        localisation = torch.relu(self._how.localisation_margin + elsewhere - true)
        retrieval = torch.relu(self._how.retrieval_margin + others - true)
        return (localisation + retrieval).mean()


def _waves(kernel: FourierKernel, clip: Clip, *, unit: bool) -> torch.Tensor:
    """The descriptor without its coefficients, (P, 2m, d), each row of unit length where that is asked for."""
    bare = replace(kernel, norm="feat", learned=((1.0,) * kernel.harmonics,) * len(kernel.periods))
    waves = bare.describe(torch.from_numpy(clip.vectors), torch.from_numpy(clip.times))
    return bare.normalise(waves) if unit else waves
