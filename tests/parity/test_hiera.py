"""Hiera and its masked autoencoder against facebookresearch/hiera@b12b842, seeded weights; see make_hiera.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reelspace.encoders.catalog.hiera import ROWS
from reelspace.encoders.hiera_blocks import Trunk, from_units, trunk_options
from reelspace.encoders.models.hiera import Hiera
from reelspace.encoders.models.hiera_mae import MaskedHiera

HERE = Path(__file__).parent
made = SimpleNamespace(**run_path(str(HERE / "make_hiera.py")))
TINY = {"frames": 6, "side": 64, "embed_dim": 8, "heads": 1, "stages": (1, 2, 3, 2)}
TINY_DECODER = {"decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 4}
Network = TypeVar("Network", bound=nn.Module)
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module", name="theirs")
def fixture_theirs() -> Mapping[str, np.ndarray]:
    with np.load(HERE / "data" / "hiera.npz") as data:
        return dict(data)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def seeded(network: Network) -> Network:
    made.with_seeded_weights(network)
    return network


def by_unit(stage: Tensor) -> Tensor:
    """(B, U, N, C) -> (B, U, rows, columns, C): how the original gives what it sees of a masked clip."""
    return from_units(stage, (stage.shape[1], 1, 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_names_and_shapes_of_every_variant_are_the_original_s(row) -> None:
    published = row.name.removesuffix("-mae").replace("-", "_")
    theirs = json.loads((HERE / "data" / "hiera_tensors.json").read_text())[published]
    with torch.device("meta"):
        if row.name.startswith("mae-"):
            decoder = {name: row.options[name] for name in TINY_DECODER}
            network: Trunk = MaskedHiera(**decoder, **trunk_options(row))
        else:  # the hub's mae_k400 files hold the classifier's tensors too
            network = Hiera(classes=400, **trunk_options(row))
    assert made.table({name: value.shape for name, value in network.state_dict().items()}) == theirs


def test_each_stage_and_the_logits_are_the_original_s(theirs) -> None:
    network = seeded(Hiera(classes=5, **TINY))
    maps = ("stage1", "stage2", "stage3", "stage4")
    found = network(made.seeded_clips(2, 6, 64, 64), (*maps, "logits"))
    assert [found[name].shape for name in maps] == [
        (2, 3, 16, 16, 8), (2, 3, 8, 8, 16), (2, 3, 4, 4, 32), (2, 3, 2, 2, 64)
    ]  # fmt: skip
    for name, value in found.items():
        np.testing.assert_allclose(made.sampled(value), theirs[f"tiny.{name}"], **CLOSE)


def test_each_stage_of_the_visible_units_is_the_original_s(theirs) -> None:
    hidden = made.hidden_units(2, 12, 0.75)
    stages = seeded(Hiera(classes=5, **TINY)).stages(made.seeded_clips(2, 6, 64, 64), ~hidden)
    for i, stage in enumerate(stages, 1):
        np.testing.assert_allclose(made.sampled(by_unit(stage)), theirs[f"tiny.masked.stage{i}"], **CLOSE)


def test_the_trunk_of_the_masked_autoencoder_is_the_original_s(theirs) -> None:
    stages = seeded(MaskedHiera(**TINY_DECODER, **TINY)).stages(made.seeded_clips(2, 6, 64, 64))
    for i, stage in enumerate(stages, 1):
        np.testing.assert_allclose(made.sampled(by_unit(stage)), theirs[f"mae.stage{i}"], **CLOSE)


def test_prediction_target_and_loss_of_the_masked_autoencoder_are_the_original_s(theirs) -> None:
    network = seeded(MaskedHiera(**TINY_DECODER, **TINY))
    clips, hidden = made.seeded_clips(2, 6, 64, 64), made.hidden_units(2, 12, 0.75)
    patches = hidden.view(2, 3, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    predicted = network.predict(clips, hidden)[patches]
    labels = network.targets(clips).pixels[patches]
    np.testing.assert_allclose(made.sampled(predicted), theirs["mae.predicted"], **CLOSE)
    np.testing.assert_allclose(made.sampled(labels), theirs["mae.labels"], **CLOSE)
    _, _, loss = network.reconstruct(clips, mask=hidden, mask_ratio=None, generator=torch.Generator())
    np.testing.assert_allclose(loss.mean(), theirs["mae.loss"][0], **CLOSE)


def test_the_base_model_gives_the_original_s_stages_and_logits(theirs) -> None:  # about 3 s
    row = ROWS[0]
    with torch.device("meta"):
        network = Hiera(classes=400, **trunk_options(row))
    network.load_state_dict(
        made.seeded({name: value.shape for name, value in network.state_dict().items()}), assign=True
    )
    found = network.eval()(made.seeded_clips(1, 16, 224, 224), ("terminal", "hierarchical", "logits"))
    means = np.concatenate([theirs[f"base.stage{i}.mean"] for i in range(1, 5)])
    np.testing.assert_allclose(found["hierarchical"][0], means, **CLOSE)
    np.testing.assert_allclose(found["terminal"][0], theirs["base.stage4.mean"], **CLOSE)
    np.testing.assert_allclose(found["logits"][0], theirs["base.logits"], **CLOSE)
