"""ViViT from checkpoints in the published layout, against transformers' own forward passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published import VIVIT, save, seeded, tiny, vivit
from transformers import VivitForVideoClassification

from reelspace.encoders.catalog import find
from reelspace.encoders.load import load_encoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument


def _row(folder: Path, *, like: str = "vivit-b-16x2-kinetics400", **outputs: int) -> EncoderSpec:
    files = save(folder, VIVIT, seeded(vivit(VIVIT, classes=5)), pickled=True)
    return tiny(find(like), folder, files, side=32, outputs=outputs or {"cls": 32, "logits": 5})


def _clips(count: int = 2, *, side: int = 32, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, frames, side, side, 3), dtype=np.uint8)


def test_logits_are_those_of_transformers_on_pixels_of_minus_one_to_one(tmp_path: Path) -> None:
    # Fault 2: the hub's own config would give -3..1.
    row = _row(tmp_path)
    model = VivitForVideoClassification.from_pretrained(tmp_path, dtype=torch.float32)
    pixels = torch.from_numpy(_clips()).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        theirs = model(pixels)
        read = model.vivit(pixels).last_hidden_state[:, 0].numpy()
    ours = load_encoder(row, device="cpu").encode(_clips(), outputs=("cls", "logits"))
    np.testing.assert_allclose(ours["logits"], theirs.logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours["cls"], read, atol=1e-5)


def test_the_rows_read_black_as_minus_one_white_as_one_and_cut_224_of_256() -> None:
    for name in ("vivit-b-16x2-kinetics400", "vivit-b-16x2"):
        how = find(name).preprocessing
        assert (how.resize, how.size, how.crop) == ("shortest", 256, 224)
        for level, expected in ((0, -1.0), (255, 1.0)):
            assert (level * how.scale + how.offset - how.mean[0]) / how.std[0] == pytest.approx(expected)


def test_the_processor_config_of_the_hub_is_not_read(tmp_path: Path) -> None:
    # Fault 3: its class name is misspelt, and AutoImageProcessor raises.
    row = _row(tmp_path)
    expected = load_encoder(row, device="cpu").encode(_clips())["cls"]
    wrong = {"image_processor_type": "ViViTImageProcessor", "do_normalize": True, "size": {"shortest_edge": 224}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(wrong))
    np.testing.assert_array_equal(load_encoder(row, device="cpu").encode(_clips())["cls"], expected)


def test_nothing_comes_from_a_pooler_that_no_checkpoint_has(tmp_path: Path) -> None:
    # Fault 4: transformers makes one up, anew at each load.
    row = _row(tmp_path, like="vivit-b-16x2", cls=32)
    vectors = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder = load_encoder(row, device="cpu")
        vectors.append(encoder.encode(_clips())["cls"])
        names = [name for name, _ in encoder._module.named_parameters()]
        assert names
        assert not [name for name in names if "pooler" in name]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    with_head = load_encoder(_row(tmp_path / "head"), device="cpu").encode(_clips())["cls"]
    np.testing.assert_allclose(vectors[0], with_head, atol=1e-6)


def test_other_sizes_are_refused_instead_of_interpolating_positions(tmp_path: Path) -> None:
    # Fault 5: transformers' interpolation of ViViT's positions is broken.
    row = _row(tmp_path)
    with pytest.raises(FormatError, match="image_size 32, and the row says 48"):
        load_encoder(replace(row, preprocessing=replace(row.preprocessing, size=48, crop=48)), device="cpu")
    with pytest.raises(FormatError, match="num_frames 4, and the row says 8"):
        load_encoder(replace(row, clip=replace(row.clip, frames=8)), device="cpu")
    with pytest.raises(InvalidArgument, match="made for clips"):
        load_encoder(row, device="cpu").encode(_clips(side=48))


def test_half_precision_gives_nearly_the_same(tmp_path: Path) -> None:
    row = _row(tmp_path)
    exact = load_encoder(row, device="cpu").encode(_clips(), outputs=("logits",))["logits"]
    rough = load_encoder(row, device="cpu", dtype="bfloat16").encode(_clips(), outputs=("logits",))["logits"]
    assert np.abs(exact - rough).max() < 0.1 * np.abs(exact).max()


def test_the_layout_of_the_full_size_checkpoint_has_the_bytes_the_hub_lists() -> None:
    full = VIVIT | {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
    full |= {"image_size": 224, "num_frames": 32}
    assert find("vivit-b-16x2-kinetics400").clip.frames == 32
    count = sum(int(np.prod(shape)) for shape in vivit(full, classes=400).values())
    assert 4 * count / 1e6 == pytest.approx(356, abs=0.6)
