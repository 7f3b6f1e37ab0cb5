"""What is known is left alone, the rest is decoded once, and no file stops the run."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_up_encoders import Means, PortraitTrouble, Slow

from reelspace.encoders.models.pdqf import Pdqf
from reelspace.errors import InvalidArgument, ReelspaceError, SpaceMismatch
from reelspace.extract.events import FileDone, Progress
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan, TmkSigner
from reelspace.extract.stamps import missing
from reelspace.media import open_video
from reelspace.media.sources import content_id
from reelspace.store.store import Store

PLAN = Plan((Means(),))


def portrait(clip: Path) -> bool:
    with open_video(clip) as reader:
        return reader.video.height > reader.video.width


def names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def copied(clips: list[Path], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [Path(shutil.copy2(clip, folder)) for clip in clips]


def test_rows_are_those_of_a_plain_pass_whichever_process_made_them(
    clips: list[Path], store: Store, tmp_path: Path
):
    plan = Plan((Means(),), (TmkSigner(),))
    report = extract(names(clips[:3]), store=store, plan=plan, workers=2)
    assert (report.indexed, report.failed, report.interrupted) == (3, (), False)
    elsewhere = Store.create(tmp_path / "in-process")
    extract(names(clips[:3]), store=elsewhere, plan=plan, workers=0)
    for clip in clips[:3]:
        video_id = content_id(str(clip))
        with open_video(clip) as reader:
            frames = list(reader.frames_at_rate(5, Means().tap.picture))
            small = np.stack([frame.pixels for _, frame in reader.read([Pdqf().tap])])
        vectors, weights = Means().encode(np.stack([frame.pixels for frame in frames]))
        keep = weights > 0
        keep[:, 0] = True
        for library in (store, elsewhere):
            got = library.sequence("means", video_id)
            np.testing.assert_array_equal(got.vectors, vectors[keep].astype(np.float16))
            np.testing.assert_array_equal(got.views, np.nonzero(keep)[1])
            np.testing.assert_array_equal(got.times_seconds, np.arange(len(frames))[np.nonzero(keep)[0]] / 5)
            np.testing.assert_array_equal(got.weights, weights[keep])
            signatures = library.signatures("tmk")
            mine = signatures.video_ids.index(video_id)
            assert signatures.frame_counts[mine] == len(small)
            average = Pdqf().encode(small).vectors[:, 0].mean(axis=0)
            np.testing.assert_allclose(signatures.averages[mine], average, rtol=1e-3, atol=1e-3)


def test_a_file_that_was_not_touched_is_not_even_read(clips: list[Path], store: Store, tmp_path: Path):
    files = copied(clips[:2], tmp_path / "in")
    extract(names(files), store=store, plan=PLAN, workers=0)
    for file in files:  # other bytes under the same size and time: whoever reads them notices
        before = file.stat()
        file.write_bytes(b"\0" * before.st_size)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = extract(names(files), store=store, plan=PLAN, workers=0)
    assert (report.skipped, report.indexed, report.failed) == (2, 0, ())


def test_a_moved_or_copied_file_is_not_decoded_again(clips: list[Path], store: Store, tmp_path: Path):
    (file,) = copied(clips[:1], tmp_path / "in")
    extract(names([file]), store=store, plan=PLAN, workers=0)
    moved = file.rename(tmp_path / "moved.mp4")
    copy = Path(shutil.copy(moved, tmp_path / "copy.mp4"))
    report = extract(names([moved, copy]), store=store, plan=PLAN, workers=0)
    assert (report.same_content, report.indexed, report.video_seconds) == (2, 0, 0.0)
    assert store.videos()[content_id(str(copy))].sources == tuple(sorted(names([file, moved, copy])))
    assert len(store.frame_matrix("means")) == 1


def test_equal_files_of_one_run_are_decoded_once(clips: list[Path], store: Store, tmp_path: Path):
    files = [Path(shutil.copy(clips[0], tmp_path / f"{i}.mp4")) for i in range(6)]
    report = extract(names(files), store=store, plan=Plan((Slow(),)), workers=3)
    assert (report.indexed, report.same_content) == (1, 5)
    matrix = store.frame_matrix("means")
    assert len(matrix) == 1
    assert len(matrix.vectors) == len(store.sequence("means", matrix.video_ids[0]))
    assert len(store.ledger()) == 6


def test_a_changed_file_replaces_what_it_was(clips: list[Path], store: Store, tmp_path: Path):
    (file,) = copied(clips[:1], tmp_path / "in")
    extract(names([file]), store=store, plan=PLAN, workers=0)
    shutil.copy(clips[1], file)
    report = extract(names([file]), store=store, plan=PLAN, workers=0)
    assert report.indexed == 1
    assert list(store.videos()) == [content_id(str(clips[1]))]
    assert list(store.frame_matrix("means").video_ids) == [content_id(str(clips[1]))]


def test_only_missing_fingerprints_are_computed(clips: list[Path], store: Store):
    first, second = Means(), Means("others", 1)
    extract(names(clips[:2]), store=store, plan=Plan((first,)), workers=0)
    before = store.record().versions["frames_means"]
    report = extract(names(clips[:3]), store=store, plan=Plan((first, second)), workers=0)
    assert report.indexed == 3
    assert len(store.frame_matrix("means")) == len(store.frame_matrix("others")) == 3
    assert store.record().versions["frames_means"] == before + 1  # for the third file only
    assert extract(names(clips[:3]), store=store, plan=Plan((second,)), workers=0).skipped == 3


def test_another_space_is_refused_before_anything_is_read(clips: list[Path], store: Store):
    extract(names(clips[:1]), store=store, plan=PLAN, workers=0)
    for other in (Plan((Means(seed=1),)), Plan((Means(),), fast=True)):
        with pytest.raises(SpaceMismatch, match="means@"):
            extract(["/not/there.mp4"], store=store, plan=other, workers=0)
    assert len(store.ledger()) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_fail_with_a_reason_and_stop_nothing(
    clips: list[Path], store: Store, tmp_path: Path, workers: int
):
    text = tmp_path / "text.mp4"
    text.write_text("not a video " * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    missing = tmp_path / "missing.mp4"
    events: list[FileDone] = []
    report = extract(
        names([text, clips[0], empty, missing, clips[1]]),
        store=store,
        plan=PLAN,
        workers=workers,
        on_event=lambda event: events.append(event) if isinstance(event, FileDone) else None,
    )
    assert report.indexed == 2
    reasons = {Path(done.source).name: done.reason for done in report.failed}
    assert set(reasons) == {"text.mp4", "empty.mp4", "missing.mp4"}
    assert "empty" in reasons["empty.mp4"]
    assert sorted(done.source for done in events) == sorted(names([text, clips[0], empty, missing, clips[1]]))
    again = extract(names([text, empty, missing]), store=store, plan=PLAN, workers=workers)
    assert len(again.known_failures) == 3
    assert again.failed == ()
    assert again.known_failures[0].reason == reasons["text.mp4"]
    assert len(extract(names([text]), store=store, plan=PLAN, workers=workers, retry_failed=True).failed) == 1
    shutil.copy(clips[2], missing)
    assert extract(names([missing]), store=store, plan=PLAN, workers=workers).indexed == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("crash", "the decoder crashed (SIGSEGV)"),
        ("hang", "no progress for 1.5 s"),
        ("raise", "unexpected ZeroDivisionError: portrait"),
    ],
)
def test_a_worker_that_fails_costs_its_own_file_only(clips: list[Path], store: Store, trouble: str, reason: str):
    bad = [clip for clip in clips if portrait(clip)]
    assert 0 < len(bad) < len(clips)
    plan = Plan((PortraitTrouble(trouble=trouble),))
    report = extract(names(clips), store=store, plan=plan, workers=2, silence_seconds=1.5)
    assert report.indexed == len(clips) - len(bad)
    assert sorted(done.source for done in report.failed) == sorted(names(bad))
    assert all(done.reason.startswith(reason) for done in report.failed)
    assert len(store.frame_matrix("means")) == len(clips) - len(bad)


def test_a_known_file_keeps_its_vectors_when_another_encoder_fails_on_it(clips: list[Path], store: Store):
    bad = next(clip for clip in clips if portrait(clip))
    extract([str(bad)], store=store, plan=PLAN, workers=0)
    plan = Plan((Means(), PortraitTrouble("second", trouble="raise")))
    assert len(extract([str(bad)], store=store, plan=plan, workers=0).failed) == 1
    assert store.ledger()[str(bad)].outcome == "indexed"
    assert len(store.frame_matrix("means")) == 1


def test_a_truncated_file_fails_or_is_kept_with_a_note(clips: list[Path], store: Store, tmp_path: Path):
    whole = max(clips, key=lambda clip: clip.stat().st_size)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    (failed,) = extract([str(cut)], store=store, plan=PLAN, workers=0).failed
    assert failed.reason.startswith("truncated: ")
    keep = Plan((Means(),), keep_partial=True)
    assert extract([str(cut)], store=store, plan=keep, workers=0, retry_failed=True).indexed == 1
    entry = store.ledger()[str(cut)]
    assert (entry.outcome, entry.reason) == ("indexed", failed.reason)
    assert len(store.frame_matrix("means").vectors) > 0


def test_a_file_that_changes_while_it_is_read_fails_and_is_done_next_time(
    clips: list[Path], store: Store, tmp_path: Path
):
    (file,) = copied(clips[:1], tmp_path / "in")
    timer = threading.Timer(0.15, lambda: os.utime(file, (1, 1)))
    timer.start()
    report = extract([str(file)], store=store, plan=Plan((Slow(),)), workers=0)
    timer.join()
    assert [done.reason for done in report.failed] == ["changed while it was read"]
    assert extract([str(file)], store=store, plan=PLAN, workers=0).indexed == 1


def test_stopping_keeps_what_is_done_and_the_next_run_does_the_rest(clips: list[Path], store: Store):
    stop = threading.Event()
    began = time.monotonic()
    report = extract(
        names(clips),
        store=store,
        plan=Plan((Slow(),)),
        workers=1,
        stop=stop,
        on_event=lambda event: stop.set() if isinstance(event, FileDone) else None,
    )
    assert time.monotonic() - began < 10
    assert report.interrupted
    assert report.indexed == len(store.ledger()) < len(clips)
    rest = extract(names(clips), store=store, plan=Plan((Slow(),)), workers=2)
    assert (rest.indexed, rest.skipped, rest.interrupted) == (len(clips) - report.indexed, report.indexed, False)
    assert len(store.frame_matrix("means")) == len(clips)


def test_a_claimed_file_is_left_to_its_holder_and_looked_at_again(clips: list[Path], store: Store):
    reports = []

    def index() -> None:
        reports.append(extract(names(clips), store=Store(store.place), plan=Plan((Slow(),)), workers=0))

    threads = [threading.Thread(target=index) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.indexed for report in reports) == len(clips)
    assert sum(report.skipped for report in reports) == len(clips)
    assert len(store.frame_matrix("means")) == len(clips)
    assert [path.name for path in (store.place / "locks").iterdir()] == ["write.lock"]


def test_the_ledger_is_not_asked_again_while_nobody_else_writes(
    clips: list[Path], store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Store, "find", lambda self, sources: pytest.fail("asked again"))
    monkeypatch.setattr("reelspace.extract.writer.SHARE_OF_TIME", 1e6)  # every file a step of its own
    assert extract(names(clips), store=store, plan=PLAN, workers=0).indexed == len(clips)


def test_files_that_are_gone_are_kept_until_they_are_forgotten(clips: list[Path], store: Store, tmp_path: Path):
    files = copied(clips[:2], tmp_path / "in")
    extract(names(files), store=store, plan=PLAN, workers=0)
    files[0].unlink()
    assert len(store.ledger()) == 2
    assert missing(store.ledger()) == [str(files[0])]
    assert store.forget(missing(store.ledger())) == 1
    assert list(store.frame_matrix("means").video_ids) == [content_id(str(files[1]))]


def test_progress_tells_how_far_a_file_has_come(clips: list[Path], store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reelspace.extract.worker.PROGRESS_SECONDS", 0.0)
    seconds: list[float] = []
    extract(
        names(clips[:1]),
        store=store,
        plan=PLAN,
        workers=0,
        on_event=lambda event: seconds.append(event.video_seconds) if isinstance(event, Progress) else None,
    )
    assert len(seconds) >= 4
    assert seconds == sorted(seconds)


def test_an_encoder_that_cannot_travel_says_so(clips: list[Path], store: Store):
    class Local(Means):
        pass

    with pytest.raises(ReelspaceError, match="define it in a module"):
        extract(names(clips[:1]), store=store, plan=Plan((Local(),)), workers=1)


def test_a_worker_that_cannot_begin_says_why(
    clips: list[Path], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "unimportable_encoder.py").write_text(
        "import os\nfrom made_up_encoders import Means\n"
        f"if os.getpid() != {os.getpid()}: raise ImportError('only at home')\n"
        "class Homely(Means): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from unimportable_encoder import Homely

    with pytest.raises(ReelspaceError, match="only at home"):
        extract(names(clips[:1]), store=store, plan=Plan((Homely(),)), workers=1)


def test_impossible_wishes_are_refused(store: Store):
    with pytest.raises(InvalidArgument, match="nothing to make"):
        extract([], store=store, plan=Plan())
    with pytest.raises(InvalidArgument, match="0 or more"):
        extract([], store=store, plan=PLAN, workers=-1)


def test_urls_that_live_in_this_process_are_indexed_in_it(clips: list[Path], store: Store):
    import fsspec

    with fsspec.open("memory://clips/a.mp4", "wb") as file:
        file.write(clips[0].read_bytes())
    try:
        report = extract(["memory://clips/a.mp4"], store=store, plan=PLAN, workers=0)
        assert report.indexed == 1
        assert list(store.videos()) == [content_id(str(clips[0]))]
        assert extract(["memory://clips/a.mp4"], store=store, plan=PLAN, workers=0).skipped == 1
    finally:
        fsspec.filesystem("memory").rm("/clips", recursive=True)
