"""A network of one number: mean colours times it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reelspace.core.clips import ClipSpec
from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec, Preprocessing, Weights

drift = 0.0  # what an upgrade of something underneath may do


class Colours(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(3.0))
        self.runs = 0

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        self.runs += 1
        made = {"colour": pixels.mean(dim=(1, 3, 4)) * self.gain + drift}  # (B, T, 3, H, W) -> (B, 3)
        return {name: made[name] for name in outputs}

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text)), 1.0, drift] for text in texts])


def colours(row: EncoderSpec, checkpoint: Checkpoint) -> Colours:
    return Colours()


ROW = EncoderSpec(
    name="colours-4x16",
    family="colours",
    factory="tiny_network:colours",
    clip=ClipSpec(4, 0.2),
    preprocessing=Preprocessing("shortest", 16, crop=16),
    outputs={"colour": 3},
    weights=Weights(),
    paper="nobody",
    text_output="colour",
)
