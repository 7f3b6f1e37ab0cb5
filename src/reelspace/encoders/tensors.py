"""Tensors of a checkpoint's files, and loading them so that nothing stays random without a word."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from reelspace.errors import FormatError

__all__ = ["load_strictly", "read_tensors"]

_AT_MOST = 4  # names in a message


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors`` file, or of a state dict that `torch.save` wrote; tensors alone.

    Raises:
        FormatError: when it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FormatError(f"{path} holds no tensors that can be read: {error}; fetch it again") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise FormatError(f"{path} holds {type(found).__name__}, not a state dict of tensors alone")
    return found


def load_strictly(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], *, where: object) -> None:
    """Gives a module its tensors, as float32: exactly those it has, each of its shape.

    Batch norm's ``num_batches_tracked`` counts steps of training and may be there or not: files written before
    2018 lack it.

    Args:
        module: may lie on the meta device, so that nothing is initialised in vain.
        tensors: by the module's own names.
        where: the file, for the message.

    Raises:
        FormatError: naming what is missing, unexpected or of another shape.
    """
    kept = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    wanted = {
        name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    faults = {
        "missing": [name for name in wanted if name not in kept],
        "unexpected": [name for name in kept if name not in wanted],
        "of another shape": [
            f"{name} {tuple(kept[name].shape)} for {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in kept and kept[name].shape != value.shape
        ],
    }
    if any(faults.values()):
        lists = "; ".join(
            f"{kind}: {', '.join(names[:_AT_MOST])}{', …' if len(names) > _AT_MOST else ''} ({len(names)})"
            for kind, names in faults.items()
            if names
        )
        raise FormatError(f"{where} does not fit {type(module).__name__}: {lists}")
    counted = {
        name: torch.zeros((), dtype=torch.long)
        for name in module.state_dict()
        if name.endswith("num_batches_tracked")
    }
    module.load_state_dict({name: value.float() for name, value in kept.items()} | counted, assign=True)
