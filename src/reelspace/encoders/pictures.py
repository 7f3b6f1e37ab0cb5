"""The package's own frame encoders as rows of the catalog: numpy, no weights to fetch, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument

__all__ = ["PictureEncoder", "pdqf", "pdqf_views", "reelprint"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class PictureEncoder:
    """A `FrameEncoder` behind the contract `Encoder`: one vector per picture, of the whole picture (view 0).

    Attributes:
        spec: its row.
        frame_encoder: with the `Tap` that says how it wants its pictures; copy search stores all its views.
        digest: SHA-256 of the frame encoder's own space, which holds its parameters and the digest of its weights.
        labels: None.
    """

    labels: tuple[str, ...] | None = None

    def __init__(self, row: EncoderSpec, frame_encoder: FrameEncoder) -> None:
        self.spec = row
        self.frame_encoder = frame_encoder
        self.digest = hashlib.sha256(frame_encoder.space.to_json().encode()).hexdigest()

    def encode(
        self, clips: NDArray[np.uint8 | np.float32], *, outputs: Sequence[str] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """As `Encoder.encode`, of pictures (B, 1, H, W, 3) as the frame encoder's tap has them.

        An encoder of gray pictures takes their luma. Pictures without structure may give zeros.
        """
        picture = self.frame_encoder.tap.picture
        if clips.shape[1:] != (1, picture.height, picture.width, 3) or clips.dtype not in (np.uint8, np.float32):
            raise InvalidArgument(
                f"{self.spec.name} reads clips (B, 1, {picture.height}, {picture.width}, 3), got {clips.dtype} "
                f"{clips.shape}"
            )
        pixels = clips[:, 0] @ _LUMA if picture.layout == "gray" else clips[:, 0]  # (B, H, W) or (B, H, W, 3)
        frames = np.rint(pixels).clip(0, 255).astype(np.uint8) if pixels.dtype != np.uint8 else pixels
        vectors = self.frame_encoder.encode(np.asarray(frames, np.uint8)).vectors[:, 0]  # (B, V, D) -> (B, D)
        return {self.spec.require_output(name): vectors for name in outputs or self.spec.outputs}


def pdqf(row: EncoderSpec, checkpoint: Checkpoint) -> PictureEncoder:  # noqa: ARG001
    """The factory of the row ``pdqf``."""
    return PictureEncoder(row, Pdqf())


def pdqf_views(row: EncoderSpec, checkpoint: Checkpoint) -> PictureEncoder:  # noqa: ARG001
    """The factory of the row ``pdqf-views``."""
    return PictureEncoder(row, PdqfViews())


def reelprint(row: EncoderSpec, checkpoint: Checkpoint) -> PictureEncoder:  # noqa: ARG001
    """The factory of the row ``reelprint``."""
    return PictureEncoder(row, Reelprint())
