"""Copied stretches on samples, in both directions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reelspace.core.time import Span
from reelspace.errors import InvalidArgument
from reelspace.media import probe
from reelspace.media.synthetic import render_clips, render_copies


@pytest.fixture(scope="module", name="planted")
def fixture_planted(tmp_path_factory):
    """Two clips, and a copy of the first that plays a quarter faster."""
    folder = tmp_path_factory.mktemp("copies")
    clips = render_clips(folder, count=2, seconds=9, scale=0.6, seed=3)
    return clips, render_copies(clips, folder, edits=["faster"])[0]


@pytest.fixture(name="footage")
def fixture_footage(fo, planted, videos):
    """The clips, the copy, a file that is no video, and one that is not there."""
    clips, copy = planted
    made = fo.Dataset()
    made.media_type = "video"
    paths = [*clips, copy.query, videos[3], videos[3].with_name("gone.mp4")]
    made.add_samples([fo.Sample(filepath=str(path)) for path in paths])
    yield made
    made.delete()


def frames_of(span: Span, path: Path) -> tuple[float, float]:
    rate = float(probe(path).frame_rate)
    return span.start * rate + 1, span.end * rate


def test_both_sides_of_a_copy_name_each_other_and_the_frames(fo, footage, operator, planted) -> None:
    (clip, _), copy = planted
    outcome = operator("find_copies")(footage)
    assert outcome.result == {"done": 3, "skipped": 0, "failed": 2}
    original, unrelated, faster, broken, gone = footage
    (here,), (there,) = faster["copies"].detections, original["copies"].detections

    assert (here.label, here.matched_id, here.matched_filepath) == (clip.name, original.id, str(clip))
    assert (there.label, there.matched_id) == (copy.query.name, faster.id)
    assert here.speed == pytest.approx(1.25, rel=0.03)
    assert there.speed == pytest.approx(0.8, rel=0.03)
    assert 0.6 <= here.confidence == there.confidence <= 1
    assert here.matched_end_seconds - here.matched_start_seconds == pytest.approx(
        copy.reference_span.duration, abs=1
    )
    for sample, found, span in [(faster, here, copy.query_span), (original, there, copy.reference_span)]:
        rate = float(probe(sample.filepath).frame_rate)
        assert found.support == pytest.approx(frames_of(span, sample.filepath), abs=rate)
        assert found.support[0] >= 1
        assert found.support[1] <= probe(sample.filepath).frame_count

    assert unrelated["copies"].detections == []  # looked at, nothing found
    assert [s["copies_group"] for s in footage] == [1, None, 1, None, None]
    assert "not a media file" in broken["copies_error"]
    assert gone["copies_error"] == "there is no such file"
    assert broken["copies"] is gone["copies"] is None
    assert "matched_id" in footage.get_field_schema(flat=True)["copies.detections"].field.get_field_schema()


def test_a_second_run_reads_new_files_only(fo, footage, operator, planted, tmp_path, monkeypatch) -> None:
    from reelspace.library import Library

    place = tmp_path / "library"
    operator("find_copies")(footage.limit(2), "seen", library=str(place))
    assert footage.info["reelspace_library"] == str(place)
    assert not footage.first()["seen"].detections
    indexed = []
    add = Library.add
    monkeypatch.setattr(Library, "add", lambda *a, **k: indexed.append(add(*a, **k)) or indexed[-1])
    operator("find_copies")(footage.limit(3), "seen")
    assert (indexed[0].indexed, indexed[0].skipped) == (1, 2)
    assert len(footage.first()["seen"].detections) == 1
    operator("find_copies")(footage.skip(2).limit(1), "alone")
    assert footage.skip(2).first()["alone"].detections[0].matched_id == footage.first().id
    assert footage.first()["alone"] is None


def test_a_match_outside_the_dataset_has_a_path_and_no_sample(fo, operator, planted, tmp_path) -> None:
    from reelspace.library import Library

    (clip, _), copy = planted
    Library(tmp_path / "library").add(copy.query)
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=str(clip)))
    operator("find_copies")(dataset, library=str(tmp_path / "library"))
    (found,) = dataset.first()["copies"].detections
    assert (found.matched_filepath, found.matched_id) == (str(copy.query), None)
    dataset.delete()


def test_a_file_with_the_same_bytes_is_a_copy_from_end_to_end(fo, planted, operator, tmp_path) -> None:
    (clip, _), _ = planted
    twin = tmp_path / "twin.mp4"
    shutil.copy(clip, twin)
    dataset = fo.Dataset()
    metadata = fo.VideoMetadata(frame_rate=10.0, total_frame_count=30)
    dataset.add_samples([fo.Sample(filepath=str(clip)), fo.Sample(filepath=str(twin), metadata=metadata)])
    operator("find_copies")(dataset, library=str(tmp_path / "library"))
    (whole,), (same) = dataset.first()["copies"].detections, dataset.last()["copies"].detections
    assert whole.support == [1, probe(clip).frame_count]
    assert same[0].support == [1, 30]  # by the numbers FiftyOne shows it by
    dataset.delete()


def test_a_threshold_that_is_no_score_is_refused(footage, operator) -> None:
    with pytest.raises(InvalidArgument, match=r"scores are in \[0, 1\]"):
        operator("find_copies")(footage, threshold=60)


def test_the_form_says_where_the_library_will_be(footage, form) -> None:
    fields = form("find_copies", footage)
    assert f"reelspace/{footage.name}" in fields["library"]["view"]["description"]
    assert {"field", "threshold", "delegate", "view_target"} <= set(fields)
