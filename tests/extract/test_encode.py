"""Clips are the frames they claim to be, whatever decodes them, and batches cross files without mixing them up."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_up_models import SIDE, Colours, model

from reelspace.core.frames import Picture
from reelspace.encoders.preprocess import crops_of
from reelspace.errors import InvalidArgument, MediaError, ReelspaceError, Truncated
from reelspace.extract.clips import Clips
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Model, ModelRun
from reelspace.media import open_video


def one(source: Path, *models: Model, **options):
    (found,) = encode_videos([str(source)], models, **options)
    assert not isinstance(found, MediaError)
    return found


def by_hand(source: Path, made: Model, times: np.ndarray, *, crop: int = 0, crops: int = 1) -> np.ndarray:
    """Mean colours (T * 3,) of the frames on screen at ``times``, one by one."""
    how = made.encoder.spec.preprocessing
    with open_video(source) as reader:
        frames = [frame.pixels for frame in reader.frames_at(times.tolist(), Picture())]
    cut = [crops_of(frame[None], how, crops=crops)[crop, 0] for frame in frames]
    assert cut[0].shape == (SIDE, SIDE, 3)
    return np.stack(cut).astype(np.float32).mean(axis=(1, 2)).ravel()


def test_tiles_are_the_frames_on_screen_at_their_times(clips: list[Path]):
    made = model(frames=4, spacing_seconds=0.1)
    found = one(clips[0], made)
    windows = made.clip.windows(found.duration_seconds)
    np.testing.assert_allclose(found.made[0].starts_seconds, windows.starts_seconds, atol=1e-9)
    for row, times in zip(found.made[0].vectors["colours"], windows.times_seconds, strict=True):
        np.testing.assert_allclose(row, by_hand(clips[0], made, times), atol=1e-3)


def test_a_short_video_is_padded_by_holding_its_last_frame(clips: list[Path]):
    made = model(frames=40, spacing_seconds=0.13)
    found = one(clips[0], made)
    (vector,) = found.made[0].vectors["colours"]
    np.testing.assert_allclose(vector, by_hand(clips[0], made, np.arange(40) * 0.13), atol=1e-3)
    with open_video(clips[0]) as reader:
        *_, last = reader.frames(Picture())
    end = crops_of(last.pixels[None], made.encoder.spec.preprocessing)[0, 0].astype(np.float32).mean(axis=(0, 1))
    np.testing.assert_allclose(vector[-3:], end, atol=1e-3)
    assert (found.made[0].starts_seconds.tolist(), found.made[0].ends_seconds[0]) == ([0.0], pytest.approx(5.2))


def test_views_are_the_papers_clips_and_crops_of_the_longer_side(clips: list[Path]):
    made = model(frames=3, spacing_seconds=0.1, clips=2, crops=3, mode="views")
    found = one(clips[1], made).made[0]
    windows = made.clip.windows(one(clips[1], made).duration_seconds)
    assert found.vectors["colours"].shape == (6, 9)
    for i, vector in enumerate(found.vectors["colours"]):
        expected = by_hand(clips[1], made, windows.times_seconds[i // 3], crop=i % 3, crops=3)
        np.testing.assert_allclose(vector, expected, atol=1e-3)
    np.testing.assert_allclose(found.pooled().vectors["colours"][0], found.vectors["colours"].mean(axis=0))


def test_squashed_is_one_clip_of_the_whole_video(clips: list[Path]):
    found = one(clips[2], model(frames=4, mode="squashed"))
    assert found.made[0].vectors["colours"].shape == (1, 12)
    assert found.made[0].ends_seconds[0] == pytest.approx(found.duration_seconds)


def test_many_models_share_one_pass_and_give_what_each_gives_alone(clips: list[Path]):
    models = [
        model(frames=4),
        model("pictures", frames=1, spacing_seconds=0.5),
        model("views", frames=3, clips=2, mode="views"),
        model("twin", frames=4, outputs=("colours", "logits")),
    ]
    together = one(clips[3], *models)
    for i, alone in enumerate(models):
        for name, vectors in one(clips[3], alone).made[0].vectors.items():
            np.testing.assert_array_equal(together.made[i].vectors[name], vectors)
    np.testing.assert_array_equal(together.made[0].vectors["colours"], together.made[3].vectors["colours"])


def test_logits_become_probabilities(clips: list[Path]):
    made = one(clips[0], model(outputs=("logits",))).made[0]
    probabilities = made.probabilities()
    np.testing.assert_allclose(
        np.log(probabilities[:, 0] / probabilities[:, 1]), -np.diff(made.vectors["logits"])[:, 0], rtol=1e-4
    )
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_batches_of_any_size_give_the_same_and_cross_files(clips: list[Path]):
    sources = [str(clip) for clip in clips[:4]]
    plain = {f.source: f.made[0].vectors["colours"] for f in encode_videos(sources, [model()])}
    for batch in (1, 3, 64):
        made = model()
        for found in encode_videos(sources, [made], batch=batch, workers=3):
            np.testing.assert_array_equal(found.made[0].vectors["colours"], plain[found.source])
        assert max(made.encoder.batches) <= batch


def test_a_broken_file_is_an_answer_and_stops_nothing(clips: list[Path], tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clips[0].read_bytes()[:300])
    found = list(encode_videos([str(broken), str(clips[0])], [model()]))
    errors = [f for f in found if isinstance(f, MediaError)]
    assert [error.source for error in errors] == [str(broken)]
    assert len(found) == 2


def test_a_model_that_breaks_ends_the_run_with_its_error(clips: list[Path]):
    class Breaking(Colours):
        def encode(self, clips, *, outputs=()):
            raise ReelspaceError("no")

    with pytest.raises(ReelspaceError, match="no"):
        list(encode_videos([str(clip) for clip in clips], [model(encoder=Breaking)]))


def test_when_the_device_has_no_room_the_batch_is_halved(clips: list[Path]):
    class OutOfMemoryError(RuntimeError):
        pass

    class Small(Colours):
        def encode(self, clips, *, outputs=()):
            if len(clips) > 1:
                raise OutOfMemoryError
            return super().encode(clips, outputs=outputs)

    small, plain = model(encoder=Small), model()
    np.testing.assert_array_equal(
        one(clips[0], small, batch=5).made[0].vectors["colours"], one(clips[0], plain).made[0].vectors["colours"]
    )


def test_whoever_wants_no_more_leaves_no_thread_behind(clips: list[Path]):
    before = threading.active_count()
    for _ in encode_videos([str(clip) for clip in clips], [model()]):
        break
    assert threading.active_count() == before


def test_numbers_that_are_not_finite_fail_their_file_and_no_other(clips: list[Path]):
    class Overflowing(Colours):
        def encode(self, clips, *, outputs=()):
            found = super().encode(clips, outputs=outputs)
            return {name: np.where(np.isclose(values, first), np.inf, values) for name, values in found.items()}

    first = one(clips[0], model()).made[0].vectors["colours"][0, 0]
    found = {f.source: f for f in encode_videos([str(clip) for clip in clips[:2]], [model(encoder=Overflowing)])}
    failed = found[str(clips[0])]
    assert isinstance(failed, MediaError)
    assert failed.reason == "colours gave numbers that are not finite; try --dtype float32"
    assert not isinstance(found[str(clips[1])], MediaError)


def test_nobody_waits_for_room_once_the_model_ends():
    computing, on = threading.Event(), threading.Event()

    class Slow(Colours):
        def encode(self, clips, *, outputs=()):
            computing.set()
            on.wait(20)
            return super().encode(clips, outputs=outputs)

    made = model(encoder=Slow)
    run = ModelRun([made], batch=1)
    run.open("video", [0])
    run.put("video", 0, Clips(np.arange(3.0), np.arange(1.0, 4.0), np.zeros((3, 4, SIDE, SIDE, 3), np.uint8)))
    assert computing.wait(20)
    threads = [threading.Thread(target=act, daemon=True) for act in (lambda: run.wait_below(1), run.end)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # `end` is waiting for the first of three batches
    on.set()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_models_are_refused_clips_they_were_not_made_for():
    made = model()
    with pytest.raises(InvalidArgument, match="reads 4 frames"):
        Model(made.encoder, ("colours",), model(frames=5).clip)


@pytest.mark.parametrize("mode", ["tiled", "views", "squashed"])
@pytest.mark.parametrize("name", ["derived_truncated_flower_60pct.mp4", "derived_truncated_stream_50pct.webm"])
def test_a_truncated_file_fails_unless_what_there_is_is_wanted(shared: Path, name: str, mode: str):
    source = shared / "videos" / "odd" / name
    (failed,) = encode_videos([str(source)], [model(mode=mode)])
    assert isinstance(failed, Truncated)
    kept = one(source, model(mode=mode), keep_partial=True)
    assert 0 < kept.made[0].ends_seconds[-1] <= kept.duration_seconds + 0.4
