"""TimeSformer with divided attention on Kinetics-400, Kinetics-600 and Something-Something v2."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_FRAMES = {"base": 8, "hr": 16}
_SIDE = {"base": 224, "hr": 448}
# Every 32nd (hr: 16th) of 30 frames a second, tested on one clip x 3 crops (configs/Kinetics of
# facebookresearch/TimeSformer at a5ef29a). Something-Something: spread over a video of about 4 s, likewise.
_KINETICS_STEP = {"base": 32 / 30, "hr": 16 / 30}
_SOMETHING_SECONDS = 4.0
_DATA = {
    "k400": ("Kinetics-400", "kinetics400", 400),
    "k600": ("Kinetics-600", "kinetics600", 600),
    "ssv2": ("Something-Something v2", "ssv2", 174),
}
_BGR = (
    "reads blue, green, red, and is given it: the original's loader of Something-Something decodes with OpenCV and "
    "never turns the order (timesformer/datasets/ssv2.py, where REVERSE_INPUT_CHANNEL is skipped for ViT)"
)


def _row(size: str, data: str, *, revision: str, top1: float) -> EncoderSpec:
    frames, side = _FRAMES[size], _SIDE[size]
    trained_on, labels, classes = _DATA[data]
    spread = data == "ssv2"
    return EncoderSpec(
        name=f"timesformer-{size}-finetuned-{data}",
        family="timesformer",
        factory="reelspace.encoders.models.timesformer:load",
        clip=ClipSpec(
            frames=frames,
            spacing_seconds=_SOMETHING_SECONDS / frames if spread else _KINETICS_STEP[size],
            spread=spread,
            crops=3,
        ),
        preprocessing=Preprocessing(
            resize="shortest", size=side, crop=side, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
        ),
        outputs={"cls": 768, "logits": classes},
        maps=("tokens",),
        labels=labels,
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile("pytorch_model.bin")),
            repo=f"facebook/timesformer-{size}-finetuned-{data}",
            revision=revision,
            licence="CC-BY-NC-4.0",
            commercial=False,
            trained_on=f"ImageNet, {trained_on}",
        ),
        options={"channels": "bgr"} if spread else {},
        paper="Bertasius et al. 2021, arXiv 2102.05095",
        score=f"{data.upper() if data != 'ssv2' else 'SSv2'} top-1 {top1} (1x3 views)",
        remark=_BGR if spread else "",
    )


ROWS = (
    _row("base", "k400", revision="8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0", top1=77.9),
    _row("hr", "k400", revision="188026c3022e39dac25da0111f9a015603915775", top1=79.6),
    _row("base", "k600", revision="755111696998cf6c06eeaea5bdb717f46cd4d67b", top1=79.1),
    _row("hr", "k600", revision="59b84d1f964357ae2e200f9522292b5d589f6a9c", top1=81.8),
    _row("base", "ssv2", revision="3b045270472c79cf9c1b60189ba425e92ed7f004", top1=59.1),
    _row("hr", "ssv2", revision="eed8700e24a0c1c7149bc261aedf6543fb32aa80", top1=61.8),
)
