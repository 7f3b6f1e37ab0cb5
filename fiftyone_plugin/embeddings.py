"""Vectors of videos: the call of the FiftyOne Hiera plugin, and every encoder of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from fiftyone.operators import types
from numpy.typing import NDArray

from reelspace.core.clips import Mode
from reelspace.encoders.catalog import catalog
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import UnknownName
from reelspace.extract.models import Computed
from reelspace.models import named_output, open_model, require_normalizable

from . import forms
from .operator_base import Outcome, VideoOperator
from .samples import Tally, require_field, write_encoded

__all__ = ["ComputeHieraVideoEmbeddings", "ComputeVideoEmbeddings"]

_CHECKPOINTS = {
    "mae_k400": "Pre-trained alone (masked autoencoding on Kinetics-400): weak for retrieval",
    "mae_k400_ft_k400": "Fine-tuned on the labels of Kinetics-400",
}
_TYPES = {
    "terminal": "The last stage: what is in the video",
    "hierarchical": "All stages end to end: from texture to meaning",
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One vector per video: of which output of which row, made how, to be kept where.

    Raises:
        InvalidArgument: for an output the row does not have, other windows, or an L2 that would mean nothing.
    """

    row: EncoderSpec
    output: str
    field: str
    windows: Mode
    normalize: bool

    def __post_init__(self) -> None:
        self.row.require_output(self.output)
        if self.windows not in forms.WINDOWS:
            raise UnknownName("windows", self.windows, forms.WINDOWS)
        if self.normalize:
            require_normalizable(self.output)

    def vector(self, made: Computed) -> NDArray[np.float32]:
        """float32 (D,): the mean over all windows and crops that were read; of unit length where that is wanted."""
        vector = made.pooled().vectors[self.output][0]
        length = max(float(np.linalg.norm(vector)), 1e-12) if self.normalize else 1.0
        return np.asarray(vector / length, np.float32)


class _Embeddings(VideoOperator):
    def wanted(self, params: Mapping[str, Any]) -> _Wanted:
        """What the parameters mean."""
        raise NotImplementedError

    def check(self, params: Mapping[str, Any]) -> None:
        self.wanted(params)

    def work(self, ctx: foo.ExecutionContext) -> Tally:
        wanted = self.wanted(ctx.params)
        require_field(ctx.dataset, wanted.field, fo.VectorField)
        model = open_model(wanted.row, outputs=(wanted.output,), windows=wanted.windows)
        return write_encoded(
            ctx,
            model,
            wanted.field,
            wanted.vector,
            identity=f"{model.space(wanted.output)}{', unit length' if wanted.normalize else ''}",
            batch=ctx.params.get("batch_size"),
            skip_computed=bool(ctx.params.get("skip_computed")),
        )


