"""The contracts of encoders: pictures or clips in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Tap
from reelspace.core.space import Space
from reelspace.encoders.spec import EncoderSpec

__all__ = ["Described", "Encoder", "FrameEncoder", "Reconstruction", "Reconstructor", "TextEncoder"]


class Encoder(Protocol):
    """A row of the catalog, running: clips of pictures in, one vector per clip and output out."""

    @property
    def spec(self) -> EncoderSpec:
        """The row it was made from."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over the files of its checkpoint, 64 hex digits."""
        ...

    @property
    def labels(self) -> tuple[str, ...] | None:
        """What the columns of ``logits`` mean; None without classes."""
        ...

    def encode(
        self, clips: NDArray[np.uint8 | np.float32], *, outputs: Sequence[str] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """The outputs of clips that were resized and cropped by the row's preprocessing.

        Args:
            clips: (B, T, H, W, 3) RGB: uint8, or float32 on the same scale of 0..255.
            outputs: which of the row's outputs and maps; its default output where none is named.

        Returns:
            float32 (B, D) for each of the row's outputs asked for; (B, ..., D) for its maps. Logits are scores, not
            probabilities.

        Raises:
            InvalidArgument: for another number of frames or another size than the model was made for.
            UnknownName: for an output it does not have.
        """
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder with a text tower."""

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (N, D) in the space of ``spec.text_output``."""
        ...


class Reconstruction(NamedTuple):
    """What a masked autoencoder makes of clips it saw a part of.

    Attributes:
        pictures: float32 (B, T, H, W, 3) on the scale 0..255: its guess where masked, the input elsewhere.
        masked: bool (B, T, H, W): what it did not see.
        loss: float32 (B,): the paper's loss over the masked patches.
    """

    pictures: NDArray[np.float32]
    masked: NDArray[np.bool_]
    loss: NDArray[np.float32]


@runtime_checkable
class Reconstructor(Encoder, Protocol):
    """An encoder that was pre-trained by masking, with its decoder."""

    def reconstruct(
        self,
        clips: NDArray[np.uint8],
        *,
        mask: NDArray[np.bool_] | None = None,
        mask_ratio: float | None = None,
        seed: int = 0,
    ) -> Reconstruction:
        """Hides a part of each clip and has it guessed.

        Args:
            clips: uint8 (B, T, H, W, 3), as for `Encoder.encode`.
            mask: bool (B, units), True where hidden, in the units of the paper; None to draw one.
            mask_ratio: share that is hidden when it is drawn; None for the paper's.
            seed: of the drawing.
        """
        ...


class Described(NamedTuple):
    """Descriptors of N consecutive frames, V views each.

    Attributes:
        vectors: float32 (N, V, D).
        weights: float32 (N, V) in [0, 1]: how much evidence each carries. A view that does not exist for a frame
            (no borders to cut off) has weight 0 and is not stored.
    """

    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]


class FrameEncoder(Protocol):
    """Turns pictures into one or more vectors per frame, without knowing their neighbours' times.

    These are light (numpy) and run where the file is decoded. `Pdqf` and its kind are this; the catalog offers them
    as `Encoder` too, through `pictures.PictureEncoder`.
    """

    @property
    def space(self) -> Space:
        """The identity of the vectors."""
        ...

    @property
    def tap(self) -> Tap:
        """Which frames it wants, and how."""
        ...

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        """Descriptors of consecutive frames, as the tap delivers them: uint8 (N, H, W, 3) or (N, H, W)."""
        ...
