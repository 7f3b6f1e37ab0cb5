"""VCDB: copied segments in 528 videos of 28 topics (Jiang et al. 2014).

A line of ``annotation/<topic>.txt`` is ``A.ext,B.ext,beginA,endA,beginB,endB`` (HH:MM:SS): two copied segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reelspace.errors import FormatError, InvalidArgument
from reelspace.evaluation.datasets.layout import Stretch, annotation_lines, fields_of

__all__ = ["FOLDS", "CopiedPair", "Vcdb", "read_vcdb", "vcdb_fold"]

FOLDS = 5

# Lines of the annotations that are wrong; videoalignment deletes them from the files.
_WRONG = frozenset(
    {
        (
            "38f11a4162d8e94227ac644f117f942735b9a504.mp4,bf582249cfc79d691195a8681961029cc5149a76.flv,"
            "00:02:35,00:03:15,00:01:04,00:03:18"
        ),
        (
            "14c262ea09b4ca66feb7e88cf57e0faaeacc301f.mp4,f150e062960b477adcac3f12ef4543337f5a91a4.flv,"
            "00:00:19,00:00:33,00:00:00,00:00:14"
        ),
        (
            "067fb2aa9623905a42a2b0b286de1386e45c5bf8.flv,8f19329946455ae5c2c7b788ea6f6513bf5e1c9a.flv,"
            "00:01:06,00:02:18,00:00:05,00:01:17"
        ),
    }
)


@dataclass(frozen=True, slots=True)
class CopiedPair:
    """The same footage in two videos."""

    a: Stretch
    b: Stretch


@dataclass(frozen=True, slots=True)
class Vcdb:
    """The dataset.

    Attributes:
        segments: the copied segments, each once, which are searched for; sorted.
        videos: the whole videos, which are searched; sorted.
        pairs: which segments are copies of one another.
    """

    segments: tuple[Stretch, ...]
    videos: tuple[Stretch, ...]
    pairs: tuple[CopiedPair, ...]


def read_vcdb(root: Path) -> Vcdb:
    """The dataset in a folder. A video is named ``topic/stem``; a segment's place puts its beginning at second 0.

    Raises:
        InvalidArgument: when there are no annotations.
        FormatError: when they are no such lines.
    """
    files = sorted((root / "annotation").glob("*.txt"))
    if not files:
        raise InvalidArgument(f"there are no topic files annotation/*.txt in {root}")
    pairs = [
        _pair(line, file.stem, place)
        for file in files
        for line, place in annotation_lines(file)
        if line not in _WRONG
    ]
    return _dataset(pairs)


def vcdb_fold(dataset: Vcdb, fold: int, *, validation: bool) -> Vcdb:
    """One side of a fold: of T topics, sorted, each fold validates on ``T // 5``; those left over are trained on.

    videoalignment splits the same way, but takes topics in the order of a Python set, which changes from run to
    run: its folds cannot be repeated.

    Raises:
        InvalidArgument: when there is no such fold.
    """
    if not 0 <= fold < FOLDS:
        raise InvalidArgument(f"folds are 0 to {FOLDS - 1}, got {fold}")
    topics = sorted({_topic(pair.a.video) for pair in dataset.pairs})
    size = len(topics) // FOLDS
    held_out = set(topics[fold * size : (fold + 1) * size])
    return _dataset([pair for pair in dataset.pairs if (_topic(pair.a.video) in held_out) == validation])


def _dataset(pairs: list[CopiedPair]) -> Vcdb:
    segments = sorted({side for pair in pairs for side in (pair.a, pair.b)})
    videos = dict.fromkeys(segment.video for segment in segments)
    return Vcdb(tuple(segments), tuple(map(Stretch, videos)), tuple(pairs))


def _pair(line: str, topic: str, place: str) -> CopiedPair:
    a, b, *times = fields_of(line, ",", 6, place)
    try:
        begin_a, end_a, begin_b, end_b = (_seconds(time) for time in times)
    except ValueError as error:
        raise FormatError(f"{place}: times are HH:MM:SS, got {', '.join(times)}") from error
    return CopiedPair(
        *(
            Stretch(f"{topic}/{PurePosixPath(name.strip()).stem}", begin, end, -begin)
            for name, begin, end in ((a, begin_a, end_a), (b, begin_b, end_b))
        )
    )


def _seconds(text: str) -> int:
    hours, minutes, seconds = map(int, text.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def _topic(video: str) -> str:
    return video.split("/", maxsplit=1)[0]
