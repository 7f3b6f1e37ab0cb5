"""Stored signatures in the form they are scored in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reelspace.alignment.tmk import FRAMES_PER_SECOND, PERIODS, kernel_coefficients
from reelspace.alignment.tmk_scores import TmkStack
from reelspace.store.rows import SignatureMatrix

__all__ = ["SignatureBlocks"]


@dataclass(frozen=True, slots=True, eq=False)
class SignatureBlocks(Sequence[TmkStack]):
    """Stored TMK signatures as a sequence of stacks, each read from the mapped file when it is asked for.

    Attributes:
        matrix: the signatures.
        block: videos per stack; 512 take 135 MB.
    """

    matrix: SignatureMatrix
    block: int = 512

    def __len__(self) -> int:
        return math.ceil(len(self.matrix) / self.block)

    def __getitem__(self, index: Any) -> Any:  # slices are not needed, so not offered
        if not 0 <= index < len(self):
            raise IndexError(index)
        rows = slice(index * self.block, (index + 1) * self.block)
        waves = np.stack([self.matrix.cosines[rows], self.matrix.sines[rows]], axis=1)
        return TmkStack(
            np.array(self.matrix.averages[rows]),
            waves,
            PERIODS,
            kernel_coefficients(waves.shape[3]),
            FRAMES_PER_SECOND,
        )
