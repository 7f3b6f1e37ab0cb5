"""A model anyone can check: a clip is its mean colour, a text the colour it names. Used through the catalog."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reelspace.core.clips import ClipSpec
from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec, Preprocessing, Weights

SIDE = 16
WORDS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}


def row(name: str = "colour-words", *, frames: int = 4, spacing_seconds: float = 0.1) -> EncoderSpec:
    return EncoderSpec(
        name,
        "made-up",
        "colour_words:colour_words",
        ClipSpec(frames, spacing_seconds, clips=2),
        Preprocessing("shortest", SIDE, SIDE),
        {"colour": 3, "logits": 3},
        Weights(licence="CC0-1.0", commercial=True),
        "nobody 2026",
        text_output="colour",
        labels=None,
    )


def colour_words(spec: EncoderSpec, checkpoint: Checkpoint) -> ColourWords:
    return ColourWords(spec, checkpoint.digest)


class ColourWords:
    labels = ("red", "green", "blue")

    def __init__(self, spec: EncoderSpec, digest: str) -> None:
        self.spec = spec
        self.digest = digest

    def encode(self, clips: np.ndarray, *, outputs: Sequence[str] = ()) -> dict[str, np.ndarray]:
        colour = clips.astype(np.float32).mean(axis=(1, 2, 3)) / 255
        return {name: {"colour": colour, "logits": 10 * colour}[name] for name in outputs or ("colour",)}

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        named = [[WORDS.get(word, (0, 0, 0)) for word in text.split()] for text in texts]
        return np.array([np.sum(colours, axis=0) for colours in named], np.float32)
