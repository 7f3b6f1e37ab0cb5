"""Many recordings of one event on one timeline: when did each begin?

Each file is decoded once. Every pair is compared at every offset (`alignment.correlation`), its few best offsets
become proposals with a probability, and `alignment.timeline` finds the starts that most of them agree on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from reelspace.alignment.correlation import Track, correlations, fused, peaks, proposals, track
from reelspace.alignment.offsets import METHODS as OFFSET_METHODS
from reelspace.alignment.offsets import align_sequences
from reelspace.alignment.timeline import Link, Timeline, Unplaced, solve_timeline
from reelspace.core.sequence import FrameSequence
from reelspace.core.time import Span
from reelspace.encoders.own_times import FRAMES_PER_SECOND, timing_encoders
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.extract.encode import encode_videos
from reelspace.media.sources import find_videos

__all__ = ["SYNC_METHODS", "Described", "LeftOut", "PairOffset", "Recording", "Sync", "place", "synchronise"]

SYNC_METHODS = ("correlation", *OFFSET_METHODS)
"""Where the offsets of a pair come from. ``correlation`` goes by reelprint and PDQF of what changes; the others are
the curves of `alignment.offsets` over both side by side, and their peaks are judged by the same correlation."""


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
    read: dict[str, Described] = {}
    failed: dict[str, str] = {}
    with threadpool_limits(limits=1, user_api="blas"):  # one thread per file fills the cores already
        for outcome in encode_videos(
            sources, [], encoders=timing_encoders(), workers=workers, keep_partial=True, on_progress=on_progress
        ):
            if isinstance(outcome, MediaError):
                failed[outcome.source] = outcome.reason
            else:
                read[outcome.source] = Described.of(outcome.sequences, keep_frames=method != "correlation")
    return place(
        {source: read[source] for source in sources if source in read},
        method=method,
        least_confidence=least_confidence,
        unreadable=tuple(LeftOut(source, failed[source]) for source in sources if source in failed),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """What is kept of one recording.

    Attributes:
        duration_seconds: of it.
        track: what changes in it.
        frames: what methods other than ``correlation`` go by.
    """

    duration_seconds: float
    track: Track
    frames: FrameSequence | None = None

    @classmethod
    def of(cls, sequences: Sequence[FrameSequence], *, keep_frames: bool = False) -> Described:
        """From what `timing_encoders` made of its frames."""
        return cls(
            sequences[0].duration_seconds,
            track(sequences, frames_per_second=FRAMES_PER_SECOND),
            fused(sequences, frames_per_second=FRAMES_PER_SECOND) if keep_frames else None,
        )


def place(
    recordings: Mapping[str, Described],
    *,
    method: str = "correlation",
    least_confidence: float = 0.5,
    unreadable: tuple[LeftOut, ...] = (),
) -> Sync:
    """The timeline of recordings that are decoded already, by name; what else there is to know as in `synchronise`.

    Raises:
        InvalidArgument: when there are fewer than two.
    """
    names = list(recordings)
    if len(names) < 2:
        why = "; ".join(f"{one.source}: {one.reason}" for one in unreadable)
        raise InvalidArgument(f"two readable recordings are needed, got {len(names)} ({why})")
    durations = [one.duration_seconds for one in recordings.values()]
    timeline = solve_timeline(
        [max(seconds, 1e-3) for seconds in durations],
        _links(list(recordings.values()), method),
        least_confidence=least_confidence,
    )
    return _named(timeline, names, durations, method, unreadable)


def _links(recordings: Sequence[Described], method: str) -> list[Link]:
    """The proposals of every pair."""
    links: list[Link] = []
    for found in correlations([one.track for one in recordings]):
        a, b = recordings[found.first].frames, recordings[found.second].frames
        near = None
        if a is not None and b is not None:
            other = align_sequences(a, b, method=method, frames_per_second=FRAMES_PER_SECOND)
            near = [float(other.offsets_seconds[i]) for i in peaks(other.curve, other.offsets_seconds)]
        links.append(Link(found.first, found.second, proposals(found, near=near)))
    return links


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
