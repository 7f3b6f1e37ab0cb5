"""Principal components with whitening: fitted from a stream, kept as arrays, read from videoalignment's files."""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import FormatError, InvalidArgument

__all__ = ["Pca", "fit_pca", "load_pca", "read_t7", "save_pca"]

# Added to the eigenvalues of the scatter matrix, as videoalignment does: directions in which nothing varies stay
# finite.
_EPSILON = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Pca:
    """``projection @ (x - mean)``: uncorrelated numbers of variance 1, the widest direction first.

    Attributes:
        mean: float32 (D,).
        projection: float32 (K, D): eigenvectors of the covariance, each divided by the root of its eigenvalue.

    Raises:
        FormatError: when the shapes do not fit each other.
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.projection.ndim != 2 or self.projection.shape[1] != len(self.mean):
            raise FormatError(
                f"a PCA has a mean (D,) and (K, D), got {self.mean.shape} and {self.projection.shape}"
            )

    def __call__(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Vectors (N, D) -> float32 (N, K), not of unit length."""
        return np.asarray((vectors.astype(np.float32) - self.mean) @ self.projection.T, np.float32)


def fit_pca(
    vectors: NDArray[np.floating] | Iterable[NDArray[np.floating]], *, dimensions: int | None = None
) -> Pca:
    """The PCA of vectors (N, D), or of a stream of them in blocks of any size: one pass, memory for one block.

    Mean and scatter are summed in double precision and merged block by block (Chan, Golub and LeVeque 1983). The
    result is videoalignment's times ``sqrt(N - 1)``, which it leaves out and the normalisation after it undoes.

    Args:
        vectors: one array or many.
        dimensions: K, how many directions are kept; all D where it is None.

    Raises:
        InvalidArgument: when there are too few vectors to tell that many directions, or they differ in length.
    """
    count, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
    for block in [vectors] if isinstance(vectors, np.ndarray) else vectors:
        if len(block) == 0:
            continue
        if count == 0:
            mean, scatter = np.zeros(block.shape[1]), np.zeros((block.shape[1],) * 2)
        if block.shape[1] != len(mean):
            raise InvalidArgument(f"vectors of one PCA are of one length, got {len(mean)} and {block.shape[1]}")
        wide = block.astype(np.float64)
        block_mean = wide.mean(axis=0)
        wide -= block_mean
        apart = block_mean - mean
        total = count + len(block)
        scatter += wide.T @ wide + np.outer(apart, apart) * (count * len(block) / total)
        mean = mean + apart * (len(block) / total)
        count = total
    kept = len(mean) if dimensions is None else dimensions
    if not 1 <= kept <= len(mean) or count <= kept:
        raise InvalidArgument(
            f"{count} vectors of {len(mean)} numbers do not tell {kept} directions; give more vectors than that, or"
            " keep fewer dimensions"
        )
    values, directions = np.linalg.eigh(scatter)
    widest = np.argsort(values)[::-1][:kept]
    scale = np.sqrt((count - 1) / (np.maximum(values[widest], 0) + _EPSILON))
    projection = directions[:, widest].T * scale[:, None]
    return Pca(mean.astype(np.float32), projection.astype(np.float32))


def save_pca(pca: Pca, path: Path) -> None:
    """Writes ``mean`` and ``projection`` to an ``.npz`` or a ``.safetensors`` file.

    Raises:
        InvalidArgument: for another suffix.
    """
    arrays = {"mean": pca.mean, "projection": np.ascontiguousarray(pca.projection)}
    if path.suffix == ".npz":
        np.savez(path, mean=arrays["mean"], projection=arrays["projection"])
    elif path.suffix == ".safetensors":
        import safetensors.numpy

        safetensors.numpy.save_file(arrays, path)
    else:
        raise InvalidArgument(f"a PCA is written to .npz or .safetensors, got {path.name!r}")


def load_pca(path: Path) -> Pca:
    """The PCA in a file that `save_pca` wrote, or in videoalignment's ``.zip`` with its pair of ``.t7`` files.

    Raises:
        FormatError: when the file is none of these, or its arrays do not fit.
    """
    if path.suffix == ".safetensors":
        return _pca(_safetensors(path), path)
    if not zipfile.is_zipfile(path):
        raise FormatError(f"{path} is no PCA: expected .npz, .safetensors, or a .zip with a pair of .t7 files")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "mean.npy" in names:
            return _pca(_npz(path), path)
        # The code that wrote them calls them PREFIX_Dvt_resnet34_29.t7, its README PREFIX_pca_Dvt_resnet34_29.t7.
        found = {
            "mean" if "_mean_" in PurePosixPath(name).name else "projection": read_t7(archive.read(name), name=name)
            for name in names
            if name.endswith(".t7") and not name.startswith("__MACOSX")
        }
    return _pca(found, path)


