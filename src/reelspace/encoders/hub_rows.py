"""Rows for checkpoints on the hub that the catalog does not list, ``hf:ORG/NAME``, filled from their own config."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from reelspace.encoders.catalog import find
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights
from reelspace.errors import CheckpointError, InvalidArgument

__all__ = ["FAMILIES", "row_from_config"]

_WEIGHTS = (  # the best first: safetensors, whole or in parts, then pickles
    r"model\.safetensors",
    r"model-\d+-of-\d+\.safetensors|model\.safetensors\.index\.json",
    r"pytorch_model\.bin",
    r"pytorch_model-\d+-of-\d+\.bin|pytorch_model\.bin\.index\.json",
)
_SIGLIP_PAPER = "Zhai et al. 2023, arXiv:2303.15343"
_ASSUMED = "filled from its config; preprocessing and spacing are those its family was published with"


def row_from_config(
    repo: str, revision: str | None, config: Mapping[str, Any], files: Iterable[str]
) -> EncoderSpec:
    """The row of a checkpoint of a family we run.

    Args:
        repo: ``ORG/NAME``.
        revision: the commit, 40 hex digits, or None.
        config: its ``config.json``.
        files: the names of the files in the repository.

    Raises:
        InvalidArgument: when the family, or the kind of model in it, is none we run.
        CheckpointError: when the repository lacks a file the family needs.
    """
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise InvalidArgument(
            f"{repo} is a model of the family {kind!r}; those we run: {', '.join(sorted(FAMILIES))}"
        )
    row = FAMILIES[kind](config)
    weights = Weights(files=_files(repo, row, set(files)), repo=repo, revision=revision)
    return replace(row, name=f"hf:{repo}", weights=weights, score="", remark=_ASSUMED)


def _files(repo: str, row: EncoderSpec, names: set[str]) -> tuple[WeightFile, ...]:
    """What the row's family needs besides weights, and the weights in their best form."""
    besides = [file for file in row.weights.files if not any(re.fullmatch(form, file.name) for form in _WEIGHTS)]
    missing = [file.name for file in besides if file.name not in names and not file.optional]
    forms = ([name for name in sorted(names) if re.fullmatch(form, name)] for form in _WEIGHTS)
    weights = next((form for form in forms if form), None)
    if missing or weights is None:
        lacking = ", ".join(missing) or "model.safetensors and pytorch_model.bin"
        raise CheckpointError(f"{repo} has no {lacking}, which {row.family} needs; name another checkpoint")
    kept = tuple(WeightFile(file.name, optional=file.optional) for file in besides if file.name in names)
    return kept + tuple(WeightFile(name) for name in weights)


def _classes(config: Mapping[str, Any]) -> int | None:
    """How many classes its head has; None without one."""
    kinds = config.get("architectures") or []
    if not any(str(kind).lower().endswith("forvideoclassification") for kind in kinds):
        return None
    return len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))


def _row(config: Mapping[str, Any], like: str, *, output: str, frames: int, side: int) -> EncoderSpec:
    """The catalog's row ``like``, with the sizes of ``config``."""
    row = find(like)
    classes = _classes(config)
    scale = row.preprocessing.size / (row.preprocessing.crop or row.preprocessing.size)
    return replace(
        row,
        clip=replace(row.clip, frames=frames),
        preprocessing=replace(row.preprocessing, size=int(side * scale), crop=side),
        outputs={output: int(config["hidden_size"])} | ({} if classes is None else {"logits": classes}),
        labels=None if classes is None else "config",
    )


def _videomae(config: Mapping[str, Any]) -> EncoderSpec:
    if _classes(config) is None and "VideoMAEForPreTraining" not in (config.get("architectures") or []):
        raise InvalidArgument(
            f"a VideoMAE checkpoint is one of VideoMAEForPreTraining or VideoMAEForVideoClassification, got "
            f"{config.get('architectures')}"
        )
    return _row(
        config,
        "videomae-base-finetuned-kinetics",
        output="pooled",
        frames=config.get("num_frames", 16),
        side=config.get("image_size", 224),
    )


