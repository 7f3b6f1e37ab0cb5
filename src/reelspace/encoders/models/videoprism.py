"""VideoPrism LVT: a frozen video encoder with a text tower beside it.

Zhao et al. 2024, "VideoPrism: A Foundational Visual Encoder for Video Understanding" (arXiv:2402.13217).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import VideoPrismClipModel

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.texts import VIDEOPRISM, TextReader

__all__ = ["VideoPrism", "videoprism"]


class _Clip(VideoPrismClipModel):
    # The sinusoids of the text tower are computed, whether or not a file holds them too.
    _keys_to_ignore_on_load_missing = (r"text_model\.embeddings\.position_(embedding|ids)$",)


def videoprism(row: EncoderSpec, checkpoint: Checkpoint) -> VideoPrism:
    """The network of a row.

    Raises:
        FormatError: when the checkpoint does not fit, or was made for another number of frames or size.
    """
    model = load_pretrained(_Clip, checkpoint, row)
    require_config(
        row,
        model.config.vision_config,
        num_frames=row.clip.frames,
        image_size=row.preprocessing.side,
        hidden_size=row.outputs["pooled"],
    )
    length = model.config.text_config.max_position_embeddings
    return VideoPrism(model, TextReader(checkpoint, row, VIDEOPRISM, length=length))


class VideoPrism(torch.nn.Module):
    """Unit vectors of clips and of texts. The model's own length is one as well, but for half precision."""

    def __init__(self, model: Any, reader: TextReader) -> None:
        super().__init__()
        self.model = model
        self._read = reader

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """``pooled`` (B, D) of clips (B, T, 3, H, W)."""
        found = self.model.get_video_features(pixel_values_videos=pixels).pooler_output
        found = found.squeeze(1)  # (B, 1, D) -> (B, D): the one query of the pooling stays in it
        return dict.fromkeys(outputs, F.normalize(found.float(), dim=-1))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, D) in the space of ``pooled``."""
        found = self.model.get_text_features(**self._read(texts, device=self.model.device))
        return F.normalize(found.pooler_output.float(), dim=-1)
