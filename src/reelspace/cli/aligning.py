"""`align` and `tmk`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelspace.alignment.tmk import write_tmk
from reelspace.cli.embedding import licence_notice
from reelspace.cli.output import console, count, notices, print_json, print_rows, shortened, shown
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, MediaError
from reelspace.media.sources import find_videos
from reelspace.pair import Pair, kernel_of, tmk_hashes
from reelspace.pair import tmk_compare as compare_hashes

__all__ = ["align", "tmk_compare", "tmk_hash"]

_LIKELY = 0.5  # confidence from which an offset is no guess


def align(
    a: str,
    b: str,
    *,
    method: str,
    encoder: str | None,
    kernel: Path | None,
    plot: Path | None,
    render: Path | None,
    as_json: bool,
) -> None:
    """Runs `reelspace align`."""
    learned = kernel_of(method, kernel)
    _check(plot, render)
    if encoder is not None:
        licence_notice([encoder])
    pair = Pair.read(a, b, encoder=encoder)
    alignment = pair.align(method=method, kernel=learned)
    written = {}
    if plot is not None:
        written["plot"] = str(pair.plot(alignment, plot))
    if render is not None:
        from reelspace.media.side_by_side import render_side_by_side

        render_side_by_side(a, b, offset_seconds=alignment.offset_seconds, output=render)
        written["render"] = str(render)
    if as_json:
        document: dict[str, Any] = {
            "a": a,
            "b": b,
            "method": alignment.method,
            "encoder": encoder,
            "offset_seconds": alignment.offset_seconds,
            "score": alignment.score,
            "confidence": alignment.confidence,
            "overlap_a": alignment.overlap_a,
            "overlap_b": alignment.overlap_b,
            "segments": alignment.segments,
        }
        print_json({**document, **written})
        return
    out = console()
    sure = "" if alignment.confidence is None else f", confidence {alignment.confidence:.3f}"
    later, earlier = (b, a) if alignment.offset_seconds >= 0 else (a, b)
    out.print(
        f"{shown(Path(later).name)} begins [bold]{abs(alignment.offset_seconds):.3f} s[/] after "
        f"{shown(Path(earlier).name)}  ({alignment.method}, score {alignment.score:.3f}{sure})"
    )
    if alignment.overlap_a is not None and alignment.overlap_b is not None:
        out.print(f"overlap: {_span(alignment.overlap_a)} of A = {_span(alignment.overlap_b)} of B")
    if not alignment.segments and (alignment.confidence is None or alignment.confidence < _LIKELY):
        out.print("no stretch of them is the same footage: take the offset as a guess", style="yellow")
    for segment in alignment.segments:
        orientation = f", {segment.orientation}" if segment.orientation else ""
        out.print(
            f"same footage: {_span(segment.query)} of A = {_span(segment.reference)} of B, "
            f"speed x{segment.speed:.2f}, score {segment.score:.2f}{orientation}"
        )
    for name, path in written.items():
        out.print(f"{name}: {shown(path)}")


def tmk_hash(videos: Sequence[str], *, output: Path, workers: int | None, as_json: bool) -> None:
    """Runs `reelspace tmk hash`."""
    sources = find_videos(videos)
    places = _hash_files(sources, output)
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for source, found in tmk_hashes(sources, workers=workers):
        if isinstance(found, MediaError):
            failed.append({"video": source, "reason": found.reason})
            notices().print(f"[red]failed[/]  {shown(source)}: {shown(found.reason)}")
            continue
        places[source].parent.mkdir(parents=True, exist_ok=True)
        write_tmk(found, places[source])
        written.append({"video": source, "output": str(places[source]), "frames": found.frame_count})
    if as_json:
        print_json({"hashes": written, "failures": failed})
    else:
        print_rows([(str(w["output"]), count(w["frames"], "frame")) for w in written])
    if failed:
        raise SystemExit(1)


def tmk_compare(a: str, b: str, *, as_json: bool) -> None:
    """Runs `reelspace tmk compare`."""
    found = compare_hashes(a, b)
    if as_json:
        facts = {"level1": found.level1, "level2": found.level2, "offset_seconds": found.offset_seconds}
        print_json({"a": a, "b": b, **facts})
    else:
        console().print(
            f"level 1 {found.level1:.6f}   level 2 {found.level2:.6f}   offset {found.offset_seconds:+.2f} s"
        )


def _check(plot: Path | None, render: Path | None) -> None:
    """Refuses what could not be written, before two films are decoded for it."""
    if plot is not None:
        from reelspace.plots import ready

        ready(plot)
    if render is not None:
        if render.suffix.lower() != ".mp4" or render.is_dir():
            raise InvalidArgument(f"--render names an .mp4 file, got {str(render)!r}")
        render.parent.mkdir(parents=True, exist_ok=True)


def _hash_files(sources: Sequence[str], output: Path) -> dict[str, Path]:
    """Where the hash of each video goes: its name, with as much of its path as tells it from the others."""
    if output.suffix == ".tmk":
        if not output.absolute().parent.is_dir():
            raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
        if len(sources) != 1:
            raise InvalidArgument(f"{output} takes one hash, but here are {len(sources)} videos; give a folder")
        return dict.fromkeys(sources, output)
    names = {source: Path(source).stem for source in sources}
    for longer in ({source: Path(source).name for source in sources}, shortened(sources)):
        often = Counter(names.values())
        names = {source: longer[source] if often[name] > 1 else name for source, name in names.items()}
    return {source: output / f"{name.lstrip('/')}.tmk" for source, name in names.items()}


def _span(span: Span) -> str:
    return f"{span.start:.2f}-{span.end:.2f} s"