def _vivit(config: Mapping[str, Any]) -> EncoderSpec:
    frames, side = config.get("num_frames", 32), config.get("image_size", 224)
    return _row(config, "vivit-b-16x2-kinetics400", output="cls", frames=frames, side=side)


def _timesformer(config: Mapping[str, Any]) -> EncoderSpec:
    frames, side = config.get("num_frames", 8), config.get("image_size", 224)
    row = _row(config, "timesformer-base-finetuned-k400", output="cls", frames=frames, side=side)
    # base and hr differ in frames, and span the same 8.5 s
    window = find("timesformer-base-finetuned-k400").clip.window_seconds
    return replace(row, clip=replace(row.clip, spacing_seconds=window / frames))


def _vjepa2(config: Mapping[str, Any]) -> EncoderSpec:
    frames, side = config.get("frames_per_clip", 64), config.get("crop_size", 256)
    row = _row(config, "vjepa2-vitl-fpc64-256", output="pooled", frames=frames, side=side)
    return replace(row, preprocessing=replace(row.preprocessing, size=int(side * 256 / 224)))


def _clip(config: Mapping[str, Any]) -> EncoderSpec:
    side = config.get("vision_config", {}).get("image_size", 224)
    return _of_two_towers("clip-vit-base-patch32", side=side, dimensions=config.get("projection_dim", 512))


def _siglip(config: Mapping[str, Any]) -> EncoderSpec:
    """SigLIP 2 of fixed size calls itself siglip too; its vocabulary is Gemma's, of 256,000 words."""
    vision = config.get("vision_config", {})
    second = config.get("text_config", {}).get("vocab_size") == 256_000
    row = _of_two_towers(
        "siglip2-base-patch16-224", side=vision.get("image_size", 224), dimensions=vision.get("hidden_size", 768)
    )
    if second:
        return row
    how = replace(row.preprocessing, filter="bicubic")
    return replace(row, family="siglip", options={"kind": "siglip"}, preprocessing=how, paper=_SIGLIP_PAPER)


def _xclip(config: Mapping[str, Any]) -> EncoderSpec:
    vision = config.get("vision_config", {})
    row = _of_two_towers(
        "xclip-base-patch32", side=vision.get("image_size", 224), dimensions=config.get("projection_dim", 512)
    )
    return _within_the_window(row, vision.get("num_frames", 8))


def _videoprism(config: Mapping[str, Any]) -> EncoderSpec:
    vision = config.get("vision_config", {})
    row = _of_two_towers(
        "videoprism-lvt-base-f16r288",
        side=vision.get("image_size", 288),
        dimensions=vision.get("hidden_size", 768),
    )
    return _within_the_window(row, vision.get("num_frames", 16))


def _dinov2(config: Mapping[str, Any]) -> EncoderSpec:
    """Its ``image_size`` is that of training; pictures of 224 pixels are what all were published for."""
    return replace(find("dinov2-base"), outputs={"frames": config.get("hidden_size", 768)})


def _of_two_towers(like: str, *, side: int | list[int], dimensions: int) -> EncoderSpec:
    row = find(like)
    side = side if isinstance(side, int) else side[0]
    how = replace(row.preprocessing, size=side, crop=row.preprocessing.crop and side)
    return replace(row, preprocessing=how, outputs={row.default_output: dimensions})


def _within_the_window(row: EncoderSpec, frames: int) -> EncoderSpec:
    """More frames or fewer over as many seconds as the row's."""
    return replace(row, clip=replace(row.clip, frames=frames, spacing_seconds=row.clip.window_seconds / frames))


# model_type of config.json -> the row it fills. Its name, weights, score and remark are set by `row_from_config`.
FAMILIES: dict[str, Callable[[Mapping[str, Any]], EncoderSpec]] = {
    "clip": _clip,
    "dinov2": _dinov2,
    "siglip": _siglip,
    "timesformer": _timesformer,
    "videomae": _videomae,
    "videoprism": _videoprism,
    "vivit": _vivit,
    "vjepa2": _vjepa2,
    "xclip": _xclip,
}
