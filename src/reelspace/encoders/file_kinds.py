"""Whether a file is of the kind its name says, by its first bytes: a server's error page is no checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from reelspace.errors import CheckpointError

__all__ = ["require_kind"]

_START_BYTES = 512
_LONGEST_HEADER_BYTES = 100_000_000  # what safetensors itself reads at most
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"
_SIGNS = {
    _ZIP: "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a pointer of Git LFS, which stands for the file",
    **dict.fromkeys(_PICKLES, "a pickle"),
}


def require_kind(path: Path, name: str, *, source: str) -> None:
    """Refuses a file that cannot be what its name says. Nothing of it is run; a name of no known kind says nothing.

    Args:
        path: the file.
        name: its name in its row, whose suffix tells the kind.
        source: where it came from, for the message.

    Raises:
        CheckpointError: saying what it should be, and what it looks like.
    """
    suffix = PurePosixPath(name).suffix
    if suffix not in _KINDS:
        return
    kind, fits = _KINDS[suffix]
    if not fits(path):
        raise CheckpointError(
            f"{source} is not what it should be: {name} has to be {kind}, and this looks like {_looks_like(path)}; "
            "nothing was recorded, so the right file is welcome"
        )


def _is_safetensors(path: Path) -> bool:
    """Eight bytes, little-endian, say how long the JSON after them is."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(path.stat().st_size - 8, _LONGEST_HEADER_BYTES):
            return False
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except ValueError:
            return False


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _begins(*signs: bytes) -> Callable[[Path], bool]:
    return lambda path: _start(path).startswith(signs)


_SAVED = ("what torch.save writes", _begins(_ZIP, *_PICKLES))
_KINDS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    ".safetensors": ("a safetensors file", _is_safetensors),
    ".json": ("JSON", _is_json),
    ".npy": ("a NumPy array", _begins(b"\x93NUMPY")),
    ".zip": ("a zip archive", _begins(_ZIP)),
    **dict.fromkeys((".pth", ".pt", ".bin"), _SAVED),
}


def _looks_like(path: Path) -> str:
    start = _start(path)
    if not start:
        return "an empty file"
    for sign, what in _SIGNS.items():
        if start.startswith(sign):
            return what
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if _is_safetensors(path):
        return "a safetensors file"
    return "something else" if any(byte < 9 for byte in start) else "text"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_START_BYTES)
