"""SSCD: frames described for copy detection."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_FOLDER = "https://dl.fbaipublicfiles.com/sscd-copy-detection"

ROWS = (
    EncoderSpec(
        name="sscd-disc-mixup",
        family="sscd",
        factory="reelspace.encoders.models.sscd:sscd",
        clip=ClipSpec(frames=1, spacing_seconds=1.0),  # as the VSC2022 baseline
        preprocessing=Preprocessing(resize="shortest", size=288),
        outputs={"frames": 512},
        weights=Weights(
            files=(WeightFile("sscd_disc_mixup.torchvision.pt", url=f"{_FOLDER}/sscd_disc_mixup.torchvision.pt"),),
            licence="MIT",
            commercial=True,
            trained_on="DISC2021 training set",
        ),
        paper="Pizzi et al. 2022, arXiv:2202.10261",
        score="DISC2021 validation µAP 61.5, with score normalization 72.5 (whitened)",
        remark="Cosine above 0.75 is a copy with 90% precision on DISC. The licence is the repository's; its README"
        " names none for the weights.",
    ),
)
