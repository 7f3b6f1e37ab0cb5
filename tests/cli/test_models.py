"""`reelspace models`, run as people run it, with a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reelspace.cli.app import main
from reelspace.encoders.load import load_encoder
from reelspace.errors import FormatError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "encoders"))

from hub_server import HubServer, serving

Run = Callable[..., Any]
NAME = "hf:acme/animals"
NAME_TO_IMPORT = "hiera-base-16x224"
CONFIG = {
    "model_type": "videomae",
    "architectures": ["VideoMAEForVideoClassification"],
    "hidden_size": 48,
    "image_size": 32,
    "num_frames": 4,
    "id2label": {"0": "resting", "1": "running"},
}
WEIGHTS = (2).to_bytes(8, "little") + b"{}"  # safetensors of no tensors
FILES = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": WEIGHTS}
DIGEST = hashlib.sha256(
    "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(FILES.items())).encode()
).hexdigest()


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: an interpreter for each of these questions would take a minute."""

    def command(*words: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        status = ended.value.code or 0
        return Said(int(status), *capsys.readouterr())

    return command


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("REELSPACE_MODELS_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.put("acme/animals", FILES)
        yield server


def test_the_list_marks_what_is_not_for_commercial_use(run: Run) -> None:
    lines = run("models").out.splitlines()
    assert lines[0].split()[0] == "name"
    (hiera,) = (line for line in lines if line.startswith("hiera-base-16x224 "))
    assert "16 frames, 2.13 s, 224 px" in hiera
    assert "terminal 768" in hiera
    assert hiera.endswith("CC-BY-NC-4.0 (non-commercial)")
    assert run("models", "list").out.splitlines() == lines


def test_the_list_is_narrowed_by_words(run: Run) -> None:
    found = run("models", "--commercial", "--classes", "--json").json["models"]
    assert found
    assert all(model["commercial"] is True and "logits" in model["outputs"] for model in found)
    texts = run("models", "list", "--text", "--json").json["models"]
    assert {model["text_output"] in model["outputs"] for model in texts} == {True}
    hiera = run("models", "--family", "hiera", "--json").json["models"]
    assert {model["family"] for model in hiera} == {"hiera"}
    said = run("models", "--family", "heira")
    assert said.status == 2
    assert "did you mean 'hiera'" in said.err


def test_the_table_for_the_readme_has_a_row_for_each_model(run: Run) -> None:
    lines = run("models", "list", "--markdown").out.splitlines()
    assert lines[0] == "| name | reads | gives | classes | text | licence | published score |"
    assert {line.count(" | ") for line in lines} == {6}
    assert len(lines) == 2 + len(run("models", "--json").json["models"])


def test_show_says_the_licence_in_full_and_what_it_was_trained_on(run: Run) -> None:
    said = run("models", "show", "hiera-base-16x224").out
    for words in ("CC-BY-NC-4.0 (non-commercial)", "trained on", "Kinetics-400", "arXiv:2306.00989", "84.0"):
        assert words in said
    said = run("models", "show", "hiera-base-16x244")
    assert said.status == 2
    assert "did you mean 'hiera-base-16x224'" in said.err


def test_pull_fetches_once_says_the_licence_and_prints_the_digest(run: Run, hub: HubServer) -> None:
    said = run("models", "pull", NAME)
    assert said.status == 0, said.err
    assert f"digest {DIGEST}" in said.out
    assert f"{NAME}: weights under not stated (commercial use unclear)" in said.err
    hub.requests.clear()
    again = run("models", "pull", NAME, "--json").json["models"][0]
    assert (again["digest"], again["commercial"]) == (DIGEST, None)
    assert Path(again["files"]["model.safetensors"]).read_bytes() == FILES["model.safetensors"]
    assert hub.requests == []
    assert run("models", "show", NAME, "--json").json["here"] is True


def test_a_model_that_is_not_here_says_what_to_run_when_offline(
    run: Run, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = run("models", "pull", "hiera-base-16x224", "--json")
    assert said.status == 1
    assert said.json["error"]["kind"] == "CheckpointError"
    assert "reelspace models import hiera-base-16x224 FILE..." in said.json["error"]["message"]
    assert hub.requests == []


def test_weights_brought_by_hand_are_taken_in(run: Run, hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "hiera.safetensors").write_bytes(WEIGHTS)
    said = run("models", "import", NAME_TO_IMPORT, tmp_path / "hiera.safetensors", "--json")
    assert said.status == 0, said.err
    model = said.json["models"][0]
    assert model["commercial"] is False
    assert Path(model["files"]["model.safetensors"]).read_bytes() == WEIGHTS
    said = run("models", "import", NAME_TO_IMPORT, tmp_path / "nothing.bin")
    assert said.status == 2
    assert "there is no file" in said.err
    assert hub.requests == []


def test_a_file_of_another_kind_is_no_dead_end_and_the_right_one_replaces_a_wrong_one(
    run: Run, hub: HubServer, tmp_path: Path
) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    said = run("models", "import", NAME_TO_IMPORT, tmp_path / "passwd")
    assert said.status == 1
    assert "model.safetensors has to be a safetensors file, and this looks like text" in said.err
    assert run("models", "show", NAME_TO_IMPORT, "--json").json["here"] is False
    for content in (WEIGHTS, WEIGHTS + b" "):
        (tmp_path / "mine").write_bytes(content)
        said = run("models", "import", NAME_TO_IMPORT, tmp_path / "mine")
        assert said.status == 0, said.err
    before, after = (hashlib.sha256(content).hexdigest() for content in (WEIGHTS, WEIGHTS + b" "))
    assert f"SHA-256 {after} took the place of {before}" in said.err
    with pytest.raises(FormatError, match=rf"The checkpoint lies in .*: reelspace models import {NAME_TO_IMPORT}"):
        load_encoder(NAME_TO_IMPORT)


def test_check_records_compares_and_fails_when_it_differs(run: Run, hub: HubServer) -> None:
    first = run("models", "check", "reelprint", "--json").json
    assert (first["status"], first["outputs"]) == ("recorded", {"frames": [10, 256]})
    said = run("models", "check", "reelprint")
    assert said.status == 0
    assert "reelprint  matches: gives the vectors it gave before" in said.out
    _forge(Path(first["record"]))
    said = run("models", "check", "reelprint")
    assert said.status == 1
    assert "differs: does not give the vectors it gave before" in said.out


def _forge(record: Path) -> None:
    import numpy as np

    with np.load(record) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(record, **{**arrays, "v.frames": arrays["v.frames"] + 0.01})
