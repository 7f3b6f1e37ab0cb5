"""Questions about one or two files, with no library: how they line up, and their TMK hashes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.correlation import Correlation, correlations, fused, proposals, track
from reelspace.alignment.kernel_file import LearnedKernel, read_kernel
from reelspace.alignment.methods import LEARNED
from reelspace.alignment.offsets import METHODS as OFFSET_METHODS
from reelspace.alignment.offsets import align_sequences
from reelspace.alignment.timeline import Proposal
from reelspace.alignment.tmk import TmkDescriptor, read_tmk
from reelspace.alignment.tmk_scores import TmkMatch, compare_tmk
from reelspace.core.machine import available_cores
from reelspace.core.results import Alignment, CopySegment
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.core.video import Video
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.encoders.own_times import FRAMES_PER_SECOND, timing_encoders
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.extract.encode import encode_videos
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.models import Model, rows_of
from reelspace.extract.plan import Plan, TmkSigner, descriptor_of
from reelspace.media.sources import find_videos
from reelspace.models import open_model
from reelspace.tasks import copies

__all__ = ["ALIGN_METHODS", "Pair", "Side", "align", "kernel_of", "tmk_compare", "tmk_hash", "tmk_hashes"]

ALIGN_METHODS = ("auto", "correlation", *OFFSET_METHODS, LEARNED, "segments")
"""All but ``segments`` give one offset for the whole of both. ``correlation`` goes by what changes from frame to
frame (`alignment.correlation`), the others by what the frames show (`alignment.offsets`; ``lamv`` by a learned
kernel). ``segments`` takes the offset of the best copied stretch, which may be cropped, bordered, mirrored or a
part of either; its curve is the correlation's. ``auto`` takes what ``correlation`` says where that is more likely
right than not, else its peak beside the best stretch, or that stretch where it is played at another speed."""

_LIKELY = 0.5
_NEAR_SECONDS = 1.0  # of the best stretch, within which a peak is looked for: stretches of loops are off by more
_SAME_SPEED = 0.08  # a stretch farther from its own speed has no single offset; up to that, it is measured badly
_ROWS_EVERY_SECONDS = 0.2  # frames that copies are found by
_PICTURE_ROWS = 800
_CALIBRATED = ["reelprint", "pdqf"]  # the descriptors whose peaks have probabilities


def align(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    method: str = "auto",
    threshold: float | None = None,
    encoder: str | EncoderSpec | Model | None = None,
    kernel: LearnedKernel | str | os.PathLike[str] | None = None,
) -> Alignment:
    """How two videos line up in time; each is decoded once.

    What happens at second t of B happens at second ``t + offset_seconds`` of A.

    Args:
        a: path or URL.
        b: path or URL.
        method: a name in `ALIGN_METHODS`.
        threshold: least score of the copied segments that come along; None for `tasks.copies.DEFAULT_THRESHOLD`.
        encoder: a model of pictures whose frames give the offset instead of reelprint's and PDQF's: a name of the
            catalog such as ``sscd-disc-mixup`` or ``rmac-resnet34``, or what `open_model` gave. There is no
            confidence then.
        kernel: of the method ``lamv``: a file that `reelspace train kernel` wrote, or what `read_kernel` gave.

    Raises:
        UnknownName: for another method, or encoder.
        MediaError: when one of the files cannot be read.
        InvalidArgument: for ``segments`` when the two share no footage; for ``lamv`` without a kernel, and for a
            kernel with another method.
        FormatError: when the kernel's file is none.
    """
    kernel = kernel_of(method, kernel)
    return Pair.read(a, b, encoder=encoder).align(method=method, threshold=threshold, kernel=kernel)


def kernel_of(method: str, kernel: LearnedKernel | str | os.PathLike[str] | None) -> LearnedKernel | None:
    """The learned kernel that a method goes by, so that wrong words are refused before anything is decoded.

    Raises:
        UnknownName: for another method.
        InvalidArgument: for ``lamv`` without a kernel, and for a kernel with another method.
        FormatError: when the file is none.
    """
    if method not in ALIGN_METHODS:
        raise UnknownName("alignment method", method, ALIGN_METHODS)
    if (method == LEARNED) != (kernel is not None):
        raise InvalidArgument(
            f"the method {LEARNED!r} goes by a learned kernel, and only that one does: give both or neither; "
            "`reelspace train kernel` writes one"
        )
    return kernel if kernel is None or isinstance(kernel, LearnedKernel) else read_kernel(kernel)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of two videos.

    Attributes:
        video: what the container says.
        duration_seconds: as the pictures bear it out.
        frames: its descriptors that give one offset for the whole.
        rows: its descriptors that copied stretches are found by.
    """

    video: Video
    duration_seconds: float
    frames: tuple[FrameSequence, ...]
    rows: tuple[FrameSequence, ...]

    @classmethod
    def read(cls, source: str, *, threads: int = 1, on_progress: Callable[[float], None] | None = None) -> Side:
        """Decodes it once, for reelprint and PDQF of frames at their own times, and PDQF with views.

        Raises:
            MediaError: when it cannot be read.
        """
        plan = Plan(encoders=(*timing_encoders(), PdqfViews()))
        # Nobody asks for the content id, so the file is not read for it.
        made = fingerprint(source, plan, video_id=source, threads=threads, on_progress=on_progress)
        reelprint, pdqf, views = made.sequences
        rows = (views, _every(_ROWS_EVERY_SECONDS, reelprint))
        return cls(made.video, made.duration_seconds, (reelprint, pdqf), rows)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two videos, decoded once, ready for every question about the two.

    Attributes:
        a: of A: reelprint and PDQF of frames at their own times (or what another encoder made), and the rows copies
            are found by, of PDQF with views and of reelprint.
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
        sources = [_one_video(path) for path in (a, b)]
        threads = max(1, available_cores() // 2)
        with _decoders(2) as (pool, go_on):
            return cls(*pool.map(partial(Side.read, threads=threads, on_progress=go_on), sources))

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
        for outcome in encode_videos(sources, [model], encoders=(PdqfViews(), Reelprint())):
            if isinstance(outcome, MediaError):
                raise outcome
            length = outcome.duration_seconds
            rows = rows_of(model, outcome.made[0], model.outputs[0], decoding="exact", duration_seconds=length)
            if isinstance(rows, FrameSequence):
                sides[outcome.source] = Side(outcome.video, length, (rows,), outcome.sequences)
        return cls(*(sides[source] for source in sources))

    def align(
        self, *, method: str = "auto", threshold: float | None = None, kernel: LearnedKernel | None = None
    ) -> Alignment:
        """The offset by one method, with the copied segments beside it; arguments and errors as in `align`."""
        kernel = kernel_of(method, kernel)
        segments = self.segments(threshold=threshold)
        (found,) = correlations([track(self.a.frames), track(self.b.frames)])
        if method == "auto":
            answer = self._auto(found, segments)
        elif method == "correlation":
            answer = self._by_correlation(found, proposals(found))
        elif method == "segments":
            answer = self._by_segments(found, segments)
        else:
            answer = self._by_frames(found, kernel or method)
        calibrated = [sequence.space.name for sequence in self.a.frames] == _CALIBRATED
        return replace(answer, segments=tuple(segments), confidence=answer.confidence if calibrated else None)

    def segments(self, *, threshold: float | None = None) -> list[CopySegment]:
        """Stretches of A (query) that show stretches of B (reference), best first."""
        least = copies.DEFAULT_THRESHOLD if threshold is None else threshold
        opinions = [{("a", "b"): copies.compare(a, b)} for a, b in zip(self.a.rows, self.b.rows, strict=True)]
        return [s for segments in copies.merged(opinions).values() for s in segments if s.score >= least]

    def similarity(self) -> NDArray[np.float32]:
        """Frame against frame, float32 (Ta, Tb), thinned to about 800 frames of either.

        By reelprint, which sees the same picture in crops, borders and mirror images.
        """
        sides = (side.rows[-1] for side in (self.a, self.b))
        thinned = (_every(max(s.duration_seconds / _PICTURE_ROWS, _ROWS_EVERY_SECONDS), s) for s in sides)
        return copies.best_similarity(*thinned).matrix

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

    def _auto(self, found: Correlation, segments: list[CopySegment]) -> Alignment:
        proposed = proposals(found)
        if proposed and (proposed[0].probability >= _LIKELY or not segments):
            return self._by_correlation(found, proposed)
        if not segments:
            return self._by_frames(found, "tmk")
        best = segments[0]
        if abs(best.speed - 1.0) <= _SAME_SPEED:
            beside = proposals(found.around(_offset_seconds(best), _NEAR_SECONDS))
            if beside:
                answer = self._by_correlation(found, beside)
                return replace(answer, confidence=best.score * beside[0].probability)
        return self._by_segments(found, segments)

    def _by_correlation(self, found: Correlation, proposed: Sequence[Proposal]) -> Alignment:
        if not proposed:
            raise InvalidArgument(
                f"nothing changes in {self.a.video.source} as it does in {self.b.video.source}, so no correlation "
                "gives an offset; try the method 'tmk'"
            )
        return self._at("correlation", proposed[0].offset_seconds, found, proposed[0].probability)

    def _by_segments(self, found: Correlation, segments: list[CopySegment]) -> Alignment:
        if not segments:
            raise InvalidArgument(
                f"{self.a.video.source} and {self.b.video.source} share no footage, so no segment gives an offset; "
                "try the method 'tmk'"
            )
        seconds = _offset_seconds(segments[0])
        return self._at("segments", seconds, found, _confidence(found, seconds))

    def _by_frames(self, found: Correlation, method: str | LearnedKernel) -> Alignment:
        rate = FRAMES_PER_SECOND if isinstance(method, str) else method.frames_per_second
        sides = (fused(side.frames, frames_per_second=rate) for side in (self.a, self.b))
        whole = align_sequences(*sides, method=method, frames_per_second=rate)
        return replace(whole, confidence=_confidence(found, whole.offset_seconds))

    def _at(self, method: str, seconds: float, found: Correlation, confidence: float) -> Alignment:
        covered = Span(0.0, self.a.duration_seconds).intersection(Span(seconds, seconds + self.b.duration_seconds))
        return Alignment(
            offset_seconds=seconds,
            score=float(np.interp(seconds, found.offsets_seconds, found.curve)),
            overlap_a=covered,
            overlap_b=covered.shifted(-seconds) if covered else None,
            offsets_seconds=found.offsets_seconds,
            curve=found.curve,
            method=method,
            confidence=confidence,
        )


def _offset_seconds(segment: CopySegment) -> float:
    return segment.query.middle - segment.reference.middle


def _confidence(found: Correlation, seconds: float) -> float:
    """What the correlation says of an offset that another method gave."""
    beside = proposals(found, near=[seconds])
    return beside[0].probability if beside else 0.0


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


def _every(seconds: float, sequence: FrameSequence) -> FrameSequence:
    """Of a sequence the frames on screen at every so many seconds, at their own times still."""
    times, frame = np.unique(sequence.times_seconds, return_inverse=True)
    on_screen = np.searchsorted(times, np.arange(0.0, sequence.duration_seconds, seconds), side="right") - 1
    keep = np.isin(frame, on_screen)
    return FrameSequence(
        sequence.times_seconds[keep],
        sequence.vectors[keep],
        sequence.views[keep],
        sequence.weights[keep],
        sequence.space,
        sequence.duration_seconds,
    )
