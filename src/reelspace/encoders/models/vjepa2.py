"""V-JEPA 2: a video transformer that learned to predict its own features (Assran et al. 2025, arXiv 2506.09985).

transformers runs it. There is no class token: a clip is the mean of its tokens after the last LayerNorm. The
classifiers are attentive probes on the frozen encoder. The predictor of pre-training is loaded, to be sure that the
checkpoint fits, and let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import VJEPA2ForVideoClassification, VJEPA2Model

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import label_names_of, load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError

__all__ = ["VJepa2", "load"]


def load(row: EncoderSpec, checkpoint: Checkpoint) -> nn.Module:
    """The network of a row, with its probe where the row has ``logits``."""
    classes = row.outputs.get("logits")
    model = load_pretrained(VJEPA2Model if classes is None else VJEPA2ForVideoClassification, checkpoint, row)
    # Positions are counted on a grid of crop_size, whatever size comes in. The number of frames is free.
    sizes = {"crop_size": row.preprocessing.side, "hidden_size": row.outputs["pooled"]}
    require_config(row, model.config, **(sizes if classes is None else sizes | {"num_labels": classes}))
    if row.clip.frames % model.config.tubelet_size:
        raise FormatError(
            f"{row.name}: frames come in groups of {model.config.tubelet_size}, and the row's clip has "
            f"{row.clip.frames}; the last would be dropped without a word"
        )
    if classes is None:
        return VJepa2(model.encoder, None)
    return VJepa2(model.vjepa2.encoder, nn.Sequential(model.pooler, model.classifier))


class VJepa2(nn.Module):
    """Encoder and probe; None where the checkpoint has none."""

    def __init__(self, encoder: Any, probe: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.probe = probe

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names of the checkpoint."""
        return label_names_of(self.encoder.config)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """As `load.Network`: ``pooled`` (B, D), ``logits`` (B, classes), ``tokens`` (B, T/2 * H/16 * W/16, D)."""
        tokens = self.encoder(pixels).last_hidden_state
        found = {"tokens": tokens, "pooled": tokens.mean(1)}
        if self.probe is not None and "logits" in outputs:
            found["logits"] = self.probe(tokens)
        return {name: found[name] for name in outputs}
