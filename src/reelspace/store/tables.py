"""How values become rows of LanceDB tables, and rows values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from reelspace.core.compact import Precision, require_precision, to_int8
from reelspace.core.embeddings import ClipSequence
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.store.rows import LedgerEntry, Signature, Stamp, StoredVideo

__all__ = [
    "SOURCES",
    "VECTOR_TABLES",
    "VIDEOS",
    "clip_table_name",
    "clips_schema",
    "clips_to_table",
    "entries_to_table",
    "frame_table_name",
    "frames_schema",
    "frames_to_table",
    "is_one_of",
    "precision_of",
    "signature_shape",
    "signature_table_name",
    "signatures_schema",
    "signatures_to_table",
    "space_of",
    "table_to_entries",
    "table_to_videos",
    "videos_to_table",
]

SPACE_KEY = b"reelspace.space"
SHAPE_KEY = b"reelspace.shape"
PRECISION_KEY = b"reelspace.precision"

SOURCES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("video_id", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("spent_seconds", pa.float64(), nullable=False),
    ]
)

VIDEOS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("duration_seconds", pa.float64()),
        pa.field("seen_seconds", pa.float64(), nullable=False),
        pa.field("frame_rate_numerator", pa.int64()),
        pa.field("frame_rate_denominator", pa.int64()),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("rotation_degrees", pa.int32(), nullable=False),
        pa.field("mirrored", pa.bool_(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("pixel_format", pa.string(), nullable=False),
        pa.field("container", pa.string(), nullable=False),
        pa.field("frame_count", pa.int64()),
        pa.field("start_seconds", pa.float64(), nullable=False),
        pa.field("size_bytes", pa.int64()),
        pa.field("tables", pa.list_(pa.string()), nullable=False),
    ]
)

CONTAINER_FACTS = (
    "duration_seconds",
    "width",
    "height",
    "rotation_degrees",
    "mirrored",
    "codec",
    "pixel_format",
    "container",
    "frame_count",
    "start_seconds",
    "size_bytes",
)


VECTOR_TABLES = ("frames_", "clips_", "signatures_")
"""How the names of tables of vectors begin; the name of their space follows."""


def frame_table_name(space: Space | str) -> str:
    """The table of frame vectors of a space, or of the space of that name."""
    return "frames_" + _plain(space)


def clip_table_name(space: Space | str) -> str:
    """The table of clip vectors of a space, or of the space of that name."""
    return "clips_" + _plain(space)


def signature_table_name(space: Space | str) -> str:
    """The table of signatures of a space, or of the space of that name."""
    return "signatures_" + _plain(space)


def _plain(space: Space | str) -> str:
    name = space.name if isinstance(space, Space) else space
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def is_one_of(column: str, values: Iterable[str]) -> str:
    """An SQL condition: the column equals one of ``values``."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"


def space_of(schema: pa.Schema) -> Space:
    """The space a table of vectors was made for."""
    return Space.from_json(schema.metadata[SPACE_KEY].decode())


def entries_to_table(entries: Sequence[LedgerEntry]) -> pa.Table:
    """Ledger entries as rows of `SOURCES`."""
    return pa.Table.from_pylist(
        [
            {
                "source": e.source,
                "size_bytes": e.stamp.size_bytes,
                "mtime_ns": e.stamp.mtime_ns,
                "video_id": e.video_id,
                "outcome": e.outcome,
                "reason": e.reason,
                "error": e.error,
                "finished_at": e.finished_at.astimezone(UTC),
                "spent_seconds": e.spent_seconds,
            }
            for e in entries
        ],
        schema=SOURCES,
    )


def table_to_entries(table: pa.Table) -> list[LedgerEntry]:
    """The inverse of `entries_to_table`."""
    columns = (table[name].to_pylist() for name in SOURCES.names)
    return [
        LedgerEntry(source, Stamp(size_bytes, mtime_ns), *rest)
        for source, size_bytes, mtime_ns, *rest in zip(*columns, strict=True)
    ]


def videos_to_table(videos: Sequence[StoredVideo]) -> pa.Table:
    """Videos as rows of `VIDEOS`; where they lie is left to the ledger."""
    return pa.Table.from_pylist([_video_to_row(video) for video in videos], schema=VIDEOS)


def _video_to_row(stored: StoredVideo) -> dict[str, Any]:
    rate = stored.video.frame_rate
    return {
        "video_id": stored.video_id,
        "seen_seconds": stored.seen_seconds,
        "frame_rate_numerator": rate.numerator if rate else None,
        "frame_rate_denominator": rate.denominator if rate else None,
        "tables": list(stored.tables),
        **{name: getattr(stored.video, name) for name in CONTAINER_FACTS},
    }


def table_to_videos(table: pa.Table, sources: Mapping[str, Sequence[str]]) -> list[StoredVideo]:
    """The inverse of `videos_to_table`, with the places of each content id from the ledger."""
    return [_row_to_video(row, tuple(sources.get(row["video_id"], ()))) for row in table.to_pylist()]


def _row_to_video(row: Mapping[str, Any], sources: tuple[str, ...]) -> StoredVideo:
    numerator, denominator = row["frame_rate_numerator"], row["frame_rate_denominator"]
    video = Video(
        source=sources[0] if sources else "",
        frame_rate=Fraction(numerator, denominator) if numerator is not None else None,
        **{name: row[name] for name in CONTAINER_FACTS},
    )
    return StoredVideo(row["video_id"], video, row["seen_seconds"], sources, tuple(row["tables"]))


