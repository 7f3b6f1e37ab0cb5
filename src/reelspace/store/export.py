"""What a library holds, in one file for other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.store.store import Store

__all__ = ["export"]

_BLOCK_ROWS = 65536
Columns = dict[str, Any]  # parallel arrays, memory-mapped where they are large


def export(store: Store, output: Path, *, what: str, frames: Space, signatures: Space | None) -> int:
    """Writes one kind of thing to a ``.npz`` or ``.parquet`` file; the space of vectors goes with them.

    ``frames``: source, video_id, time_seconds, view, weight, vector, a row per described view of a frame.
    ``signatures``: source, video_id, frame_count, average, cosines, sines, a row per video.
    ``videos``: source, video_id and what the container says, a row per video.

    A ``.npz`` keeps text once per video: ``sources`` (V,), ``video_ids`` (V,) and ``video_index`` (N,) into them.
    The space is its array ``space``, and the schema's metadata ``reelspace.space`` of a ``.parquet``.

    Returns:
        How many rows.

    Raises:
        UnknownName: for another ``what`` or suffix.
        InvalidArgument: when the folder of ``output`` is not there.
    """
    kinds: dict[str, Callable[[], tuple[Columns, Space | None]]] = {
        "frames": lambda: (_frames(store, frames), frames),
        "signatures": lambda: (_signatures(store, signatures or "tmk"), signatures),
        "videos": lambda: (_videos(store), None),
    }
    writers = {".npz": _write_npz, ".parquet": _write_parquet}
    if what not in kinds:
        raise UnknownName("kind of export", what, kinds)
    if output.suffix not in writers:
        raise UnknownName("file format", output.suffix or output.name, writers)
    if not output.parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.parent} to write {output.name} into; make it first")
    columns, space = kinds[what]()
    draft = output.with_name(f"{output.name}.part{output.suffix}")
    try:
        writers[output.suffix](draft, columns, space)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    return len(columns["video_id"])


def _frames(store: Store, space: Space) -> Columns:
    matrix = store.frame_matrix(space)
    rows_each = np.diff(matrix.bounds)
    return {
        **_repeated(store, matrix.video_ids, rows_each),
        "time_seconds": matrix.times_seconds,
        "view": matrix.views,
        "weight": matrix.weights,
        "vector": matrix.vectors,
    }


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
    """Source and content id of every row, as dictionary-coded Arrow arrays: a film's path is kept once."""
    places = store.sources_by_video()
    codes = pa.array(np.repeat(np.arange(len(video_ids), dtype=np.int32), counts))
    return {
        "source": pa.DictionaryArray.from_arrays(codes, pa.array([places[v][0] for v in video_ids])),
        "video_id": pa.DictionaryArray.from_arrays(codes, pa.array(list(video_ids))),
    }


def _write_npz(path: Path, columns: Columns, space: Space | None) -> None:
    arrays: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, pa.DictionaryArray):
            arrays[f"{name}s"] = np.array(column.dictionary.to_pylist())
            arrays["video_index"] = column.indices.to_numpy()
        else:
            arrays[name] = column
    if space is not None:
        arrays["space"] = np.array(space.to_json())
    np.savez(path, **arrays)


def _write_parquet(path: Path, columns: Columns, space: Space | None) -> None:
    metadata = {"reelspace.space": space.to_json()} if space is not None else None
    first = pa.table({name: _arrow(column[:0]) for name, column in columns.items()})
    with pq.ParquetWriter(path, first.schema.with_metadata(metadata)) as writer:
        for rows in _blocks(columns):
            block = pa.table({name: _arrow(column[rows]) for name, column in columns.items()})
            writer.write_table(block.replace_schema_metadata(metadata))


def _blocks(columns: Columns) -> Iterator[slice]:
    widest = max(int(np.prod(getattr(column, "shape", (1,))[1:], dtype=np.int64)) for column in columns.values())
    step = max(1, _BLOCK_ROWS * 256 // max(widest, 256))
    for start in range(0, len(columns["video_id"]), step):
        yield slice(start, start + step)


def _arrow(column: Any) -> Any:
    if not isinstance(column, np.ndarray):
        return column
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(column).reshape(-1)), int(np.prod(column.shape[1:], dtype=np.int64))
    )
