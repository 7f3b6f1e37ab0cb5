"""From the similarity of two pictures to the chance that they are one, fitted on pairs drawn by formula.

    python -m reelspace.training.calibration [--seed N] [--films N]

Pictures are edited and compared with themselves and with the stranger that is most like them. The curve
of `reelspace.tasks.copies` judges whole segments, among a library's strangers, and was fitted on edited clips; how
that one holds on real footage is printed by benchmarks/copies_quality.py.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reelspace.encoders.models.reelprint import descriptors
from reelspace.training.edits import light, strong
from reelspace.training.images import Draw, scenes

__all__ = ["Pairs", "chance", "fitted", "made_up_pairs"]

_STRENGTHS = (0.25, 0.5, 0.75)  # of the edits
_CLEAR = 12 / 255  # standard deviation from which a picture is full evidence, as in reelprint
_SOUGHT = 0.5  # similarity from which segments are sought: no others are judged
_SURE = 0.995  # as in reelspace.tasks.copies
_STEPS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)


class Pairs(NamedTuple):
    """Compared pictures: parallel arrays.

    Attributes:
        similarity: float64 (P,).
        same: bool (P,).
    """

    similarity: NDArray[np.float64]
    same: NDArray[np.bool_]


def made_up_pairs(draw: Draw, films: int) -> Pairs:
    """Edited pictures against what they were, and against their most similar strangers."""
    pictures = scenes(draw, films)
    kept = pictures.mean(dim=1).std(dim=(1, 2)) > _CLEAR
    pictures, film = pictures[kept], torch.arange(2 * films)[kept.cpu()].numpy() // 2
    behind = np.roll(film, len(film) // 2)  # the film a copy may stand on (edits.strong): no stranger either
    # Frames of one film may be all but the same.
    known = (film[:, None] == film[None, :]) | (behind[:, None] == film[None, :])
    originals = _described(light(draw, pictures))
    similarity: list[NDArray[np.float64]] = []
    for strength in _STRENGTHS:
        alike = (_described(strong(draw, pictures, strength=strength)) @ originals.T).astype(np.float64)
        strangers = np.where(known, -1, alike)
        similarity += [alike.diagonal(), strangers.max(axis=1)]
    found = Pairs(np.concatenate(similarity), np.tile(np.repeat([True, False], len(pictures)), len(_STRENGTHS)))
    sought = found.similarity >= _SOUGHT
    return Pairs(found.similarity[sought], found.same[sought])


def fitted(pairs: Pairs) -> tuple[float, float]:
    """Slope over ``-log(1 - similarity)`` and intercept: logistic regression by Newton's method."""
    known = _known(pairs.similarity)
    slopes = np.zeros(2)
    for _ in range(50):
        said = 1 / (1 + np.exp(-known @ slopes))
        curvature = known.T @ (known * (said * (1 - said))[:, None]) + 1e-6 * np.eye(2)
        slopes += np.linalg.solve(curvature, known.T @ (pairs.same - said))
    return float(slopes[0]), float(slopes[1])


def chance(similarity: NDArray[np.float64], slopes: tuple[float, float]) -> NDArray[np.float64]:
    """The chance that pairs are the same: (P,)."""
    said: NDArray[np.float64] = 1 / (1 + np.exp(-_known(similarity) @ np.array(slopes)))
    return said


def _known(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    left = -np.log(1 - np.minimum(similarity, _SURE))
    return np.stack([left, np.ones_like(left)], axis=1)


def _described(pictures: torch.Tensor) -> NDArray[np.float32]:
    """Descriptors of (N, 3, 64, 64): float32 (N, D)."""
    return descriptors(np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy()))


def _report(seed: int, films: int) -> str:
    """The curve, and how well it holds on pairs it was not fitted on."""
    drawn: list[Pairs] = []
    for one in (seed, seed + 1):
        generator = torch.Generator()
        generator.manual_seed(one)
        drawn.append(made_up_pairs(Draw(generator), films))
    slopes = fitted(drawn[0])
    said = chance(drawn[1].similarity, slopes)
    lines = [f"similarity {slopes[0]:.2f}, intercept {slopes[1]:.2f}"]
    lines.append("chance said    pairs  share that is the same")
    for low, high in pairwise(_STEPS):
        inside = (said >= low) & (said < high)
        if inside.any():
            lines.append(f"{low:4.2f} - {high:4.2f}   {inside.sum():6d}  {drawn[1].same[inside].mean():.3f}")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--films", type=int, default=400)
    arguments = parser.parse_args()
    parser.exit(message=_report(arguments.seed, arguments.films) + "\n")


if __name__ == "__main__":
    main()
