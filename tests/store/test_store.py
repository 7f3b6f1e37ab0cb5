"""The library keeps what it was given, whole or not at all."""

from __future__ import annotations

import errno
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_up import (
    CLIPS,
    SIGNATURES,
    SPACE,
    clips,
    entry,
    failure,
    finished,
    sequence,
    signature,
    stored_video,
    video_id,
)

from reelspace.core.embeddings import ClipSequence
from reelspace.core.sequence import FrameMatrix
from reelspace.core.space import Space
from reelspace.errors import NotALibrary, SpaceMismatch, StoreBusy, StoreError, UnknownName
from reelspace.store import store as store_module
from reelspace.store.locks import FileLock
from reelspace.store.rows import Finished, Stamp
from reelspace.store.store import Store


def assert_holds(store: Store, numbers: list[int], rows: int = 12) -> None:
    """The library holds exactly these contents, each once, each complete."""
    wanted = {video_id(n): n for n in numbers}
    assert set(store.videos()) == set(wanted)
    matrix, signatures = store.frame_matrix(SPACE), store.signatures(SIGNATURES)
    windows = store.embeddings(CLIPS)
    assert sorted(matrix.video_ids) == sorted(signatures.video_ids) == sorted(windows.video_ids) == sorted(wanted)
    for i, found in enumerate(matrix.video_ids):
        expected, got = sequence(wanted[found], rows), matrix.sequence(i)
        for name in ("vectors", "times_seconds", "views", "weights"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    for i, found in enumerate(signatures.video_ids):
        expected = signature(wanted[found])
        assert signatures.frame_counts[i] == expected.frame_count
        np.testing.assert_array_equal(signatures.averages[i], expected.average)
        np.testing.assert_array_equal(signatures.cosines[i], expected.cosines)
        np.testing.assert_array_equal(signatures.sines[i], expected.sines)
    for i, found in enumerate(windows.video_ids):
        of_video = slice(*windows.bounds[i : i + 2])
        assert_same_clips(
            ClipSequence(
                windows.starts_seconds[of_video],
                windows.ends_seconds[of_video],
                windows.vectors[of_video] * windows.norms[of_video, None],
                CLIPS,
            ),
            clips(wanted[found]),
        )


def assert_same_clips(got: ClipSequence, expected: ClipSequence) -> None:
    """Equal but for the float16 of the directions: 11 bits of each number."""
    np.testing.assert_array_equal(got.starts_seconds, expected.starts_seconds)
    np.testing.assert_array_equal(got.ends_seconds, expected.ends_seconds)
    lengths = np.linalg.norm(expected.vectors, axis=1, keepdims=True)
    assert (np.abs(got.vectors - expected.vectors) <= lengths * 2.0**-11).all()


def test_everything_comes_back_as_it_went_in(store: Store):
    store.commit([finished(1), finished(2), failure(3)])
    assert_holds(store, [1, 2])
    ledger = store.ledger()
    assert ledger[entry(1).source] == entry(1)
    assert ledger[entry(3).source] == failure(3).entry
    stored = store.videos()[video_id(1)]
    assert stored.video.source == entry(1).source
    assert stored.tables == ("clips_windows", "frames_made-up", "signatures_sums")
    facts = stored_video(1).video
    for name in ("frame_rate", "duration_seconds", "rotation_degrees", "mirrored", "frame_count", "start_seconds"):
        assert getattr(stored.video, name) == getattr(facts, name)


def test_one_video_is_read_without_the_others(store: Store):
    store.commit([finished(1), finished(2)])
    found = store.sequence(SPACE, video_id(2))
    np.testing.assert_array_equal(found.vectors, sequence(2).vectors)
    with pytest.raises(UnknownName, match="no video with vectors of made-up@"):
        store.sequence(SPACE, video_id(9))


def test_one_content_in_three_places_is_stored_once(store: Store):
    store.commit([finished(1, "/a.mp4"), finished(1, "/b.mp4")])
    store.commit([Finished(entry(1, "/c.mp4"))])
    assert_holds(store, [1])
    assert store.videos()[video_id(1)].sources == ("/a.mp4", "/b.mp4", "/c.mp4")
    assert store.sources_by_video() == {video_id(1): ("/a.mp4", "/b.mp4", "/c.mp4")}


def test_a_changed_file_replaces_its_row_and_its_vectors(store: Store):
    store.commit([finished(1, "/a.mp4"), finished(2, "/b.mp4")])
    store.commit([finished(3, "/a.mp4")])
    assert_holds(store, [2, 3])
    assert store.ledger()["/a.mp4"].video_id == video_id(3)
    assert len(store.ledger()) == 2


def test_vectors_stay_while_another_file_refers_to_them(store: Store):
    store.commit([finished(1, "/a.mp4"), finished(1, "/b.mp4")])
    store.commit([failure(4, source="/a.mp4")])
    assert_holds(store, [1])
    assert store.forget(["/b.mp4", "/never seen.mp4"]) == 1
    assert_holds(store, [])


def test_the_same_row_twice_in_one_step_counts_once(store: Store):
    store.commit([failure(1, source="/a.mp4"), finished(1, "/a.mp4")])
    assert store.ledger()["/a.mp4"].outcome == "indexed"
    assert_holds(store, [1])


@pytest.mark.parametrize("name", ["it's", 'double "quotes"', "back\\slash", "new\nline", "日本", "%_--;DROP", "-x"])
def test_any_name_is_found_again(store: Store, name: str):
    store.commit([finished(1, name)])
    store.commit([finished(2, name)])
    assert list(store.find([name])) == [name]
    assert store.forget([name]) == 1
    assert store.ledger() == {}


def test_a_later_encoder_adds_its_table_to_known_videos(store: Store):
    other = Space("second", 4, {})
    store.commit([finished(1)])
    store.commit([Finished(entry(1), stored_video(1), (sequence(1), sequence(1, 5, other)))])
    held = ("clips_windows", "frames_made-up", "frames_second", "signatures_sums")
    assert store.videos()[video_id(1)].tables == held
    assert len(store.frame_matrix("second").vectors) == 5
    assert_holds(store, [1])


def test_another_space_of_the_same_name_is_refused_with_both_names(store: Store):
    store.commit([finished(1)])
    other = Space("made-up", 16, {"seed": 1})
    with pytest.raises(SpaceMismatch, match=rf"frames_made-up, holds vectors of {SPACE}.*{other}"):
        store.require(frames=[other])
    with pytest.raises(SpaceMismatch):
        store.commit([Finished(entry(2), stored_video(2), (sequence(2, space=other),))])
    with pytest.raises(SpaceMismatch):
        store.frame_matrix(other)
    store.require(frames=[SPACE, Space("new", 3, {})], signatures=[SIGNATURES])
    assert_holds(store, [1])


def test_a_name_that_is_not_there_suggests_one_that_is(store: Store):
    store.commit([finished(1)])
    with pytest.raises(UnknownName, match=r"no frames .* named 'made-op'; did you mean 'made-up'"):
        store.frame_matrix("made-op")


def test_a_folder_without_a_record_is_no_library(tmp_path: Path):
    with pytest.raises(NotALibrary, match="reelspace index"):
        Store(tmp_path)
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(NotALibrary, match="other files"):
        Store.create(tmp_path)
    with pytest.raises(NotALibrary, match="is a file"):
        Store.create(tmp_path / "holiday.mp4")


def test_another_schema_version_is_refused(store: Store):
    record = store.place / "library.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema_version": 99}))
    with pytest.raises(NotALibrary, match="schema version 99, this reelspace reads 1"):
        Store(store.place)


