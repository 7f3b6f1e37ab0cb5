"""`align` and `tmk`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from reelspace.alignment.tmk import write_tmk
from reelspace.cli.output import console, notices, print_json, print_rows
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument, MediaError
from reelspace.pair import Pair, tmk_hashes
from reelspace.pair import tmk_compare as compare_hashes

__all__ = ["align", "tmk_compare", "tmk_hash"]


def align(a: str, b: str, *, method: str, plot: Path | None, render: Path | None, as_json: bool) -> None:
    """Runs `reelspace align`."""
    pair = Pair.read(a, b)
    alignment = pair.align(method=method)
    written = {}
    if plot is not None:
        written["plot"] = str(pair.plot(alignment, plot))
    if render is not None:
        from reelspace.media.side_by_side import render_side_by_side

        render.parent.mkdir(parents=True, exist_ok=True)
        render_side_by_side(a, b, offset_seconds=alignment.offset_seconds, output=render)
        written["render"] = str(render)
    if as_json:
        document: dict[str, Any] = {
            "a": a,
            "b": b,
            "method": alignment.method,
            "offset_seconds": alignment.offset_seconds,
            "score": alignment.score,
            "overlap_a": alignment.overlap_a,
            "overlap_b": alignment.overlap_b,
            "segments": alignment.segments,
        }
        print_json({**document, **written})
        return
    out = console()
    later, earlier = (b, a) if alignment.offset_seconds >= 0 else (a, b)
    out.print(
        f"{escape(Path(later).name)} begins [bold]{abs(alignment.offset_seconds):.3f} s[/] after "
        f"{escape(Path(earlier).name)}  ({alignment.method}, score {alignment.score:.3f})"
    )
    if alignment.overlap_a is not None and alignment.overlap_b is not None:
        out.print(f"overlap: {_span(alignment.overlap_a)} of A = {_span(alignment.overlap_b)} of B")
    if not alignment.segments:
        out.print("no stretch of them is the same footage: take the offset as a guess", style="yellow")
    for segment in alignment.segments:
        mirrored = ", mirrored" if segment.mirrored else ""
        out.print(
            f"same footage: {_span(segment.query)} of A = {_span(segment.reference)} of B, "
            f"speed x{segment.speed:.2f}, score {segment.score:.2f}{mirrored}"
        )
    for name, path in written.items():
        out.print(f"{name}: {escape(path)}")


def tmk_hash(videos: Sequence[str], *, output: Path, workers: int | None, as_json: bool) -> None:
    """Runs `reelspace tmk hash`."""
    single = output.suffix == ".tmk"
    if single and not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for source, found in tmk_hashes(videos, workers=workers):
        if isinstance(found, MediaError):
            failed.append({"video": source, "reason": found.reason})
            notices().print(f"[red]failed[/]  {escape(source)}: {escape(found.reason)}")
            continue
        if single and written:
            raise InvalidArgument(f"{output} takes one hash, but there are several videos; give a folder")
        place = output if single else output / f"{Path(source).stem}.tmk"
        if not single:
            output.mkdir(parents=True, exist_ok=True)
            if any(other["output"] == str(place) for other in written):
                place = output / f"{Path(source).name}.tmk"  # two videos that differ by suffix only
        write_tmk(found, place)
        written.append({"video": source, "output": str(place), "frames": found.frame_count})
    if as_json:
        print_json({"hashes": written, "failures": failed})
    else:
        print_rows([(str(w["output"]), f"{w['frames']} frames") for w in written])
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


def _span(span: Span) -> str:
    return f"{span.start:.2f}-{span.end:.2f} s"