class ComputeHieraVideoEmbeddings(_Embeddings):
    """Takes the call of the FiftyOne Hiera plugin, and computes what it means."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            "compute_hiera_video_embeddings",
            label="Hiera video embeddings",
            description="Compute one embedding per video with a Hiera model",
            dynamic=True,
        )

    def fill(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        rows = _hiera_rows()
        models = {model: model for model, _ in rows}
        forms.choice(inputs, "model_name", models, label="Embedding model")
        forms.choice(inputs, "checkpoint", _CHECKPOINTS, label="Checkpoint", few=True)
        row = rows.get((ctx.params.get("model_name"), ctx.params.get("checkpoint")))
        if row is not None:
            forms.licence(inputs, row)
        forms.choice(inputs, "embedding_types", _TYPES, label="Embedding type", few=True)
        forms.normalize(ctx, inputs, output=ctx.params.get("embedding_types"))
        forms.field_name(inputs, "emb_field", label="Field to store the embeddings in")
        forms.windows(inputs, default="squashed")
        forms.run_options(inputs)

    def wanted(self, params: Mapping[str, Any]) -> _Wanted:
        rows = _hiera_rows()
        model, checkpoint = params["model_name"], params["checkpoint"]
        if checkpoint not in _CHECKPOINTS:
            raise UnknownName("checkpoint of Hiera", checkpoint, _CHECKPOINTS)
        if (model, checkpoint) not in rows:
            raise UnknownName("Hiera model", model, [m for m, c in rows if c == checkpoint])
        if params["embedding_types"] not in _TYPES:
            raise UnknownName("type of embedding", params["embedding_types"], _TYPES)
        return _Wanted(
            rows[model, checkpoint],
            params["embedding_types"],
            params["emb_field"],
            params.get("windows") or "squashed",
            bool(params.get("normalize")),
        )

    def __call__(
        self,
        sample_collection: fo.Dataset | fo.DatasetView,
        model_name: str,
        checkpoint: str,
        emb_field: str,
        embedding_types: str,
        normalize: bool = False,  # noqa: FBT001, FBT002 # the plugin's own signature
        delegate: bool = False,  # noqa: FBT001, FBT002
        *,
        windows: Mode = "squashed",
        batch_size: int | None = None,
        skip_computed: bool = False,
    ) -> Outcome:
        """Computes one vector per video and keeps it on the samples.

        Args:
            sample_collection: dataset or view.
            model_name: such as ``hiera_base_16x224``; rows of ``$REELSPACE_MODELS`` that are like one count, too.
            checkpoint: ``mae_k400`` or ``mae_k400_ft_k400``.
            emb_field: where to; reasons of failures go to ``<emb_field>_error``.
            embedding_types: ``terminal`` or ``hierarchical``.
            normalize: scale to unit length (L2); of ``terminal`` only.
            delegate: queue it for ``fiftyone delegated launch``.
            windows: ``squashed``, ``views`` or ``tiled``, see `ClipSpec`.
            batch_size: clips computed at a time; None for what suits the device.
            skip_computed: leave samples alone that have a vector.

        Raises:
            InvalidArgument: for what is not known, or has no meaning.
        """
        params = {
            "model_name": model_name,
            "checkpoint": checkpoint,
            "emb_field": emb_field,
            "embedding_types": embedding_types,
            "normalize": normalize,
            "delegate": delegate,
            "windows": windows,
            "batch_size": batch_size,
            "skip_computed": skip_computed,
        }
        return self.run(sample_collection, params)


class ComputeVideoEmbeddings(_Embeddings):
    """Any output of any encoder of the catalog."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            "compute_video_embeddings",
            label="Video embeddings",
            description="Compute one embedding per video with any encoder of reelspace",
            dynamic=True,
        )

    def fill(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        rows = catalog()
        row = forms.encoder(ctx, inputs, rows)
        if row is None:
            return
        outputs = {name: f"{name}: {size} numbers" for name, size in row.outputs.items()}
        forms.choice(inputs, "output", outputs, label="Output", default=row.default_output)
        forms.normalize(ctx, inputs, output=ctx.params.get("output", row.default_output))
        forms.field_name(inputs, "emb_field", label="Field to store the embeddings in")
        forms.windows(inputs, default=_usual_windows(row))
        forms.run_options(inputs)

    def wanted(self, params: Mapping[str, Any]) -> _Wanted:
        row, output = named_output(params["encoder"])
        return _Wanted(
            row,
            params.get("output") or output or row.default_output,
            params["emb_field"],
            params.get("windows") or _usual_windows(row),
            bool(params.get("normalize")),
        )

    def __call__(
        self,
        sample_collection: fo.Dataset | fo.DatasetView,
        encoder: str,
        emb_field: str,
        *,
        output: str | None = None,
        windows: Mode | None = None,
        normalize: bool = False,
        batch_size: int | None = None,
        skip_computed: bool = False,
        delegate: bool = False,
    ) -> Outcome:
        """Computes one vector per video and keeps it on the samples.

        Args:
            sample_collection: dataset or view.
            encoder: a name of the catalog (``reelspace models`` lists them), ``NAME:OUTPUT`` or ``hf:ORG/NAME``.
            emb_field: where to; reasons of failures go to ``<emb_field>_error``.
            output: one of the encoder's; None for its default.
            windows: see `ClipSpec`; None for the views of its paper, and for all of the video where the encoder
                reads single pictures. More than one vector are averaged.
            normalize: scale to unit length (L2).
            batch_size: clips computed at a time; None for what suits the device.
            skip_computed: leave samples alone that have a vector.
            delegate: queue it for ``fiftyone delegated launch``.

        Raises:
            InvalidArgument: for what is not known, or has no meaning.
        """
        params = {
            "encoder": encoder,
            "emb_field": emb_field,
            "output": output,
            "windows": windows,
            "normalize": normalize,
            "batch_size": batch_size,
            "skip_computed": skip_computed,
            "delegate": delegate,
        }
        return self.run(sample_collection, params)


def _hiera_rows() -> dict[tuple[str, str], EncoderSpec]:
    """{(model_name, checkpoint): row}, as the plugin names them; a user's own rows among them."""
    return {
        (
            row.name.removesuffix("-mae").replace("-", "_"),
            "mae_k400_ft_k400" if "logits" in row.outputs else "mae_k400",
        ): row
        for row in catalog().values()
        if row.factory.endswith(".hiera:hiera")  # not those that load a decoder as well, for the same features
    }


def _usual_windows(row: EncoderSpec) -> Mode:
    return "tiled" if row.of_pictures else "views"
