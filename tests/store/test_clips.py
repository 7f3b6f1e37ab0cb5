"""Vectors of stretches of video in the library, and how they are taken out again."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import CLIPS, SPACE, clips, entry, finished, sequence, stored_video, video_id

from reelspace.core.embeddings import ClipSequence
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.errors import SpaceMismatch, StoreBusy, UnknownName
from reelspace.store import store as store_module
from reelspace.store.rows import Finished
from reelspace.store.store import Store


def with_clips(number: int, rows: ClipSequence) -> Finished:
    return Finished(entry(number), stored_video(number), clips=(rows,))


def test_stored_vectors_have_unit_length_and_their_norms_give_the_models_back(store: Store):
    store.commit([finished(1)])
    windows, given = store.embeddings(CLIPS), clips(1)
    lengths = np.linalg.norm(given.vectors, axis=1)
    assert windows.vectors.dtype == np.float16
    np.testing.assert_allclose(windows.norms, lengths, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(windows.vectors.astype(float), axis=1), lengths > 0, atol=1e-3)
    got = store.clips(CLIPS, video_id(1))
    assert got.vectors.dtype == np.float32
    assert (np.abs(got.vectors - given.vectors) <= lengths[:, None] * 2.0**-11).all()
    np.testing.assert_array_equal(got.ends_seconds, given.ends_seconds)


def test_clip_vectors_are_mapped_not_loaded(store: Store):
    store.commit([finished(1)])
    assert isinstance(store.embeddings(CLIPS).vectors, np.memmap)
    store.commit([finished(2)])
    assert store.embeddings("windows").video_ids == (video_id(1), video_id(2))


def test_a_video_without_such_vectors_is_named(store: Store):
    store.commit([finished(1)])
    with pytest.raises(UnknownName, match="no video with vectors of windows@"):
        store.clips(CLIPS, video_id(9))
    with pytest.raises(UnknownName, match=r"no clips or frames .* named 'window'; did you mean 'windows'"):
        store.embeddings("window")


def test_another_space_of_the_same_name_is_refused(store: Store):
    store.commit([finished(1)])
    other = Space("windows", 8, {"clip": 32})
    with pytest.raises(SpaceMismatch, match="table clips_windows"):
        store.require(clips=[other])
    with pytest.raises(SpaceMismatch):
        store.commit([with_clips(2, clips(2, space=other))])
    with pytest.raises(SpaceMismatch):
        store.embeddings(other)
    store.require(clips=[CLIPS, Space("new", 3, {})])
    assert store.spaces()["clips_windows"] == CLIPS


def test_the_size_of_a_finished_file_counts_its_clips():
    assert with_clips(1, clips(1)).size_bytes == 4 * 8 * 4


class TestFramesAsEmbeddings:
    """Pictures, as windows that each last until the next."""

    def test_whole_pictures_only_each_until_the_next(self, store: Store):
        store.commit([finished(1), finished(2, rows=7)])  # views 0 and 1 of each picture
        windows = store.embeddings(SPACE)
        for i, number in enumerate((1, 2)):
            whole, rows = sequence(number, (12, 7)[i]).view(0), slice(*windows.bounds[i : i + 2])
            np.testing.assert_array_equal(windows.vectors[rows], whole.vectors)
            np.testing.assert_array_equal(windows.starts_seconds[rows], whole.times_seconds)
            np.testing.assert_array_equal(windows.ends_seconds[rows][:-1], whole.times_seconds[1:])
            assert windows.ends_seconds[rows][-1] == 1.5  # the video's end
        assert (windows.norms == 1).all()
        assert isinstance(windows.vectors, np.memmap)

    def test_without_other_views_the_matrix_itself_is_used(self, store: Store):
        plain = sequence(1)
        views = np.zeros(12, np.uint8)
        rows = FrameSequence(np.arange(12) / 8, plain.vectors, views, plain.weights, SPACE, 1.5)
        store.commit([Finished(entry(1), stored_video(1), (rows,))])
        windows = store.embeddings(SPACE)
        assert windows.vectors.filename == store.frame_matrix(SPACE).vectors.filename
        assert len(windows) == 12

    def test_one_video_is_read_without_the_others(self, store: Store):
        store.commit([finished(1), finished(2)])
        windows, one = store.embeddings(SPACE), store.clips(SPACE, video_id(2))
        rows = slice(*windows.bounds[1:3])
        np.testing.assert_array_equal(one.vectors, windows.vectors[rows])
        np.testing.assert_array_equal(one.starts_seconds, windows.starts_seconds[rows])
        np.testing.assert_array_equal(one.ends_seconds, windows.ends_seconds[rows])

    def test_they_follow_the_table(self, store: Store):
        store.commit([finished(1), finished(2)])
        assert len(store.embeddings(SPACE)) == 12
        store.commit([finished(3)])
        assert len(store.embeddings(SPACE)) == 18
        store.forget([entry(1).source])
        assert store.embeddings(SPACE).video_ids == (video_id(2), video_id(3))


class TestRemoveSpace:
    """Taken out to be embedded again with other settings."""

    def test_the_table_goes_and_the_videos_stay(self, store: Store):
        store.commit([finished(1), finished(2)])
        before = store.embeddings(CLIPS)
        store.remove_space("windows")
        assert set(store.spaces()) == {"frames_made-up", "signatures_sums"}
        assert store.videos()[video_id(1)].tables == ("frames_made-up", "signatures_sums")
        assert store.tables_by_video()[video_id(2)] == {"frames_made-up", "signatures_sums"}
        assert not (store.place / "clips_windows.lance").exists()
        np.testing.assert_array_equal(before.vectors[0], before.vectors[0])  # still mapped
        with pytest.raises(UnknownName):
            store.embeddings(CLIPS)
        with pytest.raises(UnknownName):
            store.remove_space("windows")

    @pytest.mark.parametrize("opened_before", [True, False])
    def test_another_space_may_take_the_name(self, store: Store, opened_before: bool):
        """Even where its table has reached the version that a cache of the old one was made of."""
        reader = Store(store.place)
        store.commit([finished(1)])
        if opened_before:
            reader.embeddings(CLIPS)
        store.remove_space(CLIPS)
        other = Space("windows", 3, {"clip": 32})
        if opened_before:  # by a reader that did not hear of it
            (store.place / "cache" / "clips_windows").mkdir(parents=True, exist_ok=True)
        store.commit([with_clips(1, clips(7, space=other))])
        for each in (store, reader):
            np.testing.assert_allclose(
                each.embeddings(other).norms[0], np.linalg.norm(clips(7, space=other).vectors[0])
            )
            with pytest.raises(SpaceMismatch):
                each.embeddings(CLIPS)

    def test_a_cache_of_the_table_before_is_not_taken_for_this_ones(self, store: Store, monkeypatch):
        store.commit([finished(1)])
        store.embeddings(CLIPS)
        monkeypatch.setattr(store_module.shutil, "rmtree", lambda *_given, **_named: None)  # killed before it
        store.remove_space(CLIPS)
        monkeypatch.undo()
        store.commit([with_clips(1, clips(7))])
        np.testing.assert_allclose(
            store.embeddings(CLIPS).norms, np.linalg.norm(clips(7).vectors, axis=1), rtol=1e-6
        )

    @pytest.mark.parametrize("published", [False, True])
    def test_cut_short_it_happened_wholly_or_not_at_all(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, published: bool
    ):
        store.commit([finished(1), finished(2)])
        real = store_module._Step.publish

        def cut_short(self) -> None:
            if published:
                real(self)
            raise KeyboardInterrupt

        monkeypatch.setattr(store_module._Step, "publish", cut_short)
        with pytest.raises(KeyboardInterrupt):
            store.remove_space(CLIPS)
        monkeypatch.undo()
        after = Store(store.place)
        assert ("clips_windows" in after.spaces()) is not published
        after.commit([finished(3)])
        held = after.tables_by_video()
        assert {number for number in (1, 2, 3) if "clips_windows" in held[video_id(number)]} == (
            {3} if published else {1, 2, 3}
        )
        assert sorted(after.embeddings(CLIPS).video_ids) == sorted(
            v for v, names in held.items() if "clips_windows" in names
        )

    def test_another_space_of_that_name_is_not_dropped(self, store: Store):
        store.commit([finished(1)])
        with pytest.raises(SpaceMismatch):
            store.remove_space(Space("windows", 8, {"clip": 32}))
        assert "clips_windows" in store.spaces()


def test_a_table_that_went_while_it_was_read_says_read_again(store: Store):
    store.commit([finished(1)])
    record = store.record()
    store.remove_space(CLIPS)
    with pytest.raises(StoreBusy, match="read again"):
        store._open("clips_windows", record)
