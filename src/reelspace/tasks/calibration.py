"""Which score strangers reach in one's own library: thresholds for a wanted false-positive rate.

A threshold measured on somebody else's footage says little about a library of talking heads, or of one skyline at
all hours. What is sought is the score ``t`` at which a query that shares nothing with the library is still said to
share something with it only so often, say once in a hundred queries: ``P(best score in the library >= t)``.

The null distribution is therefore that of the *best score per query among strangers*, and it is asked of the
library itself: each sampled video is the query, and everything but itself and its relatives is what it is searched
in. Relatives are what it shares footage with, directly or through one another: pairs that score so high
(`COPIES_FROM`) that they are taken for copies. Videos that are known to be strangers, a noise set, are queries as
they are.

The threshold is the conformal quantile (Vovk et al. 2005): with ``n`` strangers' best scores in increasing order,
just above the ``ceil((1 - rate) * (n + 1))``-th. If the next query is like those, the chance that it passes is at
most the rate, whatever the distribution. With fewer than ``1 / rate - 1`` queries no such score was seen, and the
tail is extrapolated: log-odds of maxima fall off exponentially (Gumbel's tail), at a mean excess taken at the upper
end of its 80 % confidence interval, so that it errs towards silence. It does not reach beyond `COPIES_FROM` by
itself: a handful of strangers of very different scores would otherwise silence what was just taken for copies.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reelspace.core.machine import available_cores
from reelspace.core.sequence import FrameMatrix
from reelspace.errors import FormatError, InvalidArgument
from reelspace.tasks.cohort import Cohort
from reelspace.tasks.copies import Nearest, cohort_of, match

__all__ = [
    "COPIES_FROM",
    "DEFAULT_SAMPLE",
    "FILE_NAME",
    "Calibration",
    "StrangerPair",
    "Strangers",
    "Threshold",
    "calibrate",
    "read_calibration",
    "strangers_in",
    "strangers_of_noise",
    "threshold_of",
    "write_calibration",
]

COPIES_FROM = 0.98
"""Score from which a pair of the library is taken for copies, and says nothing about strangers."""

DEFAULT_SAMPLE = 500
FILE_NAME = "calibration.json"

_SCHEMA_VERSION = 1
_FEWEST = 8  # queries: fewer say nothing of a tail
_NOTHING = 1e-4  # the score of a query that nothing at all was found for
_LEAST_THRESHOLD = 0.1  # what is less likely than that is not worth a report, however quiet the strangers
_TAIL = 0.1  # share of the queries whose excess says how the tail falls off
_FEWEST_IN_TAIL = 5
_CLOSEST = 5  # pairs of strangers that are named


class StrangerPair(NamedTuple):
    """Two videos that are taken for strangers, and the score they reach all the same.

    Attributes:
        query: content id.
        reference: content id.
        score: of their best segment, in [0, 1].
    """

    query: str
    reference: str
    score: float


@dataclass(frozen=True, slots=True)
class Strangers:
    """What queries scored that share nothing with what they were searched in.

    Attributes:
        best: of each query its highest pair; the reference is empty where nothing at all was found.
        pairs: how many pairs of strangers were looked at.
        copies: how many pairs were left out as copies.
    """

    best: tuple[StrangerPair, ...]
    pairs: int
    copies: int


class Threshold(NamedTuple):
    """A threshold, and whether too few strangers were seen to support the wanted rate."""

    score: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold of one library, and what it rests on.

    Attributes:
        threshold: in [0, 1]; what reaches it is reported.
        false_positives: the wanted share of queries without a copy for which something is reported all the same.
        rate: the share of the strangers' queries that reach the threshold.
        rate_interval: its 95 % confidence interval (Wilson 1927).
        extrapolated: whether too few strangers were seen to support the wanted rate. At ``copies_from`` or above
            it, the threshold may let through more than wanted: a higher one would have silenced copies, too.
        queries: how many strangers' queries were looked at.
        pairs: how many pairs of strangers.
        copies: how many pairs were left out as copies.
        videos: how many the library held. A library that has grown has more strangers: calibrate it again.
        spaces: fingerprints of the vectors that scored.
        copies_from: see `COPIES_FROM`.
        seed: of the sample.
        closest: the strangers that scored highest. Copies among them push the threshold up: look at them.
    """

    threshold: float
    false_positives: float
    rate: float
    rate_interval: tuple[float, float]
    extrapolated: bool
    queries: int
    pairs: int
    copies: int
    videos: int
    spaces: tuple[str, ...]
    copies_from: float
    seed: int
    closest: tuple[StrangerPair, ...]

    def holds_for(self, spaces: Iterable[str]) -> bool:
        """Whether scores are still made of the vectors that were calibrated."""
        return set(self.spaces) == set(spaces)


