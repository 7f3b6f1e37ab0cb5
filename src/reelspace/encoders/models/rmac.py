"""RMAC: regional maximum activations of a ResNet-34, one vector per frame (Tolias et al. 2016, arXiv 1511.05879).

As in LAMV (Baraldi et al. 2018) and facebookresearch/videoalignment: the map of an inner layer, maxima over squares
of three sizes, each of unit length, whitened, of unit length again, summed, and the sum of unit length.

Where we differ from videoalignment, and why:

- frames come from the decoder, not from JPEG files in between: its numbers carry the noise of that round trip;
- a cut before the last stage gives that layer. There, leaving the loop over blocks does not leave the loop over
  stages, so that levels up to 27 run on through all later stages; those from 28, which are the used ones, agree;
- a region without any activation is zero, not NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pca import Pca, load_pca
from reelspace.encoders.resnet import RESNET34, BasicBlock, ResNet, fold_batch_norms, pooled
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.tensors import load_strictly, read_tensors
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["Rmac", "regions", "rmac"]

_OVERLAP = 0.4  # of neighbouring squares, about
_STEPS = np.arange(2, 8)  # how many squares along the longer side are considered


@lru_cache(maxsize=256)
def regions(height: int, width: int, levels: int = 3) -> tuple[tuple[int, int, int], ...]:
    """The squares of a map, (x, y, side) in its pixels, level by level, rows outer, columns inner.

    Level l has l squares along the shorter side, of side ``2 * min(H, W) / (l + 1)``; along the longer side as many
    more as bring the overlap of the largest squares nearest to 40 %. Small maps repeat squares, which then count
    more. Equal to the code of Tolias et al. as videoalignment runs it under numpy 2.
    """
    side, longer = min(height, width), max(height, width)
    apart = (longer - side) / (_STEPS - 1)
    steps = int(np.argmin(np.abs((side**2 - side * apart) / side**2 - _OVERLAP))) + 1
    more_down, more_across = (steps if height > width else 0), (steps if width > height else 0)
    found = []
    for level in range(1, levels + 1):
        square = max(1, math.floor(2 * side / (level + 1)))
        rows = _starts(height, square, level + more_down)
        columns = _starts(width, square, level + more_across)
        found += [(x, y, square) for y in rows for x in columns]
    return tuple(found)


def _starts(extent: int, square: int, count: int) -> list[int]:
    """Where ``count`` squares begin along a side, evenly from one end to the other."""
    half = math.floor(square / 2 - 1)
    apart = (extent - square) / (count - 1) if count > 1 else 0.0
    return [min(max(math.floor(half + apart * place) - half, 0), extent - square) for place in range(count)]


class Rmac(nn.Module):
    """The net up to a level, the regions of its map, and their whitening.

    Args:
        net: a ResNet of basic blocks; what lies behind the level is let go.
        level: videoalignment's numbering: 1 is the stem, then each block counts two, its inner activation and its
            output; 29 is the first block of the last stage: 512 channels at a 32nd of the picture.
        levels: of regions.
        pca: None for the sums without whitening, as Tolias et al. have them where nothing was learned.

    Attributes:
        dimensions: of the vector of a frame, K.

    Raises:
        InvalidArgument: when the net has no such level.
        FormatError: when the PCA is of vectors of another length than the map has channels.
    """

    def __init__(self, net: ResNet, *, level: int, levels: int, pca: Pca | None) -> None:
        super().__init__()
        blocks = [block for stage in net.stages() for block in stage]
        if not 1 <= level <= 1 + 2 * len(blocks):
            raise InvalidArgument(f"this net has levels 1 to {1 + 2 * len(blocks)}, got {level}")
        self.conv1, self.bn1 = net.conv1, net.bn1
        self.blocks = nn.ModuleList(blocks[: level // 2])
        self._ends_inside = level % 2 == 0
        self._levels = levels
        self._whitens = pca is not None
        channels: int = self.blocks[-1].conv1.out_channels if self.blocks else self.conv1.out_channels
        self.dimensions = channels
        if pca is not None:
            if len(pca.mean) != channels:
                raise FormatError(f"level {level} has {channels} channels, the PCA was fitted on {len(pca.mean)}")
            self.dimensions = len(pca.projection)
            self.register_buffer("mean", torch.from_numpy(pca.mean))
            self.register_buffer("projection", torch.from_numpy(pca.projection))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pictures (B, 3, H, W) -> the map at the level (B, C, h, w)."""
        x = F.relu(self.bn1(self.conv1(pixels.contiguous(memory_format=torch.channels_last))))
        if not self.blocks:
            return x
        x = pooled(x)
        for block in self.blocks[:-1]:
            x = block(x)
        last = self.blocks[-1]
        return last.inner(x) if self._ends_inside else last(x)

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Unit maxima over the regions: (B, C, h, w) -> float32 (B, R, C)."""
        squares = regions(maps.shape[2], maps.shape[3], self._levels)
        maxima = [maps[:, :, y : y + side, x : x + side].amax(dim=(2, 3)) for x, y, side in squares]
        return F.normalize(torch.stack(maxima, dim=1).float(), dim=2)

    def aggregate(self, regional: torch.Tensor) -> torch.Tensor:
        """Whitens the regions, float32 (B, R, C), and sums them up to unit vectors (B, K)."""
        if self._whitens:
            whitened = (regional - self.mean.float()) @ self.projection.float().T  # (B, R, C) -> (B, R, K)
            regional = F.normalize(whitened, dim=2)
        return F.normalize(regional.sum(dim=1), dim=1)

    def forward(self, pixels: torch.Tensor, outputs: Sequence[str]) -> dict[str, torch.Tensor]:
        """Clips of one picture (B, 1, 3, H, W) -> ``frames`` (B, K), ``regions`` (B, R, C) before the whitening."""
        regional = self.pool(self.features(pixels[:, 0]))
        found = {"regions": regional}
        if "frames" in outputs:
            found["frames"] = self.aggregate(regional)
        return {name: found[name] for name in outputs}


def rmac(row: EncoderSpec, checkpoint: Checkpoint) -> Rmac:
    """The network of a row.

    Options: ``weights`` and ``pca`` name files of the checkpoint (no ``pca``: no whitening); ``level`` and
    ``levels`` are those of `Rmac`; ``depths`` and ``width`` those of `ResNet`, where it is not a ResNet-34.

    Raises:
        FormatError: when the weights are not those of the net, or the PCA is not one of its regions.
    """
    options = row.options
    path = checkpoint.files[options["weights"]]
    with torch.device("meta"):
        net = ResNet(BasicBlock, options.get("depths", RESNET34), width=options.get("width", 64))
    load_strictly(net, read_tensors(path), where=path)
    pca = load_pca(checkpoint.files[options["pca"]]) if "pca" in options else None
    network = Rmac(net, level=options["level"], levels=options["levels"], pca=pca)
    if network.dimensions != row.outputs["frames"]:
        raise FormatError(
            f"{row.name} says {row.outputs['frames']} numbers a frame, its files {network.dimensions}"
        )
    fold_batch_norms(network.eval())
    network.to(memory_format=torch.channels_last)
    return network
