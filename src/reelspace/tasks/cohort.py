"""How far a pair of videos stands out among strangers: score normalisation against a cohort.

How alike two pictures of strangers are depends on the pictures: two plain skies are liker than two crowds. So what
counts is how far a similarity exceeds those of the query's same moments to other videos of the library, in standard
deviations (zero normalisation, Auckenthaler et al. 2000; as a noise set in VSC2022, Pizzi et al. 2024, section 5).
In a small library little is known of its strangers: strangers as they usually are count as some more videos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.alignment.similarity import FrameRows
from reelspace.core.sequence import FrameMatrix
from reelspace.core.time import Span

__all__ = ["Cohort", "Standing"]

_VIDEOS = 200  # of the library, evenly taken
_MOMENTS = 48  # of each of them, evenly taken
_QUERY_MOMENTS = 400
_USUAL_VIDEOS = 16  # as many as what is usual counts for
_USUAL_MEAN = 0.30  # similarity of strangers' best frames to a frame, by reelprint; over the natural clips of
_USUAL_DEVIATION = 0.22  # ../shared/videos it is 0.25, and 0.17 from one to the next: a little more, to be safe
_LEAST_DEVIATION = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How like each video of a cohort is what a query shows.

    Attributes:
        times_seconds: float64 (F,), moments of the query.
        alike: float32 (F, W), the most alike moment of each video of the cohort.
        videos: int64 (W,), their numbers in the reference matrix.
    """

    times_seconds: NDArray[np.float64]
    alike: NDArray[np.float32]
    videos: NDArray[np.int64]

    def deviations(self, similarity: float, *, span: Span, reference: int) -> float:
        """By how many standard deviations a similarity exceeds what strangers have in common with the same span.

        Args:
            similarity: mean over a segment's frames.
            span: the segment's seconds of the query.
            reference: number of the video it was found in, which is no stranger.
        """
        inside = np.flatnonzero((self.times_seconds >= span.start) & (self.times_seconds < span.end))
        if len(inside) == 0:
            inside = np.abs(self.times_seconds - span.middle).argsort()[:1]
        others = np.flatnonzero(self.videos != reference)
        strangers = self.alike[np.ix_(inside, others)].mean(axis=0) if len(inside) else np.zeros(0)
        count = len(strangers) + _USUAL_VIDEOS
        mean = (float(strangers.sum()) + _USUAL_VIDEOS * _USUAL_MEAN) / count
        usual = _USUAL_VIDEOS * (_USUAL_DEVIATION**2 + (mean - _USUAL_MEAN) ** 2)
        variance = (float(((strangers - mean) ** 2).sum()) + usual) / count
        return (similarity - mean) / math.hypot(math.sqrt(variance), _LEAST_DEVIATION)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Some moments of some videos of a library.

    Attributes:
        rows: float32 (R, D), weighted by the root of their evidence; those of one video stand together.
        starts: int64 (W,), the first row of each video.
        videos: int64 (W,), their numbers in the matrix.
    """

    rows: NDArray[np.float32]
    starts: NDArray[np.int64]
    videos: NDArray[np.int64]

    @classmethod
    def of(cls, references: FrameMatrix) -> Cohort:
        """At most 200 videos of a matrix, at most 48 moments of each: a few megabytes, however large the matrix."""
        videos = np.unique(np.linspace(0, max(len(references) - 1, 0), _VIDEOS).astype(np.int64))
        parts: list[NDArray[np.float32]] = []
        kept: list[int] = []
        for video in videos[: len(references)]:
            first, last = (int(bound) for bound in references.bounds[video : video + 2])
            told = first + np.flatnonzero(references.weights[first:last] > 0)
            some = told[np.unique(np.linspace(0, max(len(told) - 1, 0), _MOMENTS).astype(np.int64))[: len(told)]]
            if len(some):
                weights = np.sqrt(references.weights[some])
                parts.append(np.asarray(references.vectors[some], np.float32) * weights[:, None])
                kept.append(int(video))
        lengths = np.array([len(part) for part in parts], np.int64)
        rows = np.concatenate(parts) if parts else np.zeros((0, references.space.dimensions), np.float32)
        return cls(rows, np.cumsum(lengths) - lengths, np.array(kept, np.int64))

    def standing(self, query: FrameRows, *, itself: int | None = None) -> Standing:
        """How like the cohort a query is, moment by moment.

        Args:
            query: of the same space.
            itself: the query's own number in the matrix, where it is in it.
        """
        some = np.unique(np.linspace(0, max(len(query) - 1, 0), _QUERY_MOMENTS).astype(np.int64))[: len(query)]
        times, count = query.times_seconds[some], len(some)
        if count == 0 or len(self.starts) == 0:
            return Standing(times, np.zeros((count, 0), np.float32), np.zeros(0, np.int64))
        weighted = query.vectors[:, some] * np.sqrt(query.weights[:, some])[:, :, None]  # (views, F, D)
        products = weighted.reshape(-1, weighted.shape[2]) @ self.rows.T  # (views * F, R)
        best = np.maximum.reduceat(products, self.starts, axis=1)  # (views * F, W)
        alike = best.reshape(-1, count, len(self.starts)).max(axis=0)
        others = self.videos != itself
        return Standing(times, alike[:, others], self.videos[others])