def calibrate(
    matrices: Sequence[FrameMatrix],
    *,
    noise: Sequence[FrameMatrix] = (),
    false_positives: float = 0.01,
    sample: int = DEFAULT_SAMPLE,
    seed: int = 0,
    copies_from: float = COPIES_FROM,
    nearest: Sequence[Nearest | None] = (),
) -> Calibration:
    """The threshold at which queries like the library's own videos, and like those of a noise set, seldom err.

    Of the library's threshold and the noise set's the higher is taken: many easy strangers must not make up for a
    few hard ones. Either may be too small to say anything; not both.

    Args:
        matrices: the library's rows, one matrix per encoder; the higher score of a pair counts, as in `merged`.
        noise: rows of videos that share nothing with the library, of the same encoders in the same order.
        false_positives: wanted share, in (0, 1), of queries without a copy for which something is reported.
        sample: how many videos, of the library and of the noise set each, are queries.
        seed: of the sample, at least 0.
        copies_from: see `COPIES_FROM`.
        nearest: an index over the rows of each matrix, see `find_copies`.

    Raises:
        InvalidArgument: for a rate outside (0, 1), a negative seed, or fewer than 8 strangers' queries.
        SpaceMismatch: when the noise set was made by other encoders.
    """
    _require_rate(false_positives)
    groups = [strangers_in(matrices, sample=sample, seed=seed, copies_from=copies_from, nearest=nearest)]
    if noise:
        groups.append(strangers_of_noise(noise, matrices, sample=sample, seed=seed, nearest=nearest))
    telling = [strangers for strangers in groups if len(strangers.best) >= _FEWEST]
    if not telling:
        counts = " and ".join(str(len(strangers.best)) for strangers in groups)
        raise InvalidArgument(
            f"a threshold needs at least {_FEWEST} videos that share nothing with the rest, got {counts}; "
            "index more of them, or give a folder of videos that are surely strangers (--noise)"
        )
    best = [pair for strangers in telling for pair in strangers.best]
    threshold, extrapolated = max(
        threshold_of([pair.score for pair in strangers.best], false_positives=false_positives)
        for strangers in telling
    )
    if extrapolated:
        highest = max(pair.score for pair in best)
        threshold = min(threshold, max(copies_from, math.nextafter(highest, 1.0)))
    rate = sum(pair.score >= threshold for pair in best) / len(best)
    # Two videos that are each other's closest are one observation; one that found nothing stands for itself.
    independent = len({frozenset((pair.query, pair.reference or pair.query)) for pair in best})
    return Calibration(
        threshold=threshold,
        false_positives=false_positives,
        rate=rate,
        rate_interval=_wilson(rate, independent),
        extrapolated=extrapolated,
        queries=len(best),
        pairs=sum(strangers.pairs for strangers in telling),
        copies=sum(strangers.copies for strangers in telling),
        videos=len({video_id for matrix in matrices for video_id in matrix.video_ids}),
        spaces=tuple(matrix.space.fingerprint for matrix in matrices),
        copies_from=copies_from,
        seed=seed,
        closest=_closest(best),
    )


def strangers_in(
    matrices: Sequence[FrameMatrix],
    *,
    sample: int,
    seed: int = 0,
    copies_from: float = COPIES_FROM,
    nearest: Sequence[Nearest | None] = (),
) -> Strangers:
    """Videos of the library as queries, each against all that share no footage with it.

    Relatives are followed from the sample outwards, so the work grows with the sample and its copies, not with the
    library's pairs. A query that is related to everything says nothing and is left out.

    For the arguments see `calibrate`.
    """
    library = _Rows.of(matrices)
    search = partial(_scores, queries=library, references=library, nearest=nearest)
    sampled = _sampled(library, sample, seed)
    found: dict[str, dict[str, float]] = {}
    frontier = sampled
    while frontier:
        scores = _at_once(partial(search, skip=()), frontier)
        found.update(zip(frontier, scores, strict=True))
        related = {other for of_video in scores for other, score in of_video.items() if score >= copies_from}
        frontier = sorted(related - found.keys())
    copies = {
        (min(video, other), max(video, other))
        for video, of_video in found.items()
        for other, score in of_video.items()
        if score >= copies_from
    }
    relatives = _relatives(copies)
    alone = {video: library.ids - relatives.get(video, {video}) for video in sampled}
    queries = [video for video in sampled if alone[video]]
    # Candidates are few: relatives took the places of strangers, so those who have some are searched again.
    again = [video for video in queries if video in relatives]
    found.update(zip(again, _at_once(lambda video: search(video, skip=relatives[video]), again), strict=True))
    best = tuple(_best(video, found[video]) for video in queries)
    return Strangers(best, sum(len(alone[video]) for video in queries), len(copies))


