from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.tmk import PERIODS, TmkDescriptor, kernel_coefficients, read_tmk, tmk_descriptor, write_tmk
from reelspace.alignment.tmk_scores import (
    TmkFiles,
    TmkMatch,
    TmkStack,
    compare_tmk,
    tmk_all_pairs,
    tmk_matches,
    tmk_scores,
)
from reelspace.errors import InvalidArgument, SpaceMismatch


def track(count: int, seed: int, *, drift: float = 1.0) -> np.ndarray:
    """Features of a made-up video: scenes that change slowly, cut now and then; float32 (count, 256)."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(count, 256)), axis=0) * drift
    for cut in rng.integers(0, count, 1 + count // 150):
        x[cut:] += 15 * rng.normal(size=256)
    return x.astype(np.float32)


def collection() -> list[TmkDescriptor]:
    """Short, long and still videos, copies with noise, trimmed copies, mirrored signs and a black one."""
    videos = [track(count, seed) for seed, count in enumerate([15, 90, 300, 700, 2000, 5000, 12000])]
    rng = np.random.default_rng(99)
    copies = [video + rng.normal(size=video.shape).astype(np.float32) * 5 for video in videos[1:5]]
    trimmed = [videos[3][200:500], videos[4][700:], videos[5][1234:4321]]
    still = np.ones((200, 1), dtype=np.float32) * rng.normal(size=256).astype(np.float32)
    odd = [still, -still, -videos[2], videos[2][::-1], np.zeros((30, 256), dtype=np.float32)]
    return [tmk_descriptor(video) for video in [*videos, *copies, *trimmed, *odd]]


@pytest.fixture(scope="module")
def descriptors() -> list[TmkDescriptor]:
    return collection()


def every_offset(a: TmkDescriptor, b: TmkDescriptor, period: int) -> np.ndarray:
    """K at every whole-frame offset of one period, by the definition, in double precision."""
    ca, sa, cb, sb = (x[period].astype(np.float64) for x in (a.cosines, a.sines, b.cosines, b.sines))
    length = a.periods[period]
    d = 2 * np.pi * np.arange(length) / length
    k = np.zeros(length)
    for j in range(len(ca)):
        k += np.cos(j * d) * (ca[j] @ cb[j] + sa[j] @ sb[j]) + np.sin(j * d) * (sa[j] @ cb[j] - ca[j] @ sb[j])
    return k


TOTAL = kernel_coefficients()[0] + 2 * kernel_coefficients()[1:].sum()


@pytest.fixture(scope="module")
def curves(descriptors: list[TmkDescriptor]) -> dict[tuple[int, int], list[np.ndarray]]:
    return {
        (i, k): [every_offset(a, descriptors[k], period) for period in range(4)]
        for i, a in enumerate(descriptors)
        for k in range(i, len(descriptors))
    }


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 2e-6])
def test_level_2_is_the_largest_over_every_offset(
    descriptors: list[TmkDescriptor], curves: dict[tuple[int, int], list[np.ndarray]], tolerance: float
) -> None:
    stack = TmkStack.of(descriptors)
    scores = tmk_scores(stack, stack, tolerance=tolerance)
    for (i, k), by_period in curves.items():
        assert scores.level2[i, k] == pytest.approx(max(c.max() for c in by_period) / TOTAL, abs=tolerance)
        period = int(scores.periods[i, k])
        at = by_period[PERIODS.index(period)][int(scores.offsets_frames[i, k]) % period]
        assert at / TOTAL == pytest.approx(scores.level2[i, k], abs=tolerance)


def test_level_1_is_the_cosine_of_the_averages(descriptors: list[TmkDescriptor]) -> None:
    stack = TmkStack.of(descriptors)
    a, b = descriptors[3].average.astype(np.float64), descriptors[4].average.astype(np.float64)
    level1 = tmk_scores(stack, stack).level1
    assert level1[3, 4] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert not level1[-1].any()  # the black video is like nothing


def test_offsets_say_where_the_reference_lies_in_the_query() -> None:
    film = track(3000, 5)
    match = compare_tmk(tmk_descriptor(film), tmk_descriptor(film[600:2600]))
    assert match.offset_seconds == pytest.approx(600 / 15, abs=2.0)  # the periods are minutes long
    back = compare_tmk(tmk_descriptor(film[600:2600]), tmk_descriptor(film))
    assert back.offset_seconds == pytest.approx(-600 / 15, abs=2.0)


def test_a_video_scores_one_with_itself(descriptors: list[TmkDescriptor]) -> None:
    for descriptor in descriptors[:-1]:
        match = compare_tmk(descriptor, descriptor)
        assert (match.level1, match.level2) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=2e-6))
        assert match.offset_seconds == 0


class Counted(Sequence[TmkStack]):
    """Loads a block when it is asked for, and counts."""

    def __init__(self, stack: TmkStack, size: int) -> None:
        self.stack, self.size, self.loads = stack, size, 0

    def __len__(self) -> int:
        return math.ceil(len(self.stack) / self.size)

    def __getitem__(self, index: int) -> TmkStack:  # type: ignore[override]
        self.loads += 1
        rows = slice(index * self.size, (index + 1) * self.size)
        return replace(self.stack, averages=self.stack.averages[rows], waves=self.stack.waves[rows])


def test_blocks_give_the_scores_of_the_whole(descriptors: list[TmkDescriptor]) -> None:
    stack = TmkStack.of(descriptors)
    whole = tmk_scores(stack, stack)
    blocks = Counted(stack, 6)
    seen = np.zeros_like(whole.level2)
    for i, k, scores in tmk_all_pairs(blocks):
        rows, columns = slice(i * 6, i * 6 + scores.level2.shape[0]), slice(k * 6, k * 6 + scores.level2.shape[1])
        np.testing.assert_allclose(scores.level2, whole.level2[rows, columns], atol=2e-5)
        np.testing.assert_allclose(scores.level1, whole.level1[rows, columns], atol=1e-6)
        seen[rows, columns] += 1
    assert (seen[np.triu_indices(len(stack))] >= 1).all()
    assert blocks.loads == 4 + 6  # one per pair of blocks, the diagonal's loaded once


def test_many_tiles_give_the_scores_of_one(
    descriptors: list[TmkDescriptor], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = TmkStack.of(descriptors)
    whole = tmk_scores(stack, stack)
    monkeypatch.setattr("reelspace.alignment.tmk_scores._CPU_TILE", 5)
    tiled = tmk_scores(stack, stack)
    np.testing.assert_allclose(tiled.level2, whole.level2, atol=1e-6)
    ((_, _, mirrored),) = tmk_all_pairs([stack])
    np.testing.assert_allclose(mirrored.level2, mirrored.level2.T, atol=2e-5)
    # Both directions speak of the same offset; ties between periods may fall either way.
    same = mirrored.periods == mirrored.periods.T
    apart = np.abs(mirrored.offsets_frames + mirrored.offsets_frames.T)[same]
    assert (np.minimum(apart, mirrored.periods[same] - apart) <= 4).mean() > 0.9


@pytest.mark.parametrize(("level1", "level2"), [(-1.0, 0.0), (0.5, 0.5), (-1.0, 0.9), (0.7, 0.7)])
def test_matches_are_the_pairs_that_pass_both_levels(
    descriptors: list[TmkDescriptor], level1: float, level2: float
) -> None:
    stack = TmkStack.of(descriptors)
    scores = tmk_scores(stack, stack)
    expected = {
        (i, k)
        for i, k in zip(*np.triu_indices(len(stack), 1), strict=True)
        if scores.level1[i, k] >= level1 and scores.level2[i, k] >= level2
    }
    found = list(tmk_matches(Counted(stack, 7), minimum_level1=level1, minimum_level2=level2))
    assert {(match.query, match.reference) for match in found} == expected
    assert len(found) == len(expected) > 0
    best = max(found, key=lambda match: match.level2)
    assert isinstance(best, TmkMatch)
    assert best.level2 == pytest.approx(scores.level2[best.query, best.reference], abs=2e-5)


def test_matches_against_references_count_through_their_blocks(descriptors: list[TmkDescriptor]) -> None:
    stack = TmkStack.of(descriptors)
    queries = TmkStack.of(descriptors[7:9])
    found = {(match.query, match.reference) for match in tmk_matches([queries], Counted(stack, 4))}
    assert {(0, 7), (1, 8), (0, 1), (1, 2)} <= found


def test_torch_tensors_give_what_numpy_gives(descriptors: list[TmkDescriptor]) -> None:
    pytest.importorskip("torch")
    stack = TmkStack.of(descriptors)
    ours, theirs = tmk_scores(stack, stack), tmk_scores(stack.to_torch(), stack.to_torch())
    np.testing.assert_allclose(theirs.level2.numpy(), ours.level2, atol=2e-6)
    np.testing.assert_allclose(theirs.level1.numpy(), ours.level1, atol=1e-6)
    assert (np.abs(theirs.offsets_frames.numpy() - ours.offsets_frames) <= 1).mean() > 0.9
    of_numpy = [(match.query, match.reference) for match in tmk_matches([stack])]
    assert [(match.query, match.reference) for match in tmk_matches([stack.to_torch()])] == of_numpy


def test_files_are_read_block_by_block(tmp_path: Path, descriptors: list[TmkDescriptor]) -> None:
    paths = tuple(tmp_path / f"{i}.tmk" for i in range(5))
    for path, descriptor in zip(paths, descriptors, strict=False):
        write_tmk(descriptor, path)
    files = TmkFiles(paths, block=2)
    assert [len(files[i]) for i in range(len(files))] == [2, 2, 1]
    np.testing.assert_array_equal(files[1].waves[0, 0], read_tmk(paths[2]).cosines)


def test_other_parameters_are_not_mixed(descriptors: list[TmkDescriptor]) -> None:
    other = replace(descriptors[0], frames_per_second=30)
    with pytest.raises(SpaceMismatch, match="30 frames per second"):
        TmkStack.of([descriptors[0], other])
    with pytest.raises(SpaceMismatch, match="30 frames per second"):
        tmk_scores(TmkStack.of(descriptors[:1]), TmkStack.of([other]))


def test_tolerances_that_float32_cannot_keep_are_refused(descriptors: list[TmkDescriptor]) -> None:
    stack = TmkStack.of(descriptors[:1])
    with pytest.raises(InvalidArgument, match="1e-09"):
        tmk_scores(stack, stack, tolerance=1e-9)
