"""The table of every model: rows of data, found by name. No torch is needed to list them.

Each family has a file with a tuple ``ROWS`` here. A user's rows come from Python (`register`) or from the TOML file
that ``$REELSPACE_MODELS`` names; a checkpoint of a known family on the hub, ``hf:ORG/NAME``, fills its row from its
own config.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from reelspace.encoders.checkpoint import checkpoint_of, commit_of
from reelspace.encoders.spec import EncoderSpec, WeightFile, Weights
from reelspace.encoders.toml_rows import rows_from_toml
from reelspace.errors import FormatError, InvalidArgument, UnknownName

__all__ = ["catalog", "find", "register"]

_registered: dict[str, EncoderSpec] = {}


def catalog() -> Mapping[str, EncoderSpec]:
    """Every row by name: the package's, those of ``$REELSPACE_MODELS``, and those registered from Python.

    Raises:
        FormatError: when a row of ``$REELSPACE_MODELS`` is wrong.
    """
    rows: dict[str, EncoderSpec] = {}
    for family in iter_modules(__path__):
        for row in import_module(f"{__name__}.{family.name}").ROWS:
            rows[row.name] = row
    if own := os.environ.get("REELSPACE_MODELS"):
        if not os.path.isfile(own):  # noqa: PTH113
            raise FormatError(f"REELSPACE_MODELS names {own}, and there is no such file; correct it, or unset it")
        rows |= {row.name: row for row in rows_from_toml(own, known=rows)}
    return MappingProxyType(rows | _registered)


def register(row: EncoderSpec) -> None:
    """Adds a user's own row for this process.

    Raises:
        InvalidArgument: when the name is taken by another row.
    """
    taken = catalog().get(row.name)
    if taken is not None and taken != row:
        raise InvalidArgument(f"there is an encoder named {row.name!r} already; choose another name")
    _registered[row.name] = row


def find(name: str) -> EncoderSpec:
    """The row of that name. ``hf:ORG/NAME[@REVISION]`` is filled from its config, fetched where it is not here yet.

    Raises:
        UnknownName: with the nearest name.
        InvalidArgument: when a checkpoint on the hub is of no family we run.
        CheckpointError: when its config is not here and cannot be fetched.
    """
    if name.startswith("hf:"):
        return _on_hub(name)
    rows = catalog()
    if name not in rows:
        raise UnknownName("encoder", name, rows, listed_by="reelspace models")
    return rows[name]


def _on_hub(name: str) -> EncoderSpec:
    from reelspace.encoders.hub_rows import row_from_config  # which fills rows by the likes of them found here

    repo, _, ref = name.removeprefix("hf:").partition("@")
    if repo.count("/") != 1:
        raise InvalidArgument(f"a checkpoint on the hub is named hf:ORG/NAME or hf:ORG/NAME@REVISION, got {name!r}")
    commit = commit_of(repo, ref or "main", name=name)
    config = Weights((WeightFile("config.json"),), repo=repo, revision=commit.revision)
    path = checkpoint_of(config, name=name).files["config.json"]
    row = row_from_config(repo, commit.revision, json.loads(path.read_text("utf-8")), commit.files)
    return replace(row, name=name)  # by which it is found again
