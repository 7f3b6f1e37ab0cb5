"""A library of int8 rows is a library of float16 rows, but for the last digits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import CLIPS, SPACE, clips, finished, sequence, video_id

from reelspace.core.compact import CompactRows, to_int8
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, NotALibrary, UnknownName
from reelspace.store.export import export
from reelspace.store.nearest import nearest_exact
from reelspace.store.store import RECORD_NAME, Store
from reelspace.tasks import copies


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """A library of int8 rows with two videos."""
    store = Store.create(tmp_path / "small", frame_precision="int8")
    store.commit([finished(1), finished(2)])
    return store


def expected(number: int) -> np.ndarray:
    return to_int8(sequence(number).vectors)[:]


def test_sequences_come_back_rounded_to_eight_bits(small: Store) -> None:
    matrix = small.frame_matrix(SPACE)
    assert isinstance(matrix.vectors, CompactRows)
    assert isinstance(matrix.vectors.codes, np.memmap)
    for i, found in enumerate(matrix.video_ids):
        number = {video_id(n): n for n in (1, 2)}[found]
        for got in (matrix.sequence(i), small.sequence(SPACE, found)):
            np.testing.assert_allclose(got.vectors, expected(number), rtol=1e-6)
            for name in ("times_seconds", "views", "weights"):
                np.testing.assert_array_equal(getattr(got, name), getattr(sequence(number), name))


def test_the_nearest_rows_are_those_of_the_rounded_vectors(small: Store) -> None:
    queries = np.random.default_rng(0).normal(size=(5, SPACE.dimensions))
    matrix = small.frame_matrix(SPACE)
    products = queries @ np.asarray(matrix.vectors).astype(np.float64).T
    for found in (
        small.nearest(SPACE, queries, k=4),
        small.nearest(SPACE, queries, k=4, exact=False),
        nearest_exact(matrix, queries, k=4, block_rows=5),
    ):
        np.testing.assert_array_equal(found.rows, np.argsort(-products, axis=1)[:, :4])
        np.testing.assert_allclose(found.scores, -np.sort(-products, axis=1)[:, :4], rtol=1e-5)


def test_frames_searched_by_meaning_are_the_rounded_whole_pictures(small: Store) -> None:
    rows = small.embeddings(SPACE)
    assert len(rows) == 12
    first = rows.video_ids.index(video_id(1))
    got = np.asarray(rows.vectors)[rows.bounds[first] : rows.bounds[first + 1]]
    np.testing.assert_allclose(got, expected(1)[sequence(1).views == 0], rtol=1e-6)
    assert len(small.clips(SPACE, video_id(1))) == 6


def test_clips_keep_their_two_bytes(small: Store) -> None:
    np.testing.assert_allclose(small.clips(CLIPS, video_id(1)).vectors, clips(1).vectors, rtol=1e-2, atol=1e-2)
    assert small.embeddings(CLIPS).vectors.dtype == np.float16


def test_an_index_is_not_built_and_not_needed(small: Store) -> None:
    small.build_index(SPACE)
    rows, index = small.indexed(SPACE)
    assert (len(rows), index) == (12, None)


def test_a_library_keeps_the_precision_it_was_made_with(small: Store) -> None:
    again = Store.create(small.place)
    assert (again.frame_precision, Store(small.place).frame_precision) == ("int8", "int8")
    again.commit([finished(3)])
    assert np.isfinite(np.asarray(again.frame_matrix(SPACE).vectors)).all()
    assert len(again.frame_matrix(SPACE)) == 3


def test_a_second_precision_is_refused_with_both_names(small: Store, store: Store) -> None:
    with pytest.raises(InvalidArgument, match="keeps its frames as int8, not as float16"):
        Store.create(small.place, frame_precision="float16")
    with pytest.raises(InvalidArgument, match="keeps its frames as float16, not as int8"):
        Store.create(store.place, frame_precision="int8")
    with pytest.raises(UnknownName, match="int8"):
        Store.create(small.place.parent / "new", frame_precision="int4")  # type: ignore[arg-type]
    assert not (small.place.parent / "new" / RECORD_NAME).exists()


def test_what_reads_the_first_schema_alone_refuses_int8_and_reads_float16(small: Store, store: Store) -> None:
    versions = [json.loads((s.place / RECORD_NAME).read_text("utf-8"))["schema_version"] for s in (store, small)]
    assert versions == [1, 2]
    value = json.loads((small.place / RECORD_NAME).read_text("utf-8"))
    (small.place / RECORD_NAME).write_text(json.dumps({**value, "schema_version": 3}), "utf-8")
    with pytest.raises(NotALibrary, match="schema version 3, this reelspace reads 1 and 2"):
        Store(small.place)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_exported_rows_are_numbers(small: Store, tmp_path: Path, suffix: str) -> None:
    import pyarrow.parquet as pq

    output = tmp_path / f"frames.{suffix}"
    assert export(small, output, what="frames", frames={"frames": SPACE}, signatures=None) == 24
    if suffix == "npz":
        with np.load(output) as stored:
            got = stored["vector"]
    else:
        got = np.array(pq.read_table(output)["vector"].to_pylist())
    np.testing.assert_allclose(got, np.asarray(small.frame_matrix(SPACE).vectors), rtol=1e-6)


def test_copies_are_found_and_placed_as_among_float16_rows() -> None:
    random = np.random.default_rng(0)
    space = Reelprint().space

    def walk(frames: int) -> FrameSequence:
        vectors = np.cumsum(random.normal(size=(frames, space.dimensions)), axis=0)  # neighbours alike
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ones = np.ones(frames, np.float32)
        return FrameSequence(
            np.arange(frames) / 5, vectors.astype(np.float16), np.zeros(frames, np.uint8), ones, space, frames / 5
        )

    library = FrameMatrix.concatenate([walk(100) for _ in range(6)], [str(i) for i in range(6)])
    whole, some = library.sequence(4), slice(20, 70)
    query = FrameSequence(
        whole.times_seconds[:50], whole.vectors[some], whole.views[some], whole.weights[some], space, 10.0
    )
    (plain,), (small,) = (
        copies.match(query, matrix, k=3)
        for matrix in (library, replace(library, vectors=to_int8(np.asarray(library.vectors))))
    )
    assert (plain.reference, small.reference) == (4, 4)
    assert small.segments[0].score == pytest.approx(plain.segments[0].score, abs=0.01)
    assert small.segments[0].reference.start == pytest.approx(4.0, abs=0.25)
