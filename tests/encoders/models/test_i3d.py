from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from bundle_writer import write_bundle, write_shapes
from tensorflow_names import variables

from reelspace.encoders.catalog.milnce import ROWS
from reelspace.encoders.checkpoint import Checkpoint, import_files
from reelspace.encoders.load import TorchEncoder, load_encoder
from reelspace.encoders.models.i3d import KineticsI3d, MilNceI3d, mil_nce_i3d, variables_of
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights
from reelspace.encoders.tensor_bundle import read_bundle
from reelspace.errors import FormatError, InvalidArgument

_, MIL_NCE, K400, K600 = ROWS
WORDS = ("open", "door", "cut")
DATA = Path(__file__).parents[2] / "parity" / "data" / "milnce_i3d.npz"


def seeded(network: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 1.5)
        elif "running_mean" in name or name.endswith("bn.bias"):
            tensor.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def kinetics() -> KineticsI3d:
    network = seeded(KineticsI3d(400))
    assert isinstance(network, KineticsI3d)
    return network.eval()


@pytest.fixture(scope="module")
def mil_nce() -> MilNceI3d:
    network = seeded(MilNceI3d(len(WORDS) + 1))
    assert isinstance(network, MilNceI3d)
    return network.eval()


@pytest.fixture(scope="module")
def hub_module(tmp_path_factory: pytest.TempPathFactory, mil_nce: MilNceI3d) -> Path:
    """The extracted module of the hub, as far as it is known: variables/."""
    folder = tmp_path_factory.mktemp("module")
    arrays = {name: value.numpy() for name, value in variables(mil_nce, scaled=False, scope="video/i3d/").items()}
    write_bundle(folder / "variables" / "variables", arrays)
    return folder


@pytest.fixture(scope="module")
def loaded(hub_module: Path) -> MilNceI3d:
    """From the module of the hub, without its words."""
    files = {"variables/variables.index": hub_module / "variables" / "variables.index"}
    return mil_nce_i3d(MIL_NCE, Checkpoint(files, "0" * 64)).eval()


def row_of(folder: Path, row: EncoderSpec, *names: str, **changes: Any) -> EncoderSpec:
    files = tuple(WeightFile(name) for name in names)
    return replace(row, weights=Weights(files, folder=str(folder)), **changes)


def small(row: EncoderSpec) -> dict[str, Any]:
    return {
        "clip": replace(row.clip, frames=8),
        "preprocessing": replace(row.preprocessing, resize="cover", size=64, crop=None),
    }


def shapes_of(network: torch.nn.Module, *, scaled: bool = False) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in variables(network, scaled=scaled).items()}


# -- Kinetics --------------------------------------------------------------------------------------------------


def test_names_and_shapes_are_those_of_deepmind_s_index(kinetics: KineticsI3d) -> None:
    """Of data/checkpoints/rgb_imagenet/model.ckpt.index, whose SHA-256 the row carries."""
    lines = sorted(f"{name} {shape}" for name, shape in shapes_of(kinetics).items())
    assert len(lines) == 230
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == str(np.load(DATA)["variables_rgb_imagenet"])
    assert sum(4 * np.prod(shape) for shape in shapes_of(kinetics).values()) == K400.weights.files[1].size_bytes


