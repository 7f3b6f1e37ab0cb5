"""Pictures drawn by formula: what a frame descriptor learns from, so that it needs nobody's footage.

A scene is a random field (about 1/f, as natural pictures are), sometimes a fractal or a grating, under a stack of
opaque and soft shapes ("dead leaves", Lee, Mumford and Huang 2001), writing and light. Every scene is drawn twice,
as two frames of one film: the camera and the light stay about the same, the nearer shapes have moved, or others
have come. The two frames are different pictures to the descriptor: its hardest negatives.

All arithmetic is batched torch on one device, and follows from the generator's seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["INGREDIENTS", "Draw", "glyphs", "scenes", "smooth_field"]

INGREDIENTS = {
    "shapes": "opaque and soft shapes over the field",
    "grain": "textures and bars on the shapes",
    "patterns": "gratings and Julia sets",
    "writing": "lines of made-up glyphs in the scene",
    "light": "light from one side, exposure and contrast of its own, spots of light on black",
    "second frames": "a second frame of each film, a hard negative; else another film",
}
"""What scenes are made of and can be left out, to see what it brings (benchmarks/descriptor_ablation.py)."""


_LEAVES = 14  # opaque shapes per scene
_SOFT = 2  # shapes with soft edges
_CHUNK = 32  # frames drawn at once: planes of a chunk stay in the processor's cache


@dataclass(frozen=True)
class Draw:
    """Random numbers on one device, from one generator."""

    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where the numbers lie."""
        return self.generator.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Even between two bounds."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def chance(self, *shape: int, of: float) -> torch.Tensor:
        """1.0 with a probability, else 0.0."""
        return (torch.rand(shape, generator=self.generator, device=self.device) < of).float()

    def some(self, count: int, *, of: float) -> torch.Tensor:
        """A share of the indices below a number, at least one, in no order."""
        return torch.randperm(count, generator=self.generator, device=self.device)[: max(1, round(count * of))]


def smooth_field(draw: Draw, count: int, channels: int, side: int, falloff: torch.Tensor) -> torch.Tensor:
    """Random fields whose octaves fall off by a factor each: (count, channels, side, side).

    Args:
        draw: the random numbers.
        count: how many.
        channels: of each.
        side: pixels, a multiple of 32.
        falloff: (count, 1, 1, 1), the amplitude of an octave over that of the next coarser one.
    """
    small = side // 32
    field = draw.normal(count, channels, small, small)
    amplitude = torch.ones_like(falloff)
    while small < side:
        small *= 2
        amplitude = amplitude * falloff
        field = F.interpolate(field, size=(small, small), mode="bilinear", align_corners=False)
        field = field + draw.normal(count, channels, small, small) * amplitude
    return field


