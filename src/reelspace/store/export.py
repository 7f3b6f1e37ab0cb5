"""What a library holds, in one file for other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reelspace.core.space import Space
from reelspace.errors import UnknownName
from reelspace.store.columns import Columns, per_video, require_output, write_columns
from reelspace.store.store import Store

__all__ = ["export"]


def export(store: Store, output: Path, *, what: str, frames: Mapping[str, Space], signatures: Space | None) -> int:
    """Writes one kind of thing to a ``.npz`` or ``.parquet`` file; the space of vectors goes with them.

    The names in ``frames``: source, video_id, time_seconds, view, weight, vector, a row per described view of a
    frame.
    ``signatures``: source, video_id, frame_count, average, cosines, sines, a row per video.
    ``videos``: source, video_id and what the container says, a row per video.

    The formats are those of `columns.write_columns`.

    Returns:
        How many rows.

    Raises:
        UnknownName: for another ``what`` or suffix.
        InvalidArgument: when the folder of ``output`` is not there.
    """
    kinds: dict[str, Callable[[], tuple[Columns, Space | None]]] = {
        **{name: partial(_frames, store, space) for name, space in frames.items()},
        "signatures": lambda: (_signatures(store, signatures or "tmk"), signatures),
        "videos": lambda: (_videos(store), None),
    }
    if what not in kinds:
        raise UnknownName("kind of export", what, kinds)
    require_output(output)
    columns, space = kinds[what]()
    return write_columns(output, columns, space)


def _frames(store: Store, space: Space) -> tuple[Columns, Space]:
    matrix = store.frame_matrix(space)
    rows_each = np.diff(matrix.bounds)
    columns = {
        **_repeated(store, matrix.video_ids, rows_each),
        "time_seconds": matrix.times_seconds,
        "view": matrix.views,
        "weight": matrix.weights,
        "vector": matrix.vectors,
    }
    return columns, space


def _signatures(store: Store, space: Space | str) -> Columns:
    matrix = store.signatures(space)
    return {
        **_repeated(store, matrix.video_ids, np.ones(len(matrix), np.int64)),
        "frame_count": matrix.frame_counts,
        "average": matrix.averages,
        "cosines": matrix.cosines,
        "sines": matrix.sines,
    }


def _videos(store: Store) -> Columns:
    videos = [store_video for _, store_video in sorted(store.videos().items())]
    facts = [(v.video, v) for v in videos]
    return {
        "source": np.array([v.sources[0] for v in videos]),
        "video_id": np.array([v.video_id for v in videos]),
        "duration_seconds": np.array([v.duration_seconds for v in videos]),
        "frames_per_second": np.array([float(f.frame_rate) if f.frame_rate else np.nan for f, _ in facts]),
        "width": np.array([f.width for f, _ in facts]),
        "height": np.array([f.height for f, _ in facts]),
        "codec": np.array([f.codec for f, _ in facts]),
        "pixel_format": np.array([f.pixel_format for f, _ in facts]),
        "container": np.array([f.container for f, _ in facts]),
    }


def _repeated(store: Store, video_ids: tuple[str, ...], counts: np.ndarray[Any, Any]) -> Columns:
    places = store.sources_by_video()
    return per_video([places[video_id][0] for video_id in video_ids], video_ids, counts)
