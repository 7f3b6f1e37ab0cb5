"""X-CLIP: CLIP whose frames exchange messages, with a transformer over time on top.

Ni et al. 2022, "Expanding Language-Image Pretrained Models for General Video Recognition" (arXiv:2208.02816).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import XCLIPModel

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.texts import CLIP, TextReader

__all__ = ["XClip", "xclip"]


def xclip(row: EncoderSpec, checkpoint: Checkpoint) -> XClip:
    """The network of a row.

    Raises:
        FormatError: when the checkpoint does not fit, or was made for another number of frames or size: the
            processor that lies beside the 336-pixel model crops to 224.
    """
    model = load_pretrained(XCLIPModel, checkpoint, row)
    require_config(row, model.config, projection_dim=row.outputs["pooled"])
    require_config(row, model.config.vision_config, num_frames=row.clip.frames, image_size=row.preprocessing.side)
    length = model.config.text_config.max_position_embeddings
    return XClip(model, TextReader(checkpoint, row, CLIP, length=length))


class XClip(torch.nn.Module):
    """Unit vectors of clips and of texts.

    The vector of a text is the plain one. In the paper's own scores a prompt generator also shows each text
    the video it is compared with; such vectors belong to one pair and cannot be searched for.
    """

    def __init__(self, model: Any, reader: TextReader) -> None:
        super().__init__()
        self.model = model
        self._read = reader

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """``pooled`` (B, D) of clips (B, T, 3, H, W)."""
        found = self.model.get_video_features(pixel_values=pixels)
        return dict.fromkeys(outputs, F.normalize(found.pooler_output.float(), dim=-1))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, D) in the space of ``pooled``."""
        found = self.model.get_text_features(**self._read(texts, device=self.model.device))
        return F.normalize(found.pooler_output.float(), dim=-1)
