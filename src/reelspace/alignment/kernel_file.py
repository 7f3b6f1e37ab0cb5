"""A learned temporal kernel as a small JSON file: coefficients, the rate they count at, and what they came from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reelspace.alignment.fourier import FourierKernel
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["LearnedKernel", "read_kernel", "write_kernel"]

_FORMAT = "reelspace temporal kernel"
_VERSION = 1
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LearnedKernel:
    """A kernel whose coefficients were learned, and where it is at home.

    Attributes:
        kernel: with ``learned`` coefficients; its periods count frames.
        frames_per_second: how many frames a second has for it.
        provenance: what it was learned from and how, JSON values only; ``space`` names the frames' vectors.
        digest: SHA-256 of all of the above, 64 hex digits.

    Raises:
        InvalidArgument: when the kernel is a fixed one, or the rate is not positive.
    """

    kernel: FourierKernel
    frames_per_second: float
    provenance: Mapping[str, Any]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if self.kernel.learned is None:
            raise InvalidArgument("a learned kernel has learned coefficients; this one derives them from beta")
        if not 0 < self.frames_per_second < float("inf"):
            raise InvalidArgument(f"a kernel counts frames at a positive rate, got {self.frames_per_second}")
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest())

    def _content(self) -> dict[str, Any]:
        kernel = asdict(self.kernel)
        del kernel["beta"]  # says nothing where coefficients are learned
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "frames_per_second": self.frames_per_second,
            "kernel": kernel,
            "provenance": dict(self.provenance),
        }


def write_kernel(kernel: LearnedKernel, path: str | os.PathLike[str]) -> None:
    """Writes the kernel; `read_kernel` gives the very same numbers back."""
    document = {**kernel._content(), "digest": kernel.digest}  # noqa: SLF001 # one format, one module
    Path(path).write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def read_kernel(path: str | os.PathLike[str]) -> LearnedKernel:
    """The kernel in a file of `write_kernel`.

    Raises:
        InvalidArgument: when the file cannot be read.
        FormatError: when it is none, is of another version, was changed, or holds numbers that make no kernel.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _LARGEST_BYTES:
            raise FormatError(f"{place}: {place.stat().st_size} bytes are no temporal kernel")
        document = json.loads(place.read_text("utf-8"))
    except OSError as error:
        raise InvalidArgument(f"cannot read {place}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{place}: not a temporal kernel, but no JSON at all ({error})") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise FormatError(f"{place}: not a temporal kernel; `reelspace train kernel` writes one")
    if document.get("version") != _VERSION:
        raise FormatError(
            f"{place}: a temporal kernel of version {document.get('version')}, and version {_VERSION} is read "
            "here; train it again"
        )
    try:
        fields = document["kernel"]
        found = LearnedKernel(
            FourierKernel(
                tuple(fields["periods"]),
                harmonics=fields["harmonics"],
                norm=fields["norm"],
                learned=tuple(tuple(map(float, row)) for row in fields["learned"]),
            ),
            document["frames_per_second"],
            document["provenance"],
        )
    except KeyError as error:
        raise FormatError(f"{place}: a temporal kernel without {error}") from error
    except (TypeError, ValueError) as error:  # InvalidArgument is a ValueError
        raise FormatError(f"{place}: these numbers make no temporal kernel: {error}") from error
    if found.digest != document.get("digest"):
        raise FormatError(f"{place}: a temporal kernel that was changed after it was written; train it again")
    return found
