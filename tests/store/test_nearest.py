"""Exact search is exact: against products in float64, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import CLIPS, entry, finished, stored_video
from threadpoolctl import threadpool_info

from reelspace.core.embeddings import ClipSequence, Embeddings
from reelspace.core.space import Space
from reelspace.store import products
from reelspace.store.nearest import nearest_exact
from reelspace.store.products import over_blocks
from reelspace.store.rows import Finished
from reelspace.store.store import Store


def embeddings(vectors: np.ndarray, norms: np.ndarray | None = None, videos: int = 1) -> Embeddings:
    n, bounds = len(vectors), np.linspace(0, len(vectors), videos + 1).round().astype(np.int64)
    starts, norms = np.arange(n, dtype=float), np.ones(n, np.float32) if norms is None else norms
    ids = tuple(f"{number:064x}" for number in range(videos))
    return Embeddings(vectors, norms, starts, starts + 1, bounds, ids, Space("x", vectors.shape[1], {}))


def unit(random: np.random.Generator, rows: int, dimensions: int, *, values: int | None = None) -> np.ndarray:
    """float16 rows of unit length; with few ``values``, many of them equal."""
    made = random.standard_normal((rows, dimensions))
    if values is not None:
        made = random.integers(0, values, (rows, dimensions)) + 0.25
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)


def oracle(rows: Embeddings, queries, k, against=None, factors=None, allowed=None) -> tuple[list[int], ...]:
    """The slow, obvious way."""
    answers = []
    for query in queries.astype(float):
        scored = []
        for row in range(len(rows)) if allowed is None else allowed:
            vector = rows.vectors[row].astype(float)
            score = float(np.einsum("d,d->", vector, query))
            if against is not None:
                score -= max(float(np.einsum("d,d->", vector, other)) for other in against.astype(float))
            scored.append((-score * (1.0 if factors is None else float(factors[row])), int(row)))
        answers.append([row for _, row in sorted(scored)[:k]])
    return tuple(answers)


def test_every_float16_is_read_exactly():
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 1)
    got = np.concatenate(list(over_blocks(halves, np.ones((1, 1), np.float32), lambda _rows, found: found)))
    # a product with 2 ** 112 brings even subnormal numbers back to what they were
    np.testing.assert_array_equal(got, halves.astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_search_gives_the_rows_of_the_obvious_loop(seed: int, data: st.DataObject):
    random = np.random.default_rng(seed)
    rows, dimensions = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 20))
    values = data.draw(st.sampled_from([None, 2]))  # few values: many ties
    space = embeddings(
        unit(random, rows, dimensions, values=values), 10.0 ** random.uniform(-2, 2, rows).astype(np.float32)
    )
    queries = (random.standard_normal((data.draw(st.integers(1, 5)), dimensions)) * 30).astype(np.float32)
    against = random.standard_normal((2, dimensions)).astype(np.float32) if data.draw(st.booleans()) else None
    factors = space.norms if data.draw(st.booleans()) else None
    allowed = np.flatnonzero(random.random(rows) < 0.6) if data.draw(st.booleans()) else None
    k = data.draw(st.integers(1, rows + 3))
    expected = oracle(space, queries, k, against, factors, allowed)
    found = nearest_exact(
        space,
        queries,
        k=k,
        against=against,
        factors=factors,
        rows=allowed,
        block_rows=data.draw(st.integers(1, 70)),
    )
    for q, wanted in enumerate(expected):
        assert found.rows[q, : len(wanted)].tolist() == wanted
        assert (found.rows[q, len(wanted) :] == -1).all()
        assert (np.diff(found.scores[q, : len(wanted)]) <= 0).all()
        assert np.isneginf(found.scores[q, len(wanted) :]).all()


def test_of_equal_rows_the_first_come_first_in_any_number_of_blocks():
    random = np.random.default_rng(3)
    vectors = np.repeat(unit(random, 5, 32), 40, axis=0)[random.permutation(200)]
    query = vectors[7:8].astype(np.float32)
    twins = np.flatnonzero((vectors == vectors[7]).all(axis=1))
    for block_rows in (3, 50, 1000):
        found = nearest_exact(embeddings(vectors), query, k=30, block_rows=block_rows)
        np.testing.assert_array_equal(found.rows[0], twins[:30])


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_cores_and_precision_of_storage_change_nothing(monkeypatch: pytest.MonkeyPatch, cores: int, dtype: type):
    monkeypatch.setattr(products, "available_cores", lambda: cores)
    monkeypatch.setattr(products, "_CACHED_BYTES", 4 * 64 * 7)  # seven rows
    random = np.random.default_rng(4)
    vectors = unit(random, 500, 64)
    queries = random.standard_normal((33, 64)).astype(np.float32)
    found = nearest_exact(embeddings(vectors.astype(dtype)), queries, k=5, block_rows=90)
    exact = queries.astype(float) @ vectors.astype(float).T
    np.testing.assert_array_equal(found.rows, np.argsort(-exact, axis=1)[:, :5])
    np.testing.assert_allclose(found.scores, -np.sort(-exact, axis=1)[:, :5], rtol=1e-6)


def test_searches_side_by_side_leave_the_matrix_product_its_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "available_cores", lambda: 2)
    rows, threads = (
        embeddings(unit(np.random.default_rng(0), 64, 8)),
        lambda: {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"},
    )
    before = threads()
    first, second = (
        over_blocks(rows.vectors, np.ones((1, 8), np.float32), lambda _rows, found: found.max(), block_rows=16)
        for _ in range(2)
    )
    next(first)
    next(second)
    assert threads() == {1}
    assert len(list(first)) == len(list(second)) == 3
    assert threads() == before


def test_an_empty_matrix_and_a_zero_query_have_answers():
    nothing = embeddings(np.empty((0, 4), np.float16))
    assert (nearest_exact(nothing, np.ones((2, 4)), k=3).rows == -1).all()
    some = embeddings(unit(np.random.default_rng(0), 6, 4))
    np.testing.assert_array_equal(nearest_exact(some, np.zeros((1, 4)), k=3).rows, [[0, 1, 2]])
    assert nearest_exact(some, np.empty((0, 4)), k=3).rows.shape == (0, 3)


class TestIndex:
    """LanceDB's index of clip and frame tables finds nearly all that exact search finds."""

    @staticmethod
    def footage(number: int, random: np.random.Generator) -> Finished:
        shots = np.repeat(random.standard_normal((5, 8)), 10, axis=0)
        vectors = (shots + 0.3 * random.standard_normal((50, 8))).astype(np.float32) * 5
        starts = np.arange(50) * 2.0
        return Finished(
            entry(number), stored_video(number), clips=(ClipSequence(starts, starts + 2, vectors, CLIPS),)
        )

    def test_of_clips(self, store: Store):
        random = np.random.default_rng(1)
        batch = [self.footage(number, random) for number in range(40)]
        store.commit(batch[:30])
        assert store.indexed(CLIPS)[1] is None
        store.build_index(CLIPS)
        store.commit(batch[30:])  # rows the index does not know yet are found all the same
        rows, index = store.indexed(CLIPS)
        queries = np.asarray(rows.vectors[:: len(rows) // 70], np.float32) * 3.0  # more than go at once
        exact, found = nearest_exact(rows, queries, k=10), index(queries, 10)
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.rows, found.rows, strict=True)])
        assert recall >= 0.95
        np.testing.assert_array_equal(found.rows[:, 0], exact.rows[:, 0])
        np.testing.assert_allclose(found.scores[:, 0], exact.scores[:, 0], atol=6e-3)
        np.testing.assert_array_equal(index(queries[:1], 10).rows, found.rows[:1])

    def test_of_frames_it_knows_whole_pictures_only(self, store: Store):
        store.commit([finished(number, rows=60) for number in range(20)])  # every second row another view
        store.build_index("made-up")
        rows, index = store.indexed("made-up")
        assert len(rows) == 600
        queries = np.asarray(rows.vectors[::40], np.float32)
        found, exact = index(queries, 5), nearest_exact(rows, queries, k=5)
        np.testing.assert_array_equal(found.rows[:, 0], exact.rows[:, 0])
        assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact.rows, found.rows, strict=True)]) >= 0.9

    def test_fewer_rows_than_asked_for_are_marked(self, store: Store):
        random = np.random.default_rng(2)
        store.commit([self.footage(number, random) for number in range(6)])
        store.build_index(CLIPS)
        _, index = store.indexed(CLIPS, probes=1000)
        found = index(np.ones((2, 8), np.float32), 400)
        assert (np.sort(found.rows, axis=1)[:, 100:] == np.arange(300)).all()
        assert np.isneginf(found.scores[:, 300:]).all()
