"""Frame features of a dataset's videos that have none yet, made from the videos and kept as ``.npz``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from reelspace.core.sequence import FrameSequence
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, MediaError
from reelspace.evaluation.datasets.layout import FRAMES_PER_SECOND, FeatureFolder, Stretch
from reelspace.extract.encode import Encoded, encode_videos
from reelspace.extract.models import Model, rows_of
from reelspace.models import open_model
from reelspace.store.columns import drafted

__all__ = ["ENCODERS", "embed_missing"]

ENCODERS: Mapping[str, Callable[[], FrameEncoder]] = MappingProxyType(
    {"reelprint": lambda: Reelprint(FRAMES_PER_SECOND), "pdqf": Pdqf}
)
"""The package's own frame encoders, at the rate of videoalignment's features."""


def embed_missing(
    folder: FeatureFolder,
    stretches: Sequence[Stretch],
    encoder: str,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, str]:
    """Makes ``<folder>/<video>.npz`` for every video without features: its times and its frames' vectors.

    A row is the vector of the whole picture, as long as its weight, so flat pictures count for nothing. What was
    made before is kept, so a run that was stopped goes on.

    Args:
        folder: where features and videos are.
        stretches: whose videos are wanted.
        encoder: a name in `ENCODERS`, or of a model of single pictures.
        on_progress: told the encoder's name, how many files are done, and of how many.

    Returns:
        What is wrong with videos that are not there or broken, by name.

    Raises:
        UnknownName: for another encoder.
        InvalidArgument: when the model reads clips instead of pictures.
    """
    wanted = {video: folder.video_file(video) for video in folder.missing(stretches)}
    failed = {video: f"there is no such video in {folder.videos}" for video, file in wanted.items() if file is None}
    sources = {str(file): video for video, file in wanted.items() if file is not None}
    if not sources:
        return failed
    models: list[Model] = []
    own: tuple[FrameEncoder, ...] = ()
    if encoder in ENCODERS:
        own = (ENCODERS[encoder](),)
    else:
        models = [open_model(encoder)]
        if not models[0].in_frames:
            raise InvalidArgument(
                f"{encoder} reads clips, and frames of 1/15 s are evaluated; take a model of pictures"
            )
    for done, outcome in enumerate(encode_videos(sources, models, encoders=own), start=1):
        if isinstance(outcome, MediaError):
            failed[sources[outcome.source]] = outcome.reason
        else:
            video = sources[outcome.source]
            _write(folder.features / f"{folder.aliases.get(video, video)}.npz", _rows(outcome, models))
        if on_progress is not None:
            on_progress(encoder, done, len(sources))
    return failed


def _rows(outcome: Encoded, models: Sequence[Model]) -> FrameSequence:
    if not models:
        return outcome.sequences[0].view(0)
    (model,) = models
    rows = rows_of(
        model, outcome.made[0], model.outputs[0], decoding="exact", duration_seconds=outcome.duration_seconds
    )
    if not isinstance(rows, FrameSequence):
        raise InvalidArgument(f"{model.encoder.spec.name} gives clips instead of frames")
    return rows


def _write(file: Path, rows: FrameSequence) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    vectors = rows.vectors.astype(np.float32)
    vectors *= rows.weights[:, None] / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    with drafted(file) as draft, draft.open("wb") as content:
        np.savez(
            content,
            times_seconds=rows.times_seconds,
            vectors=vectors.astype(np.float16),
            space=np.array(rows.space.to_json()),
        )
