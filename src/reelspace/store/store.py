"""The library on disk: what is in it, and the one way anything gets into it.

    library.json        schema version, and the committed version of every table: THE commit record
    sources.lance       the ledger, one row per path or URL
    videos.lance        one row per content
    frames_*.lance      one table per space of frame vectors, rows grouped by video, sorted by time, then view
    clips_*.lance       one table per space of clip vectors, rows grouped by video, sorted by time
    signatures_*.lance  one table per space of whole-video signatures, one row per video
    locks/              who writes, who works on which file
    cache/              arrays derived from the tables, for memory-mapped search; may be deleted

LanceDB commits one table at a time. A step of ours touches several, so a reader trusts only the versions that
`library.json` names, and that file is replaced by an atomic rename as the last act of a step. Whoever next takes
the write lock and finds a table newer than the record says (its writer was killed) first restores the recorded
version. So a step happened wholly or not at all, and readers need no lock.
"""

from __future__ import annotations

import errno
import json
import math
import re
import secrets
import shutil
import tempfile
import weakref
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version as installed_version
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfSq
from numpy.typing import NDArray

from reelspace.core.compact import CompactRows, Precision, require_precision
from reelspace.core.embeddings import ClipSequence, Embeddings, until_next
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, NotALibrary, StoreBusy, StoreError, UnknownName
from reelspace.store import tables
from reelspace.store.locks import FileLock
from reelspace.store.mapped import Columns, MappedArrays
from reelspace.store.nearest import IndexedRows, Neighbours, nearest_exact
from reelspace.store.rows import Finished, LedgerEntry, SignatureMatrix, StoredVideo, Summary, trusted_seconds

__all__ = ["SCHEMA_VERSION", "Record", "Store"]

SCHEMA_VERSION = 1
COMPACT_SCHEMA_VERSION = 2  # a library with rows of int8: what reads version 1 alone refuses it
RECORD_NAME = "library.json"
KEEP_VERSIONS = timedelta(minutes=10)
COMPACT_AFTER_FRAGMENTS = 200
BATCH_ROWS = 8192
TABLE_KEY = b"reelspace.table"
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_PLACE_IN_SOURCE = re.compile(r", /\S+\.rs:[\d:]+")  # LanceDB's, in its errors


