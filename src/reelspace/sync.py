"""Many recordings of one event on one timeline: when did each begin?

Each file is decoded once. Every pair is compared at every offset (`alignment.correlation`), its few best offsets
become proposals with a probability, and `alignment.timeline` finds the starts that most of them agree on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import exp, log, sqrt
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.alignment.correlation import Correlation, Track, correlations, track
from reelspace.alignment.offsets import METHODS as OFFSET_METHODS
from reelspace.alignment.offsets import align_sequences
from reelspace.alignment.timeline import Link, Proposal, Timeline, Unplaced, solve_timeline
from reelspace.core.frames import SamplerState, Tap
from reelspace.core.sequence import FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.encoders.encoder import Described, FrameEncoder
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.extract.encode import Encoded, encode_videos
from reelspace.media.sources import find_videos

__all__ = ["SYNC_METHODS", "LeftOut", "PairOffset", "Recording", "Sync", "synchronise"]

SYNC_METHODS = ("correlation", *OFFSET_METHODS)
"""Where the offsets of a pair come from. ``correlation`` goes by reelprint and PDQF of what changes; the others are
the curves of `alignment.offsets` over reelprint, and their peaks are judged by the same correlation."""

_FRAMES_PER_SECOND = 20.0
_PROPOSALS = 3
_APART_SECONDS = 0.5  # between two proposals of a pair
_NEAR_SECONDS = 0.15  # around another method's peak, where the correlation's is looked for
_LEAST = 0.02  # correlation below which a peak is none

# The chance that a peak is within 0.25 s of the truth: a logistic curve over the logarithms of its height and of
# its lead on the best peak elsewhere. Fitted on pairs of takes, and of strangers, of the tuning half of
# benchmarks/sync_quality.py; on the other half peaks said to be right in 0.30-0.70 of the cases were in 0.42, and
# of 264 said to be right in more than 0.98 all were.
_HEIGHT, _LEAD, _INTERCEPT = 2.6, 3.7, 2.6
_ERROR = 0.12  # standard error of a peak, in its own width over the root of its height; from the same pairs


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording on the common clock.

    Attributes:
        source: path or URL.
        span: seconds of the common clock it covers; the earliest of its group begins at 0.
        confidence: probability in [0, 1] that it begins there (to a quarter of a second), given the others: from
            the calibrated peaks of its pairs, taken as independent.
        residual_seconds: root mean square of what the offsets of its agreeing pairs leave to the timeline.
    """

    source: str
    span: Span
    confidence: float
    residual_seconds: float


