"""Parallel columns in one file for other tools: ``.npz`` and ``.parquet``."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reelspace.core.compact import CompactRows
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["SPACE_KEY", "Columns", "drafted", "per_video", "require_output", "write_columns"]

SPACE_KEY = "reelspace.space"

_BLOCK_ROWS = 65536
Columns = dict[str, Any]  # parallel arrays, memory-mapped where they are large


def require_output(output: Path) -> None:
    """Whether a file of columns can be written there.

    Raises:
        UnknownName: for another suffix than ``.npz`` and ``.parquet``.
        InvalidArgument: when the folder of ``output`` is not there.
    """
    if output.suffix not in _WRITERS:
        raise UnknownName("file format", output.suffix or output.name, _WRITERS)
    if not output.parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.parent} to write {output.name} into; make it first")


def write_columns(output: Path, columns: Columns, space: Space | None) -> int:
    """Writes columns to a ``.npz`` or ``.parquet`` file, whole or not at all; the space of vectors goes with them.

    A ``.npz`` keeps text once per video: ``sources`` (V,), ``video_ids`` (V,) and ``video_index`` (N,) into them.
    The space is its array ``space``, and the schema's metadata ``reelspace.space`` of a ``.parquet``.

    Returns:
        How many rows.

    Raises:
        UnknownName, InvalidArgument: as `require_output`.
    """
    require_output(output)
    with drafted(output) as draft:
        _WRITERS[output.suffix](draft, columns, space)
    return len(columns["video_id"])


@contextmanager
def drafted(output: Path) -> Iterator[Path]:
    """A place beside ``output`` to write to: it becomes ``output`` in the end, or is gone and ``output`` as it was.

    Raises:
        OSError: naming ``output``, whatever of it could not be written.
    """
    draft = output.with_name(f"{output.name}.part")
    try:
        yield draft
        draft.replace(output)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(output)) from error
    finally:
        with suppress(OSError):  # a disk that cannot be written refuses even to remove what is not there
            draft.unlink()


def per_video(sources: Sequence[str], video_ids: Sequence[str], counts: NDArray[np.integer]) -> Columns:
    """Source and content id of every row, as dictionary-coded Arrow arrays: a film's path is kept once."""
    codes = pa.array(np.repeat(np.arange(len(video_ids), dtype=np.int32), counts))
    return {
        "source": pa.DictionaryArray.from_arrays(codes, pa.array(list(sources), pa.string())),
        "video_id": pa.DictionaryArray.from_arrays(codes, pa.array(list(video_ids), pa.string())),
    }


def _write_npz(path: Path, columns: Columns, space: Space | None) -> None:
    arrays: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, pa.DictionaryArray):
            arrays[f"{name}s"] = np.array(column.dictionary.to_pylist(), dtype=np.str_)
            arrays["video_index"] = column.indices.to_numpy()
        else:
            arrays[name] = column
    if space is not None:
        arrays["space"] = np.array(space.to_json())
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if isinstance(array, CompactRows):  # as numbers, but never all of them in memory
                    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    for first in range(0, len(array), _BLOCK_ROWS):
                        file.write(array[first : first + _BLOCK_ROWS].tobytes())
                else:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _write_parquet(path: Path, columns: Columns, space: Space | None) -> None:
    metadata = {SPACE_KEY: space.to_json()} if space is not None else None
    first = pa.table({name: _arrow(column[:0]) for name, column in columns.items()})
    with pq.ParquetWriter(path, first.schema.with_metadata(metadata)) as writer:
        for rows in _blocks(columns):
            block = pa.table({name: _arrow(column[rows]) for name, column in columns.items()})
            writer.write_table(block.replace_schema_metadata(metadata))


_WRITERS = {".npz": _write_npz, ".parquet": _write_parquet}


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
