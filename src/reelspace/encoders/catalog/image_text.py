"""CLIP and SigLIP 2: single frames and texts in one space."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_FACTORY = "reelspace.encoders.models.image_text:image_text"
_FRAMES = ClipSpec(frames=1, spacing_seconds=0.5)
_CLIP_PIXELS = Preprocessing(
    "shortest",
    224,
    crop=224,
    filter="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
_CLIP_REMARK = "frames one by one: it knows what is in a picture, not what happens; English"
_SIGLIP2_REMARK = "frames one by one: it knows what is in a picture, not what happens; many languages"


def _clip(name: str, *, dimensions: int, revision: str, weights: WeightFile) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        family="clip",
        factory=_FACTORY,
        clip=_FRAMES,
        preprocessing=_CLIP_PIXELS,
        outputs={"frames": dimensions},
        text_output="frames",
        options={"kind": "clip"},
        weights=Weights(
            files=(WeightFile("config.json"), weights, WeightFile("tokenizer.json")),
            repo=f"openai/{name}",
            revision=revision,
            licence="MIT",
            commercial=True,
            trained_on="400 million pictures with texts from the web (WIT, not public)",
        ),
        paper="Radford et al. 2021, arXiv:2103.00020",
        remark=_CLIP_REMARK,
    )


def _siglip2(
    name: str, *, size: int, dimensions: int, revision: str, weights: WeightFile, score: str = ""
) -> EncoderSpec:
    tokenizer = WeightFile(
        "tokenizer.json",
        size_bytes=34_363_039,
        sha256="cb9140fae3ac5122c972d37adf83e1248471a38147ad76f8215c8872c6fd8322",
    )
    return EncoderSpec(
        name=name,
        family="siglip2",
        factory=_FACTORY,
        clip=_FRAMES,
        # The whole picture, squeezed; bilinear as the hub's processors say, not as their class in transformers.
        preprocessing=Preprocessing("square", size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        outputs={"frames": dimensions},
        text_output="frames",
        options={"kind": "siglip2"},
        weights=Weights(
            files=(WeightFile("config.json"), weights, tokenizer),
            repo=f"google/{name}",
            revision=revision,
            licence="Apache-2.0",
            commercial=True,
            trained_on="WebLI",
        ),
        paper="Tschannen et al. 2025, arXiv:2502.14786",
        score=score,
        remark=_SIGLIP2_REMARK,
    )


ROWS = (
    _clip(
        "clip-vit-base-patch32",
        dimensions=512,
        revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        weights=WeightFile(
            "pytorch_model.bin",
            size_bytes=605_247_071,
            sha256="a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
        ),
    ),
    _clip(
        "clip-vit-large-patch14",
        dimensions=768,
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        weights=WeightFile(
            "model.safetensors",
            size_bytes=1_710_540_580,
            sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        ),
    ),
    _siglip2(
        "siglip2-base-patch16-224",
        size=224,
        dimensions=768,
        revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        weights=WeightFile(
            "model.safetensors",
            size_bytes=1_500_800_904,
            sha256="612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
        ),
    ),
    _siglip2(
        "siglip2-so400m-patch14-384",
        size=384,
        dimensions=1152,
        revision="e8e487298228002f3d8a82e0cd5c8ea9c567f57f",
        weights=WeightFile(
            "model.safetensors",
            size_bytes=4_544_143_072,
            sha256="9f4f4a49f908ef0c979bce8ff5a5c0e88882dc6c5dc4304387cbbd152558e2c2",
        ),
        score="ImageNet zero-shot top-1 84.1",
    ),
)
