"""DINOv2: vectors of single pictures, learned without labels or texts.

Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision" (arXiv:2304.07193).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Dinov2Model

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError

__all__ = ["DinoV2", "dinov2"]


def dinov2(row: EncoderSpec, checkpoint: Checkpoint) -> DinoV2:
    """The network of a row.

    Raises:
        FormatError: when the checkpoint does not fit, or its patches do not tile the pictures of the row.
    """
    model = load_pretrained(Dinov2Model, checkpoint, row)
    require_config(row, model.config, hidden_size=row.outputs["frames"])
    side, patch = row.preprocessing.side, model.config.patch_size
    if side is None or side % patch:
        raise FormatError(
            f"{row.name}: patches of {patch} pixels do not tile pictures of {side}; the rest would be cut off "
            "without a word, so choose a multiple"
        )
    return DinoV2(model)


class DinoV2(torch.nn.Module):
    """The class token behind the last layer norm. Positions are interpolated from the 518 pixels of training."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """``frames`` (B, D) of pictures (B, 1, 3, H, W)."""
        return dict.fromkeys(outputs, self.model(pixels.flatten(0, 1)).pooler_output)
