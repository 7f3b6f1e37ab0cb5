"""Embed, classify, search and similar, on footage whose meaning is its colour."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import colour_words
from reelspace.core.time import Span
from reelspace.encoders import catalog
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.library import Library
from reelspace.media.writer import VideoWriter
from reelspace.models import classify, embed, open_model, open_models
from reelspace.tasks.search import VideoFilter

RGB = {"red": (220, 10, 10), "green": (10, 220, 10), "blue": (10, 10, 220)}
FILMS = {
    "red.mp4": "red red",
    "blue.mp4": "blue blue blue",
    "blue-then-green.mp4": "blue blue green green",
    "green-red-green.mp4": "green green red red green green",
}  # a word is half a second


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, words in FILMS.items():
        with VideoWriter(folder / name, 64, 48, Fraction(20)) as writer:
            for word in words.split():
                for _ in range(10):
                    writer.write(np.full((48, 64, 3), RGB[word], np.uint8))
    return folder


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("REELSPACE_MODELS_CACHE", str(tmp_path / "models"))
    monkeypatch.setattr(catalog, "_registered", {})
    catalog.register(colour_words.row())
    catalog.register(colour_words.row("other-colours", frames=2))


@pytest.fixture(scope="module")
def library(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELSPACE_MODELS_CACHE", str(tmp_path_factory.mktemp("models")))
        patch.setattr(catalog, "_registered", {})
        catalog.register(colour_words.row())
        library = Library(tmp_path_factory.mktemp("library") / "here", tmk=False)
        library.add(films, encoders=["colour-words"], workers=1)
    return library


def found(hits) -> list[tuple[str, float, float]]:
    return [(Path(h.video).name, round(h.span.start, 1), round(h.span.end, 1)) for h in hits]


def test_a_text_finds_the_moments_that_show_it_best_first(library: Library):
    hits = library.search("red", k=2)
    assert {name for name, _, _ in found(hits)} == {"red.mp4", "green-red-green.mp4"}
    moment = next(h for h in hits if h.video.endswith("green-red-green.mp4"))
    assert (moment.span.start, moment.span.end) == pytest.approx((1.0, 2.0), abs=0.41)
    assert all(h.score > 0.95 for h in hits)


def test_what_must_not_be_there_is_pushed_down(library: Library):
    plain = library.search("white", k=4)
    without = library.search("white", k=4, against=["blue"])
    assert "blue" in Path(without[-1].video).name
    assert max(h.score for h in plain) > max(h.score for h in without)


def test_only_chosen_videos_are_searched(library: Library):
    hits = library.search("red", k=5, among=VideoFilter(path="*/blue*"))
    assert {Path(h.video).name for h in hits} == {"blue.mp4", "blue-then-green.mp4"}


def test_a_matrix_of_texts_and_videos(library: Library):
    scores, videos = library.text_scores(["red", "blue"])
    assert scores.shape == (2, 4)
    assert Path(videos[scores[1].argmax()]).name in {"blue.mp4", "blue-then-green.mp4"}
    assert scores[0, [Path(v).name for v in videos].index("blue.mp4")] < 0.3


def test_similar_leaves_the_query_out_and_says_which_moment_is_meant(library: Library, films: Path):
    hits = library.similar(films / "blue.mp4", k=1)
    assert found(hits)[0][0] == "blue-then-green.mp4"
    assert hits[0].query is not None
    hits = library.similar(films / "blue-then-green.mp4", span=Span(1.2, 2.0), k=1)
    assert found(hits)[0][0] == "green-red-green.mp4"


def test_a_query_that_is_not_in_the_library_is_embedded_first(library: Library, films: Path, tmp_path: Path):
    with VideoWriter(tmp_path / "new.mp4", 64, 48, Fraction(20)) as writer:
        for _ in range(20):
            writer.write(np.full((48, 64, 3), RGB["red"], np.uint8))
    assert found(library.similar(tmp_path / "new.mp4", k=1))[0][0] in {"red.mp4", "green-red-green.mp4"}


def test_a_span_without_windows_is_refused(library: Library, films: Path):
    with pytest.raises(InvalidArgument, match="has nothing from 100 s on"):
        library.similar(films / "blue.mp4", span=Span(100.0, 101.0))


def test_which_model_is_meant_is_asked_only_when_there_are_several(films: Path, tmp_path: Path):
    library = Library(tmp_path / "two", tmk=False)
    with pytest.raises(InvalidArgument, match="holds no vectors of a model that reads text"):
        library.search("red")
    library.add(films, encoders=["colour-words", "other-colours"], workers=1)
    with pytest.raises(InvalidArgument, match="colour-words:colour, other-colours:colour"):
        library.search("red")
    assert library.search("red", encoder="other-colours")
    assert library.search("red", encoder="other-colours:colour")
    with pytest.raises(UnknownName, match="colour-words"):
        library.search("red", encoder="color-words")
    assert library.embeddings("colour-words").space.name == "colour-words.colour"


def test_views_and_tiles_of_one_model_live_side_by_side(films: Path, tmp_path: Path):
    library = Library(tmp_path / "modes", tmk=False)
    library.add(films, encoders=["colour-words"], workers=1)
    library.add(films, encoders=["colour-words"], windows="views", workers=1)
    assert {"clips_colour-words.colour", "clips_colour-words.colour.views"} <= library.spaces().keys()


def test_the_vectors_of_a_model_can_be_forgotten_and_made_anew(films: Path, tmp_path: Path):
    library = Library(tmp_path / "anew", tmk=False)
    library.add(films, encoders=["colour-words", "other-colours"], workers=1)
    library.forget_vectors("colour-words")
    assert "clips_colour-words.colour" not in library.spaces()
    assert library.search("red", encoder="other-colours")
    assert library.add(films, encoders=["colour-words"], workers=1).indexed == len(FILMS)
    assert library.search("red", encoder="colour-words")


def test_embed_gives_what_the_library_stores(library: Library, films: Path):
    made = embed(films, "colour-words")
    stored = library.embeddings()
    assert [Path(v).name for v in made.embeddings.video_ids] == sorted(FILMS)
    assert not made.failed
    blue = made[str(films / "blue.mp4")]
    np.testing.assert_allclose(blue, np.tile([10, 10, 220], (len(blue), 1)) / 255, atol=0.02)
    assert len(stored) == len(made.embeddings)


def test_normalize_means_unit_length_and_is_refused_where_it_means_nothing(films: Path):
    made = embed(films / "red.mp4", "colour-words", normalize=True)
    np.testing.assert_allclose(np.linalg.norm(made[str(films / "red.mp4")], axis=1), 1.0, rtol=1e-6)
    with pytest.raises(InvalidArgument, match="logits are not an embedding"):
        embed(films / "red.mp4", "colour-words:logits", normalize=True)


def test_classifiers_side_by_side_name_what_they_see(films: Path):
    (answer,) = classify(films / "blue.mp4", ["colour-words", "other-colours"], top_k=2)
    assert not isinstance(answer, MediaError)
    assert [c.encoder for c in answer] == ["colour-words", "other-colours"]
    for of_model in answer:
        assert next(p.label for p in of_model.top) == "blue"
        assert of_model.top[0].probability > 0.9
        assert len(of_model.moments) == 2
        assert len(of_model.top) == 2


def test_tiled_classes_follow_the_film(films: Path):
    (answer,) = classify(films / "blue-then-green.mp4", ["colour-words"], windows="tiled", top_k=1)
    labels = [moment.top[0].label for moment in answer[0].moments]
    assert labels[:2] == ["blue", "blue"]
    assert labels[-1] == "green"
    assert answer[0].moments[-1].span.end == pytest.approx(2.0)


def test_a_model_without_classes_cannot_classify(films: Path):
    from dataclasses import replace

    catalog.register(replace(colour_words.row("mute"), outputs={"colour": 3}))
    with pytest.raises(InvalidArgument, match="has no classes"):
        list(classify(films / "red.mp4", ["mute"]))


def test_outputs_of_one_encoder_are_computed_in_one_go():
    (model,) = open_models(["colour-words", "colour-words:logits", "colour-words"])
    assert model.outputs == ("colour", "logits")


def test_the_packages_own_pictures_can_be_embedded_as_they_are_indexed(films: Path):
    made = embed(films / "green-red-green.mp4", "pdqf-views")
    assert made.embeddings.space.dimensions == 256
    with pytest.raises(InvalidArgument, match="single pictures"):
        embed(films / "red.mp4", "pdqf", windows="views")


def test_a_name_may_say_its_output():
    assert open_model("colour-words:logits").outputs == ("logits",)
    with pytest.raises(UnknownName, match="output of colour-words"):
        open_model("colour-words:color")


def test_a_model_of_pictures_aligns_two_recordings(tmp_path: Path):
    from reelspace.pair import align

    random = np.random.default_rng(3)
    scenes = random.integers(0, 256, (40, 6, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    for name, first in (("a.mp4", 0), ("b.mp4", 12)):
        with VideoWriter(tmp_path / name, 64, 48, Fraction(10)) as writer:
            for scene in scenes[first : first + 28]:
                for _ in range(5):
                    writer.write(scene)
    for encoder in ("reelprint", "pdqf"):
        found = align(tmp_path / "a.mp4", tmp_path / "b.mp4", method="tmk", encoder=encoder)
        assert found.offset_seconds == pytest.approx(6.0, abs=0.15)
    with pytest.raises(InvalidArgument, match="reads clips of 4 frames"):
        align(tmp_path / "a.mp4", tmp_path / "b.mp4", encoder="colour-words")
