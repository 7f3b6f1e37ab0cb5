"""From a file to pictures with the second they are shown at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reelspace.core.video import Video
from reelspace.errors import UnknownName

if TYPE_CHECKING:
    from reelspace.media.reader import VideoReader

__all__ = ["count_frames", "open_video", "probe"]


def _pyav(source: str | os.PathLike[str], *, fast: bool, threads: int) -> VideoReader:
    from reelspace.media.pyav_reader import PyAVReader

    return PyAVReader(source, fast=fast, threads=threads)


# Every backend honours the contract `VideoReader`, checked by tests/contracts/test_video_reader.py.
BACKENDS = {"pyav": _pyav}


def open_video(
    source: str | os.PathLike[str], *, backend: str = "pyav", fast: bool = False, threads: int = 1
) -> VideoReader:
    """Opens a video for reading; use it in a ``with`` statement.

    ``fast`` leaves out the frames no other frame refers to, and the decoder's loop filter: for a library of one's
    own, never mixed with exact reading. ``threads`` decode one file; many files are better read side by side.

    Raises:
        CannotOpen: not there, not readable, not a media file, damaged header, encrypted.
        NoVideoStream: opened, but nothing to look at.
        DecodeFailed: opened, but no picture comes out.
        UnknownName: when there is no such backend.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    return BACKENDS[backend](source, fast=fast, threads=threads)


def probe(source: str | os.PathLike[str], *, backend: str = "pyav") -> Video:
    """What a video's container and first picture say, without reading the rest. Raises as `open_video` does."""
    with open_video(source, backend=backend) as reader:
        return reader.video


def count_frames(source: str | os.PathLike[str], *, backend: str = "pyav") -> int:
    """How many frames a video has, as `VideoReader.count_frames` counts them. Raises as `open_video` does."""
    with open_video(source, backend=backend) as reader:
        return reader.count_frames()
