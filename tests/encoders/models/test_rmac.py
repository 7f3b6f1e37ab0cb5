from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reelspace.core.frames import Picture
from reelspace.encoders.catalog import find
from reelspace.encoders.catalog.rmac import rmac_with_pca
from reelspace.encoders.load import load_encoder
from reelspace.encoders.models.rmac import Rmac, regions
from reelspace.encoders.pca import Pca, fit_pca, save_pca
from reelspace.encoders.preprocess import crops_of
from reelspace.encoders.resnet import BasicBlock, ResNet
from reelspace.encoders.spec import EncoderSpec, WeightFile
from reelspace.errors import FormatError, InvalidArgument
from reelspace.media import open_video
from tiny_models import RMAC_CHANNELS as CHANNELS
from tiny_models import resnet34 as seeded_net
from tiny_models import rmac_row


@pytest.fixture
def plain(tmp_path: Path) -> EncoderSpec:
    return rmac_row(tmp_path)


def pictures(count: int = 4, height: int = 82, width: int = 146) -> np.ndarray:
    """Clips of one picture, uint8 (count, 1, height, width, 3)."""
    return np.random.default_rng(1).integers(0, 256, (count, 1, height, width, 3), dtype=np.uint8)


def rotation(size: int) -> Pca:
    directions = np.linalg.qr(np.random.default_rng(2).normal(size=(size, size)))[0]
    return Pca(np.full(size, 0.1, np.float32), directions.astype(np.float32))


# ── regions and pooling, against the numbers of videoalignment ──


def test_regions_are_those_of_the_original_for_every_map(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "rmac_regions.json").read_text())["regions"]
    assert len(golden) == 1452
    for key, squares in golden.items():
        assert [[x, y, side, side] for x, y, side in regions(*map(int, key.split(",")))] == squares, key


@pytest.mark.parametrize("case", range(5))
def test_pooled_whitened_and_summed_maps_are_the_original_s(case: int, shared: Path) -> None:
    with np.load(shared / "golden" / "rmac_pool.npz") as arrays:
        golden = {name: arrays[f"{name}{case}"] for name in ("f", "regional", "pca_mean", "pca_DVt", "desc")}
    channels = golden["f"].shape[1]
    pca = Pca(golden["pca_mean"].reshape(-1), golden["pca_DVt"])
    network = Rmac(ResNet(BasicBlock, (1,), width=channels), level=3, levels=3, pca=pca)
    regional = network.pool(torch.from_numpy(golden["f"]))
    np.testing.assert_allclose(regional.reshape(-1, channels).numpy(), golden["regional"], atol=1e-6)
    np.testing.assert_allclose(network.aggregate(regional).numpy(), golden["desc"], atol=1e-5)


def test_a_map_without_activations_gives_no_nan() -> None:
    network = Rmac(seeded_net(), level=29, levels=3, pca=None)
    assert torch.equal(network.aggregate(network.pool(torch.zeros(1, CHANNELS, 3, 5))), torch.zeros(1, CHANNELS))


# ── levels ──


