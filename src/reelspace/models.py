"""Models over files, without a library: embeddings, and what is in a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reelspace.core.clips import Mode
from reelspace.core.embeddings import Embeddings, until_next
from reelspace.core.predictions import Classified, Moment, Prediction
from reelspace.core.time import Span
from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.load import Dtype, load_encoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MediaError
from reelspace.extract.encode import Encoded, encode_videos
from reelspace.extract.models import Computed, Model
from reelspace.media.sources import find_videos

__all__ = ["Embedded", "classify", "embed", "named_output", "open_model", "open_models", "require_normalizable"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Progress = Callable[[str, float], None]


def open_model(
    name: str | EncoderSpec,
    *,
    outputs: Sequence[str] = (),
    windows: Mode = "tiled",
    device: str = "auto",
    dtype: Dtype = "float32",
    compiled: bool = False,
) -> Model:
    """Loads a model and says how it is to read videos.

    Args:
        name: a name of the catalog, ``NAME:OUTPUT``, ``hf:ORG/NAME``, or a row.
        outputs: what it is to give, where the name does not say; none for its default output.
        windows: the mode of `ClipSpec`: ``tiled`` (a vector per window), ``views`` (one per video, as in its paper)
            or ``squashed``.
        device: see `load_encoder`.
        dtype: likewise.
        compiled: likewise.

    Raises:
        UnknownName, MissingExtra, CheckpointError, FormatError: see `load_encoder`.
    """
    row, wanted = named_output(name)
    chosen = tuple(outputs) or ((wanted,) if wanted else (row.default_output,))
    for output in chosen:
        if output not in row.maps:
            row.require_output(output)
    encoder = load_encoder(row, device=device, dtype=dtype, compiled=compiled)
    return Model(encoder, chosen, replace(row.clip, mode=windows))


def open_models(
    names: Iterable[str | EncoderSpec],
    *,
    windows: Mode = "tiled",
    device: str = "auto",
    dtype: Dtype = "float32",
    compiled: bool = False,
) -> list[Model]:
    """As `open_model`, of several names; those that name outputs of one encoder become one model, computed once."""
    wanted: dict[str, tuple[EncoderSpec, list[str]]] = {}
    for name in names:
        row, output = named_output(name)
        _, outputs = wanted.setdefault(row.name, (row, []))
        if (chosen := output or row.default_output) not in outputs:
            outputs.append(chosen)
    return [
        open_model(row, outputs=outputs, windows=windows, device=device, dtype=dtype, compiled=compiled)
        for row, outputs in wanted.values()
    ]


def named_output(name: str | EncoderSpec) -> tuple[EncoderSpec, str | None]:
    """The row, and the output that ``NAME:OUTPUT`` names, if it names one.

    Raises:
        UnknownName: when there is no such encoder, or no such output.
    """
    if isinstance(name, EncoderSpec):
        return name, None
    if name in catalog() or name.count(":") == int(name.startswith("hf:")):
        return find(name), None
    encoder, _, output = name.rpartition(":")
    row = find(encoder)
    return row, output if output in row.maps else row.require_output(output)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The vectors of some files, and the files that gave none.

    Attributes:
        embeddings: float32, videos in the order in which they were found; a video's id is its path or URL.
        failed: one error for each file that could not be used.
    """

    embeddings: Embeddings
    failed: tuple[MediaError, ...]

    def __getitem__(self, source: str) -> NDArray[np.float32]:
        """The vectors of one file as the model gave them: float32 (N, D)."""
        i = self.embeddings.video_ids.index(source)
        first, last = self.embeddings.bounds[i : i + 2]
        return np.asarray(self.embeddings.vectors[first:last] * self.embeddings.norms[first:last, None])


def embed(
    paths: Paths,
    encoder: str | EncoderSpec | Model,
    *,
    windows: Mode = "tiled",
    normalize: bool = False,
    device: str = "auto",
    dtype: Dtype = "float32",
    compiled: bool = False,
    workers: int | None = None,
    batch: int | None = None,
    keep_partial: bool = False,
    on_progress: Progress | None = None,
) -> Embedded:
    """The vectors one encoder gives for files, folders, globs or URLs; each file is decoded once, many at a time.

    Args:
        paths: one or many.
        encoder: see `open_model`.
        windows: likewise.
        normalize: scale each vector to unit length (L2).
        device: see `load_encoder`.
        dtype: likewise.
        compiled: likewise.
        workers: files decoded at the same time; None for one per core.
        batch: clips computed at a time; None for what suits the device.
        keep_partial: take what decodes of truncated files.
        on_progress: told (source, second of the video) now and then, from other threads.

    Raises:
        InvalidArgument: naming every path that is not there; for ``normalize`` where it has no meaning.
        UnknownName, MissingExtra, CheckpointError, FormatError: see `load_encoder`.
    """
    sources = find_videos(paths)
    model = _opened(encoder, windows=windows, device=device, dtype=dtype, compiled=compiled)
    output = model.encoder.spec.require_output(model.outputs[0])
    if normalize:
        require_normalizable(output)
    found: dict[str, Encoded] = {}
    failed: list[MediaError] = []
    for outcome in encode_videos(
        sources, [model], workers=workers, batch=batch, keep_partial=keep_partial, on_progress=on_progress
    ):
        if isinstance(outcome, MediaError):
            failed.append(outcome)
        else:
            found[outcome.source] = outcome
    in_order = [found[source] for source in dict.fromkeys(sources) if source in found]
    return Embedded(_embeddings(model, output, in_order, normalize=normalize), tuple(failed))


