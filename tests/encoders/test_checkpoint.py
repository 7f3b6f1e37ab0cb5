"""Weights come whole or not at all, and are what they were."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_server import HubServer

from reelspace.encoders import download
from reelspace.encoders.checkpoint import checkpoint_of, import_files, is_here, models_store
from reelspace.encoders.spec import WeightFile, Weights
from reelspace.errors import CheckpointError, InvalidArgument

REPO = "acme/tiny"
HEADER = json.dumps({"weight": {"dtype": "U8", "shape": [3_072_000], "data_offsets": [0, 3_072_000]}}).encode()
CONTENT = len(HEADER).to_bytes(8, "little") + HEADER + bytes(range(256)) * 12_000  # 3 MB: three chunks
CONFIG = b'{"model_type": "tiny"}'
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no bytes


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def on_hub(revision: str | None = None, *, sha256: str | None = None, size_bytes: int | None = None) -> Weights:
    model = WeightFile("model.safetensors", sha256=sha256, size_bytes=size_bytes)
    return Weights((WeightFile("config.json"), model), repo=REPO, revision=revision)


def publish(hub: HubServer, content: bytes = CONTENT) -> str:
    return hub.put(REPO, {"config.json": CONFIG, "model.safetensors": content})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.0)


def test_pulled_files_lie_in_one_folder_and_the_digest_is_that_of_their_sums(hub: HubServer) -> None:
    revision = publish(hub)
    found = checkpoint_of(on_hub(revision))
    assert found.files["model.safetensors"].read_bytes() == CONTENT
    assert {path.parent for path in found.files.values()} == {found.folder}
    lines = f"config.json {sum_of(CONFIG)}\nmodel.safetensors {sum_of(CONTENT)}\n"
    assert found.digest == sum_of(lines.encode())
    manifest = json.loads((found.folder / "manifest.json").read_text())["files"]["model.safetensors"]
    assert manifest["size_bytes"] == len(CONTENT)
    assert manifest["revision"] == revision
    assert manifest["source"].startswith(hub.url)


def test_a_checkpoint_of_no_files_has_the_digest_of_nothing() -> None:
    found = checkpoint_of(Weights())
    assert not found.files
    assert found.digest == NOTHING


def test_a_warm_store_makes_no_request_and_reads_no_file(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub)
    assert not is_here(on_hub())
    first = checkpoint_of(on_hub())
    hub.requests.clear()
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert checkpoint_of(on_hub()) == first
    assert is_here(on_hub())
    assert hub.requests == []


def test_the_commit_of_main_is_recorded_at_the_first_pull_and_used_ever_after(hub: HubServer) -> None:
    publish(hub)
    first = checkpoint_of(on_hub())
    publish(hub, CONTENT + b"of a later commit")
    assert checkpoint_of(on_hub()) == first
    first.files["model.safetensors"].unlink()
    assert checkpoint_of(on_hub()) == first


def test_a_cut_connection_is_resumed_where_it_broke(hub: HubServer) -> None:
    revision = publish(hub)
    path = f"/{REPO}/resolve/{revision}/model.safetensors"
    hub.cut_after[path] = 2_000_000
    assert checkpoint_of(on_hub(revision)).files["model.safetensors"].read_bytes() == CONTENT
    asked = [headers.get("Range") for _, where, headers in hub.requests if where == path]
    assert asked == [None, "bytes=2000000-"]


def test_a_later_call_goes_on_from_what_an_earlier_one_left(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = publish(hub)
    path = f"/{REPO}/resolve/{revision}/model.safetensors"
    hub.cut_after[path] = 1_000_000
    monkeypatch.setattr(download, "_TRIES", 1)
    with pytest.raises(CheckpointError, match="1000000 bytes are kept, and the same command goes on"):
        checkpoint_of(on_hub(revision))
    assert not is_here(on_hub(revision))
    heard: list[tuple[str, int, int | None]] = []
    found = checkpoint_of(on_hub(revision), on_progress=lambda *news: heard.append(news))
    assert found.files["model.safetensors"].read_bytes() == CONTENT
    assert heard[0][1] > 1_000_000
    assert heard[-1] == ("model.safetensors", len(CONTENT), len(CONTENT))
    assert not list(found.folder.glob("*.part*"))


def test_a_file_that_changed_on_the_server_meanwhile_is_begun_anew(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Weights((WeightFile("net.data", url=f"{hub.url}/net.data"),))
    hub.plain["/net.data"] = CONTENT
    hub.cut_after["/net.data"] = 1_000_000
    monkeypatch.setattr(download, "_TRIES", 1)
    with pytest.raises(CheckpointError):
        checkpoint_of(row)
    hub.plain["/net.data"] = CONTENT[::-1]
    assert checkpoint_of(row).files["net.data"].read_bytes() == CONTENT[::-1]


def test_a_busy_server_is_asked_again(hub: HubServer) -> None:
    row = Weights((WeightFile("net.data", url=f"{hub.url}/net.data"),))
    hub.plain["/net.data"] = CONTENT
    hub.busy["/net.data"] = 2
    assert checkpoint_of(row).files["net.data"].read_bytes() == CONTENT
    assert hub.asked() == ["/net.data"] * 3


@pytest.mark.parametrize(("more", "bytes_sent"), [(b"", 0), (b"more", len(CONTENT))])
def test_a_part_that_is_complete_is_taken_and_a_longer_one_is_not(
    hub: HubServer, more: bytes, bytes_sent: int
) -> None:
    row = Weights((WeightFile("net.data", url=f"{hub.url}/net.data"),))
    hub.plain["/net.data"] = CONTENT
    folder = checkpoint_of(row).folder
    (folder / "net.data").unlink()
    (folder / "net.data.part").write_bytes(CONTENT + more)
    (folder / "net.data.part.tag").write_text(f'"{sum_of(CONTENT)}"')
    heard = [0]
    found = checkpoint_of(row, on_progress=lambda name, done, total: heard.append(done))
    assert found.files["net.data"].read_bytes() == CONTENT
    assert heard[-1] == bytes_sent


def test_another_sum_than_the_rows_is_refused_and_leaves_nothing(hub: HubServer) -> None:
    row = on_hub(publish(hub), sha256="0" * 64)
    with pytest.raises(CheckpointError, match=f"SHA-256 {'0' * 64}, got {sum_of(CONTENT)}; .*pull it again"):
        checkpoint_of(row)
    assert not is_here(row)
    assert not list(models_store().rglob("model.safetensors*"))


def test_another_size_than_the_rows_is_refused(hub: HubServer) -> None:
    with pytest.raises(CheckpointError, match=f"should have bytes 7, got {len(CONTENT)}"):
        checkpoint_of(on_hub(publish(hub), size_bytes=7))


def test_a_row_that_learned_its_sum_later_refuses_what_is_here(hub: HubServer) -> None:
    revision = publish(hub)
    found = checkpoint_of(on_hub(revision))
    with pytest.raises(CheckpointError, match=f"delete {found.folder} and pull it again"):
        checkpoint_of(on_hub(revision, sha256="0" * 64))


def test_a_file_replaced_at_its_url_is_refused_after_the_first_use(hub: HubServer) -> None:
    row = Weights((WeightFile("net.data", url=f"{hub.url}/net.data"),))
    hub.plain["/net.data"] = CONTENT
    first = checkpoint_of(row)
    first.files["net.data"].unlink()
    hub.plain["/net.data"] = b"something else"
    with pytest.raises(CheckpointError, match=f"SHA-256 {sum_of(CONTENT)} as recorded .* got"):
        checkpoint_of(row)
    hub.plain["/net.data"] = CONTENT
    assert checkpoint_of(row) == first


def test_a_file_changed_on_disk_is_refused_and_a_touched_one_is_not(hub: HubServer) -> None:
    publish(hub)
    found = checkpoint_of(on_hub())
    path = found.files["model.safetensors"]
    os.utime(path, ns=(1, 1))
    assert checkpoint_of(on_hub()) == found
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(CheckpointError, match=f"{path} was changed"):
        checkpoint_of(on_hub())


PULL = """
import sys
from reelspace.encoders.checkpoint import checkpoint_of
from reelspace.encoders.spec import WeightFile, Weights
print(checkpoint_of(Weights((WeightFile("net.data", url=sys.argv[1]),))).digest)
"""


def test_two_processes_at_once_end_with_one_whole_file(hub: HubServer) -> None:
    hub.plain["/net.data"] = CONTENT * 10
    url = f"{hub.url}/net.data"
    both = [
        subprocess.Popen([sys.executable, "-c", PULL, url], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1] != ""
    assert hub.asked() == ["/net.data"]
    assert [path.read_bytes() for path in models_store().rglob("net.data*")] == [CONTENT * 10]


def test_offline_and_cold_is_instant_and_says_what_to_run(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = publish(hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.perf_counter()
    for row in (on_hub(revision), on_hub()):
        with pytest.raises(CheckpointError) as refused:
            checkpoint_of(row, name="tiny-8x32")
        for words in (
            "HF_HUB_OFFLINE",
            "reelspace models pull tiny-8x32",
            "reelspace models import tiny-8x32 FILE...",
            "HF_ENDPOINT",
        ):
            assert words in str(refused.value)
    assert time.perf_counter() - began < 0.5
    assert hub.requests == []


def test_nobody_listening_is_said_at_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    began = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"127.0.0.1:9 does not answer .*reelspace models pull hf:acme/tiny"):
        checkpoint_of(on_hub())
    assert time.perf_counter() - began < 0.5


def test_offline_takes_what_the_hubs_own_cache_holds(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    revision = "ab" * 20
    cached = tmp_path / "huggingface" / "hub" / "models--acme--tiny"
    snapshot = cached / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    (snapshot / "config.json").write_bytes(CONFIG)
    (snapshot / "model.safetensors").write_bytes(CONTENT)
    found = checkpoint_of(on_hub())
    assert found.files["model.safetensors"].read_bytes() == CONTENT
    assert found == checkpoint_of(on_hub(revision))
    assert hub.requests == []


FETCH = """
import sys
from huggingface_hub import hf_hub_download
for name in ("config.json", "model.safetensors"):
    hf_hub_download("acme/tiny", name, revision=sys.argv[1])
