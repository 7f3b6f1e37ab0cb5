"""Whether an encoder still gives the vectors it gave: the golden input through decode, preprocessing and model.

The golden input is ``golden.mp4`` beside this file, two seconds drawn by formula
(``render_clips(folder, count=1, seconds=2.4, scale=0.35, seed=3)``), and one sentence for models that read text.
What an encoder makes of them when it is first used is kept in the store of checkpoints. A library, a driver or a
decoder that changes it later is noticed before vectors of two kinds are mixed.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from reelspace.encoders.checkpoint import models_store
from reelspace.encoders.encoder import Encoder, FrameEncoder, TextEncoder
from reelspace.encoders.load import load_encoder
from reelspace.encoders.pictures import PictureEncoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import CheckpointError, MediaError, NotFinite
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Model
from reelspace.media import open_video

__all__ = ["ContractReport", "check_encoder", "require_contract"]

_SENTENCE = "a person is dancing in the rain"
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}
_PACKAGES = ("reelspace", "numpy", "av", "torch", "transformers")

Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class ContractReport:
    """What was expected of an encoder, and what it gave.

    Attributes:
        encoder: its name.
        status: ``matches``; ``recorded``, when nothing was expected yet; ``differs``.
        expected: {output: float32 (windows, D)} of the golden video, and ``text`` (1, D); what it gave when nothing
            was expected.
        got: likewise.
        difference: the largest of any output, as a share of the largest number expected of it.
        tolerance: above which it differs: 0.001, more in half precision.
        path: of the record.
    """

    encoder: str
    status: Literal["matches", "recorded", "differs"]
    expected: Vectors
    got: Vectors
    difference: float
    tolerance: float
    path: Path


def check_encoder(encoder: str | EncoderSpec | Encoder, *, device: str = "auto") -> ContractReport:
    """Runs the golden input through an encoder and compares with its record; the first time, records it.

    Args:
        encoder: a name, a row, or a loaded encoder.
        device: for one that is not loaded yet.

    Raises:
        UnknownName, MissingExtra, CheckpointError, FormatError: see `load_encoder`.
    """
    loaded = load_encoder(encoder, device=device) if isinstance(encoder, str | EncoderSpec) else encoder
    path = _record_path(loaded)
    try:
        got = _golden_vectors(loaded)
    except NotFinite as error:
        raise CheckpointError(
            f"{loaded.spec.name} gives no finite numbers for the golden input in {_dtype(loaded)}; compute in "
            "float32, or pull its checkpoint again"
        ) from error
    found = _read(path)
    if found is None:
        _write(path, got, {"encoder": loaded.spec.name, "dtype": _dtype(loaded), "seen": [_surroundings(loaded)]})
        return ContractReport(loaded.spec.name, "recorded", got, got, 0.0, _TOLERANCE[_dtype(loaded)], path)
    expected, about = found
    difference = _difference(expected, got)
    tolerance = max(_TOLERANCE[_dtype(loaded)], _TOLERANCE[about["dtype"]])
    status: Literal["matches", "differs"] = "matches" if difference <= tolerance else "differs"
    if status == "matches" and _surroundings(loaded) not in about["seen"]:
        _write(path, expected, {**about, "seen": [*about["seen"], _surroundings(loaded)]})
    return ContractReport(loaded.spec.name, status, expected, got, difference, tolerance, path)


def require_contract(encoder: Encoder) -> None:
    """Refuses an encoder that does not give the vectors it gave; to be called before they go into a library.

    Nothing is computed where the same packages on the same device were found to match before.

    Raises:
        CheckpointError: when it differs, saying by how much and what to do.
    """
    found = _read(_record_path(encoder))
    if found is not None and _surroundings(encoder) in found[1]["seen"]:
        return
    try:
        report = check_encoder(encoder)
    except OSError:  # a store that may only be read keeps no records: there is nothing to hold anybody to
        return
    if report.status == "differs":
        raise CheckpointError(
            f"{report.encoder} does not give the vectors it gave before: of the golden input they differ by "
            f"{report.difference:.2g} of the largest, more than {report.tolerance:g}. Something it runs on has "
            f"changed ({_surroundings(encoder)}); go back to what was there, or, if the new vectors are the right "
            f"ones, delete {report.path} and index into a new library"
        )


def _golden_vectors(encoder: Encoder) -> Vectors:
    with as_file(files("reelspace.extract") / "golden.mp4") as video:
        if isinstance(encoder, PictureEncoder):
            return {encoder.spec.default_output: _described(encoder.frame_encoder, video)}
        model = Model(encoder, tuple(encoder.spec.outputs), replace(encoder.spec.clip, mode="tiled"))
        (outcome,) = encode_videos([str(video)], [model], workers=1)
    if isinstance(outcome, MediaError):
        raise outcome
    vectors = dict(outcome.made[0].vectors)
    if encoder.spec.text_output is not None and isinstance(encoder, TextEncoder):
        vectors["text"] = encoder.encode_text([_SENTENCE])
    return vectors


def _described(encoder: FrameEncoder, video: Path) -> NDArray[np.float32]:
    """The vectors of the package's own frame encoders, which say themselves how they want their pictures."""
    with open_video(video) as reader:
        frames = np.stack([frame.pixels for _, frame in reader.read([encoder.tap])])
    return encoder.encode(frames).vectors[:, 0]  # (N, V, D) -> (N, D)


def _difference(expected: Vectors, got: Vectors) -> float:
    """Infinite for other outputs, other shapes, or anything that is no number."""
    if expected.keys() != got.keys() or any(expected[name].shape != got[name].shape for name in expected):
        return float("inf")
    worst = 0.0
    for name, values in expected.items():
        largest = max(float(np.abs(values).max(initial=0)), float(np.finfo(np.float32).tiny))
        share = float(np.abs(got[name] - values).max(initial=0)) / largest
        worst = max(worst, share if np.isfinite(share) else float("inf"))
    return worst


def _record_path(encoder: Encoder) -> Path:
    """By everything that shapes the vectors: the checkpoint, the clip, the preprocessing."""
    spec = encoder.spec
    space = Model(encoder, (spec.default_output,), replace(spec.clip, mode="tiled")).space(spec.default_output)
    return models_store() / "contracts" / f"{space.fingerprint}.npz"


def _dtype(encoder: Encoder) -> str:
    return getattr(encoder, "dtype", "float32")


def _surroundings(encoder: Encoder) -> str:
    """What it runs on, as far as results may depend on it."""
    versions = []
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return ", ".join([*versions, platform.machine(), str(getattr(encoder, "device", "cpu")), _dtype(encoder)])


def _read(path: Path) -> tuple[Vectors, dict[str, Any]] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            return {name[2:]: stored[name] for name in stored.files if name.startswith("v.")}, about
    except (ValueError, OSError, KeyError, BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); delete it") from error


def _write(path: Path, vectors: Vectors, about: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        arrays: dict[str, Any] = {f"v.{name}": values for name, values in vectors.items()}
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
    part.replace(path)
