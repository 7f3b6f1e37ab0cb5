"""What the operators share: how they are called, delegated, and what they say at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .samples import Tally

__all__ = ["Outcome", "VideoOperator"]

Outcome: TypeAlias = foo.executor.ExecutionResult | asyncio.Future[foo.executor.ExecutionResult]


class VideoOperator(foo.Operator):
    """An operator over the videos of a dataset or view, with a form, a notebook call and a tally."""

    def fill(self, ctx: foo.ExecutionContext, inputs: types.Object) -> None:
        """Puts the operator's own fields into the form."""
        raise NotImplementedError

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuses parameters that cannot be meant.

        Raises:
            InvalidArgument: saying what, what was got, and what next.
        """
        raise NotImplementedError

    def work(self, ctx: foo.ExecutionContext) -> Tally:
        """Does what the operator is for."""
        raise NotImplementedError

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form: the target view, the operator's own fields, whether to delegate."""
        inputs = types.Object()
        inputs.view_target(ctx, require_flat=True)
        self.fill(ctx, inputs)
        inputs.bool(
            "delegate",
            default=False,
            label="Delegate execution?",
            description="Queue it for `fiftyone delegated launch` instead of waiting for it here",
            view=types.CheckboxView(),
        )
        return types.Property(inputs)

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> bool:
        """As the form's checkbox, or the call, says."""
        return bool(ctx.params.get("delegate", False))

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:  # noqa: ARG002 # FiftyOne's signature
        """How many samples were done, left alone, and failed."""
        outputs = types.Object()
        outputs.int("done", label="Samples done")
        outputs.int("skipped", label="Left alone, done before")
        outputs.int("failed", label="Failed: the reason is on each sample")
        return types.Property(outputs)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, int]:
        """Does the work and has the App show it."""
        self.check(ctx.params)
        tally = self.work(ctx)
        ctx.ops.reload_dataset()
        return tally.to_dict()

    def run(self, samples: fo.Dataset | fo.DatasetView, params: dict[str, Any]) -> Outcome:
        """Executes or delegates from Python.

        Returns:
            the result; in a notebook, where a loop is running, something to ``await`` that gives it, and that
            raises what went wrong.

        Raises:
            InvalidArgument: for parameters that cannot be meant, at once and not from a queue.
        """
        self.check(params)
        where = {"view": samples} if isinstance(samples, fo.DatasetView) else {"dataset": samples}
        outcome = foo.execute_operator(self.uri, where, params=params)
        # FiftyOne's own task gives a failed result without raising, which a notebook would not show.
        return asyncio.ensure_future(_raising(outcome)) if isinstance(outcome, asyncio.Future) else outcome


async def _raising(task: asyncio.Future[foo.executor.ExecutionResult]) -> foo.executor.ExecutionResult:
    outcome = await task
    outcome.raise_exceptions()
    return outcome
