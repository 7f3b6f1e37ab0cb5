"""A file has to begin as its name says."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from reelspace.encoders.file_kinds import require_kind
from reelspace.errors import CheckpointError


def _saved(*, new: bool) -> bytes:
    content = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, content, _use_new_zipfile_serialization=new)
    return content.getvalue()


def _array() -> bytes:
    content = io.BytesIO()
    np.save(content, np.ones(2))
    return content.getvalue()


def _archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pca.pkl", b"1")
    return content.getvalue()


SAFETENSORS = safetensors.torch.save({"weight": torch.ones(2)})
GOOD = {
    "model.safetensors": [SAFETENSORS],
    "net.pth": [_saved(new=True), _saved(new=False)],
    "net.pt": [_saved(new=True)],
    "pytorch_model.bin": [_saved(new=False)],
    "config.json": [b'{"a": 1}', b"[]"],
    "words.npy": [_array()],
    "pca.zip": [_archive()],
}
PAGE = b"\n<!DOCTYPE HTML><title>Not found</title>"
BAD = (
    [(name, PAGE, "an HTML page") for name in GOOD]
    + [
        ("model.safetensors", b"root:x:0:0:root:/root:/bin/bash\n", "text"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        ("model.safetensors", SAFETENSORS[:40], "something else"),  # cut off within its header
        ("model.safetensors", (4).to_bytes(8, "little") + b"[12]", "something else"),
        ("model.safetensors", (1 << 40).to_bytes(8, "little") + bytes(100), "something else"),
        ("model.safetensors", b"", "an empty file"),
        ("model.safetensors", _saved(new=True), "a zip archive"),
        ("net.pth", SAFETENSORS, "a safetensors file"),
        ("net.pth", pickle.dumps({}, protocol=0), "text"),
        ("words.npy", pickle.dumps([1], protocol=4), "a pickle"),
        ("pca.zip", _array(), "a NumPy array"),
        ("config.json", json.dumps({"a": 1}).encode()[:-1], "text"),
    ]
)


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, each in GOOD.items() for content in each])
def test_what_begins_as_its_name_says_passes(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "part").write_bytes(content)
    require_kind(tmp_path / "part", name, source="here")


@pytest.mark.parametrize(("name", "content", "looks"), BAD)
def test_what_does_not_is_refused_with_what_it_looks_like(
    tmp_path: Path, name: str, content: bytes, looks: str
) -> None:
    (tmp_path / "part").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=f"^https://a/b is not .* {name} has to be .* this looks like {looks}"
    ):
        require_kind(tmp_path / "part", name, source="https://a/b")


def test_a_name_of_no_known_kind_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(PAGE)
    require_kind(tmp_path / "part", "variables.data-00000-of-00001", source="here")
