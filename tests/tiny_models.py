"""A tiny checkpoint of every family of the catalog, seeded, in the layout its authors published, and rows for them.

`tiny_checkpoints` writes all, with a TOML file for ``$REELSPACE_MODELS``: rows as a user writes them, each ``like``
the row of the catalog whose files it imitates. Classes are as many as in the catalog, so that their names are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    GemmaTokenizer,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    T5Tokenizer,
    VideoPrismClipModel,
    VideoPrismConfig,
    VideoPrismTokenizer,
    XCLIPConfig,
    XCLIPModel,
)

from reelspace.encoders.catalog import find
from reelspace.encoders.models.hiera import Hiera
from reelspace.encoders.models.hiera_mae import MaskedHiera
from reelspace.encoders.models.i3d import I3d, KineticsI3d, MilNceI3d
from reelspace.encoders.models.s3d import S3d
from reelspace.encoders.models.sscd import Sscd
from reelspace.encoders.resnet import BasicBlock, ResNet
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights

sys.path.insert(0, str(Path(__file__).parent / "encoders"))

import published  # from beside the tests of encoders
from bundle_writer import write_bundle
from tensorflow_names import variables

HERE = Path(__file__).parent
of_hiera = SimpleNamespace(**run_path(str(HERE / "parity" / "make_hiera.py")))
of_milnce = SimpleNamespace(**run_path(str(HERE / "parity" / "make_milnce.py")))

# ── texts and pictures ──

LENGTH = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz.,!"
TEXT = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": LENGTH,
}
VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURES = VISION | {"image_size": 32, "patch_size": 8}
OVER_TIME = {
    "mit_hidden_size": 16,
    "mit_intermediate_size": 32,
    "mit_num_hidden_layers": 1,
    "mit_num_attention_heads": 2,
    "num_frames": 4,
}


def clip_tokenizer(folder: Path) -> int:
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)
    return len(pieces)


def siglip_tokenizer(folder: Path) -> int:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    T5Tokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0).save_pretrained(folder)
    return len(pieces)


def siglip2_tokenizer(folder: Path) -> int:
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS, *LETTERS.upper()[:26]]
    GemmaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)
    return len(pieces) + 300


def videoprism_tokenizer(folder: Path) -> int:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS, *LETTERS.upper()[:26]]
    vocab = [(piece, -float(i)) for i, piece in enumerate(pieces)]
    VideoPrismTokenizer(vocab=vocab, extra_ids=0).save_pretrained(folder)
    return len(pieces)


def _clip(words: int) -> CLIPModel:
    text = TEXT | {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=20))


def _siglip(words: int) -> SiglipModel:
    text = TEXT | {"vocab_size": words, "bos_token_id": None, "eos_token_id": 1}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=PICTURES))


def _xclip(words: int) -> XCLIPModel:
    text = TEXT | {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": 1}
    config = XCLIPConfig(
        text_config=text,
        vision_config=PICTURES | OVER_TIME,
        projection_dim=16,
        prompt_num_attention_heads=2,
        prompt_layers=1,
    )
    return XCLIPModel(config)


def _videoprism(words: int) -> VideoPrismClipModel:
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
        "image_size": 36,
        "num_frames": 4,
    }
    return VideoPrismClipModel(VideoPrismConfig(text_config=TEXT | {"vocab_size": words}, vision_config=vision))


@dataclass(frozen=True)
class Towers:
    """How a model of pictures or clips and texts is made tiny."""

    row: str
    tokenizer: Callable[[Path], int]
    model: Callable[[int], PreTrainedModel]
    dimensions: int
    frames: int
    size: int


TOWERS = {
    "clip": Towers("clip-vit-base-patch32", clip_tokenizer, _clip, 20, 1, 32),
    "siglip": Towers("siglip2-base-patch16-224", siglip_tokenizer, _siglip, 24, 1, 32),
    "siglip2": Towers("siglip2-base-patch16-224", siglip2_tokenizer, _siglip, 24, 1, 32),
    "xclip": Towers("xclip-base-patch32", clip_tokenizer, _xclip, 16, 4, 32),
    "videoprism": Towers("videoprism-lvt-base-f16r288", videoprism_tokenizer, _videoprism, 24, 4, 36),
}


def moved(model: PreTrainedModel) -> PreTrainedModel:
    """No tensor at zero or one, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def towers(name: str, folder: Path) -> tuple[EncoderSpec, PreTrainedModel]:
    """A model of `TOWERS`, saved, and its row."""
    family = TOWERS[name]
    torch.manual_seed(0)
    model = moved(family.model(family.tokenizer(folder)))
    model.save_pretrained(folder)
    full = find(family.row)
    files = tuple(WeightFile(file) for file in ("config.json", "model.safetensors", "tokenizer.json"))
    how = full.preprocessing
    row = replace(
        full,
        name=f"tiny-{name}",
        clip=replace(full.clip, frames=family.frames),
        preprocessing=replace(how, size=family.size, crop=how.crop and family.size),
        outputs=dict.fromkeys(full.outputs, family.dimensions),
        options=full.options if name != "siglip" else {"kind": "siglip"},
        weights=Weights(files=files, folder=str(folder)),
    )
    return row, model


