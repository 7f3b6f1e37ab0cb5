"""What happens to pictures on their way into another film: the edits a frame descriptor learns to see through.

Every edit is drawn at random, batched, on the device of the pictures. `light` is how a library holds a picture,
`strong` what a copy of it may look like.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from reelspace.training.images import Draw, glyphs

__all__ = ["SIDE", "light", "strong"]

SIDE = 64
"""Rows and columns of an edited picture: what the net reads."""


def light(draw: Draw, pictures: torch.Tensor) -> torch.Tensor:
    """The pictures as a library holds them: scaled down, hardly cropped, coded. (N, 3, S, S) -> (N, 3, 64, 64)."""
    n = len(pictures)
    scale = draw.uniform(n, 2, low=0.94, high=1.0)
    offset = draw.uniform(n, 2, low=-1, high=1) * (1 - scale)
    zeros = torch.zeros(n, device=draw.device)
    matrix = torch.stack(
        [
            torch.stack([scale[:, 0], zeros, offset[:, 0]], 1),
            torch.stack([zeros, scale[:, 1], offset[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, [n, 3, SIDE, SIDE], align_corners=False)
    seen = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    seen = _blurred(draw, seen, of=0.2)
    return (seen + draw.normal(*seen.shape) * draw.uniform(n, 1, 1, 1, high=0.015)).clamp(0, 1)


def strong(draw: Draw, pictures: torch.Tensor, *, strength: float = 1.0) -> torch.Tensor:
    """The pictures cut, turned, shrunk, set among others and re-coloured: (N, 3, S, S) -> (N, 3, 64, 64).

    Picture ``i`` may stand on the picture half a batch further, so that one is not a stranger to it.

    Args:
        draw: the random numbers.
        pictures: in [0, 1].
        strength: 0 to 1, of the geometry and the colours; training begins with little.
    """
    seen = _placed(draw, pictures, strength)
    seen = _recoloured(draw, seen, strength)
    seen = _blurred(draw, seen, of=0.35)
    seen = _overlaid(draw, seen, strength)
    return _coded(draw, seen, strength).clamp(0, 1)


def _placed(draw: Draw, pictures: torch.Tensor, strength: float) -> torch.Tensor:
    """Geometry: where each pixel of the new picture comes from, and what stands where nothing does."""
    n, device = len(pictures), draw.device
    zeros, ones = torch.zeros(n, device=device), torch.ones(n, device=device)

    # A crop shows 40 to 100 % of the area; a shrunk picture fills 1 / (factor across x factor down) of the new one.
    shrunk = draw.chance(n, of=0.35)[:, None]
    share = 1 - draw.uniform(n, 1, high=0.6) * strength
    aspect = draw.uniform(n, 1, low=-0.3, high=0.3) * strength
    crop = (share.sqrt() * torch.exp(torch.cat([aspect, -aspect], 1))).clamp(max=1.0)
    whole = draw.chance(n, 1, of=0.35)
    crop = crop * (1 - whole) + whole
    factor = 1 + draw.uniform(n, 1, high=1.1) * strength
    way = draw.uniform(n, 1)  # bars above and below, at the sides, or all around
    across = torch.where(way < 0.3, torch.ones_like(factor), factor * torch.exp(draw.normal(n, 1) * 0.06))
    down = torch.where((way > 0.3) & (way < 0.6), torch.ones_like(factor), factor)
    grown = torch.cat([across, down], 1).clamp(min=1.0)
    scale = crop * (1 - shrunk) + grown * shrunk
    place = draw.uniform(n, 2, low=-1, high=1)
    edge = draw.chance(n, 1, of=0.35)
    place = place * (1 - edge) + place.sign() * edge  # in a corner, side by side
    centred = draw.chance(n, 1, of=0.3)
    offset = place * (1 - centred) * (scale - 1).abs()

    angle = draw.normal(n) * 0.14 * strength * draw.chance(n, of=0.3)
    angle = angle + (torch.floor(draw.uniform(n, low=1, high=4)) * (math.pi / 2)) * draw.chance(
        n, of=0.15 * strength
    )
    tall = torch.exp(draw.uniform(n, low=-0.6, high=0.6))  # films are not square: turning shears what the net reads
    tall = torch.where(angle.abs() > 0.7, ones, tall)
    mirror = 1 - 2 * draw.chance(n, of=0.3)
    cos, sin = angle.cos(), angle.sin()
    tilt = draw.normal(n, 2) * 0.18 * strength * draw.chance(n, 1, of=0.2)

    line = (torch.arange(SIDE, device=device) + 0.5) * (2 / SIDE) - 1
    v, u = torch.meshgrid(line, line, indexing="ij")
    u, v = u.reshape(1, -1), v.reshape(1, -1)
    x, y = u * scale[:, :1] + offset[:, :1], v * scale[:, 1:] + offset[:, 1:]
    x, y = cos[:, None] * x - (sin * tall)[:, None] * y, (sin / tall)[:, None] * x + cos[:, None] * y
    depth = (1 + tilt[:, :1] * x + tilt[:, 1:] * y).clamp(min=0.3)
    x, y = x / depth * mirror[:, None], y / depth
    grid = torch.stack([x, y], 2).reshape(n, SIDE, SIDE, 2)
    seen = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    outside = ((x.abs() > 1) | (y.abs() > 1)).reshape(n, 1, SIDE, SIDE).float()

    # Around it: black, white, a colour, the picture itself blurred and enlarged, or another picture.
    pick = draw.uniform(n, 1, 1, 1)
    plain = torch.where(pick < 0.35, zeros[:, None, None, None], draw.uniform(n, 3, 1, 1))
    plain = torch.where((pick > 0.35) & (pick < 0.45), ones[:, None, None, None], plain)
    small = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    own = F.interpolate(F.avg_pool2d(small, 8), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    around = torch.where(pick > 0.6, own, plain.expand_as(own))
    around = torch.where(pick > 0.72, small.roll(n // 2, dims=0), around)
    return seen * (1 - outside) + around * outside


def _recoloured(draw: Draw, seen: torch.Tensor, strength: float) -> torch.Tensor:
    """Gamma, contrast, brightness, colour casts, grey, sepia."""
    n = len(seen)
    seen = seen.clamp(1e-3, 1) ** torch.exp(draw.normal(n, 1, 1, 1) * 0.35 * strength)
    weights = torch.tensor([0.299, 0.587, 0.114], device=draw.device).reshape(1, 3, 1, 1)
    gray = (seen * weights).sum(1, keepdim=True)
    colours = draw.uniform(n, 1, 1, 1, low=0.5, high=1.3)  # more or less saturated
    kind = draw.uniform(n, 1, 1, 1)
    colours = torch.where(kind < 0.3, torch.zeros_like(colours), colours)
    tint = draw.normal(n, 3, 1, 1) * 0.06 * strength
    brown = torch.tensor([0.15, 0.03, -0.15], device=draw.device).reshape(1, 3, 1, 1)
    tint = tint + brown * (kind < 0.08).float()
    seen = gray + (seen - gray) * colours + tint
    contrast = torch.exp(draw.uniform(n, 1, 1, 1, low=-0.6, high=0.35) * strength)
    return (seen - 0.5) * contrast + 0.5 + draw.normal(n, 1, 1, 1) * 0.08 * strength


def _blurred(draw: Draw, seen: torch.Tensor, *, of: float) -> torch.Tensor:
    """Some pictures as they look after being small: at half or a quarter of the size, up again."""
    n, side = len(seen), seen.shape[-1]
    pick = draw.uniform(n, 1, 1, 1)
    half = F.avg_pool2d(seen, 2)
    blurred = F.interpolate(half, size=(side, side), mode="bilinear", align_corners=False)
    seen = torch.where(pick < of, blurred, seen)
    quarter = F.interpolate(F.avg_pool2d(half, 2), size=(side, side), mode="bilinear", align_corners=False)
    return torch.where(pick < of * 0.3, quarter, seen)


def _overlaid(draw: Draw, seen: torch.Tensor, strength: float) -> torch.Tensor:
    """Logos, stickers, captions."""
    n, side = len(seen), seen.shape[-1]
    line = (torch.arange(side, device=draw.device) + 0.5) * (2 / side) - 1
    for _ in range(2):
        centre, size = draw.uniform(n, 2, 1, low=-1, high=1), draw.uniform(n, 2, 1, low=0.05, high=0.4)
        rows = ((line - centre[:, 0]).abs() < size[:, 0]).float()
        columns = ((line - centre[:, 1]).abs() < size[:, 1]).float()
        mask = (rows[:, :, None] * columns[:, None, :] * draw.chance(n, 1, 1, of=0.2 * strength))[:, None]
        seen = seen * (1 - mask) + draw.uniform(n, 3, 1, 1) * mask
    some = n // 6
    ink = glyphs(draw, some, side)
    colour = draw.uniform(some, 3, 1, 1, low=-0.3, high=1.3).clamp(0, 1)
    which = torch.arange(some, device=draw.device) * 6 + 3
    written = seen[which] * (1 - ink) + colour * ink
    return seen.index_copy(0, which, written)


def _coded(draw: Draw, seen: torch.Tensor, strength: float) -> torch.Tensor:
    """Noise, blocks of strong compression, the stripes and lines of a filmed screen."""
    n, side = len(seen), seen.shape[-1]
    noise = draw.uniform(n, 1, 1, 1) ** 2 * 0.14 * strength
    seen = seen + draw.normal(*seen.shape) * noise
    blocks = F.interpolate(F.avg_pool2d(seen, 4), size=(side, side), mode="nearest")
    levels = draw.uniform(n, 1, 1, 1, low=4, high=16)
    blocks = blocks + torch.round((seen - blocks) * levels) / levels
    seen = torch.where(draw.uniform(n, 1, 1, 1) < 0.2 * strength, blocks, seen)
    line = torch.arange(side, device=draw.device) * 1.0
    turn, waves = draw.uniform(n, 1, 1, high=math.pi), draw.uniform(n, 1, 1, low=0.2, high=2.5)
    stripes = torch.sin((line[:, None] * turn.cos() + line[None, :] * turn.sin()) * waves)
    return seen + (stripes * draw.chance(n, 1, 1, of=0.06 * strength) * 0.08)[:, None]
