"""ViViT-B/16x2, all tokens attending to all (model 1 of Arnab et al. 2021, arXiv 2103.15691); transformers runs it.

A clip is its class token after the last LayerNorm, which is what the classifier reads. The pooler that transformers
adds has no weights in any checkpoint, and interpolating the positions is broken there, so neither is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import VivitForVideoClassification, VivitModel

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import label_names_of, load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec

__all__ = ["Vivit", "load"]


def load(row: EncoderSpec, checkpoint: Checkpoint) -> nn.Module:
    """The network of a row, with its classifier where the row has ``logits``."""
    sizes = {"num_frames": row.clip.frames, "image_size": row.preprocessing.side, "hidden_size": row.outputs["cls"]}
    if "logits" in row.outputs:
        model = load_pretrained(VivitForVideoClassification, checkpoint, row)
        require_config(row, model.config, num_labels=row.outputs["logits"], **sizes)
        return Vivit(model.vivit, model.classifier)
    backbone = load_pretrained(
        VivitModel, checkpoint, row, unused=(r"classifier\.", r"(vivit\.)?pooler\."), add_pooling_layer=False
    )
    require_config(row, backbone.config, **sizes)
    return Vivit(backbone, None)


class Vivit(nn.Module):
    """Backbone and classifier; None where the checkpoint has none."""

    def __init__(self, backbone: Any, classifier: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names of the checkpoint."""
        return label_names_of(self.backbone.config)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """As `load.Network`: ``cls`` (B, D), ``logits`` (B, classes), ``tokens`` (B, 1 + T/2 * H/16 * W/16, D)."""
        tokens = self.backbone(pixels).last_hidden_state
        found = {"tokens": tokens, "cls": tokens[:, 0]}
        if self.classifier is not None and "logits" in outputs:
            found["logits"] = self.classifier(found["cls"])
        return {name: found[name] for name in outputs}
