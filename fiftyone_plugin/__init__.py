"""reelspace in FiftyOne: embeddings, classes and copies of the videos of a dataset."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

__all__ = ["register"]


def register(plugin: Any) -> None:
    """Called by FiftyOne with the plugin's context, which takes the operators that ``fiftyone.yml`` names."""
    if find_spec("reelspace") is None:
        from .not_installed import NotInstalled

        for name in plugin.plugin_definition.operators:
            plugin.register(partial(NotInstalled, name))
        return

    from .classification import ClassifyVideos
    from .copies import FindCopies
    from .embeddings import ComputeHieraVideoEmbeddings, ComputeVideoEmbeddings

    for operator in (ComputeHieraVideoEmbeddings, ComputeVideoEmbeddings, ClassifyVideos, FindCopies):
        plugin.register(operator)
