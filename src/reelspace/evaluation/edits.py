"""What is done to a video before it turns up again: edits with exact truth, rendered frame by frame.

Query frame ``k`` of a piece shows what is on screen at second ``start + k * speed / rate`` of its film. So the
truth of a query follows from its `Recipe` alone, whether the film's frame rate varies, its clock starts late or its
picture is turned: all that is the reader's.

Pictures are changed by FFmpeg's filters, those that are in every build of it (no GPL ones).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from numpy.typing import NDArray

from reelspace.core.frames import Picture
from reelspace.core.time import Span
from reelspace.errors import DecodeFailed
from reelspace.media import open_video
from reelspace.media.writer import VideoWriter

__all__ = ["EDITS", "GROUPS", "Edit", "Film", "Piece", "Recipe", "Truth", "recipe", "render"]

Stretch = Literal["whole", "trimmed", "half", "inserted", "spliced"]
Layout = Literal["alone", "inside", "beside"]

_LONGEST_PIXELS = 320  # of a query's longer side, before anything is put around it
_INSERTED_SECONDS = (4.0, 8.0)
_AROUND_SECONDS = 4.0  # of another film, before and after
_RATES = (*map(Fraction, (10, 12, 15, 24, 25, 30)), Fraction(24000, 1001), Fraction(30000, 1001))
_LATE_SECONDS = 7e-4  # frames are looked up so much late: Matroska rounds times to whole milliseconds
_COLOURS = ("black", "white", "gray", "navy", "darkred", "0xd8cdb0")


@dataclass(frozen=True, slots=True)
class Edit:
    """How a query is made of a film.

    Attributes:
        group: the row of the summary it counts in, one of `GROUPS`.
        picture: what is done to the pictures, names in `_PICTURES`, in order.
        stretch: ``whole``; ``trimmed``: 50 to 90 % of it; ``half``: the first or second half; ``inserted``: 4 to
            8 s between 4 s each of two other films; ``spliced``: pieces of three films one after the other.
        layout: ``alone``; ``inside`` the picture of another film; ``beside`` it.
        speed: seconds of the film shown per second of the query.
        frames_per_second: of the query; None for the standard rate nearest to the film's own, at most 30.
        crf: x264's constant quality.
    """

    group: str
    picture: tuple[str, ...] = ()
    stretch: Stretch = "whole"
    layout: Layout = "alone"
    speed: Fraction = Fraction(1)
    frames_per_second: Fraction | None = None
    crf: int = 26

    @property
    def mirrored(self) -> bool:
        """Whether the query shows the film left to right."""
        return "mirror" in self.picture

    @property
    def rotation_degrees(self) -> int:
        """The clockwise turn that puts the query's picture upright again, as in `CopySegment`."""
        return next((-turn % 360 for turn in (90, 180, 270) if f"turn-{turn}" in self.picture), 0)


# ── pictures: (random numbers, width / height) -> filters, `name=options` ──

Filters = tuple[str, ...]


def _crop(random: np.random.Generator, _aspect: float) -> Filters:
    """60 to 75 % of the area, anywhere."""
    side = math.sqrt(random.uniform(0.60, 0.75))
    down, across = (1 - side) * random.random(2)
    return (f"crop=iw*{side:.4f}:ih*{side:.4f}:iw*{across:.4f}:ih*{down:.4f}",)


def _letterbox(random: np.random.Generator, _aspect: float) -> Filters:
    return (f"pad=iw:ih*{random.uniform(1.25, 1.6):.3f}:0:(oh-ih)/2",)


def _pillarbox(random: np.random.Generator, _aspect: float) -> Filters:
    return (f"pad=iw*{random.uniform(1.25, 1.8):.3f}:ih:(ow-iw)/2:0:color={random.choice(('black', 'white'))}",)


def _tilt(random: np.random.Generator, _aspect: float) -> Filters:
    """4 to 8 degrees either way, corners black."""
    return (f"rotate={random.choice((-1, 1)) * math.radians(random.uniform(4, 8)):.4f}",)


def _perspective(random: np.random.Generator, aspect: float) -> Filters:
    """A flat picture seen aslant: a camera of 90 degrees turned by up to 10, its picture a homography."""
    high = math.degrees(2 * math.atan(1 / aspect))
    yaw, pitch = random.choice((-1, 1), 2) * random.uniform((6, 3), (10, 6))
    return (
        "pad=iw+8:ih+8:4:4",  # what lies outside the picture is shown as its corner
        (
            f"v360=flat:flat:ih_fov=90:iv_fov={high:.3f}:h_fov=98:v_fov={high * 1.09:.3f}:interp=linear:"
            f"yaw={yaw:.2f}:pitch={pitch:.2f}:roll={random.uniform(-3, 3):.2f}"
        ),
    )


