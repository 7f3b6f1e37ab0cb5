"""The table of every model: rows of data, found by name. No torch is needed to list them.

Each family has a file with a tuple ``ROWS`` here. A user's rows come from Python (`register`) or from the TOML file
that ``$REELSPACE_MODELS`` names; a checkpoint of a known family on the hub, ``hf:ORG/NAME``, fills its row from its
own config.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["catalog", "find", "register"]

_registered: dict[str, EncoderSpec] = {}


def catalog() -> Mapping[str, EncoderSpec]:
    """Every row by name: the package's, those of ``$REELSPACE_MODELS``, and those registered from Python."""
    rows: dict[str, EncoderSpec] = {}
    for family in iter_modules(__path__):
        for row in import_module(f"{__name__}.{family.name}").ROWS:
            rows[row.name] = row
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
    """The row of that name.

    Raises:
        UnknownName: with the nearest name.
    """
    rows = catalog()
    if name not in rows:
        raise UnknownName("encoder", name, rows)
    return rows[name]