@dataclass(frozen=True, slots=True)
class Record:
    """What `library.json` says.

    Attributes:
        commit: number of steps since the library was made.
        versions: LanceDB version of each table as of that step.
        created_by: the version of reelspace that made the library.
        created_at: when, ISO 8601 in UTC.
        frame_precision: how the rows of frames are kept.
    """

    commit: int
    versions: Mapping[str, int]
    created_by: str
    created_at: str
    frame_precision: Precision = "float16"

    @classmethod
    def read(cls, place: Path) -> Record:
        """The record of the library at ``place``.

        Raises:
            NotALibrary: when there is none, or it is of another schema version.
        """
        try:
            value = json.loads((place / RECORD_NAME).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise NotALibrary(
                f"no library at {place}; make one with: reelspace index FOLDER --library {place}"
            ) from None
        except (OSError, ValueError) as error:
            raise NotALibrary(f"{place / RECORD_NAME} cannot be read: {error}") from error
        if value.get("schema_version") not in {SCHEMA_VERSION, COMPACT_SCHEMA_VERSION}:
            raise NotALibrary(
                f"{place} has schema version {value.get('schema_version')}, this reelspace reads {SCHEMA_VERSION} "
                f"and {COMPACT_SCHEMA_VERSION}; index into a new library, or use the reelspace that made it"
            )
        precision = require_precision(value.get("frame_precision", "float16"))
        return cls(value["commit"], value["versions"], value["created_by"], value["created_at"], precision)

    def write(self, place: Path) -> None:
        """Replaces the record in one act; the caller holds the write lock."""
        compact = self.frame_precision != "float16"
        value: dict[str, Any] = {
            "schema_version": COMPACT_SCHEMA_VERSION if compact else SCHEMA_VERSION,
            **({"frame_precision": self.frame_precision} if compact else {}),
            "created_by": self.created_by,
            "created_at": self.created_at,
            "commit": self.commit,
            "versions": dict(sorted(self.versions.items())),
        }
        draft = place / f"{RECORD_NAME}.new"
        draft.write_text(json.dumps(value, indent=1), "utf-8")
        draft.replace(place / RECORD_NAME)


class Store:
    """A library on disk, opened. Reading needs no lock and always sees whole steps; writing is one step at a time.

    Attributes:
        place: the folder.

    Raises:
        NotALibrary: when there is no library at ``place``, or one of another schema version.
    """

    def __init__(self, place: Path | str, *, lock_timeout_seconds: float = 60.0) -> None:
        self.place = Path(place).absolute()
        self._own_commits: list[int] = []
        # Of a library that may only be read, as archives often may: where its arrays are mapped from.
        self._cache_elsewhere: Path | None = None
        self._write_lock_path = self.place / "locks" / "write.lock"
        self._lock_timeout_seconds = lock_timeout_seconds
        Record.read(self.place)
        self._database = lancedb.connect(str(self.place))

    @classmethod
    def create(
        cls,
        place: Path | str,
        *,
        frame_precision: Precision | None = None,
        lock_timeout_seconds: float = 60.0,
    ) -> Self:
        """Opens the library at ``place``, making an empty one where there is none.

        Args:
            place: the folder.
            frame_precision: how a new library keeps the rows of frames, for good; None for float16, or for whatever
                the library at ``place`` was made with.
            lock_timeout_seconds: how long another writer is waited for.

        Raises:
            UnknownName: when no precision has that name.
            InvalidArgument: when the library at ``place`` keeps them otherwise.
            NotALibrary: when ``place`` is a file, or a folder that holds other things.
        """
        if frame_precision is not None:
            require_precision(frame_precision)
        folder = Path(place).absolute()
        if folder.exists() and not folder.is_dir():
            raise NotALibrary(f"{folder} is a file; a library is a folder")
        if not (folder / RECORD_NAME).exists():
            if folder.exists() and not {entry.name for entry in folder.iterdir()} <= {
                "locks",
                f"{RECORD_NAME}.new",
            }:
                raise NotALibrary(f"{folder} holds other files and no {RECORD_NAME}; choose an empty or new folder")
            (folder / "locks").mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "locks" / "write.lock", timeout_seconds=lock_timeout_seconds):
                if not (folder / RECORD_NAME).exists():
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    maker = f"reelspace {installed_version('reelspace')}"
                    Record(0, {}, maker, now, frame_precision or "float16").write(folder)
        store = cls(folder, lock_timeout_seconds=lock_timeout_seconds)
        if frame_precision is not None:
            store.require_precision(frame_precision)
        return store

    @property
    def frame_precision(self) -> Precision:
        """How the rows of frames are kept, since the library was made."""
        return self.record().frame_precision

    def require_precision(self, wanted: Precision) -> None:
        """Refuses a precision of frame rows that is not this library's.

        Raises:
            InvalidArgument: naming both.
        """
        held = self.frame_precision
        if wanted != held:
            raise InvalidArgument(
                f"{self.place} keeps its frames as {held}, not as {wanted}, and one library keeps one form; leave "
                "the precision out, or index into a new library"
            )

    # Reading

    def record(self) -> Record:
        """The last step's record; pass it to several reads that must agree with one another."""
        return Record.read(self.place)

    def commits_by_others(self) -> int:
        """How many of the library's steps so far were not written through this object."""
        commit = self.record().commit
        return commit - bisect_right(self._own_commits, commit)

    def ledger(self, record: Record | None = None) -> dict[str, LedgerEntry]:
        """Every file the library knows of, by path or URL."""
        rows = self._rows("sources", record=record)
        return {entry.source: entry for entry in tables.table_to_entries(rows)} if rows is not None else {}

    def find(self, sources: Sequence[str]) -> dict[str, LedgerEntry]:
        """The ledger's entries of ``sources``, those there are."""
        rows = self._rows("sources", where=tables.is_one_of("source", sources)) if sources else None
        return {entry.source: entry for entry in tables.table_to_entries(rows)} if rows is not None else {}

    def sources_by_video(self, record: Record | None = None) -> dict[str, tuple[str, ...]]:
        """Where each content lies, by content id: every indexed path or URL, sorted."""
        rows = self._rows("sources", ["source", "video_id"], where="outcome = 'indexed'", record=record)
        places: defaultdict[str, list[str]] = defaultdict(list)
        if rows is not None:
            for source, video_id in zip(rows["source"].to_pylist(), rows["video_id"].to_pylist(), strict=True):
                places[video_id].append(source)
        return {video_id: tuple(sorted(found)) for video_id, found in places.items()}

    def videos(self, video_ids: Sequence[str] | None = None) -> dict[str, StoredVideo]:
        """What is known of the contents of these ids, or of all, by content id."""
        record = self.record()
        where = tables.is_one_of("video_id", video_ids) if video_ids is not None else None
        rows = self._rows("videos", where=where, record=record) if video_ids is None or video_ids else None
        if rows is None:
            return {}
        return {v.video_id: v for v in tables.table_to_videos(rows, self.sources_by_video(record))}

    def tables_by_video(
        self, video_ids: Sequence[str] | None = None, *, record: Record | None = None
    ) -> dict[str, frozenset[str]]:
        """Names of the tables that hold vectors of each content (of these, or of all), by content id."""
        where = tables.is_one_of("video_id", video_ids) if video_ids is not None else None
        rows = self._rows("videos", ["video_id", "tables"], where=where, record=record)
        if rows is None:
            return {}
        return {
            video_id: frozenset(names)
            for video_id, names in zip(rows["video_id"].to_pylist(), rows["tables"].to_pylist(), strict=True)
        }

    def spaces(self) -> dict[str, Space]:
        """The space of every table of vectors, by the table's name."""
        record = self.record()
        return {
            name: tables.space_of(self._open(name, record).schema)
            for name in sorted(record.versions)
            if name.startswith(tables.VECTOR_TABLES)
        }

    def require(
        self, *, frames: Iterable[Space] = (), clips: Iterable[Space] = (), signatures: Iterable[Space] = ()
    ) -> None:
        """Refuses spaces that differ from those of the same name in this library; new names are welcome.

        Raises:
            SpaceMismatch: naming both.
        """
        have = self.spaces()
        wanted = {
            **{tables.frame_table_name(s): s for s in frames},
            **{tables.clip_table_name(s): s for s in clips},
            **{tables.signature_table_name(s): s for s in signatures},
        }
        for name, space in wanted.items():
            if name in have:
                have[name].require(space, where=f"{self.place}, table {name},")

    def summary(self) -> Summary:
        """Counts for a status page."""
        record = self.record()
        rows = self._rows("sources", ["outcome", "reason"], record=record)
        outcomes = rows["outcome"].to_pylist() if rows is not None else []
        reasons = rows["reason"].to_pylist() if rows is not None else []
        failed = Counter(r for outcome, r in zip(outcomes, reasons, strict=True) if outcome == "failed")
        durations = self._durations(record)
        return Summary(
            indexed=outcomes.count("indexed"),
            failed=dict(failed.most_common()),
            videos=len(durations),
            video_seconds=sum(durations.values()),
            rows={
                name: self._open(name, record).count_rows()
                for name in sorted(record.versions)
                if name not in {"sources", "videos"}
            },
            size_bytes=sum(f.stat().st_size for f in self.place.rglob("*") if f.is_file()),
        )

    def row_count(self, space: Space | str) -> int:
        """How many rows of frame or clip vectors there are; raises as `embeddings` does."""
        record, name, _ = self._vector_table(space, tables.clip_table_name, tables.frame_table_name)
        return int(self._open(name, record).count_rows())

    def frame_matrix(self, space: Space | str) -> FrameMatrix:
        """The frame vectors of every video, memory-mapped; made or brought up to date first where needed.

        Args:
            space: the space, which is then checked, or only its name.

        Raises:
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        return self._frame_matrix(*self._vector_table(space, tables.frame_table_name))

    def _frame_matrix(self, record: Record, name: str, space: Space) -> FrameMatrix:
        mapped = self._mapped(record, name, _frame_columns(space, record.frame_precision))
        durations = self._durations(record)
        return FrameMatrix(
            _vectors(mapped.columns),
            mapped.columns["time_seconds"],
            mapped.columns["view"],
            mapped.columns["weight"],
            mapped.bounds,
            mapped.video_ids,
            np.array([durations[video_id] for video_id in mapped.video_ids], dtype=np.float64),
            space,
        )

    def sequence(self, space: Space | str, video_id: str) -> FrameSequence:
        """The frame vectors of one video, read from its table.

        Raises:
            UnknownName: when the library holds no such vectors.
        """
        record, name, found = self._vector_table(space, tables.frame_table_name)
        rows = self._rows(name, where=tables.is_one_of("video_id", [video_id]), record=record)
        durations = self._durations(record)
        if rows is None or not rows.num_rows:
            raise UnknownName(f"video with vectors of {found}", video_id, durations)
        columns = _frame_columns(found, record.frame_precision)
        vectors = _vectors({c: _flat(rows[c]).reshape(-1, *shape) for c, (_, shape) in columns.items()})
        return FrameSequence(
            rows["time_seconds"].to_numpy(),
            vectors[...],
            rows["view"].to_numpy(),
            rows["weight"].to_numpy(),
            found,
            durations[video_id],
        )

    def embeddings(self, space: Space | str) -> Embeddings:
        """The clip vectors of every video, memory-mapped; made or brought up to date first where needed.

        Of an encoder of pictures: its frames, whole pictures only. Each stands for the time until the next, the
        last one until the end of the video.

        Raises:
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        record, name, found = self._vector_table(space, tables.clip_table_name, tables.frame_table_name)
        return self._embeddings(record, name, found)

    def _embeddings(self, record: Record, name: str, space: Space) -> Embeddings:
        if name.startswith("frames_"):
            return self._whole_pictures(record, name, space)
        mapped = self._mapped(record, name, _clip_columns(space))
        return Embeddings(
            mapped.columns["vector"],
            mapped.columns["norm"],
            mapped.columns["start_seconds"],
            mapped.columns["end_seconds"],
            mapped.bounds,
            mapped.video_ids,
            space,
        )

    def _whole_pictures(self, record: Record, name: str, space: Space) -> Embeddings:
        """View 0 of a table of frames, mapped: all of the matrix where there are no other views, else its own."""
        matrix = self._frame_matrix(record, name, space)
        vectors, starts, bounds, video_ids = matrix.vectors, matrix.times_seconds, matrix.bounds, matrix.video_ids
        if matrix.views.any():
            mapped = self._mapped(record, name, _frame_columns(space, record.frame_precision), view=0)
            vectors, starts = _vectors(mapped.columns), mapped.columns["time_seconds"]
            bounds, video_ids = mapped.bounds, mapped.video_ids
        durations = self._durations(record)
        ends = until_next(starts, bounds, [durations[video_id] for video_id in video_ids])
        ones = np.broadcast_to(np.float32(1), len(starts))
        return Embeddings(vectors, ones, starts, ends, bounds, video_ids, space)

    def clips(self, space: Space | str, video_id: str) -> ClipSequence:
        """The clip vectors of one video, read from its table: float32, of the length that the model gave them.

        Of an encoder of pictures: its frames, as in `embeddings`.

        Raises:
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        record, name, found = self._vector_table(space, tables.clip_table_name, tables.frame_table_name)
        if name.startswith("frames_"):
            frames = self.sequence(space, video_id).view(0)
            ends = until_next(frames.times_seconds, np.array([0, len(frames)]), [frames.duration_seconds])
            return ClipSequence(frames.times_seconds, ends, frames.vectors, found)
        rows = self._rows(name, where=tables.is_one_of("video_id", [video_id]), record=record)
        if rows is None or not rows.num_rows:
            raise UnknownName(f"video with vectors of {found}", video_id, self._durations(record))
        directions = _flat(rows["vector"]).reshape(-1, found.dimensions).astype(np.float32)
        return ClipSequence(
            rows["start_seconds"].to_numpy(),
            rows["end_seconds"].to_numpy(),
            directions * rows["norm"].to_numpy()[:, None],
            found,
        )

    def signatures(self, space: Space | str) -> SignatureMatrix:
        """The signatures of every video, memory-mapped; made or brought up to date first where needed.

        Raises:
            UnknownName: when the library holds no such signatures.
            SpaceMismatch: when it holds others of that name.
        """
        record, name, found = self._vector_table(space, tables.signature_table_name)
        shape = tables.signature_shape(self._open(name, record).schema)
        single = np.dtype(np.float32)
        columns: Columns = {
            "frame_count": (np.dtype(np.int64), ()),
            "average": (single, shape[-1:]),
            "cosines": (single, shape),
            "sines": (single, shape),
        }
        mapped = self._mapped(record, name, columns)
        return SignatureMatrix(
            mapped.video_ids,
            mapped.columns["frame_count"],
            mapped.columns["average"],
            mapped.columns["cosines"],
            mapped.columns["sines"],
            found,
        )

    def nearest(
        self,
        space: Space | str,
        vectors: NDArray[np.floating],
        *,
        k: int,
        exact: bool = True,
        probes: int = 32,
        refine: int = 10,
    ) -> Neighbours:
        """The ``k`` rows of `frame_matrix` of largest inner product with each of ``vectors`` (Q, D).

        Exact is one pass over the mapped matrix; else the index that `build_index` made, where there is one.

        Raises:
            InvalidArgument: when the vectors are not (Q, D) or ``k`` is below 1.
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        record, name, found = self._vector_table(space, tables.frame_table_name)
        matrix = self._frame_matrix(record, name, found)
        table = self._open(name, record)
        if exact or not table.list_indices():
            return nearest_exact(matrix, vectors, k=k)
        keys: dict[str, NDArray[Any]] = {"time_seconds": matrix.times_seconds, "view": matrix.views}
        indexed = IndexedRows(table, found, matrix.video_ids, matrix.bounds, keys, probes=probes, refine=refine)
        return indexed(vectors, k)

    def indexed(
        self, space: Space | str, *, probes: int = 128, refine: int = 10
    ) -> tuple[Embeddings, IndexedRows | None]:
        """`embeddings`, and how to search them by the index that `build_index` made; None where there is none.

        Args:
            space: the space, which is then checked, or only its name.
            probes: partitions of the index that are searched.
            refine: so many times the rows asked for are scored again with the vectors themselves.

        Raises:
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        record, name, found = self._vector_table(space, tables.clip_table_name, tables.frame_table_name)
        rows = self._embeddings(record, name, found)
        table = self._open(name, record)
        if not table.list_indices():
            return rows, None
        keys: dict[str, NDArray[Any]] = {"start_seconds": rows.starts_seconds, "end_seconds": rows.ends_seconds}
        where = None
        if name.startswith("frames_"):
            keys = {"time_seconds": rows.starts_seconds, "view": np.broadcast_to(np.uint8(0), len(rows))}
            where = "view = 0"
        return rows, IndexedRows(
            table, found, rows.video_ids, rows.bounds, keys, where=where, probes=probes, refine=refine
        )

    # Writing

    def commit(self, batch: Sequence[Finished]) -> None:
        """Writes the outcome of several files in one step: all of it or, if this process dies, nothing.

        A file in the ledger already gets its row replaced. Vectors of a content are written once, however many
        files hold it and however many processes computed it. Vectors that no file refers to any more are removed.

        Raises:
            StoreBusy: when another process holds the write lock for too long.
            StoreError: when the disk does not take it.
            SpaceMismatch: when vectors are of another space than those of the same name in the library.
        """
        if not batch:
            return
        # Of two outcomes for one file the later counts.
        batch = list({finished.entry.source: finished for finished in batch}.values())
        with self._step() as step:
            fresh = {f.video.video_id: f.video for f in batch if f.video is not None}
            rows = step.rows("videos", tables.is_one_of("video_id", fresh)) if fresh else None
            known = {v.video_id: v for v in tables.table_to_videos(rows, {})} if rows is not None else {}
            videos = {**fresh, **known}
            self._write_vectors(step, batch, videos)
            changed = [stored for video_id, stored in videos.items() if stored is not known.get(video_id)]
            step.delete("videos", "video_id", known.keys() & {stored.video_id for stored in changed})
            step.add("videos", tables.videos_to_table(changed))
            sources = [finished.entry.source for finished in batch]
            before = step.rows("sources", tables.is_one_of("source", sources))
            if before is not None:
                step.delete("sources", "source", before["source"].to_pylist())
            step.add("sources", tables.entries_to_table([finished.entry for finished in batch]))
            if before is not None:
                _drop_unreferenced(step, before["video_id"].to_pylist())

    def forget(self, sources: Iterable[str]) -> int:
        """Takes files out of the ledger, and vectors that no other file refers to out of the library.

        Returns:
            how many files were known.
        """
        wanted = list(sources)
        if not wanted:
            return 0
        with self._step() as step:
            before = step.rows("sources", tables.is_one_of("source", wanted))
            if before is None or not before.num_rows:
                return 0
            step.delete("sources", "source", wanted)
            _drop_unreferenced(step, before["video_id"].to_pylist())
            return int(before.num_rows)

    def compact(self, *, after_fragments: int = COMPACT_AFTER_FRAGMENTS) -> list[str]:
        """Joins the small files of tables that have more than ``after_fragments``; returns those tables' names.

        Versions younger than ten minutes stay, so a reader in another process can finish what it reads.
        """
        compacted = []
        with self._step() as step:
            for name in sorted(step.record.versions):
                table = step.table(name)
                if table.stats()["fragment_stats"]["num_fragments"] <= after_fragments:
                    continue
                # Clean-up goes by the age of a version. Giving the committed content a version made just now keeps
                # its data files, whatever their age, for readers and for `_recover` until the next compaction.
                table.restore(table.version)
                step.publish()
                table.optimize(cleanup_older_than=KEEP_VERSIONS)
                compacted.append(name)
        return compacted

    def remove_space(self, space: Space | str) -> None:
        """Drops the table of the clips of this space, else of its frames or signatures; the videos stay.

        Raises:
            UnknownName: when the library holds no such vectors.
            SpaceMismatch: when it holds others of that name.
        """
        with self._step() as step:
            _, name, _ = self._vector_table(space, *(kind.named for kind in _KINDS))
            rows = step.rows("videos", f"array_has(tables, '{name}')")
            held = tables.table_to_videos(rows, {}) if rows is not None else []
            without = [replace(v, tables=tuple(other for other in v.tables if other != name)) for v in held]
            step.delete("videos", "video_id", [stored.video_id for stored in held])
            step.add("videos", tables.videos_to_table(without))
            step.drop(name)
        for cache in (name, f"{name}.view-0"):
            shutil.rmtree(self.place / "cache" / cache, ignore_errors=True)

    def build_index(self, space: Space | str) -> None:
        """Builds the index of frame or clip vectors that searches go through, unless there is one.

        Rows that come later are found without it, and join it in `compact`. LanceDB knows no index of int8: frames
        kept so are always searched whole, in half the time that float16 takes.

        Raises:
            UnknownName: when the library holds no such vectors.
        """
        _, name, _ = self._vector_table(space, tables.clip_table_name, tables.frame_table_name)
        with self._step() as step:
            table = step.table(name)
            if table.list_indices() or tables.precision_of(table.schema) != "float16":
                return
            # Fewer samples and rounds than LanceDB's defaults: as good an index, sooner (benchmarks/search.py).
            partitions = max(1, math.isqrt(table.count_rows()))
            config = IvfSq(distance_type="cosine", num_partitions=partitions, max_iterations=10, sample_rate=64)
            table.create_index("vector", config=config)

    @contextmanager
    def _step(self) -> Iterator[_Step]:
        (self.place / "locks").mkdir(exist_ok=True)
        with FileLock(self._write_lock_path, timeout_seconds=self._lock_timeout_seconds):
            step = _Step(self.place, self._database, self._own_commits)
            try:
                step.recover()
                yield step
                step.publish()
            except (OSError, RuntimeError) as error:  # what LanceDB raises when the disk is full or gone
                said = _PLACE_IN_SOURCE.sub("", str(error))
                raise StoreError(
                    f"{self.place} could not be written: {said}; make room or amends there, then run the "
                    "same command again (what was done before is kept)"
                ) from error

    def _write_vectors(self, step: _Step, batch: Sequence[Finished], videos: dict[str, StoredVideo]) -> None:
        """Adds the vectors that are not there yet, and notes in ``videos`` which tables hold them now."""
        for kind in _KINDS:
            by_table: defaultdict[str, dict[str, Any]] = defaultdict(dict)
            for finished in batch:
                if finished.video is not None:
                    for made in kind.of(finished):
                        by_table[kind.named(made.space)].setdefault(finished.video.video_id, made)
            for name, made_by_video in by_table.items():
                self._write_table(step, kind, name, made_by_video, videos)

    def _write_table(
        self, step: _Step, kind: _Kind, name: str, made: Mapping[str, Any], videos: dict[str, StoredVideo]
    ) -> None:
        """The same for one table, from what was made of each content id."""
        spaces = {rows.space for rows in made.values()}
        space = spaces.pop()
        held = tables.space_of(step.table(name).schema) if name in step.record.versions else space
        for other in (space, *spaces):
            held.require(other, where=f"{self.place}, table {name},")
        new = {video_id: rows for video_id, rows in made.items() if name not in videos[video_id].tables}
        if not new:
            return
        step.add(name, kind.to_table(new, step.record.frame_precision))
        for video_id in new:
            stored = videos[video_id]
            videos[video_id] = replace(stored, tables=tuple(sorted({*stored.tables, name})))

    # Below: one way to open a table, one to read rows

    def _open(self, name: str, record: Record) -> Any:
        try:
            table = self._database.open_table(name)
            table.checkout(record.versions[name])
        except (ValueError, FileNotFoundError) as error:
            raise StoreBusy(f"{self.place} was tidied up while it was being read; read again") from error
        return table

    def _rows(
        self, name: str, columns: list[str] | None = None, *, where: str | None = None, record: Record | None = None
    ) -> pa.Table | None:
        """Rows of a table at its committed version, or None when the library has no such table yet."""
        record = record or self.record()
        if name not in record.versions:
            return None
        return _select(self._open(name, record), columns, where).to_arrow()

    def _durations(self, record: Record) -> dict[str, float]:
        """Length of each video, by content id."""
        columns = ["video_id", "duration_seconds", "seen_seconds"]
        rows = self._rows("videos", columns, record=record)
        if rows is None:
            return {}
        return {
            video_id: trusted_seconds(promised, seen)
            for video_id, promised, seen in zip(*(rows[column].to_pylist() for column in columns), strict=True)
        }

    def _vector_table(self, space: Space | str, *named: Callable[[Space | str], str]) -> tuple[Record, str, Space]:
        """The first table there is of those that ``space`` would lie in."""
        record = self.record()
        name = next((name for of in named if (name := of(space)) in record.versions), None)
        if name is None:
            prefixes = tuple(of("") for of in named)
            known = {have.split("_", 1)[1] for have in record.versions if have.startswith(prefixes)}
            kind = f"{' or '.join(prefix.rstrip('_') for prefix in prefixes)} in {self.place}"
            raise UnknownName(kind, named[0](space).removeprefix(prefixes[0]), known)
        found = tables.space_of(self._open(name, record).schema)
        if isinstance(space, Space):
            found.require(space, where=f"{self.place}, table {name},")
        return record, name, found

    def _mapped(self, record: Record, name: str, columns: Columns, *, view: int | None = None) -> MappedArrays:
        """The columns of a table, mapped; of its rows of one view only, where one is named."""
        schema = self._open(name, record).schema
        folder = name if view is None else f"{name}.view-{view}"

        def video_ids() -> list[str]:
            return [video_id for video_id, names in self.tables_by_video(record=record).items() if name in names]

        def batches(of: Sequence[str] | None) -> Iterator[tuple[pa.Array, dict[str, np.ndarray[Any, Any]]]]:
            conditions = [f"view = {view}"] if view is not None else []
            conditions += [tables.is_one_of("video_id", of)] if of is not None else []
            wide = sum(int(np.prod(shape, dtype=int)) * kind.itemsize for kind, shape in columns.values())
            where = " AND ".join(conditions) or None
            reader = _select(self._open(name, record), ["video_id", *columns], where)
            for batch in reader.to_batches(batch_size=max(1, min(BATCH_ROWS, (16 << 20) // wide))):
                yield (
                    batch["video_id"],
                    {c: _flat(batch[c]).reshape(-1, *shape) for c, (_, shape) in columns.items()},
                )

        refresh = partial(
            MappedArrays.refresh,
            columns=columns,
            table=(schema.metadata or {}).get(TABLE_KEY, b"").decode(),
            version=record.versions[name],
            video_ids=video_ids,
            batches=batches,
        )
        try:
            return refresh(self.place / "cache" / folder)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
        if self._cache_elsewhere is None:
            self._cache_elsewhere = Path(tempfile.mkdtemp(prefix="reelspace-"))
            weakref.finalize(self, shutil.rmtree, self._cache_elsewhere, ignore_errors=True)
        return refresh(self._cache_elsewhere / folder)


class _Kind(NamedTuple):
    """One kind of table of vectors: what of a finished file goes into it, its name, and the values as rows."""

    of: Callable[[Finished], Sequence[Any]]
    named: Callable[[Space | str], str]
    to_table: Callable[[Any, Precision], pa.Table]


_KINDS = (
    _Kind(attrgetter("sequences"), tables.frame_table_name, tables.frames_to_table),
    _Kind(attrgetter("clips"), tables.clip_table_name, lambda made, _: tables.clips_to_table(made)),
    _Kind(attrgetter("signatures"), tables.signature_table_name, lambda made, _: tables.signatures_to_table(made)),
)


class _Step:
    """One step of writing, under the write lock: the tables at their newest version, the record to be."""

    def __init__(self, place: Path, database: Any, own_commits: list[int]) -> None:
        self.record = Record.read(place)
        self._own_commits = own_commits
        self._place = place
        self._database = database
        self._open: dict[str, Any] = {}

    def recover(self) -> None:
        """Takes back what a killed writer left: tables that are newer than the record, or not in it at all."""
        for folder in self._place.glob("*.lance"):
            name = folder.stem
            committed = self.record.versions.get(name)
            if committed is None:
                shutil.rmtree(folder)
            elif self.table(name).version != committed:
                self.table(name).restore(committed)

    def table(self, name: str) -> Any:
        if name not in self._open:
            self._open[name] = self._database.open_table(name)
        return self._open[name]

    def rows(self, name: str, where: str) -> pa.Table | None:
        return _select(self.table(name), None, where).to_arrow() if name in self.record.versions else None

    def add(self, name: str, rows: pa.Table) -> None:
        if not rows.num_rows and name in self.record.versions:
            return
        if name in self.record.versions:
            self.table(name).add(rows)
        else:
            # Tells the caches apart of two tables that had the same name one after the other.
            metadata = {**(rows.schema.metadata or {}), TABLE_KEY: secrets.token_hex(8).encode()}
            schema = rows.schema.with_metadata(metadata)
            self._open[name] = self._database.create_table(name, rows.cast(schema), schema=schema)
            self.record = replace(self.record, versions={**self.record.versions, name: self._open[name].version})

    def delete(self, name: str, key: str, values: Iterable[str]) -> None:
        """Removes the rows whose ``key`` is one of ``values``."""
        wanted = sorted(values)
        if wanted and name in self.record.versions:
            self.table(name).delete(tables.is_one_of(key, wanted))

    def drop(self, name: str) -> None:
        """Leaves a table out of the library from now on; its folder goes after the record that left it out."""
        kept = {other: version for other, version in self.record.versions.items() if other != name}
        self.record = replace(self.record, versions=kept)
        self.publish()
        self._open.pop(name, None)
        self._database.drop_table(name)

    def publish(self) -> None:
        """Makes what was written so far the library's state, in one act."""
        versions = {
            name: self._open[name].version if name in self._open else version
            for name, version in self.record.versions.items()
        }
        if Record.read(self._place).versions != versions:
            self.record = replace(self.record, commit=self.record.commit + 1, versions=versions)
            self._own_commits.append(self.record.commit)  # before others can see it
            self.record.write(self._place)


