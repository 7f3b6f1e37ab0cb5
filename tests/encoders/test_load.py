"""What a loaded network is given is checked before it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "extract"))

import tiny_network

from reelspace.encoders.load import load_encoder
from reelspace.errors import InvalidArgument

CLIPS = np.zeros((2, 4, 16, 16, 3), np.uint8)


def test_clips_and_texts_come_many_at_a_time() -> None:
    encoder: Any = load_encoder(tiny_network.ROW, device="cpu")
    assert encoder.encode(CLIPS)["colour"].shape == (2, 3)
    assert encoder.encode_text(["abc", "d"])[:, 0].tolist() == [3, 1]


def test_one_text_by_itself_is_not_taken_for_its_letters() -> None:
    encoder: Any = load_encoder(tiny_network.ROW, device="cpu")
    with pytest.raises(InvalidArgument, match=r"got the one text 'abc'; give \[text\]"):
        encoder.encode_text("abc")


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (list(CLIPS), r"one array \(B, 4, 16, 16, 3\), got a list"),
        (CLIPS[:0], r"at least one clip, got none: \(0, 4, 16, 16, 3\)"),
        (CLIPS[0], r"reads clips \(B, 4, 16, 16, 3\), got uint8 \(4, 16, 16, 3\)"),
        (CLIPS[:, :3], r"made for clips \(B, 4, 16, 16, 3\), got \(2, 3, 16, 16, 3\)"),
    ],
)
def test_what_is_no_batch_of_clips_is_refused(clips: Any, said: str) -> None:
    encoder = load_encoder(tiny_network.ROW, device="cpu")
    with pytest.raises(InvalidArgument, match=said):
        encoder.encode(clips)
