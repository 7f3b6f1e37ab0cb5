"""ViViT-B/16x2 on Kinetics-400."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

# x / 127.5 - 1 and nothing else: the config of -kinetics400 on the hub says otherwise, and is wrong. The original
# (scenic, vivit_base_k400.py: min_resize 256, crop_size 224, zero_centering) and the converter of transformers
# agree.
_LOOK = Preprocessing(
    resize="shortest",
    size=256,
    crop=224,
    scale=1 / 127.5,
    offset=-1.0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
# Every second frame of 25 a second; tested on 4 clips x 3 crops (ibid.).
_CLIP = ClipSpec(frames=32, spacing_seconds=2 / 25, clips=4, crops=3)


def _row(variant: str, *, outputs: dict[str, int], revision: str | None, score: str, remark: str) -> EncoderSpec:
    return EncoderSpec(
        name=f"vivit-{variant}",
        family="vivit",
        factory="reelspace.encoders.models.vivit:load",
        clip=_CLIP,
        preprocessing=_LOOK,
        outputs=outputs,
        maps=("tokens",),
        labels="kinetics400" if "logits" in outputs else None,
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile("pytorch_model.bin")),
            repo=f"google/vivit-{variant}",
            revision=revision,
            licence="MIT",
            commercial=True,
            trained_on="ImageNet-21k, Kinetics-400",
        ),
        paper="Arnab et al. 2021, arXiv 2103.15691",
        score=score,
        remark=remark,
    )


ROWS = (
    _row(
        "b-16x2-kinetics400",
        outputs={"cls": 768, "logits": 400},
        revision="506d1885e5bbef28f5e4b623103d2970c3027447",
        score="K400 top-1 79.9 (4x3 views)",
        remark="",
    ),
    _row(
        "b-16x2",
        outputs={"cls": 768},
        revision=None,
        score="",
        remark="the hub does not say what it was trained on last; vivit-b-16x2-kinetics400 has the classifier",
    ),
)
