"""Models in a library: computed in one process, decoded in others, stored with the rest in one step."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from made_up_encoders import Means
from made_up_models import Colours, model

from reelspace.errors import MediaError, ReelspaceError, SpaceMismatch
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Model
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan
from reelspace.media.sources import content_id
from reelspace.store.store import Store


def names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def vectors_of(source: str, made: Model) -> np.ndarray:
    (found,) = encode_videos([source], [made])
    assert not isinstance(found, MediaError)
    rows = found.made[0].pooled() if made.clip.mode == "views" else found.made[0]
    return rows.vectors["colours"]


@pytest.mark.parametrize("workers", [2, 0])
def test_stored_clips_are_those_of_a_pass_without_a_library(clips: list[Path], store: Store, workers: int):
    models = [model(), model("views", frames=3, clips=2, crops=3, mode="views")]
    report = extract(names(clips), store=store, plan=Plan((Means(),)), models=models, workers=workers)
    assert (report.indexed, report.failed) == (len(clips), ())
    for made in models:
        for clip in clips[:4]:
            rows = store.clips(made.space("colours"), content_id(str(clip)))
            np.testing.assert_allclose(rows.vectors, vectors_of(str(clip), made), rtol=2e-3)


def test_a_model_of_pictures_gives_a_frame_sequence_that_aligning_reads(clips: list[Path], store: Store):
    pictures = model("pictures", frames=1, spacing_seconds=0.25)
    extract(names(clips[:2]), store=store, plan=Plan(), models=[pictures], workers=1)
    sequence = store.sequence(pictures.space("colours"), content_id(str(clips[0])))
    np.testing.assert_allclose(np.diff(sequence.times_seconds), 0.25)
    np.testing.assert_allclose(np.linalg.norm(sequence.vectors.astype(np.float32), axis=1), 1.0, atol=1e-3)
    assert set(sequence.weights.tolist()) == {1.0}


def test_a_model_that_comes_later_is_added_and_nothing_else_is_done_again(clips: list[Path], store: Store):
    extract(names(clips[:3]), store=store, plan=Plan((Means(),)), workers=1)
    later = model()
    report = extract(names(clips[:3]), store=store, plan=Plan((Means(),)), models=[later], workers=1)
    assert report.indexed == 3
    assert store.clips(later.space("colours"), content_id(str(clips[0]))).vectors.any()
    again = model()
    report = extract(names(clips[:3]), store=store, plan=Plan((Means(),)), models=[again], workers=1)
    assert (report.indexed, report.skipped, again.encoder.batches) == (0, 3, [])


def test_another_checkpoint_of_the_same_name_is_refused(clips: list[Path], store: Store):
    extract(names(clips[:1]), store=store, plan=Plan(), models=[model()], workers=0)
    other = model()
    other.encoder.digest = "1" * 64
    with pytest.raises(SpaceMismatch):
        extract(names(clips[:1]), store=store, plan=Plan(), models=[other], workers=0)


def test_files_of_the_same_bytes_are_computed_once(clips: list[Path], store: Store, tmp_path: Path):
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(clips[0].read_bytes())
    made = model()
    report = extract([str(clips[0]), str(twin)], store=store, plan=Plan(), models=[made], workers=2)
    assert (report.indexed, report.same_content) == (1, 1)
    assert len(store.embeddings(made.space("colours")).video_ids) == 1


def test_numbers_that_are_not_finite_fail_the_file_and_say_which_model(clips: list[Path], store: Store):
    class Overflowing(Colours):
        def encode(self, clips, *, outputs=()):
            return {name: values * np.inf for name, values in super().encode(clips, outputs=outputs).items()}

    report = extract(names(clips[:2]), store=store, plan=Plan(), models=[model(encoder=Overflowing)], workers=1)
    assert [f.reason for f in report.failed] == [
        "colours gave numbers that are not finite; try --dtype float32"
    ] * 2


def test_a_model_that_breaks_ends_the_run_and_what_was_done_is_kept(clips: list[Path], store: Store):
    class BreakingLater(Colours):
        def encode(self, clips, *, outputs=()):
            if len(self.batches) > 3:
                raise ReelspaceError("no more")
            return super().encode(clips, outputs=outputs)

    with pytest.raises(ReelspaceError, match="no more"):
        extract(names(clips), store=store, plan=Plan(), models=[model(encoder=BreakingLater)], batch=1, workers=1)
    report = extract(names(clips), store=store, plan=Plan(), models=[model()], workers=1)
    assert report.indexed + report.skipped == len(clips)
    assert [lock.name for lock in (store.place / "locks").iterdir()] == ["write.lock"]


def test_a_broken_file_fails_while_others_are_computed(clips: list[Path], store: Store, tmp_path: Path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clips[0].read_bytes()[: clips[0].stat().st_size // 2])
    report = extract([str(cut), *names(clips[:2])], store=store, plan=Plan(), models=[model()], workers=2)
    assert (report.indexed, len(report.failed)) == (2, 1)


def test_workers_wait_when_too_much_is_not_computed_yet(clips: list[Path], store: Store, monkeypatch):
    from reelspace.extract import pipeline

    monkeypatch.setattr(pipeline, "WAITING_PIXELS", 1)
    made = model(frames=2, spacing_seconds=0.02)
    report = extract(names(clips), store=store, plan=Plan(), models=[made], workers=2)
    assert report.indexed == len(clips)


def test_a_run_that_is_stopped_keeps_what_is_done_and_goes_on(clips: list[Path], store: Store):
    stop = threading.Event()

    class Stopping(Colours):
        def encode(self, clips, *, outputs=()):
            stop.set()
            return super().encode(clips, outputs=outputs)

    report = extract(
        names(clips), store=store, plan=Plan(), models=[model(encoder=Stopping)], workers=1, batch=1, stop=stop
    )
    assert report.interrupted
    report = extract(names(clips), store=store, plan=Plan(), models=[model()], workers=2)
    assert report.indexed + report.skipped == len(clips)
