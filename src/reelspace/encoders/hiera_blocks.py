"""The trunk that Hiera and its masked autoencoder share: patches, blocks, stages.

Source: Ryali et al. 2023, "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles",
arXiv:2306.00989; weights by facebookresearch/hiera@b12b842, whose tensor names are kept.

Tokens are kept in the order of *mask units* from the first layer on: a unit is 8 x 8 tokens of one moment, and its
tokens are ordered coarse to fine, like the digits of a number: which quarter of the unit, which quarter of that,
which quarter again. So the four tokens that are pooled into one are neighbours, attention inside units is a batch
of short sequences, and neither needs to move memory. The original orders fine to coarse with the units innermost,
which makes its attention 5-D, and fused kernels want 4-D. Attention does not care about the order of tokens: the
results are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.tensors import load_strictly, read_tensors
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["PATCH", "Block", "Trunk", "from_units", "layer_norm", "load_trunk", "to_units", "trunk_options"]

PATCH = (2, 4, 4)  # frames, rows, columns from one token to the next
_KERNEL, _PADDING = (3, 7, 7), (1, 3, 3)
_LEVELS = 3  # a mask unit is 2**3 x 2**3 tokens
_LOCAL_STAGES = 2  # the stages whose attention stays inside units

# How many units go through the local blocks at once. On a CPU: what its caches hold and what malloc hands out again
# without new pages from the kernel (blocks of under 32 MiB); elsewhere: what one launch of the fused kernels takes.
_UNITS_AT_ONCE = {"cpu": 49}
_UNITS_PER_LAUNCH = 16384

_Network = TypeVar("_Network", bound=nn.Module)


def layer_norm(dim: int) -> nn.LayerNorm:
    """The paper's: epsilon 1e-6."""
    return nn.LayerNorm(dim, eps=1e-6)


class Attention(nn.Module):
    """Attention among the tokens of a sequence; queries may be pooled, the maximum of each ``pool`` neighbours."""

    def __init__(self, dim: int, dim_out: int, heads: int, *, pool: int = 1) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, dim) -> (S, N / pool, dim_out)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (S, N, 3, heads, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (S, heads, N, D)
        q = _pooled(q, self.pool)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))  # (S, heads, N', D) -> (S, N', heads * D)


