"""TimeSformer from checkpoints in the published layout, against transformers' own forward passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published import TIMESFORMER, save, seeded, timesformer, tiny
from transformers import TimesformerForVideoClassification

from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.load import load_encoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument


def _row(folder: Path, *, data: str = "k400", **outputs: int) -> EncoderSpec:
    files = save(folder, TIMESFORMER, seeded(timesformer(TIMESFORMER, classes=5)), pickled=True)
    like = find(f"timesformer-base-finetuned-{data}")
    return tiny(like, folder, files, side=32, outputs=outputs or {"cls": 32, "logits": 5})


def _clips(count: int = 2, *, side: int = 32, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, frames, side, side, 3), dtype=np.uint8)


def _theirs(folder: Path, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    model = TimesformerForVideoClassification.from_pretrained(folder, dtype=torch.float32)
    pixels = ((torch.from_numpy(clips.copy()).float() / 255 - 0.45) / 0.225).permute(0, 1, 4, 2, 3)
    with torch.no_grad():
        return model(pixels).logits.numpy(), model.timesformer(pixels).last_hidden_state[:, 0].numpy()


def test_logits_are_those_of_transformers_on_the_checkpoints_own_mean_and_deviation(tmp_path: Path) -> None:
    # Fault 9: the video processor's class default is ImageNet's.
    row = _row(tmp_path)
    logits, cls = _theirs(tmp_path, _clips())
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("cls", "logits"))
    np.testing.assert_allclose(ours["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(ours["cls"], cls, atol=1e-5)


def test_without_logits_the_classifier_is_left_aside(tmp_path: Path) -> None:
    row = _row(tmp_path, cls=32)
    np.testing.assert_allclose(
        load_encoder(row, device="cpu").encode(_clips())["cls"], _theirs(tmp_path, _clips())[1], atol=1e-5
    )


def test_models_of_something_something_are_given_blue_first_as_they_were_trained(tmp_path: Path) -> None:
    row = _row(tmp_path, data="ssv2")
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("logits",))["logits"]
    np.testing.assert_allclose(ours, _theirs(tmp_path, _clips()[..., ::-1])[0], atol=1e-5)
    assert np.abs(ours - _theirs(tmp_path, _clips())[0]).max() > 1e-2


def test_other_frame_counts_and_sizes_are_refused(tmp_path: Path) -> None:
    # Fault 6: its layers fold tokens by the config's frames and size, whatever comes in.
    row = _row(tmp_path)
    for frames in (2, 8):
        with pytest.raises(FormatError, match=f"num_frames 4, and the row says {frames}"):
            load_encoder(replace(row, clip=replace(row.clip, frames=frames)), device="cpu")
    with pytest.raises(FormatError, match="image_size 32, and the row says 64"):
        load_encoder(replace(row, preprocessing=replace(row.preprocessing, size=64, crop=64)), device="cpu")
    encoder = load_encoder(row, device="cpu")
    for clips in (_clips(frames=2), _clips(frames=8), _clips(side=64)):
        with pytest.raises(InvalidArgument, match="made for clips"):
            encoder.encode(clips)


def test_half_precision_gives_nearly_the_same(tmp_path: Path) -> None:
    row = _row(tmp_path)
    exact = load_encoder(row, device="cpu").encode(_clips())["cls"]
    rough = load_encoder(row, device="cpu", dtype="bfloat16").encode(_clips())["cls"]
    assert np.abs(exact - rough).max() < 0.1 * np.abs(exact).max()


def test_rows_have_the_original_s_frames_strides_and_normalisation() -> None:
    rows = {row.name: row for row in catalog().values() if row.family == "timesformer"}
    assert len(rows) == 6
    for name, row in rows.items():
        frames, side = (16, 448) if "-hr-" in name else (8, 224)
        how = row.preprocessing
        assert (row.clip.frames, how.size, how.crop) == (frames, side, side)
        assert (how.mean, how.std) == ((0.45,) * 3, (0.225,) * 3)
        assert row.weights.commercial is False
        if "ssv2" not in name:
            assert row.clip.window_seconds == pytest.approx(256 / 30)  # README: a clip covers 8.5 s
        assert row.clip.spread == ("ssv2" in name)


@pytest.mark.parametrize(("size", "parameters"), [("base", 121_258_752), ("hr", 121_716_480)])
def test_the_layout_of_the_full_size_backbone_has_as_many_parameters_as_counted_elsewhere(
    size: str, parameters: int
) -> None:
    # mteb, timesformer_models.py: n_parameters, without the classifier
    row = find(f"timesformer-{size}-finetuned-k400")
    full = TIMESFORMER | {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
    full |= {"image_size": row.preprocessing.side, "num_frames": row.clip.frames}
    shapes = timesformer(full, classes=400)
    count = sum(int(np.prod(shape)) for name, shape in shapes.items() if not name.startswith("classifier"))
    assert count == parameters
