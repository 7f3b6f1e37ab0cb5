"""The plugin as FiftyOne sees it: found by its files, and plain about what is missing."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from reelspace.errors import InvalidArgument

OPERATORS = ["compute_hiera_video_embeddings", "compute_video_embeddings", "classify_videos", "find_copies"]


def test_fiftyone_finds_the_plugin_and_its_operators_in_its_folder(fo) -> None:
    import fiftyone.operators as foo
    import fiftyone.plugins as fop

    (plugin,) = (p for p in fop.list_plugins() if p.name == "@reelspace/video")
    assert plugin.operators == OPERATORS
    assert not Path(plugin.directory).is_relative_to(Path(__file__).parents[2])
    found = {o.name: o for o in foo.list_operators(builtin=False)}
    assert set(OPERATORS) <= set(found)
    assert all(found[name].config.label and found[name].config.description for name in OPERATORS)
    assert foo.registry.OperatorRegistry().list_errors() == []


@pytest.mark.parametrize("name", OPERATORS)
def test_without_reelspace_every_operator_says_what_to_install(dataset, operator, form, monkeypatch, name) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *rest: None if n == "reelspace" else find(n, *rest))
    asked = form(name, dataset)["missing"]
    assert asked["invalid"]
    assert "pip install 'reelspace[models]'" in asked["view"]["label"]
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reelspace\[models\]'"):
        operator(name)(dataset, "anything")


def test_pictures_are_refused(fo, operator) -> None:
    pictures = fo.Dataset()
    pictures.add_sample(fo.Sample(filepath="/nowhere/picture.jpg"))
    with pytest.raises(Exception, match="samples of type 'image'"):
        operator("compute_video_embeddings")(pictures, "hiera-tiny", "e")
    pictures.delete()


def test_a_view_of_clips_is_refused(fo, operator) -> None:
    from fiftyone.core.clips import ClipsView

    samples = import_module(f"{type(operator('find_copies')).__module__.rpartition('.')[0]}.samples")
    view = object.__new__(ClipsView)  # the database in memory cannot make one
    with pytest.raises(InvalidArgument, match="choose the videos themselves"):
        samples.targets(SimpleNamespace(target_view=lambda **_: view))
