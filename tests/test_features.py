"""Vectors in files, written, read back, and read from other tools."""

from __future__ import annotations

import json
import os
import pickle
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from reelspace.core.embeddings import Embeddings
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, UnknownName
from reelspace.features import read_embeddings, read_features_pkl, read_tensors, write_embeddings

SPACE = Space("made-up.pooled", 6, {"checkpoint": "0" * 64, "clip": {"frames": 16}})
SOURCES = {
    "a" * 64: "/films/ApplyLipstick/v_1.avi",
    "b" * 64: "/films/Archery/v_1.mp4",
    "c" * 64: "s3://b/Archery/v 2",
}
FORMATS = ("e.npz", "e.parquet", "e")


def embeddings(counts: tuple[int, ...] = (3, 1, 4), dtype: Any = np.float32, seed: int = 0) -> Embeddings:
    chance = np.random.default_rng(seed)
    rows = sum(counts)
    raw = chance.standard_normal((rows, 6))
    norms = np.linalg.norm(raw, axis=1)
    starts = chance.uniform(0, 9, rows)
    return Embeddings(
        (raw / norms[:, None]).astype(dtype),
        norms.astype(np.float32),
        starts,
        starts + 2,
        np.cumsum([0, *counts], dtype=np.int64),
        tuple(SOURCES)[: len(counts)],
        SPACE,
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_embeddings_are_read_back_as_they_were_written(tmp_path: Path, name: str, dtype: Any):
    written = embeddings(dtype=dtype)
    assert write_embeddings(tmp_path / name, written, SOURCES) == 8
    read, sources = read_embeddings(tmp_path / name)
    assert read.space == SPACE
    assert read.video_ids == written.video_ids
    assert sources == SOURCES
    assert np.array_equal(read.bounds, written.bounds)
    assert np.array_equal(read.starts_seconds, written.starts_seconds)
    assert np.array_equal(read.ends_seconds, written.ends_seconds)
    if name == "e":  # tensors hold what the model gave
        given = written.vectors.astype(np.float32) * written.norms[:, None]
        assert np.abs(read.vectors * read.norms[:, None] - given).max() < 1e-6
        assert np.abs(np.linalg.norm(read.vectors, axis=1) - 1).max() < 1e-6
    else:
        assert read.vectors.dtype == dtype
        assert np.array_equal(read.vectors, written.vectors)
        assert np.array_equal(read.norms, written.norms)


@pytest.mark.parametrize("name", ["e.npz", "e"])
def test_a_video_without_vectors_is_kept(tmp_path: Path, name: str):
    write_embeddings(tmp_path / name, embeddings((2, 0, 1)), SOURCES)
    read, _ = read_embeddings(tmp_path / name)
    assert read.bounds.tolist() == [0, 2, 2, 3]


@pytest.mark.parametrize("name", FORMATS)
def test_no_embeddings_are_read_back_as_none(tmp_path: Path, name: str):
    write_embeddings(tmp_path / name, embeddings(()), {})
    read, sources = read_embeddings(tmp_path / name)
    assert (len(read), read.video_ids, sources) == (0, (), {})
    assert read.space == SPACE


def test_other_tools_read_the_columns(tmp_path: Path):
    written = embeddings()
    write_embeddings(tmp_path / "e.parquet", written, SOURCES)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["source", "video_id", "start_seconds", "end_seconds", "norm", "vector"]
    assert table["source"].to_pylist()[3] == "/films/Archery/v_1.mp4"
    assert table["vector"].to_pylist()[0] == pytest.approx(written.vectors[0].tolist())


def test_tensors_lie_in_the_folders_of_their_classes(tmp_path: Path):
    written = embeddings()
    write_embeddings(tmp_path / "e", written, SOURCES)
    files = {str(file.relative_to(tmp_path / "e")) for file in (tmp_path / "e").rglob("*") if file.is_file()}
    assert files == {"ApplyLipstick/v_1.pt", "Archery/v_1.pt", "Archery/v 2.pt", "reelspace.json"}
    tensor = torch.load(tmp_path / "e" / "ApplyLipstick" / "v_1.pt", weights_only=True)
    assert tensor.dtype == torch.float32
    assert np.allclose(tensor.numpy(), written.vectors[:3] * written.norms[:3, None])


def test_two_videos_of_one_name_do_not_overwrite_each_other(tmp_path: Path):
    sources = dict(zip(SOURCES, ["/x/A/v.mp4", "/y/A/v.webm", "/z/B/v.mp4"], strict=True))
    with pytest.raises(InvalidArgument, match=r"/x/A/v\.mp4 and /y/A/v\.webm would both be A/v\.pt"):
        write_embeddings(tmp_path / "e", embeddings(), sources)
    assert not (tmp_path / "e").exists()
    write_embeddings(tmp_path / "e.npz", embeddings(), sources)


@pytest.mark.parametrize(
    ("name", "file"), [("e.npz", "e.npz"), ("e.parquet", "e.parquet"), ("e", "e/Archery/v_1.pt")]
)
def test_a_full_disk_is_said_of_the_file_asked_for_and_leaves_no_half(tmp_path: Path, name: str, file: str):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = replace(embeddings((0, 1500)), video_ids=("a" * 64, "b" * 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # a disk that is full after so many bytes
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            write_embeddings(tmp_path / name, many, SOURCES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.filename == str(tmp_path / file)
    assert not [left for left in tmp_path.rglob("*") if left.is_file() and left.name != "v_1.pt"]
    assert not (tmp_path / file).exists()


def test_tensors_of_other_tools_are_read(tmp_path: Path):
    (tmp_path / "Archery").mkdir()
    torch.save(torch.ones(2, 3, dtype=torch.float16), tmp_path / "Archery" / "v_1.pt")
    torch.save(torch.arange(3), tmp_path / "v_2.pt")
    tensors = read_tensors(tmp_path)
    assert list(tensors) == ["Archery/v_1", "v_2"]
    assert tensors["Archery/v_1"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert tensors["v_2"].tolist() == [[0, 1, 2]]
    with pytest.raises(FormatError, match=r"has no reelspace\.json; read_tensors reads"):
        read_embeddings(tmp_path)


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize("content", [_Runs(), {"a": torch.zeros(2)}, torch.zeros(2, 2, 2), torch.tensor(1.0)])
def test_what_is_no_tensor_of_features_is_refused(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "v.pt")
    with pytest.raises(FormatError, match=r"v\.pt: (not a file of one tensor|features are one tensor)"):
        read_tensors(tmp_path)


def test_a_file_that_is_no_tensor_is_refused(tmp_path: Path):
    (tmp_path / "v.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match=r"v\.pt: not a file of one tensor"):
        read_tensors(tmp_path)


def test_a_video_without_a_source_is_refused(tmp_path: Path):
    with pytest.raises(InvalidArgument, match="2 of the videos have no source, such as bbb"):
        write_embeddings(tmp_path / "e.npz", embeddings(), {"a" * 64: "a.mp4"})


@pytest.mark.parametrize("name", ["e.csv", "e.pt"])
def test_other_formats_are_refused(tmp_path: Path, name: str):
    with pytest.raises(UnknownName, match="file format"):
        write_embeddings(tmp_path / name, embeddings(), SOURCES)
    (tmp_path / name).write_text("")
    with pytest.raises(UnknownName, match="file format"):
        read_embeddings(tmp_path / name)


def test_nothing_there_is_said_so(tmp_path: Path):
    with pytest.raises(InvalidArgument, match="no embeddings at"):
        read_embeddings(tmp_path / "e.npz")
    with pytest.raises(InvalidArgument, match=r"no \.pt files below"):
        read_tensors(tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    np.savez(tmp_path / "other.npz", vector=np.zeros((2, 3)))
    with pytest.raises(FormatError, match="it lacks sources, video_ids, video_index, space, start_seconds"):
        read_embeddings(tmp_path / "other.npz")
    for name in ("broken.npz", "broken.parquet"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and then nothing")
        with pytest.raises(FormatError, match=r"not an? \.(npz|parquet) file"):
            read_embeddings(tmp_path / name)


def test_a_space_of_other_dimensions_is_noticed(tmp_path: Path):
    write_embeddings(tmp_path / "e.npz", embeddings(), SOURCES)
    with np.load(tmp_path / "e.npz") as file:
        arrays = dict(file)
    other = Space("other", 7, {})
    np.savez(tmp_path / "e.npz", **(arrays | {"space": np.array(other.to_json())}))
    with pytest.raises(FormatError, match="have 7 dimensions"):
        read_embeddings(tmp_path / "e.npz")


def test_an_index_of_tensors_that_was_tampered_with_is_refused(tmp_path: Path):
    write_embeddings(tmp_path / "e", embeddings(), SOURCES)
    index = tmp_path / "e" / "reelspace.json"
    entries = json.loads(index.read_text())
    del entries["videos"][0]["source"]
    index.write_text(json.dumps(entries))
    with pytest.raises(FormatError, match=r"reelspace\.json: not what write_embeddings writes"):
        read_embeddings(tmp_path / "e")


def test_features_of_videoalignment_are_read(shared: Path):
    files = sorted((shared / "golden" / "evalsets").rglob("rmac_resnet34_29/**/*.pkl"))
    assert len(files) == 64
    for file in files:
        times, vectors = read_features_pkl(file)
        assert np.array_equal(vectors, pickle.loads(file.read_bytes(), encoding="latin1"))
        assert vectors.shape == (len(times), 16)
        assert times[1] == 1 / 15


def test_times_of_videoalignment_are_those_of_frames(tmp_path: Path):
    """``round(arange(n) * f / 15) / f``: at 25 frames per second frames 0, 2, 3, 5, ..."""
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(np.zeros((4, 2), np.float32), protocol=2))
    times, _ = read_features_pkl(tmp_path / "v.pkl", video_frames_per_second=25)
    assert times.tolist() == [0.0, 2 / 25, 3 / 25, 5 / 25]


def test_features_that_are_not_there_are_said_so(tmp_path: Path):
    with pytest.raises(InvalidArgument, match=r"cannot read .*v\.pkl: No such file"):
        read_features_pkl(tmp_path / "v.pkl")


def test_a_pickle_of_another_shape_is_no_features(tmp_path: Path):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(np.zeros(4)))
    with pytest.raises(FormatError, match=r"features are floats \(N, D\), got float64 \(4,\)"):
        read_features_pkl(tmp_path / "v.pkl")
