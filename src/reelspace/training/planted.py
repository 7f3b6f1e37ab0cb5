"""Pairs of frame sequences whose offset is known, because they were made so from real ones.

A film is real clips one after the other. Its partner is a cut of it, on a clock of its own: between strangers, with
frames missing, and with noise on every frame, as another encode, camera or edit would have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import InvalidArgument

__all__ = ["Clip", "KnownPair", "Planting", "plant_pairs"]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """The frames of one real video, at the rate of the kernel.

    Attributes:
        name: whose footage it is; pairs that share no name are strangers.
        times: float64 (N,), in frames, increasing.
        vectors: float32 (N, d), unit length or zero.
    """

    name: str
    times: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class KnownPair:
    """Two sequences that show the same footage, and how they line up.

    Attributes:
        a: of one recording.
        b: of the other; what happens at frame t of it happens at frame ``t + offset_frames`` of a.
        offset_frames: may have a fraction.
        names: whose footage either shows.
    """

    a: Clip
    b: Clip
    offset_frames: float
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Planting:
    """How hard pairs are made.

    Attributes:
        clips: least and most clips of a film.
        share: least and most part of the film that the partner shows.
        strangers: most clips before, and after, the cut that are of no footage of the film.
        noise: largest length of the noise added to a frame of unit length; drawn for each sequence.
        kept: least share of the frames that are there; drawn for each sequence.

    Raises:
        InvalidArgument: when a range is empty or a share outside (0, 1].
    """

    clips: tuple[int, int] = (3, 6)
    share: tuple[float, float] = (0.1, 0.7)
    strangers: int = 2
    noise: float = 2.0
    kept: float = 0.5

    def __post_init__(self) -> None:
        shares = 0 < self.share[0] <= self.share[1] <= 1 and 0 < self.kept <= 1
        if not (1 <= self.clips[0] <= self.clips[1] and shares and self.strangers >= 0 and self.noise >= 0):
            raise InvalidArgument(f"not a way to plant pairs: {self}")


def plant_pairs(
    clips: Sequence[Clip], count: int, *, seed: int, planting: Planting | None = None
) -> list[KnownPair]:
    """Makes pairs with known offsets from real clips; the same for the same seed.

    Raises:
        InvalidArgument: when there are too few clips for a film and its strangers, or some have no frames.
    """
    how = planting or Planting()
    least = how.clips[1] + 2 * how.strangers
    if len(clips) < least:
        raise InvalidArgument(f"films of up to {how.clips[1]} clips need {least} clips, got {len(clips)}")
    if empty := [clip.name for clip in clips if not len(clip.times)]:
        raise InvalidArgument(f"clips without frames: {', '.join(empty)}")
    rng = np.random.default_rng(seed)
    return [_planted(clips, rng, how) for _ in range(count)]


def _planted(clips: Sequence[Clip], rng: np.random.Generator, how: Planting) -> KnownPair:
    order = rng.permutation(len(clips))
    used = int(rng.integers(how.clips[0], how.clips[1] + 1))
    film = _joined([clips[i] for i in order[:used]])
    length = float(film.times[-1])
    cut_length = length * rng.uniform(*how.share)
    start = rng.uniform(0, length - cut_length)
    inside = (film.times >= start) & (film.times < start + cut_length)
    if not inside.any():  # between two frames: the nearest one is the cut
        inside[np.argmin(np.abs(film.times - start))] = True
    cut = Clip(film.name, np.maximum(film.times[inside] - start, 0), film.vectors[inside])
    before, after = rng.integers(0, how.strangers + 1, 2)
    strangers = [clips[i] for i in order[used : used + before + after]]
    lead = _joined(strangers[:before]) if before else None
    lead_frames = lead.times[-1] + rng.uniform(0.5, 1.5) if lead is not None else 0.0
    moved = Clip(cut.name, cut.times + lead_frames, cut.vectors)
    parts = [*([lead] if lead is not None else []), moved]
    if after:
        tail = _joined(strangers[before:])
        parts.append(Clip(tail.name, tail.times + moved.times[-1] + 1, tail.vectors))
    partner = Clip(
        "+".join(part.name for part in parts),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )
    names = frozenset(clips[i].name for i in order[: used + before + after])
    a, b = (_worn(side, rng, how) for side in (film, partner))
    return KnownPair(a, b, start - lead_frames, names)


def _joined(clips: Sequence[Clip]) -> Clip:
    """Clips one after the other, a frame between them."""
    times, end = [], 0.0
    for clip in clips:
        times.append(clip.times - clip.times[0] + end)
        end = times[-1][-1] + 1
    return Clip(
        "+".join(clip.name for clip in clips), np.concatenate(times), np.concatenate([c.vectors for c in clips])
    )


def _worn(clip: Clip, rng: np.random.Generator, how: Planting) -> Clip:
    """The same with frames missing and noise on those that are left; a blank frame stays blank."""
    keep = rng.random(len(clip.times)) < rng.uniform(how.kept, 1)
    keep[rng.integers(len(keep))] = True
    vectors = clip.vectors[keep]
    noise = rng.normal(size=vectors.shape).astype(np.float32)
    noise *= rng.uniform(0, how.noise) / np.linalg.norm(noise, axis=1, keepdims=True)
    noisy = vectors + noise * (np.linalg.norm(vectors, axis=1, keepdims=True) > 0)
    lengths = np.linalg.norm(noisy, axis=1, keepdims=True)
    return Clip(clip.name, clip.times[keep], noisy / np.where(lengths > 0, lengths, 1))
