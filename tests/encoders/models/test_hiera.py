"""Hiera for video and its masked autoencoder: rows, checkpoints in their published layouts, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from reelspace.encoders.catalog import find
from reelspace.encoders.catalog.hiera import ROWS
from reelspace.encoders.hiera_blocks import from_units, to_units, trunk_options
from reelspace.encoders.load import load_encoder
from reelspace.encoders.models.hiera import Hiera
from reelspace.encoders.models.hiera_mae import MaskedHiera
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument, UnknownName
from tiny_models import HIERA_DECODER as DECODER
from tiny_models import HIERA_TRUNK as TRUNK
from tiny_models import hiera_row as tiny
from tiny_models import hiera_tensors as weights_of
from tiny_models import of_hiera as made
from tiny_models import untrained

FINE_TUNED, PRE_TRAINED, WITH_DECODER = (
    find(name) for name in ("hiera-base-16x224", "hiera-base-16x224-mae", "mae-hiera-base-16x224")
)
FILES = {"hub": "model.safetensors", "pth": "hiera.pth"}


def saved(tensors: Mapping[str, Tensor], folder: Path, layout: str) -> str:
    if layout == "hub":
        save_file(dict(tensors), folder / FILES[layout])
    else:
        torch.save({"model_state": dict(tensors), "epoch": 100}, folder / FILES[layout])
    return FILES[layout]


def loaded(row: EncoderSpec, tensors: Mapping[str, Tensor], folder: Path, layout: str = "hub", **how):
    return load_encoder(tiny(row, folder, saved(tensors, folder, layout)), device="cpu", **how)


@pytest.fixture(scope="module", name="clips")
def fixture_clips() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 6, 64, 64, 3), dtype=np.uint8)


def test_there_are_three_rows_of_each_size_with_the_published_widths_and_scores() -> None:
    assert len(ROWS) == 12
    widths = {"base": (768, 1440), "base-plus": (896, 1680), "large": (1152, 2160), "huge": (2048, 3840)}
    scores = {"base": "84.0", "base-plus": "85.0", "large": "87.3", "huge": "87.8"}
    for size, (terminal, hierarchical) in widths.items():
        name = f"hiera-{size}-16x224"
        for row in (find(name), find(f"{name}-mae"), find(f"mae-{name}")):
            assert (row.outputs["terminal"], row.outputs["hierarchical"]) == (terminal, hierarchical)
            assert row.default_output == "terminal"
            assert row.weights.commercial is False
        assert scores[size] in find(name).score
        assert "weak for retrieval" in find(f"{name}-mae").remark


def test_no_blue_deviation_of_255_slips_in() -> None:  # fault 12
    for row in ROWS:
        how = row.preprocessing
        assert (how.mean, how.std, how.scale) == ((0.45,) * 3, (0.225,) * 3, 1 / 255)
        assert (how.resize, how.size, how.crop) == ("shortest", 256, 224)
        assert row.clip.window_seconds == pytest.approx(64 / 30)


def test_the_network_sees_pixels_of_0_to_255_normalised(tmp_path, clips) -> None:  # fault 12, the plugin's half
    tensors = weights_of(Hiera)
    encoder = loaded(FINE_TUNED, tensors, tmp_path)
    network = Hiera(classes=5, **trunk_options(encoder.spec))
    network.load_state_dict(tensors)
    pixels = (torch.from_numpy(clips).movedim(-1, 2) / 255 - 0.45) / 0.225
    with torch.inference_mode():
        expected = network(pixels, ("terminal",))["terminal"]
    np.testing.assert_allclose(encoder.encode(clips)["terminal"], expected, atol=1e-5)


@pytest.mark.parametrize("layout", FILES)
def test_the_fine_tuned_row_reads_both_published_layouts(tmp_path, clips, layout) -> None:
    found = loaded(FINE_TUNED, weights_of(Hiera), tmp_path, layout).encode(
        clips, outputs=("terminal", "hierarchical", "logits", "stage1", "stage4")
    )
    shapes = {name: value.shape for name, value in found.items()}
    assert shapes == {
        "terminal": (2, 64),
        "hierarchical": (2, 120),
        "logits": (2, 5),
        "stage1": (2, 3, 16, 16, 8),
        "stage4": (2, 3, 2, 2, 64),
    }
    np.testing.assert_allclose(found["stage4"].mean((1, 2, 3)), found["terminal"], atol=1e-5)
    np.testing.assert_allclose(found["hierarchical"][:, -64:], found["terminal"], atol=1e-5)
    np.testing.assert_allclose(found["hierarchical"][:, :8], found["stage1"].mean((1, 2, 3)), atol=1e-5)


def test_the_untrained_head_of_a_pre_trained_file_is_never_used(tmp_path, clips) -> None:  # fault 13
    tensors = untrained(weights_of(Hiera))
    encoder = loaded(PRE_TRAINED, tensors, tmp_path)
    with pytest.raises(UnknownName, match="logits"):
        encoder.encode(clips, outputs=("logits",))
    terminal = encoder.encode(clips)["terminal"]
    assert np.abs(terminal.std(1) - 1).min() > 0.05  # what norm would have made of it
    with pytest.raises(FormatError, match="never trained"):
        loaded(FINE_TUNED, tensors, tmp_path)


def test_a_pre_trained_row_reads_the_trunk_of_the_official_file_with_a_decoder(tmp_path, clips) -> None:
    shared_names = weights_of(Hiera)  # seeded by name: the trunk of both is the same
    hub = loaded(PRE_TRAINED, untrained(shared_names), tmp_path).encode(clips)
    official = loaded(PRE_TRAINED, weights_of(MaskedHiera), tmp_path, "pth").encode(clips)
    np.testing.assert_array_equal(hub["terminal"], official["terminal"])


def test_the_row_with_a_decoder_refuses_a_file_without(tmp_path) -> None:
    with pytest.raises(FormatError, match="decoder_"):
        loaded(WITH_DECODER, untrained(weights_of(Hiera)), tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop("blocks.1.attn.qkv.bias"), "blocks.1.attn.qkv.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra"),
        (lambda tensors: tensors.update(pos_embed_temporal=torch.zeros(1, 8, 8)), "pos_embed_temporal"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, change, named) -> None:
    tensors = weights_of(Hiera)
    change(tensors)
    with pytest.raises(FormatError, match=named):
        loaded(FINE_TUNED, tensors, tmp_path)


def test_files_that_hold_no_weights_are_refused(tmp_path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    torch.save({"state": {}}, tmp_path / "other.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"not a checkpoint")
    for name in ("broken.pth", "other.pth", "broken.safetensors"):
        with pytest.raises(FormatError, match=name):
            load_encoder(tiny(FINE_TUNED, tmp_path, name), device="cpu")


def test_fused_attention_equals_its_formula(tmp_path, clips) -> None:
    encoder = loaded(FINE_TUNED, weights_of(Hiera), tmp_path)
    fused = encoder.encode(clips, outputs=("hierarchical",))["hierarchical"]
    with sdpa_kernel(SDPBackend.MATH):
        formula = encoder.encode(clips, outputs=("hierarchical",))["hierarchical"]
    np.testing.assert_allclose(fused, formula, atol=1e-5)


def test_a_clip_does_not_depend_on_its_batch(tmp_path, clips) -> None:
    encoder = loaded(FINE_TUNED, weights_of(Hiera), tmp_path)
    many = np.repeat(clips, 5, axis=0)  # 120 units: more than go through the local blocks at once
    np.testing.assert_allclose(encoder.encode(many)["terminal"][::5], encoder.encode(clips)["terminal"], atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near(tmp_path, clips, dtype) -> None:
    tensors = weights_of(Hiera)
    full = loaded(FINE_TUNED, tensors, tmp_path).encode(clips)["terminal"]
    half = loaded(FINE_TUNED, tensors, tmp_path, dtype=dtype).encode(clips)["terminal"]
    assert half.dtype == np.float32
    assert np.abs(half - full).max() < 0.05 * np.abs(full).max()


def test_units_are_two_by_two_by_two_coarse_to_fine() -> None:
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    places = torch.stack([rows, columns], -1)[None, None]  # (1, 1, 16, 24, 2)
    units = to_units(places, 3)
    assert units.shape == (1, 6, 64, 2)
    for unit, token in [(0, 0), (1, 1), (4, 27), (5, 63)]:
        digits = [(token >> shift) & 3 for shift in (4, 2, 0)]
        y = sum((digit >> 1) << (2 - i) for i, digit in enumerate(digits)) + 8 * (unit // 3)
        x = sum((digit & 1) << (2 - i) for i, digit in enumerate(digits)) + 8 * (unit % 3)
        assert units[0, unit, token].tolist() == [y, x]
    torch.testing.assert_close(from_units(units, (1, 2, 3)), places)


def test_a_reconstruction_keeps_what_was_seen_and_guesses_the_rest(tmp_path, clips) -> None:
    encoder = loaded(WITH_DECODER, weights_of(MaskedHiera), tmp_path)
    hidden = made.hidden_units(2, 12, 0.75).numpy()
    found = encoder.reconstruct(clips, mask=hidden)
    by_pixel = hidden.reshape(2, 3, 2, 2).repeat(2, axis=1).repeat(32, axis=2).repeat(32, axis=3)
    np.testing.assert_array_equal(found.masked, by_pixel)
    np.testing.assert_allclose(found.pictures[~by_pixel], clips[~by_pixel], atol=1e-3)
    assert np.abs(found.pictures[by_pixel] - clips[by_pixel]).mean() > 10
    assert found.loss.shape == (2,)


def test_hidden_pixels_do_not_leak_into_the_guess(tmp_path) -> None:
    network = MaskedHiera(**DECODER, frames=6, side=64, **TRUNK)
    network.load_state_dict(weights_of(MaskedHiera))
    hidden, pixels = made.hidden_units(2, 12, 0.75), made.seeded_clips(2, 6, 64, 64)
    other = torch.where(network.unit_pixels(hidden)[:, :, None], torch.full_like(pixels, 3.0), pixels)
    with torch.inference_mode():
        torch.testing.assert_close(network.predict(pixels, hidden), network.predict(other, hidden))
        assert not torch.allclose(network.predict(pixels, hidden), network.predict(pixels, ~hidden), atol=0.1)


def test_nine_tenths_are_hidden_unless_said_and_the_seed_decides_which(tmp_path, clips) -> None:
    encoder = loaded(WITH_DECODER, weights_of(MaskedHiera), tmp_path)
    usual = encoder.reconstruct(clips, seed=1)
    assert usual.masked.mean() == pytest.approx(11 / 12)  # int(12 * 0.1) = 1 is seen
    np.testing.assert_array_equal(usual.masked, encoder.reconstruct(clips, seed=1).masked)
    assert (usual.masked != encoder.reconstruct(clips, seed=2).masked).any()
    assert encoder.reconstruct(clips, mask_ratio=0.5).masked.mean() == pytest.approx(0.5)


def test_a_guess_that_is_right_has_no_loss_and_is_the_picture(tmp_path, clips, monkeypatch) -> None:
    encoder = loaded(WITH_DECODER, weights_of(MaskedHiera), tmp_path)
    monkeypatch.setattr(MaskedHiera, "predict", lambda network, pixels, _: network.targets(pixels).pixels)
    found = encoder.reconstruct(clips)
    np.testing.assert_allclose(found.loss, 0, atol=1e-6)
    np.testing.assert_allclose(found.pictures[:, ::2], clips[:, ::2], atol=0.01)  # the first frame of each token


@pytest.mark.parametrize(
    "mask",
    [np.ones((2, 12), bool), np.zeros((2, 12), bool), np.ones((2, 11), bool), np.tri(2, 12, 5, dtype=bool)],
    ids=["all", "none", "wrong-shape", "uneven"],
)
def test_masks_that_make_no_sense_are_refused(tmp_path, clips, mask) -> None:
    encoder = loaded(WITH_DECODER, weights_of(MaskedHiera), tmp_path)
    with pytest.raises(InvalidArgument, match="mask"):
        encoder.reconstruct(clips, mask=mask)


def test_clips_of_another_length_or_size_are_refused(tmp_path, clips) -> None:
    encoder = loaded(FINE_TUNED, weights_of(Hiera), tmp_path)
    with pytest.raises(InvalidArgument, match="6, 64, 64"):
        encoder.encode(clips[:, :4])
    with pytest.raises(InvalidArgument, match="n \\* 32"):
        Hiera(frames=6, side=80, **TRUNK)