def _shrunk(random: np.random.Generator, _aspect: float) -> Filters:
    """36 % of the area of a field of one colour."""
    across, down = random.random(2)
    colour = random.choice(_COLOURS)
    return (f"pad=iw/0.6:ih/0.6:(ow-iw)*{across:.3f}:(oh-ih)*{down:.3f}:color={colour}",)


def _noise(random: np.random.Generator, _aspect: float) -> Filters:
    return (f"noise=alls={random.integers(25, 50)}:allf=t:all_seed={random.integers(1 << 30)}",)


def _gamma(random: np.random.Generator, _aspect: float) -> Filters:
    exponent = random.choice((random.uniform(0.5, 0.7), random.uniform(1.4, 1.9)))
    return (f"lutyuv=y=gammaval({exponent:.3f})",)


def _caption(random: np.random.Generator, _aspect: float) -> Filters:
    """One or two lines of strokes like those of letters, on a dark band."""
    boxes = ["drawbox=0:ih*0.78:iw:ih*0.19:color=black@0.6:t=fill"]
    for line in range(random.integers(1, 3)):
        x = random.uniform(0.05, 0.15)
        while x < 0.9:
            top, wide = 0.80 + 0.085 * line, random.uniform(0.015, 0.03)
            for _ in range(random.integers(2, 4)):  # strokes of a letter, upright or level
                upright = random.random() < 0.5
                w, h = (0.006, 0.065) if upright else (wide, 0.014)
                left, down = x + random.random() * (wide - 0.006) * upright, top + random.choice((0, 0.025, 0.05))
                down = top if upright else down
                boxes.append(f"drawbox=iw*{left:.4f}:ih*{down:.4f}:iw*{w:.4f}:ih*{h:.4f}:color=white:t=fill")
            x += wide + (0.04 if random.random() < 0.2 else 0.012)
    return tuple(boxes)


def _logo(random: np.random.Generator, _aspect: float) -> Filters:
    """A sign of three boxes in one of the corners."""
    left, top = random.choice((0.04, 0.72)), random.choice((0.05, 0.68))
    colours = random.permutation(("orange", "red", "white", "dodgerblue", "black"))
    return tuple(
        f"drawbox=iw*{left + inset:.3f}:ih*{top + inset:.3f}:iw*{0.24 - 2 * inset:.3f}:ih*{0.26 - 2 * inset:.3f}:"
        f"color={colour}:t=fill"
        for inset, colour in zip((0, 0.03, 0.07), colours, strict=False)
    )


def _screen(random: np.random.Generator, aspect: float) -> Filters:
    """Filmed off a screen: aslant in a dark room, flickering, with stripes where two grids meet, and soft."""
    return (
        "drawgrid=w=3:h=3:t=1:color=black@0.2",  # the screen's own dots; taking them aslant makes the stripes
        "pad=iw*1.12:ih*1.12:(ow-iw)/2:(oh-ih)/2:color=0x181818",
        *_perspective(random, aspect)[1:],
        f"hue=b='{random.uniform(0.3, 0.6):.2f}*sin(2*PI*t*{random.uniform(6, 9):.2f})'",
        "gblur=sigma=0.8",
    )


def _always(*filters: str) -> Callable[[np.random.Generator, float], Filters]:
    return lambda _random, _aspect: filters


_PICTURES: Mapping[str, Callable[[np.random.Generator, float], Filters]] = MappingProxyType(
    {
        "small": _always("scale=w='if(gte(iw,ih),160,-2)':h='if(gte(iw,ih),-2,160)'"),
        "crop": _crop,
        "letterbox": _letterbox,
        "pillarbox": _pillarbox,
        "mirror": _always("hflip"),
        "tilt": _tilt,
        "turn-90": _always("transpose=clock"),
        "turn-180": _always("hflip", "vflip"),
        "turn-270": _always("transpose=cclock"),
        "perspective": _perspective,
        "shrunk": _shrunk,
        "blur": lambda random, _: (f"gblur=sigma={random.uniform(2.5, 4.5):.2f}",),
        "noise": _noise,
        "grey": _always("hue=s=0"),
        "sepia": _always("colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131"),
        "gamma": _gamma,
        "caption": _caption,
        "logo": _logo,
        "screen": _screen,
    }
)

_PHOTOMETRIC, _SPEED, _HALF, _INSERTED = "photometric", "speed 0.8-1.5 and 10 fps", "half alone", "inserted"
_GEOMETRIC, _COMBINED, _OTHER = "geometric", "inserted + photometric + geometric", "other"

