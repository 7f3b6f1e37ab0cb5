"""What is in a video, by any classifier of the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from fiftyone.operators import types

from reelspace.core.clips import Mode
from reelspace.encoders.catalog import catalog
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.extract.models import Computed
from reelspace.models import named_output, open_model

from . import forms
from .operator_base import Outcome, VideoOperator
from .samples import Tally, require_field, write_encoded

__all__ = ["ClassifyVideos"]


class ClassifyVideos(VideoOperator):
    """Writes the likeliest classes of each video as `fiftyone.Classifications`."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            "classify_videos",
            label="Classify videos",
            description="Write the likeliest classes of each video, by any classifier of reelspace",
            dynamic=True,
        )

    def fill(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        forms.encoder(ctx, inputs, {name: row for name, row in catalog().items() if "logits" in row.outputs})
        forms.field_name(inputs, "label_field", label="Field to store the classes in", default="classes")
        inputs.int("top_k", min=1, default=5, label="Classes per video")
        forms.windows(inputs, default="views")
        forms.run_options(inputs)

    def check(self, params: Mapping[str, Any]) -> None:
        _classifier(params["encoder"])
        windows, top_k = params.get("windows") or "views", params.get("top_k", 5)
        if windows not in forms.WINDOWS:
            raise UnknownName("windows", windows, forms.WINDOWS)
        if top_k < 1:
            raise InvalidArgument(f"at least one class is named, got {top_k}")

    def work(self, ctx: foo.ExecutionContext) -> Tally:
        field = ctx.params.get("label_field") or "classes"
        require_field(ctx.dataset, field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classifications)
        row = _classifier(ctx.params["encoder"])
        model = open_model(row, outputs=("logits",), windows=ctx.params.get("windows") or "views")
        names = model.encoder.labels or tuple(f"class {i}" for i in range(row.outputs["logits"]))
        count = ctx.params.get("top_k", 5)
        return write_encoded(
            ctx,
            model,
            field,
            lambda made: _likeliest(made, names, count),
            identity=str(model.space("logits")),
            batch=ctx.params.get("batch_size"),
            skip_computed=bool(ctx.params.get("skip_computed")),
        )

    def __call__(
        self,
        sample_collection: fo.Dataset | fo.DatasetView,
        encoder: str,
        label_field: str = "classes",
        *,
        top_k: int = 5,
        windows: Mode = "views",
        batch_size: int | None = None,
        skip_computed: bool = False,
        delegate: bool = False,
    ) -> Outcome:
        """Writes the likeliest classes of each video, best first, with their probabilities as confidence.

        Args:
            sample_collection: dataset or view.
            encoder: a classifier of the catalog (``reelspace models --classes`` lists them), or ``hf:ORG/NAME``.
            label_field: where to; reasons of failures go to ``<label_field>_error``.
            top_k: classes per video.
            windows: what is read of a video, see `ClipSpec`; probabilities are averaged.
            batch_size: clips computed at a time; None for what suits the device.
            skip_computed: leave samples alone that have classes.
            delegate: queue it for ``fiftyone delegated launch``.

        Raises:
            InvalidArgument: for what is not known, or an encoder without classes.
        """
        params = {
            "encoder": encoder,
            "label_field": label_field,
            "top_k": top_k,
            "windows": windows,
            "batch_size": batch_size,
            "skip_computed": skip_computed,
            "delegate": delegate,
        }
        return self.run(sample_collection, params)


def _classifier(name: str) -> EncoderSpec:
    row, _ = named_output(name)
    if "logits" not in row.outputs:
        raise InvalidArgument(f"{row.name} has no classes; `reelspace models --classes` lists those that have")
    return row


def _likeliest(made: Computed, names: Sequence[str], count: int) -> fo.Classifications:
    probabilities = made.probabilities().mean(axis=0)
    best = np.argsort(-probabilities, kind="stable")[:count]
    return fo.Classifications(
        classifications=[fo.Classification(label=names[i], confidence=float(probabilities[i])) for i in best]
    )
