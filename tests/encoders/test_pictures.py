from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from reelspace.encoders.catalog import find
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.load import load_encoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, UnknownName

FRAME_ENCODERS: dict[str, FrameEncoder] = {"pdqf": Pdqf(), "pdqf-views": PdqfViews(), "reelprint": Reelprint()}


def pictures(side: int, count: int = 5) -> np.ndarray:
    """Blocks of gray, uint8 (count, side, side)."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return coarse.repeat(side // 8, axis=1).repeat(side // 8, axis=2)


@pytest.mark.parametrize("name", FRAME_ENCODERS)
def test_frames_are_view_0_of_the_frame_encoder(name: str) -> None:
    encoder, alone = load_encoder(name), FRAME_ENCODERS[name]
    gray = pictures(find(name).preprocessing.size)
    colour = np.repeat(gray[..., None], 3, axis=3)
    expected = alone.encode(gray if alone.tap.picture.layout == "gray" else colour).vectors[:, 0]
    for clips in (colour[:, None], colour[:, None].astype(np.float32)):
        found = encoder.encode(clips)
        assert list(found) == ["frames"]
        assert found["frames"].dtype == np.float32
        np.testing.assert_array_equal(found["frames"], expected)


@pytest.mark.parametrize("name", FRAME_ENCODERS)
def test_rows_say_what_the_frame_encoder_does(name: str) -> None:
    row, alone = find(name), FRAME_ENCODERS[name]
    picture = alone.tap.picture
    assert row.of_pictures
    assert row.preprocessing.size == picture.width == picture.height
    assert row.outputs == {"frames": alone.space.dimensions}
    assert row.clip.spacing_seconds == pytest.approx(1 / alone.tap.sampler.rate)  # type: ignore[attr-defined]


def test_the_digest_changes_with_the_frame_encoder() -> None:
    digests = {load_encoder(name).digest for name in FRAME_ENCODERS}
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)
    assert load_encoder("pdqf").labels is None


def test_other_sizes_and_outputs_are_refused() -> None:
    encoder = load_encoder("pdqf-views")
    with pytest.raises(InvalidArgument, match=r"reads clips \(B, 1, 128, 128, 3\), got uint8 \(2, 1, 64, 64, 3\)"):
        encoder.encode(np.zeros((2, 1, 64, 64, 3), np.uint8))
    with pytest.raises(UnknownName, match="logits"):
        encoder.encode(np.zeros((2, 1, 128, 128, 3), np.uint8), outputs=("logits",))


def test_they_run_without_torch() -> None:
    program = (
        "import sys, numpy as np\n"
        "from reelspace.encoders.load import load_encoder\n"
        "load_encoder('reelprint').encode(np.zeros((1, 1, 128, 128, 3), np.uint8))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