GROUPS: tuple[str, ...] = (_PHOTOMETRIC, _SPEED, _HALF, _INSERTED, _GEOMETRIC, _COMBINED, _OTHER)
"""The rows of the summary, in order; every edit counts in one of them."""

EDITS: Mapping[str, Edit] = MappingProxyType(
    {
        "re-encoded": Edit(_PHOTOMETRIC, crf=36),
        "unwatchable": Edit(_PHOTOMETRIC, ("small",), crf=45),
        "blur": Edit(_PHOTOMETRIC, ("blur",)),
        "noise": Edit(_PHOTOMETRIC, ("noise",)),
        "grey": Edit(_PHOTOMETRIC, ("grey",)),
        "sepia": Edit(_PHOTOMETRIC, ("sepia",)),
        "gamma": Edit(_PHOTOMETRIC, ("gamma",)),
        "caption": Edit(_PHOTOMETRIC, ("caption",)),
        "logo": Edit(_PHOTOMETRIC, ("logo",)),
        "speed-0.8": Edit(_SPEED, speed=Fraction(4, 5)),
        "speed-1.25": Edit(_SPEED, speed=Fraction(5, 4)),
        "speed-1.5": Edit(_SPEED, speed=Fraction(3, 2)),
        "fps-10": Edit(_SPEED, frames_per_second=Fraction(10)),
        "half": Edit(_HALF, stretch="half"),
        "inserted": Edit(_INSERTED, stretch="inserted"),
        "crop": Edit(_GEOMETRIC, ("crop",)),
        "letterbox": Edit(_GEOMETRIC, ("letterbox",)),
        "pillarbox": Edit(_GEOMETRIC, ("pillarbox",)),
        "mirror": Edit(_GEOMETRIC, ("mirror",)),
        "tilt": Edit(_GEOMETRIC, ("tilt",)),
        "shrunk": Edit(_GEOMETRIC, ("shrunk",)),
        "perspective": Edit(_GEOMETRIC, ("perspective",)),
        "inserted-crop-gamma": Edit(_COMBINED, ("crop", "gamma"), "inserted"),
        "inserted-mirror-letterbox-noise": Edit(_COMBINED, ("mirror", "letterbox", "noise"), "inserted"),
        "inserted-crop-mirror-logo": Edit(_COMBINED, ("crop", "mirror", "logo"), "inserted"),
        "inserted-tilt-sepia-caption": Edit(_COMBINED, ("tilt", "sepia", "caption"), "inserted"),
        "inserted-shrunk-grey-blur": Edit(_COMBINED, ("grey", "blur", "shrunk"), "inserted"),
        "inserted-perspective-gamma": Edit(_COMBINED, ("perspective", "gamma"), "inserted"),
        "trimmed": Edit(_OTHER, stretch="trimmed"),
        "spliced": Edit(_OTHER, stretch="spliced"),
        "speed-0.5": Edit(_OTHER, speed=Fraction(1, 2)),
        "speed-2": Edit(_OTHER, speed=Fraction(2)),
        "fps-12": Edit(_OTHER, frames_per_second=Fraction(12)),
        "fps-24": Edit(_OTHER, frames_per_second=Fraction(24)),
        "fps-29.97": Edit(_OTHER, frames_per_second=Fraction(30000, 1001)),
        "fps-60": Edit(_OTHER, frames_per_second=Fraction(60)),
        "turn-90": Edit(_OTHER, ("turn-90",)),
        "turn-180": Edit(_OTHER, ("turn-180",)),
        "turn-270": Edit(_OTHER, ("turn-270",)),
        "picture-in-picture": Edit(_OTHER, layout="inside"),
        "side-by-side": Edit(_OTHER, layout="beside"),
        "off-a-screen": Edit(_OTHER, ("screen",), crf=30),
        "faster-crop-grey": Edit(_OTHER, ("crop", "grey"), speed=Fraction(13, 10)),
    }
)
"""What `benchmark make` can do, by name."""


# ── recipes ──


