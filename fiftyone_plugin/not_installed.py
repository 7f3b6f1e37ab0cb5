"""What answers in the operators' place where reelspace itself is not installed."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

__all__ = ["NotInstalled"]

_REMEDY = "reelspace is not installed beside FiftyOne; run: pip install 'reelspace[models]'"


class NotInstalled(foo.Operator):
    """An operator of that name whose form, and whose execution, say what to install."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._name = name

    @property
    def config(self) -> foo.OperatorConfig:
        """Found under the name of the operator it stands for."""
        return foo.OperatorConfig(self._name, label=f"reelspace: {self._name.replace('_', ' ')}")

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:  # noqa: ARG002 # FiftyOne's signature
        """A form that cannot be sent."""
        inputs = types.Object()
        inputs.view("missing", types.Error(label=_REMEDY), invalid=True, error_message=_REMEDY)
        return types.Property(inputs)

    def execute(self, ctx: foo.ExecutionContext) -> None:  # noqa: ARG002 # FiftyOne's signature
        """Refuses."""
        raise ModuleNotFoundError(_REMEDY, name="reelspace")

    def __call__(self, *_: Any, **__: Any) -> None:
        """Refuses."""
        raise ModuleNotFoundError(_REMEDY, name="reelspace")
