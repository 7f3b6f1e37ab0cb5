"""RMAC of a ResNet-34: frames described for alignment and event retrieval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights

__all__ = ["OWN_PCA", "ROWS", "rmac_with_pca"]

OWN_PCA = "pca.npz"
"""What the file of a whitening of one's own is called."""

_NET = "model.safetensors"
_PUBLISHED_PCA = "yfcc100m_resnet34_29_pca.zip"

_PLAIN = EncoderSpec(
    name="rmac-resnet34-plain",
    family="rmac",
    factory="reelspace.encoders.models.rmac:rmac",
    clip=ClipSpec(frames=1, spacing_seconds=1 / 15),
    preprocessing=Preprocessing(resize="area", size=12_000),
    outputs={"frames": 512},
    maps=("regions",),
    weights=Weights(
        # The weights LAMV used: torchvision's, not those timm's or microsoft's resnet-34 are.
        files=(WeightFile(_NET),),
        repo="timm/resnet34.tv_in1k",
        revision="c983eba7f5e69bc3548a626d1b0b0b914e5de3a6",
        licence="BSD-3-Clause",
        commercial=True,
        trained_on="ImageNet-1k",
    ),
    options={"weights": _NET, "level": 29, "levels": 3},
    paper="Tolias et al. 2016, arXiv:1511.05879; Baraldi et al. 2018 (LAMV)",
    remark="Not whitened, so all pictures look rather alike; `reelspace train pca` learns a whitening from"
    " one's own videos.",
)

ROWS = (
    replace(
        _PLAIN,
        name="rmac-resnet34",
        weights=replace(
            _PLAIN.weights,
            files=(
                WeightFile(_NET),
                WeightFile(_PUBLISHED_PCA, url=f"http://dl.fbaipublicfiles.com/videoalignment/{_PUBLISHED_PCA}"),
            ),
            licence="BSD-3-Clause (net), CC-BY-NC-4.0 (PCA, the licence of its repository)",
            commercial=False,
            trained_on="ImageNet-1k; PCA: YFCC100M",
        ),
        options={**_PLAIN.options, "pca": _PUBLISHED_PCA},
        remark="As facebookresearch/videoalignment at level 29, without the JPEG files in between.",
    ),
    _PLAIN,
)


def rmac_with_pca(folder: Path, *, name: str, plain: EncoderSpec = _PLAIN, dimensions: int = 512) -> EncoderSpec:
    """A row of one's own, for `register`: a net and a whitening of one's own.

    Args:
        folder: what `reelspace.training.pca` wrote: the net's file and ``pca.npz``.
        name: of the row.
        plain: the row the whitening was trained on.
        dimensions: how many the whitening keeps.
    """
    weights = replace(
        plain.weights,
        files=(*(WeightFile(file.name) for file in plain.weights.files), WeightFile(OWN_PCA)),
        repo=None,
        revision=None,
        folder=str(folder.absolute()),
        trained_on="ImageNet-1k; PCA: one's own videos",
    )
    return replace(
        plain,
        name=name,
        outputs={"frames": dimensions},
        weights=weights,
        options={**plain.options, "pca": OWN_PCA},
        remark="Whitened on one's own videos.",
    )
