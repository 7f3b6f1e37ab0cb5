"""Which videos of a dataset show the same footage, and which frames."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from reelspace.core.results import CopyGroup
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument
from reelspace.extract.events import Event, FileDone
from reelspace.library import Library
from reelspace.media import probe

from . import forms
from .operator_base import Outcome, VideoOperator
from .samples import Tally, every_video, record, require_field, targets

__all__ = ["FindCopies"]

_NOTED = "reelspace_library"  # in the dataset's info: where its library lies
_USUAL_FRAME_RATE = 30  # FiftyOne's, for a container that tells none
_ATTRIBUTES = {
    "matched_id": fo.StringField,
    "matched_filepath": fo.StringField,
    "start_seconds": fo.FloatField,
    "end_seconds": fo.FloatField,
    "matched_start_seconds": fo.FloatField,
    "matched_end_seconds": fo.FloatField,
    "speed": fo.FloatField,
    "mirrored": fo.BooleanField,
}


class FindCopies(VideoOperator):
    """Writes a `fiftyone.TemporalDetection` for each stretch that another file shows, too."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            "find_copies",
            label="Find copies",
            description="Find videos that share footage, and the frames: edited, cut, mirrored or cropped",
            dynamic=True,
        )

    def fill(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.field_name(inputs, "field", label="Field to store the copied stretches in", default="copies")
        inputs.str(
            "library",
            required=False,
            label="Library",
            description=f"Folder that keeps what is known of each file; empty for {_place(ctx.dataset, None)}",
        )
        inputs.float(
            "threshold",
            min=0.0,
            max=1.0,
            required=False,
            label="Lowest score",
            description="Of a copied stretch; empty for the library's own",
        )

    def check(self, params: Mapping[str, Any]) -> None:
        threshold = params.get("threshold")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InvalidArgument(f"scores are in [0, 1], got a threshold of {threshold}")

    def work(self, ctx: foo.ExecutionContext) -> Tally:
        dataset, field = ctx.dataset, ctx.params.get("field") or "copies"
        paths = dict(zip(*targets(ctx).values(["id", "filepath"]), strict=True))
        require_field(dataset, field, fo.EmbeddedDocumentField, embedded_doc_type=fo.TemporalDetections)
        for name, kind in _ATTRIBUTES.items():
            require_field(dataset, f"{field}.detections.{name}", kind)
        require_field(dataset, f"{field}_group", fo.IntField)

        library = Library(_place(dataset, ctx.params.get("library")))
        dataset.info[_NOTED] = str(library.path)
        dataset.save()
        sources, reasons = _known(library, paths)
        broken = _indexed(ctx, library, list(sources.values()))
        reasons |= {id_: broken[source] for id_, source in sources.items() if source in broken}
        ctx.set_progress(0.95, label="comparing")
        found = _Found(dataset, library.copies(threshold=ctx.params.get("threshold")))
        for id_ in paths:
            if id_ in reasons:
                values, group = None, None
            else:
                values, group = found.detections(id_, sources[id_]), found.group(sources[id_])
            record(dataset, id_, {field: values, f"{field}_group": group}, field=field, error=reasons.get(id_))
        return Tally(len(paths) - len(reasons), 0, len(reasons))

    def __call__(
        self,
        sample_collection: fo.Dataset | fo.DatasetView,
        field: str = "copies",
        *,
        library: str | None = None,
        threshold: float | None = None,
        delegate: bool = False,
    ) -> Outcome:
        """Finds what the videos of a dataset have in common, with each other and with all that the library holds.

        Args:
            sample_collection: dataset or view.
            field: where to; the number of the group of files that share footage goes to ``<field>_group``, reasons
                of failures to ``<field>_error``.
            library: folder that keeps what is known of each file, so that a later run reads new files only. None
                for the one of the last run, or a new one beside FiftyOne's own data.
            threshold: lowest score of a copied stretch, in [0, 1]; None for the library's own.
            delegate: queue it for ``fiftyone delegated launch``.

        Raises:
            InvalidArgument: for a threshold that is no score.
        """
        params = {"field": field, "library": library, "threshold": threshold, "delegate": delegate}
        return self.run(sample_collection, params)


def _place(dataset: fo.Dataset, given: str | None) -> Path:
    usual = Path(fo.config.default_dataset_dir) / "reelspace" / dataset.name
    return Path(given or dataset.info.get(_NOTED) or usual).expanduser()


def _known(library: Library, paths: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """{sample: the name the library has for its file}, and {sample: why there is none}."""
    sources, missing = {}, {}
    for id_, path in paths.items():
        try:
            (sources[id_],) = library.find(path)
        except InvalidArgument:
            missing[id_] = "there is no such file"
    return sources, missing


def _indexed(ctx: foo.ExecutionContext, library: Library, sources: list[str]) -> dict[str, str]:
    """Brings the library up to date; {file: why it cannot be used}."""
    finished = 0
    with fo.ProgressBar(total=len(sources), iters_str="videos") as bar:

        def tell(event: Event) -> None:
            nonlocal finished
            if isinstance(event, FileDone):
                finished += 1
                bar.update()
                share = 0.9 * finished / len(sources)
                ctx.set_progress(
                    share, label=f"{finished} of {len(sources)} files, {event.outcome}: {event.source}"
                )

        report = library.add(sources, on_event=tell)
    return {file.source: file.reason or "failed" for file in (*report.failed, *report.known_failures)}


class _Found:
    """Groups of copies as values of samples."""

    def __init__(self, dataset: fo.Dataset, groups: Sequence[CopyGroup]) -> None:
        self._dataset = dataset
        ids, paths = every_video(dataset).values(["id", "filepath"])
        self._ids = dict(zip(paths, ids, strict=True))
        self._groups = {file: number for number, group in enumerate(groups, start=1) for file in group.files}
        self._stretches = defaultdict(list)
        for group in groups:
            for file, other, stretch in _both_ways(group):
                self._stretches[file].append((other, stretch))

    def group(self, source: str) -> int | None:
        """Number of the group of files that share footage, the most certain one first."""
        return self._groups.get(source)

    def detections(self, id_: str, source: str) -> fo.TemporalDetections:
        """The stretches of a sample that others show; none where it shares nothing."""
        stretches = self._stretches[source]
        if not stretches:
            return fo.TemporalDetections()
        frames = _Frames(self._dataset[id_], source)
        found = [
            fo.TemporalDetection(
                label=Path(other).name,
                support=frames.of(Span(stretch["start_seconds"], stretch["end_seconds"])),
                matched_id=self._ids.get(other),
                matched_filepath=other,
                **stretch,
            )
            for other, stretch in stretches
        ]
        return fo.TemporalDetections(detections=found)


def _both_ways(group: CopyGroup) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file, other, a stretch of the file that the other shows), best first, for both files of each pair."""
    for match in group.matches:
        for segment in match.segments:
            shared = {"confidence": segment.score, "mirrored": segment.mirrored}
            query, reference = segment.query, segment.reference
            yield match.query, match.reference, shared | _seconds(query, reference) | {"speed": segment.speed}
            yield match.reference, match.query, shared | _seconds(reference, query) | {"speed": 1 / segment.speed}


def _seconds(here: Span, there: Span) -> dict[str, float]:
    return {
        "start_seconds": here.start,
        "end_seconds": here.end,
        "matched_start_seconds": there.start,
        "matched_end_seconds": there.end,
    }


class _Frames:
    """From seconds of a video to the frame numbers FiftyOne shows it by."""

    def __init__(self, sample: fo.Sample, source: str) -> None:
        known = sample.metadata
        if known is not None and known.frame_rate:
            self._rate, self._count = known.frame_rate, known.total_frame_count
        else:
            video = probe(source)
            self._rate, self._count = float(video.frame_rate or _USUAL_FRAME_RATE), video.frame_count

    def of(self, span: Span) -> list[int]:
        """First and last frame, both counted from 1 and both within."""
        most = self._count or math.inf
        first = min(math.floor(span.start * self._rate) + 1, most)
        return [first, int(min(max(first, math.ceil(span.end * self._rate)), most))]
