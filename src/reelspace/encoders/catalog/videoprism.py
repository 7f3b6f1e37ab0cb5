"""VideoPrism LVT: clips and texts in one space."""

from __future__ import annotations

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["ROWS"]

_WINDOW_SECONDS = 8.0  # the published demo spreads its frames over a whole video of a few seconds


def _row(name: str, *, frames: int, dimensions: int, revision: str, weights: WeightFile, score: str) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        family="videoprism",
        factory="reelspace.encoders.models.videoprism:videoprism",
        clip=ClipSpec(frames, _WINDOW_SECONDS / frames, spread=True),
        preprocessing=Preprocessing("square", 288, filter="bicubic", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        outputs={"pooled": dimensions},
        text_output="pooled",
        weights=Weights(
            files=(WeightFile("config.json"), weights, WeightFile("tokenizer.json")),
            repo=f"google/{name}",
            revision=revision,  # of a pull request: main has weights for JAX only (August 2026)
            licence="Apache-2.0",
            commercial=True,
            trained_on="WebLI, InternVid, VideoCC, WTS-70M",
        ),
        paper="Zhao et al. 2024, arXiv:2402.13217",
        score=score,
        remark="the default for text search; slow and hungry for memory: its last layers attend over every patch "
        "of every frame, without a fused kernel",
    )


ROWS = (
    _row(
        "videoprism-lvt-base-f16r288",
        frames=16,
        dimensions=768,
        revision="fb6de9f0eb7bc285be86bdca1cf7daa3e3ef51ff",
        weights=WeightFile(
            "model.safetensors", sha256="7d64ac2364d3473c0dd9fde35fb09e3cfb3b43153c3e9af79d7e49f1c8387cf5"
        ),
        score="MSR-VTT text to video R@1 50.1, K400 zero-shot top-1 69.2",
    ),
    _row(
        "videoprism-lvt-large-f8r288",
        frames=8,
        dimensions=1024,
        revision="03900b4ecc0b278b30abdc5953c575bb5f083865",
        weights=WeightFile("model.safetensors"),
        score="MSR-VTT text to video R@1 50.1 (51.5 by mteb)",
    ),
)
