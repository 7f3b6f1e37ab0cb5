"""Questions about one or two files, with no library: how they line up, and their TMK hashes."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.offsets import METHODS as OFFSET_METHODS
from reelspace.alignment.offsets import align_sequences
from reelspace.alignment.tmk import TmkDescriptor, read_tmk
from reelspace.alignment.tmk_scores import TmkMatch, compare_tmk
from reelspace.core.machine import available_cores
from reelspace.core.results import Alignment, CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.core.video import Video
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.extract.encode import encode_videos
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.models import Model, rows_of
from reelspace.extract.plan import Plan, TmkSigner, descriptor_of
from reelspace.media.sources import find_videos
from reelspace.models import open_model
from reelspace.tasks import copies

__all__ = ["ALIGN_METHODS", "Pair", "Side", "align", "tmk_compare", "tmk_hash", "tmk_hashes"]

ALIGN_METHODS = ("auto", *OFFSET_METHODS, "segments")
"""``tmk``, ``tmk-poullot`` and ``cte`` take one offset for the whole of both, by every frame. ``segments`` takes
that of the best copied stretch, which may be cropped, bordered, mirrored or a part of either. ``auto`` takes what
``tmk`` says where it is sure and agrees with the best stretch to a second, else the stretch."""

_NEAR_SECONDS = 1.0
_WEAK = 0.2  # score of `tmk` under which its curve is mostly what the rest of a long film adds
_PICTURE_ROWS = 800


def align(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    method: str = "auto",
    threshold: float | None = None,
    encoder: str | EncoderSpec | Model | None = None,
) -> Alignment:
    """How two videos line up in time; each is decoded once.

    What happens at second t of B happens at second ``t + offset_seconds`` of A.

    Args:
        a: path or URL.
        b: path or URL.
        method: a name in `ALIGN_METHODS`.
        threshold: least score of the copied segments that come along; None for `tasks.copies.DEFAULT_THRESHOLD`.
        encoder: a model of pictures whose frames give the offset instead of PDQF's: a name of the catalog such as
            ``sscd-disc-mixup`` or ``rmac-resnet34``, or what `open_model` gave.

    Raises:
        UnknownName: for another method, or encoder.
        MediaError: when one of the files cannot be read.
        InvalidArgument: for ``segments`` when the two share no footage.
    """
    if method not in ALIGN_METHODS:
        raise UnknownName("alignment method", method, ALIGN_METHODS)
    return Pair.read(a, b, encoder=encoder).align(method=method, threshold=threshold)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of two videos.

    Attributes:
        video: what the container says.
        duration_seconds: as the pictures bear it out.
        frames: one vector per picture, which give one offset for the whole.
        rows: what copied stretches are found by.
    """

    video: Video
    duration_seconds: float
    frames: FrameSequence
    rows: FrameSequence


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two videos, decoded once, ready for every question about the two.

    Attributes:
        a: of A: the frames that give one offset for the whole (PDQF's, 15 per second, unless another encoder was
            asked for), and the rows copies are found by.
        b: likewise of B.
    """

    a: Side
    b: Side

    @classmethod
    def read(
        cls,
        a: str | os.PathLike[str],
        b: str | os.PathLike[str],
        *,
        encoder: str | EncoderSpec | Model | None = None,
    ) -> Pair:
        """Decodes both, side by side.

        Raises:
            InvalidArgument: when one of them is not one file, or the encoder does not read single pictures.
            MediaError: when one of them cannot be read.
        """
        if encoder is not None:
            return cls._read_with(encoder, a, b)
        plan = Plan(encoders=(Pdqf(), PdqfViews()))
        sources = [_one_video(path) for path in (a, b)]
        threads = max(1, available_cores() // 2)
        with _decoders(2) as (pool, go_on):

            def one(source: str) -> Side:
                # Nobody asks for the content id, so the file is not read for it.
                made = fingerprint(source, plan, video_id=source, threads=threads, on_progress=go_on)
                return Side(made.video, made.duration_seconds, *made.sequences)

            return cls(*pool.map(one, sources))

    @classmethod
    def _read_with(
        cls, encoder: str | EncoderSpec | Model, a: str | os.PathLike[str], b: str | os.PathLike[str]
    ) -> Pair:
        model = encoder if isinstance(encoder, Model) else open_model(encoder)
        if not model.in_frames:
            raise InvalidArgument(
                f"aligning goes by single pictures, and {model.encoder.spec.name} reads clips of "
                f"{model.clip.frames} frames; take a model of pictures, such as sscd-disc-mixup"
            )
        sources = [_one_video(path) for path in (a, b)]
        sides: dict[str, Side] = {}
        for outcome in encode_videos(sources, [model], encoders=(PdqfViews(),)):
            if isinstance(outcome, MediaError):
                raise outcome
            length = outcome.duration_seconds
            rows = rows_of(model, outcome.made[0], model.outputs[0], decoding="exact", duration_seconds=length)
            if isinstance(rows, FrameSequence):
                sides[outcome.source] = Side(outcome.video, length, rows, outcome.sequences[0])
        return cls(*(sides[source] for source in sources))

    def align(self, *, method: str = "auto", threshold: float | None = None) -> Alignment:
        """The offset by one method, with the copied segments beside it; arguments and errors as in `align`."""
        if method not in ALIGN_METHODS:
            raise UnknownName("alignment method", method, ALIGN_METHODS)
        segments = self.segments(threshold=threshold)
        if method == "segments":
            return self._by_segments(segments)
        whole = align_sequences(self.a.frames, self.b.frames, method="tmk" if method == "auto" else method)
        if method == "auto" and segments:
            by_segments = self._by_segments(segments)
            agree = abs(whole.offset_seconds - by_segments.offset_seconds) <= _NEAR_SECONDS
            if not agree or whole.score < _WEAK:
                return by_segments
        return replace(whole, segments=tuple(segments))

    def segments(self, *, threshold: float | None = None) -> list[CopySegment]:
        """Stretches of A (query) that show stretches of B (reference), best first."""
        least = copies.DEFAULT_THRESHOLD if threshold is None else threshold
        return [s for s in copies.compare(self.a.rows, self.b.rows) if s.score >= least]

    def similarity(self) -> NDArray[np.float32]:
        """Frame against frame, float32 (Ta, Tb), thinned to about 800 frames of either.

        Under the look (crop, mirroring, turn) that shows most in common.
        """
        return copies.best_similarity(*(_thinned(side.rows) for side in (self.a, self.b))).matrix

    def plot(self, alignment: Alignment, path: str | os.PathLike[str]) -> Path:
        """Draws similarity, segments and the score of every offset.

        Raises:
            MissingExtra: without matplotlib.
        """
        from reelspace.plots import plot_alignment

        return plot_alignment(
            alignment,
            self.similarity(),
            Path(path),
            duration_a=self.a.duration_seconds,
            duration_b=self.b.duration_seconds,
            name_a=os.path.basename(self.a.video.source),  # noqa: PTH119 # may be a URL
            name_b=os.path.basename(self.b.video.source),  # noqa: PTH119
        )

    def _by_segments(self, segments: list[CopySegment]) -> Alignment:
        if not segments:
            raise InvalidArgument(
                f"{self.a.video.source} and {self.b.video.source} share no footage, so no segment gives an offset; "
                "try the method 'tmk'"
            )
        seconds = segments[0].query.middle - segments[0].reference.middle
        offsets, curve = self._diagonals()
        covered = Span(0.0, self.a.duration_seconds).intersection(Span(seconds, seconds + self.b.duration_seconds))
        return Alignment(
            offset_seconds=seconds,
            score=float(np.interp(seconds, offsets, curve)),
            overlap_a=covered,
            overlap_b=covered.shifted(-seconds) if covered else None,
            offsets_seconds=offsets,
            curve=curve,
            method="segments",
            segments=tuple(segments),
        )

    def _diagonals(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Offsets in seconds, and at each the mean similarity of frames that meet, over the most that can meet."""
        seen = copies.best_similarity(*(_thinned(side.rows) for side in (self.a, self.b)))
        apart = seen.query_times[:, None] - seen.reference_times
        step = max(
            float(np.median(np.diff(t))) if len(t) > 1 else 1.0 for t in (seen.query_times, seen.reference_times)
        )
        bins = np.rint(apart / step).astype(np.int64).reshape(-1)
        lowest = int(bins.min())
        sums = np.bincount(bins - lowest, seen.matrix.reshape(-1).astype(np.float64))
        most = np.bincount(bins - lowest).max()
        offsets = (np.arange(len(sums)) + lowest) * np.float64(step)
        return offsets, (sums / most).astype(np.float32)