def require_normalizable(output: str) -> None:
    """Refuses L2 where it would say nothing.

    Raises:
        InvalidArgument: for ``hierarchical`` and ``logits``.
    """
    if output == "hierarchical":
        raise InvalidArgument(
            "hierarchical vectors are the stages end to end, each on its own scale: one L2 over all would let the "
            "largest stage drown the others; normalise 'terminal' instead, or each stage by itself"
        )
    if output == "logits":
        raise InvalidArgument("logits are not an embedding; there is nothing to normalise")


def classify(
    paths: Paths,
    encoders: Sequence[str | EncoderSpec | Model],
    *,
    top_k: int = 5,
    windows: Mode = "views",
    device: str = "auto",
    dtype: Dtype = "float32",
    compiled: bool = False,
    workers: int | None = None,
    batch: int | None = None,
    on_progress: Progress | None = None,
) -> Iterator[tuple[Classified, ...] | MediaError]:
    """What several classifiers say of files; each file is decoded once for all of them.

    Yields, for each file, one `Classified` per encoder in the order given, or the error that it ended with.

    Args:
        paths: files, folders, globs or URLs.
        encoders: see `open_model`; each must have logits.
        top_k: classes to name.
        windows: ``views`` reads each video as the paper's own test does; ``tiled`` all of it, window by window.
        device: see `load_encoder`.
        dtype: likewise.
        compiled: likewise.
        workers: files decoded at the same time; None for one per core.
        batch: clips computed at a time; None for what suits the device.
        on_progress: told (source, second of the video) now and then, from other threads.

    Raises:
        InvalidArgument: when an encoder has no classes, none is given, or ``top_k`` is below 1.
    """
    if top_k < 1 or not encoders:
        raise InvalidArgument(f"classify takes at least one encoder and names at least one class, got {top_k}")
    sources = find_videos(paths)
    for encoder in encoders:
        row, output = (encoder.encoder.spec, None) if isinstance(encoder, Model) else named_output(encoder)
        if output not in {None, "logits"}:
            raise InvalidArgument(f"classify goes by the logits of {row.name}, not by {output!r}; leave that out")
        if "logits" not in row.outputs:
            raise InvalidArgument(f"{row.name} has no classes; `reelspace models --classes` lists those that have")
    models = [
        _opened(e, outputs=("logits",), windows=windows, device=device, dtype=dtype, compiled=compiled)
        for e in encoders
    ]
    for outcome in encode_videos(sources, models, workers=workers, batch=batch, on_progress=on_progress):
        if isinstance(outcome, MediaError):
            yield outcome
        else:
            yield tuple(
                _classified(outcome, model, made, top_k) for model, made in zip(models, outcome.made, strict=True)
            )


def _opened(
    encoder: str | EncoderSpec | Model,
    *,
    windows: Mode,
    device: str,
    dtype: Dtype,
    compiled: bool,
    outputs: Sequence[str] = (),
) -> Model:
    if isinstance(encoder, Model):
        return replace(encoder, outputs=tuple(outputs) or encoder.outputs)
    row = named_output(encoder)[0] if outputs else encoder
    return open_model(row, outputs=outputs, windows=windows, device=device, dtype=dtype, compiled=compiled)


def _embeddings(model: Model, output: str, found: Sequence[Encoded], *, normalize: bool) -> Embeddings:
    made = [f.made[0].pooled() if model.clip.mode == "views" else f.made[0] for f in found]
    vectors = [m.vectors[output] for m in made] or [np.empty((0, model.encoder.spec.outputs[output]), np.float32)]
    stacked = np.concatenate(vectors)
    norms = np.linalg.norm(stacked, axis=1)
    ends = [
        until_next(m.starts_seconds, np.array([0, len(m.starts_seconds)]), [f.duration_seconds])
        if model.in_frames
        else np.minimum(m.ends_seconds, f.duration_seconds)
        for m, f in zip(made, found, strict=True)
    ]
    return Embeddings(
        stacked / np.maximum(norms, np.finfo(np.float32).tiny)[:, None],
        np.ones_like(norms) if normalize else norms,
        np.concatenate([np.empty(0), *(m.starts_seconds for m in made)]),
        np.concatenate([np.empty(0), *ends]),
        np.cumsum([0, *(len(m.starts_seconds) for m in made)], dtype=np.int64),
        tuple(f.source for f in found),
        model.space(output),
    )


def _classified(video: Encoded, model: Model, made: Computed, top_k: int) -> Classified:
    probabilities = made.probabilities()
    names = model.encoder.labels or tuple(f"class {i}" for i in range(probabilities.shape[1]))
    # The crops of a clip, which follow one another, are one window.
    edges = [0, *(np.flatnonzero(np.diff(made.starts_seconds)) + 1).tolist(), len(made.starts_seconds)]
    moments = tuple(
        Moment(
            Span(float(made.starts_seconds[a]), float(min(made.ends_seconds[a], video.duration_seconds))),
            _top(probabilities[a:b].mean(axis=0), names, top_k),
        )
        for a, b in pairwise(edges)
    )
    return Classified(
        video.source,
        model.encoder.spec.name,
        model.encoder.spec.weights.licence,
        _top(probabilities.mean(axis=0), names, top_k),
        moments,
        len(probabilities),
        made.spent_seconds,
    )


def _top(probabilities: NDArray[np.float32], names: Sequence[str], count: int) -> tuple[Prediction, ...]:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return tuple(Prediction(names[i], int(i), float(probabilities[i])) for i in best)