def dinov2() -> Dinov2Model:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
        layerscale_value=0.5,
    )
    made: Dinov2Model = moved(Dinov2Model(config))
    return made


def dinov2_row(folder: Path, model: Dinov2Model) -> EncoderSpec:
    """The model, saved, and its row."""
    model.save_pretrained(folder)
    full = find("dinov2-base")
    return replace(
        full,
        name="tiny-dinov2",
        preprocessing=replace(full.preprocessing, size=48, crop=42),
        outputs={"frames": 24},
        weights=Weights((WeightFile("config.json"), WeightFile("model.safetensors")), folder=str(folder)),
    )


# ── pictures alone ──

RMAC_WIDTH = 8
RMAC_CHANNELS = RMAC_WIDTH * 8


def resnet34(width: int = RMAC_WIDTH) -> ResNet:
    torch.manual_seed(0)
    return ResNet(BasicBlock, (3, 4, 6, 3), width=width).eval()


def rmac_row(folder: Path) -> EncoderSpec:
    """``rmac-resnet34-plain`` with an eighth of the channels and seeded weights in the published layout."""
    save_file(resnet34().state_dict(), folder / "model.safetensors")
    row = find("rmac-resnet34-plain")
    return replace(
        row,
        outputs={"frames": RMAC_CHANNELS},
        weights=Weights((WeightFile("model.safetensors"),), folder=str(folder)),
        options={**row.options, "width": RMAC_WIDTH},
    )


def sscd_row(folder: Path) -> EncoderSpec:
    """``sscd-disc-mixup`` with one narrow block per stage, seeded, in the published layout."""
    torch.manual_seed(0)
    tensors = Sscd(depths=(1, 1, 1, 1), width=8).state_dict()
    full = find("sscd-disc-mixup")
    (file,) = full.weights.files
    torch.save(tensors, folder / file.name)
    weights = Weights((replace(file, url=None),), folder=str(folder))
    return replace(full, weights=weights, options={"depths": [1, 1, 1, 1], "width": 8})


# ── Hiera ──

HIERA_TRUNK = {"embed_dim": 8, "heads": 1, "stages": [1, 2, 3, 2]}
HIERA_DECODER = {"decoder_dim": 16, "decoder_heads": 4, "decoder_depth": 2}


def hiera_row(row: EncoderSpec, folder: Path, file: str, *, classes: int = 5) -> EncoderSpec:
    outputs = {"terminal": 64, "hierarchical": 120} | ({"logits": classes} if "logits" in row.outputs else {})
    return replace(
        row,
        clip=replace(row.clip, frames=6),
        preprocessing=replace(row.preprocessing, crop=64),
        outputs=outputs,
        options=HIERA_TRUNK | (HIERA_DECODER if "decoder_dim" in row.options else {}),
        weights=Weights((WeightFile(file),), folder=str(folder)),
    )


def hiera_tensors(kind: type, *, classes: int = 5) -> dict[str, torch.Tensor]:
    """As published: ``Hiera`` with its head, or ``MaskedHiera`` with its decoder."""
    sizes = {"frames": 6, "side": 64, **HIERA_TRUNK}
    with torch.device("meta"):
        network = Hiera(classes=classes, **sizes) if kind is Hiera else MaskedHiera(**HIERA_DECODER, **sizes)
    found: dict[str, torch.Tensor] = of_hiera.seeded(
        {name: value.shape for name, value in network.state_dict().items()}
    )
    return found