def _drop_unreferenced(step: _Step, video_ids: Iterable[str | None]) -> None:
    """Removes the contents among ``video_ids`` that no indexed file refers to."""
    candidates = {video_id for video_id in video_ids if video_id is not None}
    if not candidates:
        return
    referred = step.rows("sources", f"outcome = 'indexed' AND {tables.is_one_of('video_id', candidates)}")
    orphans = candidates - set(referred["video_id"].to_pylist()) if referred is not None else candidates
    if not orphans:
        return
    for name in step.record.versions:
        if name != "sources":
            step.delete(name, "video_id", orphans)


def _frame_columns(space: Space, precision: Precision) -> Columns:
    others: Columns = {
        "time_seconds": (np.dtype(np.float64), ()),
        "view": (np.dtype(np.uint8), ()),
        "weight": (np.dtype(np.float32), ()),
    }
    vectors = {"vector": (np.dtype(precision), (space.dimensions,))}
    return {**vectors, **others, **({"scale": (np.dtype(np.float32), ())} if precision == "int8" else {})}


def _vectors(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float16] | CompactRows:
    """The vectors in the columns of frame rows."""
    return CompactRows(columns["vector"], columns["scale"]) if "scale" in columns else columns["vector"]


def _clip_columns(space: Space) -> Columns:
    return {
        "vector": (np.dtype(np.float16), (space.dimensions,)),
        "norm": (np.dtype(np.float32), ()),
        "start_seconds": (np.dtype(np.float64), ()),
        "end_seconds": (np.dtype(np.float64), ()),
    }


def _select(table: Any, columns: list[str] | None, where: str | None) -> Any:
    query = table.search()
    if columns is not None:
        query = query.select(columns)
    if where is not None:
        query = query.where(where)
    return query


def _flat(column: Any) -> np.ndarray[Any, Any]:
    """A column's values as one array; fixed-size lists end to end."""
    chunk = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_fixed_size_list(chunk.type):
        chunk = chunk.flatten()
    values: np.ndarray[Any, Any] = chunk.to_numpy(zero_copy_only=False)
    return values
