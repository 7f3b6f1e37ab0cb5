"""A user's own rows of the catalog, from a TOML file.

    [[encoder]]
    name = "hiera-cows"
    like = "hiera-base-16x224"     # what is not said here is as there
    weights.folder = "cows"        # seen from where this file lies
    remark = "fine-tuned on cows"

Without ``like`` a row says everything, with the fields of `EncoderSpec` and its parts: ``name``, ``family``,
``factory``, ``clip``, ``preprocessing``, ``outputs``, ``weights`` and ``paper`` at least.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reelspace.core.clips import ClipSpec
from reelspace.encoders.spec import EncoderSpec, Preprocessing, WeightFile, Weights
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["rows_from_toml"]

Part = TypeVar("Part", bound=EncoderSpec | ClipSpec | Preprocessing | Weights | WeightFile)


def rows_from_toml(
    path: str | os.PathLike[str], *, known: Mapping[str, EncoderSpec] = MappingProxyType({})
) -> tuple[EncoderSpec, ...]:
    """The rows of a file, in its order.

    Args:
        path: of the file; relative folders in it are seen from where it lies.
        known: rows that ``like`` may name, besides those above in the file.

    Raises:
        FormatError: when the file is no TOML, or a row is wrong: with the file, the row and the field.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is not a TOML file that can be read: {error}") from error
    tables = document.pop("encoder", None)
    if document or not isinstance(tables, list):
        raise FormatError(f"{path}: each row begins with [[encoder]], and nothing stands outside of rows")
    rows: dict[str, EncoderSpec] = {}
    for number, table in enumerate(tables, start=1):
        where = f"{path}: encoder {table.get('name', number)!r}"
        row = _row(table, {**known, **rows}, where, folder=path.absolute().parent)
        if row.name in known or row.name in rows:
            raise FormatError(f"{where}: there is an encoder of that name already; choose another")
        rows[row.name] = row
    return tuple(rows.values())


def _row(table: Mapping[str, Any], known: Mapping[str, EncoderSpec], where: str, *, folder: Path) -> EncoderSpec:
    given = dict(table)
    base = None
    if "like" in given:
        like = given.pop("like")
        if like not in known:
            raise FormatError(f"{where}, like: there is no encoder {like!r}{_hint(like, known)}")
        if "name" not in given:
            raise FormatError(f"{where}: it needs a name of its own")
        base = known[like]
    clip, rule, weights = (None, None, None) if base is None else (base.clip, base.preprocessing, base.weights)
    if "clip" in given:
        given["clip"] = _made(ClipSpec, given["clip"], clip, f"{where}, clip")
    if "preprocessing" in given:
        given["preprocessing"] = _made(Preprocessing, given["preprocessing"], rule, f"{where}, preprocessing")
    if "weights" in given:
        given["weights"] = _weights(given["weights"], weights, f"{where}, weights", folder=folder)
        given.setdefault("score", "")  # that of the base was not measured with these
    if "options" in given and base is not None:
        given["options"] = {**base.options, **_table(given["options"], f"{where}, options")}
    return _made(EncoderSpec, given, base, where)


def _weights(given: Any, base: Weights | None, where: str, *, folder: Path) -> Weights:
    table = dict(_table(given, where))
    if isinstance(table.get("files"), list):
        named = ({"name": file} if isinstance(file, str) else file for file in table["files"])
        table["files"] = [_made(WeightFile, file, None, f"{where}.files") for file in named]
    if isinstance(table.get("folder"), str):
        table["folder"] = str(folder / Path(table["folder"]).expanduser())
    unset: dict[str, Any] = {}
    if base is not None and table.keys() & {"folder", "repo", "revision"}:
        # Elsewhere lie files of the same names, with sizes and sums of their own.
        table.setdefault("files", [WeightFile(file.name, optional=file.optional) for file in base.files])
        unset = {"folder": None, "revision": None, "page": None, "repo": None if "folder" in table else base.repo}
    return _made(Weights, table, base, where, unset=unset)


def _made(
    kind: type[Part], given: Any, base: Part | None, where: str, *, unset: Mapping[str, Any] = MappingProxyType({})
) -> Part:
    """A dataclass of the fields given, of ``unset`` and, where neither says it, of ``base``."""
    table = _table(given, where)
    types = get_type_hints(kind)
    for name in table:
        if name not in types:
            raise FormatError(f"{where}: there is no field {name!r}{_hint(name, types)}")
    values = {} if base is None else {field.name: getattr(base, field.name) for field in fields(kind)}
    values |= unset
    values |= {name: _value(types[name], value, f"{where}, {name}") for name, value in table.items()}
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise FormatError(f"{where}: it says nothing of {', '.join(missing)}; say it, or name a row it is like")
    try:
        return kind(**values)
    except InvalidArgument as error:
        raise FormatError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    """What TOML gave for a field of that type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _value(arguments[0], value, where)  # TOML knows no None
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if Ellipsis in arguments else arguments
        if len(kinds) == len(value):
            return tuple(_value(part, item, where) for part, item in zip(kinds, value, strict=True))
    if origin is Mapping and isinstance(value, dict):
        return {name: _value(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and type(value) in {int, float}:
        return float(value)
    fits = kind is Any or (origin is Literal and value in arguments) or type(value) is kind
    if not fits:
        raise FormatError(f"{where}: expected {_spelled(kind)}, got {value!r}")
    return value


def _spelled(kind: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        return f"a list of {len(get_args(kind))}"
    return names.get(kind, "a table" if get_origin(kind) is Mapping else "a list")


def _table(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise FormatError(f"{where}: expected a table, got {given!r}")
    return given


def _hint(got: object, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(got), list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
