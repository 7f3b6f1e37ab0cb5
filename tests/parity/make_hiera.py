"""Makes data/hiera.npz and data/hiera_tensors.json: what the original Hiera gives for seeded weights.

    git -C <clone of facebookresearch/hiera> archive b12b842 hiera | tar x -C /tmp/hiera
    .venv/bin/python tests/parity/make_hiera.py /tmp/hiera

No weights are stored: `seeded` fills a tensor from a generator seeded by its name, and `seeded_clips` likewise, so
the tests make the same ones without the original. timm, of which the original needs two classes, is replaced by
`Mlp` and `DropPath` below.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"
# Small, but with every kind of block: windows, pooling inside windows, pooling with global attention, two heads.
TINY = {"embed_dim": 8, "num_heads": 1, "stages": (1, 2, 3, 2), "num_classes": 5, "input_size": (6, 64, 64)}
TINY_DECODER = {"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": 4}
SIZES = ("base", "base_plus", "large", "huge")


def seeded(shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """A tensor for each name, of a scale that keeps activations of order one."""
    found = {}
    for name, shape in shapes.items():
        size = tuple(shape)
        values = np.random.default_rng(crc32(name.encode())).standard_normal(size, dtype=np.float32)
        if "norm" in name:
            values = 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("weight"):
            values *= np.float32(np.prod(size[1:])) ** np.float32(-0.5)
        else:
            values *= np.float32(0.2)
        found[name] = torch.from_numpy(values.astype(np.float32))
    return found


def seeded_clips(batch: int, frames: int, rows: int, columns: int) -> Tensor:
    """Normalised clips (B, T, 3, H, W)."""
    rng = np.random.default_rng(crc32(b"clips"))
    return torch.from_numpy(rng.standard_normal((batch, frames, 3, rows, columns), dtype=np.float32))


def hidden_units(batch: int, units: int, share: float) -> Tensor:
    """bool (B, units), True where hidden, as many in each row."""
    order = np.random.default_rng(crc32(b"mask")).random((batch, units)).argsort(axis=1)
    return torch.from_numpy(order < round(share * units))


def sampled(values: Tensor) -> np.ndarray:
    """About 600 values from all over a tensor, or all of a small one."""
    flat = values.float().flatten()
    return flat[:: flat.numel() // 600 | 1].numpy()


def table(shapes: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """The names and shapes of a state dict in little room."""
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    parameters = sum(int(np.prod(tuple(shape))) for shape in shapes.values())
    digest = sha256("\n".join(lines).encode()).hexdigest()
    return {"tensors": len(lines), "parameters": parameters, "sha256": digest}


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int, act_layer: type[nn.Module]) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), act_layer(), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


def original(checkout: Path) -> Any:
    """The package ``hiera`` of a checkout."""
    layers = types.ModuleType("timm.models.layers")
    layers.Mlp, layers.DropPath = _Mlp, nn.Identity
    stubs = {"timm": types.ModuleType("timm"), "timm.models": types.ModuleType("timm.models")}
    sys.modules.update(stubs | {"timm.models.layers": layers})
    sys.path.insert(0, str(checkout))
    import hiera.hiera
    import hiera.hiera_mae

    return hiera


def with_seeded_weights(network: nn.Module) -> nn.Module:
    network.load_state_dict(seeded({name: value.shape for name, value in network.state_dict().items()}))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    hiera = original(parser.parse_args().checkout)
    video = {
        "q_stride": (1, 2, 2),
        "mask_unit_size": (1, 8, 8),
        "patch_kernel": (3, 7, 7),
        "patch_stride": (2, 4, 4),
        "patch_padding": (1, 3, 3),
        "sep_pos_embed": True,
    }
    tables = {}
    # They read numbers from a tensor while they build, which the meta device has not.
    with torch.device("meta"), patch.object(torch, "linspace", partial(torch.linspace, device="cpu")):
        for size in SIZES:
            for kind, module in (("", hiera.hiera), ("mae_", hiera.hiera_mae)):
                name = f"{kind}hiera_{size}_16x224"
                network = getattr(module, name)()
                tables[name] = table({key: value.shape for key, value in network.state_dict().items()})
    (DATA / "hiera_tensors.json").write_text(json.dumps(tables, indent=1) + "\n")

    found: dict[str, np.ndarray] = {}

    def keep(name: str, value: Tensor) -> None:
        found[name] = sampled(value)

    frames, rows, columns = TINY["input_size"]
    with torch.inference_mode():
        clips = seeded_clips(2, frames, rows, columns)
        theirs = clips.transpose(1, 2)  # they read (B, 3, T, H, W)
        network = with_seeded_weights(hiera.hiera.Hiera(**video, **TINY))
        network.head.act_func = nn.Identity()  # logits, not probabilities
        logits, stages = network(theirs, return_intermediates=True)
        keep("tiny.logits", logits)
        for i, stage in enumerate(stages, 1):
            keep(f"tiny.stage{i}", stage)
        hidden = hidden_units(2, 12, 0.75)
        for i, stage in enumerate(network(theirs, ~hidden, return_intermediates=True)[1], 1):
            keep(f"tiny.masked.stage{i}", stage)

        network = with_seeded_weights(
            hiera.hiera_mae.MaskedAutoencoderHiera(**video, **TINY, **TINY_DECODER, q_pool=2)
        )
        for i, stage in enumerate(
            hiera.hiera.Hiera.forward(network, theirs, ~torch.zeros_like(hidden), True)[1], 1
        ):
            keep(f"mae.stage{i}", stage)
        loss, predicted, labels, _ = network(theirs, mask=~hidden)
        keep("mae.loss", loss)
        keep("mae.predicted", predicted)
        keep("mae.labels", labels)

        network = with_seeded_weights(hiera.hiera.hiera_base_16x224())
        network.head.act_func = nn.Identity()
        logits, stages = network(seeded_clips(1, 16, 224, 224).transpose(1, 2), return_intermediates=True)
        keep("base.logits", logits)
        for i, stage in enumerate(stages, 1):
            keep(f"base.stage{i}.mean", stage.mean((1, 2, 3)))
    np.savez_compressed(DATA / "hiera.npz", **found)


if __name__ == "__main__":
    main()
