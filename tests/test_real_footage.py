"""The whole way on real footage: every variant found, nothing confused, as the README promises."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from reelspace import Library, align, tmk_hash, tmk_hashes
from reelspace.alignment.tmk import read_tmk
from reelspace.core.results import CopyMatch
from reelspace.errors import Truncated


@pytest.fixture(scope="module")
def library(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("real") / "library")
    report = library.add([shared / "videos" / "natural", shared / "videos" / "variants"])
    assert (report.indexed, report.failed) == (55, ())
    return library


@pytest.fixture(scope="module")
def matches(library: Library) -> dict[frozenset[str], CopyMatch]:
    def name(source: str) -> str:
        return "/".join(Path(source).parts[-2:])

    return {frozenset((name(m.query), name(m.reference))): m for group in library.copies() for m in group.matches}


def families(shared: Path) -> list[set[str]]:
    with (shared / "videos" / "variants.csv").open() as lines:
        found: dict[str, set[str]] = {}
        for row in csv.DictReader(lines):
            found.setdefault(row["variant_of"], {row["variant_of"]}).add(row["file"])
    return list(found.values())


def test_every_variant_is_found(shared: Path, matches: dict[frozenset[str], CopyMatch]) -> None:
    for family in families(shared):
        (original,) = (name for name in family if name.startswith("natural/"))
        for variant in family - {original}:
            assert frozenset((original, variant)) in matches, variant


def test_nothing_else_is_a_copy(shared: Path, matches: dict[frozenset[str], CopyMatch]) -> None:
    allowed = families(shared)
    assert [sorted(pair) for pair in matches if not any(pair <= family for family in allowed)] == []


def test_natural_clips_by_themselves_hold_no_copies(shared: Path, tmp_path: Path) -> None:
    """Which looks are tried depends on what else is in the library, so this is not the same question."""
    library = Library(tmp_path / "library", tmk=False)
    library.add(shared / "videos" / "natural")
    assert library.copies() == []


def test_variants_of_the_whole_clip_are_placed_whole(matches: dict[frozenset[str], CopyMatch]) -> None:
    pair = matches[frozenset(("natural/white_rabbit_toy_table.mp4", "variants/white_rabbit_320.webm"))]
    (segment,) = pair.segments
    assert segment.query.start == pytest.approx(0, abs=0.1)
    assert segment.query.end == pytest.approx(7.8, abs=0.1)
    assert segment.speed == pytest.approx(1.0, abs=0.01)


def test_a_title_card_before_the_footage_is_no_part_of_the_match(
    shared: Path, matches: dict[frozenset[str], CopyMatch]
) -> None:
    pair = matches[frozenset(("natural/stream_rocks.mp4", "variants/stream_rocks_title_640x360.webm"))]
    titled = pair.segments[0].reference if "title" in pair.reference else pair.segments[0].query
    assert 0.5 < titled.start < 1.5


def test_a_rotated_file_is_found_and_says_how_it_is_turned(shared: Path, library: Library) -> None:
    (match,) = library.match(shared / "videos" / "odd" / "rotated90_man_dog_bed.mp4")
    assert Path(match.reference).name == "man_dog_bed_phone.mp4"
    assert match.segments[0].rotation_degrees in {90, 270}
    assert match.segments[0].orientation.startswith("turned ")


def test_another_take_of_the_same_place_is_no_copy(shared: Path, library: Library) -> None:
    assert library.match(shared / "videos" / "odd" / "av1_10bit_hdr10_portrait_roof.mp4") == []


def test_black_matches_nothing(shared: Path, library: Library, tmp_path: Path) -> None:
    odd = shared / "videos" / "odd"
    assert library.match(odd / "all_black_10s.mp4") == []
    black = Library(tmp_path / "black")
    black.add([odd / "all_black_10s.mp4", odd / "edit_list_start_1s_black.mp4"])
    assert black.copies() == []


def test_a_truncated_query_is_refused_with_its_reason(shared: Path, library: Library) -> None:
    with pytest.raises(Truncated, match="90 of 150 frames"):
        library.match(shared / "videos" / "odd" / "derived_truncated_flower_60pct.mp4")


def test_two_encodes_line_up_to_a_tenth_of_a_second(shared: Path) -> None:
    videos = shared / "videos"
    found = align(videos / "natural" / "white_rabbit_toy_table.mp4", videos / "variants" / "white_rabbit_320.webm")
    assert found.offset_seconds == pytest.approx(0.0, abs=0.1)
    assert found.segments


def test_a_hash_does_not_depend_on_how_many_threads_decode(shared: Path) -> None:
    path = shared / "tmk" / "videos" / "chair-19-sd-bar.mp4"
    alone = tmk_hash(path)
    reference = read_tmk(shared / "tmk" / "hashes" / "chair-19-sd-bar.tmk")
    ((_, beside),) = tmk_hashes([path], workers=1)
    assert alone.to_bytes() == beside.to_bytes()
    assert alone.frame_count == reference.frame_count