class Film(NamedTuple):
    """A usable video.

    Attributes:
        name: of the reference, unique in a benchmark; None for a film that is no reference.
        content_id: SHA-256 of its bytes.
        source: path.
        seconds: from time zero to the end of the last picture.
        width: columns as displayed.
        height: rows as displayed.
        frame_rate: average.
    """

    name: str | None
    content_id: str
    source: str
    seconds: float
    width: int
    height: int
    frame_rate: Fraction


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive query frames out of one film.

    Attributes:
        film: where they are from.
        start_seconds: of the film, what the first one shows.
        frames: how many.
        speed: seconds of the film per second of the query.
    """

    film: Film
    start_seconds: float
    frames: int
    speed: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Truth:
    """Query seconds that show reference seconds.

    Attributes:
        reference: name of the reference.
        query_span: seconds of the query.
        reference_span: seconds of the reference.
        speed: reference seconds per query second.
        mirrored: whether the query shows it left to right.
        rotation_degrees: clockwise turn that puts the query's picture upright again.
    """

    reference: str
    query_span: Span
    reference_span: Span
    speed: float
    mirrored: bool
    rotation_degrees: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """One query: everything that decides its pictures.

    Attributes:
        edit: name in `EDITS`.
        pieces: one after the other.
        behind: the film under or beside the picture; None where there is none.
        at: left and top of a picture in a picture, in shares of the room there is; its left below 0.5 also says
            which side of another film it stands on.
        filters: FFmpeg's, in order, as ``name=options``.
        frames_per_second: of the query.
        width: columns before the filters.
        height: rows before the filters.
    """

    edit: str
    pieces: tuple[Piece, ...]
    behind: Piece | None
    at: tuple[float, float]
    filters: Filters
    frames_per_second: Fraction
    width: int
    height: int

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with anything that decides the pictures; where the films lie does not."""
        contents = [
            (piece.film.content_id, piece.start_seconds, piece.frames, str(piece.speed))
            for piece in (*self.pieces, *((self.behind,) if self.behind else ()))
        ]
        edit = EDITS[self.edit]
        values = (
            contents,
            self.at,
            self.filters,
            str(self.frames_per_second),
            self.width,
            self.height,
            edit.layout,
            edit.crf,
        )
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]

    @property
    def truths(self) -> tuple[Truth, ...]:
        """What it shows of references."""
        edit, rate, first, found = EDITS[self.edit], self.frames_per_second, 0, []
        for piece in self.pieces:
            if piece.film.name is not None:
                seconds = float(piece.frames * piece.speed / rate)
                found.append(
                    Truth(
                        piece.film.name,
                        Span(float(first / rate), float((first + piece.frames) / rate)),
                        Span(piece.start_seconds, piece.start_seconds + seconds),
                        float(piece.speed),
                        edit.mirrored,
                        edit.rotation_degrees,
                    )
                )
            first += piece.frames
        return tuple(found)


def recipe(
    name: str,
    film: Film,
    random: np.random.Generator,
    *,
    strangers: tuple[Film, ...],
    references: tuple[Film, ...] = (),
    longest_seconds: float = 30.0,
) -> Recipe:
    """What a query is made of, drawn at random.

    Args:
        name: of the edit.
        film: what it is about.
        random: the source of all choices.
        strangers: films that are no references, of which two or more stand around and behind it.
        references: films spliced to it.
        longest_seconds: of a longer film a stretch of this length, anywhere, is taken for the whole.
    """
    edit = EDITS[name]
    rate = edit.frames_per_second or min(_RATES, key=lambda standard: abs(standard - film.frame_rate))
    whole = min(film.seconds, longest_seconds)
    start = float(random.uniform(0, film.seconds - whole))
    around = [strangers[i] for i in random.permutation(len(strangers))]
    share = {"trimmed": random.uniform(0.5, 0.9), "half": 0.5}.get(edit.stretch, 1.0)
    if edit.stretch == "inserted":
        share = min(1.0, random.uniform(*_INSERTED_SECONDS) / whole)
    begin = (1 - share) * (random.integers(2) if edit.stretch == "half" else random.random()) * whole
    pieces = [_piece(film, start + begin, share * whole, rate, edit.speed)]
    if edit.stretch == "inserted":
        before, after = (_anywhere(other, _AROUND_SECONDS, rate, random) for other in around[:2])
        pieces = [before, *pieces, after]
    elif edit.stretch == "spliced":
        others = [other for other in references if other.content_id != film.content_id]
        chosen = [film, *(others[i] for i in random.permutation(len(others))[:2])]
        pieces = [_anywhere(each, random.uniform(*_INSERTED_SECONDS), rate, random) for each in chosen]
    scale = min(1.0, _LONGEST_PIXELS / max(film.width, film.height))
    width, height = (max(16, 2 * round(side * scale / 2)) for side in (film.width, film.height))
    filters = tuple(step for each in edit.picture for step in _PICTURES[each](random, width / height))
    frames = sum(piece.frames for piece in pieces)
    return Recipe(
        name,
        tuple(pieces),
        None if edit.layout == "alone" else Piece(around[0], 0.0, frames),
        (round(random.random(), 3), round(random.random(), 3)),
        filters,
        rate,
        width,
        height,
    )


