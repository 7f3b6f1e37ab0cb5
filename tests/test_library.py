"""`Library` from Python: what the command does not show."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from reelspace import Library, Span, align
from reelspace import library as library_module
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import InvalidArgument, NotALibrary, SpaceMismatch, UnknownName
from reelspace.extract.events import FileDone
from reelspace.media.synthetic import PlantedCopy, render_clips, render_copies


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PlantedCopy]]:
    folder = tmp_path_factory.mktemp("footage")
    clips = render_clips(folder, count=3, seconds=5, scale=0.5, seed=3)
    planted = render_copies(clips, folder, edits=["trimmed", "letterboxed"])
    shutil.copy(clips[2], folder / "clip-3 again.mp4")
    return folder, planted


@pytest.fixture(scope="module")
def library(footage: tuple[Path, list[PlantedCopy]], tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("library") / "lib")
    library.add(footage[0])
    return library


def pairs(library: Library) -> set[frozenset[str]]:
    return {
        frozenset((Path(m.query).name, Path(m.reference).name)) for group in library.copies() for m in group.matches
    }


def test_files_with_the_same_bytes_are_copies_of_one_another(library: Library) -> None:
    (group,) = [g for g in library.copies() if any("again" in file for file in g.files)]
    (match,) = group.matches
    assert match.score == 1.0
    assert match.query_seconds == pytest.approx(match.reference_seconds)


def test_every_planted_copy_is_found(library: Library, footage: tuple[Path, list[PlantedCopy]]) -> None:
    planted = {frozenset((copy.query.name, copy.reference.name)) for copy in footage[1]}
    assert pairs(library) == planted | {frozenset(("clip-3.mp4", "clip-3 again.mp4"))}


def test_the_index_of_a_large_library_finds_the_same_pairs(
    footage: tuple[Path, list[PlantedCopy]], library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pairs(library)
    monkeypatch.setattr(library_module, "INDEX_ABOVE_ROWS", 10)
    indexed = Library(tmp_path / "lib")
    asked: list[bool | None] = []
    nearest = indexed._store.nearest
    monkeypatch.setattr(
        indexed._store, "nearest", lambda *a, exact, **k: asked.append(exact) or nearest(*a, exact=exact, **k)
    )
    indexed.add(footage[0])
    assert indexed._store._open("frames_pdqf-views", indexed._store.record()).list_indices()
    assert pairs(indexed) == expected
    assert set(asked) == {False}


def test_both_encoders_are_asked_where_both_have_rows(
    footage: tuple[Path, list[PlantedCopy]], library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    find = library_module.copying.find_copies
    monkeypatch.setattr(
        library_module.copying, "find_copies", lambda m, *a, **k: asked.append(m.space.name) or find(m, *a, **k)
    )
    whole = library_module.default_plan
    with monkeypatch.context() as before:  # a library of a time when there was one encoder
        before.setattr(library_module, "default_plan", lambda **k: replace(whole(**k), encoders=(PdqfViews(),)))
        old = Library(tmp_path / "old", tmk=False)
        old.add(footage[0])
    old = Library(tmp_path / "old", tmk=False)
    assert pairs(old) == pairs(library)
    assert asked == ["pdqf-views", "reelprint", "pdqf-views"]
    copy = footage[1][0].query
    (found,) = library.match(copy)
    assert Path(found.reference) == footage[1][0].reference
    assert found.score >= old.match(copy)[0].score
    # A file that came before the second encoder gets what it lacks, and so does one that the library does not know.
    old.add(footage[1][0].reference)
    assert old.match(copy)[0].reference == found.reference
    new = Path(shutil.copy(copy, tmp_path / "new.mp4"))
    assert {m.reference for m in library.match(new)} == {str(copy), found.reference}


def test_libraries_of_which_one_knows_a_second_encoder_share_the_first(
    footage: tuple[Path, list[PlantedCopy]], tmp_path: Path
) -> None:
    one, two = Library(tmp_path / "one", tmk=False), Library(tmp_path / "two", tmk=False)
    one.add(footage[1][0].query, encoders=["reelprint"])
    two.add(footage[1][0].reference)
    (group,) = one.copies(against=two)
    assert len(group.matches) == 1
    fast = Library(tmp_path / "fast", fast=True, tmk=False)
    fast.add(footage[1][0].reference)
    with pytest.raises(SpaceMismatch):
        one.copies(against=fast)


def test_events_name_every_file_once(footage: tuple[Path, list[PlantedCopy]], tmp_path: Path) -> None:
    told: list[FileDone] = []
    library = Library(tmp_path / "lib", tmk=False)
    library.add(footage[0], on_event=lambda event: told.append(event) if isinstance(event, FileDone) else None)
    assert sorted(Path(event.source).name for event in told) == sorted(p.name for p in footage[0].iterdir())
    assert {"indexed", "same-content"} == {event.outcome for event in told}
    with pytest.raises(UnknownName, match="signatures"):
        library.tmk_copies()


def test_a_library_in_memory_files_is_read_through_fsspec(
    footage: tuple[Path, list[PlantedCopy]], tmp_path: Path
) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/films/one.mp4", (footage[0] / "clip-1.mp4").read_bytes())
    library = Library(tmp_path / "lib")
    assert library.add("memory://films", workers=0).indexed == 1
    (found,) = library.match(footage[0] / "clip-1.mp4")
    assert (found.reference, found.score) == ("memory:///films/one.mp4", 1.0)


def test_a_library_does_not_index_itself(footage: tuple[Path, list[PlantedCopy]], tmp_path: Path) -> None:
    shutil.copy(footage[0] / "clip-1.mp4", tmp_path / "clip.mp4")
    library = Library(tmp_path / "inside")
    (tmp_path / "inside" / "cache").mkdir(exist_ok=True)
    shutil.copy(footage[0] / "clip-2.mp4", tmp_path / "inside" / "cache" / "stray.mp4")
    assert [Path(source).name for source in library.find(tmp_path)] == ["clip.mp4"]


def test_match_takes_one_video(footage: tuple[Path, list[PlantedCopy]], library: Library) -> None:
    with pytest.raises(InvalidArgument, match="one video"):
        library.match(footage[0])


def test_what_is_no_library_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(NotALibrary, match="make one with"):
        Library(tmp_path / "none", create=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotALibrary, match="holds other files"):
        Library(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_export_refuses_formats_and_kinds_it_does_not_know(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"did you mean '\.parquet'"):
        library.export(tmp_path / "a.parqet")
    with pytest.raises(UnknownName, match="did you mean 'frames'"):
        library.export(tmp_path / "a.npz", what="frame")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_version_of_an_encoder_are_left_alone_until_they_are_forgotten(
    footage: tuple[Path, list[PlantedCopy]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clip = tmp_path / "old", footage[1][0].reference
    whole = library_module.default_plan
    others = (Reelprint(frames_per_second=4), PdqfViews(frames_per_second=4))
    with monkeypatch.context() as before:
        before.setattr(library_module, "default_plan", lambda **k: replace(whole(**k), encoders=others))
        Library(place, tmk=False).add(clip)
    old = Library(place, tmk=False)
    assert old.outdated == ("reelprint", "pdqf-views")
    assert old.status().videos == 1
    with pytest.raises(InvalidArgument, match="forget --encoder reelprint"):
        old.match(clip)
    assert old.forget_vectors("reelprint").startswith("reelprint@")
    half = Library(place, tmk=False)
    assert half.outdated == ("pdqf-views",)
    half.add(clip)
    assert Path(half.match(footage[1][0].query)[0].reference) == clip


@pytest.mark.parametrize(("what", "space"), [("frames", "reelprint"), ("pdqf-views", "pdqf-views")])
def test_exported_rows_are_the_stored_ones(library: Library, tmp_path: Path, what: str, space: str) -> None:
    library.export(tmp_path / "a.npz", what=what)
    matrix = library._store.frame_matrix(space)
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["vector"], matrix.vectors)
        ids = arrays["video_ids"][arrays["video_index"]]
        assert ids[0] == matrix.video_ids[0]


def test_alignment_is_antisymmetric(footage: tuple[Path, list[PlantedCopy]]) -> None:
    (copy,) = [c for c in footage[1] if c.edit == "trimmed"]
    there, back = align(copy.reference, copy.query), align(copy.query, copy.reference)
    assert there.offset_seconds == pytest.approx(copy.reference_span.start, abs=0.1)
    assert back.offset_seconds == pytest.approx(-there.offset_seconds, abs=0.05)
    assert there.overlap_a is not None
    assert there.overlap_b is not None
    assert there.overlap_a.duration == pytest.approx(there.overlap_b.duration)
    assert Span(0, 100).overlap(there.overlap_a) == pytest.approx(there.overlap_a.duration)
