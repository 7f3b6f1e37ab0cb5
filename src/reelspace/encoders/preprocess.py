"""From decoded pictures to the pixels a model reads, as its authors resized and cropped them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reelspace.core.squash import squash_taps
from reelspace.encoders.resize import resize
from reelspace.encoders.spec import Preprocessing
from reelspace.errors import InvalidArgument

__all__ = ["Squash", "crops_of", "crops_on_device", "resized_shape"]


def crops_of(frames: NDArray[np.uint8], how: Preprocessing, *, crops: int = 1) -> NDArray[np.uint8]:
    """Resizes and crops frames of one video, on the CPU: half a millisecond per frame from 1280x720 to 224x224.

    Args:
        frames: uint8 (N, H, W, 3) RGB.
        how: the rule; normalising is left to the encoder.
        crops: 1: the centre; 3: both ends of the longer side, and the centre between them.

    Returns:
        uint8 (crops, N, h, w, 3).

    Raises:
        InvalidArgument: for frames of another shape or type, or 3 crops by a rule that does not crop.
    """
    if frames.dtype != np.uint8:
        raise InvalidArgument(f"frames are uint8 on the scale 0..255, got {frames.dtype}")
    cut: NDArray[np.uint8] = crops_on_device(_tensor(frames), how, crops=crops).numpy()
    return cut


def crops_on_device(frames: Tensor, how: Preprocessing, *, crops: int = 1) -> Tensor:
    """As `crops_of`, of a tensor uint8 (N, H, W, 3), on the device it is on."""
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise InvalidArgument(f"frames are (N, H, W, 3) RGB, got {tuple(frames.shape)}")
    if crops not in {1, 3}:
        raise InvalidArgument(f"crops are 1 or 3, got {crops}")
    if crops == 3 and how.crop is None:
        raise InvalidArgument(f"3 crops need a rule that crops, got resize {how.resize!r} without a crop")
    pictures = frames.permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W) in the memory order channels_last
    if how.resize == "cover":
        pictures = _middle_square(pictures)
    resized = resize(pictures, resized_shape(how, *pictures.shape[-2:]), kernel=how.filter, antialias=how.antialias)
    cut = resized[None] if how.crop is None else _cut(resized, how.crop, crops)
    return cut.permute(0, 1, 3, 4, 2).contiguous()  # (crops, N, 3, h, w) -> (crops, N, h, w, 3)


def resized_shape(how: Preprocessing, height: int, width: int) -> tuple[int, int]:
    """Rows and columns after resizing, before the crop."""
    return _SHAPES[how.resize](how.size, height, width)


def _square(size: int, height: int, width: int) -> tuple[int, int]:  # noqa: ARG001
    return size, size


def _shortest(size: int, height: int, width: int) -> tuple[int, int]:
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def _area(size: int, height: int, width: int) -> tuple[int, int]:
    return _shortest(max(1, round(min(height, width) / math.sqrt(height * width / size))), height, width)


def _as_is(size: int, height: int, width: int) -> tuple[int, int]:  # noqa: ARG001
    return height, width


_SHAPES: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "shortest": _shortest,
    "square": _square,
    "cover": _square,
    "area": _area,
    "as-is": _as_is,
}


def _middle_square(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    side = min(height, width)
    top, left = height // 2 - side // 2, width // 2 - side // 2  # as the notebooks of MIL-NCE and I3D cut it
    return pictures[..., top : top + side, left : left + side].contiguous(memory_format=torch.channels_last)


def _cut(pictures: Tensor, side: int, crops: int) -> Tensor:
    """(N, 3, H, W) -> (crops, N, 3, side, side); black where the picture is smaller."""
    height, width = pictures.shape[-2:]
    below, right = max(0, side - height), max(0, side - width)
    if below or right:  # the odd row goes above, as in transformers' `center_crop`
        pictures = F.pad(pictures, (-(-right // 2), right // 2, -(-below // 2), below // 2))
        height, width = pictures.shape[-2:]
    down, across = height - side, width - side
    if crops == 1:
        corners = [(down // 2, across // 2)]
    elif height > width:
        corners = [(top, math.ceil(across / 2)) for top in (0, math.ceil(down / 2), down)]
    else:  # SlowFast's `uniform_crop`, which rounds up
        corners = [(math.ceil(down / 2), left) for left in (0, math.ceil(across / 2), across)]
    return torch.stack([pictures[..., top : top + side, left : left + side] for top, left in corners])


class Squash:
    """A whole video as one clip: every frame of it, resized in time, rows and columns by linear interpolation.

    The result is ``F.interpolate(stack, size=(frames, side, side), mode="trilinear")`` of the stack of all frames
    as floats, without the stack: the frames that have a part in it come one by one, and memory holds one of them
    and the clip. So reads harpreetsahota204/hiera-video-embeddings-plugin, `utils.resize_video_tensor`.

    Args:
        frame_count: of the video; `media.count_frames` counts them.
        frames: of the clip.
        side: its rows and columns.

    Attributes:
        indices: the frames to push, counted from 0 in the order of presentation; for `core.sampling.AtIndices`.

    Raises:
        InvalidArgument: for counts below 1.
    """

    def __init__(self, frame_count: int, frames: int, side: int) -> None:
        taps, weights = squash_taps(frame_count, frames)
        self.indices: tuple[int, ...] = tuple(np.unique(taps[weights > 0]).tolist())
        self._parts = [
            [(place, weights[place, tap]) for place, tap in np.argwhere((taps == index) & (weights > 0))]
            for index in self.indices
        ]
        self._side = side
        self._pushed = 0
        self._clip = np.zeros((frames, side, side, 3), np.float32)

    def push(self, pixels: NDArray[np.uint8]) -> None:
        """Takes the next frame of ``indices``: uint8 (H, W, 3).

        Raises:
            InvalidArgument: when all were pushed before.
        """
        if self._pushed == len(self.indices):
            raise InvalidArgument(f"all {self._pushed} frames of the clip were pushed before")
        shrunk = _interpolated(pixels, self._side)
        for place, weight in self._parts[self._pushed]:
            self._clip[place] += weight * shrunk
        self._pushed += 1

    def finish(self) -> NDArray[np.float32]:
        """The clip: float32 (frames, side, side, 3) on the scale 0..255.

        Raises:
            InvalidArgument: when frames are missing.
        """
        if self._pushed < len(self.indices):
            raise InvalidArgument(f"the clip needs {len(self.indices)} frames, got {self._pushed}")
        return self._clip


def _interpolated(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """uint8 (H, W, 3) -> float32 (side, side, 3)."""
    picture = _tensor(pixels).permute(2, 0, 1)[None].float()  # (1, 3, H, W)
    shrunk: NDArray[np.float32] = (
        F.interpolate(picture, size=(side, side), mode="bilinear")[0].permute(1, 2, 0).numpy()
    )
    return shrunk


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """The same memory as a tensor; a copy where it is read-only, of which torch would warn."""
    return torch.from_numpy(np.ascontiguousarray(pixels) if pixels.flags.writeable else pixels.copy())