def test_the_600_classes_were_saved_with_their_optimiser() -> None:
    """Vectors as (1, 1, 1, 1, C), no outer scope, and a slot of momentum beside all that was trained."""
    with torch.device("meta"):
        network = KineticsI3d(600)
    shapes = {}
    for name, value in variables(network, scaled=False, scope="").items():
        shape = tuple(value.shape)
        shapes[name] = (1, 1, 1, 1, *shape) if "batch_norm" in name else shape
        if "moving" not in name:
            shapes[f"{name}/Momentum"] = shapes[name]
    lines = sorted(f"{name} {shape}" for name, shape in shapes.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == str(np.load(DATA)["variables_rgb_scratch_kin600"])
    assert sum(4 * np.prod(shape) for shape in shapes.values()) == K600.weights.files[1].size_bytes


def test_deepmind_s_checkpoint_gives_the_network_back(tmp_path: Path, kinetics: KineticsI3d) -> None:
    arrays = {name: value.numpy() for name, value in variables(kinetics, scaled=False).items()}
    write_bundle(tmp_path / "model.ckpt", arrays)
    names = [file.name for file in K400.weights.files]
    encoder = load_encoder(row_of(tmp_path, K400, *names, **small(K400)), device="cpu")
    clips = np.random.default_rng(0).integers(0, 256, (1, 8, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        pixels = torch.from_numpy(clips).permute(0, 1, 4, 2, 3) / 127.5 - 1
        expected = kinetics(pixels, ("mixed_5c",))["mixed_5c"].numpy()
    np.testing.assert_allclose(encoder.encode(clips)["mixed_5c"], expected, atol=1e-5)
    assert encoder.labels is not None
    assert encoder.labels[0] == "abseiling"
    assert len(encoder.labels) == 400
    with pytest.raises(InvalidArgument, match="at least 9 frames of 193x193"):
        encoder.encode(clips, outputs=("logits",))


def test_leftovers_of_training_are_passed_over(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = KineticsI3d(600)
    shapes = {
        name: (1, 1, 1, 1, *shape) if "batch_norm" in name else shape for name, shape in shapes_of(network).items()
    }
    slots = {f"{name}/Momentum": shape for name, shape in shapes.items()}
    write_shapes(tmp_path / "model.ckpt", {**shapes, **slots, "global_step": ()})
    with pytest.raises(FormatError, match="data-00000-of-00001 is not there"):  # all names found: it goes to read
        variables_of(read_bundle(tmp_path / "model.ckpt"), network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"RGB/inception_i3d/Conv3d_2b_1x1/conv_3d/w": None},
            r"named \.\.\./Conv3d_2b_1x1/conv_3d/w.*there is none",
        ),
        (
            {"RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/batch_norm/beta": (65,)},
            r"batch_norm/beta is \(65,\)",
        ),
        (
            {"Flow/inception_i3d/Mixed_3c/Branch_3/Conv3d_0b_1x1/conv_3d/w": (1, 1, 1, 256, 64)},
            "several fit: .*Flow",
        ),
        (
            {"RGB/inception_i3d/Mixed_6a/conv_3d/w": (1, 1, 1, 8, 8)},
            "1 variables have no place in I3D: RGB.*Mixed_6a",
        ),
        (
            {"RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/gamma": (64,)},
            r"Conv3d_2b_1x1/batch_norm/gamma.*there is none",
        ),
        ({"stray/Momentum": (64,)}, "no place in I3D: stray/Momentum"),
    ],
    ids=["missing", "other shape", "two streams", "unexplained", "half scaled", "momentum of nothing"],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, change: dict[str, tuple[int, ...] | None], message: str
) -> None:
    with torch.device("meta"):
        network = KineticsI3d(400)
    shapes = {name: shape for name, shape in {**shapes_of(network), **change}.items() if shape is not None}
    write_shapes(tmp_path / "model.ckpt", shapes)
    with pytest.raises(FormatError, match=message):
        variables_of(read_bundle(tmp_path / "model.ckpt"), network)


def test_the_slip_in_a_name_may_be_corrected(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = KineticsI3d(400)
    right = {
        name.replace("2/Conv3d_0a_3x3", "2/Conv3d_0b_3x3"): shape for name, shape in shapes_of(network).items()
    }
    write_shapes(tmp_path / "model.ckpt", right)
    with pytest.raises(FormatError, match="data-00000-of-00001 is not there"):
        variables_of(read_bundle(tmp_path / "model.ckpt"), network)


# -- MIL-NCE ---------------------------------------------------------------------------------------------------


def test_the_hub_s_module_gives_the_network_back(hub_module: Path, mil_nce: MilNceI3d) -> None:
    (hub_module / "words.txt").write_text("\n".join(WORDS))
    names = [file.name for file in MIL_NCE.weights.files if file.name != "words.npy"]
    encoder = load_encoder(row_of(hub_module, MIL_NCE, *names, **small(MIL_NCE)), device="cpu")
    assert isinstance(encoder, TorchEncoder)
    clips = np.random.default_rng(0).integers(0, 256, (1, 8, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        pixels = torch.from_numpy(clips).permute(0, 1, 4, 2, 3) / 255
        expected = mil_nce(pixels, ("video_embedding", "mixed_5c"))
        text = mil_nce.text_module(torch.tensor([[3, 2, *[0] * 14]])).numpy()
    found = encoder.encode(clips, outputs=("video_embedding", "mixed_5c"))
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_text(["Cut the door"]), text, atol=1e-5)


def test_the_extracted_module_is_imported_as_a_folder(store: Path, hub_module: Path, tmp_path: Path) -> None:
    checkpoint = import_files(MIL_NCE.weights, [hub_module], name=MIL_NCE.name)
    assert checkpoint.files["variables/variables.index"].is_relative_to(store)
    assert mil_nce_i3d(MIL_NCE, checkpoint).fc.weight.shape == (512, 1024)
    with pytest.raises(InvalidArgument, match="holds none of the files of this checkpoint: variables/"):
        import_files(MIL_NCE.weights, [tmp_path], name=MIL_NCE.name)


def test_half_precision_stays_near(loaded: MilNceI3d) -> None:
    pixels = torch.rand((1, 8, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    half = deepcopy(loaded).bfloat16()
    tokens = torch.tensor([[3, 2, *[0] * 14]])
    with torch.inference_mode():
        for exact, near in (
            (loaded(pixels, ("video_embedding",)), half(pixels.bfloat16(), ("video_embedding",))),
            ({"text": loaded.text_module(tokens)}, {"text": half.text_module(tokens)}),
        ):
            for name, value in exact.items():
                assert near[name].dtype == torch.bfloat16
                assert torch.linalg.norm(near[name] - value) < 0.02 * torch.linalg.norm(value)


def test_without_words_there_is_no_text(loaded: MilNceI3d) -> None:
    with pytest.raises(InvalidArgument, match=r"import it again with the vocabulary.*words\.txt"):
        loaded.encode_text(["cut"])


def test_a_vocabulary_of_another_length_is_refused(tmp_path: Path, hub_module: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(WORDS[:2]))
    files = {
        "variables/variables.index": hub_module / "variables" / "variables.index",
        "words.npy": tmp_path / "words.npy",
    }
    with pytest.raises(FormatError, match="has 2 words, and the table 4 rows"):
        mil_nce_i3d(MIL_NCE, Checkpoint(files, "0" * 64))


def test_a_scale_in_the_batch_norm_decides_its_epsilon(
    tmp_path: Path, loaded: MilNceI3d, mil_nce: MilNceI3d
) -> None:
    state = {name: value.clone() for name, value in mil_nce.state_dict().items()}
    state["Mixed_4b.b0.bn.weight"] += 0.5
    safetensors.torch.save_file(state, tmp_path / "i3d.safetensors")
    scaled = mil_nce_i3d(MIL_NCE, Checkpoint({"i3d.safetensors": tmp_path / "i3d.safetensors"}, "0" * 64))
    assert loaded.Conv3d_1a_7x7.bn.eps == 1e-3
    assert scaled.Conv3d_1a_7x7.bn.eps == 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"other/linear/w": (1024, 512)},
            r"one variable of its shape, \(1024, 512\), and several fit: other/linear/w",
        ),
        ({"video_module/linear/b": None}, r"one variable beside the matrix in video_module/linear, \(512,\)"),
        ({"text/mlp/linear_0/w": None}, r"one variable of its shape, \(300, 2048\), and there is none"),
        ({"tokens": (66_000, 300)}, "the table of words is one variable"),
    ],
    ids=["two matrices", "no bias", "no matrix", "two tables"],
)
def test_linear_layers_are_found_by_shape_or_refused(
    tmp_path: Path, change: dict[str, tuple[int, ...] | None], message: str
) -> None:
    with torch.device("meta"):
        network = MilNceI3d(4)
    shapes = {name: shape for name, shape in {**shapes_of(network), **change}.items() if shape is not None}
    write_shapes(tmp_path / "variables", shapes)
    files = {"variables.index": tmp_path / "variables.index"}
    with pytest.raises(FormatError, match=message):
        mil_nce_i3d(MIL_NCE, Checkpoint(files, "0" * 64))


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    row = row_of(tmp_path, MIL_NCE, "saved_model.pb")
    with pytest.raises(FormatError, match=r"holds no \.index of TensorFlow"):
        load_encoder(row, device="cpu")
