"""V-JEPA 2: the encoders, and their probes on Something-Something v2 and Diving48."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

# configs/ of facebookresearch/vjepa2 at c2963a4. Pre-training: 4 frames a second (configs/train, all sizes).
_PRETRAINED = ClipSpec(frames=64, spacing_seconds=1 / 4)
_WIDE = {"vitl": 1024, "vith": 1280, "vitg": 1408}
_CLASSES = {"ssv2": 174, "diving48": 48}
_MIXTURE = "VideoMix22M: Something-Something v2, Kinetics-710, HowTo100M, YT-Temporal-1B, ImageNet"
_JOINT = "the published probe reads the tokens of all clips of a video at once; here each clip is read on its own"
_DIVING = f"{_JOINT}, and of four layers, of which transformers keeps the last"


def _row(
    variant: str,
    *,
    clip: ClipSpec = _PRETRAINED,
    revision: str,
    licence: str = "MIT",
    labels: str | None = None,
    score: str = "",
    remark: str = "",
) -> EncoderSpec:
    size, _, side, *probe = variant.split("-")
    wide, pixels, data = _WIDE[size], int(side), probe[0] if probe else None
    return EncoderSpec(
        name=f"vjepa2-{variant}",
        family="vjepa2",
        factory="reelspace.encoders.models.vjepa2:load",
        clip=clip,
        preprocessing=Preprocessing(resize="shortest", size=int(pixels * 256 / 224), crop=pixels),
        outputs={"pooled": wide} | ({} if data is None else {"logits": _CLASSES[data]}),
        maps=("tokens",),
        labels=labels,
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile("model.safetensors")),
            repo=f"facebook/vjepa2-{variant}",
            revision=revision,
            licence=licence,
            commercial=True,
            trained_on=_MIXTURE if data is None else f"{_MIXTURE}; the probe on {data}",
        ),
        paper="Assran et al. 2025, arXiv 2506.09985",
        score=score,
        remark=remark,
    )


def _something(frames: int, *, step: int) -> ClipSpec:
    """Of 12 frames a second; tested on 2 clips x 3 crops (configs/inference/*/ssv2.yaml)."""
    return ClipSpec(frames=frames, spacing_seconds=step / 12, clips=2, crops=3)


# Every second frame, tested on 4 clips x 3 crops (configs/inference/*/diving48.yaml); 30 frames a second assumed.
_DIVES = ClipSpec(frames=32, spacing_seconds=2 / 30, clips=4, crops=3)

ROWS = (
    _row("vitl-fpc64-256", revision="b3c1679b7c34d3255ef3547f27c7b226aefab26f"),
    _row("vith-fpc64-256", revision="b5eac8703e3efdc1547fbb6ddfbeb133dc0bdee5"),
    _row("vitg-fpc64-256", revision="875c192b7b704b87d1e1d99345769632dd5f739a", licence="Apache-2.0"),
    _row("vitg-fpc64-384", revision="12ca91694b230e0d4b5b0078af6f4ae1d51e933d", licence="Apache-2.0"),
    _row(
        "vitl-fpc16-256-ssv2",
        clip=_something(16, step=4),
        revision="4aa02df83918538fc21cfaf576382fa20e489a80",
        labels="ssv2",
        score="SSv2 top-1 73.7 (2x3 views)",
        remark=_JOINT,
    ),
    _row(
        "vitg-fpc64-384-ssv2",
        clip=_something(64, step=2),
        revision="9f5fd615cb6f79065a28edcf1cc3ef25010dddfa",
        labels="ssv2",
        score="SSv2 top-1 77.3 (2x3 views)",
        remark=_JOINT,
    ),
    _row(
        "vitl-fpc32-256-diving48",
        clip=_DIVES,
        revision="71ae2a8b1ff5a297aeeaae9b5e64c7a2e5e6a633",
        labels="config",
        score="Diving48 top-1 89.0 (4x3 views)",
        remark=_DIVING,
    ),
    _row(
        "vitg-fpc32-384-diving48",
        clip=_DIVES,
        revision="0b48243375319bd8e03e3cd5560d957095429189",
        labels="config",
        score="Diving48 top-1 90.2 (4x3 views)",
        remark=_DIVING,
    ),
)
