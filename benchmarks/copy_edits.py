"""Edits of real clips with known truth: what copy detection is judged on.

Each edit makes one query video from stretches of one or more clips (`Cut`s), with a filter graph over the pictures.
The truth of a query is its cuts: which seconds of the query show which seconds of which clip, at which speed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

__all__ = ["EDITS", "GEOMETRIC", "Cut", "Edit", "Truth", "load_clip", "render", "tuning_half"]

RATE = 15
WIDEST = 320


@dataclass(frozen=True)
class Edit:
    """How a query is made: a stretch of the clip, what stands around it, its speed and its picture."""

    keep: tuple[float, float] = (0.0, 1.0)  # of the clip's duration
    speed: float = 1.0
    inserted: bool = False  # 4 s of another clip before and after
    picture: str = "null"  # FFmpeg filter graph; {a}, {b} in [0, 1): random per query
    over: float = 0.0  # linear size of the picture laid over another clip; 0: not
    crf: int = 26


EDITS: dict[str, Edit] = {
    "re-encoded": Edit(picture="scale=160:-2", crf=38),
    "trimmed": Edit(keep=(0.2, 0.8)),
    "inserted": Edit(inserted=True),
    "speed 0.5": Edit(speed=0.5),
    "speed 0.75": Edit(speed=0.75),
    "speed 1.5": Edit(speed=1.5),
    "speed 2": Edit(speed=2.0),
    "crop to 75%": Edit(picture="crop=iw*0.866:ih*0.866:iw*0.134*{a}:ih*0.134*{b}"),
    "crop to 60%": Edit(picture="crop=iw*0.775:ih*0.775:iw*0.225*{a}:ih*0.225*{b}"),
    "crop rows to 75%": Edit(picture="crop=iw:ih*0.75"),
    "letterbox": Edit(picture="pad=iw:ih*1.4:0:(oh-ih)/2"),
    "pillarbox": Edit(picture="pad=iw*1.5:ih:(ow-iw)/2:0:color=white"),
    "mirror": Edit(picture="hflip"),
    "shrunk on grey": Edit(picture="pad=iw*1.6:ih*1.6:(ow-iw)*{a}:(oh-ih)*{b}:color=gray"),
    "left half, plots right": Edit(picture="split[a][b];[b]edgedetect,negate,hue=s=0[c];[a][c]hstack"),
    "picture in picture": Edit(over=0.5),
    "logo": Edit(picture="drawbox=iw*0.05:ih*0.6:iw*0.3:ih*0.3:color=orange:t=fill"),
    "grey": Edit(picture="hue=s=0"),
    "sepia": Edit(picture="colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131"),
    "gamma 1.7": Edit(picture="lutyuv=y=gammaval(0.59)"),
    "gamma 0.6": Edit(picture="lutyuv=y=gammaval(1.67)"),
    "blur": Edit(picture="gblur=sigma=4"),
    "noise": Edit(picture="noise=alls=40:allf=t"),
    "inserted + crop + gamma": Edit(
        inserted=True, picture="crop=iw*0.82:ih*0.82:iw*0.18*{a}:ih*0.18*{b},lutyuv=y=gammaval(0.67)"
    ),
    "inserted + mirror + letterbox": Edit(inserted=True, picture="hflip,pad=iw:ih*1.3:0:(oh-ih)/2"),
    "inserted + mirror + crop + logo": Edit(
        inserted=True,
        picture="hflip,crop=iw*0.85:ih*0.85:iw*0.15*{a}:ih*0.15*{b},drawbox=iw*0.7:0:iw*0.25:ih*0.2:color=red:t=fill",
    ),
    "speed 1.3 + crop + grey": Edit(speed=1.3, picture="crop=iw*0.85:ih*0.85:iw*0.15*{a}:ih*0.15*{b},hue=s=0"),
}

GEOMETRIC = {
    "crop to 75%",
    "crop to 60%",
    "crop rows to 75%",
    "letterbox",
    "pillarbox",
    "mirror",
    "shrunk on grey",
    "left half, plots right",
    "picture in picture",
}
"""The edits that move the picture and do nothing else."""


@dataclass(frozen=True)
class Cut:
    """One stretch of a clip; frames at `RATE`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Truth:
    """Query seconds that show reference seconds of a clip."""

    name: str
    query: tuple[float, float]
    reference: tuple[float, float]
    speed: float
    mirrored: bool


def tuning_half(name: str) -> bool:
    """Whether a clip serves tuning; the other half is only reported."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0


def load_clip(path: Path, *, longest_seconds: float = 20.0) -> NDArray[np.uint8]:
    """The frames shown at k / `RATE` seconds, small: uint8 (N, H, W, 3)."""
    frames: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        reformatter = av.video.reformatter.VideoReformatter()
        first: float | None = None
        shown: NDArray[np.uint8] | None = None
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            first = frame.time if first is None else first
            while shown is not None and len(frames) / RATE < frame.time - first - 1e-6:
                frames.append(shown)
            if len(frames) >= longest_seconds * RATE:
                break
            scale = min(1.0, WIDEST / max(frame.width, frame.height))
            width, height = (max(2, round(n * scale / 2) * 2) for n in (frame.width, frame.height))
            small = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA")
            shown = small.to_ndarray()
        if shown is not None:
            frames.append(shown)
    return np.stack(frames)


def fit(frames: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Frames stretched to another size by nearest rows and columns (surroundings only)."""
    rows = np.arange(height) * frames.shape[1] // height
    columns = np.arange(width) * frames.shape[2] // width
    return frames[:, rows][:, :, columns]


