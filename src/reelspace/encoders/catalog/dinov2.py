"""DINOv2: vectors of single frames, for likeness without words."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]


def _row(name: str, *, dimensions: int, revision: str, sha256: str | None = None) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        family="dinov2",
        factory="reelspace.encoders.models.dinov2:dinov2",
        clip=ClipSpec(frames=1, spacing_seconds=0.5),
        preprocessing=Preprocessing("shortest", 256, crop=224, filter="bicubic"),
        outputs={"frames": dimensions},
        weights=Weights(
            files=(WeightFile("config.json"), WeightFile("model.safetensors", sha256=sha256)),
            repo=f"facebook/{name}",
            revision=revision,
            licence="Apache-2.0",
            commercial=True,
            trained_on="LVD-142M (not public)",
        ),
        paper="Oquab et al. 2023, arXiv:2304.07193",
        remark="what a picture looks like, not what it is called: no text search",
    )


ROWS = (
    _row(
        "dinov2-small",
        dimensions=384,
        revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
        sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
    ),
    _row("dinov2-base", dimensions=768, revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415"),
    _row(
        "dinov2-large",
        dimensions=1024,
        revision="47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
        sha256="399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
    ),
)
