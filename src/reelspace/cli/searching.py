"""`search` and `similar`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from reelspace.cli.output import console, count, print_json, print_rows, seconds, shortened, shown
from reelspace.core.results import Hit
from reelspace.core.time import Span
from reelspace.encoders.load import Dtype
from reelspace.errors import InvalidArgument
from reelspace.library import Library
from reelspace.tasks.search import VideoFilter

__all__ = ["search", "similar"]


def search(
    texts: Sequence[str],
    *,
    library: Path | None,
    encoder: str | None,
    limit: int,
    against: Sequence[str],
    among: VideoFilter,
    gap_seconds: float | None,
    matrix: Path | None,
    device: str,
    dtype: Dtype,
    as_json: bool,
) -> None:
    """Runs `reelspace search`."""
    if not all(text.strip() for text in (*texts, *against)):
        raise InvalidArgument("a text to search for says something, got an empty one")
    place = Library(library, create=False)
    if matrix is not None:
        if against or among != VideoFilter():
            raise InvalidArgument("--matrix holds all videos as they are; give it no filter and no --against-text")
        _write_matrix(place, texts, matrix, encoder=encoder, device=device, dtype=dtype, as_json=as_json)
        return
    found = {
        text: place.search(
            text,
            encoder=encoder,
            k=limit,
            against=against,
            among=None if among == VideoFilter() else among,
            gap_seconds=gap_seconds,
            device=device,
            dtype=dtype,
        )
        for text in texts
    }
    if as_json:
        print_json({"searches": [{"text": text, "hits": [asdict(hit) for hit in found[text]]} for text in texts]})
        return
    for text in texts:
        if len(texts) > 1:
            console().print(f"[bold]{shown(text)}[/]")
        _print_hits(found[text])


def _write_matrix(
    place: Library,
    texts: Sequence[str],
    output: Path,
    *,
    encoder: str | None,
    device: str,
    dtype: Dtype,
    as_json: bool,
) -> None:
    if output.suffix not in {".npz", ".csv"}:
        raise InvalidArgument(f"the matrix is written as .npz or .csv, got {output}")
    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    scores, videos = place.text_scores(texts, encoder=encoder, device=device, dtype=dtype)
    if output.suffix == ".npz":
        np.savez(output, scores=scores, texts=np.array(texts), videos=np.array(videos))
    else:
        import csv

        with output.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["video", *texts])
            rows.writerows([video, *column.tolist()] for video, column in zip(videos, scores.T, strict=True))
    if as_json:
        print_json({"output": output, "texts": len(texts), "videos": len(videos)})
    else:
        console().print(
            f"Wrote {count(len(texts), 'text')} x {count(len(videos), 'video')} to {shown(str(output))}."
        )


def similar(
    query: str,
    *,
    start: float | None,
    end: float | None,
    library: Path | None,
    encoder: str | None,
    limit: int,
    by: Literal["best", "mean"],
    among: VideoFilter,
    gap_seconds: float | None,
    device: str,
    dtype: Dtype,
    as_json: bool,
) -> None:
    """Runs `reelspace similar`."""
    span = None
    if start is not None or end is not None:
        span = Span(start or 0.0, sys.float_info.max if end is None else end)
    hits = Library(library, create=False).similar(
        query,
        span=span,
        encoder=encoder,
        k=limit,
        by=by,
        among=None if among == VideoFilter() else among,
        gap_seconds=gap_seconds,
        device=device,
        dtype=dtype,
    )
    if as_json:
        print_json({"query": query, "hits": [asdict(hit) for hit in hits]})
    else:
        _print_hits(hits)


def _print_hits(hits: Sequence[Hit]) -> None:
    if not hits:
        console().print("Nothing there to search among.")
        return
    names = shortened([hit.video for hit in hits])
    rows = [
        (
            f"{hit.score:.3f}",
            f"{seconds(hit.span.start)} - {seconds(hit.span.end)}",
            names[hit.video],
            f"like {seconds(hit.query.start)} - {seconds(hit.query.end)}" if hit.query else "",
        )
        for hit in hits
    ]
    print_rows(rows)
