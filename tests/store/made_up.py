"""Made-up rows for small libraries."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np

from reelspace.core.embeddings import ClipSequence
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.video import Video
from reelspace.store.rows import Finished, LedgerEntry, Signature, Stamp, StoredVideo

SPACE = Space("made-up", 16, {"seed": 0})
SIGNATURES = Space("sums", 5, {})
CLIPS = Space("windows", 8, {"clip": 16})


def sequence(number: int, rows: int = 12, space: Space = SPACE) -> FrameSequence:
    random = np.random.default_rng(number)
    vectors = random.standard_normal((rows, space.dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times = np.repeat(np.arange(rows) / 4, 2)[:rows]
    views = np.tile(np.array([0, 1], np.uint8), rows)[:rows]
    weights = random.random(rows).astype(np.float32)
    return FrameSequence(times, vectors.astype(np.float16), views, weights, space, rows / 8)


def clips(number: int, rows: int = 4, space: Space = CLIPS) -> ClipSequence:
    """Vectors of very different lengths, one of them of length 0."""
    random = np.random.default_rng(1000 + number)
    vectors = random.standard_normal((rows, space.dimensions)) * 10.0 ** random.uniform(-3, 3, (rows, 1))
    vectors[1:2] = 0
    starts = np.arange(rows) * 2.5
    return ClipSequence(starts, starts + 2.5, vectors.astype(np.float32), space)


def signature(number: int) -> Signature:
    random = np.random.default_rng(number)
    average, cosines, sines = (random.standard_normal(s).astype(np.float32) for s in ((5,), (2, 3, 5), (2, 3, 5)))
    return Signature(SIGNATURES, 10 + number, average, cosines, sines)


def video_id(number: int) -> str:
    return f"{number:064x}"


def entry(number: int, source: str | None = None, **fields: object) -> LedgerEntry:
    values = {
        "source": source or f"/clips/it's {number}.mp4",
        "stamp": Stamp(100 + number, 7),
        "video_id": video_id(number),
        "outcome": "indexed",
        "reason": None,
        "error": None,
        "finished_at": datetime(2026, 11, 20, tzinfo=UTC),
        "spent_seconds": 0.5,
    }
    return LedgerEntry(**(values | fields))


def stored_video(number: int) -> StoredVideo:
    facts = Video("", 1.5, Fraction(30000, 1001), 64, 48, 90, True, "h264", "yuv420p", "mp4", 45, 0.5, 100)
    return StoredVideo(video_id(number), facts, 1.5)


def finished(number: int, source: str | None = None, rows: int = 12) -> Finished:
    made = (sequence(number, rows),), (signature(number),), (clips(number),)
    return Finished(entry(number, source), stored_video(number), *made)


def failure(number: int, reason: str = "no video stream", source: str | None = None) -> Finished:
    return Finished(entry(number, source, video_id=None, outcome="failed", reason=reason, error="NoVideoStream"))
