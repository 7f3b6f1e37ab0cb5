"""The real FiftyOne SDK on a database in memory, with the plugin installed as a user installs it: by its files.

FiftyOne is imported by the fixture `fo` and by nothing else, so that the other tests of a run never see it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from runpy import run_path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import save_file

from reelspace.encoders.models.hiera import Hiera
from reelspace.media.synthetic import render_clips

ROOT = Path(__file__).parents[2]
seeded_hiera = SimpleNamespace(**run_path(str(ROOT / "tests" / "parity" / "make_hiera.py")))

# A user's file for $REELSPACE_MODELS: Hiera, small enough for tests, fine-tuned and pre-trained alone.
ROWS = """
[[encoder]]
name = "hiera-tiny"
like = "hiera-base-16x224"
clip.frames = 6
preprocessing.crop = 64
preprocessing.size = 72
outputs = { terminal = 64, hierarchical = 120, logits = 400 }
options = { embed_dim = 8, stages = [1, 2, 3, 2] }
weights.folder = "."

[[encoder]]
name = "hiera-tiny-mae"
like = "hiera-base-16x224-mae"
clip.frames = 6
preprocessing.crop = 64
preprocessing.size = 72
outputs = { terminal = 64, hierarchical = 120 }
options = { embed_dim = 8, stages = [1, 2, 3, 2] }
weights.folder = "."
"""


# What others' code says while it is imported or runs, and that is not ours to mend.
OF_OTHERS = (
    "ignore:Passing a class to strawberry.scalar:DeprecationWarning",
    "ignore:No uuidRepresentation is specified:DeprecationWarning:mongoengine",
    "ignore:Tensorflow not installed:ImportWarning:umap",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The hook is told of all tests, whichever folder they are in."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for known in OF_OTHERS:
                item.add_marker(pytest.mark.filterwarnings(known))


@pytest.fixture(scope="session", name="fo")
def fixture_fo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """FiftyOne, without a MongoDB server: mongomock under pymongo and mongoengine."""
    plugins = tmp_path_factory.mktemp("plugins")
    shutil.copytree(ROOT / "fiftyone_plugin", plugins / "reelspace", ignore=shutil.ignore_patterns("__pycache__"))
    places = tmp_path_factory.mktemp("fiftyone")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "PLUGINS_DIR": plugins,
            "DO_NOT_TRACK": "true",
            "DATABASE_URI": "mongodb://localhost:27017",  # never contacted
            "DATABASE_VALIDATION": "false",
            "DATABASE_ADMIN": "false",
            "DATABASE_DIR": places / "database",
            "DEFAULT_DATASET_DIR": places / "data",
            "CONFIG_PATH": places / "config.json",
            "SHOW_PROGRESS_BARS": "false",
            "ALLOW_LEGACY_ORCHESTRATORS": "true",
        }.items():
            patched.setenv(f"FIFTYONE_{name}", str(value))
        import mongoengine
        import mongomock.gridfs
        import pymongo
        from mongomock.store import ServerStore

        mongomock.gridfs.enable_gridfs_integration()  # where results of the brain are kept
        store = ServerStore()  # one, so that both clients see the same data

        class InMemory(mongomock.MongoClient):
            _closed = False  # FiftyOne asks for it; mongomock would answer with a database of that name

            def __init__(self, *args: Any, **options: Any) -> None:
                known = {name: value for name, value in options.items() if name not in {"appname", "driver"}}
                super().__init__(*args, _store=store, **known)

        patched.setattr(pymongo, "MongoClient", InMemory)
        patched.setattr(mongoengine, "connect", partial(mongoengine.connect, mongo_client_class=InMemory))
        yield import_module("fiftyone")


@pytest.fixture(scope="session", name="videos")
def fixture_videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three clips of about three seconds, then a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    return [*render_clips(folder, count=3, seconds=3, scale=0.4, seed=5), broken]


@pytest.fixture(scope="session", name="_tiny_hiera", autouse=True)
def fixture_tiny_hiera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two rows of a user's own, with seeded weights."""
    import torch

    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.toml").write_text(ROWS)
    with torch.device("meta"):
        network = Hiera(classes=400, frames=6, side=64, embed_dim=8, heads=1, stages=[1, 2, 3, 2])
    tensors = seeded_hiera.seeded({name: value.shape for name, value in network.state_dict().items()})
    save_file(tensors, folder / "model.safetensors")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REELSPACE_MODELS", str(folder / "rows.toml"))
        yield


@pytest.fixture(name="dataset")
def fixture_dataset(fo: ModuleType, videos: list[Path]) -> Iterator[Any]:
    made = fo.Dataset()
    made.media_type = "video"
    made.add_samples([fo.Sample(filepath=str(path)) for path in videos])
    yield made
    made.delete()


@pytest.fixture(name="operator")
def fixture_operator(fo: ModuleType) -> Callable[[str], Any]:
    """Finds an operator of the plugin as a user does."""
    return lambda name: import_module("fiftyone.operators").get_operator(f"@reelspace/video/{name}")


@pytest.fixture(name="form")
def fixture_form(fo: ModuleType, operator: Callable[[str], Any]) -> Callable[..., Mapping[str, Any]]:
    """The fields of an operator's form, as the App gets them, once some are filled in."""

    def resolve(name: str, dataset: Any, **params: Any) -> Mapping[str, Any]:
        executor = import_module("fiftyone.operators.executor")
        ctx = executor.ExecutionContext({"dataset_name": dataset.name, "params": params, "view": []})
        return operator(name).resolve_type(ctx, "inputs").to_json()["type"]["properties"]

    return resolve
