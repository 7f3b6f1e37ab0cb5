"""VideoMAE: pre-trained (with the decoder), and fine-tuned on Kinetics-400 and Something-Something v2."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_LOOK = Preprocessing(resize="shortest", size=224, crop=224)
# Every fourth frame of 30 a second; tested on 5 clips x 3 crops (MODEL_ZOO.md of MCG-NJU/VideoMAE).
_KINETICS = ClipSpec(frames=16, spacing_seconds=4 / 30, clips=5, crops=3)
# 16 frames spread over a video of about 4 s; tested on 2 clips x 3 crops (ibid.).
_SOMETHING = ClipSpec(frames=16, spacing_seconds=0.25, spread=True, clips=2, crops=3)
_RAW = (
    "trained to guess pixels, not to tell videos apart: a weak space to search in (HMDB51 v-measure .41, "
    "against .70 of the Kinetics-400 fine-tune)"
)
_CLASSES = {"kinetics400": 400, "ssv2": 174}


def _row(
    variant: str,
    data: str,
    *,
    wide: int = 768,
    labels: str | None = None,
    revision: str,
    weights: str = "pytorch_model.bin",
    score: str = "",
) -> EncoderSpec:
    return EncoderSpec(
        name=f"videomae-{variant}",
        family="videomae",
        factory="reelspace.encoders.models.videomae:load",
        clip=_SOMETHING if data == "Something-Something v2" else _KINETICS,
        preprocessing=_LOOK,
        outputs={"pooled": wide} | ({} if labels is None else {"logits": _CLASSES[labels]}),
        maps=("tokens",),
        labels=labels,
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile(weights)),
            repo=f"MCG-NJU/videomae-{variant}",
            revision=revision,
            licence="CC-BY-NC-4.0",
            commercial=False,
            trained_on=data if labels else f"{data}, without labels",
        ),
        paper="Tong et al. 2022, arXiv 2203.12602",
        score=score,
        remark="" if labels else _RAW,
    )


_K400, _SSV2, _TENSORS = "Kinetics-400", "Something-Something v2", "model.safetensors"

# Scores are those of MODEL_ZOO.md (MCG-NJU/VideoMAE at 26abf53, from when the checkpoints were converted for the
# hub). The small and the huge model joined it later (huggingface.co/SMSD75/SIGMA has a copy with the small one).
ROWS = (
    _row(
        "base-finetuned-kinetics",
        _K400,
        labels="kinetics400",
        revision="488eb9a0565f257b32866000305c8178965eb9f6",
        weights=_TENSORS,
        score="K400 top-1 80.9 (5x3 views)",
    ),
    _row(
        "small-finetuned-kinetics",
        _K400,
        wide=384,
        labels="kinetics400",
        revision="8fc0b88efda5274a4c2e74d3157c02f1ec0764a7",
        score="K400 top-1 79.0 (5x3 views)",
    ),
    _row(
        "base-short-finetuned-kinetics",
        _K400,
        labels="kinetics400",
        revision="633307c5f5bad582e566c1d5d74f1393e4e14590",
        score="K400 top-1 79.4 (5x3 views)",
    ),
    _row(
        "large-finetuned-kinetics",
        _K400,
        wide=1024,
        labels="kinetics400",
        revision="0f6adcd5f6902900aa0281f9daacfe52bb3c4ad4",
        weights=_TENSORS,
        score="K400 top-1 84.7 (5x3 views)",
    ),
    _row(
        "huge-finetuned-kinetics",
        _K400,
        wide=1280,
        labels="kinetics400",
        revision="aa4323bb447450757027054c0e35cf78152e2ae3",  # of a pull request: the only one with safetensors
        weights=_TENSORS,
    ),
    _row(
        "base-finetuned-ssv2",
        _SSV2,
        labels="ssv2",
        revision="873e7dfcd91479c8e10d75f7e402573dbdb6f98e",
        score="SSv2 top-1 70.6 (2x3 views)",
    ),
    _row(
        "base-short-finetuned-ssv2",
        _SSV2,
        labels="ssv2",
        revision="24fb695436d534a31ee552076d7272c9c5208ae9",
        score="SSv2 top-1 69.6 (2x3 views)",
    ),
    _row(
        "small-finetuned-ssv2",
        _SSV2,
        wide=384,
        labels="ssv2",
        revision="79e8333b002a3a52effdc1e66025184d1d45dc9c",
    ),
    _row("base", _K400, revision="dc740ceda42fce44faed2ea03c6d447db72f6af9", weights=_TENSORS),
    _row("base-short", _K400, revision="0bbebd49bf76c7200af31b55baffcad72a448028"),
    _row("large", _K400, wide=1024, revision="12da269a02d3e1fbbb7011e610e591fea8061dca", weights=_TENSORS),
    _row("base-ssv2", _SSV2, revision="f5f75837ddf3ec8544a57c85b6628353102811da"),
    _row("base-short-ssv2", _SSV2, revision="73133027e524d3179217d0026f8cad5069cec4c3"),
)
