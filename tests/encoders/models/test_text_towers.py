"""Encoders with a text tower: CLIP, SigLIP, SigLIP 2, X-CLIP, VideoPrism, each as a tiny seeded checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    VideoMAEImageProcessorPil,
    VideoPrismClipModel,
    VideoPrismConfig,
    XCLIPConfig,
    XCLIPModel,
)

from reelspace.core.clips import ClipSpec
from reelspace.encoders.catalog import find
from reelspace.encoders.hub_rows import row_from_config
from reelspace.encoders.load import TorchEncoder, load_encoder
from reelspace.encoders.preprocess import crops_of
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile
from reelspace.errors import FormatError, InvalidArgument, UnknownName
from tiny_models import LENGTH, TOWERS, Towers, towers

TEXTS = ["A dog, running!", "two CATS", "the quick brown fox jumps over the lazy dog and runs far away from it"]


def _of_pictures(model: Any, pixels: torch.Tensor, tokens: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    found = model(pixel_values=pixels[:, 0], **tokens)
    # the logits of the model are these vectors' products, but for scale and bias
    bias = getattr(model, "logit_bias", torch.zeros(()))
    logits = found.image_embeds @ found.text_embeds.T * model.logit_scale.exp() + bias
    torch.testing.assert_close(found.logits_per_image, logits)
    return found.image_embeds, found.text_embeds


def _of_xclip(model: Any, pixels: torch.Tensor, tokens: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    found = model(pixel_values=pixels, **tokens)
    plain = torch.nn.functional.normalize(model.text_projection(model.text_model(**tokens).pooler_output), dim=-1)
    shown_the_video = found.text_embeds  # (B, N, D): one vector for each pair, which no index can hold
    assert shown_the_video.shape == (len(pixels), len(plain), plain.shape[1])
    assert not torch.allclose(shown_the_video[0], plain, atol=1e-4)
    return found.video_embeds, plain


def _of_videoprism(model: Any, pixels: torch.Tensor, tokens: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    found = model(pixel_values_videos=pixels, **tokens)
    return found.video_embeds, found.text_embeds


VECTORS = {
    "clip": _of_pictures,
    "siglip": _of_pictures,
    "siglip2": _of_pictures,
    "xclip": _of_xclip,
    "videoprism": _of_videoprism,
}


@dataclass(frozen=True)
class Tiny:
    """A family made tiny, and what transformers itself gives for clips and texts."""

    family: Towers
    row: EncoderSpec
    folder: Path
    model: Any
    vectors: Callable[[Any, torch.Tensor, dict[str, torch.Tensor]], tuple[torch.Tensor, ...]]


def _tiny(name: str, folder: Path) -> Tiny:
    row, model = towers(name, folder)
    return Tiny(TOWERS[name], row, folder, model, VECTORS[name])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tiny]:
    return {name: _tiny(name, tmp_path_factory.mktemp(name)) for name in TOWERS}


@pytest.fixture(params=TOWERS)
def tiny(request: pytest.FixtureRequest, checkpoints: dict[str, Tiny]) -> Tiny:
    return checkpoints[request.param]


@pytest.fixture
def copied(tiny: Tiny, tmp_path: Path) -> Tiny:
    """The same checkpoint, free to be damaged."""
    for file in tiny.row.weights.files:
        (tmp_path / file.name).write_bytes((tiny.folder / file.name).read_bytes())
    weights = replace(tiny.row.weights, folder=str(tmp_path))
    return replace(tiny, row=replace(tiny.row, weights=weights), folder=tmp_path)


def _load(row: EncoderSpec, **how: Any) -> TorchEncoder:
    encoder = load_encoder(row, device="cpu", **how)
    assert isinstance(encoder, TorchEncoder)
    return encoder


def _clips(row: EncoderSpec, count: int = 2) -> np.ndarray:
    side = row.preprocessing.side
    return np.random.default_rng(1).integers(0, 256, (count, row.clip.frames, side, side, 3), dtype=np.uint8)


def _normalised(clips: np.ndarray, how: Preprocessing) -> torch.Tensor:
    scaled = (clips.astype(np.float64) / 255 - how.mean) / how.std
    return torch.from_numpy(scaled).float().permute(0, 1, 4, 2, 3)


def _tokens(encoder: TorchEncoder, texts: list[str]) -> dict[str, torch.Tensor]:
    tokens: dict[str, torch.Tensor] = encoder._module._read(texts, device=torch.device("cpu"))
    return tokens


def test_vectors_are_those_of_the_models_own_forward(tiny: Tiny) -> None:
    encoder = _load(tiny.row)
    clips = _clips(tiny.row)
    with torch.inference_mode():
        pixels = _normalised(clips, tiny.row.preprocessing)
        expected, of_texts = tiny.vectors(tiny.model, pixels, _tokens(encoder, TEXTS))
    (vectors,) = encoder.encode(clips).values()
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), of_texts, atol=2e-6)


def test_both_towers_give_rows_of_unit_length_in_one_space(tiny: Tiny) -> None:
    """Since transformers 5 `get_*_features` gives an object; VideoPrism's video vectors are (B, 1, D) in it."""
    encoder = _load(tiny.row)
    (vectors,) = encoder.encode(_clips(tiny.row, count=3)).values()
    texts = encoder.encode_text(TEXTS)
    assert vectors.shape == (3, tiny.family.dimensions)
    assert texts.shape == (len(TEXTS), tiny.family.dimensions)
    assert vectors.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([vectors, texts]), axis=1), 1, atol=1e-4)


