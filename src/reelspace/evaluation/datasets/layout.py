"""What the datasets of videoalignment have in common: stretches of videos, and folders of their frame features.

Features lie in ``<folder>/<video>.pkl``: a pickled array (N, d), 15 rows per second, no times; or in
``<folder>/<video>.npz`` as `reelspace.evaluation.datasets.embedding` writes them, with times. Videos lie in
``<root>/videos``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, MediaError
from reelspace.features import read_features_pkl
from reelspace.media import probe

__all__ = [
    "DEFAULT_FEATURES",
    "FRAMES_PER_SECOND",
    "FeatureFolder",
    "Stretch",
    "Track",
    "annotation_lines",
    "fields_of",
    "video_times",
]

FRAMES_PER_SECOND = 15.0
"""Of videoalignment's features, and of the offsets evaluated here."""
DEFAULT_FEATURES = "rmac_resnet34_29"
_SUFFIXES = (".mp4", ".flv", ".webm", ".mkv", ".avi", ".mov")
_FALLBACK_RATE = 25.0  # of a video that cannot be opened, as in videoalignment


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """A part of a video, and where it lies on the time line of its event.

    Attributes:
        video: its name, without a suffix.
        begin_seconds: in the video.
        end_seconds: in the video; not after the beginning: the whole video is meant.
        global_seconds: of the video's first instant on the time line.
    """

    video: str
    begin_seconds: float = 0.0
    end_seconds: float = 0.0
    global_seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether it is all of the video."""
        return self.end_seconds <= self.begin_seconds


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The frames of one stretch.

    Attributes:
        times: float64 (N,), in frames of 1/15 s since the stretch began.
        vectors: float32 (N, d).
        length: frames of 1/15 s that it spans.
    """

    times: NDArray[np.float64]
    vectors: NDArray[np.float32]
    length: int


@dataclass(slots=True)
class FeatureFolder:
    """The features of a dataset's videos, read one video at a time.

    Attributes:
        features: folder of ``.pkl`` and ``.npz`` files.
        videos: folder of the videos, which tell the frame rate that ``.pkl`` files do not.
        aliases: names of files that are not named like their video.
        rates: frame rates known without opening a video.
    """

    features: Path
    videos: Path
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rates: dict[str, float] = field(default_factory=dict)
    _space: Space | None = field(default=None, init=False)
    _last: tuple[str, NDArray[np.float64] | None, NDArray[np.floating]] | None = field(default=None, init=False)

    def feature_file(self, video: str) -> Path | None:
        """Where the features of a video are; None where there are none."""
        return _first_file(self.features, self.aliases.get(video, video), (".npz", ".pkl"))

    def video_file(self, video: str) -> Path | None:
        """Where a video is; None where it is not."""
        return _first_file(self.videos, self.aliases.get(video, video), _SUFFIXES)

    def missing(self, stretches: Sequence[Stretch]) -> list[str]:
        """The videos without features, each once, in order."""
        videos = dict.fromkeys(stretch.video for stretch in stretches)
        return [video for video in videos if self.feature_file(video) is None]

    def read(self, stretch: Stretch) -> Track:
        """The frames of a stretch; those of the video last read are kept for the next.

        Of ``.pkl`` features, which have no times, rows ``int(15 begin)`` to ``int(15 end)`` are taken, and times
        begin at 0 again, both as in videoalignment.

        Raises:
            InvalidArgument: when there is no file, it cannot be read, or nothing in it lies in the stretch.
            FormatError: when it is not a file of features.
            SpaceMismatch: when its vectors are of another space than those read before.
        """
        if self._last is None or self._last[0] != stretch.video:
            self._last = (stretch.video, *self._read_file(stretch.video))
        _, times, vectors = self._last
        begin, end = stretch.begin_seconds, stretch.end_seconds
        if times is None:
            if not stretch.whole:
                vectors = vectors[int(begin * FRAMES_PER_SECOND) : int(end * FRAMES_PER_SECOND)]
            times, length = video_times(len(vectors), self._rate(stretch.video)), len(vectors)
        else:
            inside = np.ones(len(times), bool) if stretch.whole else (times >= begin) & (times < end)
            times = (times[inside] - (0.0 if stretch.whole else begin)) * FRAMES_PER_SECOND
            vectors, length = vectors[inside], round(float(times[-1])) + 1 if len(times) else 0
        if not length:
            raise InvalidArgument(f"{stretch.video}: no frames between {begin:g} and {end:g} s")
        return Track(times, np.ascontiguousarray(vectors, dtype=np.float32), length)

    def _read_file(self, video: str) -> tuple[NDArray[np.float64] | None, NDArray[np.floating]]:
        file = self.feature_file(video)
        if file is None:
            raise InvalidArgument(f"there are no features of {video} in {self.features}")
        if file.suffix == ".pkl":
            return None, read_features_pkl(file)[1]
        try:
            with np.load(file, allow_pickle=False) as arrays:
                times, vectors = arrays["times_seconds"], arrays["vectors"]
                space = Space.from_json(str(arrays["space"]))
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise FormatError(f"{file}: not a file of features ({error})") from error
        if vectors.ndim != 2 or times.shape != vectors.shape[:1]:
            raise FormatError(f"{file}: features are (N, d) with N times, got {vectors.shape} and {times.shape}")
        if self._space is not None:
            self._space.require(space, where=str(self.features))
        self._space = space
        return times, vectors

    def _rate(self, video: str) -> float:
        if video not in self.rates:
            self.rates[video] = self._probed(video)
        return self.rates[video]

    def _probed(self, video: str) -> float:
        file = self.video_file(video)
        try:
            rate = probe(file).frame_rate if file is not None else None
        except MediaError:
            rate = None
        # Two decimals are what ffmpeg prints, and videoalignment reads.
        return round(float(rate), 2) if rate else _FALLBACK_RATE


def video_times(count: int, video_frames_per_second: float) -> NDArray[np.float64]:
    """When the frames shown at 0/15, 1/15, 2/15 s ... of a video begin: float64 (count,), in frames of 1/15 s."""
    shown = np.round(np.arange(count) * video_frames_per_second / FRAMES_PER_SECOND) / video_frames_per_second
    return np.asarray(shown * FRAMES_PER_SECOND)


def annotation_lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, and where each stands, for messages.

    Raises:
        InvalidArgument: when the file cannot be read.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read the annotations in {file}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield line.strip(), f"{file}:{number}"


def fields_of(line: str, separator: str | None, count: int, place: str) -> list[str]:
    """The fields of a line.

    Raises:
        FormatError: when there are more or fewer than ``count``.
    """
    fields = line.split(separator)
    if len(fields) != count:
        raise FormatError(f"{place}: a line has {count} fields, got {len(fields)}: {line!r}")
    return fields


def _first_file(folder: Path, name: str, suffixes: Sequence[str]) -> Path | None:
    # Names may hold dots (`longvid.avi`), so a suffix is added and never replaced.
    return next((file for suffix in suffixes if (file := folder / f"{name}{suffix}").is_file()), None)
