"""Models that transformers runs, loaded strictly: nothing that is used stays random."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers.utils import logging

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, MissingExtra

__all__ = ["label_names_of", "load_pretrained", "require_config"]

# 5.10 to 5.17 load VideoMAE with biases of zero and only warn (mteb PR 5094; fixed by transformers PR 48675).
_FLOOR = (5, 18)
_NAMED = 3


def load_pretrained(
    model_class: Any, checkpoint: Checkpoint, row: EncoderSpec, *, unused: tuple[str, ...] = (), **settings: Any
) -> Any:
    """A model of transformers with the weights of a checkpoint on this machine: float32, CPU, evaluation mode.

    Nothing is fetched, and of pickles nothing but tensors is read.

    Args:
        model_class: ``VideoMAEModel`` and the like.
        checkpoint: holds ``config.json`` and the weights in the published layout, safetensors or bin.
        row: whose checkpoint it is, for messages.
        unused: regular expressions that the names of tensors begin with which this use leaves aside: the head of a
            classifier, a decoder. All others have to find their place.
        settings: for ``from_pretrained``: such as ``attn_implementation``, where the fused one is not wanted.

    Raises:
        FormatError: when a tensor is missing, unexpected or of another shape, naming the first few; when the
            config is another family's; when a file cannot be read.
        MissingExtra: when transformers is older than 5.18.
    """
    _require_version()
    fused = getattr(model_class, "_supports_sdpa", False)
    chosen: dict[str, Any] = {"attn_implementation": "sdpa" if fused else "eager"} | settings
    with _quiet():
        try:
            config = model_class.config_class.from_pretrained(checkpoint.folder, local_files_only=True)
            model, report = model_class.from_pretrained(
                checkpoint.folder,
                config=_same_family(config, checkpoint, model_class, row),
                dtype=torch.float32,  # else that of the file decides, half precision included
                local_files_only=True,
                use_safetensors=any(name.endswith(".safetensors") for name in checkpoint.files),
                weights_only=True,
                ignore_mismatched_sizes=True,  # reported below, by name
                output_loading_info=True,
                **chosen,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(
                f"{row.name}: {checkpoint.folder} is not a checkpoint {model_class.__name__} can read: {error}"
            ) from error
    _require_all(report, row, unused)
    return model


def require_config(row: EncoderSpec, config: Any, **expected: int | None) -> None:
    """Refuses a checkpoint made for other sizes than the row says: some models take them and mix up their tokens.

    Args:
        row: the encoder's.
        config: the loaded model's.
        expected: {field of the config: the row's value}.

    Raises:
        FormatError: for a field with another value.
    """
    for name, value in expected.items():
        found = getattr(config, name)
        if isinstance(found, list | tuple) and len(set(found)) == 1:  # [288, 288]: a side given as rows and columns
            found = found[0]
        if found != value:
            raise FormatError(
                f"{row.name}: its checkpoint was made for {name} {found}, and the row says {value}; correct the row"
            )


def label_names_of(config: Any) -> tuple[str, ...]:
    """The class names a config carries, in the order of the logits."""
    return tuple(config.id2label[index] for index in range(config.num_labels))


def _same_family(config: Any, checkpoint: Checkpoint, model_class: Any, row: EncoderSpec) -> Any:
    """``config``, where the file is of the family of ``model_class``; transformers itself would only warn."""
    written, _ = transformers.PretrainedConfig.get_config_dict(checkpoint.folder, local_files_only=True)
    expected = model_class.config_class
    whole = expected.base_config_key in written  # one tower of a model of two
    if not whole and written.get("model_type") != expected.model_type:
        raise FormatError(
            f"{row.name}: {checkpoint.folder} holds a checkpoint of {written.get('model_type')!r}, "
            f"expected {expected.model_type!r}"
        )
    return config


def _require_all(report: dict[str, Any], row: EncoderSpec, unused: tuple[str, ...]) -> None:
    extra = [name for name in report["unexpected_keys"] if not any(re.match(part, name) for part in unused)]
    shapes = [f"{name} {tuple(got)} for {tuple(want)}" for name, got, want in report["mismatched_keys"]]
    wrong = {"missing": report["missing_keys"], "unexpected": extra, "of another shape": shapes}
    found = [f"{len(names)} {how} ({_first(names)})" for how, names in wrong.items() if names]
    if found:
        raise FormatError(
            f"{row.name}: its checkpoint does not fit the model: tensors {', '.join(found)}; fetch it again, or "
            "name the right one"
        )


def _first(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:_NAMED]) + (", ..." if len(ordered) > _NAMED else "")


def _require_version() -> None:
    found = tuple(int(part) for part in re.findall(r"\d+", transformers.__version__)[:2])
    if found < _FLOOR:
        floor = ".".join(map(str, _FLOOR))
        raise MissingExtra(
            f"transformers >= {floor} (here is {transformers.__version__}; some before it load VideoMAE without "
            "its biases, and only warn)",
            extra="models",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, no warnings of what is an error here, and no asking the hub to convert files."""
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
