"""Edits: every query frame is the picture of its film at the mapped second, decoded here by PyAV alone."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelspace.errors import MediaError
from reelspace.evaluation import edits
from reelspace.evaluation.edits import EDITS, GROUPS, Film, Recipe, recipe, render

Pictures = NDArray[np.uint8]


def write_clip(path: Path, times_ms: list[int], *, seed: int, height: int = 48, width: int = 64) -> Film:
    """A texture that runs over the picture, with frames at these milliseconds of the container's clock."""
    texture = np.kron(
        np.random.default_rng(seed).integers(0, 256, (8, 40, 1), np.uint8), np.ones((6, 8, 3), np.uint8)
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8", "bf": "0", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(texture, 5 * number, 1)[:, :width]))
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    step = times_ms[-1] - times_ms[-2]
    seconds = (times_ms[-1] + step - times_ms[0]) / 1000
    rate = Fraction(len(times_ms)) / Fraction(seconds).limit_denominator(1000)
    return Film(path.stem, f"{seed:064x}", str(path), seconds, width, height, rate)


def decoded(path: str | Path, size: tuple[int, int]) -> tuple[list[float], Pictures]:
    """Seconds since the container's start, and pictures, by PyAV alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = (container.start_time or 0) / av.time_base
        frames = [
            (frame.time - start, frame.reformat(*size, format="rgb24", interpolation="BICUBIC").to_ndarray())
            for frame in container.decode(stream)
        ]
    return [time for time, _ in frames], np.stack([picture for _, picture in frames])


def psnr(one: Pictures, other: Pictures) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((one.astype(float) - other) ** 2))))


UNEVEN = [5000 + t for t in np.cumsum([0, *([40, 40, 80, 20, 120] * 20)]).tolist()]
STEADY = [round(1001 * k / 30) for k in range(150)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Film]:
    folder = tmp_path_factory.mktemp("films")
    return {
        "uneven, from 5 s on": write_clip(folder / "uneven.mkv", UNEVEN, seed=1),
        "29.97": write_clip(folder / "steady.mkv", STEADY, seed=2),
        "other": write_clip(folder / "other.mkv", [40 * k for k in range(130)], seed=3),
        "another": write_clip(folder / "another.mkv", [40 * k for k in range(130)], seed=4),
    }


def made(name: str, film: Film, films: dict[str, Film], *, seed: int = 0) -> Recipe:
    strangers = tuple(films[n]._replace(name=None) for n in ("other", "another"))
    random = np.random.default_rng(seed)
    return recipe(name, film, random, strangers=strangers, references=tuple(films.values()))


def assert_shows_the_truth(
    query: Path, of: Recipe, films: list[Film], *, turns: int = 0, least: float = 30
) -> None:
    """Each frame of the query is nearer to the film's picture at the mapped second than to others."""
    times, pictures = decoded(query, (of.width, of.height))
    assert len(times) == sum(piece.frames for piece in of.pieces)
    sources = {film.name: film for film in films}
    for truth in of.truths:
        film = sources[truth.reference]
        size = (of.width, of.height) if turns % 2 == 0 else (of.height, of.width)
        shown_at, shown = decoded(film.source, size)
        shown = np.rot90(shown, turns, axes=(1, 2))
        checked = 0
        for time, picture in zip(times, pictures, strict=True):
            if not truth.query_span.start - 1e-6 <= time < truth.query_span.end - 1e-6:
                continue
            second = truth.reference_span.start + (time - truth.query_span.start) * truth.speed
            place = bisect_right(shown_at, second + 7e-4) - 1
            near = psnr(picture, shown[place])
            others = [psnr(picture, shown[n]) for n in (place - 1, place + 1) if 0 <= n < len(shown)]
            assert near > least
            assert near > max(others) - 0.5  # in real footage neighbours may be alike
            checked += 1
        assert checked == round(truth.query_span.duration * of.frames_per_second)


@pytest.mark.parametrize("film", ["uneven, from 5 s on", "29.97"])
@pytest.mark.parametrize(
    "name",
    [
        "trimmed",
        "half",
        "speed-0.5",
        "speed-1.25",
        "speed-2",
        "fps-10",
        "fps-29.97",
        "fps-60",
        "inserted",
        "spliced",
    ],
)
def test_a_frame_of_a_query_is_what_its_film_shows_at_the_mapped_second(
    films: dict[str, Film], tmp_path: Path, film: str, name: str
):
    of = made(name, films[film], films)
    render(of, tmp_path / "q.mp4")
    assert_shows_the_truth(tmp_path / "q.mp4", of, list(films.values()), least=25)


@pytest.mark.parametrize(
    ("file", "turns"), [("odd/first_pts_10s_bbb_bird.mp4", 0), ("odd/rotated90_man_dog_bed.mp4", 1)]
)
def test_so_it_is_with_real_files_that_start_late_or_lie_on_their_side(
    shared: Path, films: dict[str, Film], tmp_path: Path, file: str, turns: int
):
    from reelspace.evaluation.benchmark_make import _looked_at

    looked = _looked_at(str(shared / "videos" / file))
    assert isinstance(looked, Film)
    film = looked._replace(name="real")
    of = replace(made("trimmed", film, films), pieces=(edits.Piece(film, 0.4, 12, Fraction(5, 4)),))
    render(of, tmp_path / "q.mp4")
    assert_shows_the_truth(tmp_path / "q.mp4", of, [film], turns=turns, least=25)


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_gives_the_frames_it_promises(films: dict[str, Film], tmp_path: Path, name: str):
    film = films["29.97"]._replace(seconds=2.5)
    of = made(name, film, {n: f._replace(seconds=min(f.seconds, 2.5)) for n, f in films.items()})
    render(of, tmp_path / "q.mp4")
    with av.open(str(tmp_path / "q.mp4")) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == of.frames_per_second
    assert len(frames) == sum(piece.frames for piece in of.pieces)
    assert all(0 <= t.reference_span.start < t.reference_span.end <= 2.51 for t in of.truths)
    assert all(t.query_span.end <= len(frames) / of.frames_per_second + 1e-9 for t in of.truths)
    assert EDITS[name].group in GROUPS


@pytest.mark.parametrize(
    ("name", "undone"),
    [
        ("mirror", lambda p: p[:, :, ::-1]),
        ("turn-90", lambda p: np.rot90(p, 1, (1, 2))),
        ("turn-180", lambda p: np.rot90(p, 2, (1, 2))),
        ("turn-270", lambda p: np.rot90(p, 3, (1, 2))),
    ],
)
def test_mirrors_and_turns_are_undone_as_the_truth_says(films: dict[str, Film], tmp_path: Path, name: str, undone):
    film = films["29.97"]
    of = made(name, film, films)
    render(of, tmp_path / "q.mp4")
    (truth,) = of.truths
    size = (of.height, of.width) if truth.rotation_degrees in {90, 270} else (of.width, of.height)
    _, pictures = decoded(tmp_path / "q.mp4", size)
    _, shown = decoded(film.source, (of.width, of.height))
    assert psnr(undone(pictures)[:100], shown[:100]) > 25
    turned = np.rot90(pictures, -truth.rotation_degrees // 90, (1, 2))  # clockwise
    assert psnr((turned[:, :, ::-1] if truth.mirrored else turned)[:100], shown[:100]) > 25


def test_a_crop_keeps_60_to_75_percent_and_a_shrunk_picture_36(films: dict[str, Film], tmp_path: Path):
    for seed in range(3):
        crop = made("crop", films["29.97"], films, seed=seed)
        picture = next(edits._changed(crop))
        assert 0.55 < picture.shape[0] * picture.shape[1] / (48 * 64) < 0.78
        shrunk = next(edits._changed(made("shrunk", films["29.97"], films, seed=seed)))
        assert 48 * 64 / (shrunk.shape[0] * shrunk.shape[1]) == pytest.approx(0.36, abs=0.02)


def test_a_seed_gives_the_same_bytes_and_another_one_others(films: dict[str, Film], tmp_path: Path):
    name = "inserted-mirror-letterbox-noise"
    for file, seed in (("a", 0), ("b", 0), ("c", 1)):
        render(made(name, films["29.97"], films, seed=seed), tmp_path / f"{file}.mp4")
    a, b, c = ((tmp_path / f"{file}.mp4").read_bytes() for file in "abc")
    assert a == b
    assert a != c
    assert (
        made(name, films["29.97"], films).digest == made(name, films["29.97"]._replace(source="/x"), films).digest
    )
    assert made(name, films["29.97"], films).digest != made(name, films["29.97"], films, seed=1).digest


def test_of_a_long_film_a_stretch_stands_for_the_whole(films: dict[str, Film]):
    film = films["29.97"]._replace(seconds=3600.0)
    starts = set()
    for seed in range(5):
        of = recipe("grey", film, np.random.default_rng(seed), strangers=(), longest_seconds=20.0)
        (truth,) = of.truths
        assert truth.query_span.start == 0.0
        assert truth.query_span.end == pytest.approx(20.0, abs=0.04)
        assert 0 <= truth.reference_span.start <= 3580
        starts.add(truth.reference_span.start)
    assert len(starts) == 5


def test_pictures_come_out_while_the_film_is_still_being_read(
    films: dict[str, Film], monkeypatch: pytest.MonkeyPatch
):
    read = 0
    shown = edits._shown

    def counted(*arguments):
        nonlocal read
        for picture in shown(*arguments):
            read += 1
            yield picture

    monkeypatch.setattr(edits, "_shown", counted)
    pictures = edits._changed(made("off-a-screen", films["29.97"], films))
    assert len(list(islice(pictures, 5))) == 5
    assert read <= 10
    pictures.close()


def test_a_film_that_breaks_off_leaves_no_query(films: dict[str, Film], tmp_path: Path):
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(b"no film")
    with pytest.raises(MediaError):
        render(made("grey", films["29.97"]._replace(source=str(cut)), films), tmp_path / "q.mp4")
    assert not list(tmp_path.glob("q.mp4*"))
