"""Turns videos into vectors, and vectors into answers: who copied this, which seconds, what is it, what is like it.

    >>> import reelspace
    >>> library = reelspace.Library("my-library")
    >>> library.add("/my/videos")
    >>> for group in library.copies():
    ...     for match in group.matches:
    ...         print(match.query, match.reference, match.segments[0])
    >>> reelspace.align("a.mp4", "b.mp4").offset_seconds
    >>> reelspace.embed("a.mp4", "hiera-base-16x224")["a.mp4"]

Names are imported when they are first used: importing the package loads no decoder, no database, no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelspace.core.results import Alignment as Alignment
    from reelspace.core.results import CopyGroup as CopyGroup
    from reelspace.core.results import CopyMatch as CopyMatch
    from reelspace.core.results import CopySegment as CopySegment
    from reelspace.core.results import Hit as Hit
    from reelspace.core.space import Space as Space
    from reelspace.core.time import Span as Span
    from reelspace.core.video import Video as Video
    from reelspace.encoders.load import load_encoder as load_encoder
    from reelspace.errors import ReelspaceError as ReelspaceError
    from reelspace.library import Library as Library
    from reelspace.media import open_video as open_video
    from reelspace.media import probe as probe
    from reelspace.models import classify as classify
    from reelspace.models import embed as embed
    from reelspace.models import open_model as open_model
    from reelspace.pair import align as align
    from reelspace.pair import tmk_compare as tmk_compare
    from reelspace.pair import tmk_hash as tmk_hash
    from reelspace.pair import tmk_hashes as tmk_hashes

_HOMES = {
    "Alignment": "reelspace.core.results",
    "CopyGroup": "reelspace.core.results",
    "CopyMatch": "reelspace.core.results",
    "CopySegment": "reelspace.core.results",
    "Hit": "reelspace.core.results",
    "Library": "reelspace.library",
    "ReelspaceError": "reelspace.errors",
    "Space": "reelspace.core.space",
    "Span": "reelspace.core.time",
    "Video": "reelspace.core.video",
    "align": "reelspace.pair",
    "classify": "reelspace.models",
    "embed": "reelspace.models",
    "load_encoder": "reelspace.encoders.load",
    "open_model": "reelspace.models",
    "open_video": "reelspace.media",
    "probe": "reelspace.media",
    "tmk_compare": "reelspace.pair",
    "tmk_hash": "reelspace.pair",
    "tmk_hashes": "reelspace.pair",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 # the one table names them


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reelspace' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
