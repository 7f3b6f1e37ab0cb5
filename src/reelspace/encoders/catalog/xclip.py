"""X-CLIP: clips and texts in one space, trained on the classes of Kinetics."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_KINETICS_SECONDS = 10.0  # a clip of Kinetics, over which the frames were spread in training
_REMARK = (
    "trained on the class names of {kinetics}; text search compares plain text vectors, while the published scores "
    "also show each text the video"
)


def _row(
    name: str,
    *,
    frames: int,
    score: str,
    revision: str | None = None,
    weights: str = "model.safetensors",
    size: int = 224,
    dimensions: int = 512,
    views: tuple[int, int] = (4, 3),
    kinetics: str = "Kinetics-400",
) -> EncoderSpec:
    clips, crops = views
    return EncoderSpec(
        name=name,
        family="xclip",
        factory="reelspace.encoders.models.xclip:xclip",
        clip=ClipSpec(frames, _KINETICS_SECONDS / frames, spread=True, clips=clips, crops=crops),
        # Mean and std of ImageNet, not CLIP's (VideoX X-CLIP/datasets/build.py). The processor beside the 336-pixel
        # model names no crop, and transformers then crops to 224.
        preprocessing=Preprocessing("shortest", size, crop=size),
        outputs={"pooled": dimensions},
        text_output="pooled",
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile(weights), WeightFile("tokenizer.json")),
            repo=f"microsoft/{name}",
            revision=revision,
            licence="MIT",
            commercial=True,
            trained_on=f"{kinetics}, from CLIP",
        ),
        paper="Ni et al. 2022, arXiv:2208.02816",
        score=score,
        remark=_REMARK.format(kinetics=kinetics),
    )


_K400 = "K400 top-1 {} (4x3 views)"
_K600 = "K600 top-1 {} (4x3 views)"
ROWS = (
    _row(
        "xclip-base-patch32",
        frames=8,
        score=_K400.format(80.4),
        revision="a2e27a78a2b5d802e894b8a1ef14f3a8ce490963",
    ),
    _row("xclip-base-patch32-16-frames", frames=16, score=_K400.format(81.1)),
    _row(
        "xclip-base-patch16",
        frames=8,
        score=_K400.format(83.8),
        revision="d6184e3fd8780d04c85d0f1eabe5f94bf44d98f6",
    ),
    _row("xclip-base-patch16-16-frames", frames=16, score=_K400.format(84.7), weights="pytorch_model.bin"),
    _row(
        "xclip-large-patch14",
        frames=8,
        score=_K400.format(87.1),
        revision="a9dd1429a16cf305df2aaea232d5e8dceba1c675",
        dimensions=768,
    ),
    _row(
        "xclip-large-patch14-16-frames",
        frames=16,
        score=_K400.format(87.7),
        weights="pytorch_model.bin",
        size=336,
        dimensions=768,
    ),
    _row(
        "xclip-base-patch16-zero-shot",
        frames=32,
        score="zero-shot top-1: K600 65.2, UCF-101 72.0, HMDB-51 44.6",
        revision="6746d6a5202bf24300cd9bf36f457f174483d41b",
        views=(1, 1),
    ),
    # The safetensors of the Kinetics-600 models lie in pull requests of the hub's converter, pinned here.
    _row(
        "xclip-base-patch16-kinetics-600",
        frames=8,
        score=_K600.format(85.3),
        revision="a43d326f011d51837c6271ef07ac17579100d112",
        kinetics="Kinetics-600",
    ),
    _row(
        "xclip-base-patch16-kinetics-600-16-frames",
        frames=16,
        score=_K600.format(85.8),
        revision="1ac80ed2665828882f60bf7241788b9d57bb3c82",
        kinetics="Kinetics-600",
    ),
    _row(
        "xclip-large-patch14-kinetics-600",
        frames=8,
        score=_K600.format(88.3),
        revision="670ac984fa90f2555170babcd6d21f34e130aa7d",
        dimensions=768,
        kinetics="Kinetics-600",
    ),
)
