"""Clips made on the spot, so that the truth about them is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

MakeClip = Callable[..., Path]


def numbered(count: int, *, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Frames that tell their number by their brightness: uint8 (count, H, W, 3)."""
    levels = np.linspace(20, 235, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Writes frames (N, H, W, 3) to a file and gives its path."""

    def make(
        name: str,
        frames: NDArray[np.uint8],
        *,
        rate: Fraction | int = 25,
        times: Sequence[int] | None = None,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        options: dict[str, str] | None = None,
        prepare: Callable[[Any], None] = lambda stream: None,
    ) -> Path:
        path = tmp_path / name
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pixel_format
            stream.options = options or {}
            prepare(stream)
            for index, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.time_base = Fraction(1) / rate
                frame.pts = times[index] if times is not None else index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
