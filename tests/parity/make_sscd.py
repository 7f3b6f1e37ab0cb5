"""Makes ``data/sscd.npz``: descriptors of the original SSCD for seeded weights and pictures.

    git -C <clone of facebookresearch/sscd-copy-detection> archive 9590266 sscd | tar x -C /tmp/sscd
    .venv/bin/python tests/parity/make_sscd.py /tmp/sscd

The original's `Model` is run as it is. What it asks of torchvision, a ResNet-50 with ``avgpool`` and ``fc``, is
made of transformers' ResNet; classy_vision is imported there, but not used by this backbone.
Weights and pictures come from NumPy's generator alone, so that the test makes the same ones without the original.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import numpy as np
import torch
from torch import nn

DATA = Path(__file__).parent / "data" / "sscd.npz"
SHAPES = ((96, 171), (171, 96), (64, 64))  # of the pictures
STUBS = (
    *("torchvision", "torchvision.models", "torchvision.models.resnet"),
    *("classy_vision", "classy_vision.models", "classy_vision.generic", "classy_vision.generic.registry_utils"),
)


def seeded(shapes: Mapping[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    """Weights that keep activations near one, by torchvision's names."""
    found = {}
    for name, shape in shapes.items():
        size = tuple(shape)
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros((), dtype=torch.long)
            continue
        values = np.random.default_rng(crc32(name.encode())).standard_normal(size, dtype=np.float32)
        if name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif len(size) == 1:
            values = 0.05 * values + (0.7 if name.endswith("weight") else 0.0)  # little bias: the pictures decide
        else:
            values *= np.float32((2 / np.prod(size[1:])) ** 0.5)
        found[name] = torch.from_numpy(values.astype(np.float32))
    return found


def seeded_pictures(height: int, width: int) -> torch.Tensor:
    """Normalised pictures (2, 3, H, W) of coloured blocks."""
    rng = np.random.default_rng(crc32(f"{height}x{width}".encode()))
    blocks = rng.standard_normal((2, 3, height // 24 + 1, width // 24 + 1), dtype=np.float32)
    whole = blocks.repeat(24, axis=2).repeat(24, axis=3)
    return torch.from_numpy(np.ascontiguousarray(whole[:, :, :height, :width]))


class TorchvisionLike(nn.Module):
    """What ``resnet50(num_classes=...)`` gives, around a trunk of transformers."""

    def __init__(self, trunk: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.trunk(x).last_hidden_state).flatten(1))


def published_names(name: str) -> str:
    """A name of the original over `TorchvisionLike` -> in the published file."""
    words = name.removeprefix("backbone.trunk.").split(".")
    kinds = {"convolution": "conv", "normalization": "bn"}
    if words[0] == "embedder":
        words = [f"{kinds[words[2]]}1", words[3]]
    elif words[0] == "encoder":
        block = [f"layer{int(words[2]) + 1}", words[4]]
        if words[5] == "shortcut":
            words = [*block, "downsample", str(list(kinds).index(words[6])), words[7]]
        else:
            words = [*block, f"{kinds[words[7]]}{int(words[6]) + 1}", words[8]]
    else:
        return name  # fc
    return ".".join(["backbone", *words])


def main() -> None:
    """The command."""
    from transformers import ResNetConfig, ResNetModel

    sys.path.insert(0, sys.argv[1])
    sizes = [256, 512, 1024, 2048]
    trunk = ResNetModel(ResNetConfig(layer_type="bottleneck", depths=[3, 4, 6, 3], hidden_sizes=sizes))
    nets = {
        "resnet18": object(),
        "resnet50": lambda num_classes, zero_init_residual: TorchvisionLike(trunk, num_classes),
        "resnext101_32x8d": object(),
    }
    stubs = {name: types.ModuleType(name) for name in STUBS}
    vars(stubs["torchvision.models.resnet"]).update(nets)
    stubs["classy_vision.models"].build_model = None  # type: ignore[attr-defined]
    stubs["classy_vision.generic.registry_utils"].import_all_modules = lambda *_: None  # type: ignore[attr-defined]
    with patch.dict(sys.modules, stubs):
        from sscd.models.model import Model

        model = Model("TV_RESNET50", 512, 3.0).eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    weights = seeded({published_names(name): shape for name, shape in shapes.items()})
    model.load_state_dict({name: weights[published_names(name)] for name in shapes})
    with torch.inference_mode():
        found = {f"{h}x{w}": model(seeded_pictures(h, w)).numpy() for h, w in SHAPES}
    np.savez_compressed(DATA, **found)


if __name__ == "__main__":
    main()
