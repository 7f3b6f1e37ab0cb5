"""Pictures of answers: why two videos match, and how they line up. Needs the extra ``plots``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reelspace.core.results import Alignment, CopyMatch, CopySegment
from reelspace.core.time import Span
from reelspace.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_alignment", "plot_match"]

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
    figure = _figure(7.2, 8.4)
    top, bottom = figure.subplots(2, 1, gridspec_kw={"height_ratios": [3, 1]})
    image = top.imshow(
        similarity, origin="lower", aspect="auto", cmap="magma", extent=(0, duration_b, 0, duration_a), vmin=0, vmax=1
    )
    figure.colorbar(image, ax=top, label="similarity of frames", fraction=0.04, pad=0.02)
    for segment in alignment.segments:
        _draw_segment(top, segment)
    line = np.array([0.0, duration_b])
    top.plot(line, line + alignment.offset_seconds, color="#7bdff2", lw=1, ls=(0, (4, 4)), label="best offset")
    top.set(xlim=(0, duration_b), ylim=(0, duration_a), xlabel=f"{name_b}  [s]", ylabel=f"{name_a}  [s]")
    top.set_title(
        f"{name_b} begins {alignment.offset_seconds:+.2f} s after {name_a}   (score {alignment.score:.3f})", fontsize=11
    )
    top.legend(loc="upper left", fontsize=8, framealpha=0.8)

    bottom.plot(alignment.offsets_seconds, alignment.curve, color=INK, lw=1)
    bottom.axvline(alignment.offset_seconds, color=COPY, lw=1)
    bottom.set(
        xlabel=f"offset of {name_b} on the clock of {name_a}  [s]", ylabel=f"{alignment.method} score"
    )
    bottom.grid(color=GRID, lw=0.5)
    bottom.margins(x=0)
    return _save(figure, path)


def plot_match(
    match: CopyMatch,
    path: str | Path,
    *,
    query_frames: Sequence[NDArray[np.uint8]],
    reference_frames: Sequence[NDArray[np.uint8]],
    times: Sequence[tuple[float, float]],
    query_seconds: float,
    reference_seconds: float,
) -> Path:
    """Draws matched moments of the query above those of the reference, and where they lie in both.

    Args:
        match: the pair and its segments.
        path: where the picture goes; the suffix decides the format.
        query_frames: uint8 (H, W, 3), one per moment.
        reference_frames: likewise, the same moments in the reference.
        times: (query second, reference second) of each moment.
        query_seconds: duration of the query.
        reference_seconds: duration of the reference.

    Raises:
        MissingExtra: without matplotlib.
    """
    columns = len(times)
    figure = _figure(2.4 * columns + 0.6, 5.4)
    grid = figure.add_gridspec(3, columns, height_ratios=[3, 3, 1.6], hspace=0.28, wspace=0.06)
    for column, (query, reference, seconds) in enumerate(zip(query_frames, reference_frames, times, strict=True)):
        for row, (picture, second) in enumerate(zip((query, reference), seconds, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{second:.2f} s", fontsize=8, pad=2)
            if column == 0:
                axes.set_ylabel(("query", "reference")[row], fontsize=9)

    strip = figure.add_subplot(grid[2, :])
    for y, duration in ((1, query_seconds), (0, reference_seconds)):
        strip.barh(y, duration, height=0.42, color=GRID)
    for segment in match.segments:
        colour = MIRRORED if segment.mirrored else COPY
        for y, span in ((1, segment.query), (0, segment.reference)):
            strip.barh(y, span.duration, left=span.start, height=0.42, color=colour)
        strip.fill(
            [segment.query.start, segment.query.end, segment.reference.end, segment.reference.start],
            [0.79, 0.79, 0.21, 0.21],
            color=colour,
            alpha=0.25,
            lw=0,
        )
    strip.set_yticks([1, 0], ["query", "reference"], fontsize=8)
    strip.set(xlim=(0, max(query_seconds, reference_seconds)), xlabel="seconds")
    strip.spines[["top", "right", "left"]].set_visible(False)
    best = match.segments[0]
    figure.suptitle(
        f"{Path(match.query).name} {_span(best.query)}  shows  {Path(match.reference).name} {_span(best.reference)}\n"
        f"score {best.score:.2f}   speed x{best.speed:.2f}{'   mirrored' if best.mirrored else ''}",
        fontsize=10,
    )
    return _save(figure, path)


def _draw_segment(axes: Axes, segment: CopySegment) -> None:
    axes.plot(
        [segment.reference.start, segment.reference.end],
        [segment.query.start, segment.query.end],
        color=MIRRORED if segment.mirrored else "#70e000",
        lw=2,
        label=f"{_span(segment.query)} = {_span(segment.reference)}",
    )


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


def _save(figure: Figure, path: str | Path) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=110)
    return place