def glyphs(draw: Draw, count: int, side: int) -> torch.Tensor:
    """Lines of made-up writing in a box each: (count, 1, side, side), 1 where there is ink."""
    cells = 48
    ink = draw.chance(count, 1, cells, cells, of=0.55)
    row, column = torch.arange(cells, device=draw.device), torch.arange(cells, device=draw.device)
    gaps = ((row % 7) < 5).float()[:, None] * ((column % 4) < 3).float()[None, :]  # 3 x 5 cells per glyph
    words = draw.chance(count, 1, 1, cells // 4, of=0.8).repeat_interleave(4, dim=3)
    centre, size = (
        draw.uniform(count, 2, 1, 1, low=-0.9, high=0.9),
        draw.uniform(count, 2, 1, 1, low=0.08, high=0.7),
    )
    y, x = _plane(side, draw.device)
    inside = ((x - centre[:, :1]).abs() < size[:, :1]) & ((y - centre[:, 1:]).abs() < size[:, 1:] * 0.5)
    zoom = draw.uniform(count, 1, 1, low=0.35, high=1.0)
    at = torch.stack([(x * zoom).expand(count, side, side), (y * zoom).expand(count, side, side)], dim=3)
    return F.grid_sample(ink * gaps * words, at, mode="bilinear", align_corners=False) * inside


def scenes(draw: Draw, count: int, *, side: int = 96, without: Collection[str] = ()) -> torch.Tensor:
    """Two frames of each of some made-up films, side by side: float32 (2 * count, 3, side, side) in [0, 1].

    Args:
        draw: the random numbers.
        count: of films.
        side: pixels, a multiple of 32.
        without: `INGREDIENTS` to leave out.
    """
    if "second frames" in without:
        return scenes(draw, 2 * count, side=side, without=set(without) - {"second frames"})[::2]
    films = _CHUNK // 2
    drawn = [_film(draw, min(films, count - first), side, without) for first in range(0, count, films)]
    return torch.cat(drawn)


def _plane(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of each pixel in [-1, 1]: (side, side) each."""
    line = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return y, x


def _pairs(once: torch.Tensor) -> torch.Tensor:
    """(n, ...) -> (2n, ...): both frames of each film alike."""
    return once.repeat_interleave(2, dim=0)


def _film(draw: Draw, n: int, side: int, without: Collection[str]) -> torch.Tensor:
    """Both frames of n films: (2n, 3, side, side)."""
    y, x = _plane(side, draw.device)
    picture = _pairs(_background(draw, n, side, without))
    if "shapes" not in without:
        texture = _pairs(smooth_field(draw, n, 3, side, draw.uniform(n, 1, 1, 1, low=0.5, high=1.1)))
        moved = draw.normal(n, 2).repeat_interleave(2, dim=0) * 0.25  # of the camera, between the frames
        moved[::2] = 0.0
        picture = _leaves(draw, picture, texture, moved, without)
        for _ in range(_SOFT):
            picture = _soft_shape(draw, picture, y, x)
    if "writing" not in without:
        ink = _pairs(glyphs(draw, n, side)) * _pairs(draw.chance(n, 1, 1, 1, of=0.25))
        picture = picture * (1 - ink) + _pairs(draw.normal(n, 3, 1, 1) * 2) * ink
    return _lit(draw, picture, without)


def _background(draw: Draw, n: int, side: int, without: Collection[str]) -> torch.Tensor:
    """A coloured field, in some a grating or a fractal: (n, 3, side, side)."""
    y, x = _plane(side, draw.device)
    field = smooth_field(draw, n, 3, side, draw.uniform(n, 1, 1, 1, low=0.4, high=0.95))
    gray = draw.uniform(n, 1, 1, 1).sqrt()  # natural pictures differ in brightness more than in hue
    field = field * (1 - 0.8 * gray) + field.mean(dim=1, keepdim=True) * 1.4 * gray
    if "patterns" not in without:
        field = field + _grating(draw, field[:, 0], y, x)[:, None] * draw.normal(n, 3, 1, 1)
        fractal = max(1, n // 6)
        field[:fractal] += _julia(draw, fractal, y, x)
    if "light" not in without:
        fall = draw.normal(n, 3, 2, 1, 1) * 0.7  # light that comes from one side, sky over ground
        field = field + fall[:, :, 0] * x + fall[:, :, 1] * y
    return field


def _grating(draw: Draw, bend: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Stripes, soft or hard, bent by a field, in a fifth of the pictures: (n, side, side)."""
    n = len(bend)
    angle, phase = draw.uniform(n, 1, 1, high=math.pi), draw.uniform(n, 1, 1, high=6.3)
    waves = torch.exp(draw.uniform(n, 1, 1, low=1.0, high=3.4))
    grating = torch.sin(waves * (x * angle.cos() + y * angle.sin()) + phase + bend * draw.uniform(n, 1, 1))
    hard = draw.chance(n, 1, 1, of=0.5)
    grating = grating * (1 - hard) + torch.tanh(6 * grating) * hard
    return grating * draw.chance(n, 1, 1, of=0.2)


def _julia(draw: Draw, n: int, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Colours along the orbits of z -> z^2 + c: (n, 3, side, side)."""
    zoom, turn = draw.uniform(n, 1, 1, low=0.3, high=1.4), draw.uniform(n, 1, 1, high=6.3)
    real, imaginary = draw.normal(2, n, 1, 1) * 0.4
    a, b = x * zoom + real, y * zoom + imaginary
    c, d = 0.8 * turn.cos(), 0.8 * turn.sin()
    escape = torch.zeros_like(a)
    for _ in range(9):
        a, b = (a * a - b * b + c).clamp(-4, 4), (2 * a * b + d).clamp(-4, 4)
        escape = escape + torch.exp(-(a * a + b * b))
    tones = draw.uniform(n, 3, 1, 1, low=0.5, high=3.0), draw.uniform(n, 3, 1, 1, high=6.3)
    return 1.5 * torch.sin(escape[:, None] * tones[0] + tones[1])


def _leaves(
    draw: Draw, picture: torch.Tensor, texture: torch.Tensor, moved: torch.Tensor, without: Collection[str]
) -> torch.Tensor:
    """Opaque shapes over the pictures, the later the nearer; in the second frame near ones moved, or are others."""
    y, x = _plane(picture.shape[-1], draw.device)
    frames, films = len(picture), len(picture) // 2
    near = torch.linspace(0, 1, _LEAVES, device=draw.device)
    own = draw.uniform(films, _LEAVES)  # a film's shape stays, moves, or is another in the second frame
    fresh = _pairs((own < 0.45 * near + 0.15).float())
    walks = _pairs(((own > 0.6) & (near > 0.3)).float())
    first = torch.zeros(frames, 1, device=draw.device)
    first[::2] = 1.0
    fresh, walks = fresh * (1 - first), walks * (1 - first)

    def chosen(values: torch.Tensor) -> torch.Tensor:
        """Per frame (frames, leaves, ...): the film's own value, or a new one where the shape is another."""
        kept = _pairs(values[::2])
        mask = fresh.reshape(frames, _LEAVES, *[1] * (values.ndim - 2))
        return kept * (1 - mask) + values * mask

    centre = chosen(draw.uniform(frames, _LEAVES, 2, low=-1.1, high=1.1))
    centre = centre + moved[:, None] * near[:, None] + draw.normal(frames, _LEAVES, 2) * walks[:, :, None] * 0.4
    largest = _pairs(draw.uniform(films, 1, 1, low=0.25, high=1.0))
    size = chosen(draw.uniform(frames, _LEAVES, 2) ** 2 * largest + 0.04)
    angle = chosen(draw.uniform(frames, _LEAVES, 1, high=math.pi) * draw.chance(frames, _LEAVES, 1, of=0.6))[..., 0]
    kind = chosen(draw.uniform(frames, _LEAVES, 1))[..., 0]
    missing = _pairs((draw.uniform(films, _LEAVES) > draw.uniform(films, 1, low=0.25, high=1.2)).float())
    size = size * (1 - missing[:, :, None]) + 1e-4 * missing[:, :, None]
    cos, sin = angle.cos(), angle.sin()

    top = torch.zeros(frames, *y.shape, dtype=torch.int64, device=draw.device)  # 0: the background
    u_top, v_top = torch.zeros_like(picture[:, 0]), torch.zeros_like(picture[:, 0])
    for leaf in range(_LEAVES):
        dx, dy = x - centre[:, leaf, 0, None, None], y - centre[:, leaf, 1, None, None]
        c, s = cos[:, leaf, None, None], sin[:, leaf, None, None]
        u = (dx * c + dy * s) / size[:, leaf, 0, None, None]
        v = (dy * c - dx * s) / size[:, leaf, 1, None, None]
        round_, k = u * u + v * v, kind[:, leaf, None, None]
        box = torch.maximum(u.abs(), v.abs())
        triangle = torch.maximum(u.abs() + v * 0.5 + 0.5, v.abs())
        inside = torch.where(k < 0.45, round_, torch.where(k < 0.8, box, triangle)) < 1
        top = torch.where(inside, leaf + 1, top)
        u_top, v_top = torch.where(inside, u, u_top), torch.where(inside, v, v_top)

    colour = chosen(draw.normal(frames, _LEAVES, 3) * 0.45 + draw.normal(frames, _LEAVES, 1) * 1.1)
    shade = chosen(draw.normal(frames, _LEAVES, 2) * 0.5)
    grain = chosen(draw.uniform(frames, _LEAVES, 1) ** 2 * 0.9)
    bars = chosen(draw.normal(frames, _LEAVES, 1) * 4) * chosen(draw.chance(frames, _LEAVES, 1, of=0.25))
    if "grain" in without:
        grain, bars = torch.zeros_like(grain), torch.zeros_like(bars)
    table = torch.cat([colour, shade, grain, bars], dim=2)  # (frames, leaves, 7)
    table = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
    looked_up = table.gather(1, top.reshape(frames, -1, 1).expand(-1, -1, table.shape[2]))
    planes = looked_up.transpose(1, 2).reshape(frames, 7, *y.shape)
    light = planes[:, 3] * u_top + planes[:, 4] * v_top + torch.sin(planes[:, 6] * u_top * 3) * 0.7
    leaves = planes[:, :3] + light[:, None] + planes[:, 5:6] * texture
    return torch.where((top > 0)[:, None], leaves, picture)


def _soft_shape(draw: Draw, picture: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A translucent ellipse with soft edges, the film's own, over both its frames."""
    films = len(picture) // 2
    cx, cy, sx, sy = _pairs(draw.uniform(films, 4, 1, 1)).unbind(dim=1)
    distance = ((x - cx * 2 + 1) / (sx * 0.7 + 0.1)) ** 2 + ((y - cy * 2 + 1) / (sy * 0.7 + 0.1)) ** 2
    mask = torch.sigmoid((1 - distance) * _pairs(draw.uniform(films, 1, 1, low=1, high=8)))
    mask = (mask * _pairs(draw.uniform(films, 1, 1) * draw.chance(films, 1, 1, of=0.6)))[:, None]
    return picture * (1 - mask) + _pairs(draw.normal(films, 3, 1, 1) * 1.3) * mask


def _lit(draw: Draw, picture: torch.Tensor, without: Collection[str]) -> torch.Tensor:
    """Brought to [0, 1] by a film's own exposure, some under a spot of light on black."""
    films = len(picture) // 2
    picture = picture - picture.mean(dim=(1, 2, 3), keepdim=True)
    picture = picture / (picture.std(dim=(1, 2, 3), keepdim=True) + 1e-3)
    if "light" in without:
        return torch.sigmoid(picture)
    contrast = torch.exp(draw.normal(films, 1, 1, 1) * 0.4 + 0.2)
    exposure = draw.normal(films, 1, 1, 1) * 0.7
    bright = torch.sigmoid(picture * _pairs(contrast) + _pairs(exposure))
    spot = smooth_field(draw, films, 1, picture.shape[-1], torch.full((films, 1, 1, 1), 0.2, device=draw.device))
    dark = draw.chance(films, 1, 1, 1, of=0.25)
    return bright * _pairs(torch.sigmoid(spot * 4 + 0.5) * dark + 1 - dark)
