"""Every family of the catalog, from checkpoints in their published layouts, through the command on real footage."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelspace import Library
from reelspace.cli.app import main
from reelspace.encoders.catalog import catalog, find
from reelspace.encoders.load import label_names, load_encoder
from reelspace.features import read_embeddings
from reelspace.media import probe

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_models import BUILT_IN, MAKERS, tiny_checkpoints

NAMES = tuple(f"tiny-{name}" for name in MAKERS)
OF_TEXT = tuple(f"tiny-{name}" for name in MAKERS if find(name).text_output)
WITH_CLASSES = tuple(f"tiny-{name}" for name in MAKERS if "logits" in find(name).outputs)
LIGHT = tuple(name for name in NAMES if "i3d" not in name)  # the others take seconds to load
OF_ONE_SIZE = tuple(name for name in LIGHT if find(name.removeprefix("tiny-")).preprocessing.side is not None)
SOME = LIGHT[::4] + BUILT_IN


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*words: object) -> Said:
    """The command in this process: an interpreter with torch takes seconds to start."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return Said(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def done(*words: object) -> Any:
    said = run(*words, "--json")
    assert said.status == 0, said.err
    return said.json


def each(names: tuple[str, ...]) -> list[str]:
    return [word for name in names for word in ("--encoder", name)]