def read_t7(data: bytes, *, name: str = "t7") -> NDArray[np.float32]:
    """The tensor in a ``.t7`` file, whichever of three formats it is in; its first bytes tell.

    PyTorch writes zip archives, before 1.6 plain pickles (``80 02 8a 0a 6c fc 9c 46``); Lua Torch7 its own binary
    form (``04 00 00 00``), of which float and double tensors are read. Nothing is unpickled beyond tensors.

    Raises:
        FormatError: for anything else.
    """
    for begin, read in _T7.items():
        if data.startswith(begin):
            return np.asarray(read(data, name), dtype=np.float32)
    raise FormatError(f"{name} begins with {data[:8].hex(' ')}: not a tensor of PyTorch or Torch7")


def _pca(arrays: Mapping[str, NDArray[np.floating]], path: Path) -> Pca:
    if not {"mean", "projection"} <= arrays.keys():
        raise FormatError(f"{path} holds {sorted(arrays)}; a PCA is a mean and a projection")
    mean, projection = (np.asarray(arrays[name], dtype=np.float32) for name in ("mean", "projection"))
    return Pca(mean.reshape(-1), projection)  # videoalignment's mean is (1, D)


def _npz(path: Path) -> dict[str, NDArray[np.floating]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is not an .npz file of numbers: {error}") from error


def _safetensors(path: Path) -> dict[str, NDArray[np.floating]]:
    import safetensors.numpy
    from safetensors import SafetensorError

    try:
        arrays: dict[str, NDArray[np.floating]] = safetensors.numpy.load_file(path)
    except SafetensorError as error:
        raise FormatError(f"{path} is not a safetensors file: {error}") from error
    return arrays


def _pytorch_tensor(data: bytes, name: str) -> NDArray[np.floating]:
    import torch

    try:
        tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise FormatError(f"{name} is a file of PyTorch that cannot be read: {error}") from error
    if not isinstance(tensor, torch.Tensor):
        raise FormatError(f"{name} holds {type(tensor).__name__}, not a tensor")
    array: NDArray[np.floating] = tensor.detach().float().numpy()
    return array


_TORCH7_NUMBERS = {"Float": "<f4", "Double": "<f8"}


class _Torch7:
    """A cursor over Torch7's binary form (torch7, File.lua): little-endian numbers, strings with their length."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name, self._at = data, name, 0

    def numbers(self, dtype: str, count: int) -> NDArray[np.generic]:
        size = np.dtype(dtype).itemsize * count
        if count < 0 or self._at + size > len(self._data):
            raise FormatError(f"{self._name} ends early, or is no tensor of Torch7")
        taken = np.frombuffer(self._data, dtype, count, self._at)
        self._at += size
        return taken

    def int32(self) -> int:
        return int(self.numbers("<i4", 1)[0])

    def kind(self, suffix: str) -> str:
        """Enters an object, ``torch.<kind><suffix>``, and says which kind it is."""
        object_type, _index = self.int32(), self.int32()
        called = self._string()
        if called.startswith("V "):  # the version, absent from very old files
            called = self._string()
        kind = called.removeprefix("torch.").removesuffix(suffix)
        if object_type != 4 or called != f"torch.{kind}{suffix}" or kind not in _TORCH7_NUMBERS:
            raise FormatError(f"{self._name} holds {called!r}; only tensors of floats and doubles are read")
        return kind

    def _string(self) -> str:
        return self.numbers("u1", self.int32()).tobytes().decode("latin-1")


def _torch7_tensor(data: bytes, name: str) -> NDArray[np.floating]:
    file = _Torch7(data, name)
    file.kind("Tensor")
    axes = file.int32()
    shape, strides = file.numbers("<i8", axes), file.numbers("<i8", axes)
    first = int(file.numbers("<i8", 1)[0]) - 1  # Lua counts from 1
    dtype = _TORCH7_NUMBERS[file.kind("Storage")]
    storage = file.numbers(dtype, int(file.numbers("<i8", 1)[0]))
    if not 0 < math.prod(map(int, shape)) <= len(storage):
        raise FormatError(f"{name} is a tensor {tuple(shape.tolist())} over {len(storage)} numbers")
    places = first + sum(
        (np.ix_(*map(np.arange, shape))[axis] * strides[axis] for axis in range(axes)), np.int64(0)
    )
    if np.min(places) < 0 or np.max(places) >= len(storage):
        raise FormatError(f"{name} reaches beyond its {len(storage)} numbers")
    tensor: NDArray[np.floating] = storage[places]
    return tensor


_T7: Mapping[bytes, Callable[[bytes, str], NDArray[np.floating]]] = MappingProxyType(
    {
        b"PK": _pytorch_tensor,
        bytes.fromhex("80028a0a6cfc9c46"): _pytorch_tensor,
        struct.pack("<i", 4): _torch7_tensor,
    }
)
