"""Hiera for video: a hierarchical transformer in which pooling and attention inside units are all there is.

Source: Ryali et al. 2023, arXiv:2306.00989; weights by facebookresearch/hiera@b12b842. The trunk is in
`reelspace.encoders.hiera_blocks`.

Outputs of a clip of 16 frames:

- ``terminal``: the last stage, averaged over time and space. It is *not* passed through ``norm``: that layer
  belongs to the classifier, was never trained in ``mae_k400`` (it is at its initial values there), and is no L2
  norm. The fine-tuned rows leave it out as well, so that the word means the same for all, and what it means in the
  FiftyOne plugin; their ``logits`` have it.
- ``hierarchical``: all four stages, averaged and concatenated. The stages differ in scale, so the concatenation is
  not of unit length by parts.
- ``logits``: of the fine-tuned rows alone, before the softmax.
- maps ``stage1`` to ``stage4``: (B, T/2, H', W', C) in spatial order, 56 x 56 down to 7 x 7 for 224 pixels.

The stages were pre-trained with one pooling less (`models.hiera_mae`): a ``mae_k400`` checkpoint in this network
pools before its last stage, where it was never taught to. The paper fine-tunes from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.hiera_blocks import Trunk, layer_norm, load_trunk, trunk_options
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError

__all__ = ["Hiera", "hiera"]

_HEAD = ("norm.", "head.")
_DECODER = ("encoder_norm.", "multi_scale_fusion_heads.", "mask_token", "decoder_")


class Hiera(Trunk):
    """The trunk and, with ``classes``, the classifier."""

    def __init__(self, *, classes: int | None = None, **trunk: Any) -> None:
        super().__init__(**trunk)
        if classes is not None:
            self.norm = layer_norm(self.dims[-1])
            self.head = nn.ModuleDict({"projection": nn.Linear(self.dims[-1], classes)})

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """The outputs and maps asked for of normalised clips (B, T, 3, H, W)."""
        stages = self.stages(pixels)
        found = self.outputs(stages, outputs)
        if "logits" in outputs:
            found["logits"] = self.head["projection"](self.norm(self.mean(stages[-1])))
        return found


def hiera(row: EncoderSpec, checkpoint: Checkpoint) -> Hiera:
    """The network of a row: with its classifier where the row has ``logits``.

    Other rows load both the hub's ``mae_k400`` files, which hold a classifier nobody trained, and the official
    ``mae_*.pth``, which hold a decoder: either is left aside.

    Raises:
        FormatError: when the checkpoint does not fit, or holds no trained classifier for a row with ``logits``.
    """
    classes = row.outputs.get("logits")
    unused = () if classes else _HEAD + _DECODER
    network = load_trunk(lambda: Hiera(classes=classes, **trunk_options(row)), row, checkpoint, unused=unused)
    if classes and bool((network.norm.weight == 1).all()):
        raise FormatError(
            f"{row.name}: the classifier in this checkpoint was never trained (norm.weight is 1 throughout, as "
            "initialised), so its logits mean nothing; use the '-mae' row, or a fine-tuned checkpoint"
        )
    return network