def test_an_empty_library_answers(store: Store):
    assert store.ledger() == store.videos() == store.tables_by_video() == {}
    summary = store.summary()
    assert (summary.indexed, summary.failed, summary.videos, summary.video_seconds) == (0, {}, 0, 0.0)


def test_the_summary_counts_files_reasons_and_distinct_seconds(store: Store):
    store.commit([finished(1, "/a"), finished(1, "/b"), finished(2), failure(3), failure(4), failure(5, "empty")])
    summary = store.summary()
    assert (summary.indexed, summary.videos, summary.video_seconds) == (3, 2, 3.0)
    assert summary.failed == {"no video stream": 2, "empty": 1}
    assert summary.rows == {"clips_windows": 8, "frames_made-up": 24, "signatures_sums": 2}
    assert summary.size_bytes > 1000


def test_what_the_container_promises_counts_only_where_the_pictures_bear_it_out():
    assert store_module.trusted_seconds(10.04, 10.0) == 10.04
    assert store_module.trusted_seconds(0.1, 10.0) == 10.0
    assert store_module.trusted_seconds(3600.0, 10.0) == 10.0
    assert store_module.trusted_seconds(None, 10.0) == 10.0


def test_a_step_waits_for_the_lock_and_then_gives_up(store: Store):
    impatient = Store(store.place, lock_timeout_seconds=0.05)
    with FileLock(store.place / "locks" / "write.lock"), pytest.raises(StoreBusy):
        impatient.commit([finished(1)])
    impatient.commit([finished(1)])
    assert_holds(store, [1])


