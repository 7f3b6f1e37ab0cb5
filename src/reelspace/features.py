"""Vectors of videos in files: our own, to be read back, and those of other tools."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reelspace.core.embeddings import Embeddings
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, MissingExtra, UnknownName
from reelspace.store.array_pickle import read_array_pickle
from reelspace.store.columns import SPACE_KEY, drafted, per_video, write_columns

__all__ = [
    "FORMATS",
    "StoredEmbeddings",
    "read_embeddings",
    "read_features_pkl",
    "read_tensors",
    "tensor_files",
    "write_embeddings",
]

FORMATS = (".npz", ".parquet")  # of one file; a name without a suffix is a folder of .pt files

_INDEX = "reelspace.json"
_COLUMNS = ("start_seconds", "end_seconds", "norm", "vector")


class StoredEmbeddings(NamedTuple):
    """What `write_embeddings` wrote.

    Attributes:
        embeddings: the vectors, with the identity of their space.
        sources: path or URL of each video, by its content id.
    """

    embeddings: Embeddings
    sources: dict[str, str]


def write_embeddings(
    path: str | os.PathLike[str], embeddings: Embeddings, sources: Mapping[str, str | os.PathLike[str]]
) -> int:
    """Writes embeddings to a file, or to a folder of tensors.

    ``.npz`` and ``.parquet``: the columns source, video_id, start_seconds, end_seconds, norm, vector (of unit
    length; times ``norm`` it is what the model gave), as `store.columns.write_columns` lays them out.

    A path without a suffix: a folder ``CLASS/VIDEO.pt`` as video_features and TSN-style tools keep it, where CLASS
    is the folder that the video lies in: a tensor float32 (N, D) per video, as the model gave it. Its
    ``reelspace.json`` holds the space and the times.

    Args:
        path: what is there already is replaced.
        embeddings: of any number of videos.
        sources: path or URL of each video, by its content id.

    Returns:
        How many vectors.

    Raises:
        InvalidArgument: when a video has no source, two videos would be one ``.pt`` file, or the folder of a file
            is not there.
        UnknownName: for another suffix.
        MissingExtra: for ``.pt``, when torch is not installed.
    """
    path = Path(path)
    if missing := [video_id for video_id in embeddings.video_ids if video_id not in sources]:
        raise InvalidArgument(f"{len(missing)} of the videos have no source, such as {missing[0]}")
    places = [os.fspath(sources[video_id]) for video_id in embeddings.video_ids]
    if not path.suffix or path.is_dir():
        _write_tensors(path, embeddings, places)
        return len(embeddings)
    columns = {
        **per_video(places, embeddings.video_ids, np.diff(embeddings.bounds)),
        "start_seconds": embeddings.starts_seconds,
        "end_seconds": embeddings.ends_seconds,
        "norm": embeddings.norms,
        "vector": embeddings.vectors,
    }
    return write_columns(path, columns, embeddings.space)


def read_embeddings(path: str | os.PathLike[str]) -> StoredEmbeddings:
    """Reads what `write_embeddings` wrote.

    A ``.parquet`` knows no videos without vectors, and tensors are made unit vectors and norms again, which rounds.

    Raises:
        InvalidArgument: when nothing is there.
        UnknownName: for another suffix.
        FormatError: when it is not such a file.
        MissingExtra: for ``.pt``, when torch is not installed.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".parquet": _read_parquet}
    if not path.exists():
        raise InvalidArgument(f"there are no embeddings at {path}")
    if path.is_dir():
        return _read_tensor_folder(path)
    if path.suffix not in readers:
        raise UnknownName("file format", path.suffix or path.name, readers)
    return readers[path.suffix](path)


