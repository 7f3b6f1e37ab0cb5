"""Searches against slow loops over pairs, and videos that are embedded first."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.alignment.cte import cte_descriptor, cte_reference_scores, cte_scores
from reelspace.alignment.fourier import TMK
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument, SpaceMismatch, UnknownName
from reelspace.evaluation.datasets.embedding import embed_missing
from reelspace.evaluation.datasets.layout import FeatureFolder, Stretch
from reelspace.evaluation.evaluate import Setting, evaluate
from reelspace.evaluation.searches import (
    ExactCteSearch,
    KernelSearch,
    PublishedCteSearch,
    Search,
    Sequences,
    SumSearch,
    best_by_length,
)
from reelspace.media.synthetic import render_clips

LENGTHS = (37, 64, 90, 120, 200)


@pytest.fixture(scope="module")
def tracks() -> list[NDArray[np.float32]]:
    """Cuts of one sequence, with noise: every two that overlap have a best offset."""
    rng = np.random.default_rng(11)
    whole = rng.standard_normal((240, 24))
    cuts = [whole[k * 9 : k * 9 + length] for k, length in enumerate(LENGTHS)]
    noisy = [cut + 0.3 * rng.standard_normal(cut.shape) for cut in cuts]
    return [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in noisy]


@pytest.fixture(scope="module")
def sequences(tracks: list[NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> Sequences:
    folder = tmp_path_factory.mktemp("features")
    for number, rows in enumerate(tracks):
        (folder / f"v{number}.pkl").write_bytes(pickle.dumps(rows, protocol=2))
    stretches = [Stretch(f"v{number}") for number in range(len(tracks))]
    rates = {stretch.video: 15.0 for stretch in stretches}
    return Sequences(FeatureFolder(folder, folder, rates=rates), stretches)


PLACES = np.arange(len(LENGTHS))


def check(search: Search, pair: object, offsets: range | None) -> None:
    scores, places = (
        best_by_length(search, PLACES, PLACES) if offsets is None else search.best(PLACES, PLACES, offsets)
    )
    for i in PLACES:
        for k in PLACES:
            score, place = pair(int(i), int(k))  # type: ignore[operator]
            assert scores[i, k] == pytest.approx(score, abs=1e-4), (i, k)
            assert places[i, k] == place, (i, k)


def test_a_kernel_finds_the_offset_a_loop_finds(sequences: Sequences, tracks: list[NDArray[np.float32]]) -> None:
    described = [TMK.normalise(TMK.describe(rows))[None] for rows in tracks]

    def pair(i: int, k: int) -> tuple[float, int]:
        offsets = np.arange(-256, 256)
        curve = TMK.scores(described[i], described[k], offsets)[0, 0] / TMK.self_score(24)
        return float(curve.max()), int(offsets[curve.argmax()])

    check(KernelSearch(TMK, sequences), pair, range(-256, 256))


def test_exact_cte_finds_the_offset_a_loop_finds_at_any_lengths(
    sequences: Sequences, tracks: list[NDArray[np.float32]]
) -> None:
    def power(length: int) -> int:
        return 1 << (length - 1).bit_length()

    def pair(i: int, k: int) -> tuple[float, int]:
        size = max(power(LENGTHS[i]), power(LENGTHS[k]))  # zeros behind change nothing but the transform's length
        padded = [np.pad(rows, ((0, size - len(rows)), (0, 0))) for rows in (tracks[i], tracks[k])]
        offsets, curve = cte_scores(*padded)
        tried = (offsets > -power(LENGTHS[k])) & (offsets < power(LENGTHS[i]))
        best = int(np.argmax(np.where(tried, curve, -np.inf)))
        if i + 2 >= k >= i - 2:
            assert offsets[best] == 9 * (k - i)
        return float(curve[best]), int(offsets[best])

    check(ExactCteSearch(sequences), pair, None)


def test_cte_as_published_is_the_reference_of_each_pair(
    sequences: Sequences, tracks: list[NDArray[np.float32]]
) -> None:
    described = [cte_descriptor(rows, harmonics=16) for rows in tracks]

    def pair(i: int, k: int) -> tuple[float, int]:
        curve = cte_reference_scores(described[i], described[k], 301)
        return float(curve.max()), int(curve.argmax()) - 150

    check(PublishedCteSearch(sequences, harmonics=16), pair, range(-150, 151))


def test_sums_compare_without_offsets(sequences: Sequences, tracks: list[NDArray[np.float32]]) -> None:
    sums = [rows.sum(axis=0) / np.linalg.norm(rows.sum(axis=0)) for rows in tracks]
    check(SumSearch(sequences), lambda i, k: (float(sums[i] @ sums[k]), 0), range(-9, 9))


def test_more_queries_than_references_give_the_same(sequences: Sequences) -> None:
    search = KernelSearch(TMK, sequences)
    whole = search.best(PLACES, PLACES, range(-100, 61))
    column = search.best(PLACES, PLACES[2:3], range(-100, 61))
    np.testing.assert_allclose(column[0][:, 0], whole[0][:, 2], atol=1e-5)
    np.testing.assert_array_equal(column[1][:, 0], whole[1][:, 2])


def test_stretches_begin_at_time_zero(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=np.float32)[:, None]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rows, protocol=2))
    space = np.array(Space("made up", 1, {}).to_json())
    np.savez(tmp_path / "b.npz", times_seconds=np.arange(60) / 15, vectors=rows, space=space)
    for video in ("a", "b"):
        track = FeatureFolder(tmp_path, tmp_path, rates={"a": 15.0}).read(Stretch(video, 1.0, 3.0))
        assert track.vectors[:, 0].tolist() == list(range(15, 45))
        np.testing.assert_allclose(track.times, np.arange(30), atol=1e-9)
        assert track.length == 30
    with pytest.raises(InvalidArgument, match="no frames between 9 and 10 s"):
        FeatureFolder(tmp_path, tmp_path).read(Stretch("a", 9.0, 10.0))


def test_features_of_two_kinds_are_never_compared(tmp_path: Path) -> None:
    for video, dimensions in (("a", 4), ("b", 8)):
        (tmp_path / f"{video}.pkl").write_bytes(pickle.dumps(np.ones((20, dimensions), np.float32), protocol=2))
    with pytest.raises(FormatError, match="b have 8 dimensions, others 4"):
        SumSearch(Sequences(FeatureFolder(tmp_path, tmp_path), [Stretch("a"), Stretch("b")]))
    for video in ("c", "d"):
        np.savez(
            tmp_path / f"{video}.npz",
            times_seconds=np.zeros(1),
            vectors=np.ones((1, 4)),
            space=np.array(Space(f"of {video}", 4, {}).to_json()),
        )
    with pytest.raises(SpaceMismatch):
        SumSearch(Sequences(FeatureFolder(tmp_path, tmp_path), [Stretch("c"), Stretch("d")]))


def test_raw_videos_are_embedded_once_and_a_broken_one_is_counted(tmp_path: Path) -> None:
    clips = render_clips(tmp_path / "made", count=2, seconds=4, scale=0.5)
    videos = tmp_path / "videos" / "cam"
    videos.mkdir(parents=True)
    for name, clip in zip(("a", "b", "c"), [*clips, clips[0]], strict=True):
        (videos / f"{name}.mp4").write_bytes(Path(clip).read_bytes())
    (videos / "broken.mp4").write_bytes(b"no video" * 99)
    lines = [f"cam/{name}.mp4 0 4 {start}" for name, start in (("a", 0), ("b", 100), ("c", 0), ("broken", 200))]
    (tmp_path / "gt_climbing.align").write_text("\n".join([*lines, "cam/gone.mp4 0 4 300"]))
    found = evaluate("climbing", tmp_path, [Setting("tmk")], encoder="pdqf")
    assert set(found.missing) == {"cam/broken", "cam/gone"}
    assert found.details["tmk feat_freq"] == {"cam/a": 0.0, "cam/b": np.inf, "cam/c": 0.0}
    files = sorted((tmp_path / "pdqf" / "cam").iterdir())
    assert [file.name for file in files] == ["a.npz", "b.npz", "c.npz"]
    before = [file.stat().st_mtime_ns for file in files]
    again = evaluate("climbing", tmp_path, [Setting("cte")], encoder="pdqf")
    assert again.details["cte"]["cam/a"] == 0.0
    assert [file.stat().st_mtime_ns for file in files] == before


def test_an_encoder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UnknownName):
        embed_missing(FeatureFolder(tmp_path / "f", tmp_path), [Stretch("a")], "no-such-model")


def test_folds_and_expansions_belong_to_datasets_that_have_them(shared: Path) -> None:
    sets = shared / "golden" / "evalsets"
    with pytest.raises(InvalidArgument, match="evve has no folds"):
        evaluate("evve", sets / "EVVE", [Setting("tmk")], fold=0)
    with pytest.raises(InvalidArgument, match="climbing has none to expand"):
        evaluate("climbing", sets / "climbing", [Setting("tmk", expansion="aqe")])
    with pytest.raises(InvalidArgument, match="of a query expansion"):
        Setting("tmk", added=3)
    with pytest.raises(UnknownName, match="madonna"):
        evaluate("madona", sets / "madonna", [Setting("tmk")])
