"""`copies` and `match`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reelspace.cli.output import console, count, notices, print_json, print_rows, shortened, shown, visible
from reelspace.core.results import CopyGroup, CopyMatch, CopySegment
from reelspace.core.time import Span
from reelspace.errors import MediaError, UnknownName
from reelspace.library import Library

__all__ = ["copies", "match"]


def copies(
    *,
    library: Path | None,
    against: Path | None,
    method: str,
    threshold: float | None,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Runs `reelspace copies`."""
    if method not in _METHODS:
        raise UnknownName("method of finding copies", method, _METHODS)
    _check(plots)
    _METHODS[method](library, against, threshold=threshold, plots=plots, as_json=as_json)


def match(
    query: str, *, library: Path | None, limit: int, threshold: float | None, plots: Path | None, as_json: bool
) -> None:
    """Runs `reelspace match`."""
    _check(plots)
    place = Library(library, create=False)
    least = place.threshold if threshold is None else threshold
    matches = place.match(query, threshold=least)[:limit]
    pictures = _draw(matches, plots)
    if as_json:
        found = [m.to_dict() for m in matches]
        print_json({"library": place.path, "query": query, "threshold": least, "matches": found, **pictures})
        return
    out = console()
    if not matches:
        where = shown(str(place.path))
        out.print(f"Nothing in {where} shows footage of {shown(query)}, at a score of {least:.3g} or more.")
        return
    _print_matches(matches)
    _name_pictures(pictures)


def _by_frames(
    library: Path | None, against: Path | None, *, threshold: float | None, plots: Path | None, as_json: bool
) -> None:
    place = Library(library, create=False)
    other = Library(against, create=False) if against else None
    least = max(each.threshold for each in (place, other or place)) if threshold is None else threshold
    groups = place.copies(against=other, threshold=least)
    pictures = _draw([m for group in groups for m in group.matches], plots)
    if as_json:
        found = [group.to_dict() for group in groups]
        print_json({"library": place.path, "threshold": least, "groups": found, **pictures})
        return
    out = console()
    if not groups:
        out.print(f"No copies at a score of {least:.3g} or more.")
        return
    pairs = sum(len(group.matches) for group in groups)
    out.print(f"{count(len(groups), 'group')} of files that share footage, {count(pairs, 'pair')}")
    for number, group in enumerate(groups, 1):
        out.print(f"\n[bold]Group {number}[/]  {_members(group)}")
        _print_matches(group.matches)
    _name_pictures(pictures)


def _by_tmk(
    library: Path | None, against: Path | None, *, threshold: float | None, plots: Path | None, as_json: bool
) -> None:
    place = Library(library, create=False)
    pairs = place.tmk_copies(against=Library(against, create=False) if against else None, threshold=threshold)
    if plots:
        notices().print("--plots draws intervals; whole-video hashes have none. Use the method `frames`.")
    if as_json:
        print_json({"library": place.path, "pairs": pairs})
        return
    names = shortened([source for pair in pairs for source in (pair.query, pair.reference)])
    rows = [
        (names[p.query], names[p.reference], f"{p.level1:.3f}", f"{p.level2:.3f}", f"{p.offset_seconds:+.2f} s")
        for p in pairs
    ]
    print_rows(rows, header=("query", "reference", "level 1", "level 2", "offset"))
    if not pairs:
        console().print("No copies.")


_METHODS = {"frames": _by_frames, "tmk": _by_tmk}


def _members(group: CopyGroup) -> str:
    names = shortened(group.files)
    return shown(", ".join(names[file] for file in group.files))


def _print_matches(matches: Sequence[CopyMatch]) -> None:
    names = shortened([source for m in matches for source in (m.query, m.reference)])
    rows = []
    for m in matches:
        for position, segment in enumerate(m.segments):
            query, reference = (names[m.query], names[m.reference]) if position == 0 else ("", "")
            rows.append((query, _span(segment.query), reference, *_facts(segment)))
    print_rows(rows, header=("query", "seconds", "reference", "seconds", "speed", "score", ""))


def _facts(segment: CopySegment) -> Sequence[str]:
    return (
        _span(segment.reference),
        f"x{segment.speed:.2f}",
        f"{segment.score:.2f}",
        segment.orientation,
    )


def _span(span: Span) -> str:
    return f"{span.start:.2f}-{span.end:.2f}"


def _check(plots: Path | None) -> None:
    """Refuses a folder of pictures that cannot be made before the pictures are."""
    if plots is not None:
        from reelspace.plots import ready

        ready(plots / "any.png")


def _draw(matches: Sequence[CopyMatch], folder: Path | None) -> dict[str, list[str]]:
    """Draws one picture per pair; a file that is gone since costs its picture only."""
    if folder is None:
        return {}
    from reelspace.plots import plot_match

    pictures = []
    for number, found in enumerate(matches, 1):
        name = f"{number:03d}-{_brief(found.query)}--{_brief(found.reference)}.png"
        try:
            pictures.append(str(plot_match(found, folder / name)))
        except MediaError as error:
            notices().print(f"no picture of pair {number}: {shown(str(error))}")
    return {"pictures": pictures}


def _brief(source: str) -> str:
    """A file's name as part of another: without suffix, fit for a terminal, and not too long for a file system."""
    return visible(Path(source).stem).encode()[:80].decode(errors="ignore")


def _name_pictures(pictures: dict[str, list[str]]) -> None:
    drawn = pictures.get("pictures", [])
    if drawn:
        console().print(f"\n{count(len(drawn), 'picture')} in {shown(str(Path(drawn[0]).parent))}")
