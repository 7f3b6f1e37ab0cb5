from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.errors import FormatError, InvalidArgument
from reelspace.tasks.calibration import (
    COPIES_FROM,
    FILE_NAME,
    Calibration,
    StrangerPair,
    calibrate,
    read_calibration,
    strangers_in,
    threshold_of,
    write_calibration,
)
from reelspace.tasks.copies import match

SPACE = Space("reelprint", 32, {})  # the encoder whose curve lets strangers of one room come close
FRAMES = 10


ROOMS = 13


def room(number: int) -> np.ndarray:
    shared = np.random.default_rng(99 + number % ROOMS).normal(size=32)
    return shared / np.linalg.norm(shared)


def film(seed: int, *, copy_of: int | None = None) -> FrameSequence:
    """Takes of a few rooms: strangers that look alike, some more than others. A copy is a little noisy."""
    original = seed if copy_of is None else copy_of
    random = np.random.default_rng(original)
    share = random.uniform(0.3, 0.92)
    own = random.normal(size=(FRAMES, 32))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    vectors = np.sqrt(share) * room(original) + np.sqrt(1 - share) * own
    if copy_of is not None:
        vectors += np.random.default_rng(seed).normal(0, 0.01, vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return FrameSequence(
        np.arange(FRAMES) / 5,
        vectors.astype(np.float16),
        np.zeros(FRAMES, np.uint8),
        np.ones(FRAMES, np.float32),
        SPACE,
        FRAMES / 5,
    )


def matrix(films: dict[str, FrameSequence]) -> FrameMatrix:
    return FrameMatrix.concatenate(list(films.values()), list(films))


def strangers(seeds: range) -> dict[str, FrameSequence]:
    return {f"film {seed}": film(seed) for seed in seeds}


@pytest.fixture(scope="module")
def library() -> FrameMatrix:
    copies = {f"copy of {seed}": film(1000 + seed, copy_of=seed) for seed in range(0, 40, 4)}
    return matrix({**strangers(range(40)), **copies})


@pytest.fixture(scope="module")
def calibrated(library: FrameMatrix) -> Calibration:
    return calibrate([library], false_positives=0.1)


def best_scores(library: FrameMatrix, seeds: range) -> np.ndarray:
    found = (match(film(seed), library, threshold=0.0) for seed in seeds)
    return np.array([matches[0].segments[0].score if matches else 0.0 for matches in found])


def test_strangers_that_were_not_seen_pass_about_as_often_as_wanted(
    library: FrameMatrix, calibrated: Calibration
) -> None:
    scores = best_scores(library, range(5000, 5040))
    assert (scores >= calibrated.threshold).mean() == pytest.approx(0.1, abs=0.1)
    assert (scores >= 0.1).mean() > 0.2  # they do come close: an easy library would prove nothing


def test_copies_are_found_and_say_nothing_about_strangers(library: FrameMatrix, calibrated: Calibration) -> None:
    assert calibrated.copies == 10
    assert calibrated.threshold < 0.98
    for seed in range(0, 40, 4):
        names = {library.video_ids[m.reference] for m in match(film(seed), library, threshold=calibrated.threshold)}
        assert {f"film {seed}", f"copy of {seed}"} <= names
    for pair in calibrated.closest:
        assert len({name.removeprefix("copy of ").removeprefix("film ") for name in pair[:2]}) == 2


def test_what_the_threshold_rests_on_is_counted(library: FrameMatrix, calibrated: Calibration) -> None:
    assert (calibrated.videos, calibrated.queries) == (50, 50)
    assert calibrated.pairs == 30 * 49 + 20 * 48  # all but oneself and one's copy
    low, high = calibrated.rate_interval
    assert low <= calibrated.rate <= 0.1 <= high
    assert not calibrated.extrapolated
    assert calibrated.holds_for([SPACE.fingerprint])
    assert not calibrated.holds_for([SPACE.fingerprint, "another"])


def test_the_same_seed_samples_the_same_queries(library: FrameMatrix) -> None:
    once, again, other = (strangers_in([library], sample=4, seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert {pair.query for pair in once.best} != {pair.query for pair in other.best}


def test_copies_of_copies_are_relatives() -> None:
    """A and C share nothing, but both share footage with B."""
    a, c = film(1), film(2)
    b = FrameSequence(
        np.arange(2 * FRAMES) / 5,
        np.concatenate([a.vectors, c.vectors]),
        np.zeros(2 * FRAMES, np.uint8),
        np.ones(2 * FRAMES, np.float32),
        SPACE,
        2 * FRAMES / 5,
    )
    found = strangers_in([matrix({"a": a, "b": b, "c": c})], sample=1)
    assert (found.best, found.pairs, found.copies) == ((), 0, 2)


def test_of_several_encoders_the_surer_counts(library: FrameMatrix) -> None:
    blind = FrameMatrix(
        np.roll(library.vectors, 1, axis=0),
        library.times_seconds,
        library.views,
        np.zeros_like(library.weights),
        library.bounds,
        library.video_ids,
        library.durations_seconds,
        Space("another", 32, {}),
    )
    assert strangers_in([library, blind], sample=5) == strangers_in([library], sample=5)


def test_hard_noise_raises_the_threshold_and_easy_noise_does_not_lower_it() -> None:
    small = matrix(strangers(range(12)))
    hard = matrix({f"noise {seed}": film(7000 + seed, copy_of=seed) for seed in range(9)})
    easy = matrix({f"noise {seed}": _random_film(seed) for seed in range(9)})
    alone, with_hard, with_easy = (
        calibrate([small], noise=noise, false_positives=0.1) for noise in ([], [hard], [easy])
    )
    assert with_hard.threshold > 0.98 > alone.threshold
    assert with_easy.threshold == alone.threshold
    assert with_easy.queries == alone.queries + 9


def _random_film(seed: int) -> FrameSequence:
    vectors = np.random.default_rng(seed).normal(size=(FRAMES, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = film(seed)
    return FrameSequence(
        plain.times_seconds, vectors.astype(np.float16), plain.views, plain.weights, SPACE, plain.duration_seconds
    )


def maxima(count: int, seed: int) -> np.ndarray:
    """Best scores of queries whose log-odds are Gumbel's, as of maxima."""
    log_odds = np.random.default_rng(seed).gumbel(-6.0, 1.3, count)
    return 1 / (1 + np.exp(-log_odds))


@pytest.mark.parametrize("wanted", [0.2, 0.05, 0.01])
def test_over_many_libraries_the_rate_is_the_wanted_one(wanted: float) -> None:
    held_out = maxima(200_000, 0)
    rates = [
        (held_out >= threshold_of(maxima(199, seed), false_positives=wanted).score).mean() for seed in range(1, 400)
    ]
    allowed = min(wanted, float((held_out >= 0.1).mean()))  # no threshold is lower than that
    assert np.mean(rates) == pytest.approx(allowed, rel=0.15)


@pytest.mark.parametrize("count", [12, 30, 80])
def test_with_too_few_strangers_the_threshold_is_beyond_all_of_them_and_errs_towards_silence(count: int) -> None:
    held_out = maxima(200_000, 0)
    found = [
        (maxima(count, seed), threshold_of(maxima(count, seed), false_positives=0.01)) for seed in range(1, 300)
    ]
    assert all(threshold.extrapolated and threshold.score > scores.max() for scores, threshold in found)
    assert np.mean([(held_out >= threshold.score).mean() for _, threshold in found]) < 0.01


def test_no_threshold_says_what_is_hardly_likely() -> None:
    assert threshold_of([0.0] * 100, false_positives=0.05).score == 0.1


def test_the_threshold_is_just_above_the_score_it_excludes() -> None:
    scores = [*np.linspace(0.2, 0.5, 18), 0.7, 0.7]
    threshold = threshold_of(scores, false_positives=0.1)
    assert not threshold.extrapolated
    assert threshold.score > 0.7
    assert threshold.score == pytest.approx(0.7)


def test_too_few_strangers_are_no_calibration() -> None:
    few = matrix(strangers(range(7)))
    with pytest.raises(InvalidArgument, match=r"at least 8 videos .* got 7; .*--noise"):
        calibrate([few])
    with pytest.raises(InvalidArgument, match="8 strangers or more, got 3"):
        threshold_of([0.1, 0.2, 0.3], false_positives=0.1)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_lies_between_0_and_1(rate: float) -> None:
    with pytest.raises(InvalidArgument, match="lies between 0 and 1"):
        calibrate([matrix(strangers(range(2)))], false_positives=rate)


def test_noise_must_be_of_the_same_encoders() -> None:
    one = matrix(strangers(range(2)))
    with pytest.raises(InvalidArgument, match="by 1 encoders, the noise set by 2"):
        calibrate([one], noise=[one, one])


def test_a_few_strangers_do_not_silence_what_is_taken_for_copies() -> None:
    few = matrix({**strangers(range(0, 9 * ROOMS, ROOMS)), "copy of 0": film(1000, copy_of=0)})
    best = [pair.score for pair in strangers_in([few], sample=10).best]
    assert threshold_of(best, false_positives=1e-6).score > COPIES_FROM
    calibrated = calibrate([few], false_positives=1e-6)
    assert calibrated.extrapolated
    assert calibrated.threshold == COPIES_FROM > max(best)


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(InvalidArgument, match="a seed is 0 or more, got -1"):
        calibrate([matrix(strangers(range(9)))], seed=-1)


def test_at_least_one_video_is_sampled() -> None:
    with pytest.raises(InvalidArgument, match="at least one video"):
        strangers_in([matrix(strangers(range(2)))], sample=0)


KEPT = Calibration(
    threshold=0.4,
    false_positives=0.01,
    rate=0.005,
    rate_interval=(0.001, 0.02),
    extrapolated=False,
    queries=200,
    pairs=39_800,
    copies=3,
    videos=201,
    spaces=("abc",),
    copies_from=0.98,
    seed=7,
    closest=(StrangerPair("a", "b", 0.39),),
)


def test_a_calibration_is_read_as_it_was_kept(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    write_calibration(tmp_path, KEPT)
    assert read_calibration(tmp_path) == KEPT
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "is no calibration"),
        ("[1]", "is no calibration"),
        ('{"schema_version": 1}', "is no calibration"),
        ('{"schema_version": 9}', "schema version 9"),
    ],
)
def test_a_broken_calibration_says_what_to_do(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(FormatError, match=f"{said}.*calibrate again"):
        read_calibration(tmp_path)


def test_a_calibration_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path, KEPT)
    fields = json.loads((tmp_path / FILE_NAME).read_text("utf-8"))
    (tmp_path / FILE_NAME).write_text(json.dumps({**fields, "extra": 1}), "utf-8")
    with pytest.raises(FormatError, match="extra"):
        read_calibration(tmp_path)