def strangers_of_noise(
    noise: Sequence[FrameMatrix],
    matrices: Sequence[FrameMatrix],
    *,
    sample: int,
    seed: int = 0,
    nearest: Sequence[Nearest | None] = (),
) -> Strangers:
    """Videos that are surely strangers as queries against the library; those that it holds itself are left out.

    For the arguments see `calibrate`.
    """
    if len(noise) != len(matrices):
        raise InvalidArgument(f"the library is searched by {len(matrices)} encoders, the noise set by {len(noise)}")
    library, outside = _Rows.of(matrices), _Rows.of(noise)
    queries = [video for video in _sampled(outside, sample, seed) if video not in library.ids]
    search = partial(_scores, queries=outside, references=library, skip=(), nearest=nearest)
    best = tuple(map(_best, queries, _at_once(search, queries)))
    return Strangers(best, len(queries) * len(library.ids), 0)


def threshold_of(best_scores: Sequence[float], *, false_positives: float) -> Threshold:
    """The score that the best scores of strangers' queries reach no more often than wanted.

    Args:
        best_scores: one per query, in [0, 1].
        false_positives: the wanted share, in (0, 1).

    Raises:
        InvalidArgument: for a share outside (0, 1), or fewer than 8 scores.
    """
    _require_rate(false_positives)
    if len(best_scores) < _FEWEST:
        raise InvalidArgument(
            f"a threshold needs the scores of {_FEWEST} strangers or more, got {len(best_scores)}"
        )
    scores = np.sort(np.maximum(np.asarray(best_scores, dtype=np.float64), _NOTHING))
    place = math.ceil((1 - false_positives) * (len(scores) + 1))  # 1-based
    extrapolated = place > len(scores)
    least = _extrapolated(scores, false_positives) if extrapolated else float(scores[place - 1])
    threshold = max(_LEAST_THRESHOLD, math.nextafter(least, 1.0))
    return Threshold(threshold, extrapolated)


def _extrapolated(scores: NDArray[np.float64], false_positives: float) -> float:
    """A score beyond all that were seen, that the next query exceeds no more often than wanted.

    Above the ``m`` highest log-odds' lower neighbour ``u``, excesses of mean ``s`` are exponential:
    ``P(X > x) = m / n * exp(-(x - u) / s)``. ``2 m s_hat / s`` is chi-square of ``2 m`` degrees of freedom, whose
    lowest tenth gives the upper end of ``s``.
    """
    log_odds = np.log(scores / np.maximum(1.0 - scores, 1e-13))
    used = max(_FEWEST_IN_TAIL, round(_TAIL * len(scores)))
    neighbour = log_odds[-used - 1]
    mean = float((log_odds[-used:] - neighbour).mean())
    degrees = 2 * used
    # The tenth percentile of chi-square, by Wilson and Hilferty (1931).
    lowest = degrees * (1 - 2 / (9 * degrees) - 1.2816 * math.sqrt(2 / (9 * degrees))) ** 3
    reach = neighbour + mean * degrees / lowest * math.log(used / len(scores) / false_positives)
    return 1.0 / (1.0 + math.exp(-min(max(reach, float(log_odds[-1])), 30.0)))


def write_calibration(folder: str | os.PathLike[str], calibration: Calibration) -> Path:
    """Keeps a calibration with the library in ``folder``; the one there is replaced in one act."""
    place = Path(folder) / FILE_NAME
    draft = place.with_suffix(".new")
    draft.write_text(json.dumps({"schema_version": _SCHEMA_VERSION, **asdict(calibration)}, indent=1), "utf-8")
    return draft.replace(place)


