"""VideoMAE: a video transformer pre-trained by guessing nine tenths of a clip (Tong et al. 2022, arXiv 2203.12602).

transformers runs it. A token is a tube of 2 frames x 16 x 16 pixels; there is no class token, so a clip is the mean
of its tokens, normalised as the classifier reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import VideoMAEForPreTraining, VideoMAEForVideoClassification

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.pretrained import label_names_of, load_pretrained, require_config
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument

__all__ = ["VideoMaeClassifier", "VideoMaePretrained", "load"]

_MASK_RATIO = 0.9  # Sec. 3.2: tube masking with an extremely high ratio
_EPSILON = 1e-6


def load(row: EncoderSpec, checkpoint: Checkpoint) -> nn.Module:
    """The network of a row: with its classifier where the row has ``logits``, with its decoder otherwise."""
    classes = row.outputs.get("logits")
    model_class = VideoMAEForPreTraining if classes is None else VideoMAEForVideoClassification
    model = load_pretrained(model_class, checkpoint, row)
    require_config(
        row,
        model.config,
        num_frames=row.clip.frames,
        image_size=row.preprocessing.side,
        hidden_size=row.outputs["pooled"],
        **({} if classes is None else {"num_labels": classes}),
    )
    _keep_as_buffer(model.videomae.embeddings, "position_embeddings")
    if classes is not None:
        return VideoMaeClassifier(model)
    _keep_as_buffer(model, "position_embeddings")
    return VideoMaePretrained(model, row)


def _keep_as_buffer(module: nn.Module, name: str) -> None:
    """Makes a table that transformers holds on the CPU, and copies at every step, move with the module."""
    table = getattr(module, name)
    delattr(module, name)
    module.register_buffer(name, table, persistent=False)


class VideoMaeClassifier(nn.Module):
    """Fine-tuned: ``pooled`` is what the classifier reads.

    That is the mean of the tokens, then a LayerNorm. A model fine-tuned with transformers from a pre-trained
    checkpoint (``use_mean_pooling`` false) reads the first token instead, and so do we.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names of the checkpoint."""
        return label_names_of(self.model.config)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """As `load.Network`: ``pooled`` (B, D), ``logits`` (B, classes), ``tokens`` (B, T/2 * H/16 * W/16, D)."""
        tokens = self.model.videomae(pixels).last_hidden_state
        norm = self.model.fc_norm
        found = {"tokens": tokens, "pooled": tokens[:, 0] if norm is None else norm(tokens.mean(1))}
        if "logits" in outputs:
            found["logits"] = self.model.classifier(found["pooled"])
        return {name: found[name] for name in outputs}


class VideoMaePretrained(nn.Module):
    """Pre-trained, with its decoder: ``pooled`` is the mean of the tokens after the last LayerNorm.

    Args:
        model: of transformers.
        row: its preprocessing gives the mean and standard deviation that the pixels were normalised with.
    """

    def __init__(self, model: Any, row: EncoderSpec) -> None:
        super().__init__()
        self.model = model
        how = row.preprocessing
        for name, values in (("mean", how.mean), ("std", how.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
        """As `load.Network`: ``pooled`` (B, D), ``tokens`` (B, T/2 * H/16 * W/16, D)."""
        tokens = self.model.videomae(pixels).last_hidden_state
        found = {"tokens": tokens, "pooled": tokens.mean(1)}
        return {name: found[name] for name in outputs}

    def reconstruct(
        self, pixels: Tensor, *, mask: Tensor | None, mask_ratio: float | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hides tubes of a clip and guesses them.

        Args:
            pixels: (B, T, 3, H, W), normalised.
            mask: bool (B, T/2 * H/16 * W/16), True where hidden, as many in every clip; None to draw tubes: places
                that are hidden in all frames (Sec. 3.2).
            mask_ratio: share of the tubes that is hidden; None for the paper's 0.9.
            generator: of the drawing.

        Returns:
            The guess where hidden and the input elsewhere, (B, T, 3, H, W); what was hidden, bool (B, T, H, W);
            the mean squared error over the hidden patches, (B,), of pixels normalised per patch where the
            checkpoint was trained so (transformers' own loss is the mean of it).

        Raises:
            InvalidArgument: for a mask of another shape, or with more hidden in one clip than in another.
        """
        config = self.model.config
        tube = (config.tubelet_size, config.patch_size, config.patch_size)
        grid = tuple(size // step for size, step in zip(_frame_sizes(pixels), tube, strict=True))
        if mask is None:
            ratio = _MASK_RATIO if mask_ratio is None else mask_ratio
            mask = _drawn_tubes(len(pixels), grid, ratio, generator).to(pixels.device)
        _require_mask(mask, (len(pixels), grid[0] * grid[1] * grid[2]))
        guess = self.model(pixels, bool_masked_pos=mask).logits.float()  # (B, hidden, 2 * 16 * 16 * 3)

        patches = _patches(pixels.float() * self.std.float() + self.mean.float(), tube)  # (B, N, 2 * 16 * 16, 3)
        batch, _, area, channels = patches.shape
        hidden = patches[mask].view(batch, -1, area, channels)
        middle, spread = torch.zeros_like(hidden[:, :, :1]), torch.ones_like(hidden[:, :, :1])
        if config.norm_pix_loss:
            middle = hidden.mean(2, keepdim=True)
            spread = hidden.var(2, keepdim=True).sqrt() + _EPSILON
        guess = guess.view_as(hidden)
        loss = (guess - (hidden - middle) / spread).square().mean((1, 2, 3))

        patches[mask] = (guess * spread + middle).flatten(0, 1)
        pictures = (_joined(patches, grid, tube) - self.mean.float()) / self.std.float()
        places = mask.view(batch, *grid)
        for axis, step in enumerate(tube, start=1):
            places = places.repeat_interleave(step, axis)
        return pictures, places, loss


def _frame_sizes(pixels: Tensor) -> tuple[int, int, int]:
    return pixels.shape[1], pixels.shape[3], pixels.shape[4]


def _drawn_tubes(batch: int, grid: tuple[int, ...], ratio: float, generator: torch.Generator) -> Tensor:
    """Which tokens are hidden, bool (B, t * h * w): the same places in all t."""
    places = grid[1] * grid[2]
    count = int(ratio * places)
    if not 0 < count < places:
        raise InvalidArgument(f"a mask ratio leaves something to see and something to guess, got {ratio}")
    hidden = torch.rand(batch, places, generator=generator).argsort(1) < count
    return hidden.repeat(1, grid[0])


def _require_mask(mask: Tensor, shape: tuple[int, int]) -> None:
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InvalidArgument(f"the mask is bool {shape}, got {mask.dtype} {tuple(mask.shape)}")
    counts = mask.sum(1)
    if (counts != counts[0]).any() or not 0 < int(counts[0]) < shape[1]:
        raise InvalidArgument(f"every clip has as many patches hidden, and not none or all; got {counts.tolist()}")


def _patches(frames: Tensor, tube: tuple[int, int, int]) -> Tensor:
    """(B, t*a, 3, h*b, w*c) -> (B, t*h*w, a*b*c, 3)."""
    batch, _, channels = frames.shape[:3]
    t, h, w = (size // step for size, step in zip(_frame_sizes(frames), tube, strict=True))
    a, b, c = tube
    split = frames.reshape(batch, t, a, channels, h, b, w, c)
    return split.permute(0, 1, 4, 6, 2, 5, 7, 3).reshape(batch, t * h * w, a * b * c, channels)


def _joined(patches: Tensor, grid: tuple[int, ...], tube: tuple[int, int, int]) -> Tensor:
    """(B, t*h*w, a*b*c, 3) -> (B, t*a, 3, h*b, w*c): the inverse of `_patches`."""
    batch, channels = len(patches), patches.shape[-1]
    (t, h, w), (a, b, c) = grid, tube
    split = patches.reshape(batch, t, h, w, a, b, c, channels)
    return split.permute(0, 1, 4, 7, 2, 5, 3, 6).reshape(batch, t * a, channels, h * b, w * c)