def precision_of(schema: pa.Schema) -> Precision:
    """How a table of frame vectors keeps them."""
    return require_precision((schema.metadata or {}).get(PRECISION_KEY, b"float16").decode())


def frames_schema(space: Space, precision: Precision = "float16") -> pa.Schema:
    """Rows of frame vectors, with the space's identity in the schema. Those of int8 have a scale each."""
    compact = precision == "int8"
    metadata = {SPACE_KEY: space.to_json().encode()}
    return pa.schema(
        [
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("time_seconds", pa.float64(), nullable=False),
            pa.field("view", pa.uint8(), nullable=False),
            pa.field("weight", pa.float32(), nullable=False),
            pa.field("vector", pa.list_(pa.int8() if compact else pa.float16(), space.dimensions), nullable=False),
            *([pa.field("scale", pa.float32(), nullable=False)] if compact else []),
        ],
        metadata=metadata | ({PRECISION_KEY: precision.encode()} if compact else {}),
    )


def frames_to_table(sequences: Mapping[str, FrameSequence], precision: Precision = "float16") -> pa.Table:
    """The vectors of several videos (by content id), of one space, as rows of that precision."""
    schema = frames_schema(next(iter(sequences.values())).space, precision)
    return pa.concat_tables(
        pa.table(
            [
                pa.array([video_id] * len(sequence), pa.string()),
                pa.array(sequence.times_seconds, pa.float64()),
                pa.array(sequence.views, pa.uint8()),
                pa.array(sequence.weights, pa.float32()),
                *_VECTOR_COLUMNS[precision](sequence.vectors),
            ],
            schema=schema,
        )
        for video_id, sequence in sequences.items()
    )


def _halves(vectors: np.ndarray[Any, Any]) -> list[pa.Array]:
    return [_fixed_lists(vectors.astype(np.float16, copy=False), pa.float16())]


def _bytes(vectors: np.ndarray[Any, Any]) -> list[pa.Array]:
    rows = to_int8(vectors)
    return [_fixed_lists(rows.codes, pa.int8()), pa.array(rows.scales, pa.float32())]


_VECTOR_COLUMNS: dict[Precision, Callable[[np.ndarray[Any, Any]], list[pa.Array]]] = {
    "float16": _halves,
    "int8": _bytes,
}


def clips_schema(space: Space) -> pa.Schema:
    """Rows of clip vectors, with the space's identity in the schema."""
    return pa.schema(
        [
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("start_seconds", pa.float64(), nullable=False),
            pa.field("end_seconds", pa.float64(), nullable=False),
            pa.field("norm", pa.float32(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), space.dimensions), nullable=False),
        ],
        metadata={SPACE_KEY: space.to_json().encode()},
    )


def clips_to_table(sequences: Mapping[str, ClipSequence]) -> pa.Table:
    """The clip vectors of several videos (by content id), of one space, as rows: direction (float16) and norm."""
    schema = clips_schema(next(iter(sequences.values())).space)
    return pa.concat_tables(_clips(video_id, clips, schema) for video_id, clips in sequences.items())


def _clips(video_id: str, clips: ClipSequence, schema: pa.Schema) -> pa.Table:
    vectors = clips.vectors.astype(np.float32)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1).astype(np.float32)
    directions = vectors / np.where(norms > 0, norms, 1)[:, None]
    return pa.table(
        [
            pa.array([video_id] * len(clips), pa.string()),
            pa.array(clips.starts_seconds, pa.float64()),
            pa.array(clips.ends_seconds, pa.float64()),
            pa.array(norms, pa.float32()),
            _fixed_lists(directions.astype(np.float16), pa.float16()),
        ],
        schema=schema,
    )


def signatures_schema(signature: Signature) -> pa.Schema:
    """Rows of signatures shaped like this one, with the space's identity in the schema."""
    periods, frequencies, d = signature.cosines.shape
    waves = pa.list_(pa.float32(), periods * frequencies * d)
    return pa.schema(
        [
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("frame_count", pa.int64(), nullable=False),
            pa.field("average", pa.list_(pa.float32(), d), nullable=False),
            pa.field("cosines", waves, nullable=False),
            pa.field("sines", waves, nullable=False),
        ],
        metadata={
            SPACE_KEY: signature.space.to_json().encode(),
            SHAPE_KEY: f"{periods},{frequencies},{d}".encode(),
        },
    )


def signature_shape(schema: pa.Schema) -> tuple[int, ...]:
    """(P, m, d) of a table of signatures."""
    return tuple(int(n) for n in schema.metadata[SHAPE_KEY].split(b","))


def signatures_to_table(signatures: Mapping[str, Signature]) -> pa.Table:
    """Signatures of one space, by content id, as rows."""
    some = list(signatures.values())
    return pa.table(
        [
            pa.array(list(signatures), pa.string()),
            pa.array([s.frame_count for s in some], pa.int64()),
            _fixed_lists(np.stack([s.average for s in some]), pa.float32()),
            _fixed_lists(np.stack([s.cosines.reshape(-1) for s in some]), pa.float32()),
            _fixed_lists(np.stack([s.sines.reshape(-1) for s in some]), pa.float32()),
        ],
        schema=signatures_schema(some[0]),
    )


def _fixed_lists(rows: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1), kind), rows.shape[1])
