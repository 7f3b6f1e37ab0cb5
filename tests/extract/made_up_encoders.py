"""Encoders simple enough to know their answers, and ill-behaved ones. Workers import this module by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtRate
from reelspace.core.space import Space
from reelspace.encoders.encoder import Described


@dataclass(frozen=True)
class Means:
    """View 0: the mean colour of the picture; view 1: of its left half, for every other frame of a batch."""

    name: str = "means"
    seed: int = 0

    @property
    def space(self) -> Space:
        return Space(self.name, 3, {"seed": self.seed})

    @property
    def tap(self) -> Tap:
        return Tap(AtRate(5), Picture(16, 12))

    def encode(self, frames: np.ndarray) -> Described:
        whole, left = frames.mean(axis=(1, 2)), frames[:, :, :8].mean(axis=(1, 2))
        weights = np.ones((len(frames), 2), np.float32)
        weights[1::2, 1] = 0  # not stored
        weights[0, 0] = 0  # view 0 is stored all the same
        return Described(np.stack([whole, left], axis=1).astype(np.float32) / 255, weights)


@dataclass(frozen=True)
class PortraitTrouble(Means):
    """Gets into trouble over pictures higher than wide."""

    trouble: str = "crash"

    @property
    def tap(self) -> Tap:
        return Tap(AtRate(5), Picture())

    def encode(self, frames: np.ndarray) -> Described:
        if frames.shape[1] > frames.shape[2]:
            if self.trouble == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.trouble == "hang":
                time.sleep(600)
            if self.trouble == "raise":
                raise ZeroDivisionError("portrait")
        return super().encode(frames)


class Slow(Means):
    """Takes a third of a second over every batch."""

    def encode(self, frames: np.ndarray) -> Described:
        time.sleep(0.3)
        return super().encode(frames)
