"""What is made of every file, from one decode pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.tmk import (
    FRAMES_PER_SECOND,
    PERIODS,
    TmkAccumulator,
    TmkDescriptor,
    kernel_coefficients,
    tmk_space,
)
from reelspace.core.frames import Tap
from reelspace.core.space import Space
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.extract.clips import Reading
from reelspace.store.rows import Signature

__all__ = ["Plan", "Signer", "Summing", "TmkSigner", "decoded_space", "default_plan", "descriptor_of"]


class Signer(Protocol):
    """Sums a whole video up in one signature. Picklable."""

    @property
    def tap(self) -> Tap:
        """Which frames it wants, and how."""
        ...

    def space(self, *, decoding: str) -> Space:
        """The identity of the signatures of frames that were decoded so."""
        ...

    def start(self, *, decoding: str) -> Summing:
        """Fresh state for one video."""
        ...


class Summing(Protocol):
    """The state of one video."""

    def push(self, frames: NDArray[np.uint8]) -> None:
        """Adds consecutive frames, uint8 (N, H, W, 3) or (N, H, W)."""
        ...

    def finish(self) -> Signature:
        """The signature of everything pushed; at least one frame."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made of every file. Picklable: encoders and signers live in modules a worker can import.

    Attributes:
        encoders: frame encoders whose rows are stored.
        signers: what sums up a whole video.
        readings: how models read a video, whose clips are made where it is decoded and computed elsewhere.
        fast: leave out the frames no other frame refers to, and the decoder's loop filter. Part of the identity of
            everything made from it.
        keep_partial: index what comes out of a truncated file, with a note, instead of failing it.
    """

    encoders: tuple[FrameEncoder, ...] = ()
    signers: tuple[Signer, ...] = ()
    readings: tuple[Reading, ...] = ()
    fast: bool = False
    keep_partial: bool = False

    @property
    def decoding(self) -> str:
        """``exact`` or ``fast``."""
        return "fast" if self.fast else "exact"

    def encoder_space(self, index: int) -> Space:
        """The identity of the rows of an encoder, as decoded here."""
        return decoded_space(self.encoders[index].space, decoding=self.decoding)

    def signer_space(self, index: int) -> Space:
        """The identity of the signatures of a signer, as decoded here."""
        return self.signers[index].space(decoding=self.decoding)


def decoded_space(space: Space, *, decoding: str) -> Space:
    """The identity of vectors of frames that were decoded so; exact decoding is what every encoder means."""
    if decoding == "exact":
        return space
    return Space(space.name, space.dimensions, {**space.parameters, "decoding": decoding})


@dataclass(frozen=True, slots=True)
class TmkSigner:
    """TMK over PDQF.

    Attributes:
        fast: read pictures by the quick scaler, see `Pdqf`.
    """

    fast: bool = False

    @property
    def tap(self) -> Tap:
        """What PDQF wants."""
        return Pdqf(fast=self.fast).tap

    def space(self, *, decoding: str) -> Space:
        """TMK of the features of frames that were decoded so."""
        return tmk_space(decoded_space(Pdqf(fast=self.fast).space, decoding=decoding))

    def start(self, *, decoding: str) -> Summing:
        """Fresh sums."""
        return _TmkSumming(Pdqf(fast=self.fast), self.space(decoding=decoding))


class _TmkSumming:
    def __init__(self, encoder: Pdqf, space: Space) -> None:
        self._encoder = encoder
        self._space = space
        self._sums = TmkAccumulator()

    def push(self, frames: NDArray[np.uint8]) -> None:
        self._sums.push(self._encoder.encode(frames).vectors[:, 0])

    def finish(self) -> Signature:
        found = self._sums.finish()
        return Signature(self._space, found.frame_count, found.average, found.cosines, found.sines)


def descriptor_of(signature: Signature) -> TmkDescriptor:
    """The TMK descriptor in a signature of `TmkSigner`: what is compared, and written to ``.tmk`` files."""
    return TmkDescriptor(
        FRAMES_PER_SECOND,
        signature.frame_count,
        PERIODS,
        kernel_coefficients(signature.cosines.shape[1]).astype(np.float32),
        signature.average,
        signature.cosines,
        signature.sines,
    )


def default_plan(*, fast: bool = False, tmk: bool = True) -> Plan:
    """What `index` makes of every file: rows that find copies, of two encoders, and with ``tmk`` a TMK hash."""
    return Plan((Reelprint(), PdqfViews()), (TmkSigner(fast=fast),) if tmk else (), fast=fast)
