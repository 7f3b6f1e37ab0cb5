"""Samples in, fields out: which videos are meant, what is written to them, and where the reasons of failures go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.core.clips import ClipsView

from reelspace.errors import InvalidArgument, MediaError
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Computed, Model

__all__ = ["Tally", "error_field", "every_video", "record", "require_field", "targets", "write_encoded"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the samples: done, left alone because they were done before, failed."""

    done: int
    skipped: int
    failed: int

    def to_dict(self) -> dict[str, int]:
        """Plain values, as FiftyOne stores the result of a run."""
        return asdict(self)


def targets(ctx: foo.ExecutionContext) -> fo.Dataset | fo.DatasetView:
    """The samples that are meant: videos, one sample each; of a grouped dataset the active slice.

    Raises:
        InvalidArgument: for pictures, and for views whose samples are parts of videos.
    """
    view = ctx.target_view(require_flat=True)
    if isinstance(view, ClipsView):
        raise InvalidArgument("a view of clips has many samples per video; choose the videos themselves as target")
    if len(view) and view.media_type != fo.core.media.VIDEO:
        raise InvalidArgument(f"these operators read videos, the target holds samples of type {view.media_type!r}")
    return view


def every_video(dataset: fo.Dataset) -> fo.Dataset | fo.DatasetView:
    """All of them: of a grouped dataset, which shows one slice at a time, those of every slice."""
    grouped = dataset.media_type == fo.core.media.GROUP
    return dataset.select_group_slices(media_type=fo.core.media.VIDEO) if grouped else dataset


def error_field(field: str) -> str:
    """Where the reason is kept when a video cannot be used."""
    return f"{field}_error"


def require_field(dataset: fo.Dataset, field: str, kind: type[fo.Field], **options: Any) -> None:
    """Adds a field to the dataset, unless it is there.

    Raises:
        InvalidArgument: when a field of that name holds something else.
    """
    try:
        dataset.add_sample_field(field, kind, **options)
    except ValueError as error:
        raise InvalidArgument(f"{field!r} cannot be used, choose another field: {error}") from error


def record(
    dataset: fo.Dataset, sample_id: str, values: Mapping[str, Any], *, field: str, error: str | None
) -> None:
    """Writes values to one sample, and the reason of a failure; an old reason is wiped."""
    sample = dataset[sample_id]
    for name, value in values.items():
        sample[name] = value
    if error is not None:
        require_field(dataset, error_field(field), fo.StringField)
    if sample.has_field(error_field(field)):
        sample[error_field(field)] = error
    sample.save()


def write_encoded(
    ctx: foo.ExecutionContext,
    model: Model,
    field: str,
    value: Callable[[Computed], Any],
    *,
    identity: str,
    batch: int | None,
    skip_computed: bool,
) -> Tally:
    """Runs a model over the target and writes what it makes of each video, video by video as they are done.

    Several files are decoded side by side and clips are batched across them. A video that cannot be used gets the
    reason in `error_field`, and no value. A file that several samples show is read once.

    Args:
        ctx: tells the target and takes the progress.
        model: what to run.
        field: of the dataset; it is there already.
        value: what to write, from what the model made.
        identity: of the values: what must be equal before two of them may be compared.
        batch: clips computed at a time; None for what suits the device.
        skip_computed: leave samples alone that have a value.

    Raises:
        InvalidArgument: when the field would come to hold values of two kinds.
    """
    dataset, view = ctx.dataset, targets(ctx)
    everything = dict(zip(*view.values(["id", "filepath"]), strict=True))
    having = set(every_video(dataset).match({field: {"$ne": None}}).values("id"))
    todo = {id_: path for id_, path in everything.items() if not (skip_computed and id_ in having)}
    _claim(dataset, field, identity, model, kept=len(having - todo.keys()))

    samples: dict[str, list[str]] = defaultdict(list)  # of each file
    for id_, path in todo.items():
        samples[path].append(id_)
    done = failed = 0
    with fo.ProgressBar(total=len(samples), iters_str="videos") as bar:
        for outcome in bar(encode_videos(list(samples), [model], batch=batch)):
            showing = samples[outcome.source]
            if isinstance(outcome, MediaError):
                written, error = None, outcome.reason
                failed += len(showing)
            else:
                written, error = value(outcome.made[0]), None
                done += len(showing)
            for id_ in showing:
                record(dataset, id_, {field: written}, field=field, error=error)
            share = (done + failed) / len(todo)
            ctx.set_progress(share, label=f"{done + failed} of {len(todo)} videos, {failed} failed")
    return Tally(done, len(everything) - len(todo), failed)


def _claim(dataset: fo.Dataset, field: str, identity: str, model: Model, *, kept: int) -> None:
    """Notes on the field what its values are."""
    declared = dataset.get_field(field)
    held = (declared.info or {}).get("reelspace")
    if kept and held != identity:
        raise InvalidArgument(
            f"samples that would keep their value of {field!r}: {kept}; made as {held or 'nobody wrote down'}, it "
            f"cannot be compared with {identity}; choose another field, or compute the whole dataset, skipping none"
        )
    if held != identity:
        dataset.clear_sample_field(field)  # else a run that is stopped would leave both kinds behind
    row = model.encoder.spec
    declared.description = f"{row.name}, {model.clip.mode}; weights: {row.weights.licence}"
    declared.info = {"reelspace": identity, "encoder": row.name, "licence": row.weights.licence, "paper": row.paper}
    declared.save()
