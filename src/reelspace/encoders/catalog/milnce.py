"""Rows of MIL-NCE's S3D and I3D, in one space with sentences, and of the I3D of Kinetics."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_MIL_NCE = "Miech, Alayrac, Smaira, Laptev, Sivic, Zisserman 2020, arXiv 1912.06430"
_QUO_VADIS = "Carreira, Zisserman 2017, arXiv 1705.07750"
_PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

# 32 frames at 10 per second, as trained; four windows per video, as the training code's own test.
_MIL_NCE_CLIP = ClipSpec(frames=32, spacing_seconds=1 / 10, clips=4)
# The colab of the hub's modules: middle square, cv2.resize to 224 (bilinear, no antialiasing), 0..1.
_MIL_NCE_PIXELS = Preprocessing(resize="cover", size=224, antialias=False, mean=_PLAIN[0], std=_PLAIN[1])

_WILLOW = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m"
_I3D = (
    "https://github.com/google-deepmind/kinetics-i3d/raw/0667e889a5904b4dc122e0ded4c332f49f8df42c/data/checkpoints"
)
_SHARD = "model.ckpt.data-00000-of-00001"


def _kinetics(
    name: str, folder: str, classes: int, *, index: WeightFile, shard_bytes: int, trained_on: str, score: str
) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        family="i3d",
        factory="reelspace.encoders.models.i3d:kinetics_i3d",
        clip=ClipSpec(frames=64, spacing_seconds=1 / 25),
        preprocessing=Preprocessing(
            resize="shortest",
            size=256,
            crop=224,
            scale=1 / 127.5,
            offset=-1.0,
            mean=_PLAIN[0],
            std=_PLAIN[1],
        ),
        outputs={"mixed_5c": 1024, "logits": classes},
        labels=f"kinetics{classes}",
        weights=Weights(
            files=(index, WeightFile(_SHARD, url=f"{_I3D}/{folder}/{_SHARD}", size_bytes=shard_bytes)),
            licence="Apache-2.0",
            commercial=True,
            trained_on=trained_on,
        ),
        paper=_QUO_VADIS,
        score=score,
        remark="RGB stream alone; the paper adds the logits of optical flow, and reads the whole video as one clip",
    )


ROWS = (
    EncoderSpec(
        name="s3d-howto100m",
        family="mil-nce",
        factory="reelspace.encoders.models.s3d:s3d",
        clip=_MIL_NCE_CLIP,
        preprocessing=_MIL_NCE_PIXELS,
        outputs={"video_embedding": 512, "mixed_5c": 1024},
        text_output="video_embedding",
        distance="dot",
        weights=Weights(
            files=(
                WeightFile("s3d_howto100m.pth", url=f"{_WILLOW}/s3d_howto100m.pth", size_bytes=125_031_128),
                WeightFile("s3d_dict.npy", url=f"{_WILLOW}/s3d_dict.npy", size_bytes=5_830_040),
            ),
            licence="not stated (code Apache-2.0)",
            commercial=None,
            trained_on="HowTo100M",
        ),
        paper=_MIL_NCE,
        score="MSR-VTT zero-shot text to video R@1 9.9",
        remark="mixed_5c is for classifying, video_embedding for text; words it does not know are left out",
    ),
    EncoderSpec(
        name="i3d-howto100m",
        family="mil-nce",
        factory="reelspace.encoders.models.i3d:mil_nce_i3d",
        clip=_MIL_NCE_CLIP,
        preprocessing=_MIL_NCE_PIXELS,
        outputs={"video_embedding": 512, "mixed_5c": 1024},
        text_output="video_embedding",
        distance="dot",
        weights=Weights(
            files=(
                WeightFile("variables/variables.index"),
                WeightFile("variables/variables.data-00000-of-00001"),
                WeightFile("words.txt", optional=True),
                WeightFile("words.npy", optional=True),
            ),
            page="https://tfhub.dev/deepmind/mil-nce/i3d/1",
            licence="not stated",
            commercial=None,
            trained_on="HowTo100M",
        ),
        paper=_MIL_NCE,
        remark="the names of its variables are published nowhere: matched by ending and shape, or refused; for "
        "text it needs its words, from the assets/ of the module, as words.txt",
    ),
    _kinetics(
        "i3d-kinetics400",
        "rgb_imagenet",
        400,
        index=WeightFile(
            "model.ckpt.index",
            url=f"{_I3D}/rgb_imagenet/model.ckpt.index",
            size_bytes=10_953,
            sha256="f4bfd6f4af485f276c68333d3eca3697b691bb647f0167a03fe021147ca7f8eb",
        ),
        shard_bytes=50_818_176,
        trained_on="ImageNet, Kinetics-400",
        score="K400 test top-1 71.1, top-5 89.3 (RGB, whole video)",
    ),
    _kinetics(
        "i3d-kinetics600",
        "rgb_scratch_kin600",
        600,
        index=WeightFile(
            "model.ckpt.index",
            url=f"{_I3D}/rgb_scratch_kin600/model.ckpt.index",
            size_bytes=19_632,
            sha256="366815af85b76e46222db13761f087584b3dc9c56abf67b822949846302e432a",
        ),
        shard_bytes=103_218_112,
        trained_on="Kinetics-600",
        score="",
    ),
)