def untrained(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With norm and head as the original initialises them, which is what the hub's mae_k400 files hold."""
    initial = {"norm.weight": torch.ones(64), "norm.bias": torch.full((64,), 0.02)}
    head = torch.full_like(tensors["head.projection.bias"], 2e-5)
    return {**tensors, **initial, "head.projection.bias": head}


# ── transformers' video models, from names and shapes written down by hand ──


def _hiera(folder: Path, like: str) -> EncoderSpec:
    tensors = hiera_tensors(Hiera, classes=400)
    save_file(tensors if like == "hiera-base-16x224" else untrained(tensors), folder / "model.safetensors")
    return hiera_row(find(like), folder, "model.safetensors", classes=400)


def _mae_hiera(folder: Path, like: str) -> EncoderSpec:
    file = "mae_hiera_base_16x224.pth"
    torch.save({"model_state": hiera_tensors(MaskedHiera)}, folder / file)
    return hiera_row(find(like), folder, file)


def _videomae(folder: Path, like: str) -> EncoderSpec:
    row = find(like)
    classes = row.outputs.get("logits")
    config = published.VIDEOMAE | ({} if classes is None else {"use_mean_pooling": True, "num_labels": classes})
    files = published.save(folder, config, published.seeded(published.videomae(config, classes=classes)))
    return _sized(row, folder, files, pooled=config["hidden_size"])


def _vivit(folder: Path, like: str) -> EncoderSpec:
    config = published.VIVIT | {"num_labels": 400}
    files = published.save(folder, config, published.seeded(published.vivit(config, classes=400)), pickled=True)
    return _sized(find(like), folder, files, cls=config["hidden_size"])


def _timesformer(folder: Path, like: str) -> EncoderSpec:
    row = find(like)
    config = published.TIMESFORMER | {"num_labels": row.outputs["logits"]}
    tensors = published.seeded(published.timesformer(config, classes=row.outputs["logits"]))
    files = published.save(folder, config, tensors, pickled=True)
    return _sized(row, folder, files, cls=config["hidden_size"])


def _vjepa2(folder: Path, like: str) -> EncoderSpec:
    row = find(like)
    classes = row.outputs.get("logits")
    names = {str(index): f"dive {index}" for index in range(classes or 2)}
    config = published.VJEPA2 | {"id2label": names}
    files = published.save(folder, config, published.seeded(published.vjepa2(config, classes=classes)))
    return _sized(row, folder, files, pooled=config["hidden_size"])


def _sized(row: EncoderSpec, folder: Path, files: tuple[WeightFile, ...], **outputs: int) -> EncoderSpec:
    classes = {"logits": row.outputs["logits"]} if "logits" in row.outputs else {}
    return published.tiny(row, folder, files, side=32, outputs=outputs | classes)


# ── MIL-NCE and the I3D of Kinetics, whose widths are fixed: small clips ──

WORDS = ("open", "door", "cut", "a", "dog")


def _s3d(folder: Path, like: str) -> EncoderSpec:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in S3d(WORDS).state_dict().items()}
    values = of_milnce.seeded(shapes, scale=1.25)
    tensors = {name: torch.from_numpy(value) for name, value in values.items()}
    torch.save(tensors, folder / "s3d_howto100m.pth", _use_new_zipfile_serialization=False)
    np.save(folder / "s3d_dict.npy", np.array(WORDS))
    return _milnce(folder, like, "s3d_howto100m.pth", "s3d_dict.npy")


def _milnce_i3d(folder: Path, like: str) -> EncoderSpec:
    with torch.device("meta"):
        network = MilNceI3d(len(WORDS) + 1)
    write_bundle(folder / "variables" / "variables", _variables(network, scope="video/i3d/"))
    (folder / "words.txt").write_text("\n".join(WORDS))
    return _milnce(folder, like, *(f.name for f in find(like).weights.files if f.name != "words.npy"))


def _milnce(folder: Path, like: str, *files: str) -> EncoderSpec:
    row = find(like)
    return replace(
        row,
        clip=replace(row.clip, frames=8, clips=2),
        preprocessing=replace(row.preprocessing, size=64),
        weights=Weights(tuple(map(WeightFile, files)), folder=str(folder)),
    )


