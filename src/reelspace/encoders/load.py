"""From a row of the catalog to a running encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from reelspace.encoders.catalog import find
from reelspace.encoders.checkpoint import Checkpoint, checkpoint_of
from reelspace.encoders.encoder import Encoder, Reconstruction
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument, MissingExtra, UnknownName

__all__ = ["DTYPES", "Dtype", "Network", "TorchEncoder", "chosen_device", "label_names", "load_encoder"]

DTYPES = ("float32", "bfloat16", "float16")
Dtype = Literal["float32", "bfloat16", "float16"]


class Network(Protocol):
    """What a family's factory gives: a `torch.nn.Module` in evaluation mode, in float32, on the CPU.

    A factory is called as ``factory(row, checkpoint)``. It loads every tensor strictly: one that is missing,
    unexpected or of another shape is a `FormatError` that names it; nothing that is used stays random.

    Where there are any, the module also has

    - ``encode_text(texts)``: a tensor (N, D);
    - ``knows(text)``: whether it knows a word of it, where there are texts that it makes nothing of;
    - ``reconstruct(pixels, *, mask, mask_ratio, generator)``: the guess on the normalised scale of ``pixels``
      (B, T, 3, H, W), what was hidden (B, T, H, W), the loss (B,);
    - ``labels``: a tuple of names, for a row that says ``labels="config"``.
    """

    def __call__(self, pixels: Any, outputs: Sequence[str]) -> dict[str, Any]:
        """The outputs asked for, of normalised clips float (B, T, 3, H, W): tensors (B, D), maps (B, ..., D)."""
        ...


def load_encoder(
    name: str | EncoderSpec, *, device: str = "auto", dtype: Dtype = "float32", compiled: bool = False
) -> Encoder:
    """Loads a model, fetching its checkpoint first where it is not on this machine yet.

    Args:
        name: a name of the catalog, ``hf:ORG/NAME``, or a row.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: that the network computes in; results are float32 whatever it is.
        compiled: run the network through `torch.compile`: slow to begin, then faster.

    Raises:
        UnknownName: when there is no such encoder.
        MissingExtra: when torch or transformers is not installed.
        CheckpointError: when the checkpoint cannot be had, or is not what it was.
        FormatError: when the checkpoint does not fit the model.
    """
    row = find(name) if isinstance(name, str) else name
    module_name, _, function = row.factory.partition(":")
    try:
        factory = getattr(import_module(module_name), function)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in {"torch", "transformers", "safetensors", "huggingface_hub"}:
            raise MissingExtra(f"{row.name} runs on {error.name}, which", extra="models") from error
        raise
    checkpoint = checkpoint_of(row.weights, name=row.name)
    try:
        made = factory(row, checkpoint)
    except FormatError as error:
        if not checkpoint.files:
            raise
        raise FormatError(f"{error}. {_remedy(row, checkpoint)}") from error
    if hasattr(made, "spec"):  # an encoder in its own right, such as those of the foundation, which need no torch
        encoder: Encoder = made
        return encoder
    return TorchEncoder(row, made, checkpoint, device=device, dtype=dtype, compiled=compiled)


def _remedy(row: EncoderSpec, checkpoint: Checkpoint) -> str:
    """What to do about a checkpoint that does not fit."""
    if row.weights.folder is not None:
        return f"The files are your own, in {checkpoint.folder}: correct them, or the row"
    return (
        f"The checkpoint lies in {checkpoint.folder}: delete that folder and pull it again, or replace it by the "
        f"right one: reelspace models import {row.name} FILE..."
    )


def label_names(table: str) -> tuple[str, ...]:
    """The class names in ``encoders/labels/<table>.txt``, in the order of the logits."""
    text = (files("reelspace.encoders") / "labels" / f"{table}.txt").read_text("utf-8")
    return tuple(text.splitlines())


def chosen_device(wanted: str) -> str:
    """The device meant by ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InvalidArgument: when this machine has none of that kind.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(wanted.partition(":")[0], False):
        have = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise InvalidArgument(f"there is no device {wanted!r} here; there is: {have}")
    return wanted


