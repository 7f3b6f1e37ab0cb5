"""What happens to pictures on their way into another film: the edits a frame descriptor learns to see through.

Every edit is drawn at random, batched, on the device of the pictures. `light` is how a library holds a picture,
`strong` what a copy of it may look like.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache

import torch
import torch.nn.functional as F

from reelspace.training.images import Draw, glyphs

__all__ = ["INGREDIENTS", "SIDE", "light", "strong"]

INGREDIENTS = {
    "crop": "40 to 100 % of the area, changed aspect",
    "surroundings": "bars, shrunk onto any background, pictures in pictures, side by side",
    "turns": "quarter turns and small rotations",
    "mirror": "left and right changed",
    "perspective": "seen from the side",
    "colours": "gamma, contrast, brightness, bleaching, casts, grey, sepia",
    "overlays": "stickers, logos, captions",
    "coding": "blur, noise, the stripes and glare of a filmed screen, strong compression",
}
"""What edits are made of and can be left out, to see what it brings (benchmarks/descriptor_ablation.py)."""

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


def strong(
    draw: Draw, pictures: torch.Tensor, *, strength: float = 1.0, without: Collection[str] = ()
) -> torch.Tensor:
    """The pictures cut, turned, shrunk, set among others and re-coloured: (N, 3, S, S) -> (N, 3, 64, 64).

    Every edit is drawn for itself, so most copies have had several. Picture ``i`` may stand on the picture half a
    batch further, so that one is not a stranger to it.

    Args:
        draw: the random numbers.
        pictures: in [0, 1].
        strength: 0 to 1, of the geometry and the colours; training begins with little.
        without: `INGREDIENTS` to leave out.
    """
    filmed = draw.chance(len(pictures), 1, of=0.08 * strength)  # off a screen
    seen = _placed(draw, pictures, filmed, strength, without)
    if "colours" not in without:
        seen = _recoloured(draw, seen, strength)
    if "coding" not in without:
        seen = _blurred(draw, seen, of=0.35)
    if "overlays" not in without:
        seen = _overlaid(draw, seen, strength)
    if "coding" not in without:
        seen = _coded(draw, seen, filmed, strength)
    return seen.clamp(0, 1)


def _placed(
    draw: Draw, pictures: torch.Tensor, filmed: torch.Tensor, strength: float, without: Collection[str]
) -> torch.Tensor:
    """Geometry: where each pixel of the new picture comes from, and what stands where nothing does."""
    n, device = len(pictures), draw.device
    one = torch.ones(n, 1, device=device)

    def share(ingredient: str, of: float) -> float:
        return 0.0 if ingredient in without else of

    # A shrunk picture fills 1 / (factor across x factor down) of the new one.
    shrunk = draw.chance(n, 1, of=share("surroundings", 0.35))
    beside = draw.chance(n, 1, of=0.2 * strength)  # of the shrunk: another picture has the other half
    factor = 1 + draw.uniform(n, 1, high=1.2) * strength
    factor = torch.where(beside > 0, 2 * one, factor)
    way = draw.uniform(n, 1) * (1 - 0.4 * beside)  # bars above and below, at the sides, or all around
    across = torch.where(way < 0.3, one, factor * torch.exp(draw.normal(n, 1) * 0.1 * (1 - beside)))
    down = torch.where((way > 0.3) & (way < 0.6), one, factor)
    grown = torch.cat([across, down], 1).clamp(min=1.0) * shrunk + 1 - shrunk
    place = draw.uniform(n, 2, low=-1, high=1)
    edge = torch.maximum(draw.chance(n, 1, of=0.35), beside)
    place = place * (1 - edge) + place.sign() * edge
    centred = draw.chance(n, 1, of=0.3) * (1 - beside)
    offset = place * (1 - centred) * (grown - 1)

    angle = draw.normal(n, 1) * 0.14 * strength * draw.chance(n, 1, of=share("turns", 0.3))
    quarters = torch.floor(draw.uniform(n, 1, low=1, high=4)) * (math.pi / 2)
    angle = angle + quarters * draw.chance(n, 1, of=share("turns", 0.15 * strength))
    tall = torch.exp(draw.uniform(n, 1, low=-0.6, high=0.6))  # films are not square: turning shears what is read
    tall = torch.where(angle.abs() > 0.7, one, tall)
    cos, sin = angle.cos(), angle.sin()
    aslant = torch.maximum(draw.chance(n, 1, of=0.2), filmed) * share("perspective", 1.0)
    tilt = draw.normal(n, 2) * 0.18 * strength * aslant

    # 40 to 100 % of the area is kept; of a shrunk picture more.
    area = 1 - draw.uniform(n, 1, high=0.6) * strength * (1 - 0.6 * shrunk)
    aspect = draw.uniform(n, 1, low=-0.3, high=0.3) * strength
    cropped = draw.chance(n, 1, of=share("crop", 0.65)) * (1 - shrunk * draw.chance(n, 1, of=0.5))
    crop = (area.sqrt() * torch.exp(torch.cat([aspect, -aspect], 1))).clamp(max=1.0) * cropped + 1 - cropped
    middle = draw.uniform(n, 2, low=-1, high=1) * (1 - crop)
    mirror = 1 - 2 * draw.chance(n, 1, of=share("mirror", 0.3))

    line = (torch.arange(SIDE, device=device) + 0.5) * (2 / SIDE) - 1
    v, u = torch.meshgrid(line, line, indexing="ij")
    x, y = u.reshape(1, -1) * grown[:, :1] + offset[:, :1], v.reshape(1, -1) * grown[:, 1:] + offset[:, 1:]
    x, y = cos * x - (sin * tall) * y, (sin / tall) * x + cos * y
    depth = (1 + tilt[:, :1] * x + tilt[:, 1:] * y).clamp(min=0.3)
    x, y = x / depth, y / depth  # in the cropped picture
    past = torch.maximum(x.abs(), y.abs()) > 1
    x, y = (x * crop[:, :1] + middle[:, :1]) * mirror, y * crop[:, 1:] + middle[:, 1:]  # in the whole one
    outside = torch.where(shrunk > 0, past, torch.maximum(x.abs(), y.abs()) > 1).reshape(n, 1, SIDE, SIDE)
    grid = torch.stack([x, y], 2).reshape(n, SIDE, SIDE, 2)
    seen = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return torch.where(outside, _surroundings(draw, pictures, beside[:, :, None, None]), seen)


def _surroundings(draw: Draw, pictures: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
    """Black, white, a colour, the picture itself blurred and enlarged, or another picture: (N, 3, 64, 64)."""
    n = len(pictures)
    pick = draw.uniform(n, 1, 1, 1)
    pick = 0.6 * beside + pick * (1 - 0.6 * beside)  # beside others stands a picture
    plain = draw.uniform(n, 3, 1, 1) * (pick > 0.35)
    plain = torch.where((pick > 0.35) & (pick < 0.45), torch.ones_like(plain), plain)
    small = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    own = F.interpolate(F.avg_pool2d(small, 8), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    around = torch.where(pick > 0.6, own, plain)
    return torch.where(pick > 0.72, small.roll(n // 2, dims=0), around)


def _recoloured(draw: Draw, seen: torch.Tensor, strength: float) -> torch.Tensor:
    """Gamma, contrast, brightness, bleaching, colour casts, grey, sepia."""
    n = len(seen)
    seen = seen.clamp(1e-3, 1) ** torch.exp(draw.normal(n, 1, 1, 1) * 0.35 * strength)
    weights = torch.tensor([0.299, 0.587, 0.114], device=draw.device).reshape(1, 3, 1, 1)
    gray = (seen * weights).sum(1, keepdim=True)
    colours = draw.uniform(n, 1, 1, 1, low=0.5, high=1.3)  # more or less saturated
    kind = draw.uniform(n, 1, 1, 1)
    colours = torch.where(kind < 0.3, torch.zeros_like(colours), colours)
    brown = torch.tensor([1.3, 1.15, 0.9], device=draw.device).reshape(1, 3, 1, 1)
    gain = torch.where(kind < 0.08, brown, torch.ones_like(brown))
    contrast = torch.exp(draw.uniform(n, 1, 1, 1, low=-0.6, high=0.45) * strength)
    bleached = draw.chance(n, 1, 1, 1, of=0.1) * draw.uniform(n, 1, 1, 1, low=-0.25, high=0.35)
    bright = 0.5 - 0.5 * contrast + (draw.normal(n, 1, 1, 1) * 0.08 + bleached) * strength
    tint = draw.normal(n, 3, 1, 1) * 0.06 * strength
    return (gray + (seen - gray) * colours) * (gain * contrast) + (bright + tint * contrast)


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
    """Stickers, round logos, captions."""
    n, side = len(seen), seen.shape[-1]
    line = (torch.arange(side, device=draw.device) + 0.5) * (2 / side) - 1
    for round_ in (False, True):
        centre, size = draw.uniform(n, 2, 1, low=-1, high=1), draw.uniform(n, 2, 1, low=0.05, high=0.4)
        rows, columns = (((line - centre) / size) ** 2).unbind(dim=1)  # (n, side) each
        rows, columns = rows[:, :, None], columns[:, None, :]
        inside = (rows + columns if round_ else torch.maximum(rows, columns)) < 1
        solid = draw.chance(n, 1, 1, of=0.2 * strength) * draw.uniform(n, 1, 1, low=0.6, high=1.4).clamp(max=1)
        mask = (inside * solid)[:, None]
        seen = seen * (1 - mask) + draw.uniform(n, 3, 1, 1) * mask
    which = draw.some(n, of=1 / 6)
    ink = glyphs(draw, len(which), side)
    colour = draw.uniform(len(which), 3, 1, 1, low=-0.3, high=1.3).clamp(0, 1)
    return seen.index_copy(0, which, seen[which] * (1 - ink) + colour * ink)


def _coded(draw: Draw, seen: torch.Tensor, filmed: torch.Tensor, strength: float) -> torch.Tensor:
    """Noise, the stripes and the glare of a filmed screen, strong compression."""
    n, side = len(seen), seen.shape[-1]
    noise = draw.uniform(n, 1, 1, 1) ** 2 * 0.14 * strength
    seen = seen + draw.normal(*seen.shape) * noise
    line = torch.arange(side, device=draw.device) * 1.0
    turn, waves = draw.uniform(n, 1, 1, high=math.pi), draw.uniform(n, 1, 1, low=0.2, high=2.5)
    along = line[:, None] * turn.cos() + line[None, :] * turn.sin()
    stripes = torch.sin(along * waves) * draw.uniform(n, 1, 1, low=0.04, high=0.15)
    glare = (along * (1 / side) - 0.5) * draw.normal(n, 1, 1) * 0.25
    seen = seen + ((stripes + glare) * filmed[:, :, None])[:, None]
    which = draw.some(n, of=0.2)
    return seen.index_copy(0, which, _compressed(draw, seen[which], strength))


def _compressed(draw: Draw, seen: torch.Tensor, strength: float) -> torch.Tensor:
    """Cosine transforms of 8 x 8 blocks, rounded, the higher the coarser and colour most, as codecs do."""
    n = len(seen)
    cosines, coarser = _block_cosines(seen.shape[-1], seen.device)
    step = torch.exp(draw.uniform(n, 1, 1, 1, low=math.log(0.04), high=math.log(0.35))) * strength
    gray = seen.mean(dim=1, keepdim=True)
    planes = torch.cat([gray, seen - gray], dim=1)  # (n, 4, side, side)
    colour = torch.tensor([1.0, 2.0, 2.0, 2.0], device=seen.device).reshape(1, 4, 1, 1)
    steps = step * colour * coarser
    planes = cosines.T @ (torch.round(cosines @ planes @ cosines.T / steps) * steps) @ cosines
    return planes[:, :1] + planes[:, 1:]


@cache
def _block_cosines(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """DCT-II of 8 pixels each along a line (side, side), and how much coarser each coefficient is rounded."""
    k = torch.arange(8.0)
    cosines = torch.cos((k[None, :] + 0.5) * k[:, None] * (math.pi / 8)) * 0.5
    cosines[0] *= math.sqrt(0.5)
    every = (torch.arange(side) % 8).float()
    coarser = 1 + 0.5 * (every[:, None] + every[None, :])
    return torch.block_diag(*[cosines] * (side // 8)).to(device), coarser.to(device)
