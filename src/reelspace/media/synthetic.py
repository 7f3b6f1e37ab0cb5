"""Footage drawn by formula: clips nobody owns, and edited copies of them whose truth is known to the frame.

For the demonstration and for tests. The same seed gives the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtTimes
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import open_video
from reelspace.media.writer import VideoWriter

__all__ = ["EDITS", "PlantedCopy", "render_clips", "render_copies"]

Pixels = NDArray[np.uint8]
Scene = Callable[[float], Pixels]
"""From seconds since the cut to a picture, uint8 (H, W, 3)."""

_FORMATS = (  # width, height, frames per second
    (480, 270, Fraction(25)),
    (320, 240, Fraction(30)),
    (426, 240, Fraction(30000, 1001)),
    (270, 480, Fraction(30)),
    (384, 216, Fraction(24000, 1001)),
    (480, 270, Fraction(30000, 1001)),
)
_SCENE_SECONDS = 2.8


@dataclass(frozen=True, slots=True)
class PlantedCopy:
    """One stretch of a rendered file that shows footage of another.

    Attributes:
        query: the edited file.
        reference: the clip it was taken from.
        query_span: seconds of the edited file.
        reference_span: seconds of the clip, to within a frame.
        speed: reference seconds per query second.
        edit: what was done, a name in `EDITS`.
    """

    query: Path
    reference: Path
    query_span: Span
    reference_span: Span
    speed: float
    edit: str


def render_clips(
    folder: str | os.PathLike[str], *, count: int = 6, seconds: float = 11.0, scale: float = 1.0, seed: int = 0
) -> list[Path]:
    """Renders clips that share nothing: textured, moving, with cuts, in several sizes and frame rates.

    Args:
        folder: where to; made when it is not there.
        count: how many clips.
        seconds: mean length; the clips differ from it by up to a quarter.
        scale: 1 renders up to 480x270 pixels, 0.5 a quarter of them.
        seed: another seed, other clips.

    Raises:
        InvalidArgument: for fewer than one clip, or no length or size.
    """
    if count < 1 or seconds <= 0 or scale <= 0:
        raise InvalidArgument(f"clips have a count, length and scale above 0, got {count}, {seconds} and {scale}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip-{number + 1}.mp4" for number in range(count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and the codecs let go of the interpreter
        list(pool.map(lambda number: _render_clip(paths[number], number, seconds, scale, seed), range(count)))
    return paths


def render_copies(
    clips: Sequence[Path], folder: str | os.PathLike[str], *, edits: Sequence[str] | None = None
) -> list[PlantedCopy]:
    """Renders one edited copy per name in ``edits`` (default: all of `EDITS`), of each clip in turn.

    An edit that joins two clips gives several planted copies, one for each stretch.

    Raises:
        InvalidArgument: when there are fewer than two clips.
        UnknownName: for an edit that is not in `EDITS`.
    """
    names = list(EDITS) if edits is None else list(edits)
    for name in names:
        if name not in EDITS:
            raise UnknownName("edit", name, EDITS)
    if len(clips) < 2:
        raise InvalidArgument(f"copies are made of at least two clips, got {len(clips)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def render(number: int) -> list[PlantedCopy]:
        pair = clips[number % len(clips)], clips[(number + 1) % len(clips)]
        return _render_copy(pair, folder / f"{pair[0].stem}-{names[number]}.mp4", names[number])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [copy for copies in pool.map(render, range(len(names))) for copy in copies]


def _render_clip(path: Path, number: int, seconds: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng([seed, number])
    width, height, rate = _FORMATS[number % len(_FORMATS)]
    width, height = (2 * max(8, round(side * scale / 2)) for side in (width, height))
    frames = max(2, round(seconds * rng.uniform(0.75, 1.25) * rate))
    shots = max(2, round(frames / rate / _SCENE_SECONDS))
    # Cuts lie at uneven times; no scene follows one of its own kind.
    shares = rng.uniform(0.7, 1.3, shots)
    cuts = [0, *np.round(frames * np.cumsum(shares) / shares.sum()).astype(int)]
    first = int(rng.integers(len(_SCENES)))
    with VideoWriter(path, width, height, rate, crf=23, threads=1) as writer:
        for shot in range(shots):
            scene = _SCENES[(first + shot) % len(_SCENES)](rng, height, width)
            for frame in range(cuts[shot], cuts[shot + 1]):
                writer.write(scene(float((frame - cuts[shot]) / rate)))


# ── scenes ──


def _noise(rng: np.random.Generator, height: int, width: int, roughness: float) -> Pixels:
    """Cloudy noise that tiles: white noise weighted by frequency ** -roughness, spread evenly over 0..255."""
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    frequencies[0, 0] = np.inf
    field = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((height, width))) * frequencies**-roughness, (height, width)
    )
    ordered = np.sort(field, axis=None)[:: max(1, field.size // 256)]
    return np.asarray(np.searchsorted(ordered, field).clip(1, 256) - 1, np.uint8)


def _palette(rng: np.random.Generator, colours: int = 5) -> Pixels:
    """256 colours, uint8 (256, 3), blended between a few bold ones that go from dark to bright and back."""
    bold = rng.integers(0, 256, (colours, 3)) * np.linspace(0.25, 1, colours)[:, None]
    bold = rng.permutation(bold)
    ramp = np.linspace(0, colours - 1, 256)
    return np.stack([np.interp(ramp, range(colours), bold[:, c]) for c in range(3)], axis=-1).astype(np.uint8)


def _velocity(rng: np.random.Generator, width: int) -> tuple[float, float]:
    """Pixels per second along y and x: a twelfth to a sixth of the width each second, mostly sideways."""
    angle = rng.uniform(-0.7, 0.7) + rng.choice([0, np.pi])
    speed = width * rng.uniform(1 / 12, 1 / 6)
    return speed * np.sin(angle), speed * np.cos(angle)


def _window(texture: Pixels, y: float, x: float, height: int, width: int) -> Pixels:
    """The part of a tiling texture that is seen from (y, x)."""
    rows = (int(y) + np.arange(height)) % texture.shape[0]
    columns = (int(x) + np.arange(width)) % texture.shape[1]
    seen: Pixels = texture.take(rows, axis=0).take(columns, axis=1)
    return seen


def _clouds(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Two layers of noise that drift apart."""
    near, far = (_noise(rng, 2 * height, 2 * width, roughness) for roughness in (1.3, 1.9))
    palette, (vy, vx), (wy, wx) = _palette(rng), _velocity(rng, width), _velocity(rng, width)

    def scene(t: float) -> Pixels:
        a, b = _window(near, vy * t, vx * t, height, width), _window(far, wy * t, wx * t, height, width)
        return palette.take((a >> 1) + (b >> 1), axis=0)

    return scene