def _piece(film: Film, start: float, seconds: float, rate: Fraction, speed: Fraction = Fraction(1)) -> Piece:
    """As many frames as fit into ``seconds`` of the film, at least one."""
    return Piece(film, start, max(1, math.floor(seconds / float(speed) * float(rate) + 1e-6)), speed)


def _anywhere(film: Film, seconds: float, rate: Fraction, random: np.random.Generator) -> Piece:
    length = min(seconds, film.seconds)
    return _piece(film, float(random.uniform(0, film.seconds - length)), length, rate)


# ── rendering ──


def render(made: Recipe, output: Path) -> None:
    """Writes the query, holding a few frames at a time; the same recipe gives the same pictures.

    Raises:
        MediaError: when one of its films cannot be read as far as it is shown.
    """
    edit, writer = EDITS[made.edit], None
    with contextlib.ExitStack() as stack:
        for picture in _changed(made):
            if writer is None:
                height, width, _ = picture.shape
                writer = stack.enter_context(
                    VideoWriter(output, width, height, made.frames_per_second, crf=edit.crf, threads=1)
                )
            writer.write(picture)


def _changed(made: Recipe) -> Iterator[NDArray[np.uint8]]:
    """The query's pictures as they are written, uint8 (H, W, 3)."""
    pictures = (picture for piece in made.pieces for picture in _shown(piece, made))
    behind = None if made.behind is None else _looped(made.behind, made)
    if not made.filters and behind is None:
        yield from pictures
        return
    graph, entries = _graph(made)
    time_base = 1 / made.frames_per_second
    for number, picture in enumerate(pictures):
        for entry, pixels in zip(entries, (picture, *((next(behind),) if behind else ())), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, time_base
            entry.push(frame)
        yield from _pulled(graph)
    for entry in entries:
        entry.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[NDArray[np.uint8]]:
    """What has come out by now."""
    with contextlib.suppress(BlockingIOError, EOFError):
        while True:
            yield cast("NDArray[np.uint8]", graph.vpull().to_ndarray())


def _graph(made: Recipe) -> tuple[Graph, list[FilterContext]]:
    """The filters, with an entry for the pictures and a second for the film behind them."""
    graph = Graph()
    graph.threads = 1
    entry = partial(
        graph.add_buffer,
        width=made.width,
        height=made.height,
        format=av.VideoFormat("rgb24"),
        time_base=1 / made.frames_per_second,
    )
    entries = [entry()]
    last = entries[0]
    layout = EDITS[made.edit].layout
    if layout != "alone":
        entries.append(entry())
        if layout == "inside":
            small = graph.add("scale", "iw/2:ih/2")
            last.link_to(small)
            across, down = made.at
            joined = graph.add("overlay", f"(W-w)*{across}:(H-h)*{down}")
            sides = [entries[1], small]
        else:
            joined = graph.add("hstack")
            sides = entries if made.at[0] < 0.5 else entries[::-1]
        for number, side in enumerate(sides):
            side.link_to(joined, 0, number)
        last = joined
    for step in (*made.filters, "format=rgb24", "buffersink"):
        name, _, options = step.partition("=")
        following = graph.add(name, options or None)
        last.link_to(following)
        last = following
    graph.configure()
    return graph, entries


def _looped(piece: Piece, made: Recipe) -> Iterator[NDArray[np.uint8]]:
    """A film from its beginning, again and again."""
    once = max(1, math.floor(piece.film.seconds * float(made.frames_per_second)))
    while True:
        yield from _shown(Piece(piece.film, 0.0, min(once, piece.frames)), made)


def _shown(piece: Piece, made: Recipe) -> Iterator[NDArray[np.uint8]]:
    """What a piece shows, within the query's size; bars where the film has another shape."""
    film = piece.film
    scale = min(made.width / film.width, made.height / film.height)
    width, height = (
        min(2 * max(1, round(n * scale / 2)), most)
        for n, most in ((film.width, made.width), (film.height, made.height))
    )
    top, left = (made.height - height) // 2, (made.width - width) // 2
    around = ((top, made.height - height - top), (left, made.width - width - left), (0, 0))
    bars = made.height - height + made.width - width
    step = float(piece.speed / made.frames_per_second)
    times = [piece.start_seconds + k * step + _LATE_SECONDS for k in range(piece.frames)]
    shown = 0
    with open_video(film.source) as reader:
        for frame in reader.frames_at(times, Picture(width, height)):
            shown += 1
            yield frame.pixels if bars == 0 else np.pad(frame.pixels, around)
    if shown < piece.frames:
        raise DecodeFailed(film.source, f"{shown} of {piece.frames} frames came out")
