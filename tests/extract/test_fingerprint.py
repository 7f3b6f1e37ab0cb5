"""One decode pass gives every fingerprint, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Self

import numpy as np
import pytest
from made_up_encoders import Means

from reelspace.alignment.tmk import TmkAccumulator
from reelspace.core.frames import Frame, Tap
from reelspace.core.video import Video
from reelspace.extract import fingerprint as fingerprint_module
from reelspace.extract.fingerprint import Fingerprints, fingerprint
from reelspace.extract.plan import Plan, TmkSigner, descriptor_of

FACTS = Video("", None, Fraction(25), 64, 64, 0, False, "h264", "yuv420p", "mp4", None, 0.0, None)


class Endless:
    """A reader of ``count`` pictures, each of one colour and noise in a corner, for every tap."""

    video = FACTS

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.count, self.shape = count, shape

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, taps: Sequence[Tap]) -> Iterator[tuple[int, Frame]]:
        random = np.random.default_rng(0)
        for i in range(self.count):
            for tap in range(len(taps)):
                pixels = np.full(self.shape, i % 256, np.uint8)
                pixels[:32, :32] = random.integers(0, 256, (32, 32, 3))
                yield tap, Frame(i / 25, i / 25, pixels)


def decode(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, count: int, shape: tuple[int, ...] = (64, 64, 3)
) -> Fingerprints:
    monkeypatch.setattr(fingerprint_module, "open_video", lambda source, fast, threads: Endless(count, shape))
    return fingerprint("x.mp4", plan, video_id="0" * 64)


def test_memory_does_not_grow_with_the_length_of_the_video(monkeypatch: pytest.MonkeyPatch):
    plan = Plan((Means(),), (TmkSigner(),))
    decode(monkeypatch, plan, 10)  # tables and caches that are made once
    peaks = []
    for count in (300, 3000):  # 3000 pictures would be 74 MB
        tracemalloc.start()
        decode(monkeypatch, plan, count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000


def test_large_pictures_are_handed_over_in_smaller_batches(monkeypatch: pytest.MonkeyPatch):
    plan = Plan((Means(),))
    decode(monkeypatch, plan, 2)
    tracemalloc.start()
    decode(monkeypatch, plan, 12, (2160, 3840, 3))  # 25 MB each: all of them would be 300 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150_000_000


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_no_frame_is_lost_between_batches(monkeypatch: pytest.MonkeyPatch, count: int):
    decoded = decode(monkeypatch, Plan((Means(),), (TmkSigner(),)), count)
    (rows,), (signature,) = decoded.sequences, decoded.signatures
    np.testing.assert_array_equal(rows.view(0).times_seconds, np.arange(count) / 25)
    assert signature.frame_count == count
    assert decoded.seen_seconds == pytest.approx(count / 25)


def test_a_stored_signature_is_the_descriptor_it_was_made_of(monkeypatch: pytest.MonkeyPatch):
    accumulators = []
    monkeypatch.setattr(
        "reelspace.extract.plan.TmkAccumulator", lambda: accumulators.append(TmkAccumulator()) or accumulators[-1]
    )
    (signature,) = decode(monkeypatch, Plan(signers=(TmkSigner(),)), 40).signatures
    assert descriptor_of(signature).to_bytes() == accumulators[0].finish().to_bytes()


def test_rows_are_sorted_by_time_then_view(monkeypatch: pytest.MonkeyPatch):
    (rows,) = decode(monkeypatch, Plan((Means(),)), 200).sequences
    order = np.lexsort((rows.views, rows.times_seconds))
    np.testing.assert_array_equal(order, np.arange(len(rows)))
    assert set(rows.views.tolist()) == {0, 1}


def test_fast_decoding_is_another_space():
    exact, fast = Plan((Means(),), (TmkSigner(),)), Plan((Means(),), (TmkSigner(),), fast=True)
    assert exact.encoder_space(0) == Means().space
    assert fast.encoder_space(0) != exact.encoder_space(0)
    assert fast.signer_space(0) != exact.signer_space(0)
    assert fast.encoder_space(0).name == exact.encoder_space(0).name