"""


def test_what_huggingface_hub_fetched_is_not_fetched_again(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = publish(hub)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    subprocess.run([sys.executable, "-c", FETCH, revision], check=True, capture_output=True, timeout=60)
    hub.requests.clear()
    assert checkpoint_of(on_hub(revision)).files["model.safetensors"].read_bytes() == CONTENT
    assert hub.requests == []


def test_a_damaged_file_in_the_hubs_own_cache_is_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    revision = publish(hub)
    snapshot = tmp_path / "huggingface" / "hub" / "models--acme--tiny" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(CONTENT[:-1])
    row = on_hub(revision, size_bytes=len(CONTENT))
    assert checkpoint_of(row).files["model.safetensors"].read_bytes() == CONTENT
    assert (snapshot / "model.safetensors").read_bytes() == CONTENT[:-1]  # which is not ours to mend


def test_what_is_not_to_be_downloaded_is_not(hub: HubServer) -> None:
    revision = publish(hub)
    with pytest.raises(CheckpointError, match="is not on this machine, and it was not to be fetched"):
        checkpoint_of(on_hub(revision), download=False)
    assert hub.requests == []


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = publish(hub)
    hub.gated.add(REPO)
    with pytest.raises(CheckpointError, match=r"401 .*HF_TOKEN"):
        checkpoint_of(on_hub(revision))
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.elsewhere.add(f"/{REPO}/resolve/{revision}/model.safetensors")
    hub.requests.clear()
    assert checkpoint_of(on_hub(revision)).files["model.safetensors"].read_bytes() == CONTENT
    sent = {path.startswith("/cdn"): "Authorization" in headers for _, path, headers in hub.requests}
    assert sent == {False: True, True: False}


def test_an_optional_file_may_be_missing_and_is_asked_for_once(hub: HubServer) -> None:
    publish(hub)
    row = Weights((WeightFile("config.json"), WeightFile("merges.txt", optional=True)), repo=REPO)
    assert set(checkpoint_of(row).files) == {"config.json"}
    hub.requests.clear()
    assert set(checkpoint_of(row).files) == {"config.json"}
    assert hub.requests == []


def test_a_missing_file_is_named_with_its_address(hub: HubServer) -> None:
    revision = hub.put(REPO, {"config.json": CONFIG})
    with pytest.raises(CheckpointError, match=f"nothing at {hub.url}/{REPO}/resolve/{revision}/model.safetensors"):
        checkpoint_of(on_hub())


def test_an_unknown_repository_is_said_to_be_unknown(hub: HubServer) -> None:
    with pytest.raises(CheckpointError, match="has no model 'acme/tiny' at 'main'"):
        checkpoint_of(on_hub())


def test_files_of_a_row_may_not_leave_their_folder(hub: HubServer) -> None:
    with pytest.raises(InvalidArgument, match="lies in its folder"):
        checkpoint_of(Weights((WeightFile("../../.bashrc", url=f"{hub.url}/x"),)))


def test_files_in_a_folder_are_read_once_and_their_digest_follows_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.data").write_bytes(CONTENT)
    row = Weights((WeightFile("mine.data"), WeightFile("notes.txt", optional=True)), folder=str(tmp_path))
    first = checkpoint_of(row)
    assert first.files == {"mine.data": tmp_path / "mine.data"}
    assert first.digest == sum_of(f"mine.data {sum_of(CONTENT)}\n".encode())
    with monkeypatch.context() as context:
        context.setattr(hashlib, "file_digest", None)
        assert checkpoint_of(row) == first
    (tmp_path / "mine.data").write_bytes(CONFIG)
    assert checkpoint_of(row).digest == sum_of(f"mine.data {sum_of(CONFIG)}\n".encode())
    (tmp_path / "mine.data").unlink()
    with pytest.raises(CheckpointError, match=r"there is no mine\.data in"):
        checkpoint_of(row)


def test_an_imported_file_of_another_name_serves_a_row_of_one_file(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    row = Weights((WeightFile("net.data", url=f"{hub.url}/net.data", sha256=sum_of(CONTENT)),))
    (tmp_path / "brought.bin").write_bytes(CONTENT)
    imported = import_files(row, [tmp_path / "brought.bin"])
    (tmp_path / "brought.bin").unlink()
    assert checkpoint_of(row) == imported
    assert imported.files["net.data"].read_bytes() == CONTENT
    assert hub.requests == []


def test_imports_are_verified_matched_by_name_and_complete(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    row = on_hub(sha256=sum_of(CONTENT))
    for name, content in (("config.json", CONFIG), ("model.safetensors", CONTENT), ("other.bin", b"")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"other\.bin is none of .*config\.json, model\.safetensors"):
        import_files(row, [tmp_path / "other.bin"])
    with pytest.raises(CheckpointError, match=r"tiny also needs model\.safetensors"):
        import_files(row, [tmp_path / "config.json"], name="tiny")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "model.safetensors").write_bytes(b"else")
    with pytest.raises(CheckpointError, match=f"got {sum_of(b'else')}"):
        import_files(row, [tmp_path / "wrong" / "model.safetensors"])
    imported = import_files(row, [tmp_path / "model.safetensors"])
    assert checkpoint_of(row) == imported
    assert set(imported.files) == {"config.json", "model.safetensors"}


def test_files_imported_without_their_commit_are_not_mixed_with_pulled_ones(hub: HubServer, tmp_path: Path) -> None:
    publish(hub)
    (tmp_path / "config.json").write_bytes(CONFIG)
    with pytest.raises(CheckpointError, match="also needs"):
        import_files(on_hub(), [tmp_path / "config.json"])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing, and the others were imported"):
        checkpoint_of(on_hub())


def test_files_that_no_program_can_fetch_are_named_with_their_page(hub: HubServer, tmp_path: Path) -> None:
    files = (WeightFile("variables.index"), WeightFile("words.txt", optional=True))
    row = Weights(files, page="https://example.org/agree-first")
    with pytest.raises(
        CheckpointError, match=r"Get it at https://example\.org/agree-first, then run: .* import i3d"
    ):
        checkpoint_of(row, name="i3d")
    (tmp_path / "variables.index").write_bytes(CONTENT)
    imported = import_files(row, [tmp_path / "variables.index"])
    assert checkpoint_of(row) == imported
    (tmp_path / "words.txt").write_bytes(CONFIG)
    assert set(import_files(row, [tmp_path / "words.txt"]).files) == {"variables.index", "words.txt"}
    assert hub.requests == []


def test_the_store_is_in_the_users_cache_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELSPACE_MODELS_CACHE", "/a/place")
    assert models_store() == Path("/a/place")
    monkeypatch.delenv("REELSPACE_MODELS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert models_store() == Path("/cache/reelspace/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert models_store() == Path("/home/somebody/.cache/reelspace/models")


def test_an_import_replaces_what_came_before_and_never_against_the_rows_own_sum(
    hub: HubServer, tmp_path: Path
) -> None:
    publish(hub)
    first = checkpoint_of(on_hub())
    (tmp_path / "model.safetensors").write_bytes(CONTENT + b"2")
    heard: list[tuple[str, str, str]] = []
    second = import_files(on_hub(), [tmp_path / "model.safetensors"], on_replaced=lambda *news: heard.append(news))
    assert heard == [("model.safetensors", sum_of(CONTENT), sum_of(CONTENT + b"2"))]
    assert checkpoint_of(on_hub()) == second != first
    (tmp_path / "model.safetensors").write_bytes(CONTENT + b"3")
    with pytest.raises(CheckpointError, match=f"should have SHA-256 {second.digest}"):
        import_files(on_hub(sha256=second.digest), [tmp_path / "model.safetensors"])
    assert checkpoint_of(on_hub()) == second


def test_a_refused_import_leaves_the_way_to_pull_open(hub: HubServer, tmp_path: Path) -> None:
    publish(hub)
    (tmp_path / "model.safetensors").write_bytes(b"<!DOCTYPE html><title>Sign in")
    with pytest.raises(CheckpointError, match="looks like an HTML page; nothing was recorded"):
        import_files(on_hub(), [tmp_path / "model.safetensors"])
    assert checkpoint_of(on_hub()).files["model.safetensors"].read_bytes() == CONTENT


def test_a_page_that_came_instead_of_a_file_is_not_kept(hub: HubServer) -> None:
    row = Weights((WeightFile("net.pth", url=f"{hub.url}/net.pth"),))
    hub.plain["/net.pth"] = b"\n<html>moved"
    with pytest.raises(CheckpointError, match=r"net\.pth has to be what torch\.save writes, .* an HTML page"):
        checkpoint_of(row)
    assert not list(models_store().rglob("net.pth*"))
    hub.plain["/net.pth"] = b"PK\x03\x04 and so on"
    assert checkpoint_of(row).files["net.pth"].read_bytes() == hub.plain["/net.pth"]


def test_the_folder_of_a_checkpoint_is_where_its_names_start(store: Path, tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "net.index").write_bytes(CONTENT)
    row = Weights((WeightFile("variables/net.index"),), folder=str(tmp_path))
    assert checkpoint_of(row).folder == tmp_path
