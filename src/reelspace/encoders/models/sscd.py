"""SSCD: a descriptor of pictures for copy detection (Pizzi et al. 2022, arXiv 2202.10261).

A ResNet-50, generalized mean pooling, a linear layer, unit length. Loads the ``.torchvision.pt`` files of
facebookresearch/sscd-copy-detection, whose names are torchvision's behind ``backbone.``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.resnet import RESNET50, Bottleneck, ResNet, fold_batch_norms
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.tensors import load_strictly, read_tensors

__all__ = ["Sscd", "gem", "sscd"]

_POWER = 3.0  # of every published checkpoint; not in the files
_SMALLEST = 1e-6


def gem(x: torch.Tensor, power: float = _POWER) -> torch.Tensor:
    """Generalized mean (Radenovic et al. 2018, Eq. 3): (B, C, H, W) -> float32 (B, C).

    ``mean(max(x, 1e-6) ** p) ** (1 / p)``, in float32 whatever comes: half precision holds no cubes of activations.
    """
    return x.float().clamp(min=_SMALLEST).pow(power).mean(dim=(2, 3)).pow(1 / power)


class Sscd(nn.Module):
    """The net. ``backbone.fc`` is the linear layer to the descriptor, as in the checkpoint.

    Args:
        depths: blocks per stage.
        width: channels of the first stage.
        dimensions: of the descriptor.
    """

    def __init__(self, *, depths: Sequence[int] = RESNET50, width: int = 64, dimensions: int = 512) -> None:
        super().__init__()
        self.backbone = ResNet(Bottleneck, depths, width=width, classes=dimensions)

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """Clips of one picture (B, 1, 3, H, W) -> ``frames`` (B, D) of unit length."""
        maps = self.backbone(pixels[:, 0].contiguous(memory_format=torch.channels_last))
        frames = F.normalize(self.backbone.fc(gem(maps).to(maps.dtype)).float(), dim=1)
        return dict.fromkeys(outputs, frames)


def sscd(row: EncoderSpec, checkpoint: Checkpoint) -> Sscd:
    """The network of a row; options ``depths`` and ``width`` are for other nets than ResNet-50.

    Raises:
        FormatError: when the checkpoint is not that of the net.
    """
    (path,) = checkpoint.files.values()
    with torch.device("meta"):
        network = Sscd(**row.options, dimensions=row.outputs["frames"])
    load_strictly(network, read_tensors(path), where=path)
    fold_batch_norms(network.eval())
    network.to(memory_format=torch.channels_last)
    return network
