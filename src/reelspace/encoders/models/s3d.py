"""S3D-G of MIL-NCE: clips and sentences in one space, learned from narrated videos.

Miech, Alayrac, Smaira, Laptev, Sivic and Zisserman, End-to-End Learning of Visual Representations from Uncurated
Instructional Videos, 2020 (arXiv 1912.06430); the network is that of Xie, Sun, Huang, Tu and Murphy, 2018 (arXiv
1712.04851), with time and space folded into channels first. Names and paddings are those of the checkpoint's own
code, antoine77340/S3D_HowTo100M@b8cd0bb. That pads pools by kernel and stride alone, which is TensorFlow's SAME at
224 and 256 pixels, but not at 200, where the fourth stage is 25 pixels wide: there we equal the PyTorch code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec
from reelspace.encoders.tensors import load_strictly, read_tensors
from reelspace.encoders.word_tokens import Vocabulary, WordTower, read_words
from reelspace.errors import InvalidArgument

__all__ = ["S3d", "s3d"]


class Conv(nn.Module):
    """Convolution, batch norm, ReLU; with ``separable``, once over space and once more over time."""

    def __init__(
        self, channels: int, width: int, kernel: tuple[int, int, int] = (1, 1, 1), *, separable: bool = False
    ) -> None:
        super().__init__()
        time, *space = kernel
        first = (1, *space) if separable else kernel
        self.conv1 = nn.Conv3d(channels, width, first, padding=tuple(k // 2 for k in first), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.separable = separable
        if separable:
            self.conv2 = nn.Conv3d(width, width, (time, 1, 1), padding=(time // 2, 0, 0), bias=False)
            self.bn2 = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True) if self.separable else x


class Gate(nn.Module):
    """Channels weighted by what the whole clip looks like (the G of S3D-G)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.fc(x.mean(dim=(2, 3, 4))))
        return weights[:, :, None, None, None] * x


class Mixed(nn.Module):
    """Four ways through, side by side: 1x1x1; 3x3x3 twice, at two widths; and the largest neighbour."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, narrow_1, wide_1, narrow_2, wide_2, pooled = widths
        self.conv_b0 = Conv(channels, one)
        self.conv_b1_a = Conv(channels, narrow_1)
        self.conv_b1_b = Conv(narrow_1, wide_1, (3, 3, 3), separable=True)
        self.conv_b2_a = Conv(channels, narrow_2)
        self.conv_b2_b = Conv(narrow_2, wide_2, (3, 3, 3), separable=True)
        self.conv_b3_b = Conv(channels, pooled)
        self.gating_b0, self.gating_b1 = Gate(one), Gate(wide_1)
        self.gating_b2, self.gating_b3 = Gate(wide_2), Gate(pooled)

    def forward(self, x: Tensor) -> Tensor:
        ways = (
            self.gating_b0(self.conv_b0(x)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(x))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(x))),
            self.gating_b3(self.conv_b3_b(F.max_pool3d(x, 3, stride=1, padding=1))),
        )
        return torch.cat(ways, dim=1)


class S3d(nn.Module):
    """The two towers.

    Args:
        words: the vocabulary of the text tower.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self._vocabulary = Vocabulary(words)
        self.conv1 = Conv(8 * 3, 64, (2, 4, 4))
        self.conv_2b = Conv(64, 64)
        self.conv_2c = Conv(64, 192, (3, 3, 3), separable=True)
        self.gating = Gate(192)
        self.mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))
        self.fc = nn.Linear(1024, 512)
        self.text_module = WordTower(1 + len(words))

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """``video_embedding`` (B, 512) and ``mixed_5c`` (B, 1024) of clips (B, T, 3, H, W) in [0, 1].

        Raises:
            InvalidArgument: for an odd number of frames, rows or columns.
        """
        x = self.conv1(_folded(pixels))[:, :, 1:, 1:, 1:]  # without the first of each: TensorFlow's SAME
        x = _pooled(x, (1, 3, 3), (1, 2, 2))
        x = self.gating(self.conv_2c(self.conv_2b(x)))
        x = _pooled(x, (1, 3, 3), (1, 2, 2))
        x = self.mixed_3c(self.mixed_3b(x))
        x = _pooled(x, (3, 3, 3), (2, 2, 2))
        x = self.mixed_4f(self.mixed_4e(self.mixed_4d(self.mixed_4c(self.mixed_4b(x)))))
        x = _pooled(x, (2, 2, 2), (2, 2, 2))
        x = self.mixed_5c(self.mixed_5b(x))
        features = x.mean(dim=(2, 3, 4))  # (B, 1024, T/8, H/32, W/32) -> (B, 1024)
        found = {"mixed_5c": features}
        if "video_embedding" in outputs:
            found["video_embedding"] = self.fc(features)
        return found

    def knows(self, text: str) -> bool:
        """Whether any word of the text is known; else `encode_text` gives the vector of the empty sentence."""
        return self._vocabulary.knows(text)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(N, 512), to be compared with ``video_embedding`` by their dot product."""
        tokens = torch.from_numpy(self._vocabulary.tokens(texts)).to(self.fc.weight.device)
        vectors: Tensor = self.text_module(tokens)
        return vectors


def _folded(pixels: Tensor) -> Tensor:
    """Each 2x2x2 block becomes 24 channels, a trick for TPUs: (B, T, 3, H, W) -> (B, 24, T/2, H/2, W/2)."""
    batch, frames, channels, height, width = pixels.shape
    if frames % 2 or height % 2 or width % 2:
        raise InvalidArgument(
            f"S3D folds frames, rows and columns by twos: their numbers must be even, got {frames} frames of "
            f"{height}x{width}"
        )
    blocks = pixels.reshape(batch, frames // 2, 2, channels, height // 2, 2, width // 2, 2)
    # (B, T/2, t, C, H/2, h, W/2, w) -> (B, t, h, w, C, T/2, H/2, W/2)
    return blocks.permute(0, 2, 5, 7, 3, 1, 4, 6).flatten(1, 4)


def _pooled(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """The largest in each window; a last window may reach over the edge. ``x`` is at least 0, so zeros pad it."""
    sides = [(size - step) // 2 for size, step in zip(kernel, stride, strict=True)]
    ends = [size - step - side for size, step, side in zip(kernel, stride, sides, strict=True)]
    around = [pad for pair in zip(reversed(sides), reversed(ends), strict=True) for pad in pair]
    return F.max_pool3d(F.pad(x, around), kernel, stride, ceil_mode=True)


def s3d(row: EncoderSpec, checkpoint: Checkpoint) -> S3d:
    """S3D with the weights and vocabulary of a checkpoint: ``s3d_howto100m.pth`` and ``s3d_dict.npy``.

    Raises:
        FormatError: when the vocabulary is none, or a tensor is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        network = S3d(read_words(checkpoint.files["s3d_dict.npy"]))
    load_strictly(network, read_tensors(checkpoint.files["s3d_howto100m.pth"]), where=row.name)
    return network