@pytest.fixture(scope="module", autouse=True)
def _rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tiny rows are in the catalog, as a user's own are."""
    rows = tiny_checkpoints(tmp_path_factory.mktemp("checkpoints"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REELSPACE_MODELS", str(rows))
        environment.setenv("REELSPACE_MODELS_CACHE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="module")
def durations(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, float]:
    """The three shortest natural clips, in a folder of their own, and their seconds."""
    seconds = {path: probe(path).duration_seconds for path in (shared / "videos" / "natural").iterdir()}
    folder = tmp_path_factory.mktemp("clips")
    shortest = sorted(seconds, key=seconds.__getitem__)[:3]
    return {Path(shutil.copy(path, folder)): seconds[path] for path in shortest}


@pytest.fixture(scope="module")
def clip(durations: dict[Path, float]) -> Path:
    return next(iter(durations))


@pytest.fixture(scope="module")
def folder(clip: Path) -> Path:
    return clip.parent


@pytest.fixture(scope="module")
def library(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder indexed with everything, each file decoded once."""
    place = tmp_path_factory.mktemp("library") / "lib"
    report = done("index", folder, "--library", place, *each(NAMES + BUILT_IN))
    assert (report["indexed"], report["failed"]) == (3, [])
    return place


@pytest.fixture(scope="module")
def rows(library: Path) -> dict[str, int]:
    """How many each table has."""
    found: dict[str, int] = done("status", "--library", library)["rows"]
    return found


@pytest.fixture(scope="module")
def opened(library: Path) -> Library:
    return Library(library)


# ── the rows ──


def test_every_factory_of_the_catalog_is_among_them() -> None:
    packaged = {row.factory for row in catalog().values() if row.weights.folder is None}
    assert packaged == {find(name).factory for name in NAMES + BUILT_IN}


def test_the_list_has_them_with_the_licences_they_come_under() -> None:
    listed = {model["name"]: model for model in done("models")["models"]}
    for name in NAMES:
        model, full = listed[name], find(name.removeprefix("tiny-"))
        assert (model["licence"], model["commercial"]) == (full.weights.licence, full.weights.commercial)
        assert model["here"] is True
        assert model["score"] == ""  # nobody measured these
    shown = done("models", "show", "tiny-hiera-base-16x224")
    assert shown["outputs"] == {"terminal": 64, "hierarchical": 120, "logits": 400}


# ── the library ──


@pytest.mark.parametrize("name", NAMES)
def test_windows_cover_every_video(
    name: str, rows: dict[str, int], opened: Library, durations: dict[Path, float]
) -> None:
    row = find(name)
    table = f"{'frames' if row.of_pictures else 'clips'}_{name}.{row.default_output}"
    assert rows[table] == sum(math.ceil(round(s / row.clip.window_seconds, 6)) for s in durations.values())
    embeddings = opened.embeddings(name)
    assert embeddings.vectors.shape == (rows[table], row.outputs[row.default_output])
    assert np.isfinite(embeddings.vectors).all()
    assert np.ptp(embeddings.vectors, axis=0).max() > 1e-3  # it looks at the clips


def test_the_package_s_own_frames_are_there_too(rows: dict[str, int]) -> None:
    assert all(rows[f"frames_{name}"] > 0 for name in BUILT_IN)


def test_the_same_command_again_has_nothing_to_do(library: Path, folder: Path, rows: dict[str, int]) -> None:
    report = done("index", folder, "--library", library, *each(SOME))
    assert (report["indexed"], report["skipped"]) == (0, 3)
    assert done("status", "--library", library)["rows"] == rows


@pytest.mark.parametrize("name", NAMES)
def test_similar_finds_the_other_videos_best_first(
    name: str, library: Path, opened: Library, clip: Path, durations: dict[Path, float]
) -> None:
    hits = done("similar", clip, "--library", library, "--encoder", name, "--limit", 100)["hits"]
    assert {hit["video"] for hit in hits} == {str(path) for path in durations if path != clip}
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        assert 0 <= hit["span"]["start"] < hit["span"]["end"] <= durations[Path(hit["video"])] + 1e-6
    held = opened.embeddings(name)
    (query,) = (entry.video_id for entry in opened.files() if entry.source == str(clip))
    first, last = held.bounds[held.video_ids.index(query) :][:2]
    among = np.ones(len(held), bool)
    among[first:last] = False
    scale = held.norms if find(name).distance == "dot" else np.ones(len(held))
    vectors = held.vectors.astype(np.float32) * scale[:, None]
    assert hits[0]["score"] == pytest.approx((vectors[first:last] @ vectors[among].T).max(), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", BUILT_IN)
def test_frames_that_find_copies_are_not_asked_for_meaning(name: str, library: Path, clip: Path) -> None:
    said = run("similar", clip, "--library", library, "--encoder", name)
    assert said.status == 2
    assert f"{name} knows the same footage" in said.err


@pytest.mark.parametrize("name", ["tiny-hiera-base-16x224", "tiny-clip-vit-base-patch32"])
def test_a_video_of_elsewhere_may_be_the_query(name: str, library: Path, clip: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copy(clip, tmp_path / "twin.mp4"))
    hits = done("similar", twin, "--library", library, "--encoder", name, "--single")["hits"]
    assert hits[0]["video"] == str(clip)
    assert hits[0]["score"] == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", OF_TEXT)
def test_a_sentence_is_scored_by_the_product_of_both_towers(name: str, library: Path, opened: Library) -> None:
    texts = ("cut a door", "a dog")
    found = done("search", *texts, "--library", library, "--encoder", name, "--single")["searches"]
    assert [search["text"] for search in found] == list(texts)
    held = opened.embeddings(name)
    words = load_encoder(name, device="cpu").encode_text(texts)  # type: ignore[attr-defined]
    scale = held.norms if find(name).distance == "dot" else 1 / np.linalg.norm(words, axis=1)[:, None]
    expected = (words @ held.vectors.T.astype(np.float32)) * scale
    for search, scores in zip(found, expected, strict=True):
        got = [hit["score"] for hit in search["hits"]]
        assert got == pytest.approx(sorted(scores, reverse=True)[:10], rel=2e-3, abs=2e-3)


def test_searching_where_no_sentence_can_be_read_says_so(library: Path) -> None:
    said = run("search", "a dog", "--library", library, "--encoder", "tiny-hiera-base-16x224")
    assert said.status == 2
    assert "tiny-hiera-base-16x224 has no text tower" in said.err
    said = run("search", "a dog", "--library", library, "--encoder", "tiny-s3d-howto100m:mixed_5c")
    assert said.status == 2
    assert "reads text in the space of tiny-s3d-howto100m:video_embedding" in said.err


# ── without a library ──


def test_classifiers_stand_side_by_side_with_the_names_of_their_classes(clip: Path) -> None:
    (video,) = done("classify", clip, *each(WITH_CLASSES), "--top-k", 3)["videos"]
    assert [model["encoder"] for model in video["models"]] == list(WITH_CLASSES)
    for model in video["models"]:
        row = find(model["encoder"])
        names = [f"dive {i}" for i in range(48)] if row.labels == "config" else label_names(str(row.labels))
        assert len(names) == row.outputs["logits"]
        assert [best["label"] for best in model["top"]] == [names[best["index"]] for best in model["top"]]
        probabilities = [best["probability"] for best in model["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1
        assert model["clips"] == row.clip.clips * row.clip.crops
        assert model["licence"] == row.weights.licence


def test_the_words_for_people_name_classes_and_licences(clip: Path) -> None:
    said = run("classify", clip, *each(WITH_CLASSES[:2]), "--windows", "squashed", "--moments")
    assert said.status == 0
    assert "LABEL_" not in said.out
    assert clip.name in said.out
    assert f"{WITH_CLASSES[0]}: weights under CC-BY-NC-4.0: not for commercial use" in said.err


def test_a_model_without_classes_does_not_classify(clip: Path) -> None:
    said = run("classify", clip, "--encoder", "tiny-hiera-base-16x224-mae")
    assert said.status == 2
    assert "tiny-hiera-base-16x224-mae has no classes" in said.err


@pytest.mark.parametrize("windows", ["views", "squashed"])
def test_each_video_may_become_one_vector(
    windows: str, folder: Path, durations: dict[Path, float], tmp_path: Path
) -> None:
    names = LIGHT[::2] if windows == "views" else OF_ONE_SIZE[::3]
    report = done("index", folder, "--library", tmp_path / "lib", "--windows", windows, *each(names))
    assert (report["indexed"], report["failed"]) == (3, [])
    tables = done("status", "--library", tmp_path / "lib")["rows"]
    for name in names:
        assert tables[f"clips_{name}.{find(name).default_output}.{windows}"] == len(durations)


def test_a_way_of_reading_that_a_model_has_not_is_refused_before_any_file_fails(
    folder: Path, tmp_path: Path
) -> None:
    for name, message in (("tiny-rmac-resnet34-plain", "at their own shape"), ("reelprint", "single pictures")):
        said = run("index", folder, "--library", tmp_path / "lib", "--windows", "squashed", "--encoder", name)
        assert said.status == 2
        assert message in said.err
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize("name", ["tiny-videomae-base-finetuned-kinetics", "tiny-sscd-disc-mixup", "reelprint"])
@pytest.mark.parametrize("output", ["x.npz", "x.parquet", "x"])
def test_vectors_are_written_as_the_model_gave_them(name: str, output: str, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / output
    told = done("embed", folder, "--encoder", name, "--output", place)
    row = find(name)
    assert (told["videos"], told["dimensions"]) == (3, row.outputs[row.default_output])
    assert told["licence"] == row.weights.licence
    read = read_embeddings(place)
    assert len(read.embeddings) == told["rows"] > 3
    assert {Path(source).parent for source in read.sources.values()} == {folder}


def test_a_map_is_not_written_as_vectors(clip: Path, tmp_path: Path) -> None:
    said = run("embed", clip, "--encoder", "tiny-hiera-base-16x224:stage4", "--output", tmp_path / "x.npz")
    assert said.status == 2
    assert "stage4 of tiny-hiera-base-16x224 is a map" in said.err


@pytest.mark.parametrize("name", SOME)
def test_check_finds_what_was_recorded_when_it_was_first_used(name: str, library: Path) -> None:
    first = done("models", "check", name)
    assert first["status"] == ("recorded" if name in BUILT_IN else "matches")
    assert first["difference"] <= first["tolerance"]
    assert first["outputs"]