def slow_levels(net: ResNet, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The maps at levels 1, 2, ...: the stem, then of each block its inner activation and its output."""
    relu = torch.nn.functional.relu
    x = relu(net.bn1(net.conv1(pixels)))
    found = [x]
    x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in stage:
            inner = relu(block.bn1(block.conv1(x)))
            x = relu(block.bn2(block.conv2(inner)) + block.downsample(x))
            found += [inner, x]
    return found


def test_level_29_is_the_first_block_of_the_last_stage() -> None:
    net, pixels = seeded_net(), torch.randn(1, 3, 82, 146)
    expected = slow_levels(net, pixels)
    assert len(expected) == 33
    with torch.inference_mode():
        for level in (1, 2, 3, 15, 16, 27, 28, 29, 30, 33):
            found = Rmac(net, level=level, levels=3, pca=None).features(pixels)
            torch.testing.assert_close(found, expected[level - 1], atol=1e-5, rtol=1e-4)
    assert expected[28].shape == (1, CHANNELS, 3, 5)
    assert expected[26].shape == (1, CHANNELS // 2, 6, 10)


@pytest.mark.parametrize("level", [0, 34])
def test_levels_outside_the_net_are_refused(level: int) -> None:
    with pytest.raises(InvalidArgument, match="levels 1 to 33"):
        Rmac(seeded_net(), level=level, levels=3, pca=None)


# ── rows ──


def test_rows_take_torchvision_s_weights_and_not_those_of_timm_or_microsoft() -> None:
    for name in ("rmac-resnet34", "rmac-resnet34-plain"):
        row = find(name)
        assert (row.weights.repo, row.weights.revision) == (
            "timm/resnet34.tv_in1k",
            "c983eba7f5e69bc3548a626d1b0b0b914e5de3a6",
        )
        assert row.options["level"] == 29
        assert row.outputs == {"frames": 512}
    assert find("rmac-resnet34").weights.commercial is False


def test_frames_are_sums_of_unit_regions(plain: EncoderSpec) -> None:
    encoder = load_encoder(plain, device="cpu")
    found = encoder.encode(pictures(), outputs=("frames", "regions"))
    assert found["regions"].shape == (4, len(regions(3, 5)), CHANNELS)
    np.testing.assert_allclose(np.linalg.norm(found["regions"], axis=2), 1, atol=1e-5)
    total = found["regions"].sum(axis=1)
    np.testing.assert_allclose(found["frames"], total / np.linalg.norm(total, axis=1, keepdims=True), atol=1e-5)


def test_pictures_of_any_shape_are_read_each_by_itself(plain: EncoderSpec) -> None:
    encoder = load_encoder(plain, device="cpu")
    upright = pictures(3, 146, 82)
    found = encoder.encode(upright)["frames"]
    np.testing.assert_allclose(found[1:2], encoder.encode(upright[1:2])["frames"], atol=1e-5)


def test_torchvision_s_own_file_gives_the_same_vectors(plain: EncoderSpec, tmp_path: Path) -> None:
    old = {name: value for name, value in seeded_net().state_dict().items() if "num_batches" not in name}
    torch.save(old, tmp_path / "resnet34-333f7ec4.pth", _use_new_zipfile_serialization=False)  # as in 2017
    files = (WeightFile("resnet34-333f7ec4.pth"),)
    row = replace(
        plain,
        weights=replace(plain.weights, files=files),
        options={**plain.options, "weights": "resnet34-333f7ec4.pth"},
    )
    theirs, ours = (load_encoder(each, device="cpu").encode(pictures())["frames"] for each in (row, plain))
    np.testing.assert_array_equal(theirs, ours)


def test_the_published_zip_whitens_the_regions(plain: EncoderSpec, tmp_path: Path) -> None:
    pca = rotation(CHANNELS)
    for part, array in (("Dvt", pca.projection), ("mean", pca.mean[None])):
        torch.save(torch.from_numpy(array), tmp_path / f"{part}.t7", _use_new_zipfile_serialization=False)
    with ZipFile(tmp_path / "yfcc.zip", "w") as archive:
        for part in ("Dvt", "mean"):
            archive.write(tmp_path / f"{part}.t7", f"yfcc100m_{part}_resnet34_29.t7")
    files = (*plain.weights.files, WeightFile("yfcc.zip"))
    row = replace(plain, weights=replace(plain.weights, files=files), options={**plain.options, "pca": "yfcc.zip"})
    regional = load_encoder(plain, device="cpu").encode(pictures(), outputs=("regions",))["regions"]
    whitened = pca(regional)
    expected = (whitened / np.linalg.norm(whitened, axis=2, keepdims=True)).sum(axis=1)
    found = load_encoder(row, device="cpu").encode(pictures())["frames"]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_a_pca_of_other_vectors_is_refused(plain: EncoderSpec, tmp_path: Path) -> None:
    save_pca(rotation(CHANNELS + 1), tmp_path / "pca.npz")
    with pytest.raises(FormatError, match=f"level 29 has {CHANNELS} channels"):
        load_encoder(rmac_with_pca(tmp_path, name="mine", plain=plain, dimensions=CHANNELS), device="cpu")
    save_pca(Pca(np.zeros(CHANNELS, np.float32), np.eye(CHANNELS, dtype=np.float32)[:5]), tmp_path / "pca.npz")
    with pytest.raises(FormatError, match=f"says {CHANNELS} numbers"):
        load_encoder(rmac_with_pca(tmp_path, name="mine", plain=plain, dimensions=CHANNELS), device="cpu")
    row = rmac_with_pca(tmp_path, name="mine", plain=plain, dimensions=5)
    assert load_encoder(row, device="cpu").encode(pictures())["frames"].shape == (4, 5)


@pytest.mark.parametrize("fault", ["missing", "unexpected", "of another shape"])
def test_weights_that_do_not_fit_are_refused_by_name(plain: EncoderSpec, tmp_path: Path, fault: str) -> None:
    tensors = seeded_net().state_dict()
    moved = tensors.pop("layer3.2.bn1.running_mean")
    if fault == "unexpected":
        tensors |= {"layer3.2.bn1.running_mean": moved, "layer3.6.bn1.running_mean": moved}
    elif fault == "of another shape":
        tensors["layer3.2.bn1.running_mean"] = moved[:-1]
    save_file({name: value.clone() for name, value in tensors.items()}, tmp_path / "model.safetensors")
    place = "layer3.6" if fault == "unexpected" else "layer3.2"
    with pytest.raises(FormatError, match=f"{fault}: {re.escape(place)}.bn1.running_mean"):
        load_encoder(plain, device="cpu")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near(plain: EncoderSpec, tmp_path: Path, dtype: str) -> None:
    regional = load_encoder(plain, device="cpu").encode(pictures(20), outputs=("regions",))["regions"]
    save_pca(fit_pca(regional.reshape(-1, CHANNELS), dimensions=4), tmp_path / "pca.npz")
    row = rmac_with_pca(tmp_path, name="mine", plain=plain, dimensions=4)
    exact = load_encoder(row, device="cpu").encode(pictures())["frames"]
    half = load_encoder(row, device="cpu", dtype=dtype).encode(pictures())["frames"]  # type: ignore[arg-type]
    assert half.dtype == np.float32
    assert (exact * half).sum(axis=1).min() > 0.9


def test_real_footage_has_neighbouring_frames_more_alike_than_distant_ones(
    plain: EncoderSpec, shared: Path
) -> None:
    with open_video(shared / "videos" / "natural" / "chaplin_bw_street.mp4") as reader:
        frames = [frame.pixels for frame in reader.frames_at_rate(15, Picture())]
    clips = crops_of(np.stack(frames[:60]), plain.preprocessing)[0][:, None]
    assert abs(clips.shape[2] * clips.shape[3] - 12_000) < 500
    found = load_encoder(plain, device="cpu").encode(clips)["frames"]
    similarity = found @ found.T
    assert similarity.diagonal(1).mean() > similarity.diagonal(40).mean()
