"""The threshold of a library: calibrated to its own strangers, kept with it, and used where none is given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelspace.errors import InvalidArgument
from reelspace.library import Library
from reelspace.store.store import RECORD_NAME
from reelspace.tasks.calibration import (
    DEFAULT_SAMPLE,
    Calibration,
    calibrate,
    read_calibration,
    write_calibration,
)
from reelspace.tasks.copies import DEFAULT_THRESHOLD

__all__ = ["calibrate_library", "library_threshold", "noise_library"]


def calibrate_library(
    library: Library,
    *,
    false_positives: float = 0.01,
    noise: Library | None = None,
    sample: int = DEFAULT_SAMPLE,
    seed: int = 0,
) -> Calibration:
    """Finds the threshold for a wanted false-positive rate, and keeps it with the library.

    Args:
        library: at least 8 of its videos must have strangers in it, unless there is a noise set.
        false_positives: wanted share, in (0, 1), of queries without a copy for which something is reported.
        noise: videos that share nothing with the library; see `noise_library`.
        sample: how many videos, of the library and of the noise set each, are queries.
        seed: of the sample.

    Raises:
        InvalidArgument: for a rate outside (0, 1), an empty library, or too few strangers.
        SpaceMismatch: when the noise set was indexed with other settings.
    """
    spaces = library._copy_spaces()  # noqa: SLF001 # a method of Library in waiting
    if not spaces:
        raise InvalidArgument(f"{library.path} holds no videos yet; add some with: reelspace index FOLDER")
    if noise is not None:
        noise._store.require(frames=spaces)  # noqa: SLF001
    found = calibrate(
        [library._store.frame_matrix(space) for space in spaces],  # noqa: SLF001
        noise=[noise._store.frame_matrix(space) for space in spaces] if noise is not None else (),  # noqa: SLF001
        false_positives=false_positives,
        sample=sample,
        seed=seed,
        nearest=[library._index_of(library._store.frame_matrix(space)) for space in spaces],  # noqa: SLF001
    )
    write_calibration(library.path, found)
    return found


def library_threshold(library: Library) -> float:
    """The threshold kept with a library, where it was calibrated by what copies are found by now; else the default.

    Raises:
        FormatError: when what is kept is no calibration.
    """
    kept = read_calibration(library.path)
    current = [space.fingerprint for space in library._copy_spaces()]  # noqa: SLF001
    return kept.threshold if kept is not None and kept.holds_for(current) else DEFAULT_THRESHOLD


@contextmanager
def noise_library(place: str | os.PathLike[str], *, like: Library) -> Iterator[Library]:
    """A noise set: the library at ``place``, or its videos, indexed as ``like`` is for as long as they are needed.

    Raises:
        InvalidArgument: when there is nothing at ``place``.
    """
    folder = Path(place)
    if (folder / RECORD_NAME).is_file():
        yield Library(folder, create=False)
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = Library(Path(scratch) / "noise", fast=like._plan.fast, tmk=False)  # noqa: SLF001
        always = {encoder.space.name for encoder in made._plan.encoders}  # noqa: SLF001
        held = [encoder.space.name for encoder, _ in like._copy_encoders()]  # noqa: SLF001
        made.add(folder, encoders=[name for name in held if name not in always])
        yield made
