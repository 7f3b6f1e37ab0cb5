"""TimeSformer: attention in time, then in space (Bertasius et al. 2021, arXiv 2102.05095); transformers runs it.

A clip is its class token after the last LayerNorm, which is what the classifier reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import TimesformerForVideoClassification, TimesformerModel

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import label_names_of, load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec

__all__ = ["Timesformer", "load"]


def load(row: EncoderSpec, checkpoint: Checkpoint) -> nn.Module:
    """The network of a row, with its classifier where the row has ``logits``.

    The option ``channels``, ``rgb`` or ``bgr``, is the order the checkpoint was trained on.
    """
    # Its layers fold tokens by the config's frames and picture size, whatever they get: so both must be the row's.
    sizes = {"num_frames": row.clip.frames, "image_size": row.preprocessing.side, "hidden_size": row.outputs["cls"]}
    reverse = row.options.get("channels") == "bgr"
    if "logits" in row.outputs:
        model = load_pretrained(TimesformerForVideoClassification, checkpoint, row)
        require_config(row, model.config, num_labels=row.outputs["logits"], **sizes)
        return Timesformer(model.timesformer, model.classifier, reverse=reverse)
    backbone = load_pretrained(TimesformerModel, checkpoint, row, unused=(r"classifier\.",))
    require_config(row, backbone.config, **sizes)
    return Timesformer(backbone, None, reverse=reverse)


class Timesformer(nn.Module):
    """Backbone and classifier; None where the checkpoint has none.

    Args:
        backbone: of transformers.
        classifier: or None.
        reverse: the checkpoint reads blue, green, red. Mean and deviation are the same for the three, so the order
            may be turned after normalising.
    """

    def __init__(self, backbone: Any, classifier: nn.Module | None, *, reverse: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.reverse = reverse

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names of the checkpoint."""
        return label_names_of(self.backbone.config)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """As `load.Network`: ``cls`` (B, D), ``logits`` (B, classes), ``tokens`` (B, 1 + H/16 * W/16 * T, D)."""
        tokens = self.backbone(pixels.flip(2) if self.reverse else pixels).last_hidden_state
        found = {"tokens": tokens, "cls": tokens[:, 0]}
        if self.classifier is not None and "logits" in outputs:
            found["logits"] = self.classifier(found["cls"])
        return {name: found[name] for name in outputs}
