"""TMK against ThreatExchange's hashes and scores (facebook/ThreatExchange@baefb4ed, tmk/).

``tmk/hashes`` are its sample hashes; ``golden/tmk_pair_scores.csv`` holds both levels of their 81 ordered pairs
and, per period, the best offset and K, made with tmk/cpp (../shared/facts/tmk.md, section 2).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.tmk import PERIODS, TmkAccumulator, TmkDescriptor, kernel_coefficients, read_tmk
from reelspace.alignment.tmk_scores import TmkStack, compare_tmk, tmk_scores
from reelspace.encoders.models.pdqf import Pdqf
from reelspace.media import open_video

VIDEOS = [
    "chair-19-sd-bar",
    "chair-20-sd-bar",
    "chair-22-sd-grey-bar",
    "chair-22-sd-sepia-bar",
    "chair-22-with-large-logo-bar",
    "chair-22-with-small-logo-bar",
    "chair-orig-22-sd-bar",
]


@pytest.fixture(scope="module")
def hashes(shared: Path) -> dict[str, TmkDescriptor]:
    return {path.name: read_tmk(path) for path in sorted((shared / "tmk" / "hashes").glob("*.tmk"))}


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[dict[str, str]]:
    with (shared / "golden" / "tmk_pair_scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_files_are_read_and_written_byte_for_byte(shared: Path, hashes: dict[str, TmkDescriptor]) -> None:
    assert len(hashes) == 9
    for name, descriptor in hashes.items():
        assert descriptor.to_bytes() == (shared / "tmk" / "hashes" / name).read_bytes()


def test_coefficients_are_the_reference_s(hashes: dict[str, TmkDescriptor]) -> None:
    for descriptor in hashes.values():
        assert descriptor.periods == PERIODS
        np.testing.assert_allclose(descriptor.coefficients, kernel_coefficients(), rtol=1e-6)


def hashed(path: Path, *, fast: bool) -> TmkDescriptor:
    encoder, accumulator = Pdqf(fast=fast), TmkAccumulator()
    with open_video(path, fast=fast) as reader:
        pixels = np.stack([frame.pixels for _, frame in reader.read([encoder.tap])])
    for start in range(0, len(pixels), 100):
        accumulator.push(encoder.encode(pixels[start : start + 100]).vectors[:, 0])
    return accumulator.finish()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)))


@pytest.mark.parametrize("name", VIDEOS)
def test_hashes_of_videos_are_the_reference_s(shared: Path, hashes: dict[str, TmkDescriptor], name: str) -> None:
    ours, theirs = hashed(shared / "tmk" / "videos" / f"{name}.mp4", fast=False), hashes[f"{name}.tmk"]
    ours.require_compatible(theirs, where="the reference hash")
    assert ours.frame_count == theirs.frame_count
    for part in ("average", "cosines", "sines"):
        assert cosine(getattr(ours, part), getattr(theirs, part)) >= 0.9999
    # The same pixels: only rounding differs.
    assert np.abs(ours.cosines - theirs.cosines).max() < 3e-7
    assert np.abs(ours.sines - theirs.sines).max() < 3e-7
    assert np.abs(ours.average - theirs.average).max() < 1e-6 * np.abs(theirs.average).max()


@pytest.mark.parametrize("name", VIDEOS[2:5:2])
def test_fast_hashes_are_near_the_reference_s(shared: Path, hashes: dict[str, TmkDescriptor], name: str) -> None:
    ours, theirs = hashed(shared / "tmk" / "videos" / f"{name}.mp4", fast=True), hashes[f"{name}.tmk"]
    for part in ("average", "cosines", "sines"):
        assert cosine(getattr(ours, part), getattr(theirs, part)) >= 0.999


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_scores_of_all_pairs_are_the_reference_s(
    hashes: dict[str, TmkDescriptor], rows: list[dict[str, str]], tolerance: float
) -> None:
    names = list(hashes)
    stack = TmkStack.of(list(hashes.values()))
    scores = tmk_scores(stack, stack, tolerance=tolerance)
    assert len(rows) == 81
    for row in rows:
        place = names.index(row["a"]), names.index(row["b"])
        assert scores.level1[place] == pytest.approx(float(row["level1"]), abs=3e-6)
        assert scores.level2[place] == pytest.approx(float(row["level2"]), abs=max(tolerance, 3e-6))


def test_offsets_and_values_of_each_period_are_the_reference_s(
    hashes: dict[str, TmkDescriptor], rows: list[dict[str, str]]
) -> None:
    names = list(hashes)
    stack = TmkStack.of(list(hashes.values()))
    total = kernel_coefficients()[0] + 2 * kernel_coefficients()[1:].sum()
    for index, period in enumerate(PERIODS):
        only = stack.at_period(index)
        scores = tmk_scores(only, only, tolerance=1e-6)
        for row in rows:
            place = names.index(row["a"]), names.index(row["b"])
            assert scores.level2[place] * total == pytest.approx(float(row[f"val_{period}"]), abs=4e-6)
            # The maximum of a long period is flat: the reference's own float32 argmax is up to 3 frames off.
            apart = abs(int(scores.offsets_frames[place]) % period - int(row[f"off_{period}"]))
            assert min(apart, period - apart) <= 3


def test_one_pair_scores_as_in_the_table(hashes: dict[str, TmkDescriptor], rows: list[dict[str, str]]) -> None:
    row = rows[1]
    match = compare_tmk(hashes[row["a"]], hashes[row["b"]])
    assert match.level1 == pytest.approx(float(row["level1"]), abs=3e-6)
    assert match.level2 == pytest.approx(float(row["level2"]), abs=3e-6)
    assert abs(match.offset_seconds) < 3