def read_calibration(folder: str | os.PathLike[str]) -> Calibration | None:
    """The calibration kept with the library in ``folder``; None where there is none.

    Raises:
        FormatError: when the file is not one, or of another version.
    """
    place = Path(folder) / FILE_NAME
    advice = f"delete {place}, and calibrate again with: reelspace calibrate"
    try:
        fields: dict[str, Any] = json.loads(place.read_text("utf-8"))
        version = fields.pop("schema_version")
        if version != _SCHEMA_VERSION:
            raise FormatError(
                f"{place} has schema version {version}, this reelspace reads {_SCHEMA_VERSION}; {advice}"
            )
        fields["rate_interval"], fields["spaces"] = tuple(fields["rate_interval"]), tuple(fields["spaces"])
        fields["closest"] = tuple(StrangerPair(*pair) for pair in fields["closest"])
        return Calibration(**fields)
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{place} is no calibration: {error}; {advice}") from error


def _require_rate(false_positives: float) -> None:
    if not 0 < false_positives < 1:
        raise InvalidArgument(f"a false-positive rate lies between 0 and 1, got {false_positives}")


class _Rows(NamedTuple):
    """The rows of some videos by every encoder, and where each video's are."""

    matrices: Sequence[FrameMatrix]
    places: Sequence[Mapping[str, int]]
    ids: frozenset[str]
    cohorts: Sequence[Cohort | None]

    @classmethod
    def of(cls, matrices: Sequence[FrameMatrix]) -> _Rows:
        places = [{video_id: place for place, video_id in enumerate(matrix.video_ids)} for matrix in matrices]
        return cls(matrices, places, frozenset[str]().union(*places), [cohort_of(matrix) for matrix in matrices])


def _scores(
    video: str,
    *,
    queries: _Rows,
    references: _Rows,
    skip: Iterable[str],
    nearest: Sequence[Nearest | None],
) -> dict[str, float]:
    """The score of each reference that anything at all was found in; of several encoders the highest."""
    indexes = nearest or [None] * len(references.matrices)
    best: dict[str, float] = {}
    for mine, places, theirs, their_places, cohort, index in zip(
        queries.matrices,
        queries.places,
        references.matrices,
        references.places,
        references.cohorts,
        indexes,
        strict=True,
    ):
        if video not in places:  # it was indexed without this encoder
            continue
        for found in match(
            mine.sequence(places[video]),
            theirs,
            itself=their_places.get(video),
            skip=[their_places[other] for other in skip if other in their_places],
            threshold=0.0,
            nearest=index,
            cohort=cohort,
        ):
            other = theirs.video_ids[found.reference]
            best[other] = max(best.get(other, 0.0), found.segments[0].score)
    return best


def _at_once(search: Callable[[str], dict[str, float]], videos: Sequence[str]) -> list[dict[str, float]]:
    """The answers to queries, in order; one query per core, whose products keep to it (see `find_copies`)."""
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(search, videos))


def _sampled(rows: _Rows, sample: int, seed: int) -> list[str]:
    if sample < 1:
        raise InvalidArgument(f"at least one video must be sampled, got {sample}")
    if seed < 0:
        raise InvalidArgument(f"a seed is 0 or more, got {seed}")
    ids = sorted(rows.ids)
    return [ids[place] for place in np.random.default_rng(seed).permutation(len(ids))[:sample]]


def _relatives(copies: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Of each video in a pair, all that are connected to it through pairs, itself among them."""
    group: dict[str, set[str]] = {}
    for one, other in copies:
        joined = group.get(one, {one}) | group.get(other, {other})
        group.update(dict.fromkeys(joined, joined))
    return group


def _best(video: str, scores: Mapping[str, float]) -> StrangerPair:
    other = max(scores, key=scores.__getitem__, default="")
    return StrangerPair(video, other, scores.get(other, 0.0))


def _closest(best: Iterable[StrangerPair]) -> tuple[StrangerPair, ...]:
    """The pairs that scored highest, each named once."""
    once = {frozenset(pair[:2]): pair for pair in sorted(best, key=lambda pair: pair.score) if pair.reference}
    return tuple(sorted(once.values(), key=lambda pair: -pair.score)[:_CLOSEST])


def _wilson(rate: float, count: float) -> tuple[float, float]:
    """The 95 % confidence interval of a share seen among ``count``."""
    z = 1.96
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)