@dataclass(frozen=True, slots=True)
class PairOffset:
    """What a pair by itself says, and what the timeline makes of it.

    Attributes:
        a: path or URL.
        b: likewise.
        offset_seconds: B's start on A's clock, the pair's own best guess; None when it has none.
        probability: that this guess is right.
        residual_seconds: the pair's guess nearest to the timeline, minus the timeline's; None when the two are not
            in one group.
        agrees: whether its best guess is what the timeline says, within its error.
        overlap: the seconds of the common clock that both cover.
    """

    a: str
    b: str
    offset_seconds: float | None
    probability: float
    residual_seconds: float | None
    agrees: bool
    overlap: Span | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A recording that is on no timeline, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sync:
    """Recordings on as few clocks as they allow.

    Attributes:
        method: a name in `SYNC_METHODS`.
        groups: the largest first, each with a clock of its own; recordings in the order they begin.
        unplaced: recordings that fit none of the others.
        unreadable: files that could not be read.
        pairs: every pair of readable recordings.
        outliers: pairs that are by themselves more likely right than not, and contradict the timeline.
        cycle_count: threes of recordings of which all pairs are likely right by themselves.
        cycles: those of them that do not close to 0.2 s: three paths, and what is left going round.
    """

    method: str
    groups: tuple[tuple[Recording, ...], ...]
    unplaced: tuple[LeftOut, ...]
    unreadable: tuple[LeftOut, ...]
    pairs: tuple[PairOffset, ...]
    outliers: tuple[PairOffset, ...]
    cycle_count: int
    cycles: tuple[tuple[tuple[str, str, str], float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def synchronise(
    videos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    method: str = "correlation",
    least_confidence: float = 0.5,
    workers: int | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Sync:
    """Puts recordings of one event on one timeline; those of several events on several.

    Clocks are taken to run at one speed: no drift is looked for. Memory grows with the recordings, by about 0.2 GB
    per hour of them.

    Args:
        videos: paths, folders, globs, URLs.
        method: a name in `SYNC_METHODS`.
        least_confidence: recordings that fit with less are left out.
        workers: files decoded at the same time; None for one per core.
        on_progress: told (source, second of the video) now and then, in the thread that decodes.

    Raises:
        UnknownName: for another method.
        InvalidArgument: when fewer than two recordings can be read, or a path is not there.
    """
    if method not in SYNC_METHODS:
        raise UnknownName("method of synchronising", method, SYNC_METHODS)
    sources = find_videos(videos)
    if len(sources) < 2:
        raise InvalidArgument(f"recordings are put beside one another, so two are needed; got {len(sources)}")
    read: dict[str, _Read] = {}
    unreadable: dict[str, str] = {}
    with threadpool_limits(limits=1, user_api="blas"):  # one thread per file fills the cores already
        encoders = tuple(_AtOwnTimes.of(encoder) for encoder in (Reelprint(_FRAMES_PER_SECOND), Pdqf()))
        for outcome in encode_videos(
            sources, [], encoders=encoders, workers=workers, keep_partial=True, on_progress=on_progress
        ):
            if isinstance(outcome, MediaError):
                unreadable[outcome.source] = outcome.reason
            else:
                read[outcome.source] = _Read.of(outcome, keep_frames=method != "correlation")
    names = [source for source in sources if source in read]
    if len(names) < 2:
        why = "; ".join(f"{source}: {reason}" for source, reason in unreadable.items())
        raise InvalidArgument(f"two readable recordings are needed, got {len(names)} ({why})")
    recordings = [read[name] for name in names]
    timeline = solve_timeline(
        [max(one.duration_seconds, 1e-3) for one in recordings],
        _links(recordings, method),
        least_confidence=least_confidence,
    )
    left_out = tuple(LeftOut(source, unreadable[source]) for source in sources if source in unreadable)
    return _named(timeline, names, [one.duration_seconds for one in recordings], method, left_out)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What is kept of one file."""

    duration_seconds: float
    track: Track
    frames: FrameSequence | None

    @classmethod
    def of(cls, encoded: Encoded, *, keep_frames: bool) -> _Read:
        made = track(encoded.sequences, frames_per_second=_FRAMES_PER_SECOND)
        return cls(encoded.duration_seconds, made, encoded.sequences[0] if keep_frames else None)


def _links(recordings: Sequence[_Read], method: str) -> list[Link]:
    """The proposals of every pair."""
    links: list[Link] = []
    for found in correlations([one.track for one in recordings]):
        a, b = recordings[found.first].frames, recordings[found.second].frames
        peaks = _peaks(found.curve, found.offsets_seconds)
        if method != "correlation" and a is not None and b is not None and len(a.view(0)) and len(b.view(0)):
            other = align_sequences(a, b, method=method, frames_per_second=_FRAMES_PER_SECOND)
            wanted = [float(other.offsets_seconds[i]) for i in _peaks(other.curve, other.offsets_seconds)]
            peaks = _beside(wanted, found)
        links.append(Link(found.first, found.second, _proposals(found, peaks)))
    return links


def _peaks(curve: NDArray[np.float32], offsets_seconds: NDArray[np.float64]) -> list[int]:
    """The highest places of a curve, apart from one another, highest first."""
    left = curve.copy()
    found: list[int] = []
    while len(found) < _PROPOSALS and len(left) and left[best := int(left.argmax())] > _LEAST:
        found.append(best)
        left[np.abs(offsets_seconds - offsets_seconds[best]) < _APART_SECONDS] = -np.inf
    return found


def _beside(wanted_seconds: Sequence[float], found: Correlation) -> list[int]:
    """Where the correlation is highest beside each of the offsets another method proposes."""
    places: list[int] = []
    for seconds in wanted_seconds:
        near = np.flatnonzero(np.abs(found.offsets_seconds - seconds) <= _NEAR_SECONDS)
        if len(near) and found.curve[best := int(near[found.curve[near].argmax()])] > _LEAST:
            places.append(best)
    return list(dict.fromkeys(places))


def _proposals(found: Correlation, peaks: Sequence[int]) -> tuple[Proposal, ...]:
    """Peaks of a curve with the probability that each is right, and its error."""
    step = 1 / _FRAMES_PER_SECOND
    made: list[Proposal] = []
    for peak in peaks:
        before, here, after = (
            float(found.curve[i]) for i in (max(peak - 1, 0), peak, min(peak + 1, len(found.curve) - 1))
        )
        elsewhere = found.curve[np.abs(found.offsets_seconds - found.offsets_seconds[peak]) >= _APART_SECONDS]
        rival = max(_LEAST, float(elsewhere.max(initial=0.0)))
        evidence = _HEIGHT * log(here) + _LEAD * log(here / rival) + _INTERCEPT
        bend = max(2 * here - before - after, 1e-4)
        inside = 0 < peak < len(found.curve) - 1
        vertex = 0.5 * (after - before) / bend if inside else 0.0
        width = step * sqrt(2 * here / bend)
        made.append(
            Proposal(
                float(found.offsets_seconds[peak]) + step * min(max(vertex, -0.5), 0.5),
                1 / (1 + exp(-evidence)),
                _ERROR * width / sqrt(here),
            )
        )
    total = sum(proposal.probability for proposal in made)
    return tuple(replace(one, probability=one.probability / max(total, 1.0)) for one in made)


def _named(
    timeline: Timeline,
    names: Sequence[str],
    durations: Sequence[float],
    method: str,
    unreadable: tuple[LeftOut, ...],
) -> Sync:
    """The timeline with paths for numbers."""
    spans = {
        placed.recording: (group, Span(placed.start_seconds, placed.start_seconds + durations[placed.recording]))
        for group, members in enumerate(timeline.groups)
        for placed in members
    }

    def pair(link: Link) -> PairOffset:
        together = link.residual_seconds is not None or (
            {link.first, link.second} <= spans.keys() and spans[link.first][0] == spans[link.second][0]
        )
        return PairOffset(
            names[link.first],
            names[link.second],
            link.proposals[0].offset_seconds if link.proposals else None,
            link.probability,
            link.residual_seconds,
            agrees=link.agrees == 0,
            overlap=spans[link.first][1].intersection(spans[link.second][1]) if together else None,
        )

    return Sync(
        method,
        groups=tuple(
            tuple(
                Recording(names[p.recording], spans[p.recording][1], p.confidence, p.residual_seconds)
                for p in members
            )
            for members in timeline.groups
        ),
        unplaced=tuple(LeftOut(names[one.recording], _why(one, names)) for one in timeline.unplaced),
        unreadable=unreadable,
        pairs=tuple(map(pair, timeline.links)),
        outliers=tuple(map(pair, timeline.outliers)),
        cycle_count=timeline.cycle_count,
        cycles=tuple(
            ((names[one.recordings[0]], names[one.recordings[1]], names[one.recordings[2]]), one.residual_seconds)
            for one in timeline.cycles
        ),
    )


def _why(one: Unplaced, names: Sequence[str]) -> str:
    if one.nearest is None:
        return "nothing in it moves as in another recording"
    if one.probability > 0.5:
        return f"what it shares with {names[one.nearest]} contradicts the other recordings"
    return f"nearest to {names[one.nearest]}, with a probability of only {one.probability:.2f}"


@dataclass(frozen=True, slots=True)
class _Spaced:
    """Frames at their own times, those that come too soon after another left out."""

    least_seconds: float

    def start(self) -> SamplerState:
        return _Spacing(self.least_seconds)


@dataclass(slots=True)
class _Spacing:
    least_seconds: float
    last_seconds: float = float("-inf")
    done: bool = field(default=False, init=False)

    def push(self, time_seconds: float, until_seconds: float, duration_seconds: float) -> Sequence[float]:  # noqa: ARG002
        # Timestamps are rounded, to a millisecond in Matroska.
        if time_seconds - self.last_seconds < self.least_seconds - 0.002:
            return ()
        self.last_seconds = time_seconds
        return (time_seconds,)

    def finish(self) -> Sequence[float]:
        return ()


@dataclass(frozen=True, slots=True)
class _AtOwnTimes:
    """A frame encoder that is given frames at their own times instead of those of a grid.

    The frame on screen at a time was taken up to a frame earlier, the more the fewer there are per second: between
    recordings of 10 and of 50 that alone would be 0.04 s.
    """

    encoder: FrameEncoder
    space: Space
    tap: Tap

    @classmethod
    def of(cls, encoder: FrameEncoder) -> _AtOwnTimes:
        least = 1 / _FRAMES_PER_SECOND
        parameters: Mapping[str, Any] = {**encoder.space.parameters, "frames": f"own times, {least} s apart"}
        space = Space(encoder.space.name, encoder.space.dimensions, MappingProxyType(dict(parameters)))
        return cls(encoder, space, Tap(_Spaced(least), encoder.tap.picture))

    def encode(self, frames: NDArray[np.uint8]) -> Described:
        return self.encoder.encode(frames)
