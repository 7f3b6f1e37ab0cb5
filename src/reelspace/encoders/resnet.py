"""ResNet-34 and ResNet-50 in the layout of torchvision's checkpoints (He et al. 2016, arXiv 1512.03385).

The names of the tensors are those of ``torchvision.models.resnet``, which timm's ``*.tv_in1k`` files share. As
there, the stride of a bottleneck is in its 3x3 convolution ("v1.5"), not in the first 1x1 of the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["RESNET34", "RESNET50", "BasicBlock", "Bottleneck", "ResNet", "fold_batch_norms"]

RESNET34 = RESNET50 = (3, 4, 6, 3)
"""Blocks per stage: of `BasicBlock` in ResNet-34, of `Bottleneck` in ResNet-50."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width * self.expansion, stride)

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        """What lies between the two convolutions, after the ReLU."""
        return F.relu(self.bn1(self.conv1(x)), inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) -> (B, width, H / stride, W / stride)."""
        return F.relu(self.bn2(self.conv2(self.inner(x))) + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside the shortcut."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(channels_in, width * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        inner = F.relu(self.bn1(self.conv1(x)), inplace=True)
        inner = F.relu(self.bn2(self.conv2(inner)), inplace=True)
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x), inplace=True)


class ResNet(nn.Module):
    """The net up to its last map, and the linear layer ``fc`` that its checkpoints hold.

    Args:
        block: `BasicBlock` (ResNet-34) or `Bottleneck` (ResNet-50).
        depths: blocks in each of the four stages.
        width: channels of the first stage; each later one has twice as many.
        classes: rows of ``fc``.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], *, width: int = 64, classes: int = 1000
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, depth in enumerate(depths):
            blocks = []
            for place in range(depth):
                blocks.append(block(channels, width << stage, stride=2 if stage > 0 and place == 0 else 1))
                channels = (width << stage) * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def stages(self) -> Iterator[nn.Sequential]:
        """``layer1``, ``layer2``, ..."""
        return (child for name, child in self.named_children() if name.startswith("layer"))

    def stem(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, width, H / 2, W / 2), before the max-pooling."""
        return F.relu(self.bn1(self.conv1(pixels)), inplace=True)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pictures (B, 3, H, W) -> the map of the last stage (B, channels, H / 32, W / 32)."""
        x = pooled(self.stem(pixels))
        for stage in self.stages():
            x = stage(x)
        return x


def pooled(x: torch.Tensor) -> torch.Tensor:
    """The max-pooling between the stem and the first stage: (B, C, H, W) -> (B, C, H / 2, W / 2)."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


def fold_batch_norms(module: nn.Module) -> None:
    """Puts each batch norm into the convolution before it: the same net in evaluation, with fewer passes.

    The order of a module's children is that of the checkpoint: a norm follows its convolution.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous is not None:
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous = (name, child)


def _convolution(channels_in: int, channels_out: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, side, stride=stride, padding=side // 2, bias=False)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where the shape changes."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(_convolution(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))
