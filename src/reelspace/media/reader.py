"""The contract of a decoder: one pass over the file, any number of takers.

A backend decodes each frame at most once, converts it only for the taps that want it, and may skip decoding frames
that nobody wants and no other frame refers to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Literal, Protocol, Self

from reelspace.core.frames import Frame, Picture, Tap
from reelspace.core.video import Video

__all__ = ["VideoReader"]


class VideoReader(Protocol):
    """One opened video. Use it as a context manager: the container is closed on every way out.

    Every method streams in bounded memory and may be called again: each call starts from the beginning.
    """

    @property
    def video(self) -> Video:
        """What the container says."""
        ...

    @property
    def decode_mode(self) -> Literal["exact", "fast"]:
        """``exact`` gives every frame as it was encoded; ``fast`` leaves some out and filters none.

        Part of the identity of what is made of the frames: vectors of the two are not to be mixed.
        """
        ...

    def read(self, taps: Sequence[Tap]) -> Iterator[tuple[int, Frame]]:
        """One decode for all ``taps``: yields (index of the tap, frame), for each tap in order of time.

        Raises:
            DecodeFailed: when no picture comes out.
            Truncated: after the last picture, when fewer came out than the container promises.
        """
        ...

    def frames(self, picture: Picture = ...) -> Iterator[Frame]:
        """Every frame."""
        ...

    def count_frames(self) -> int:
        """How many frames `frames` gives, without decoding them where the codec allows.

        Pictures that turn out damaged are counted all the same, unless the file is cut off.
        """
        ...

    def frames_at(self, times_seconds: Sequence[float], picture: Picture = ...) -> Iterator[Frame]:
        """The frame on screen at each time, seeking where that is cheaper than decoding through.

        Exactly the frames a full decode gives for those times. Times before the first frame give the first,
        times after the last give the last; they need not be sorted, results come in the order asked.

        Raises:
            Truncated: after the frames that are there, when a time lies in the missing end.
        """
        ...

    def frames_at_rate(self, frames_per_second: float | Fraction, picture: Picture = ...) -> Iterator[Frame]:
        """The frame on screen at ``k / frames_per_second`` seconds for k = 0, 1, ... while the video lasts."""
        ...

    def close(self) -> None:
        """Closes the container; further reads raise. Closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
