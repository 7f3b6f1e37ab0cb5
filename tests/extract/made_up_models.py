"""Models that can be computed by hand: what they give is the mean colour of each frame they were shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reelspace.core.clips import ClipSpec, Mode
from reelspace.encoders.spec import EncoderSpec, Preprocessing, Weights
from reelspace.errors import InvalidArgument
from reelspace.extract.models import Model

SIDE = 16


def row(name: str = "colours", *, frames: int = 4, spacing_seconds: float = 0.1, **clip) -> EncoderSpec:
    return EncoderSpec(
        name,
        "made-up",
        "nowhere:nothing",
        ClipSpec(frames, spacing_seconds, **clip),
        Preprocessing("shortest", 20, SIDE),
        {"colours": 3 * frames, "logits": 2},
        Weights(),
        "nobody 2026",
        labels="made-up",
    )


class Colours:
    """``colours``: mean of every frame and channel, end to end; ``logits``: of dark and of light."""

    labels = ("dark", "light")
    digest = "0" * 64

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec
        self.batches: list[int] = []

    def encode(self, clips: np.ndarray, *, outputs: Sequence[str] = ()) -> dict[str, np.ndarray]:
        if clips.shape[1:] != (self.spec.clip.frames, SIDE, SIDE, 3):
            raise InvalidArgument(f"got {clips.shape}")
        self.batches.append(len(clips))
        means = clips.astype(np.float32).mean(axis=(2, 3))  # (B, T, 3)
        light = means.mean(axis=(1, 2)) / 255
        every = {"colours": means.reshape(len(clips), -1), "logits": np.stack([1 - light, light], axis=1)}
        return {name: every[name] for name in outputs or ("colours",)}


def model(
    name: str = "colours", *, outputs: tuple[str, ...] = ("colours",), mode: Mode = "tiled", encoder=Colours, **clip
) -> Model:
    spec = row(name, **clip)
    made = encoder(spec)
    return Model(
        made, outputs, ClipSpec(**{f: getattr(spec.clip, f) for f in spec.clip.__slots__} | {"mode": mode})
    )
