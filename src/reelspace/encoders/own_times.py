"""Frame encoders that are given frames at their own times instead of those of a grid.

The frame on screen at a time was taken up to a frame earlier, the more the fewer there are per second: between
recordings of 10 and of 50 that alone would be 0.04 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Tap
from reelspace.core.sampling import Spaced
from reelspace.core.space import Space
from reelspace.encoders.encoder import Described, FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.reelprint import Reelprint

__all__ = ["FRAMES_PER_SECOND", "AtOwnTimes", "timing_encoders"]

FRAMES_PER_SECOND = 20.0
"""At which recordings are put on one clock."""


@dataclass(frozen=True)
class AtOwnTimes:
    """An encoder of the same pictures, each at its own presentation time.

    Attributes:
        encoder: what describes them. Where it asks for frames around each (borders), give it the same rate.
        frames_per_second: at most; of a video with more, those that come too soon after another are left out.
    """

    encoder: FrameEncoder
    frames_per_second: float
    space: Space = field(init=False)
    tap: Tap = field(init=False)

    def __post_init__(self) -> None:
        whole = self.encoder.space
        parameters = {**whole.parameters, "frames": f"own times, at most {self.frames_per_second:g} per second"}
        object.__setattr__(self, "space", Space(whole.name, whole.dimensions, parameters))
        object.__setattr__(self, "tap", Tap(Spaced(1 / self.frames_per_second), self.encoder.tap.picture))

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """What the encoder itself makes of them."""
        return self.encoder.encode(frames)


def timing_encoders() -> tuple[FrameEncoder, FrameEncoder]:
    """What recordings are put on one clock by: reelprint, and PDQF, each frame at its own time."""
    return (
        AtOwnTimes(Reelprint(FRAMES_PER_SECOND), FRAMES_PER_SECOND),
        AtOwnTimes(Pdqf(), FRAMES_PER_SECOND),
    )
