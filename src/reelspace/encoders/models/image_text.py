"""CLIP, SigLIP and SigLIP 2 (of fixed size): single pictures and texts in one space.

Radford et al. 2021 (arXiv:2103.00020), Zhai et al. 2023 (arXiv:2303.15343), Tschannen et al. 2025
(arXiv:2502.14786).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import CLIPModel, SiglipModel

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.texts import CLIP, SIGLIP, SIGLIP2, TextReader
from reelspace.errors import UnknownName

__all__ = ["ImageText", "image_text"]

# SigLIP 2 of fixed size is SigLIP with other weights and another tokenizer; its files call themselves siglip.
_KINDS = {"clip": (CLIPModel, CLIP), "siglip": (SiglipModel, SIGLIP), "siglip2": (SiglipModel, SIGLIP2)}


def image_text(row: EncoderSpec, checkpoint: Checkpoint) -> ImageText:
    """The network of a row; its option ``kind`` is ``clip``, ``siglip`` or ``siglip2``.

    Raises:
        FormatError: when the checkpoint does not fit.
        UnknownName: for another kind.
    """
    kind = row.options["kind"]
    if kind not in _KINDS:
        raise UnknownName(f"kind of image-text model for {row.name}", kind, _KINDS)
    model_class, rule = _KINDS[kind]
    model = load_pretrained(model_class, checkpoint, row)
    dimensions = "projection_dim" if kind == "clip" else "hidden_size"
    whole = model.config if kind == "clip" else model.config.vision_config
    require_config(row, whole, **{dimensions: row.outputs["frames"]})
    require_config(row, model.config.vision_config, image_size=row.preprocessing.side)
    length = model.config.text_config.max_position_embeddings
    return ImageText(model, TextReader(checkpoint, row, rule, length=length))


class ImageText(torch.nn.Module):
    """Unit vectors of pictures and of texts: their product is the model's logit before its scale and bias."""

    def __init__(self, model: Any, reader: TextReader) -> None:
        super().__init__()
        self.model = model
        self._read = reader

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """``frames`` (B, D) of pictures (B, 1, 3, H, W)."""
        found = self.model.get_image_features(pixel_values=pixels.flatten(0, 1))
        # Since transformers 5 this is a whole output; the projected vector is its pooler_output.
        return dict.fromkeys(outputs, F.normalize(found.pooler_output.float(), dim=-1))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, D) in the space of ``frames``."""
        found = self.model.get_text_features(**self._read(texts, device=self.model.device))
        return F.normalize(found.pooler_output.float(), dim=-1)