def filtered(frames: NDArray[np.uint8], picture: str) -> Iterator[av.VideoFrame]:
    """Frames through a filter graph, as yuv420p of even size."""
    graph = Graph()
    source = graph.add_buffer(
        width=frames.shape[2], height=frames.shape[1], format="rgb24", time_base=Fraction(1, RATE)
    )
    text = f"{picture},scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p"
    last = source
    if ";" in text:  # a graph with branches: the one that lays the picture beside its own edges
        split = graph.add("split")
        last.link_to(split)
        edges, negate, grey, stack = (graph.add(n) for n in ("edgedetect", "negate", "hue", "hstack"))
        grey_rgb, left = graph.add("format", "yuv420p"), graph.add("format", "yuv420p")
        split.link_to(left, 0, 0)
        split.link_to(edges, 1, 0)
        edges.link_to(negate)
        negate.link_to(grey)
        grey.link_to(grey_rgb)
        left.link_to(stack, 0, 0)
        grey_rgb.link_to(stack, 0, 1)
        last, text = stack, text.split("hstack,")[1]
    for step in text.split(","):
        name, _, options = step.partition("=")
        node = graph.add(name, options) if options else graph.add(name)
        last.link_to(node)
        last = node
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, RATE)
        graph.push(frame)
        while True:
            try:
                yield graph.pull()
            except (BlockingIOError, EOFError):
                break
    graph.push(None)
    while True:
        try:
            yield graph.pull()
        except (BlockingIOError, EOFError):
            break


def render(
    out: Path, name: str, edit_name: str, clips: dict[str, NDArray[np.uint8]], others: list[str]
) -> list[Truth]:
    """Writes one query; returns its truth, the named clip's stretch first."""
    edit = EDITS[edit_name]
    seed = int.from_bytes(hashlib.sha256(f"{name}|{edit_name}".encode()).digest()[:4], "big")
    random = np.random.default_rng(seed)
    clip = clips[name]
    n = len(clip)
    first, last = round(edit.keep[0] * n), round(edit.keep[1] * n)
    if edit.inserted:
        length = min(n, int(RATE * random.uniform(4, 8)))
        first = int(random.integers(0, n - length + 1))
        last = first + length
    picked = first + np.arange(int((last - first) / edit.speed)) * edit.speed
    frames = clip[np.minimum(picked.astype(int), n - 1)]
    height, width = frames.shape[1:3]
    around = [o for o in random.permutation(others) if o != name]
    query_first = 0
    truths: list[Truth] = []
    if edit.over:
        back = fit(clips[around[0]], height, width)
        back = back[np.arange(len(frames)) % len(back)].copy()
        h, w = int(height * edit.over), int(width * edit.over)
        y, x = int(random.uniform(0, height - h)), int(random.uniform(0, width - w))
        shown = min(len(frames), len(clips[around[0]])) / RATE
        truths.append(Truth(around[0], (0.0, shown), (0.0, shown), 1.0, mirrored=False))
        back[:, y : y + h, x : x + w] = frames[:, ::2, ::2][:, :h, :w]
        frames = back
    if edit.inserted:
        pieces = []
        for _which, other in enumerate(around[:2]):
            film = clips[other]
            length = min(len(film), 4 * RATE)
            start = int(random.integers(0, len(film) - length + 1))
            pieces.append((other, start, fit(film[start : start + length], height, width)))
        query_first = len(pieces[0][2])
        at = (0, query_first + len(frames))
        mirrored = "hflip" in edit.picture
        for begin, (other, start, piece) in zip(at, pieces, strict=True):
            truths.append(
                Truth(
                    other,
                    (begin / RATE, (begin + len(piece)) / RATE),
                    (start / RATE, (start + len(piece)) / RATE),
                    1.0,
                    mirrored,
                )
            )
        frames = np.concatenate([pieces[0][2], frames, pieces[1][2]])
    own = Truth(
        name,
        (query_first / RATE, (query_first + len(picked)) / RATE),
        (first / RATE, (first + len(picked) * edit.speed) / RATE),
        edit.speed,
        "hflip" in edit.picture,
    )
    picture = edit.picture.format(a=round(random.random(), 3), b=round(random.random(), 3))
    with av.open(str(out), "w") as container:
        stream = None
        for frame in filtered(frames, picture):
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=RATE, options={"preset": "veryfast", "crf": str(edit.crf), "threads": "1"}
                )
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return [own, *truths]
