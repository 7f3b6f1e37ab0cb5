"""Many recordings of one event on one clock: offsets of pairs, some of them wrong, solved into starts.

Every pair of recordings brings a few offsets it may have, each with a probability (`Proposal`). Against "the two
are strangers", a pair speaks for recordings that begin ``d`` apart with the likelihood ratio

    r(d) = miss + (1 - miss) sum_k p_k / (1 - sum p) R N(d; d_k, s_k)

where R is the range of offsets at which the two could meet, and ``miss`` the chance that a pair which does meet
shows nothing of it; r = 1 where they do not meet. A group of recordings is grown from the surest pair: what is put
next is the recording whose pairs with those already there agree best on a place, so that two weak proposals that
close a cycle outweigh a strong one that does not. Starts are refined by least squares over all pairs, each weighed
by how probable and how sharp its proposal is (expectation maximisation of the same mixture), and after every step
each recording is tried again at every place its pairs propose.

The confidence of a recording is the probability, by these ratios, that it is placed right given the others; pairs
count as independent, which copies of one file are not, so it never exceeds 0.999.
Recordings run at one speed: no drift of clocks is modelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["Cycle", "Link", "Placed", "Proposal", "Timeline", "Unplaced", "solve_timeline"]

_MISS = 0.2
_MEET_SECONDS = 1.0  # pairs that share less say nothing
_SUREST = 0.999  # neither a pair nor a recording is surer than this: pairs of copies are not independent
_LEAST_ERROR = 0.02
_AGREES = 4.0  # standard errors within which a pair's proposal counts as what the timeline says
_CLOSES_SECONDS = 0.2
_ROUNDS = 30
_ROOTS = 6  # recordings a group is grown from, to keep the likeliest


@dataclass(frozen=True, slots=True)
class Proposal:
    """One offset that a pair may have.

    Attributes:
        offset_seconds: the second recording's start on the clock of the first, as in `Alignment`.
        probability: that it is right, in [0, 1]; those of a pair add up to at most 1.
        error_seconds: standard error, if it is right.

    Raises:
        InvalidArgument: when a number is outside its range.
    """

    offset_seconds: float
    probability: float
    error_seconds: float = 0.05

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset_seconds) and 0 <= self.probability <= 1 and self.error_seconds > 0):
            raise InvalidArgument(
                "a proposal has a finite offset, a probability in [0, 1] and a positive error, got "
                f"{self.offset_seconds}, {self.probability}, {self.error_seconds}"
            )


@dataclass(frozen=True, slots=True)
class Link:
    """A pair of recordings: what was proposed, and after solving what became of it.

    Attributes:
        first: number of a recording.
        second: number of another.
        proposals: sorted here, most probable first; empty when nothing speaks for the pair.
        residual_seconds: the proposal nearest to the timeline, minus what the timeline says; None before solving,
            and for recordings that are not in one group.
        agrees: which proposal is within its error of the timeline: 0 is the most probable one, None is none.
    """

    first: int
    second: int
    proposals: tuple[Proposal, ...]
    residual_seconds: float | None = None
    agrees: int | None = None

    def __post_init__(self) -> None:
        ordered = sorted(self.proposals, key=lambda proposal: -proposal.probability)
        object.__setattr__(self, "proposals", tuple(ordered))

    @property
    def probability(self) -> float:
        """Of the most probable proposal; 0 without one."""
        return self.proposals[0].probability if self.proposals else 0.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """Three recordings whose offsets were measured pair by pair: going round should lead back to the start.

    Attributes:
        recordings: their numbers.
        residual_seconds: what is left: ``d(0, 1) + d(1, 2) - d(0, 2)`` of the most probable proposals.
    """

    recordings: tuple[int, int, int]
    residual_seconds: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A recording on the clock of its group.

    Attributes:
        recording: its number.
        start_seconds: when it begins; 0 for the first of the group.
        confidence: probability that it is placed right, given the others.
        residual_seconds: root mean square of what its agreeing pairs leave.
    """

    recording: int
    start_seconds: float
    confidence: float
    residual_seconds: float


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A recording that fits nothing.

    Attributes:
        recording: its number.
        nearest: the recording it has the surest pair with; None when no pair of it has a proposal.
        probability: of that pair. Above a half, what the pair says contradicts the others.
    """

    recording: int
    nearest: int | None
    probability: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Groups of recordings, each with a clock of its own, the largest first.

    Attributes:
        groups: recordings in the order they begin.
        unplaced: recordings in no group.
        links: every pair given, with its residual.
        outliers: pairs more likely right than not by themselves, of which the timeline contradicts the most
            probable proposal.
        cycles: three recordings of a group, all pairs of which are likely right by themselves: those that do not
            close, worst first.
        cycle_count: how many such threes there are, closing or not.
    """

    groups: tuple[tuple[Placed, ...], ...]
    unplaced: tuple[Unplaced, ...]
    links: tuple[Link, ...]
    outliers: tuple[Link, ...]
    cycles: tuple[Cycle, ...]
    cycle_count: int


