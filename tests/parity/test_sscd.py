"""SSCD against facebookresearch/sscd-copy-detection@9590266 at full size, seeded weights; see make_sscd.py."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reelspace.encoders.models.sscd import Sscd
from reelspace.encoders.resnet import fold_batch_norms
from reelspace.encoders.tensors import load_strictly

HERE = Path(__file__).parent
made = SimpleNamespace(**run_path(str(HERE / "make_sscd.py")))


@pytest.fixture(scope="module", name="ours")
def _ours() -> Sscd:
    with torch.device("meta"):
        network = Sscd()
    load_strictly(
        network, made.seeded({name: value.shape for name, value in network.state_dict().items()}), where=""
    )
    return network.eval()


def test_descriptors_are_the_original_s(ours: Sscd) -> None:
    with np.load(made.DATA) as theirs, torch.inference_mode():
        assert sorted(theirs) == sorted(f"{height}x{width}" for height, width in made.SHAPES)
        for folded in (False, True):
            if folded:
                fold_batch_norms(ours)
            for height, width in made.SHAPES:
                found = ours(made.seeded_pictures(height, width)[:, None], ("frames",))["frames"]
                np.testing.assert_allclose(found.numpy(), theirs[f"{height}x{width}"], atol=1e-5)
