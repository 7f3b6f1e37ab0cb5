"""The sixteen silent faults of the field (../shared/facts/models.md, section 0), and which tests catch each.

`CAUGHT_BY` names them; that they are there is tested here, and what they miss is tested below: the same faults by
another door, ``hf:ORG/NAME``.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import VivitForVideoClassification

from reelspace.encoders.hub_rows import row_from_config
from reelspace.encoders.load import load_encoder
from reelspace.errors import InvalidArgument

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import MAKERS

HERE = Path(__file__).parent
_VIVIT, _VJEPA2 = "encoders/models/test_vivit.py", "encoders/models/test_vjepa2.py"
_TIMESFORMER, _HIERA = "encoders/models/test_timesformer.py", "encoders/models/test_hiera.py"
_TEXT, _RMAC = "encoders/models/test_text_towers.py", "encoders/models/test_rmac.py"
_LOADED = "encoders/test_pretrained.py"

# number: (the fault, {file: tests})
CAUGHT_BY: Mapping[int, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    1: (
        "transformers 5.10 to 5.17 load VideoMAE with the biases of query and value at zero",
        {
            _LOADED: (
                "test_the_biases_of_query_and_value_are_those_of_the_file",
                "test_a_transformers_that_does_not_know_the_biases_is_refused_by_what_it_leaves_out",
                "test_transformers_before_5_18_is_refused_with_what_to_run",
            )
        },
    ),
    2: (
        "ViViT's processor on the hub gives -3..1 instead of -1..1, and 224 instead of 256",
        {
            _VIVIT: (
                "test_logits_are_those_of_transformers_on_pixels_of_minus_one_to_one",
                "test_the_rows_read_black_as_minus_one_white_as_one_and_cut_224_of_256",
            )
        },
    ),
    3: (
        "the same file misspells its class, so that AutoImageProcessor raises",
        {_VIVIT: ("test_the_processor_config_of_the_hub_is_not_read",)},
    ),
    4: (
        "VivitModel makes up a pooler that no checkpoint has",
        {_VIVIT: ("test_nothing_comes_from_a_pooler_that_no_checkpoint_has",)},
    ),
    5: (
        "ViViT's interpolation of positions is broken",
        {_VIVIT: ("test_other_sizes_are_refused_instead_of_interpolating_positions",)},
    ),
    6: (
        "TimeSformer takes other numbers of frames and mixes up its tokens",
        {_TIMESFORMER: ("test_other_frame_counts_and_sizes_are_refused",)},
    ),
    7: (
        "V-JEPA 2 takes other sizes with wrong positions, and drops an odd last frame",
        {
            _VJEPA2: (
                "test_sizes_the_positions_were_not_made_for_are_refused",
                "test_other_frame_counts_work_in_whole_groups_only",
            )
        },
    ),
    8: (
        "X-CLIP of 336 pixels is given 224 by its processor",
        {
            _TEXT: (
                "test_the_336_pixel_xclip_is_fed_336_pixels",
                "test_a_row_of_another_size_than_its_checkpoint_is_refused",
            ),
            "test_pitfalls.py": ("test_another_checkpoint_of_a_family_is_read_as_it_was_trained",),
        },
    ),
    9: (
        "mean and deviation of the processors' classes are not those of the checkpoints",
        {
            _TIMESFORMER: (
                "test_logits_are_those_of_transformers_on_the_checkpoints_own_mean_and_deviation",
                "test_rows_have_the_original_s_frames_strides_and_normalisation",
            ),
            "encoders/models/test_videomae.py": (
                "test_rows_read_what_the_hub_s_processors_say_and_warn_of_raw_features",
            ),
            "test_pitfalls.py": ("test_another_checkpoint_of_a_family_is_read_as_it_was_trained",),
        },
    ),
    10: (
        "since transformers 5 get_*_features give an object instead of the projected vector",
        {
            _TEXT: (
                "test_vectors_are_those_of_the_models_own_forward",
                "test_both_towers_give_rows_of_unit_length_in_one_space",
            )
        },
    ),
    11: (
        "VideoPrism's video vectors are (B, 1, D), its text vectors (B, D)",
        {_TEXT: ("test_both_towers_give_rows_of_unit_length_in_one_space",)},
    ),
    12: (
        "Hiera's notebook normalises blue by .255; the FiftyOne plugin does not normalise at all",
        {
            _HIERA: (
                "test_no_blue_deviation_of_255_slips_in",
                "test_the_network_sees_pixels_of_0_to_255_normalised",
            )
        },
    ),
    13: (
        "the hub's mae_k400 files of Hiera hold a norm and a classifier that nobody trained",
        {_HIERA: ("test_the_untrained_head_of_a_pre_trained_file_is_never_used",)},
    ),
    14: (
        "microsoft/resnet-34 is not torchvision's ResNet-34",
        {
            _RMAC: (
                "test_rows_take_torchvision_s_weights_and_not_those_of_timm_or_microsoft",
                "test_weights_that_do_not_fit_are_refused_by_name",
            ),
            "test_pitfalls.py": ("test_microsoft_s_resnet_34_is_not_taken_for_rmac_s",),
        },
    ),
    15: (
        "transformers asks the hub, in a thread, to convert repositories that have pickles only",
        {
            _LOADED: ("test_a_pickle_is_loaded_without_a_thread_or_a_request",),
            "test_pitfalls.py": ("test_transformers_is_given_a_folder_and_told_not_to_convert",),
        },
    ),
    16: (
        "from_pretrained takes its dtype from the file where none is given",
        {_LOADED: ("test_half_precision_files_become_float32",)},
    ),
}


@cache
def _tests_in(file: str) -> frozenset[str]:
    tree = ast.parse((HERE / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("number", range(1, 17))
def test_each_fault_has_a_test_that_would_have_caught_it(number: int) -> None:
    _, tests = CAUGHT_BY[number]
    assert tests
    for file, names in tests.items():
        assert set(names) <= _tests_in(file), f"{file} has no such test"


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_SIDES = {
    "image_size": 224,
    "num_frames": 16,
    "hidden_size": 768,
    "patch_size": 16,
    "id2label": {"0": "a", "1": "b"},
}


@pytest.mark.parametrize(
    ("config", "look", "scale", "resize"),
    [
        (
            _SIDES | {"model_type": "videomae", "architectures": ["VideoMAEForVideoClassification"]},
            IMAGENET,
            1 / 255,
            (224, 224),
        ),
        (
            _SIDES | {"model_type": "timesformer", "architectures": ["TimesformerForVideoClassification"]},
            HALVES,
            1 / 255,
            (224, 224),
        ),
        (
            _SIDES | {"model_type": "vivit", "architectures": ["VivitForVideoClassification"]},
            PLAIN,
            1 / 127.5,
            (256, 224),
        ),
        (
            {
                "model_type": "xclip",
                "projection_dim": 768,
                "vision_config": {"image_size": 336, "num_frames": 16, "patch_size": 14},
            },
            IMAGENET,
            1 / 255,
            (336, 336),
        ),
    ],
    ids=["videomae", "timesformer", "vivit", "xclip-336"],
)
def test_another_checkpoint_of_a_family_is_read_as_it_was_trained(config, look, scale, resize) -> None:
    """Faults 2, 8 and 9 for ``hf:ORG/NAME``: the processor that lies beside it is not believed."""
    files = {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"}
    how = row_from_config("acme/own", None, config, files).preprocessing
    assert (how.mean, how.std) == look
    assert how.scale == pytest.approx(scale)
    assert (how.size, how.crop) == resize
    assert how.offset == (-1 if config["model_type"] == "vivit" else 0)


def test_microsoft_s_resnet_34_is_not_taken_for_rmac_s() -> None:
    config = {"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}
    with pytest.raises(InvalidArgument, match="resnet"):
        row_from_config("microsoft/resnet-34", None, config, {"config.json", "model.safetensors"})


def test_transformers_is_given_a_folder_and_told_not_to_convert(tmp_path, monkeypatch) -> None:
    """Fault 15: the thread starts for repositories only, and reads the switch when it does."""
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    seen: list[tuple[bool, str | None]] = []
    load = VivitForVideoClassification.from_pretrained.__func__

    def spy(kind: type, place: Any, **settings: Any) -> Any:
        seen.append((Path(place).is_dir(), os.environ.get("DISABLE_SAFETENSORS_CONVERSION")))
        assert settings["local_files_only"] is True
        return load(kind, place, **settings)

    monkeypatch.setattr(VivitForVideoClassification, "from_pretrained", classmethod(spy))
    load_encoder(MAKERS["vivit-b-16x2-kinetics400"](tmp_path, "vivit-b-16x2-kinetics400"), device="cpu")
    assert seen == [(True, "1")]
