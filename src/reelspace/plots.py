"""Pictures of answers: why two videos match, and how they line up. Needs the extra ``plots``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reelspace.core.frames import Frame, Picture
from reelspace.core.results import Alignment, CopyMatch, CopySegment
from reelspace.core.time import Span
from reelspace.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_alignment", "plot_match", "plot_timeline", "ready"]

_THUMBNAIL_WIDTH = 320
_LABEL_LETTERS = 44
INK, COPY, MIRRORED, GRID = "#1f2430", "#e4572e", "#2e86ab", "#d9dce3"


def plot_alignment(
    alignment: Alignment,
    similarity: NDArray[np.float32],
    path: str | Path,
    *,
    duration_a: float,
    duration_b: float,
    name_a: str,
    name_b: str,
) -> Path:
    """Draws the similarity matrix of A and B with the copied segments, and the score of every offset below it.

    Args:
        alignment: what `reelspace.align` returned.
        similarity: float32 (Ta, Tb), frame against frame, both sampled evenly over their durations.
        path: where the picture goes; the suffix decides the format.
        duration_a: seconds of A, the vertical axis.
        duration_b: seconds of B, the horizontal axis.
        name_a: label of the vertical axis.
        name_b: label of the horizontal axis.

    Raises:
        MissingExtra: without matplotlib.
    """
    name_a, name_b = _label(name_a), _label(name_b)
    figure = _figure(7.2, 8.4)
    top, bottom = figure.subplots(2, 1, gridspec_kw={"height_ratios": [3, 1]})
    image = top.imshow(
        similarity,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, duration_b, 0, duration_a),
        vmin=0,
        vmax=1,
    )
    figure.colorbar(image, ax=top, label="similarity of frames, as best seen", fraction=0.04, pad=0.02)
    for segment in alignment.segments:
        _draw_segment(top, segment)
    line = np.array([0.0, duration_b])
    top.plot(
        line,
        line + alignment.offset_seconds,
        color="#7bdff2",
        lw=1,
        ls=(0, (4, 4)),
        label=f"offset by {alignment.method}",
    )
    top.set(xlim=(0, duration_b), ylim=(0, duration_a), xlabel=f"{name_b}  [s]", ylabel=f"{name_a}  [s]")
    later, earlier = (name_b, name_a) if alignment.offset_seconds >= 0 else (name_a, name_b)
    top.set_title(f"{later} begins {abs(alignment.offset_seconds):.2f} s after {earlier}", fontsize=11)
    top.legend(loc="upper left", fontsize=8, framealpha=0.8)

    bottom.plot(alignment.offsets_seconds, alignment.curve, color=INK, lw=1)
    bottom.axvline(alignment.offset_seconds, color=COPY, lw=1)
    bottom.set(xlabel=f"offset of {name_b} on the clock of {name_a}  [s]", ylabel=f"{alignment.method} score")
    bottom.grid(color=GRID, lw=0.5)
    bottom.margins(x=0)
    return _save(figure, path)


def plot_match(match: CopyMatch, path: str | Path, *, moments: int = 5) -> Path:
    """Draws matched moments of the query above those of the reference, and where the stretches lie in both.

    Args:
        match: the pair and its segments; both files are opened for the few frames shown.
        path: where the picture goes; the suffix decides the format.
        moments: how many moments of the best segment are shown.

    Raises:
        MissingExtra: without matplotlib.
        MediaError: when one of the files cannot be opened any more.
    """
    from reelspace.media import open_video

    best = match.segments[0]
    shares = (np.arange(moments) + 0.5) / moments
    lengths: list[float] = []
    rows: list[list[Frame]] = []
    for source, span in ((match.query, best.query), (match.reference, best.reference)):
        seconds = span.start + shares * span.duration
        with open_video(source) as reader:
            width, height = reader.video.width, reader.video.height
            scale = _THUMBNAIL_WIDTH / max(width, height)
            small = Picture(max(2, round(width * scale)), max(2, round(height * scale)), filter="area")
            rows.append(list(reader.frames_at(seconds.tolist(), small)))
            lengths.append(reader.video.duration_seconds or span.end)
    heights = [2.4 * row[0].pixels.shape[0] / _THUMBNAIL_WIDTH for row in rows]
    figure = _figure(2.4 * moments + 0.6, sum(heights) + 2.4)
    grid = figure.add_gridspec(3, moments, height_ratios=[*heights, 0.9])
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(frame.pixels)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{frame.time_seconds:.2f} s", fontsize=8, pad=2)
            if column == 0:
                axes.set_ylabel(("query", "reference")[row], fontsize=9)

    strip = figure.add_subplot(grid[2, :])
    for y, length in zip((1, 0), lengths, strict=True):
        strip.barh(y, length, height=0.42, color=GRID)
    for segment in match.segments:
        colour = MIRRORED if segment.mirrored else COPY
        for y, span in ((1, segment.query), (0, segment.reference)):
            strip.barh(y, span.duration, left=span.start, height=0.42, color=colour)
        corners = [segment.query.start, segment.query.end, segment.reference.end, segment.reference.start]
        strip.fill(corners, [0.79, 0.79, 0.21, 0.21], color=colour, alpha=0.25, lw=0)
    strip.set_yticks([1, 0], ["query", "reference"], fontsize=8)
    strip.set(xlim=(0, max(lengths)), xlabel="seconds")
    strip.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(
        f"{_label(Path(match.query).name)} {_span(best.query)}  =  "
        f"{_label(Path(match.reference).name)} {_span(best.reference)}\n"
        f"score {best.score:.2f}   speed x{best.speed:.2f}   {best.orientation}".rstrip(),
        fontsize=10,
    )
    return _save(figure, path)


def plot_timeline(groups: Sequence[Sequence[tuple[str, Span, float]]], path: str | Path) -> Path:
    """Draws when each recording runs, as bars on the clock of its group.

    Args:
        groups: recordings of each event: path or URL, the seconds of the common clock it covers, and the
            confidence in [0, 1]; the surer, the darker its bar.
        path: where the picture goes; the suffix decides the format.

    Raises:
        MissingExtra: without matplotlib.
    """
    shown = [group for group in groups if group] or [[]]
    figure = _figure(9.0, 1.0 + sum(0.34 * len(group) + 0.7 for group in shown))
    every = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[len(group) + 1 for group in shown])
    for number, (axes, group) in enumerate(zip(every[:, 0], shown, strict=True), start=1):
        for row, (_, span, confidence) in enumerate(group):
            axes.barh(
                row, span.duration, left=span.start, height=0.62, color=MIRRORED, alpha=0.2 + 0.5 * confidence
            )
            axes.text(span.start, row, f" {span.start:.2f} s", va="center", fontsize=8, color=INK, clip_on=True)
            axes.axvline(span.start, color=GRID, lw=0.5, zorder=0)
        names = [f"{_label(Path(source).name)}  ({confidence:.2f})" for source, _, confidence in group]
        axes.set_yticks(range(len(group)), names, fontsize=8)
        axes.invert_yaxis()
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel("seconds" if len(shown) == 1 else f"seconds of event {number}")
        axes.margins(x=0.01)
    figure.suptitle("when each recording runs, and how sure that is", fontsize=11)
    return _save(figure, path)


def _draw_segment(axes: Axes, segment: CopySegment) -> None:
    axes.plot(
        [segment.reference.start, segment.reference.end],
        [segment.query.start, segment.query.end],
        color=MIRRORED if segment.mirrored else "#70e000",
        lw=2,
        label=f"{_span(segment.query)} = {_span(segment.reference)}",
    )


def _label(name: str) -> str:
    """A file's name, as it fits beside others; no letter of it is taken for an instruction."""
    short = name if len(name) <= _LABEL_LETTERS else f"{name[: _LABEL_LETTERS // 2]}…{name[-_LABEL_LETTERS // 2 :]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short).replace("$", r"\$")


def _span(span: Span) -> str:
    return f"{span.start:.1f}-{span.end:.1f} s"


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", extra="plots") from error
    options: dict[str, Any] = {"layout": "constrained"}
    figure = Figure(figsize=(width, height), **options)
    FigureCanvasAgg(figure)
    return figure


def ready(path: str | Path) -> Path:
    """Makes the folder of a picture, and sees to it that one can be drawn and has a format, before long work.

    Raises:
        MissingExtra: without matplotlib.
        UnknownName: for a suffix that is no format of pictures.
        OSError: when the folder cannot be made.
    """
    place = Path(path)
    formats = _figure(1, 1).canvas.get_supported_filetypes()
    if place.suffix.lower().removeprefix(".") not in formats:
        raise UnknownName("format of pictures", place.suffix or place.name, [f".{name}" for name in formats])
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _save(figure: Figure, path: str | Path) -> Path:
    place = ready(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands for it
        figure.savefig(place, dpi=110)
    return place
