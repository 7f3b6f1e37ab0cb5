"""Names and shapes of tensors as the hub's files have them (transformers 4.x), written down by hand, and tiny
checkpoints made of them: so that what is loaded does not depend on what the installed transformers would save."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from safetensors.torch import save_file

from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights

Layout = dict[str, tuple[int, ...]]

# Configs, tiny

VIDEOMAE: dict[str, Any] = {
    "model_type": "videomae",
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
    "tubelet_size": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 24,
    "norm_pix_loss": True,
    "use_mean_pooling": False,
}

VIVIT: dict[str, Any] = {
    "model_type": "vivit",
    "image_size": 32,
    "num_frames": 4,
    "tubelet_size": [2, 16, 16],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_labels": 5,
}

TIMESFORMER: dict[str, Any] = {
    "model_type": "timesformer",
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_labels": 5,
}

VJEPA2: dict[str, Any] = {
    "model_type": "vjepa2",
    "crop_size": 32,
    "patch_size": 16,
    "frames_per_clip": 8,
    "tubelet_size": 2,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_ratio": 2.0,
    "pred_hidden_size": 24,
    "pred_num_hidden_layers": 1,
    "pred_num_attention_heads": 2,
    "pred_num_mask_tokens": 2,
    "pred_mlp_ratio": 4.0,
    "num_pooler_layers": 2,
}


def _linear(name: str, into: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _videomae_layer(name: str, width: int, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("query", "key", "value"):
        yield f"{name}.attention.attention.{part}.weight", (width, width)
    for part in ("q_bias", "v_bias"):
        yield f"{name}.attention.attention.{part}", (width,)
    yield from _linear(f"{name}.attention.output.dense", width, width)
    yield from _norm(f"{name}.layernorm_before", width)
    yield from _norm(f"{name}.layernorm_after", width)
    yield from _linear(f"{name}.intermediate.dense", width, inner)
    yield from _linear(f"{name}.output.dense", inner, width)


def videomae(config: Mapping[str, Any], *, classes: int | None = None) -> Layout:
    """MCG-NJU/videomae-*: pre-trained without ``classes``, fine-tuned with them."""
    width, patch, tube = config["hidden_size"], config["patch_size"], config["tubelet_size"]
    found: Layout = {
        "videomae.embeddings.patch_embeddings.projection.weight": (width, 3, tube, patch, patch),
        "videomae.embeddings.patch_embeddings.projection.bias": (width,),
    }
    for index in range(config["num_hidden_layers"]):
        found |= _videomae_layer(f"videomae.encoder.layer.{index}", width, config["intermediate_size"])
    if classes is not None:
        return found | dict(_norm("fc_norm", width)) | dict(_linear("classifier", width, classes))
    narrow = config["decoder_hidden_size"]
    found |= _norm("videomae.layernorm", width)
    found |= {"encoder_to_decoder.weight": (narrow, width), "mask_token": (1, 1, narrow)}
    for index in range(config["decoder_num_hidden_layers"]):
        found |= _videomae_layer(f"decoder.decoder_layers.{index}", narrow, config["decoder_intermediate_size"])
    return found | dict(_norm("decoder.norm", narrow)) | dict(_linear("decoder.head", narrow, 3 * tube * patch**2))


def vivit(config: Mapping[str, Any], *, classes: int) -> Layout:
    """google/vivit-b-16x2-kinetics400."""
    width, (tube, patch, _) = config["hidden_size"], config["tubelet_size"]
    positions = 1 + config["num_frames"] // tube * (config["image_size"] // patch) ** 2
    found: Layout = {
        "vivit.embeddings.cls_token": (1, 1, width),
        "vivit.embeddings.position_embeddings": (1, positions, width),
        "vivit.embeddings.patch_embeddings.projection.weight": (width, 3, tube, patch, patch),
        "vivit.embeddings.patch_embeddings.projection.bias": (width,),
    }
    for index in range(config["num_hidden_layers"]):
        name = f"vivit.encoder.layer.{index}"
        for part in ("query", "key", "value"):
            found |= _linear(f"{name}.attention.attention.{part}", width, width)
        found |= _linear(f"{name}.attention.output.dense", width, width)
        found |= dict(_norm(f"{name}.layernorm_before", width)) | dict(_norm(f"{name}.layernorm_after", width))
        found |= _linear(f"{name}.intermediate.dense", width, config["intermediate_size"])
        found |= _linear(f"{name}.output.dense", config["intermediate_size"], width)
    return found | dict(_norm("vivit.layernorm", width)) | dict(_linear("classifier", width, classes))


def timesformer(config: Mapping[str, Any], *, classes: int) -> Layout:
    """facebook/timesformer-*."""
    width, patch = config["hidden_size"], config["patch_size"]
    found: Layout = {
        "timesformer.embeddings.cls_token": (1, 1, width),
        "timesformer.embeddings.position_embeddings": (1, 1 + (config["image_size"] // patch) ** 2, width),
        "timesformer.embeddings.time_embeddings": (1, config["num_frames"], width),
        "timesformer.embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "timesformer.embeddings.patch_embeddings.projection.bias": (width,),
    }
    for index in range(config["num_hidden_layers"]):
        name = f"timesformer.encoder.layer.{index}"
        for part in ("attention", "temporal_attention"):
            found |= _linear(f"{name}.{part}.attention.qkv", width, 3 * width)
            found |= _linear(f"{name}.{part}.output.dense", width, width)
        found |= _linear(f"{name}.temporal_dense", width, width)
        for part in ("layernorm_before", "layernorm_after", "temporal_layernorm"):
            found |= _norm(f"{name}.{part}", width)
        found |= _linear(f"{name}.intermediate.dense", width, config["intermediate_size"])
        found |= _linear(f"{name}.output.dense", config["intermediate_size"], width)
    return found | dict(_norm("timesformer.layernorm", width)) | dict(_linear("classifier", width, classes))


def _vjepa2_layer(name: str, width: int, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("query", "key", "value", "proj"):
        yield from _linear(f"{name}.attention.{part}", width, width)
    yield from _norm(f"{name}.norm1", width)
    yield from _norm(f"{name}.norm2", width)
    yield from _linear(f"{name}.mlp.fc1", width, inner)
    yield from _linear(f"{name}.mlp.fc2", inner, width)


def vjepa2(config: Mapping[str, Any], *, classes: int | None = None) -> Layout:
    """facebook/vjepa2-*: with the probe where there are ``classes``; the predictor is in all of them."""
    width, narrow, patch = config["hidden_size"], config["pred_hidden_size"], config["patch_size"]
    inner = int(width * config["mlp_ratio"])
    found: Layout = {
        "encoder.embeddings.patch_embeddings.proj.weight": (width, 3, config["tubelet_size"], patch, patch),
        "encoder.embeddings.patch_embeddings.proj.bias": (width,),
        "predictor.embeddings.mask_tokens": (config["pred_num_mask_tokens"], 1, 1, narrow),
    }
    for index in range(config["num_hidden_layers"]):
        found |= _vjepa2_layer(f"encoder.layer.{index}", width, inner)
    found |= _norm("encoder.layernorm", width)
    found |= _linear("predictor.embeddings.predictor_embeddings", width, narrow)
    for index in range(config["pred_num_hidden_layers"]):
        found |= _vjepa2_layer(f"predictor.layer.{index}", narrow, int(narrow * config["pred_mlp_ratio"]))
    found |= dict(_norm("predictor.layernorm", narrow)) | dict(_linear("predictor.proj", narrow, width))
    if classes is None:
        return found
    probe: Layout = {"pooler.query_tokens": (1, 1, width)} | dict(_linear("classifier", width, classes))
    blocks = {f"pooler.self_attention_layers.{index}": "self_attn" for index in range(config["num_pooler_layers"])}
    for name, attention in (blocks | {"pooler.cross_attention_layer": "cross_attn"}).items():
        parts = ("q_proj", "k_proj", "v_proj", *(("out_proj",) if attention == "self_attn" else ()))
        for part in parts:
            probe |= _linear(f"{name}.{attention}.{part}", width, width)
        probe |= dict(_norm(f"{name}.layer_norm1", width)) | dict(_norm(f"{name}.layer_norm2", width))
        # transformers gives the probe's blocks a ratio of 4, whatever mlp_ratio says
        probe |= dict(_linear(f"{name}.mlp.fc1", width, 4 * width)) | dict(
            _linear(f"{name}.mlp.fc2", 4 * width, width)
        )
    return {f"vjepa2.{name}": shape for name, shape in found.items()} | probe


def seeded(layout: Layout) -> dict[str, torch.Tensor]:
    """Tensors that depend on their names alone; scaled so that activations neither vanish nor explode."""
    tensors = {}
    for name, shape in layout.items():
        draws = np.random.default_rng(crc32(name.encode())).standard_normal(shape, dtype=np.float32)
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        around = 1.0 if "norm" in name and name.endswith(".weight") else 0.0
        tensors[name] = torch.from_numpy(around + draws * (fan**-0.5 if len(shape) > 1 else 0.2))
    return tensors


def save(
    folder: Path, config: Mapping[str, Any], tensors: dict[str, torch.Tensor], *, pickled: bool = False
) -> tuple[WeightFile, ...]:
    """A checkpoint as the hub has it: ``config.json`` beside safetensors, or beside a pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    name = "pytorch_model.bin" if pickled else "model.safetensors"
    if pickled:
        torch.save(tensors, folder / name)
    else:
        save_file(tensors, folder / name, metadata={"format": "pt"})
    return WeightFile("config.json"), WeightFile(name)


def tiny(
    row: EncoderSpec, folder: Path, files: tuple[WeightFile, ...], *, side: int, **changes: Any
) -> EncoderSpec:
    """The catalog's row, with a tiny checkpoint in a folder."""
    frames = changes.pop("frames", 4)
    return replace(
        row,
        clip=replace(row.clip, frames=frames),
        preprocessing=replace(row.preprocessing, size=side, crop=side),
        weights=Weights(files=files, folder=str(folder)),
        **changes,
    )