class Killed(BaseException):
    """Stands for SIGKILL: nothing after the point it strikes is done."""


WRITES = [("add", n) for n in range(5)] + [("delete", n) for n in range(6)] + [("publish", 0)]


@pytest.mark.parametrize(("act", "nth"), WRITES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_step_cut_short_anywhere_leaves_no_trace(
    store: Store, monkeypatch: pytest.MonkeyPatch, act: str, nth: int, moment: str
):
    """The states a kill can leave on disk, one by one; `tests/extract/test_kill.py` kills for real."""
    store.commit([finished(1, "/a.mp4"), finished(2, "/b.mp4")])
    real, calls = getattr(store_module._Step, act), 0

    def cut_short(self, *args):
        nonlocal calls
        calls += 1
        strikes = calls == nth + 1
        if strikes and moment == "before":
            raise Killed
        real(self, *args)
        if strikes:
            raise Killed

    monkeypatch.setattr(store_module._Step, act, cut_short)
    with pytest.raises(Killed):
        store.commit([finished(3, "/a.mp4"), finished(2, "/new.mp4"), finished(4)])
    monkeypatch.undo()
    written = (act, moment) == ("publish", "after")
    after = Store(store.place)
    assert_holds(after, [2, 3, 4] if written else [1, 2])
    assert after.ledger()["/a.mp4"].video_id == video_id(3 if written else 1)
    after.commit([finished(5)])
    assert_holds(after, [2, 3, 4, 5] if written else [1, 2, 5])
    after.commit([finished(3, "/a.mp4")])
    assert_holds(after, [2, 3, 4, 5] if written else [2, 3, 5])


def test_a_full_disk_says_so_and_leaves_no_trace(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.commit([finished(1)])

    def full(self, name, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module._Step, "add", full)
    with pytest.raises(StoreError, match=r"could not be written: .*No space left"):
        store.commit([finished(2)])
    monkeypatch.undo()
    assert_holds(store, [1])


def test_what_others_wrote_is_told_from_what_was_written_here(store: Store):
    other = Store(store.place)
    store.commit([finished(1)])
    other.commit([finished(2)])
    store.commit([finished(3)])
    store.compact(after_fragments=1)
    assert store.commits_by_others() == 1
    assert other.commits_by_others() == store.record().commit - 1


def test_a_table_that_a_killed_writer_had_only_begun_is_made_anew(store: Store):
    half = store.place / "frames_made-up.lance" / "data"
    half.mkdir(parents=True)
    (half / "x.lance").write_bytes(b"half a file")
    store.commit([finished(1)])
    assert_holds(store, [1])


def test_a_reader_keeps_whole_steps_while_another_thread_writes(store: Store):
    store.commit([finished(0)])
    stop, seen, problems = threading.Event(), set(), []

    def read() -> None:
        reader = Store(store.place)
        try:
            while not stop.is_set():
                matrix = reader.frame_matrix(SPACE)
                assert len(matrix.vectors) == 12 * len(matrix)
                seen.add(len(matrix))
        except BaseException as error:  # noqa: BLE001 # shown by the test
            problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 12, 2):
        store.commit([finished(number), finished(number + 1)])
    store.forget([entry(0).source])
    store.compact(after_fragments=1)
    stop.set()
    thread.join()
    assert not problems
    assert len(seen) > 1
    assert_holds(store, list(range(1, 13)))


def test_compaction_changes_no_row_and_an_older_reader_reads_on(store: Store):
    for number in range(6):
        store.commit([finished(number)])
    store.forget([entry(2).source])
    before = store.record()
    compacted = store.compact(after_fragments=3)
    assert "frames_made-up" in compacted
    assert_holds(store, [0, 1, 3, 4, 5])
    assert len(store.ledger(before)) == 5
    assert store.compact(after_fragments=3) == []


def test_a_compaction_cut_short_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        store.commit([finished(number)])
    real, calls = store_module._Step.publish, 0

    def cut_short(self):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        real(self)

    time.sleep(1.0)  # the committed version is now older than what clean-up keeps
    monkeypatch.setattr(store_module, "KEEP_VERSIONS", store_module.timedelta(seconds=0.9))
    monkeypatch.setattr(store_module._Step, "publish", cut_short)
    with pytest.raises(Killed):
        store.compact(after_fragments=3)
    monkeypatch.undo()
    store.commit([finished(5)])
    assert_holds(Store(store.place), list(range(6)))


def test_a_failed_row_keeps_its_stamp_and_reason(store: Store):
    store.commit([failure(1, "truncated: 94 of 247 frames")])
    found = store.find([entry(1).source])[entry(1).source]
    assert (found.stamp, found.reason, found.video_id) == (Stamp(101, 7), "truncated: 94 of 247 frames", None)


class TestMapped:
    """The arrays on disk follow the table, by appending where that is enough."""

    @staticmethod
    def generation(store: Store) -> list[str]:
        return [p.name for p in (store.place / "cache" / "frames_made-up").iterdir() if p.is_dir()]

    def test_added_videos_are_appended_and_removed_ones_start_anew(self, store: Store):
        store.commit([finished(1)])
        first = store.frame_matrix(SPACE)
        assert isinstance(first.vectors, np.memmap)
        store.commit([finished(2)])
        assert_holds(store, [1, 2])
        assert self.generation(store) == ["0"]
        store.forget([entry(1).source])
        assert_holds(store, [2])
        assert self.generation(store) == ["1"]
        np.testing.assert_array_equal(first.sequence(0).vectors, sequence(1).vectors)  # still mapped

    def test_an_append_cut_short_is_done_again(self, store: Store):
        store.commit([finished(1)])
        store.frame_matrix(SPACE)
        raw = store.place / "cache" / "frames_made-up" / "0" / "vector.raw"
        raw.write_bytes(raw.read_bytes() + b"half a row")
        store.commit([finished(2)])
        assert_holds(store, [1, 2])

    def test_many_new_videos_are_one_pass(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("reelspace.store.mapped.APPEND_AT_MOST", 2)
        store.commit([finished(1)])
        store.frame_matrix(SPACE)
        store.commit([finished(n) for n in range(2, 6)])
        assert_holds(store, [1, 2, 3, 4, 5])

    def test_a_deleted_cache_is_made_again(self, store: Store):
        import shutil

        store.commit([finished(1), finished(2)])
        assert_holds(store, [1, 2])
        shutil.rmtree(store.place / "cache")
        assert_holds(store, [1, 2])

    def test_a_video_without_a_frame_has_an_empty_range(self, store: Store):
        store.commit([finished(1), Finished(entry(2), stored_video(2), (sequence(2, 0),), (), (clips(2, 0),))])
        matrix = store.frame_matrix(SPACE)
        assert len(matrix.sequence(matrix.video_ids.index(video_id(2)))) == 0
        windows = store.embeddings(CLIPS)
        assert np.diff(windows.bounds)[windows.video_ids.index(video_id(2))] == 0

    def test_rows_go_by_in_blocks(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(store_module, "BATCH_ROWS", 5)
        store.commit([finished(n) for n in range(4)])
        assert_holds(store, [0, 1, 2, 3])


class TestNearest:
    """Exact search against the obvious product; the index against exact search."""

    @staticmethod
    def oracle(matrix: FrameMatrix, queries: np.ndarray, k: int) -> np.ndarray:
        return np.argsort(-(queries @ np.asarray(matrix.vectors, np.float32).T), axis=1)[:, :k]

    @pytest.mark.parametrize("block_rows", [1, 7, 1000])
    def test_blocks_of_any_size_give_the_obvious_rows(self, store: Store, block_rows: int):
        from reelspace.store.nearest import nearest_exact

        store.commit([finished(n) for n in range(4)])
        matrix = store.frame_matrix(SPACE)
        queries = np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32)
        found = nearest_exact(matrix, queries, k=5, block_rows=block_rows)
        np.testing.assert_array_equal(found.rows, self.oracle(matrix, queries, 5))
        assert (np.diff(found.scores, axis=1) <= 0).all()

    def test_fewer_rows_than_asked_for_are_marked(self, store: Store):
        store.commit([finished(1, rows=3)])
        found = store.nearest(SPACE, np.ones((2, 16)), k=5)
        assert (found.rows[:, 3:] == -1).all()
        assert np.isneginf(found.scores[:, 3:]).all()

    def test_wrong_queries_are_refused(self, store: Store):
        store.commit([finished(1)])
        with pytest.raises(ValueError, match=r"queries are \(Q, 16\), got \(2, 3\)"):
            store.nearest(SPACE, np.ones((2, 3)), k=1)
        with pytest.raises(ValueError, match="k is at least 1, got 0"):
            store.nearest(SPACE, np.ones((2, 16)), k=0)

    def test_the_index_finds_nearly_all_that_exact_search_finds(self, store: Store):
        random = np.random.default_rng(1)
        batch = []
        for number in range(60):  # footage: frames of a shot lie together
            shots = np.repeat(random.standard_normal((6, 16)), 15, axis=0)
            vectors = shots + 0.3 * random.standard_normal((90, 16))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            plain = sequence(number, 90)
            rows = type(plain)(
                plain.times_seconds, vectors.astype(np.float16), plain.views, plain.weights, SPACE, 20.0
            )
            batch.append(Finished(entry(number), stored_video(number), (rows,)))
        store.commit(batch[:50])
        store.build_index(SPACE)
        store.commit(batch[50:])  # rows the index does not know yet are found all the same
        matrix = store.frame_matrix(SPACE)
        queries = np.asarray(matrix.vectors[:: len(matrix.vectors) // 40], np.float32) * 2.0
        exact = store.nearest(SPACE, queries, k=10, exact=True)
        indexed = store.nearest(SPACE, queries, k=10, exact=False)
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.rows, indexed.rows, strict=True)])
        assert recall >= 0.95
        np.testing.assert_array_equal(indexed.rows[:, 0], exact.rows[:, 0])
        np.testing.assert_allclose(indexed.scores[:, 0], exact.scores[:, 0], atol=2e-3)
        store.compact(after_fragments=0)
        assert len(store.frame_matrix(SPACE)) == 60
        again = store.nearest(SPACE, queries, k=1, exact=False)
        np.testing.assert_array_equal(again.rows[:, 0], exact.rows[:, 0])


def test_a_library_that_may_only_be_read_is_searched_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.commit([finished(1), finished(2)])
    make_folder = Path.mkdir

    def refuse(path: Path, *given: object, **named: object) -> None:
        if path.is_relative_to(store.place):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        make_folder(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_holds(store, [1, 2])
    assert not (store.place / "cache").exists()