class TorchEncoder:
    """A network of torch behind the contract `Encoder`: checks clips, normalises them, runs the network.

    Attributes:
        spec: its row.
        digest: of its checkpoint.
        device: where it runs.
        dtype: what the network computes in.
    """

    def __init__(
        self,
        row: EncoderSpec,
        network: Any,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        dtype: Dtype = "float32",
        compiled: bool = False,
    ) -> None:
        import torch

        if dtype not in DTYPES:
            raise UnknownName("dtype", dtype, DTYPES)
        self.spec = row
        self.digest = checkpoint.digest
        self.device = chosen_device(device)
        self.dtype = dtype
        self._dtype = getattr(torch, dtype)
        self._module = network.eval().requires_grad_(requires_grad=False).to(self.device, self._dtype)
        self._network = torch.compile(self._module) if compiled else self._module
        channels = (1, 1, 3, 1, 1)
        how = row.preprocessing
        # (x * scale + offset - mean) / std  =  x * gain + bias
        std = torch.tensor(how.std).view(channels)
        self._gain = (how.scale / std).to(self.device)
        self._bias = ((how.offset - torch.tensor(how.mean).view(channels)) / std).to(self.device)

    @cached_property
    def labels(self) -> tuple[str, ...] | None:
        """What the columns of ``logits`` mean."""
        if self.spec.labels is None:
            return None
        names: tuple[str, ...] = (
            self._module.labels if self.spec.labels == "config" else label_names(self.spec.labels)
        )
        classes = self.spec.outputs.get("logits", len(names))
        if len(names) != classes:
            raise FormatError(
                f"{self.spec.name} has {classes} classes, and its labels {self.spec.labels!r} name {len(names)}; "
                "give the row the labels it was trained with"
            )
        return names

    def encode(
        self, clips: NDArray[np.uint8 | np.float32], *, outputs: Sequence[str] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """As `Encoder.encode`; one batch, so the caller chooses what fits the device.

        Raises:
            InvalidArgument: when these are not at least one clip as the model reads them.
        """
        import torch

        wanted = tuple(outputs) or (self.spec.default_output,)
        for name in wanted:
            if name not in self.spec.maps:
                self.spec.require_output(name)
        with torch.inference_mode():
            found = self._network(self._pixels(clips), wanted)
            return {name: found[name].float().cpu().numpy() for name in wanted}

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `TextEncoder.encode_text`.

        Raises:
            InvalidArgument: when the model has no text tower, or this is one text by itself.
        """
        import torch

        if isinstance(texts, str):
            raise InvalidArgument(f"encode_text takes a sequence of texts, got the one text {texts!r}; give [text]")
        if self.spec.text_output is None:
            raise InvalidArgument(
                f"{self.spec.name} has no text tower; `reelspace models --text` lists those that do"
            )
        with torch.inference_mode():
            vectors: NDArray[np.float32] = self._module.encode_text(list(texts)).float().cpu().numpy()
        return vectors

    def unread(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts that the text tower makes nothing of, for it knows none of their words."""
        known = getattr(self._module, "knows", None)
        return [] if known is None else [text for text in texts if not known(text)]

    def reconstruct(
        self,
        clips: NDArray[np.uint8],
        *,
        mask: NDArray[np.bool_] | None = None,
        mask_ratio: float | None = None,
        seed: int = 0,
    ) -> Reconstruction:
        """As `Reconstructor.reconstruct`.

        Raises:
            InvalidArgument: when the model was not pre-trained by masking, or its decoder is not in the checkpoint.
        """
        import torch

        if not hasattr(self._module, "reconstruct"):
            raise InvalidArgument(f"{self.spec.name} has no decoder; a masked autoencoder's own checkpoint has one")
        hidden = None if mask is None else torch.from_numpy(mask).to(self.device)
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            guess, masked, loss = self._module.reconstruct(
                self._pixels(clips), mask=hidden, mask_ratio=mask_ratio, generator=generator
            )
            pictures = ((guess.float() - self._bias) / self._gain).clamp(0, 255).movedim(2, -1)
        return Reconstruction(pictures.cpu().numpy(), masked.cpu().numpy(), loss.float().cpu().numpy())

    def _pixels(self, clips: NDArray[np.uint8 | np.float32]) -> Any:
        """Normalised (B, T, 3, H, W) of clips (B, T, H, W, 3) of the right shape."""
        import torch

        self._require_shape(clips)
        pixels = torch.from_numpy(np.ascontiguousarray(clips)).to(self.device, non_blocking=True)
        pixels = pixels.permute(0, 1, 4, 2, 3).float()  # (B, T, H, W, 3) -> (B, T, 3, H, W)
        return (pixels * self._gain + self._bias).to(self._dtype)

    def _require_shape(self, clips: NDArray[np.uint8 | np.float32]) -> None:
        side = self.spec.preprocessing.side
        frames = self.spec.clip.frames
        height, width = ("H", "W") if side is None else (side, side)
        expected = f"(B, {frames}, {height}, {width}, 3)"
        if not isinstance(clips, np.ndarray):
            raise InvalidArgument(
                f"{self.spec.name} reads clips as one array {expected}, got a {type(clips).__name__}: np.stack them"
            )
        if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype not in (np.uint8, np.float32):
            raise InvalidArgument(f"{self.spec.name} reads clips {expected}, got {clips.dtype} {clips.shape}")
        if clips.shape[1] != frames or (side is not None and clips.shape[2:4] != (side, side)):
            raise InvalidArgument(
                f"{self.spec.name} was made for clips {expected}, got {clips.shape}; other sizes would mix up its "
                "positions without a word"
            )
        if not len(clips):
            raise InvalidArgument(f"{self.spec.name} reads at least one clip, got none: {clips.shape}")
