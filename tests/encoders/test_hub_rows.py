"""Rows of checkpoints that the catalog does not list, from their config."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from reelspace.encoders.catalog import catalog
from reelspace.encoders.hub_rows import FAMILIES, row_from_config
from reelspace.errors import CheckpointError, InvalidArgument

_FILES = ("config.json", "model.safetensors", "pytorch_model.bin", "README.md")
_VIDEOMAE: dict[str, Any] = {
    "model_type": "videomae",
    "architectures": ["VideoMAEForVideoClassification"],
    "id2label": {"0": "a", "1": "b", "2": "c"},
    "hidden_size": 384,
    "num_frames": 16,
    "image_size": 224,
}


def test_a_fine_tune_gets_its_sizes_its_classes_and_its_family_s_look() -> None:
    row = row_from_config("someone/falls", "0" * 40, _VIDEOMAE, _FILES)
    assert row.name == "hf:someone/falls"
    assert dict(row.outputs) == {"pooled": 384, "logits": 3}
    assert row.labels == "config"
    assert (row.weights.repo, row.weights.revision) == ("someone/falls", "0" * 40)
    assert [file.name for file in row.weights.files] == ["config.json", "model.safetensors"]
    assert (row.weights.licence, row.weights.commercial, row.score) == ("not stated", None, "")
    assert row.preprocessing.mean == (0.485, 0.456, 0.406)
    assert "config" in row.remark


def test_a_pretrained_videomae_has_no_logits_and_a_bare_one_is_refused() -> None:
    row = row_from_config("a/b", None, _VIDEOMAE | {"architectures": ["VideoMAEForPreTraining"]}, _FILES)
    assert dict(row.outputs) == {"pooled": 384}
    assert row.labels is None
    with pytest.raises(InvalidArgument, match="VideoMAEForPreTraining or VideoMAEForVideoClassification"):
        row_from_config("a/b", None, _VIDEOMAE | {"architectures": ["VideoMAEModel"]}, _FILES)


def test_the_safest_form_of_the_weights_is_chosen() -> None:
    def chosen(*names: str) -> list[str]:
        row = row_from_config("a/b", None, _VIDEOMAE, ("config.json", *names))
        return [file.name for file in row.weights.files[1:]]

    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert chosen(*parts, "pytorch_model.bin", "training_args.bin") == parts
    assert chosen("pytorch_model.bin", "optimizer.pt") == ["pytorch_model.bin"]
    with pytest.raises(CheckpointError, match=r"a/b has no model\.safetensors"):
        chosen("tf_model.h5")
    with pytest.raises(CheckpointError, match=r"a/b has no config\.json"):
        row_from_config("a/b", None, _VIDEOMAE, ("model.safetensors",))


def test_every_family_s_own_checkpoints_come_out_as_the_catalog_has_them() -> None:
    cases: dict[str, dict[str, Any]] = {
        "vivit-b-16x2-kinetics400": {"model_type": "vivit", "num_frames": 32, "image_size": 224, "num_labels": 400},
        "timesformer-hr-finetuned-k600": {
            "model_type": "timesformer",
            "num_frames": 16,
            "image_size": 448,
            "num_labels": 600,
        },
        "vjepa2-vitg-fpc64-384": {
            "model_type": "vjepa2",
            "frames_per_clip": 64,
            "crop_size": 384,
            "hidden_size": 1408,
        },
        "videomae-large-finetuned-kinetics": {"model_type": "videomae", "hidden_size": 1024, "num_labels": 400},
    }
    for name, config in cases.items():
        listed = catalog()[name]
        kind = ["XForVideoClassification"] if "logits" in listed.outputs else ["XModel"]
        made = row_from_config("a/b", None, {"architectures": kind, "hidden_size": 768} | config, _FILES)
        assert made.outputs == listed.outputs
        assert made.preprocessing == listed.preprocessing
        assert made.maps == listed.maps
        assert made.factory == listed.factory
        assert made.clip.frames == listed.clip.frames
        assert made.clip.spacing_seconds == pytest.approx(listed.clip.spacing_seconds)


def test_an_unknown_family_is_refused_naming_those_we_run() -> None:
    with pytest.raises(
        InvalidArgument, match=r"family 'bert'; those we run: .*timesformer.*videomae.*vivit.*vjepa2"
    ):
        row_from_config("a/b", None, {"model_type": "bert"}, _FILES)
    assert {"videomae", "vivit", "timesformer", "vjepa2"} <= set(FAMILIES)


def test_filling_a_row_loads_no_torch() -> None:
    code = (
        "import sys, reelspace.encoders.hub_rows; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
