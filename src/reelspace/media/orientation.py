"""How a decoded picture is turned and mirrored before it is shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideDataContainer

__all__ = ["Orientation"]


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a rectangle on itself: transpose first, then mirror.

    Attributes:
        transposes: rows become columns.
        flips_x: then left and right are exchanged.
        flips_y: and top and bottom.
    """

    transposes: bool = False
    flips_x: bool = False
    flips_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """The orientation a frame's display matrix asks for; angles between right angles go to the nearest one."""
        try:
            matrix = bytes(cast("SideDataContainer", frame.side_data)["DISPLAYMATRIX"])
        except KeyError:
            return cls()
        except ValueError:  # PyAV 18 does not know every kind of side data (stereo views) and then shows none
            return _TURNS[round(-frame.rotation / 90) % 4]
        # Maps (x, y) to (a x + c y, b x + d y); 16.16 fixed point, third column unused here.
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(transposes=False, flips_x=a < 0, flips_y=d < 0)
        return cls(transposes=True, flips_x=c < 0, flips_y=b < 0)

    @property
    def rotation_degrees(self) -> int:
        """The clockwise turn of this orientation, before mirroring left to right."""
        return next(90 * turns for turns, turned in enumerate(_TURNS) if turned in {self, self._mirrored_x()})

    @property
    def mirrored(self) -> bool:
        """Whether a mirroring left to right follows the turn."""
        return self not in _TURNS

    def _mirrored_x(self) -> Orientation:
        return Orientation(self.transposes, not self.flips_x, self.flips_y)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture as it is shown: (H, W, ...) -> (H, W, ...) or (W, H, ...)."""
        if self == Orientation():
            return pixels
        if self.transposes:
            pixels = pixels.swapaxes(0, 1)
        if self.flips_x:
            pixels = pixels[:, ::-1]
        if self.flips_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


# Clockwise by 0, 90, 180 and 270 degrees.
_TURNS = (
    Orientation(),
    Orientation(transposes=True, flips_x=True),
    Orientation(flips_x=True, flips_y=True),
    Orientation(transposes=True, flips_y=True),
)
