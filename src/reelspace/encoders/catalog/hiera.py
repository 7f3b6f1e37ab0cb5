"""Hiera for video: four sizes, each fine-tuned, pre-trained alone, and pre-trained with its decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]


class _Size(NamedTuple):
    embed_dim: int
    heads: int
    stages: tuple[int, ...]
    top1: str  # K400, README of facebookresearch/hiera
    fine_tuned_on_hub: bool  # the other two were not found there; their files are at dl.fbaipublicfiles.com


_SIZES = {
    "base": _Size(96, 1, (2, 3, 16, 3), "84.0", fine_tuned_on_hub=True),
    "base-plus": _Size(112, 2, (2, 3, 16, 3), "85.0", fine_tuned_on_hub=False),
    "large": _Size(144, 2, (2, 6, 36, 4), "87.3", fine_tuned_on_hub=True),
    "huge": _Size(256, 4, (2, 6, 36, 4), "87.8", fine_tuned_on_hub=False),
}

# 16 frames, every fourth at 30 frames a second; tested on 5 clips x 3 crops (README: "3x5 views").
_CLIP = ClipSpec(frames=16, spacing_seconds=4 / 30, clips=5, crops=3)
# The notebook of the repository says .255 for blue, which is a slip: SlowFast, whose loader trained it, has .225.
_PREPROCESSING = Preprocessing("shortest", 256, crop=224, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
_DECODER = {"decoder_dim": 512, "decoder_heads": 16, "decoder_depth": 8}
_RAW = "pre-trained alone: raw masked-autoencoder features are weak for retrieval; the fine-tuned row is better"


def _weights(name: str, trained_on: str, *, hub: str | None = None) -> Weights:
    """``hub``: the checkpoint's name there; without one, the official ``.pth``."""
    url = f"https://dl.fbaipublicfiles.com/hiera/{name}.pth"
    return Weights(
        files=(WeightFile("model.safetensors") if hub else WeightFile(f"{name}.pth", url=url),),
        repo=f"facebook/{name}.{hub}" if hub else None,
        licence="CC-BY-NC-4.0",
        commercial=False,
        trained_on=trained_on,
    )


def _rows(size: str, numbers: _Size) -> tuple[EncoderSpec, ...]:
    name, published = f"hiera-{size}-16x224", f"hiera_{size.replace('-', '_')}_16x224"
    widths = [numbers.embed_dim << i for i in range(len(numbers.stages))]
    embeddings = {"terminal": widths[-1], "hierarchical": sum(widths)}
    trunk = {"embed_dim": numbers.embed_dim, "heads": numbers.heads, "stages": list(numbers.stages)}
    fine_tuned = EncoderSpec(
        name=name,
        family="hiera",
        factory="reelspace.encoders.models.hiera:hiera",
        clip=_CLIP,
        preprocessing=_PREPROCESSING,
        outputs=embeddings | {"logits": 400},
        maps=tuple(f"stage{i + 1}" for i in range(len(widths))),
        labels="kinetics400",
        options=trunk,
        weights=_weights(
            published,
            "Kinetics-400 (masked autoencoding, then labels)",
            hub="mae_k400_ft_k400" if numbers.fine_tuned_on_hub else None,
        ),
        paper="Ryali et al. 2023, Hiera, arXiv:2306.00989",
        score=f"K400 top-1 {numbers.top1} (5x3 views)",
    )
    pre_trained = replace(
        fine_tuned,
        name=f"{name}-mae",
        outputs=embeddings,
        labels=None,
        weights=_weights(published, "Kinetics-400 (masked autoencoding)", hub="mae_k400"),
        score="",
        remark=_RAW,
    )
    with_decoder = replace(
        pre_trained,
        name=f"mae-{name}",
        factory="reelspace.encoders.models.hiera_mae:hiera_mae",
        options=trunk | _DECODER,
        weights=_weights(f"mae_{published}", "Kinetics-400 (masked autoencoding)"),
        remark=f"with its decoder, for reconstruction; {_RAW}",
    )
    return fine_tuned, pre_trained, with_decoder


ROWS = tuple(row for size, numbers in _SIZES.items() for row in _rows(size, numbers))