def tmk_hash(video: str | os.PathLike[str], *, fast: bool = False) -> TmkDescriptor:
    """The TMK descriptor of one video, interchangeable with ThreatExchange's unless it is ``fast``.

    `reelspace.alignment.tmk.write_tmk` writes it to a file.

    Args:
        video: path or URL.
        fast: read the file quickly instead of exactly; never to be mixed with exact hashes.

    Raises:
        MediaError: when the video cannot be read.
    """
    ((_, found),) = tmk_hashes([_one_video(video)], fast=fast)
    if isinstance(found, MediaError):
        raise found
    return found


def tmk_hashes(
    videos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    fast: bool = False,
    workers: int | None = None,
) -> Iterator[tuple[str, TmkDescriptor | MediaError]]:
    """Hashes many videos side by side; yields (path, its descriptor or what is wrong with it), in order.

    Args:
        videos: paths, folders, globs, URLs.
        fast: as in `tmk_hash`.
        workers: files decoded at the same time; None for one per core.

    Raises:
        InvalidArgument: naming every path that is not there.
    """
    sources = find_videos(videos)
    plan = Plan(signers=(TmkSigner(fast=fast),), fast=fast)
    most = workers or available_cores()

    def one(place: int, go_on: Callable[[float], None]) -> TmkDescriptor | MediaError:
        left = len(sources) - place  # files from this one on; the last few share the cores that fall idle
        try:
            made = fingerprint(
                sources[place],
                plan,
                video_id=sources[place],  # nobody asks for the content id, so the file is not read for it
                threads=max(1, most // left),
                on_progress=go_on,
            )
        except MediaError as error:
            return error
        return descriptor_of(made.signatures[0])

    with _decoders(most) as (pool, go_on):
        yield from zip(sources, pool.map(partial(one, go_on=go_on), range(len(sources))), strict=True)


@contextmanager
def _decoders(threads: int) -> Iterator[tuple[ThreadPoolExecutor, Callable[[float], None]]]:
    """Threads that decode, and what each calls as it goes on: it ends them where the caller was interrupted."""
    given_up = threading.Event()

    def go_on(video_seconds: float) -> None:  # noqa: ARG001
        if given_up.is_set():
            raise CancelledError

    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            yield pool, go_on
        except BaseException:
            given_up.set()
            pool.shutdown(cancel_futures=True)
            raise


def tmk_compare(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> TmkMatch:
    """Both levels and the best offset of two hashes; each may be a ``.tmk`` file or a video.

    Raises:
        FormatError: for a damaged ``.tmk`` file.
        MediaError: when a video cannot be read.
        SpaceMismatch: when the two were made with different parameters.
    """
    return compare_tmk(*(_descriptor(path) for path in (a, b)))


def _descriptor(path: str | os.PathLike[str]) -> TmkDescriptor:
    return read_tmk(path) if os.fspath(path).endswith(".tmk") else tmk_hash(path)


def _one_video(path: str | os.PathLike[str]) -> str:
    found = find_videos(path)
    if len(found) != 1:
        raise InvalidArgument(f"one video is wanted here, {os.fspath(path)!r} is {len(found)}; name a file")
    return found[0]


def _thinned(sequence: FrameSequence) -> FrameSequence:
    times, frame = np.unique(sequence.times_seconds, return_inverse=True)
    keep = frame % math.ceil(max(len(times), 1) / _PICTURE_ROWS) == 0
    return FrameSequence(
        sequence.times_seconds[keep],
        sequence.vectors[keep],
        sequence.views[keep],
        sequence.weights[keep],
        sequence.space,
        sequence.duration_seconds,
    )
