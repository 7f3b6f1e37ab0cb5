"""EVVE: 620 queries, 2,375 videos and 13 events (Revaud et al. 2013, "Event retrieval in large video collections").

``annotations/<event>.dat`` has a line ``name label split`` per video: label 1 (shows the event), 0 (does not) or -1
(nobody knows: ignored); split ``query`` or ``database``. ``annotations/durations.pkl`` holds seconds by
``event/name``; it may be missing.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.layout import annotation_lines, fields_of

__all__ = ["LONGEST_OFFSET_FRAMES", "Evve", "EvveVideo", "read_evve"]

LONGEST_OFFSET_FRAMES = 16000
"""videoalignment tries so many offsets in both directions."""

_LABELS = {"1": 1, "0": 0, "-1": -1}
_SPLITS = ("query", "database")


@dataclass(frozen=True, slots=True)
class EvveVideo:
    """One video.

    Attributes:
        video: ``event/name``.
        event: that it was found under.
        label: 1 shows the event, 0 does not, -1 is not known to.
    """

    video: str
    event: str
    label: int


@dataclass(frozen=True, slots=True)
class Evve:
    """The dataset.

    Attributes:
        queries: that are searched for, each within the database of all events.
        database: that is searched.
        durations_seconds: by video, as far as known.
    """

    queries: tuple[EvveVideo, ...]
    database: tuple[EvveVideo, ...]
    durations_seconds: Mapping[str, float]


def read_evve(root: Path) -> Evve:
    """The dataset in a folder.

    Raises:
        InvalidArgument: when there are no annotations.
        FormatError: when they are no such lines.
    """
    files = sorted((root / "annotations").glob("*.dat"))
    if not files:
        raise InvalidArgument(f"there are no event files annotations/*.dat in {root}")
    splits: dict[str, list[EvveVideo]] = {split: [] for split in _SPLITS}
    for file in files:
        for line, place in annotation_lines(file):
            name, label, split = fields_of(line, None, 3, place)
            if label not in _LABELS or split not in _SPLITS:
                raise FormatError(f"{place}: label is 1, 0 or -1 and split query or database, got {label} {split}")
            splits[split].append(EvveVideo(f"{file.stem}/{name}", file.stem, _LABELS[label]))
    durations = root / "annotations" / "durations.pkl"
    return Evve(
        tuple(splits["query"]),
        tuple(splits["database"]),
        _read_durations(durations) if durations.exists() else MappingProxyType({}),
    )


class _PlainOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        raise FormatError(f"the file asks for {module}.{name}, which no table of seconds needs; not loaded")


def _read_durations(file: Path) -> Mapping[str, float]:
    try:
        with file.open("rb") as content:
            loaded = _PlainOnly(content, encoding="latin1").load()
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    except (pickle.UnpicklingError, EOFError, OSError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{file}: not a pickled table of seconds ({error})") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, int | float) for key, value in loaded.items()
    ):
        raise FormatError(f"{file}: a table of seconds by event/name is expected, got something else")
    return MappingProxyType({key: float(value) for key, value in loaded.items()})
