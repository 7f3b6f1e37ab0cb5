"""Pickled numpy arrays of other tools, read without running what a pickle says.

A pickle is a program: loading a stranger's file with `pickle.load` gives the machine away. Here every function that
such a file may name is our own; none of numpy's sees anything but checked bytes.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import FormatError, InvalidArgument

__all__ = ["read_array_pickle"]

_NUMBERS = "fiub"  # kinds of dtype without Python objects


def read_array_pickle(path: Path) -> NDArray[Any]:
    """The one numpy array of numbers in a pickle of any protocol, of Python 2 or 3.

    Raises:
        InvalidArgument: when the file cannot be read.
        FormatError: for anything else; where the file asks for another function or class, naming that.
    """
    try:
        with path.open("rb") as file:
            loaded = _ArraysOnly(file, encoding="latin1").load()
        if isinstance(loaded, _Array) and loaded.array is not None:
            return loaded.array
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: not a pickled array, or a damaged one ({error})") from error
    got = "an array without content" if isinstance(loaded, _Array) else f"a {type(loaded).__name__}"
    raise FormatError(f"{path}: expected one pickled numpy array, got {got}")


class _Dtype:
    """Stands for ``numpy.dtype`` while loading."""

    def __init__(self, name: str, *_: object) -> None:
        self.dtype = np.dtype(name)
        if self.dtype.kind not in _NUMBERS:
            raise FormatError(f"an array of numbers is expected, got one of {name!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray`` while loading."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content  # Python 2 had no bytes
        self.array = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: object, dtype: object, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise FormatError("an array is numbers in bytes, got something else")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise FormatError(f"{len(raw)} bytes are no array {shape} of {dtype.dtype}")
    shaped = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
    return np.array(shaped, dtype.dtype.newbyteorder("="), order="C")


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _Array:
        raise FormatError("an array of numpy's own class is expected, got another")
    return _Array()


def _frombuffer(raw: object, dtype: object, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.array = _array(raw, dtype, shape, order)
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise FormatError(f"bytes are pickled as latin1 text, got {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What protocols below 3 call for empty content."""
    return b""


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise FormatError(f"the file asks for {module}.{name}, which no array of numbers needs; not loaded")
        return _ADMITTED[module, name]