def solve_timeline(
    durations_seconds: Sequence[float], links: Iterable[Link], *, least_confidence: float = 0.5
) -> Timeline:
    """Puts recordings on as few clocks as their pairs allow.

    Args:
        durations_seconds: of each recording.
        links: pairs of them, each at most once; missing pairs say nothing.
        least_confidence: recordings that are placed with less are left out.

    Raises:
        InvalidArgument: for a duration that is not positive, a number that names no recording, a pair given twice,
            or a confidence outside [0, 1).
    """
    durations = np.asarray(durations_seconds, dtype=np.float64)
    known = list(links)
    _check(durations, known, least_confidence)
    evidence = _Evidence(durations, known)
    least = math.log(max(least_confidence, 1e-9) / (1 - least_confidence))
    left = set(range(len(durations)))
    groups: list[_Group] = []
    while len(left) > 1 and (group := evidence.group(left, least)) is not None:
        groups.append(group)
        left -= set(group.members.tolist())
    groups.sort(key=lambda group: -len(group.members))
    starts = np.full(len(durations), np.nan)
    clock = np.full(len(durations), -1)
    for number, group in enumerate(groups):
        starts[group.members], clock[group.members] = group.places - group.places.min(), number
    solved = [_judged(link, starts, clock) for link in known]
    count, cycles = _cycles(solved, clock)
    return Timeline(
        groups=tuple(
            tuple(
                sorted(
                    (
                        _placed(int(m), starts, float(g), solved)
                        for m, g in zip(group.members, group.gains, strict=True)
                    ),
                    key=lambda placed: (placed.start_seconds, placed.recording),
                )
            )
            for group in groups
        ),
        unplaced=tuple(_unplaced(one, known) for one in sorted(left)),
        links=tuple(solved),
        outliers=tuple(
            link
            for link in solved
            if link.probability > 0.5 and link.residual_seconds is not None and link.agrees != 0
        ),
        cycles=cycles,
        cycle_count=count,
    )


def _check(durations: NDArray[np.float64], links: Sequence[Link], least_confidence: float) -> None:
    if not (np.isfinite(durations).all() and (durations > 0).all()):
        raise InvalidArgument(f"recordings last a positive number of seconds, got {durations.tolist()}")
    if not 0 <= least_confidence < 1:
        raise InvalidArgument(f"a confidence lies in [0, 1), got {least_confidence}")
    seen: set[frozenset[int]] = set()
    for link in links:
        pair = frozenset((link.first, link.second))
        if len(pair) != 2 or not all(0 <= one < len(durations) for one in pair):
            raise InvalidArgument(
                f"a link joins two of the recordings 0..{len(durations) - 1}, got {link.first} and {link.second}"
            )
        if pair in seen:
            raise InvalidArgument(f"the pair {link.first}, {link.second} is given twice; join its proposals")
        seen.add(pair)


class _Group(NamedTuple):
    """Recordings, where they begin, the log odds of each, and those of the whole."""

    members: NDArray[np.int64]
    places: NDArray[np.float64]
    gains: NDArray[np.float64]
    total: float


