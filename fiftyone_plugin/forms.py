"""Parts of the forms."""

from __future__ import annotations

from collections.abc import Mapping

import fiftyone.operators as foo
from fiftyone.operators import types

from reelspace.core.clips import Mode
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument
from reelspace.models import require_normalizable

__all__ = ["WINDOWS", "choice", "encoder", "field_name", "licence", "normalize", "run_options", "windows"]

WINDOWS: Mapping[str, str] = {
    "squashed": "All of the video, squashed to the frames the model reads, as the original Hiera plugin does",
    "views": "The clips and crops of the model's own paper, averaged",
    "tiled": "Windows side by side over all of the video, averaged",
}


def choice(
    inputs: types.Object,
    name: str,
    values: Mapping[str, str],
    *,
    label: str,
    default: str | None = None,
    few: bool = False,
) -> None:
    """One of several values, with what they mean; as buttons where they are few, else as a list."""
    view = types.RadioGroup() if few else types.Dropdown()
    for value, meaning in values.items():
        view.add_choice(value, label=meaning)
    inputs.enum(name, view.values(), default=default, required=default is None, label=label, view=view)


def windows(inputs: types.Object, *, default: Mode) -> None:
    """Which parts of a video the model reads."""
    choice(inputs, "windows", WINDOWS, label="What the model reads", default=default, few=True)


def field_name(inputs: types.Object, name: str, *, label: str, default: str | None = None) -> None:
    """The field to write to."""
    inputs.str(
        name,
        required=default is None,
        default=default,
        label=label,
        description=f"Videos that cannot be read get the reason in <{name}>_error",
    )


def licence(inputs: types.Object, row: EncoderSpec) -> None:
    """What the weights may be used for, and what one should know before picking them."""
    restricted = row.weights.commercial is not True
    words = {True: "commercial use allowed", False: "no commercial use", None: "commercial use: ask the authors"}
    text = f"Licence of the weights: {row.weights.licence} ({words[row.weights.commercial]})"
    about = ". ".join(filter(None, (row.paper, row.score, row.remark)))
    inputs.view("licence", (types.Warning if restricted else types.Notice)(label=text, description=about))


def run_options(inputs: types.Object) -> None:
    """How to go about it."""
    inputs.int(
        "batch_size",
        min=1,
        required=False,
        label="Batch size",
        description="Clips computed at a time, of several videos; empty for what suits the device",
    )
    inputs.bool(
        "skip_computed",
        default=False,
        label="Skip samples that have a value",
        view=types.CheckboxView(),
    )


def normalize(ctx: foo.ExecutionContext, inputs: types.Object, *, output: str | None) -> None:
    """L2; where that says nothing, the reason."""
    refusal = None
    if output is not None and ctx.params.get("normalize"):
        try:
            require_normalizable(output)
        except InvalidArgument as error:
            refusal = str(error)
    inputs.bool(
        "normalize",
        default=False,
        label="Normalize embeddings?",
        description="Scale each vector to unit length (L2)" if refusal is None else refusal,
        view=types.CheckboxView(),
        invalid=refusal is not None,
        error_message=refusal,
    )


def encoder(ctx: foo.ExecutionContext, inputs: types.Object, rows: Mapping[str, EncoderSpec]) -> EncoderSpec | None:
    """One of these rows, with its licence; ``hf:ORG/NAME`` may be typed, too. The row, once it is chosen."""
    view = types.AutocompleteView(allow_user_input=True)
    for row in rows.values():
        view.add_choice(row.name, label=row.name, description=f"{row.weights.licence}. {row.score or row.paper}")
    inputs.str("encoder", required=True, label="Encoder", view=view)
    chosen = rows.get(ctx.params.get("encoder", ""))
    if chosen is not None:
        licence(inputs, chosen)
    return chosen
