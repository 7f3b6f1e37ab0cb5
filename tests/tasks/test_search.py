"""Which moments answer a search."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelspace.core.embeddings import ClipSequence, Embeddings
from reelspace.core.results import Hit
from reelspace.core.space import Space
from reelspace.core.time import Span, union
from reelspace.core.video import Video
from reelspace.errors import InvalidArgument, SpaceMismatch, UnknownName
from reelspace.store.nearest import nearest_exact
from reelspace.store.rows import StoredVideo
from reelspace.tasks import search as task
from reelspace.tasks.search import VideoFilter, merge_scenes, search, similar, similarity_matrix

SPACE = Space("x", 4, {})
EAST, NORTH, UP, PAST = np.eye(4, dtype=np.float32)


def stored(*videos: list[np.ndarray]) -> Embeddings:
    """Videos ``a``, ``b``, ... of windows of two seconds."""
    vectors = np.array([window for video in videos for window in video], np.float32).reshape(-1, 4)
    norms = np.linalg.norm(vectors, axis=1)
    bounds = np.cumsum([0, *map(len, videos)])
    starts = np.concatenate([np.arange(len(video)) * 2.0 for video in videos])
    units = (vectors / norms[:, None]).astype(np.float16)
    ids = tuple("abcdefgh"[: len(videos)])
    return Embeddings(units, norms.astype(np.float32), starts, starts + 2, bounds, ids, SPACE)


def clip(*windows: np.ndarray) -> ClipSequence:
    starts = np.arange(len(windows)) * 3.0
    return ClipSequence(starts, starts + 3, np.array(windows, np.float32).reshape(-1, 4), SPACE)


def spans(hits: list[Hit]) -> list[tuple[str, float, float]]:
    return [(hit.video, hit.span.start, hit.span.end) for hit in hits]


def test_the_likest_moments_come_first_for_each_query():
    rows = stored([EAST, NORTH], [UP, EAST + NORTH])
    east, up = search(rows, np.stack([9 * EAST, UP]), k=2, gap_seconds=None)
    assert spans(east) == [("a", 0, 2), ("b", 2, 4)]
    assert [round(hit.score, 3) for hit in east] == [1.0, 0.707]
    assert spans(up)[0] == ("b", 0, 2)


def test_windows_that_follow_one_another_are_one_scene():
    rows = stored([EAST, EAST, NORTH, NORTH, NORTH, NORTH, NORTH, NORTH, NORTH, EAST], [UP] * 3)
    (found,) = search(rows, EAST[None], k=3)
    assert spans(found)[:2] == [("a", 0, 4), ("a", 18, 20)]  # eight times three hits are looked at: all there are
    (found,) = search(rows, EAST[None], k=3, gap_seconds=None)
    assert spans(merge_scenes(found)) == [("a", 0, 4), ("a", 18, 20)]
    assert spans(merge_scenes(found, gap_seconds=14)) == [("a", 0, 20)]


def test_cosine_ignores_length_and_dot_does_not():
    rows = stored([EAST, 50 * (EAST + NORTH)])
    assert spans(search(rows, EAST[None], k=1, gap_seconds=None)[0]) == [("a", 0, 2)]
    (dot,) = search(rows, 2 * EAST[None], k=1, distance="dot", gap_seconds=None)
    assert spans(dot) == [("a", 2, 4)]
    assert dot[0].score == pytest.approx(100, rel=1e-3)


def test_what_must_not_be_there_is_taken_off():
    rows = stored([EAST + NORTH, EAST + UP, EAST + PAST])
    (found,) = search(rows, EAST[None], k=3, against=np.stack([7 * NORTH, UP]), gap_seconds=None)
    assert spans(found)[0] == ("a", 4, 6)
    half = np.sqrt(0.5)
    np.testing.assert_allclose([hit.score for hit in found], [half, 0, 0], atol=1e-3)


def test_an_unrelated_thing_that_must_not_be_there_changes_no_score():
    rows = stored([EAST + NORTH, EAST + UP])
    both = [
        search(rows, EAST[None], against=n, gap_seconds=None)[0] for n in (NORTH[None], np.stack([NORTH, PAST]))
    ]
    assert both[0] == both[1]


def test_only_the_videos_asked_for_are_searched():
    rows = stored([EAST], [EAST], [NORTH])
    (found,) = search(rows, EAST[None], videos={"b", "c", "not stored"})
    assert {hit.video for hit in found} == {"b", "c"}
    assert search(rows, EAST[None], videos=[]) == [[]]


def test_wrong_words_are_refused():
    rows = stored([EAST])
    with pytest.raises(UnknownName, match="no distance named 'cosin'; did you mean 'cosine'"):
        search(rows, EAST[None], distance="cosin")
    with pytest.raises(InvalidArgument, match=r"queries are \(Q, 4\)"):
        search(rows, np.ones((1, 5)))
    with pytest.raises(InvalidArgument, match="at least one window"):
        similar(rows, clip())
    with pytest.raises(SpaceMismatch):
        similar(rows, ClipSequence(np.zeros(1), np.ones(1), np.ones((1, 4)), Space("x", 4, {"other": 1})))
    with pytest.raises(UnknownName, match="way to compare"):
        similar(rows, clip(EAST), by="worst")


class TestIndexed:
    """With an index that proposes rows, the scores are still exact."""

    @staticmethod
    def made(count: int = 400) -> tuple[Embeddings, np.ndarray]:
        random = np.random.default_rng(5)
        vectors = random.standard_normal((count, 4)) * 10.0 ** random.uniform(-1, 1, (count, 1))
        return stored(list(vectors[: count // 2]), list(vectors[count // 2 :])), random.standard_normal((3, 4))

    def test_a_plain_search_asks_for_as_many_as_it_needs(self):
        rows, queries = self.made()
        asked = []

        def nearest(vectors: np.ndarray, k: int):
            asked.append(k)
            return nearest_exact(rows, vectors, k=k)

        assert search(rows, queries, k=3, nearest=nearest) == search(rows, queries, k=3)
        assert asked == [24]

    def test_candidates_are_scored_by_the_whole_question(self):
        rows, queries = self.made()
        index = lambda vectors, k: nearest_exact(rows, vectors, k=k)  # noqa: E731
        whole = {"against": queries[:1] + 0.3, "distance": "dot", "gap_seconds": None}
        # all rows are candidates: the same answer
        assert search(rows, queries, k=40, nearest=index, **whole) == search(rows, queries, k=40, **whole)

    def test_few_videos_are_searched_without_it(self, monkeypatch: pytest.MonkeyPatch):
        rows, queries = self.made()

        def never(_vectors: np.ndarray, _k: int):
            raise AssertionError("not asked for")

        exact = search(rows, queries, videos=["b"])
        assert search(rows, queries, videos=["b"], nearest=never) == exact
        monkeypatch.setattr(task, "SEARCH_INDEX_ABOVE_ROWS", 100)
        through = search(rows, queries, videos=["b"], nearest=lambda v, k: nearest_exact(rows, v, k=len(rows)))
        assert through == exact


class TestSimilar:
    """Another video as the query."""

    def test_a_moment_counts_by_the_window_that_is_likest(self):
        rows = stored([EAST, NORTH], [UP, EAST + PAST])
        found = similar(rows, clip(UP, 5 * EAST), k=3, gap_seconds=None)
        assert spans(found) == [("a", 0, 2), ("b", 0, 2), ("b", 2, 4)]
        assert [hit.query for hit in found] == [Span(3, 6), Span(0, 3), Span(3, 6)]

    def test_or_by_the_mean_of_all_windows(self):
        rows = stored([EAST, EAST + UP, UP])
        found = similar(rows, clip(UP, 100 * EAST), k=1, by="mean", gap_seconds=None)
        assert spans(found) == [("a", 2, 4)]
        assert found[0].query is None

    @pytest.mark.parametrize("seed", range(5))
    def test_the_best_over_the_windows_is_that_of_the_whole_matrix(self, seed: int):
        random = np.random.default_rng(seed)
        rows, query = (
            stored(*(list(random.standard_normal((9, 4))) for _ in range(6))),
            clip(*random.standard_normal((7, 4))),
        )
        units = query.vectors / np.linalg.norm(query.vectors, axis=1, keepdims=True)
        whole = rows.vectors.astype(float) @ units.T.astype(float)
        best = np.argsort(-whole.max(axis=1))[:8]
        found = similar(rows, query, k=8, gap_seconds=None)
        assert spans(found) == [("abcdef"[r // 9], *((r % 9) * 2.0 + np.array([0, 2]))) for r in best]
        assert [hit.query.start for hit in found] == [3.0 * whole[r].argmax() for r in best]

    def test_a_very_long_query_is_searched_by_windows_from_all_of_it(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(task, "_MOST_SEARCHING", 3)
        rows = stored([EAST], [NORTH], [UP])
        found = similar(rows, clip(EAST, PAST, PAST, NORTH, PAST, PAST, UP), k=3)
        np.testing.assert_allclose([hit.score for hit in found], 1, atol=1e-3)


def test_the_similarity_matrix_holds_the_best_of_each_video():
    random = np.random.default_rng(0)
    videos = [random.standard_normal((n, 4)) for n in (3, 1, 5)]
    rows = stored(*map(list, videos[:2]), [], list(videos[2]))
    queries = random.standard_normal((2, 4))
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    matrix = similarity_matrix(queries, rows)
    assert matrix.shape == (2, 4)
    assert np.isnan(matrix[:, 2]).all()
    for column, video in zip((0, 1, 3), videos, strict=True):
        cosines = units @ (video / np.linalg.norm(video, axis=1, keepdims=True)).T
        np.testing.assert_allclose(matrix[:, column], cosines.max(axis=1), atol=2e-3)
        np.testing.assert_allclose(
            similarity_matrix(queries, rows, distance="dot")[:, column],
            (queries @ video.T).max(axis=1),
            rtol=2e-2,
            atol=1e-2,
        )


def test_the_similarity_matrix_of_a_video_across_blocks(monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(1)
    rows, queries = (
        stored(*(list(random.standard_normal((11, 4))) for _ in range(5))),
        random.standard_normal((3, 4)),
    )
    whole = similarity_matrix(queries, rows)
    monkeypatch.setattr("reelspace.store.products._MOST_PRODUCTS", 21)  # seven rows at a time
    np.testing.assert_allclose(similarity_matrix(queries, rows), whole, rtol=1e-6)


TIMES = st.integers(0, 40).map(lambda n: n / 4)
HITS = st.lists(
    st.builds(
        lambda video, start, length, score: Hit(video, Span(start, start + length), score),
        st.sampled_from("ab"),
        TIMES,
        st.integers(1, 12).map(lambda n: n / 4),
        st.floats(-1, 1),
    ),
    max_size=15,
)


class TestMergeScenes:
    """Laws of scenes."""

    @given(HITS, st.integers(0, 8).map(lambda n: n / 4), st.randoms())
    def test_order_does_not_matter_and_merging_again_changes_nothing(self, hits, gap, shuffler):
        scenes = merge_scenes(hits, gap_seconds=gap)
        assert merge_scenes(scenes, gap_seconds=gap) == scenes
        again = list(hits)
        shuffler.shuffle(again)
        assert merge_scenes(again, gap_seconds=gap) == scenes

    @given(HITS, st.integers(0, 8).map(lambda n: n / 4))
    def test_scenes_cover_every_hit_and_keep_apart(self, hits, gap):
        scenes = merge_scenes(hits, gap_seconds=gap)
        assert [s.score for s in scenes] == sorted((s.score for s in scenes), reverse=True)
        for hit in hits:
            (around,) = [s for s in scenes if s.video == hit.video and s.span.overlap(hit.span) > 0]
            assert around.span.hull(hit.span) == around.span
        for scene in scenes:
            inside = [h for h in hits if h.video == scene.video and h.span.overlap(scene.span) > 0]
            assert scene.score == max(h.score for h in inside)
        for video in "ab":
            ordered = sorted(s.span for s in scenes if s.video == video)
            assert all(a.end + gap < b.start for a, b in pairwise(ordered))

    @given(HITS)
    def test_without_a_gap_they_are_the_union(self, hits):
        for video in "ab":
            covered = union(h.span for h in hits if h.video == video)
            assert sorted(s.span for s in merge_scenes(hits) if s.video == video) == covered

    def test_a_scene_ends_where_hits_stand_out_less_than_half_as_much_as_its_best(self):
        hits = [Hit("a", Span(i, i + 1), score) for i, score in enumerate((0.36, 0.5, 0.7, 1.0, 0.55, 0.4, 0.8))]
        assert spans(merge_scenes(hits, background=0.2)) == [("a", 2, 4), ("a", 6, 7), ("a", 4, 6), ("a", 0, 2)]
        # hits a second apart belong together, but not across a scene that stands out more
        assert spans(merge_scenes(hits, background=0.2, gap_seconds=1))[0] == ("a", 2, 4)

    @given(HITS, st.floats(-1, 1), st.integers(0, 8).map(lambda n: n / 4))
    def test_every_hit_is_in_a_scene_at_least_as_good(self, hits, background, gap):
        scenes = merge_scenes(hits, background=background, gap_seconds=gap)
        assert len(scenes) <= len(hits)
        for hit in hits:
            assert any(
                s.video == hit.video and s.span.hull(hit.span) == s.span and s.score >= hit.score for s in scenes
            )

    def test_windows_meet_whatever_rounding_says(self):
        step = 16 * 1001 / 30000
        hits = [Hit("a", Span(i * step, i * step + step), 0.5) for i in range(100)]
        assert len(merge_scenes(hits)) == 1

    def test_the_best_hit_says_what_of_the_query_it_is_like(self):
        hits = [Hit("a", Span(0, 2), 0.5, Span(7, 8)), Hit("a", Span(2, 4), 0.9, Span(1, 2))]
        assert merge_scenes(hits) == [Hit("a", Span(0, 4), 0.9, Span(1, 2))]


class TestVideoFilter:
    """Which videos are searched."""

    FACTS = Video("", 60.0, Fraction(25), 1280, 720, 0, False, "h264", "yuv420p", "mp4", 1500, 0.0, 5_000_000)
    VIDEO = StoredVideo("v", FACTS, 60.0, ("/home/me/holiday/beach.mp4", "/backup/x.mp4"))

    @pytest.mark.parametrize(
        ("words", "matches"),
        [
            ({}, True),
            ({"path": "*/holiday/*.mp4"}, True),
            ({"path": "*.mkv"}, False),
            ({"duration_seconds": (60, None)}, True),
            ({"duration_seconds": (None, 59.9)}, False),
            ({"size_bytes": (1, 5_000_000)}, True),
            ({"height": (721, None)}, False),
            ({"height": (720, 720), "path": "/backup/*"}, True),
        ],
    )
    def test_bounds_belong_to_their_range_and_all_must_hold(self, words: dict, matches: bool):
        assert VideoFilter(**words)(self.VIDEO) is matches

    def test_what_is_not_known_matches_an_open_range_only(self):
        unknown = replace(self.VIDEO, video=replace(self.FACTS, size_bytes=None))
        assert VideoFilter()(unknown)
        assert not VideoFilter(size_bytes=(0, None))(unknown)