def _landscape(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Ridges one behind the other under a cloudy sky; the nearer, the faster."""
    sky, ground = _noise(rng, height, 2 * width, 1.7), _noise(rng, height, 2 * width, 0.9)
    colours = [_palette(rng, 3)]
    ridges = []
    for depth in range(4):
        outline = _noise(rng, 1, 2 * width, 1.2 + 0.1 * depth)[0] / 255
        top = height * (0.18 + 0.2 * depth + 0.3 * (outline - 0.5))
        ridges.append((top.astype(np.int32), width * 0.03 * 2**depth * rng.choice([-1, 1], p=[0.2, 0.8])))
        colours.append((_palette(rng, 2) * (0.45 + 0.15 * depth)).astype(np.uint8))
    palette = np.concatenate(colours)
    rows = np.arange(height)[:, None]

    def scene(t: float) -> Pixels:
        shades = _window(sky, 0, 0.04 * width * t, height, width).astype(np.uint16)
        for number, (top, speed) in enumerate(ridges, start=1):
            shift = int(speed * t)
            below = rows >= top[(np.arange(width) + shift) % len(top)]
            layer = _window(ground, 0, shift, height, width) + np.uint16(256 * number)
            np.copyto(shades, layer, where=below)
        return palette.take(shades, axis=0)

    return scene


def _shapes(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Discs, blocks and stripes that pass one another over a still ground; the larger, the nearer and faster."""
    ground = (_palette(rng, 3)[_noise(rng, height, width, 2.0)] // 2).astype(np.uint8)
    shapes = []
    for size in np.sort(rng.uniform(0.12, 0.5, 16)) * height:
        side = max(4, int(size))
        y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        tilt, phase = rng.uniform(0, np.pi), rng.uniform(0, 6)
        along = y * np.cos(tilt) + x * np.sin(tilt)
        across = x * np.cos(tilt) - y * np.sin(tilt)
        mask = ((y**2 + x**2 < 1), (abs(along) + abs(across) < 1), (abs(along) < 0.6) & (abs(across) < 0.8))[
            rng.integers(3)
        ]
        level = 127 + 127 * np.sin((3 + 6 * rng.random()) * along + phase) * rng.choice([0.2, 1])
        colours = _palette(rng, 2)[level.astype(np.uint8)]
        start = rng.uniform(0, width + side), rng.uniform(-0.3, 1) * height
        speed = rng.choice([-1, 1]) * 0.5 * width * size / height, height * rng.uniform(-0.05, 0.05)
        shapes.append((mask, colours, start, speed))

    def scene(t: float) -> Pixels:
        picture = ground.copy()
        for mask, colours, (x0, y0), (vx, vy) in shapes:
            side = len(mask)
            left, top = int((x0 + vx * t) % (width + side)) - side, int(y0 + vy * t)
            inside = slice(max(0, -top), max(0, height - top)), slice(max(0, -left), max(0, width - left))
            part = picture[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
            np.copyto(part, colours[inside], where=mask[inside][..., None])
        return picture

    return scene


def _turning(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A texture that turns and comes nearer about a point beside the middle."""
    side = 512
    texture, palette = _noise(rng, side, side, 1.25), _palette(rng)
    y0, x0 = height * rng.uniform(0.2, 0.8), width * rng.uniform(0.2, 0.8)
    y = (np.arange(height, dtype=np.float32) - y0)[:, None] * (360 / height)
    x = (np.arange(width, dtype=np.float32) - x0) * (360 / height)
    turn, zoom = rng.choice([-1, 1]) * rng.uniform(0.15, 0.35), rng.uniform(-0.05, 0.1)

    def scene(t: float) -> Pixels:
        sine, cosine = np.float32(np.sin(turn * t)), np.float32(np.cos(turn * t))
        nearer = np.float32(np.exp(-zoom * t))
        rows = (nearer * (cosine * y + sine * x)).astype(np.int32) & (side - 1)
        columns = (nearer * (cosine * x - sine * y)).astype(np.int32) & (side - 1)
        return palette.take(texture.take(rows * side + columns), axis=0)

    return scene


def _waves(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Five plane waves of light that run through one another."""
    palette = _palette(rng, 4)
    sine = (25 * np.sin(np.arange(256) / 128 * np.pi) + 25).astype(np.uint8)
    y, x = np.arange(height)[:, None] / height, np.arange(width) / height
    # Crests per picture height along y and x, and how many pass each second.
    waves = [(*rng.uniform(-2.5, 2.5, 2), rng.uniform(0.15, 0.45), rng.random()) for _ in range(5)]

    def scene(t: float) -> Pixels:
        levels = np.zeros((height, width), np.uint8)
        for along_y, along_x, speed, phase in waves:
            cycles = 256 * (along_y * y + along_x * x + speed * t + phase)
            levels += sine.take(cycles.astype(np.int32) & 255)
        return palette.take(levels, axis=0)

    return scene


def _windows(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A wall of panes, each with its own colour and slow pulse, that slides past behind a grille."""
    rows, columns = int(rng.integers(4, 8)), int(rng.integers(12, 20))
    colours = 50 + 0.75 * _palette(rng, 6)[rng.integers(0, 256, (rows, columns))]
    pulse, phase = rng.uniform(0.3, 2, (rows, columns)), rng.uniform(0, 2 * np.pi, (rows, columns))
    vy, vx = _velocity(rng, width)
    pane = height * 1.3 / rows
    texture = _noise(rng, height, width, 1.0)[..., None] // 4

    def scene(t: float) -> Pixels:
        lit = (colours * (0.55 + 0.45 * np.sin(pulse * t + phase))[..., None]).astype(np.uint8) // 4 * 3
        y, x = (np.arange(height) + 0.3 * vy * t) / pane, (np.arange(width) + vx * t) / pane
        picture = lit[y.astype(np.int32) % rows][:, np.floor(x).astype(np.int32) % columns] + texture
        picture[y % 1 < 0.1] //= 4
        picture[:, x % 1 < 0.1] //= 4
        return picture

    return scene


_SCENES: tuple[Callable[[np.random.Generator, int, int], Scene], ...] = (
    _clouds,
    _shapes,
    _turning,
    _landscape,
    _windows,
    _waves,
)


# ── copies ──


def _unchanged(pixels: Pixels) -> Pixels:
    return pixels


def _letterboxed(pixels: Pixels) -> Pixels:
    """Black bars above and below, a sixth of the height each."""
    bar = pixels.shape[0] // 6
    return np.pad(pixels, ((bar, bar), (0, 0), (0, 0)))


def _mirrored(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


def _grey_with_logo(pixels: Pixels) -> Pixels:
    """Rec. 601 luma, and a white ring in the upper right corner."""
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    height, width = grey.shape
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y - 0.16 * height, x - (width - 0.16 * height)) / height
    grey[(distance > 0.06) & (distance < 0.11)] = 250
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True, slots=True)
class _Edit:
    """How a copy is made: pieces of the clip (0) and of the next one (1), as shares of their lengths."""

    pieces: tuple[tuple[int, float, float], ...] = ((0, 0.0, 1.0),)
    speed: float = 1.0
    scale: float = 1.0
    crf: int = 23
    change: Callable[[Pixels], Pixels] = _unchanged


EDITS = {
    "trimmed": _Edit(pieces=((0, 0.2, 0.85),), crf=28),
    "inserted": _Edit(pieces=((1, 0.0, 0.4), (0, 0.25, 0.75), (1, 0.4, 1.0))),
    "letterboxed": _Edit(change=_letterboxed),
    "mirrored": _Edit(change=_mirrored),
    "faster": _Edit(speed=1.25),
    "grey-logo": _Edit(change=_grey_with_logo),
    "small": _Edit(scale=0.5, crf=36),
}
"""What `render_copies` can do, by name."""


def _render_copy(pair: tuple[Path, Path], output: Path, name: str) -> list[PlantedCopy]:
    edit = EDITS[name]
    copies: list[PlantedCopy] = []
    with open_video(pair[0]) as clip, open_video(pair[1]) as other:
        rate, speed = clip.video.frame_rate or Fraction(25), Fraction(edit.speed)
        width, height = (2 * round(side * edit.scale / 2) for side in (clip.video.width, clip.video.height))
        tall, wide, _ = edit.change(np.zeros((height, width, 3), np.uint8)).shape
        with VideoWriter(output, wide, tall, rate, crf=edit.crf, threads=1) as writer:
            for which, begin, end in edit.pieces:
                reader = (clip, other)[which]
                seconds = reader.video.duration_seconds or 0.0
                start, count = seconds * begin, int(seconds * (end - begin) / speed * rate)
                first = writer.frame_count
                times = AtTimes(tuple(start + float(k * speed / rate) for k in range(count)))
                for _, frame in reader.read([Tap(times, Picture(width, height))]):
                    writer.write(edit.change(frame.pixels))
                copies.append(
                    PlantedCopy(
                        query=output,
                        reference=pair[which],
                        query_span=Span(float(first / rate), float(writer.frame_count / rate)),
                        reference_span=Span(start, start + float(count * speed / rate)),
                        speed=edit.speed,
                        edit=name,
                    )
                )
    return copies