class Mlp(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and two layers, each added to what came in. Where the width changes, the way past is projected."""

    def __init__(self, dim: int, dim_out: int, heads: int, *, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.norm1 = layer_norm(dim)
        self.attn = Attention(dim, dim_out, heads, pool=pool)
        self.norm2 = layer_norm(dim_out)
        self.mlp = Mlp(dim_out, 4 * dim_out)
        self.proj = nn.Linear(dim, dim_out) if dim != dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """(S, N, dim) -> (S, N / pool, dim_out)."""
        normed = self.norm1(x)
        if self.proj is not None:
            x = _pooled(self.proj(normed), self.pool)
        x = x + self.attn(normed)
        return x + self.mlp(self.norm2(x))


class Trunk(nn.Module):
    """From pixels to the four stages.

    Args:
        frames: of a clip: even.
        side: of its square pictures: a multiple of 32 pixels.
        embed_dim: channels of the first stage; each stage doubles them.
        heads: of the first stage; doubled likewise.
        stages: blocks per stage.
        pools: how many of the steps between stages pool tokens, four to one: 3; the masked autoencoder leaves out
            the last one.

    Raises:
        InvalidArgument: for clips that are no whole number of mask units.
    """

    def __init__(
        self, *, frames: int, side: int, embed_dim: int, heads: int, stages: Sequence[int], pools: int = 3
    ) -> None:
        super().__init__()
        if frames % PATCH[0] or side % (PATCH[1] << _LEVELS):
            raise InvalidArgument(f"Hiera reads an even number of frames of n * 32 pixels, got {frames} of {side}")
        rows = side // PATCH[1]
        self.grid = (frames // PATCH[0], rows >> _LEVELS, rows >> _LEVELS)  # of mask units
        self.units = math.prod(self.grid)
        self.dims = tuple(embed_dim << i for i in range(len(stages)))
        self.ends = [sum(stages[: i + 1]) - 1 for i in range(len(stages))]
        self.levels = [_LEVELS - min(i, pools) for i in range(len(stages))]  # a unit is 2**level tokens a side

        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, embed_dim, _KERNEL, PATCH, _PADDING)})
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, rows * rows, embed_dim))
        self.pos_embed_temporal = nn.Parameter(torch.zeros(1, self.grid[0], embed_dim))
        self.blocks = nn.ModuleList()
        for stage, blocks in enumerate(stages):
            for i in range(blocks):
                enters = stage > 0 and i == 0
                self.blocks.append(
                    Block(
                        self.dims[stage - enters],
                        self.dims[stage],
                        heads << stage,
                        pool=4 if enters and stage <= pools else 1,
                    )
                )
        # The first block of a stage pools, and attends in the manner of the stage before: on its resolution.
        self.local = sum(stages[:_LOCAL_STAGES]) + 1

    def stages(self, pixels: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """What each stage ends with, not normalised.

        Args:
            pixels: (B, T, 3, H, W), normalised.
            visible: bool (B, units), the same number in each row: the mask units that are looked at. None: all.

        Returns:
            (B, U, 4**level, C) per stage, of the U visible units.
        """
        x = self._tokens(pixels, visible)  # (B, U, 64, C)
        batch, units = x.shape[:2]
        at_once = _UNITS_AT_ONCE.get(x.device.type, _UNITS_PER_LAUNCH)
        parts = [self._local_stages(part) for part in x.flatten(0, 1).split(at_once)]
        found = [torch.cat(part).unflatten(0, (batch, units)) for part in zip(*parts, strict=True)]
        x = found.pop().flatten(1, 2)  # (B, U, N, C) -> (B, U * N, C): from here on all tokens of a clip attend
        for i, block in enumerate(self.blocks[self.local :], self.local):
            x = block(x)
            if i in self.ends:
                found.append(x.unflatten(1, (units, -1)))
        return found

    def outputs(self, stages: Sequence[Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """``terminal``, ``hierarchical`` and the maps ``stage1``.. of all units, in their place."""
        found: dict[str, Tensor] = {}
        for name in wanted:
            if name == "terminal":
                found[name] = self.mean(stages[-1])
            elif name == "hierarchical":
                found[name] = torch.cat([self.mean(stage) for stage in stages], dim=1)
            elif name.startswith("stage"):
                found[name] = from_units(stages[int(name.removeprefix("stage")) - 1], self.grid)
        return found

    @staticmethod
    def mean(stage: Tensor) -> Tensor:
        """(B, units, N, C) -> (B, C): over time and space."""
        return stage.flatten(1, 2).mean(1)

    def _tokens(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(B, T, 3, H, W) -> (B, U, 64, C)."""
        if visible is not None:  # kernels overlap: what is hidden must not leak into what is seen
            pixels = pixels * self.unit_pixels(visible).unsqueeze(2)
        x = self.patch_embed["proj"](pixels.transpose(1, 2))  # (B, C, T', H', W')
        space = self.pos_embed_spatial.view(1, 1, *x.shape[3:], -1)
        time = self.pos_embed_temporal.view(1, -1, 1, 1, x.shape[1])
        x = to_units(x.movedim(1, -1) + (space + time), _LEVELS)
        return x if visible is None else x[visible].unflatten(0, (len(x), -1))

    def _local_stages(self, x: Tensor) -> list[Tensor]:
        """What the local stages end with, and the first block of the next: (U, N, C) each."""
        found = []
        for i, block in enumerate(self.blocks[: self.local]):
            x = block(x)
            if i in self.ends:
                found.append(x)
        return [*found, x]

    def unit_pixels(self, flags: Tensor) -> Tensor:
        """(B, units) -> (B, T, H, W): each unit's flag at its pixels."""
        x = flags.unflatten(1, self.grid)
        for dim, times in enumerate((PATCH[0], PATCH[1] << _LEVELS, PATCH[2] << _LEVELS), 1):
            x = x.repeat_interleave(times, dim)
        return x


def to_units(x: Tensor, levels: int) -> Tensor:
    """(B, T, H, W, C) -> (B, units, 4**levels, C): units of 2**levels tokens a side, tokens coarse to fine."""
    batch, moments, rows, columns, channels = x.shape
    halves = (2,) * levels
    x = x.reshape(batch, moments, rows >> levels, *halves, columns >> levels, *halves, channels)
    y, x_ = range(3, 3 + levels), range(4 + levels, 4 + 2 * levels)
    pairs = [dim for pair in zip(y, x_, strict=True) for dim in pair]
    x = x.permute(0, 1, 2, 3 + levels, *pairs, 4 + 2 * levels)  # (B, T, h, w, y, x, y, x, .., C)
    return x.reshape(batch, -1, 4**levels, channels)


def from_units(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(B, units, 4**levels, C) -> (B, T, H, W, C): the inverse of `to_units`, for a grid of T x h x w units."""
    batch, _, tokens, channels = x.shape
    levels = tokens.bit_length() // 2
    x = x.reshape(batch, *grid, *(2,) * (2 * levels), channels)
    y, x_ = range(4, 4 + 2 * levels, 2), range(5, 5 + 2 * levels, 2)
    x = x.permute(0, 1, 2, *y, 3, *x_, 4 + 2 * levels)  # (B, T, h, y, y, .., w, x, x, .., C)
    return x.reshape(batch, grid[0], grid[1] << levels, grid[2] << levels, channels)


def trunk_options(row: EncoderSpec) -> dict[str, Any]:
    """The arguments of `Trunk` that a row gives: its clip and picture size, and its ``options``."""
    side = row.preprocessing.side
    if side is None:
        raise InvalidArgument(f"{row.name}: Hiera reads squares of one size, and its preprocessing gives others")
    names = ("embed_dim", "heads", "stages")
    return {"frames": row.clip.frames, "side": side} | {name: row.options[name] for name in names}


def load_trunk(
    make: Callable[[], _Network], row: EncoderSpec, checkpoint: Checkpoint, *, unused: tuple[str, ...] = ()
) -> _Network:
    """A network with the weights of a checkpoint: every tensor has to be there, and to have its place and shape.

    Args:
        make: builds it; called where tensors take no memory.
        row: whose it is.
        checkpoint: one file: ``.safetensors`` of the hub, or a ``.pth`` with the weights under ``model_state``.
        unused: beginnings of the names of tensors the network has no use for.

    Raises:
        FormatError: when the file cannot be read, or a tensor is missing, unexpected, or of another shape.
    """
    (path,) = checkpoint.files.values()
    tensors = {name: value for name, value in _tensors_of(path, row).items() if not name.startswith(unused)}
    with torch.device("meta"):
        network = make()
    load_strictly(network, tensors, where=f"{row.name}: {path}")
    network.eval()
    return network


def _tensors_of(path: Path, row: EncoderSpec) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise FormatError(f"{row.name}: {path} cannot be read as weights: {error}; fetch it again") from error
    tensors = held.get("model_state") if isinstance(held, dict) else None
    if not isinstance(tensors, dict):
        raise FormatError(f"{row.name}: {path} has no 'model_state', where Hiera's .pth files keep their weights")
    return tensors


def _pooled(x: Tensor, pool: int) -> Tensor:
    """(..., N, C) -> (..., N / pool, C): the maximum of each ``pool`` neighbours."""
    return x if pool == 1 else x.unflatten(-2, (-1, pool)).amax(-2)