def read_tensors(folder: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """The tensors of a folder of ``.pt`` files, one per video, whoever wrote them.

    Returns:
        {``CLASS/VIDEO``: float32 (N, D)}, sorted by name; a file with one vector (D,) gives (1, D).

    Raises:
        InvalidArgument: when there is none.
        FormatError: when a file is not such a tensor.
        MissingExtra: when torch is not installed.
    """
    folder = Path(folder)
    found = sorted(folder.rglob("*.pt"))
    if not found:
        raise InvalidArgument(f"there are no .pt files below {folder}")
    return {str(PurePosixPath(file.relative_to(folder).with_suffix(""))): _read_tensor(file) for file in found}


def read_features_pkl(
    path: str | os.PathLike[str], *, frames_per_second: float = 15.0, video_frames_per_second: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Reads the frame features of one video as videoalignment keeps them: a pickled array (N, D).

    Nothing in the file is run; see `store.array_pickle`.

    Args:
        path: a ``.pkl`` file.
        frames_per_second: that the features were taken at; 15 in videoalignment.
        video_frames_per_second: of the video. Given, each time is moved to the video's frame nearest to it, as
            videoalignment does; its fallback is 25.

    Returns:
        Times float64 (N,) in seconds, which the file does not hold, and the vectors (N, D).

    Raises:
        InvalidArgument: when the file cannot be read.
        FormatError: when it is anything else than one array (N, D).
    """
    vectors = read_array_pickle(Path(path))
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise FormatError(f"{path}: features are floats (N, D), got {vectors.dtype} {vectors.shape}")
    times = np.arange(len(vectors)) / frames_per_second
    if video_frames_per_second is not None:
        times = (
            np.round(np.arange(len(vectors)) * video_frames_per_second / frames_per_second)
            / video_frames_per_second
        )
    return times, vectors


def tensor_files(sources: Iterable[str]) -> list[str]:
    """The file ``CLASS/VIDEO.pt`` of each video in a folder of tensors.

    Raises:
        InvalidArgument: when two videos would be one file.
    """
    owners: dict[str, str] = {}
    for source in sources:
        name = _tensor_name(source)
        if name in owners:
            raise InvalidArgument(
                f"{owners[name]} and {source} would both be {name}; write .npz or .parquet instead"
            )
        owners[name] = source
    return list(owners)


# ── one file ──


def _read_npz(path: Path) -> StoredEmbeddings:
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise FormatError(f"{path}: not an .npz file ({error})") from error
    wanted = ("sources", "video_ids", "video_index", "space", *_COLUMNS)
    if missing := [name for name in wanted if name not in arrays]:
        raise FormatError(f"{path}: no file of embeddings: it lacks {', '.join(missing)}")
    sources = dict(zip(arrays["video_ids"].tolist(), arrays["sources"].tolist(), strict=True))
    counts = np.bincount(arrays["video_index"], minlength=len(sources))
    if (np.diff(arrays["video_index"]) < 0).any() or len(counts) > len(sources):
        raise FormatError(f"{path}: video_index numbers the videos in their order, got others")
    return _gathered(path, str(arrays["space"]), arrays, counts, sources)


def _read_parquet(path: Path) -> StoredEmbeddings:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"{path}: not a .parquet file ({error})") from error
    if missing := [name for name in ("source", "video_id", *_COLUMNS) if name not in table.column_names]:
        raise FormatError(f"{path}: no file of embeddings: it lacks {', '.join(missing)}")
    space = (table.schema.metadata or {}).get(SPACE_KEY.encode())
    if space is None:
        raise FormatError(f"{path}: no file of embeddings: its metadata lack {SPACE_KEY}")
    sources = dict(zip(table["video_id"].to_pylist(), table["source"].to_pylist(), strict=True))
    numbers = {video_id: number for number, video_id in enumerate(sources)}
    video_index = np.array([numbers[video_id] for video_id in table["video_id"].to_pylist()], np.int64)
    if (np.diff(video_index) < 0).any():
        raise FormatError(f"{path}: the rows of a video stand together, got scattered ones")
    arrays = {name: table[name].to_numpy() for name in _COLUMNS[:-1]}
    vectors = table["vector"].combine_chunks()
    arrays["vector"] = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), vectors.type.list_size)
    counts = np.bincount(video_index, minlength=len(sources))
    return _gathered(path, space.decode(), arrays, counts, sources)


def _gathered(
    path: Path, space: str, arrays: Mapping[str, NDArray[Any]], counts: NDArray[np.integer], sources: dict[str, str]
) -> StoredEmbeddings:
    """The embeddings of the videos of ``sources``, so many rows each."""
    try:
        identity = Space.from_json(space)
        embeddings = Embeddings(
            vectors=arrays["vector"],
            norms=arrays["norm"],
            starts_seconds=arrays["start_seconds"],
            ends_seconds=arrays["end_seconds"],
            bounds=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            video_ids=tuple(sources),
            space=identity,
        )
    except (InvalidArgument, json.JSONDecodeError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: no file of embeddings: {error}") from error
    if embeddings.vectors.shape[1:] != (identity.dimensions,):
        raise FormatError(
            f"{path}: vectors of {identity} have {identity.dimensions} dimensions, got {embeddings.vectors.shape}"
        )
    return StoredEmbeddings(embeddings, sources)


# ── a folder of tensors ──


def _write_tensors(folder: Path, embeddings: Embeddings, places: list[str]) -> None:
    torch = _torch()
    names = tensor_files(places)
    videos = []
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        rows = slice(int(embeddings.bounds[number]), int(embeddings.bounds[number + 1]))
        vectors = embeddings.vectors[rows].astype(np.float32) * embeddings.norms[rows, None]
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # torch.save into a file says of a full disk that iostreams have errors
        torch.save(torch.from_numpy(vectors), content)
        with drafted(file) as draft:
            draft.write_bytes(content.getvalue())
        videos.append(
            {
                "file": name,
                "video_id": embeddings.video_ids[number],
                "source": place,
                "start_seconds": embeddings.starts_seconds[rows].tolist(),
                "end_seconds": embeddings.ends_seconds[rows].tolist(),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    index = json.dumps({"space": json.loads(embeddings.space.to_json()), "videos": videos})
    with drafted(folder / _INDEX) as draft:
        draft.write_text(index, "utf-8")


def _tensor_name(place: str) -> str:
    source = PurePosixPath(place)
    return str(PurePosixPath(source.parent.name, f"{source.stem}.pt"))


def _read_tensor_folder(folder: Path) -> StoredEmbeddings:
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        space, videos = json.dumps(index["space"]), index["videos"]
        files = [folder / PurePosixPath(video["file"]) for video in videos]
        sources = {video["video_id"]: video["source"] for video in videos}
        starts = np.array([time for video in videos for time in video["start_seconds"]], np.float64)
        ends = np.array([time for video in videos for time in video["end_seconds"]], np.float64)
    except FileNotFoundError as error:
        raise FormatError(f"{folder} has no {_INDEX}; read_tensors reads what other tools wrote") from error
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{folder / _INDEX}: not what write_embeddings writes ({error!r})") from error
    tensors = [_read_tensor(file) for file in files]
    raw = np.concatenate([np.zeros((0, Space.from_json(space).dimensions), np.float32), *tensors])
    norms = np.linalg.norm(raw, axis=1)
    vectors = raw / np.maximum(norms, np.finfo(np.float32).tiny)[:, None]
    arrays = {"vector": vectors, "norm": norms, "start_seconds": starts, "end_seconds": ends}
    counts = np.array([len(tensor) for tensor in tensors], np.int64)
    return _gathered(folder, space, arrays, counts, sources)


def _read_tensor(file: Path) -> NDArray[np.float32]:
    torch = _torch()
    from pickle import UnpicklingError

    try:
        tensor = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FormatError(f"{file} is gone; write the folder again") from error
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise FormatError(f"{file}: not a file of one tensor ({str(error).splitlines()[0]})") from error
    if not isinstance(tensor, torch.Tensor) or tensor.ndim not in {1, 2}:
        got = f"shape {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else f"a {type(tensor).__name__}"
        raise FormatError(f"{file}: features are one tensor (N, D), got {got}")
    vectors: NDArray[np.float32] = tensor.float().reshape(-1, tensor.shape[-1]).numpy()
    return vectors


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(".pt files are torch's, which", extra="models") from error
    return torch
