"""Arrays derived from a table, on disk, memory-mapped: so that exact search is one pass over memory.

A folder holds generations; one generation is one raw file per column. Adding videos appends to the files (a reader
maps only the rows its index knows, so it does not notice); removing videos starts a new generation. The index,
which names the generation, the table's version and the rows of each video, is replaced by an atomic rename.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelspace.errors import StoreError
from reelspace.store.locks import FileLock

__all__ = ["Columns", "MappedArrays"]

Columns = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
Batch = tuple[pa.Array, Mapping[str, NDArray[Any]]]
Batches = Callable[[Sequence[str] | None], Iterator[Batch]]

APPEND_AT_MOST = 2000  # videos looked up by id; beyond that one pass over the whole table is quicker
LOCK_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Index:
    table: str
    version: int
    generation: int
    video_ids: tuple[str, ...]
    bounds: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> _Index | None:
        try:
            with np.load(io.BytesIO((folder / "index.npz").read_bytes())) as stored:
                ids = tuple(stored["video_ids"].astype(str).tolist())
                table = str(stored["table"]) if "table" in stored else ""
                return cls(table, int(stored["version"]), int(stored["generation"]), ids, stored["bounds"])
        except FileNotFoundError:
            return None

    def write(self, folder: Path) -> None:
        draft = folder / "index.new.npz"
        np.savez(
            draft,
            table=self.table,
            version=self.version,
            generation=self.generation,
            video_ids=np.array(self.video_ids, dtype="S"),
            bounds=self.bounds,
        )
        draft.replace(folder / "index.npz")


@dataclass(frozen=True, slots=True, eq=False)
class MappedArrays:
    """The columns of a table, mapped, with the rows of each video.

    Attributes:
        video_ids: in the order in which they came into the table.
        bounds: int64 (V + 1,): video ``i`` has the rows ``bounds[i]:bounds[i + 1]``.
        columns: read-only arrays of ``bounds[-1]`` rows.
    """

    video_ids: tuple[str, ...]
    bounds: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def refresh(
        cls,
        folder: Path,
        columns: Columns,
        *,
        table: str,
        version: int,
        video_ids: Callable[[], Sequence[str]],
        batches: Batches,
    ) -> MappedArrays:
        """Maps the arrays in ``folder``, bringing them to the table's ``version`` first.

        Args:
            folder: made where it is missing.
            columns: dtype and shape of one row of each column.
            table: what tells it from one that had its name before.
            version: of the table.
            video_ids: gives the ids of the videos that have rows in that version.
            batches: streams the rows of the given videos, or of all, those of one video together: their ids and
                their columns.
        """
        index = _Index.read(folder)
        if index is None or (index.table, index.version) != (table, version):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "write.lock", timeout_seconds=LOCK_TIMEOUT_SECONDS):
                index = _Index.read(folder)
                if index is None or (index.table, index.version) != (table, version):
                    index = _update(
                        folder,
                        index,
                        columns,
                        table=table,
                        version=version,
                        video_ids=video_ids(),
                        batches=batches,
                    )
                # Mapped while the lock keeps other writers from replacing this generation.
                return cls._map(folder, index, columns)
        try:
            return cls._map(folder, index, columns)
        except FileNotFoundError:  # replaced by another process since the index was read
            return cls.refresh(folder, columns, table=table, version=version, video_ids=video_ids, batches=batches)

    @classmethod
    def _map(cls, folder: Path, index: _Index, columns: Columns) -> MappedArrays:
        rows = int(index.bounds[-1])
        mapped = {
            name: np.memmap(_file(folder, index.generation, name), kind, "r", shape=(rows, *shape))
            if rows
            else np.empty((0, *shape), kind)
            for name, (kind, shape) in columns.items()
        }
        return cls(index.video_ids, index.bounds, mapped)


def _file(folder: Path, generation: int, column: str) -> Path:
    return folder / str(generation) / f"{column}.raw"


def _update(
    folder: Path,
    index: _Index | None,
    columns: Columns,
    *,
    table: str,
    version: int,
    video_ids: Sequence[str],
    batches: Batches,
) -> _Index:
    """Writes what is missing and then the index; the caller holds the lock."""
    wanted = set(video_ids)
    have = set(index.video_ids) if index is not None else set()
    added = sorted(wanted - have)
    if index is not None and index.table == table and have <= wanted and len(added) <= APPEND_AT_MOST:
        stream = batches(added) if added else iter(())
    else:
        index = _Index(table, version, index.generation + 1 if index is not None else 0, (), np.zeros(1, np.int64))
        stream = batches(None)
    ids, counts = _append(folder, index, columns, stream)
    if len(set(ids)) != len(ids):
        raise StoreError(
            f"the rows of a video are not together in the table behind {folder}; make the library anew"
        )
    for without_rows in sorted(wanted.difference(ids)):
        ids.append(without_rows)
        counts.append(0)
    new = _Index(table, version, index.generation, tuple(ids), np.cumsum([0, *counts], dtype=np.int64))
    new.write(folder)
    for other in folder.iterdir():
        if other.is_dir() and other.name != str(new.generation):
            shutil.rmtree(other)
    return new


def _append(folder: Path, index: _Index, columns: Columns, stream: Iterator[Batch]) -> tuple[list[str], list[int]]:
    """Writes batches behind the rows of ``index``; gives ids and row counts of all, those of ``index`` first."""
    ids, counts = list(index.video_ids), np.diff(index.bounds).tolist()
    (folder / str(index.generation)).mkdir(exist_ok=True)
    with ExitStack() as files:
        outputs = {}
        for name, (kind, shape) in columns.items():
            path = _file(folder, index.generation, name)
            path.touch()
            outputs[name] = files.enter_context(path.open("r+b"))
            # What lies beyond the index's rows was left by a process that died while appending.
            outputs[name].truncate(int(index.bounds[-1]) * kind.itemsize * int(np.prod(shape, dtype=int)))
            outputs[name].seek(0, io.SEEK_END)
        for batch_ids, batch in stream:
            runs = pc.run_end_encode(batch_ids)
            lengths = np.diff(runs.run_ends.to_numpy(), prepend=0).tolist()
            for video_id, length in zip(runs.values.to_pylist(), lengths, strict=True):
                if ids and ids[-1] == video_id:
                    counts[-1] += length
                else:
                    ids.append(video_id)
                    counts.append(length)
            for name, output in outputs.items():
                output.write(np.ascontiguousarray(batch[name], columns[name][0]).data)
    return ids, counts
