"""Rendered footage: told apart by machines as by people, and copied with a truth that holds to the frame."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.core.frames import Picture
from reelspace.errors import InvalidArgument, UnknownName
from reelspace.media import open_video, probe
from reelspace.media.synthetic import EDITS, PlantedCopy, render_clips, render_copies


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return render_clips(tmp_path_factory.mktemp("clips"), count=6, seconds=4, scale=0.5)


@pytest.fixture(scope="module")
def copies(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[PlantedCopy]:
    return render_copies(clips, tmp_path_factory.mktemp("copies"))


def thumbnails(path: Path, times: list[float], *, mirror: bool = False, crop: float = 0.0) -> NDArray[np.float64]:
    """Grey 16 x 16 pictures at ``times`` without their mean, of length 1: float64 (N, 256)."""
    with open_video(path) as reader:
        pictures = [
            frame.pixels for frame in reader.frames_at(times, Picture(64, 64, layout="gray", filter="area"))
        ]
    grey = np.array(pictures, np.float64)
    if crop:
        grey = grey[:, round(64 * crop) : 64 - round(64 * crop)]
    cells = np.array([[band.mean(axis=0) for band in np.array_split(g, 16)] for g in grey])
    cells = cells.reshape(len(cells), 16, 16, 4).mean(axis=3)
    if mirror:
        cells = cells[:, :, ::-1]
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def test_clips_have_the_promised_lengths_and_differ_in_size_and_rate(clips: list[Path]) -> None:
    videos = [probe(path) for path in clips]
    for video in videos:
        assert video.duration_seconds is not None
        assert 3 <= video.duration_seconds <= 5.1
        assert max(video.width, video.height) <= 240
    assert len({(video.width, video.height) for video in videos}) >= 4
    assert {video.frame_rate for video in videos} >= {Fraction(25), Fraction(30), Fraction(30000, 1001)}


def test_clips_move_and_cut_and_are_not_alike(clips: list[Path]) -> None:
    times = list(np.arange(0.1, 3, 0.2))
    shown = [thumbnails(path, times) for path in clips]
    for a, b in itertools.combinations(shown, 2):
        assert (a @ b.T).max() < 0.85
        assert np.mean(a @ b.T) < 0.3
    for pictures in shown:
        following = np.sum(pictures[1:] * pictures[:-1], axis=1)
        assert np.median(following) > 0.6  # within a scene, pictures follow from one another
        assert following.min() < 0.5  # and there is at least one cut
        assert following.max() < 0.9999  # nothing stands still


def test_every_edit_is_planted_and_lies_inside_both_files(clips: list[Path], copies: list[PlantedCopy]) -> None:
    assert {copy.edit for copy in copies} == set(EDITS)
    for copy in copies:
        query, reference = probe(copy.query), probe(copy.reference)
        assert query.duration_seconds is not None
        assert reference.duration_seconds is not None
        assert query.frame_rate is not None
        assert copy.query_span.start >= 0
        assert copy.query_span.end <= query.duration_seconds + 1e-6
        assert copy.reference_span.end <= reference.duration_seconds + 1 / query.frame_rate
        assert copy.reference_span.duration == pytest.approx(copy.speed * copy.query_span.duration)
    by_query = itertools.groupby(copies, key=lambda copy: copy.query)
    for query_path, parts in by_query:
        spans = [part.query_span for part in parts]
        assert spans[0].start == 0
        assert all(a.end == b.start for a, b in itertools.pairwise(spans))
        assert spans[-1].end == pytest.approx(probe(query_path).duration_seconds)


def test_the_planted_spans_show_the_same_pictures(copies: list[PlantedCopy]) -> None:
    for copy in copies:
        shares = np.linspace(0.05, 0.95, 7)
        at_query = list(copy.query_span.start + shares * copy.query_span.duration)
        at_reference = list(copy.reference_span.start + shares * copy.reference_span.duration)
        seen = thumbnails(
            copy.query, at_query, mirror=copy.edit == "mirrored", crop=0.125 if copy.edit == "letterboxed" else 0
        )
        meant = thumbnails(copy.reference, at_reference)
        agreement = np.median(np.sum(seen * meant, axis=1))
        assert agreement > (0.7 if copy.edit == "grey-logo" else 0.95), copy  # the ring lies in two of 16 cells
        late = thumbnails(copy.reference, [time + 0.5 for time in at_reference])
        assert np.median(np.sum(seen * late, axis=1)) < agreement - 0.02, copy


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again = (render_clips(tmp_path / name, count=2, seconds=1, scale=0.4) for name in "ab")
    other = render_clips(tmp_path / "c", count=2, seconds=1, scale=0.4, seed=1)
    for a, b, c in zip(first, again, other, strict=True):
        assert a.name == b.name == c.name
        assert a.read_bytes() == b.read_bytes() != c.read_bytes()
    for one, two in zip(
        render_copies(first, tmp_path / "d", edits=["small"]),
        render_copies(again, tmp_path / "e", edits=["small"]),
        strict=True,
    ):
        assert one.query.read_bytes() == two.query.read_bytes()


def test_a_clip_does_not_depend_on_how_many_are_rendered(tmp_path: Path) -> None:
    (alone,) = render_clips(tmp_path / "a", count=1, seconds=1, scale=0.4)
    assert alone.read_bytes() == render_clips(tmp_path / "b", count=2, seconds=1, scale=0.4)[0].read_bytes()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        render_clips(tmp_path, count=0)
    with pytest.raises(UnknownName, match="did you mean 'mirrored'"):
        render_copies([tmp_path / "a", tmp_path / "b"], tmp_path, edits=["mirored"])
    with pytest.raises(InvalidArgument, match="two clips"):
        render_copies([tmp_path / "a"], tmp_path)
