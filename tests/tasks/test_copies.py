from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.errors import InvalidArgument, SpaceMismatch
from reelspace.tasks.copies import compare, find_copies, match, merged, same_footage

ENCODER = PdqfViews()


def film(seconds: float, seed: int) -> np.ndarray:
    """Pictures 5 times a second that change all the time and jump every few seconds: uint8 (N, 128, 128)."""
    random = np.random.default_rng(seed)
    count = int(seconds * 5)
    at = (np.arange(128) + 0.5) / 128
    waves = np.cos(np.pi * np.arange(20)[:, None] * at)
    decay = 1 / (1 + np.hypot(*np.mgrid[:20, :20]))
    knots = random.normal(size=(count // 4 + 2, 20, 20)) * decay
    place = np.arange(count) / 4
    low = place.astype(int)
    spectrum = knots[low] * (1 - (place - low))[:, None, None] + knots[low + 1] * (place - low)[:, None, None]
    pictures = np.einsum("fuv,uy,vx->fyx", spectrum, waves, waves, optimize=True)
    return np.clip(128 + 45 * pictures / pictures.std(), 0, 255).astype(np.uint8)


def described(pictures: np.ndarray) -> FrameSequence:
    found = ENCODER.encode(pictures)
    rows, views = np.nonzero(found.weights > 0)
    return FrameSequence(
        rows / 5,
        found.vectors[rows, views].astype(np.float16),
        views.astype(np.uint8),
        found.weights[rows, views],
        ENCODER.space,
        len(pictures) / 5,
    )


def resized(pictures: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(128) * size // 128 for size in pictures.shape[1:])
    return pictures[:, rows][:, :, columns]


def within_frame(pictures: np.ndarray) -> np.ndarray:
    framed = np.full_like(pictures, 60)
    framed[:, 20:108, 30:118] = pictures[:, np.arange(88) * 128 // 88][:, :, np.arange(88) * 128 // 88]
    return framed


def beside_another(pictures: np.ndarray) -> np.ndarray:
    other = film(len(pictures) / 5, 99)
    return np.concatenate([pictures[:, :, ::2], other[:, :, ::2]], axis=2)


EDITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda p: p,
    "mirrored": lambda p: p[:, :, ::-1],
    "cropped": lambda p: resized(p[:, 10:118, 17:125]),
    "mirrored and cropped": lambda p: resized(
        p[
            :,
            10:118,
            17:125,
        ][:, :, ::-1]
    ),
    "framed": within_frame,
    "left half": beside_another,
    "darker": lambda p: (255 * (p / 255) ** 1.6).astype(np.uint8),
    "noisy": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 12, p.shape), 0, 255).astype(np.uint8),
}


@pytest.fixture(scope="module")
def library() -> FrameMatrix:
    sequences = [described(film(20, seed)) for seed in range(12)]
    return FrameMatrix.concatenate(sequences, [f"film {seed}" for seed in range(12)])


@pytest.mark.parametrize("edit", EDITS)
def test_a_stretch_of_a_film_is_found_through_an_edit(library: FrameMatrix, edit: str) -> None:
    query = described(EDITS[edit](film(20, 7)[30:75]))  # seconds 6 to 15
    (found,) = match(query, library)
    assert found.reference == 7
    assert found.segments[0].query.iou(Span(0, 9)) > 0.9
    assert found.segments[0].reference.iou(Span(6, 15)) > 0.9
    assert found.segments[0].mirrored == ("mirrored" in edit)
    assert 0.6 <= found.segments[0].score <= 1


def test_a_film_that_is_not_there_is_not_found(library: FrameMatrix) -> None:
    assert match(described(film(20, 50)), library) == []


def test_a_pair_is_found_from_either_side(library: FrameMatrix) -> None:
    part = described(EDITS["left half"](film(20, 3)[20:70]))
    both = FrameMatrix.concatenate([part, library.sequence(3), library.sequence(4)], ["part", "film", "other"])
    assert [(f.query, f.reference) for f in find_copies(both)] == [(0, 1)]
    here = compare(library.sequence(3), part)[0]
    there = compare(part, library.sequence(3))[0]
    assert here.query.iou(there.reference) > 0.95
    assert here.reference.iou(there.query) > 0.95


def test_each_pair_is_reported_once_with_the_shorter_video_as_query(library: FrameMatrix) -> None:
    short, long = described(film(20, 5)[10:60]), library.sequence(5)
    matrix = FrameMatrix.concatenate([long, short, library.sequence(6)], ["long", "short", "other"])
    (found,) = find_copies(matrix)
    assert (found.query, found.reference) == (1, 0)


def test_black_and_flat_films_match_nothing() -> None:
    black = [described(np.full((50, 128, 128), level, np.uint8)) for level in (0, 0, 16)]
    weightless = [
        FrameSequence(
            np.arange(50) / 5,
            np.zeros((50, 256), np.float16),
            np.zeros(50, np.uint8),
            np.zeros(50, np.float32),
            ENCODER.space,
            10.0,
        )
    ]
    assert find_copies(FrameMatrix.concatenate([*black, *weightless], list("abcd"))) == []


def test_an_index_finds_what_the_product_finds(library: FrameMatrix) -> None:
    query = described(EDITS["mirrored and cropped"](film(20, 7)[30:75]))
    stored = library.vectors.astype(np.float32)

    def nearest(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        cosines = vectors @ stored.T
        rows = np.argsort(-cosines, axis=1)[:, :k]
        return rows, np.take_along_axis(cosines, rows, axis=1)

    exact, indexed = match(query, library), match(query, library, nearest=nearest)
    assert [f.reference for f in indexed] == [f.reference for f in exact] == [7]
    assert indexed[0].segments == exact[0].segments


def test_many_rows_are_thinned_without_losing_the_copy(
    library: FrameMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelspace.tasks.copies._MANY_ROWS", 100)
    monkeypatch.setattr("reelspace.tasks.copies._BLOCK_ROWS", 170)
    assert [f.reference for f in match(described(film(20, 9)[25:70]), library)] == [9]


def test_a_long_video_compared_in_tiles_gives_whole_segments(
    library: FrameMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelspace.tasks.copies._TILE_ROWS", 40)
    segments = compare(library.sequence(2), library.sequence(2))
    assert segments[0].query.iou(Span(0, 20)) > 0.95
    assert segments[0].reference.iou(Span(0, 20)) > 0.95


def test_vectors_of_another_space_are_refused(library: FrameMatrix) -> None:
    other = Space("other", 256, {})
    query = FrameSequence(
        np.zeros(1), np.zeros((1, 256), np.float16), np.zeros(1, np.uint8), np.ones(1, np.float32), other, 1.0
    )
    with pytest.raises(SpaceMismatch, match="other@"):
        match(query, library)


def test_an_encoder_without_looks_is_compared_as_it_is() -> None:
    random = np.random.default_rng(3)
    space = Space("other", 64, {})

    def of(vectors: np.ndarray) -> FrameSequence:
        n = len(vectors)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return FrameSequence(
            np.arange(n) / 5, unit.astype(np.float16), np.zeros(n, np.uint8), np.ones(n, np.float32), space, n / 5
        )

    films = [random.normal(size=(60, 64)) for _ in range(3)]
    matrix = FrameMatrix.concatenate([of(f) for f in films], list("abc"))
    (found,) = match(of(films[1][10:40]), matrix, threshold=0.0)[:1]
    assert found.reference == 1
    assert found.segments[0].reference.iou(Span(2, 8)) > 0.95


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_that_is_no_score_is_refused(library: FrameMatrix, threshold: float) -> None:
    with pytest.raises(InvalidArgument, match="between 0 and 1"):
        match(library.sequence(0), library, threshold=threshold)


def test_no_candidates_are_refused(library: FrameMatrix) -> None:
    with pytest.raises(InvalidArgument, match="at least one candidate"):
        match(library.sequence(0), library, k=0)


def test_the_score_rises_with_similarity_independent_frames_and_detail() -> None:
    at = same_footage(0.6, frames=3.0, spread=45.0)
    assert 0 < at < 1
    assert same_footage(0.7, frames=3.0, spread=45.0) > at
    assert same_footage(0.6, frames=6.0, spread=45.0) > at
    assert same_footage(0.6, frames=3.0, spread=20.0) < at


def test_the_surest_of_several_opinions_counts_and_others_add_what_it_left_out():
    def at(query: float, reference: float, score: float) -> CopySegment:
        return CopySegment(Span(query, query + 4), Span(reference, reference + 4), 1.0, score)

    first = {("a", "b"): [at(0, 10, 0.96), at(20, 40, 0.65)], ("a", "c"): [at(0, 0, 0.9)]}
    second = {("a", "b"): [at(0.5, 10.5, 0.97), at(8, 18, 0.8)], ("b", "c"): [at(1, 1, 0.61)]}
    together = merged([first, second])
    longer = CopySegment(Span(0, 4.5), Span(10, 14.5), 1.0, 0.97)  # the surer one, to the ends of both
    assert together["a", "b"] == (longer, at(8, 18, 0.8), at(20, 40, 0.65))
    assert together["a", "c"] == (at(0, 0, 0.9),)
    assert together["b", "c"] == (at(1, 1, 0.61),)


def test_only_a_sure_opinion_in_the_same_line_moves_the_ends() -> None:
    kept = CopySegment(Span(2, 8), Span(2, 8), 1.0, 0.99)
    unsure = CopySegment(Span(1, 7), Span(1, 7), 1.0, 0.9)
    askew = CopySegment(Span(1, 7), Span(2, 8), 1.0, 0.98)
    for other in (unsure, askew):
        assert merged([{("a", "b"): [kept]}, {("a", "b"): [other]}]) == {("a", "b"): (kept,)}