class _Evidence:
    """All links as arrays, both ways round: offsets (N, N, K) from row to column, and what they weigh."""

    def __init__(self, durations: NDArray[np.float64], links: Sequence[Link]) -> None:
        n, most = len(durations), max((len(link.proposals) for link in links), default=0)
        self.durations = durations
        self.offsets = np.zeros((n, n, most))
        self.errors = np.ones((n, n, most))
        self.odds = np.zeros((n, n, most))  # of each proposal against "strangers"
        self.probability = np.zeros((n, n))
        for link in links:
            total = sum(proposal.probability for proposal in link.proposals)
            scale = min(1.0, _SUREST / total) if total > 0 else 1.0
            for k, proposal in enumerate(link.proposals):
                odds = scale * proposal.probability / (1 - scale * total)
                for i, j, sign in ((link.first, link.second, 1.0), (link.second, link.first, -1.0)):
                    self.offsets[i, j, k] = sign * proposal.offset_seconds
                    self.errors[i, j, k] = max(proposal.error_seconds, _LEAST_ERROR)
                    self.odds[i, j, k] = odds
                    self.probability[i, j] = link.probability
        # R N(d_k; d_k, s_k): how much better than chance it is to be right to within the error.
        ranges = durations[:, None] + durations
        self.peaks = ranges[:, :, None] / (math.sqrt(2 * math.pi) * self.errors)

    def ratios(self, one: int, others: NDArray[np.int64], apart: NDArray[np.float64]) -> NDArray[np.float64]:
        """The log of r for ``one`` beginning ``apart`` (..., M) before each of the others (M,): the same shape."""
        away = (apart[..., None] - self.offsets[one, others]) / self.errors[one, others]
        near = (self.odds * self.peaks)[one, others] * np.exp(-0.5 * away**2)  # (..., M, K)
        shared = np.minimum(self.durations[one], apart + self.durations[others]) - np.maximum(0.0, apart)
        said = np.log(_MISS + (1 - _MISS) * near.sum(axis=-1))
        return np.where((shared >= _MEET_SECONDS) | (near.sum(axis=-1) > 1), said, 0.0)

    def best_place(
        self, one: int, others: NDArray[np.int64], places: NDArray[np.float64]
    ) -> tuple[float, float] | None:
        """Where a recording fits best among others that are placed: (log odds of being right, its start)."""
        proposed = self.odds[one, others] > 0  # (M, K)
        starts = (places[:, None] - self.offsets[one, others])[proposed]
        if not len(starts):
            return None
        # A place that the data chose is a free number: what it gains by chance, R N, is taken off once.
        chance = np.log(self.peaks[one, others][proposed])
        gains = self.ratios(one, others, places - starts[:, None]).sum(axis=1) - chance
        best = int(gains.argmax())
        return float(gains[best]), float(starts[best])

    def group(self, left: set[int], least: float) -> _Group | None:
        """The next group among those left, the likeliest of several grown from different roots; None without."""
        free = np.array(sorted(left), dtype=np.int64)
        sure = self.probability[np.ix_(free, free)].sum(axis=1)
        grown = [self._grown(free, root, least) for root in free[np.argsort(-sure, kind="stable")[:_ROOTS]]]
        return max((group for group in grown if len(group.members) > 1), key=lambda g: g.total, default=None)

    def _grown(self, free: NDArray[np.int64], root: int, least: float) -> _Group:
        """The group around one recording, without those that in the end do not fit."""
        members, places = np.array([root], dtype=np.int64), np.zeros(1)
        while (added := self._next(free, members, places)) is not None and added[0] >= least:
            members, places = self._settled(np.append(members, added[1]), np.append(places, added[2]))
        group = self._weighed(members, places)
        while len(group.members) > 1 and group.gains.min() < least:
            keep = np.arange(len(group.members)) != group.gains.argmin()
            group = self._weighed(*self._settled(group.members[keep], group.places[keep]))
        return group

    def _next(
        self, free: NDArray[np.int64], members: NDArray[np.int64], places: NDArray[np.float64]
    ) -> tuple[float, int, float] | None:
        """Of the recordings not yet in the group, the one that fits best: (log odds, recording, start)."""
        found = [
            (*place, int(one))
            for one in np.setdiff1d(free, members)
            if (place := self.best_place(int(one), members, places)) is not None
        ]
        if not found:
            return None
        gain, start, one = max(found)
        return gain, one, start

    def _settled(
        self, members: NDArray[np.int64], places: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The same group with every recording at its best place, refined by least squares."""
        for _ in range(_ROUNDS):
            places = self._refined(members, places)
            moved = False
            for at, one in enumerate(members):
                rest = np.arange(len(members)) != at
                now = self.ratios(int(one), members[rest], places[rest] - places[at]).sum()
                best = self.best_place(int(one), members[rest], places[rest])
                if best is None:
                    continue
                then = self.ratios(int(one), members[rest], places[rest] - best[1]).sum()
                if then > now + 1e-6 and abs(best[1] - places[at]) > _CLOSES_SECONDS:
                    places[at], moved = best[1], True
            if not moved:
                break
        return members, places

    def _refined(self, members: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Least squares over all pairs, each proposal weighed by its share in what is there and its error."""
        pick = np.ix_(members, members)
        offsets, errors, heights = self.offsets[pick], self.errors[pick], (self.odds * self.peaks)[pick]
        for _ in range(_ROUNDS):
            apart = places[None, :] - places[:, None]
            near = (1 - _MISS) * heights * np.exp(-0.5 * ((apart[..., None] - offsets) / errors) ** 2)
            weights = near / (_MISS + near.sum(axis=-1, keepdims=True)) / errors**2  # (M, M, K)
            pull = (weights * offsets).sum(axis=-1)  # wanted place of the column minus that of the row
            total = weights.sum(axis=-1)
            # The normal equations: for each i, sum_j w_ij (x_i - x_j) = -sum_j w_ij d_ij.
            laplacian = np.diag(total.sum(axis=1)) - total
            # A faint pull to where it is keeps what nothing holds, and fixes the clock's zero.
            faint = 1e-6 * max(float(total.max(initial=0.0)), 1.0)
            moved = np.linalg.solve(laplacian + faint * np.eye(len(members)), faint * places - pull.sum(axis=1))
            if np.abs(moved - places).max() < 1e-6:
                return np.asarray(moved)
            places = moved
        return places

    def _weighed(self, members: NDArray[np.int64], places: NDArray[np.float64]) -> _Group:
        """A group with the log odds of each place, given the others': its pairs' ratios, less what chance gives."""
        gains, chances = np.zeros(len(members)), np.zeros(len(members))
        for at, one in enumerate(members if len(members) > 1 else ()):
            rest = np.arange(len(members)) != at
            others, apart = members[rest], places[rest] - places[at]
            away = np.abs(apart[:, None] - self.offsets[one, others]) / self.errors[one, others]
            held = (self.odds[one, others] > 0) & (away < _AGREES)
            chances[at] = np.log(self.peaks[one, others][held].min()) if held.any() else math.inf
            gains[at] = self.ratios(int(one), others, apart).sum() - chances[at]
        # Every pair was counted from both ends; the clock's zero is free, so one place fewer was chosen.
        total = 0.5 * (gains + chances).sum() - chances.sum() * (1 - 1 / len(members))
        return _Group(members, places, gains, float(total))


def _judged(link: Link, starts: NDArray[np.float64], clock: NDArray[np.int64]) -> Link:
    """A link with what it leaves to the timeline."""
    if clock[link.first] < 0 or clock[link.first] != clock[link.second] or not link.proposals:
        return link
    said = float(starts[link.second] - starts[link.first])
    at, nearest = min(enumerate(link.proposals), key=lambda numbered: abs(numbered[1].offset_seconds - said))
    residual = nearest.offset_seconds - said
    agrees = abs(residual) <= _AGREES * max(nearest.error_seconds, _LEAST_ERROR)
    return replace(link, residual_seconds=residual, agrees=at if agrees else None)


def _placed(one: int, starts: NDArray[np.float64], gain: float, links: Sequence[Link]) -> Placed:
    left = [
        link.residual_seconds
        for link in links
        if one in {link.first, link.second} and link.agrees is not None and link.residual_seconds is not None
    ]
    residual = math.sqrt(sum(r * r for r in left) / len(left)) if left else 0.0
    confidence = min(1 / (1 + math.exp(-min(max(gain, -30.0), 30.0))), _SUREST)
    return Placed(one, float(starts[one]), confidence, residual)


def _unplaced(one: int, links: Sequence[Link]) -> Unplaced:
    mine = [link for link in links if one in {link.first, link.second} and link.proposals]
    best = max(mine, key=lambda link: link.probability, default=None)
    if best is None:
        return Unplaced(one, None, 0.0)
    return Unplaced(one, best.second if best.first == one else best.first, best.probability)


def _cycles(links: Sequence[Link], clock: NDArray[np.int64]) -> tuple[int, tuple[Cycle, ...]]:
    """How many threes of a group are fully measured, and those that do not close, worst first."""
    n = len(clock)
    offsets = np.full((n, n), np.nan)
    for link in links:
        if link.probability > 0.5 and clock[link.first] >= 0 and clock[link.first] == clock[link.second]:
            best = link.proposals[0].offset_seconds
            offsets[link.first, link.second], offsets[link.second, link.first] = best, -best
    count, found = 0, []
    for i in range(n):
        round_trip = offsets[i, :, None] + offsets - offsets[i, None, :]  # (j, k)
        j, k = np.nonzero(np.isfinite(np.triu(round_trip, 1)) & np.isfinite(round_trip))
        later = (j > i) & (k > j)
        j, k = j[later], k[later]
        count += len(j)
        left = round_trip[j, k]
        found += [
            Cycle((i, int(a), int(b)), float(r))
            for a, b, r in zip(j, k, left, strict=True)
            if abs(r) > _CLOSES_SECONDS
        ]
    return count, tuple(sorted(found, key=lambda cycle: -abs(cycle.residual_seconds)))