def test_a_text_does_not_depend_on_its_neighbours(tiny: Tiny) -> None:
    encoder = _load(tiny.row)
    together = encoder.encode_text(TEXTS)
    alone = np.concatenate([encoder.encode_text([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_the_text_tower_needs_no_pictures(tiny: Tiny) -> None:
    encoder = _load(tiny.row)
    expected = encoder.encode_text(TEXTS)
    for part in ("vision_model", "video_model"):
        if hasattr(encoder._module.model, part):
            delattr(encoder._module.model, part)
    np.testing.assert_array_equal(encoder.encode_text(TEXTS), expected)


@pytest.mark.parametrize(("dtype", "cosine"), [("bfloat16", 0.99), ("float16", 0.9999)])
def test_half_precision_stays_near(tiny: Tiny, dtype: Any, cosine: float) -> None:
    clips = _clips(tiny.row)
    (exact,) = _load(tiny.row).encode(clips).values()
    encoder = _load(tiny.row, dtype=dtype)
    (vectors,) = encoder.encode(clips).values()
    assert np.sum(exact * vectors, axis=1).min() > cosine
    assert np.sum(_load(tiny.row).encode_text(TEXTS) * encoder.encode_text(TEXTS), axis=1).min() > cosine


def test_other_sizes_and_counts_of_frames_are_refused(tiny: Tiny) -> None:
    encoder = _load(tiny.row)
    clips = _clips(tiny.row)
    for wrong in (np.repeat(clips, 2, axis=1), clips[:, :, :-2, :-2], clips[:, :, :, :-8]):
        with pytest.raises(InvalidArgument, match="was made for clips"):
            encoder.encode(wrong)


def test_no_text_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InvalidArgument, match="no text"):
        _load(tiny.row).encode_text([])


def test_a_row_of_another_size_than_its_checkpoint_is_refused(tiny: Tiny) -> None:
    how = tiny.row.preprocessing
    side = tiny.family.size * 2
    row = replace(tiny.row, preprocessing=replace(how, size=side, crop=how.crop and side))
    with pytest.raises(FormatError, match=f"image_size {tiny.family.size}, and the row says {side}"):
        load_encoder(row, device="cpu")


def test_a_row_of_other_dimensions_than_its_checkpoint_is_refused(tiny: Tiny) -> None:
    row = replace(tiny.row, outputs=dict.fromkeys(tiny.row.outputs, 512))
    with pytest.raises(FormatError, match="the row says 512"):
        load_encoder(row, device="cpu")


@pytest.mark.parametrize("name", ["xclip", "videoprism"])
def test_a_row_of_other_frames_than_its_checkpoint_is_refused(checkpoints: dict[str, Tiny], name: str) -> None:
    row = checkpoints[name].row
    with pytest.raises(FormatError, match="num_frames 4, and the row says 8"):
        load_encoder(replace(row, clip=ClipSpec(8, 1.0)), device="cpu")


def test_a_tensor_missing_left_over_or_misshapen_is_named(copied: Tiny) -> None:
    path = copied.folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("fc1.weight"))
    without = {other: tensor for other, tensor in tensors.items() if other != name}
    for wrong, message in (
        (without, f"1 missing .{name}"),
        (tensors | {"text_model.extra.weight": torch.zeros(3)}, "1 unexpected .text_model.extra.weight"),
        (tensors | {name: tensors[name][:-1].clone()}, f"1 of another shape .{name}"),
    ):
        save_file(wrong, path, metadata={"format": "pt"})
        with pytest.raises(FormatError, match=message):
            load_encoder(copied.row, device="cpu")


def test_the_positions_old_files_carry_along_are_no_matter(copied: Tiny) -> None:
    """Files of transformers before 4.31 hold the buffer ``position_ids``; those of VideoPrism may or may not."""
    (expected,) = _load(copied.row).encode(_clips(copied.row)).values()
    of_text = _load(copied.row).encode_text(TEXTS)
    path = copied.folder / "model.safetensors"
    tensors = load_file(path)
    buffers = [
        name for name in tensors if name.startswith("text_model.embeddings.position_") and "weight" not in name
    ]
    if buffers:
        tensors = {name: tensor for name, tensor in tensors.items() if name not in buffers}
    else:
        tensors["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
    save_file(tensors, path, metadata={"format": "pt"})
    encoder = _load(copied.row)
    np.testing.assert_allclose(next(iter(encoder.encode(_clips(copied.row)).values())), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), of_text, atol=1e-6)


def test_a_pickled_checkpoint_is_the_same(copied: Tiny) -> None:
    (expected,) = _load(copied.row).encode(_clips(copied.row)).values()
    path = copied.folder / "model.safetensors"
    torch.save(load_file(path), copied.folder / "pytorch_model.bin")
    path.unlink()
    files = tuple(WeightFile(name) for name in ("config.json", "pytorch_model.bin", "tokenizer.json"))
    row = replace(copied.row, weights=replace(copied.row.weights, files=files))
    np.testing.assert_allclose(next(iter(_load(row).encode(_clips(row)).values())), expected, atol=1e-6)


def test_a_checkpoint_the_catalog_does_not_list_fills_its_row_from_its_config(tiny: Tiny) -> None:
    config = json.loads((tiny.folder / "config.json").read_text())
    if tiny.row.name == "tiny-siglip2":
        config["text_config"]["vocab_size"] = 256_000  # by which the second SigLIP is known
    row = row_from_config("some/model", None, config, {file.name for file in tiny.row.weights.files})
    assert row.name == "hf:some/model"
    assert row.clip.frames == tiny.family.frames
    assert row.clip.window_seconds == pytest.approx(find(tiny.family.row).clip.window_seconds)
    assert row.options == tiny.row.options
    assert dict(row.outputs) == dict(tiny.row.outputs)
    of_its_family = find(tiny.family.row).preprocessing.filter
    assert row.preprocessing.filter == ("bicubic" if tiny.row.name == "tiny-siglip" else of_its_family)
    placed = replace(row, weights=tiny.row.weights)
    found, expected = (_load(each).encode(_clips(tiny.row)) for each in (placed, tiny.row))
    np.testing.assert_array_equal(found[row.default_output], expected[row.default_output])


def test_an_unknown_kind_of_image_text_model_is_refused(checkpoints: dict[str, Tiny]) -> None:
    with pytest.raises(UnknownName, match="did you mean 'clip'"):
        load_encoder(replace(checkpoints["clip"].row, options={"kind": "klip"}), device="cpu")


def test_the_336_pixel_xclip_is_fed_336_pixels() -> None:
    """The processor beside it names no crop, so transformers falls back on 224: the fault not to be ours."""
    beside_it = {
        "do_resize": True,
        "size": 336,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    picture = np.zeros((400, 500, 3), dtype=np.uint8)
    faulty = VideoMAEImageProcessorPil(**beside_it)([picture], return_tensors="np")["pixel_values"]
    assert faulty.shape[-2:] == (224, 224)
    row = find("xclip-large-patch14-16-frames")
    assert crops_of(picture[None], row.preprocessing).shape == (1, 1, 336, 336, 3)


PROCESSORS = {
    "xclip-base-patch32": VideoMAEImageProcessorPil(
        size={"shortest_edge": 224}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    ),
    "xclip-large-patch14-16-frames": VideoMAEImageProcessorPil(
        size={"shortest_edge": 336},
        crop_size={"height": 336, "width": 336},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ),
    "clip-vit-base-patch32": CLIPImageProcessorPil(),
    "siglip2-base-patch16-224": SiglipImageProcessorPil(resample=2),  # as the hub's file says
    "siglip2-so400m-patch14-384": SiglipImageProcessorPil(resample=2, size={"height": 384, "width": 384}),
    # VideoPrism's own processor needs torchvision; this is its arithmetic
    "videoprism-lvt-base-f16r288": CLIPImageProcessorPil(
        size={"height": 288, "width": 288}, do_center_crop=False, do_normalize=False
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
# Pillow 13 takes the cheaper pass first, so that tall pictures squeezed to squares differ from what Pillow 12 made
# of them, and the authors with it; these shapes are squeezed in width first by both.
@pytest.mark.parametrize("shape", [(180, 320), (500, 480)])
def test_pixels_are_those_of_the_processors_of_transformers(name: str, shape: tuple[int, int]) -> None:
    how = find(name).preprocessing
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (shape[0] // 4, shape[1] // 4, 3), dtype=np.uint8)
    picture = coarse.repeat(4, axis=0).repeat(4, axis=1)
    expected = PROCESSORS[name]([picture], return_tensors="np")["pixel_values"].reshape(3, how.side, how.side)
    levels = np.abs(_normalised(crops_of(picture[None], how), how)[0, 0].numpy() - expected)
    levels = levels * (np.array(how.std)[:, None, None] * 255)
    assert levels.max() < 2.01
    assert (levels > 0.01).mean() < 0.02


LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
# (model, config, parameters as published or as the file's size says)
FULL_SIZE = {
    "clip-vit-base-patch32": (CLIPModel, CLIPConfig(), 151_277_313),
    "clip-vit-large-patch14": (
        CLIPModel,
        CLIPConfig(
            vision_config=LARGE | {"num_hidden_layers": 24, "patch_size": 14},
            text_config={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
            projection_dim=768,
        ),
        427_616_513,
    ),
    "siglip2-base-patch16-224": (
        SiglipModel,
        SiglipConfig(text_config={"vocab_size": 256_000, "bos_token_id": 2, "eos_token_id": 1}),
        375_187_970,
    ),
    "siglip2-so400m-patch14-384": (
        SiglipModel,
        SiglipConfig(
            text_config=SO400M | {"vocab_size": 256_000},
            vision_config=SO400M | {"image_size": 384, "patch_size": 14},
        ),
        1_136_008_498,
    ),
    "xclip-base-patch32": (XCLIPModel, XCLIPConfig(), 196_585_729),
    "videoprism-lvt-base-f16r288": (VideoPrismClipModel, VideoPrismConfig(), 247_623_424),
    "videoprism-lvt-large-f8r288": (
        VideoPrismClipModel,
        VideoPrismConfig(vision_config=LARGE | {"num_spatial_layers": 24, "num_frames": 8}, text_config=LARGE),
        579_877_120,
    ),
}


# A few names of tensors as they stand in the hub's files, which transformers 4 wrote.
PUBLISHED = {
    "clip": ("vision_model.pre_layrnorm.weight", "text_model.encoder.layers.0.self_attn.q_proj.bias"),
    "siglip": ("vision_model.head.attention.in_proj_weight", "vision_model.head.probe", "text_model.head.bias"),
    "siglip2": ("vision_model.head.attention.in_proj_weight", "text_model.final_layer_norm.weight", "logit_bias"),
    "xclip": (
        "vision_model.pre_layernorm.weight",
        "vision_model.encoder.layers.0.message_attn.q_proj.weight",
        "mit.position_embedding",
        "prompts_generator.decoder.0.cross_attn.q_proj.weight",
    ),
    "videoprism": ("video_model.head.pooling_attention_query", "text_model.embeddings.cls_emb"),
}


def test_the_layout_is_the_published_one(tiny: Tiny) -> None:
    names = set(load_file(tiny.folder / "model.safetensors"))
    assert names.issuperset(PUBLISHED[tiny.row.name.removeprefix("tiny-")])


@pytest.mark.parametrize("name", FULL_SIZE)
def test_rows_name_the_sizes_of_the_published_models(name: str) -> None:
    model_class, config, parameters = FULL_SIZE[name]
    with torch.device("meta"):
        model = model_class(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    row = find(name)
    stated = next((file.size_bytes for file in row.weights.files if file.size_bytes), 4 * parameters)
    assert 4 * parameters <= stated < 4 * parameters + 200_000  # and the names in the file
    vision = model.config.vision_config
    assert row.preprocessing.side == vision.image_size
    assert row.clip.frames == (getattr(vision, "num_frames", None) or 1)
    dimensions = getattr(model.config, "projection_dim", vision.hidden_size)
    assert dict(row.outputs) == {row.text_output: dimensions}


def test_every_row_says_what_one_needs_to_know() -> None:
    for name in ("clip", "siglip2", "xclip", "videoprism"):
        for row in (row for row in _catalog() if row.family == name):
            assert row.text_output == row.default_output
            assert row.weights.commercial
            assert row.weights.licence in {"MIT", "Apache-2.0"}
            assert "tokenizer.json" in {file.name for file in row.weights.files}
            assert row.remark
            assert row.weights.trained_on
            assert row.distance == "cosine"


def _catalog() -> list[EncoderSpec]:
    from reelspace.encoders.catalog import image_text, videoprism, xclip

    return [*image_text.ROWS, *videoprism.ROWS, *xclip.ROWS]
