"""The table of models: names, and rows filled from the hub."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hub_server import HubServer

from reelspace.encoders.catalog import catalog, find, register
from reelspace.encoders.load import label_names
from reelspace.errors import CheckpointError, InvalidArgument, UnknownName

VIDEOMAE = {
    "model_type": "videomae",
    "architectures": ["VideoMAEForVideoClassification"],
    "hidden_size": 48,
    "image_size": 32,
    "num_frames": 4,
    "id2label": {"0": "resting", "1": "running"},
}
FILES = {"config.json": json.dumps(VIDEOMAE).encode(), "model.safetensors": b"not read here"}


def test_every_row_has_a_name_of_its_own_and_says_what_it_may_be_used_for() -> None:
    for name, row in catalog().items():
        assert row.name == name
        assert row.weights.licence, name
        assert row.paper, name


def test_every_table_of_labels_named_by_a_row_has_as_many_names_as_it_has_logits() -> None:
    tables = {row.labels: row.outputs["logits"] for row in catalog().values() if row.labels not in {None, "config"}}
    assert tables == {table: len(label_names(table)) for table in tables}


@pytest.mark.parametrize(
    ("table", "count", "some"),
    [
        ("kinetics400", 400, {0: "abseiling", 116: "eating spaghetti", 290: "sharpening knives", 399: "zumba"}),
        ("kinetics600", 600, {0: "abseiling", 1: "acting in play", 599: "zumba"}),
        ("ssv2", 174, {0: "Approaching something with your camera", 173: "Wiping something off of something"}),
    ],
)
def test_labels_are_in_the_order_of_the_logits(table: str, count: int, some: dict[int, str]) -> None:
    names = label_names(table)
    assert len(names) == len(set(names)) == count
    assert all(name == name.strip() != "" for name in names)
    assert {number: names[number] for number in some} == some


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'hiera-base-16x224'"):
        find("hiera-base-16x244")


def test_a_registered_row_is_found_and_does_not_replace_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelspace.encoders.catalog._registered", {})
    row = next(iter(catalog().values()))
    register(replace(row, name="mine"))
    assert find("mine").outputs == row.outputs
    with pytest.raises(InvalidArgument, match="there is an encoder named"):
        register(replace(row, remark="another"))


def test_a_checkpoint_on_the_hub_fills_its_row_from_its_config_alone(hub: HubServer) -> None:
    revision = hub.put("acme/animals", FILES)
    row = find("hf:acme/animals")
    assert row.name == "hf:acme/animals"
    assert row.outputs == {"pooled": 48, "logits": 2}
    assert row.weights.revision == revision
    assert {file.name for file in row.weights.files} == set(FILES)
    assert not any(path.endswith("model.safetensors") for path in hub.asked())


def test_a_row_filled_once_needs_no_network(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("acme/animals", FILES)
    first = find("hf:acme/animals")
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find("hf:acme/animals") == first
    assert hub.requests == []
    with pytest.raises(CheckpointError, match="reelspace models pull hf:acme/plants"):
        find("hf:acme/plants")


def test_a_branch_or_commit_may_be_named(hub: HubServer) -> None:
    older = hub.put("acme/animals", FILES)
    newer = hub.put("acme/animals", {**FILES, "model.safetensors": b"newer"}, branch="next")
    assert find(f"hf:acme/animals@{older}").weights.revision == older
    assert find("hf:acme/animals@next").weights.revision == newer
    assert find("hf:acme/animals@next").name == "hf:acme/animals@next"
    assert find("hf:acme/animals").weights.revision == older


def test_a_name_that_is_no_repository_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="hf:ORG/NAME"):
        find("hf:animals")
