"""The identity of a vector space: what must be equal before two vectors may be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelspace.errors import SpaceMismatch

__all__ = ["Space"]


@dataclass(frozen=True, slots=True)
class Space:
    """Names a vector space by everything that shapes its vectors.

    Attributes:
        name: the encoder, such as ``pdqf``.
        dimensions: length of one vector.
        parameters: checkpoint digest, preprocessing, sampling, pooling: JSON values only.
        fingerprint: 16 hex digits of the SHA-256 of all of the above in canonical JSON.
    """

    name: str
    dimensions: int
    parameters: Mapping[str, Any]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", hashlib.sha256(self._canonical().encode()).hexdigest()[:16])

    def _canonical(self) -> str:
        value = {"name": self.name, "dimensions": self.dimensions, "parameters": dict(self.parameters)}
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        return f"{self.name}@{self.fingerprint}"

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def to_json(self) -> str:
        """Canonical JSON, the form stored with every table and file of vectors."""
        return self._canonical()

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The space written by `to_json`."""
        value = json.loads(text)
        return cls(value["name"], value["dimensions"], value["parameters"])

    def require(self, other: Space, *, where: str) -> None:
        """Refuses to go on when ``other`` is not this very space.

        Raises:
            SpaceMismatch: naming both spaces and the place ``where`` this one's vectors lie.
        """
        if self.fingerprint != other.fingerprint:
            raise SpaceMismatch(have=str(self), got=str(other), where=where)