def _kinetics_i3d(folder: Path, like: str) -> EncoderSpec:
    row = find(like)
    with torch.device("meta"):
        network = KineticsI3d(row.outputs["logits"])
    write_bundle(folder / "model.ckpt", _variables(network))
    return replace(
        row,
        # its classifier wants 9 frames of 193 x 193
        clip=replace(row.clip, frames=10, spacing_seconds=0.3),
        preprocessing=replace(row.preprocessing, size=193, crop=193),
        weights=Weights(tuple(WeightFile(file.name) for file in row.weights.files), folder=str(folder)),
    )


def _variables(network: I3d, **how: str) -> dict[str, np.ndarray]:
    """As TensorFlow has them."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    values = {name: torch.from_numpy(value) for name, value in of_milnce.seeded(shapes).items()}
    network.load_state_dict(values, assign=True)
    return {name: value.numpy() for name, value in variables(network, scaled=False, **how).items()}


# ── all of them ──


def _dinov2(folder: Path, like: str) -> EncoderSpec:
    return dinov2_row(folder, dinov2())


def _clip_pickled(folder: Path, like: str) -> EncoderSpec:
    """OpenAI's repository of this size has no safetensors on ``main``."""
    row, model = towers("clip", folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    files = tuple(WeightFile(file.name) for file in find(like).weights.files)
    return replace(row, weights=replace(row.weights, files=files))


def _of_towers(name: str) -> Callable[[Path, str], EncoderSpec]:
    return lambda folder, like: towers(name, folder)[0]


MAKERS: Mapping[str, Callable[[Path, str], EncoderSpec]] = {
    "hiera-base-16x224": _hiera,
    "hiera-base-16x224-mae": _hiera,
    "mae-hiera-base-16x224": _mae_hiera,
    "videomae-base": _videomae,
    "videomae-base-finetuned-kinetics": _videomae,
    "videomae-base-finetuned-ssv2": _videomae,
    "vivit-b-16x2-kinetics400": _vivit,
    "timesformer-base-finetuned-k400": _timesformer,
    "timesformer-base-finetuned-k600": _timesformer,
    "vjepa2-vitl-fpc64-256": _vjepa2,
    "vjepa2-vitl-fpc32-256-diving48": _vjepa2,
    "s3d-howto100m": _s3d,
    "i3d-howto100m": _milnce_i3d,
    "i3d-kinetics400": _kinetics_i3d,
    "rmac-resnet34-plain": lambda folder, like: rmac_row(folder),
    "sscd-disc-mixup": lambda folder, like: sscd_row(folder),
    "xclip-base-patch32": _of_towers("xclip"),
    "clip-vit-base-patch32": _clip_pickled,
    "siglip2-base-patch16-224": _of_towers("siglip2"),
    "videoprism-lvt-base-f16r288": _of_towers("videoprism"),
    "dinov2-base": _dinov2,
}
BUILT_IN = ("pdqf", "pdqf-views", "reelprint")
"""Frame encoders that need no checkpoint."""


def tiny_checkpoints(folder: Path) -> Path:
    """Writes a checkpoint for each of `MAKERS` below a folder, and the TOML file of their rows, ``tiny-...``."""
    tables = []
    for like, make in MAKERS.items():
        place = folder / like
        place.mkdir(parents=True)
        tables.append(_table(make(place, like), find(like), place.relative_to(folder)))
    path = folder / "models.toml"
    path.write_text("\n\n".join(tables))
    return path


def _table(row: EncoderSpec, full: EncoderSpec, place: Path) -> str:
    """What a user would write: what differs from the row it is like."""
    lines = ["[[encoder]]", f'name = "tiny-{full.name}"', f'like = "{full.name}"']
    for part in ("clip", "preprocessing"):
        own, others = asdict(getattr(row, part)), asdict(getattr(full, part))
        lines += [f"{part}.{name} = {json.dumps(own[name])}" for name in own if own[name] != others[name]]
    if row.outputs != full.outputs:
        numbers = ", ".join(f"{name} = {size}" for name, size in row.outputs.items())
        lines.append(f"outputs = {{ {numbers} }}")
    lines += [f"options.{n} = {json.dumps(v)}" for n, v in row.options.items() if v != full.options.get(n)]
    files = [file.name for file in row.weights.files]
    lines.append(f"weights.folder = {json.dumps(str(place))}")
    if files != [file.name for file in full.weights.files]:
        lines.append(f"weights.files = {json.dumps(files)}")
    return "\n".join(lines)
