from __future__ import annotations

from pathlib import Path

import pytest

from reelspace.core.results import CopySegment
from reelspace.core.time import Span
from reelspace.errors import InvalidArgument
from reelspace.evaluation.predictions import in_pairs, library_matches
from reelspace.library import Library
from reelspace.media.synthetic import render_clips

FOUND = CopySegment(Span(0, 4), Span(10, 18), 2.0, 0.9, rotation_degrees=90)


def test_a_pair_found_the_other_way_round_has_its_sides_exchanged() -> None:
    answer = in_pairs({("a", "b"): [FOUND]}, [("b", "a"), ("b", "c")])
    assert answer == {
        ("b", "a"): (CopySegment(Span(10, 18), Span(0, 4), 0.5, 0.9, rotation_degrees=270),),
        ("b", "c"): (),
    }
    assert in_pairs(answer, [("a", "b")]) == {("a", "b"): (FOUND,)}


def test_a_mirrored_turn_is_undone_by_itself() -> None:
    mirrored = CopySegment(Span(0, 4), Span(10, 18), 2.0, 0.9, mirrored=True, rotation_degrees=90)
    ((exchanged,),) = in_pairs({("a", "b"): [mirrored]}, [("b", "a")]).values()
    assert (exchanged.mirrored, exchanged.rotation_degrees) == (True, 90)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for number, folder in enumerate(("one", "other")):
        (clip,) = render_clips(tmp_path / folder, count=1, seconds=2, scale=0.2, seed=number)
        clip.rename(clip.with_name("same.mp4"))
    library = Library(tmp_path / "lib", tmk=False)
    library.add([tmp_path / "one", tmp_path / "other"])
    with pytest.raises(InvalidArgument, match="have one name"):
        library_matches(library)
