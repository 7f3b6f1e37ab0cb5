"""The masked autoencoder that Hiera is pre-trained as: it sees a tenth of the mask units and guesses the others.

Source: Ryali et al. 2023, arXiv:2306.00989, section 3 and appendix; He et al. 2021, arXiv:2111.06377; weights
``mae_hiera_*_16x224.pth`` by facebookresearch/hiera@b12b842.

A mask unit is 2 frames x 32 x 32 pixels. The decoder gives, for each 16 x 16 patch of a unit, the pixels of the
*first* of its two frames, normalised by the mean and deviation of the true patch. A picture can therefore only be
made with the help of the original: `reconstruct` scales each guess by the true patch's mean and deviation, and
shows it in both frames.

The trunk pools once less than the classifier's: its last stage has 14 x 14 tokens for 224 pixels. ``terminal``,
``hierarchical`` and the maps are read from it as it was pre-trained, with all units visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.hiera_blocks import (
    PATCH,
    Block,
    Trunk,
    from_units,
    layer_norm,
    load_trunk,
    to_units,
    trunk_options,
)
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument

__all__ = ["MaskedHiera", "hiera_mae"]

_POOLS = 2
_MASK_RATIO = 0.9  # of video; the paper's table 4
_EPSILON = 1e-6


class Targets(NamedTuple):
    """What the decoder is to say of each patch, and what its pixels are normalised by.

    Attributes:
        pixels: (B, T', H', W', 16 * 16 * 3), rows, columns, channels: of mean 0 and variance 1 in each patch.
        mean: (B, T', H', W', 1).
        deviation: likewise.
    """

    pixels: Tensor
    mean: Tensor
    deviation: Tensor


class Fusion(nn.Module):
    """Takes a finer stage to the last one's resolution and width: one linear map of the tokens under each.

    The published tensors are those of a convolution as large as its stride.
    """

    def __init__(self, dim: int, dim_out: int, *, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.weight = nn.Parameter(torch.zeros(dim_out, dim, 1, 1 << levels, 1 << levels))
        self.bias = nn.Parameter(torch.zeros(dim_out))

    def forward(self, stage: Tensor) -> Tensor:
        """(B, U, N, C) -> (B, U, N / 4**levels, D)."""
        kernel = to_units(self.weight.movedim(1, -1), self.levels)  # (D, 1, n, n, C) -> (D, 1, n * n, C)
        x = stage.unflatten(2, (-1, 4**self.levels)).flatten(3)  # (B, U, N / n**2, n * n * C)
        return F.linear(x, kernel.flatten(1), self.bias)


class MaskedHiera(Trunk):
    """The trunk with its decoder.

    Args:
        decoder_dim: channels of the decoder.
        decoder_heads: of its attention.
        decoder_depth: its blocks.
        trunk: the arguments of `Trunk`.
    """

    def __init__(self, *, decoder_dim: int, decoder_heads: int, decoder_depth: int, **trunk: Any) -> None:
        super().__init__(**trunk, pools=_POOLS)
        tokens = self.units * 4 ** self.levels[-1]
        self.patch = PATCH[1] << _POOLS  # pixels a side
        self.encoder_norm = layer_norm(self.dims[-1])
        self.multi_scale_fusion_heads = nn.ModuleList(
            Fusion(self.dims[i], self.dims[-1], levels=_POOLS - i) for i in range(_POOLS)
        )
        self.decoder_embed = nn.Linear(self.dims[-1], decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, tokens, decoder_dim))
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, decoder_dim, decoder_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = layer_norm(decoder_dim)
        self.decoder_pred = nn.Linear(decoder_dim, self.patch**2 * 3)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """The outputs and maps asked for of normalised clips (B, T, 3, H, W), all units visible."""
        return self.outputs(self.stages(pixels), outputs)

    def predict(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """The normalised pixels of every patch, guessed from the units that are not hidden.

        Args:
            pixels: (B, T, 3, H, W), normalised.
            hidden: bool (B, units), the same number in each row.

        Returns:
            (B, T', H', W', 16 * 16 * 3), as `Targets`; meant where hidden.
        """
        stages = self.stages(pixels, ~hidden)
        x = stages[-1]  # the stage before it has the same resolution, and is not read
        for fuse, stage in zip(self.multi_scale_fusion_heads, stages, strict=False):
            x = x + fuse(stage)
        seen = self.decoder_embed(self.encoder_norm(x))  # (B, U, n, D)

        # All units in their places, the hidden ones filled with one learned token.
        x = self.mask_token.expand(len(seen), self.units, seen.shape[2], -1).clone()
        x[~hidden] = seen.flatten(0, 1)
        rows, columns = (size << self.levels[-1] for size in self.grid[1:])
        places = self.decoder_pos_embed.view(1, self.grid[0], rows, columns, -1)
        x = (x + to_units(places, self.levels[-1])).flatten(1, 2)  # (B, units * n, D)
        for block in self.decoder_blocks:
            x = block(x)
        x = self.decoder_pred(self.decoder_norm(x))
        return from_units(x.unflatten(1, (self.units, -1)), self.grid)

    def targets(self, pixels: Tensor) -> Targets:
        """What `predict` should have said of clips (B, T, 3, H, W); in float32."""
        x = pixels[:, :: PATCH[0]].float()  # "time strided loss": the first frame of each token
        x = x.unflatten(4, (-1, self.patch)).unflatten(3, (-1, self.patch))  # (B, T', 3, H', p, W', p)
        x = x.permute(0, 1, 3, 5, 4, 6, 2).flatten(4)  # (B, T', H', W', p * p * 3)
        mean = x.mean(-1, keepdim=True)
        deviation = (x.var(-1, keepdim=True) + _EPSILON).sqrt()
        return Targets((x - mean) / deviation, mean, deviation)

    def reconstruct(
        self, pixels: Tensor, *, mask: Tensor | None, mask_ratio: float | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The guess (B, T, 3, H, W), what was hidden (B, T, H, W), and the loss (B,); see `Network`.

        Args:
            pixels: (B, T, 3, H, W), normalised.
            mask: bool (B, units), True where hidden; units of 2 frames x 32 x 32 pixels in the order of time, rows,
                columns. The same number in each row.
            mask_ratio: of the units that are hidden where there is no mask; None for 0.9.
            generator: of the CPU, to draw them.

        Returns:
            The loss is the mean square over the pixels of hidden patches, both sides normalised by patch.

        Raises:
            InvalidArgument: for a mask of another shape, or one that hides no unit, all, or not the same number of
                each clip.
        """
        hidden = self._drawn(len(pixels), mask_ratio, generator) if mask is None else mask
        hidden = self._checked(hidden.to(pixels.device), len(pixels))
        guess, true = self.predict(pixels, hidden).float(), self.targets(pixels)
        seen = to_units(((guess - true.pixels) ** 2).mean(-1, keepdim=True), self.levels[-1])  # (B, units, n, 1)
        loss = seen[hidden].view(len(pixels), -1).mean(1)

        x = (guess * true.deviation + true.mean).unflatten(4, (self.patch, self.patch, 3))
        x = x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5).flatten(3, 4)  # (B, T', 3, H' * p, W' * p)
        x = x.repeat_interleave(PATCH[0], 1)
        masked = self.unit_pixels(hidden)
        return torch.where(masked.unsqueeze(2), x, pixels.float()), masked, loss

    def _drawn(self, clips: int, mask_ratio: float | None, generator: torch.Generator) -> Tensor:
        ratio = _MASK_RATIO if mask_ratio is None else mask_ratio
        if not 0 < ratio < 1:
            raise InvalidArgument(f"mask_ratio is a share between 0 and 1, got {ratio}")
        kept = int(self.units * (1 - ratio))
        order = torch.rand(clips, self.units, generator=generator).argsort(1)
        return torch.ones(clips, self.units, dtype=torch.bool).scatter(1, order[:, :kept], value=False)

    def _checked(self, hidden: Tensor, clips: int) -> Tensor:
        if hidden.shape != (clips, self.units):
            raise InvalidArgument(
                f"a mask of {clips} clips is ({clips}, {self.units}), for {' x '.join(map(str, self.grid))} units, "
                f"got {tuple(hidden.shape)}"
            )
        counts = hidden.sum(1)
        if not bool((counts == counts[0]).all()) or not 0 < int(counts[0]) < self.units:
            raise InvalidArgument(
                f"a mask hides some of the {self.units} units, as many of each clip, got {counts.tolist()}"
            )
        return hidden


def hiera_mae(row: EncoderSpec, checkpoint: Checkpoint) -> MaskedHiera:
    """The network of a row.

    Raises:
        FormatError: when the checkpoint does not fit: the hub's ``mae_k400`` files, which have no decoder, do not.
    """
    decoder = {name: row.options[name] for name in ("decoder_dim", "decoder_heads", "decoder_depth")}
    return load_trunk(lambda: MaskedHiera(**decoder, **trunk_options(row)), row, checkpoint)
