"""The package's own frame encoders: no weights to fetch, no torch, light enough to run where files are decoded."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, Weights

__all__ = ["ROWS"]

_PACKAGED = Weights(licence="Apache-2.0", commercial=True, trained_on="nothing: a formula")

ROWS = (
    EncoderSpec(
        name="reelprint",
        family="reelprint",
        factory="reelspace.encoders.pictures:reelprint",
        clip=ClipSpec(frames=1, spacing_seconds=0.2),
        preprocessing=Preprocessing(resize="as-is", size=128),
        outputs={"frames": 256},
        weights=Weights(licence="Apache-2.0", commercial=True, trained_on="pictures drawn by formula"),
        paper="this project: encoders/weights/MODEL_CARD.md",
        remark="Here the whole picture alone; `copies` also compares it without its borders, and pictures in it.",
    ),
    EncoderSpec(
        name="pdqf-views",
        family="pdqf",
        factory="reelspace.encoders.pictures:pdqf_views",
        clip=ClipSpec(frames=1, spacing_seconds=0.2),
        preprocessing=Preprocessing(resize="as-is", size=128),
        outputs={"frames": 256},
        weights=_PACKAGED,
        paper="after PDQ: Facebook 2019, hashing.pdf",
        remark="What `index` uses; here the whole picture alone, there also the picture without its borders.",
    ),
    EncoderSpec(
        name="pdqf",
        family="pdqf",
        factory="reelspace.encoders.pictures:pdqf",
        clip=ClipSpec(frames=1, spacing_seconds=1 / 15),
        preprocessing=Preprocessing(resize="as-is", size=64),
        outputs={"frames": 256},
        weights=_PACKAGED,
        paper="Facebook 2019, hashing.pdf (ThreatExchange)",
        remark="The frame feature of TMK. Not of unit length; TMK itself takes the frames `ffmpeg -r 15` keeps.",
    ),
)
