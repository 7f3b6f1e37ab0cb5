"""A model as a row of data: what it reads, what it gives, where its weights are, and what they may be used for.

No torch is needed to make, list or compare rows; `load` turns one into a running encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from reelspace.core.clips import ClipSpec
from reelspace.core.space import Space
from reelspace.errors import InvalidArgument, UnknownName

__all__ = ["EncoderSpec", "Preprocessing", "WeightFile", "Weights"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@/:-]*")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a decoded picture to what the model reads.

    The order is: resize, crop, ``x * scale + offset``, ``(x - mean) / std``.

    Attributes:
        resize: ``shortest``: the shorter side becomes ``size``, the longer ``int(size * long / short)``.
            ``square``: both become ``size``, whatever the shape. ``cover``: the middle square, then ``size``.
            ``area``: the shape is kept and the shorter side is chosen so that the picture has about ``size`` pixels
            in all (videoalignment's RMAC). ``as-is``: left to the encoder's own `Tap`.
        size: pixels, as ``resize`` means it.
        crop: side of the square that is cut from the middle after resizing; None for none. A picture that is too
            small is padded with black.
        filter: ``bilinear`` or ``bicubic``.
        antialias: as PIL does when it shrinks; False is what OpenCV and plain interpolation do.
        scale: factor on 0..255.
        offset: added after ``scale``.
        mean: per channel, R G B, after ``scale`` and ``offset``.
        std: likewise.

    Raises:
        InvalidArgument: for a size or crop below 1, or an unknown rule.
    """

    resize: Literal["shortest", "square", "cover", "area", "as-is"]
    size: int
    crop: int | None = None
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    scale: float = 1 / 255
    offset: float = 0.0
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD

    def __post_init__(self) -> None:
        if self.size < 1 or (self.crop is not None and self.crop < 1):
            raise InvalidArgument(f"sizes are at least one pixel, got size {self.size}, crop {self.crop}")
        if self.resize not in {"shortest", "square", "cover", "area", "as-is"}:
            raise InvalidArgument(f"no resize rule named {self.resize!r}")
        if self.filter not in {"bilinear", "bicubic"}:
            raise InvalidArgument(f"filter is 'bilinear' or 'bicubic', got {self.filter!r}")
        if min(self.std) <= 0:
            raise InvalidArgument(f"std is positive, got {self.std}")

    @property
    def side(self) -> int | None:
        """Rows and columns the model gets; None where they depend on the video."""
        if self.crop is not None:
            return self.crop
        return self.size if self.resize in {"square", "cover"} else None


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a checkpoint.

    Attributes:
        name: in its repository, or what it is called once downloaded.
        url: where it is, for files that are not on the hub.
        size_bytes: None where it is not known; then recorded at first use.
        sha256: 64 hex digits, or None where nobody published it: recorded at first use and checked ever after.
        optional: a checkpoint without it is complete (a second tokenizer file).

    Raises:
        InvalidArgument: when the digest is not one.
    """

    name: str
    url: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InvalidArgument(f"{self.name}: sha256 is 64 hex digits, got {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a checkpoint is: a repository on the hub, URLs, a local folder, or inside this package.

    Attributes:
        files: what is fetched.
        repo: ``ORG/NAME`` on the hub, for files without a URL of their own.
        revision: the commit, 40 hex digits. None: not known when the row was written; the commit that ``main`` is
            at when it is first pulled is recorded then, and used ever after.
        folder: of a user's own row: where the files lie already.
        page: where a person gets the files, when no program can (an account, a form); `reelspace models import`
            takes them from there.
        licence: of the weights, as SPDX names it where it can.
        commercial: whether that licence allows commercial use; None where no licence was found.
        trained_on: data sets, for people who need to know.

    Raises:
        InvalidArgument: when the revision is not a commit, or there is nowhere to fetch from.
    """

    files: tuple[WeightFile, ...] = ()
    repo: str | None = None
    revision: str | None = None
    folder: str | None = None
    page: str | None = None
    licence: str = "not stated"
    commercial: bool | None = None
    trained_on: str = ""

    def __post_init__(self) -> None:
        if self.revision is not None and not _REVISION.fullmatch(self.revision):
            raise InvalidArgument(f"a revision is a commit of 40 hex digits, got {self.revision!r}")
        somewhere = self.repo or self.folder or self.page
        if somewhere is None and any(file.url is None for file in self.files):
            raise InvalidArgument("weights need a hub repository, a folder, a page, or a URL for each file")


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One row of the catalog.

    Attributes:
        name: what users type: ``hiera-base-16x224``.
        family: rows that share a factory and a paper: ``hiera``.
        factory: ``module:function``; called with this row and its `Checkpoint`, it gives the network (`load`).
        clip: frames, spacing, windows.
        preprocessing: from decoded pictures to the network's input.
        outputs: {name: dimensions} of the vectors a clip gives, the default first. ``logits`` score ``labels``.
        maps: outputs of more than one vector per clip, given on request only: ``tokens``, ``stages``.
        text_output: the output that shares its space with ``encode_text``; None without a text tower.
        distance: how vectors are compared: ``cosine`` or ``dot``.
        labels: name of a file in ``encoders/labels``, or ``config`` where the checkpoint names them itself; None
            without classes.
        weights: where they are, and their licence.
        options: what else the factory needs to know; JSON values.
        paper: authors, year and an arXiv id or URL.
        score: as published, with the protocol: ``K400 top-1 84.0 (5x3 views)``.
        remark: what one should know before picking it.

    Raises:
        InvalidArgument: for a name with other characters than letters, digits and ``_.@/:-``, no output, or a
            ``text_output`` that is not one of them.
    """

    name: str
    family: str
    factory: str
    clip: ClipSpec
    preprocessing: Preprocessing
    outputs: Mapping[str, int]
    weights: Weights
    paper: str
    maps: tuple[str, ...] = ()
    text_output: str | None = None
    distance: Literal["cosine", "dot"] = "cosine"
    labels: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    score: str = ""
    remark: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidArgument(f"an encoder's name is letters, digits and _.@/:-, got {self.name!r}")
        if not self.outputs or min(self.outputs.values()) < 1:
            raise InvalidArgument(f"{self.name}: outputs are {{name: dimensions}}, got {dict(self.outputs)}")
        if self.text_output is not None and self.text_output not in self.outputs:
            raise InvalidArgument(f"{self.name}: text_output {self.text_output!r} is none of {list(self.outputs)}")
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: a mapping proxy has no pickled form."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values |= {"outputs": dict(self.outputs), "options": dict(self.options)}
        return _revived, (values,)

    @property
    def default_output(self) -> str:
        """The first output that is an embedding."""
        return next((name for name in self.outputs if name != "logits"), "logits")

    @property
    def of_pictures(self) -> bool:
        """Whether it reads single pictures: its vectors form frame sequences, which feed alignment."""
        return self.clip.frames == 1

    def require_output(self, name: str) -> str:
        """``name``, where it is one of the outputs.

        Raises:
            UnknownName: otherwise.
            InvalidArgument: for a map, which is more than one vector per clip.
        """
        if name in self.maps:
            raise InvalidArgument(
                f"{name} of {self.name} is a map, more than one vector per clip; from Python, `load_encoder` has it"
            )
        if name not in self.outputs:
            raise UnknownName(f"output of {self.name}", name, self.outputs)
        return name

    def space(self, output: str, *, digest: str, clip: ClipSpec | None = None) -> Space:
        """The identity of the vectors of one output.

        Args:
            output: its name.
            digest: of the checkpoint.
            clip: as used, where it is not the row's own.
        """
        used = clip or self.clip
        name = f"{self.name}.{output}" if used.mode == "tiled" else f"{self.name}.{output}.{used.mode}"
        parameters = {
            "encoder": self.name,
            "checkpoint": digest,
            "factory": self.factory,
            "options": dict(self.options),
            "clip": asdict(used),
            "preprocessing": asdict(self.preprocessing),
            "output": output,
            "distance": self.distance,
            "text": output == self.text_output,
        }
        return Space(name, self.outputs[self.require_output(output)], parameters)


def _revived(values: dict[str, Any]) -> EncoderSpec:
    return EncoderSpec(**values)
