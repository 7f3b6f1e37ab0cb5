from __future__ import annotations

import numpy as np
import pytest

from reelspace.alignment.cte import CirculantEncoding, cte_descriptor, cte_reference_scores, cte_scores
from reelspace.errors import InvalidArgument


def rows(count: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 40))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("length", "start", "stop"), [(100, 0, 100), (257, 1, 140), (120, 83, 120), (61, 60, 61)])
def test_planted_offsets_are_exact_for_all_lengths_in_both_directions(length: int, start: int, stop: int) -> None:
    film = rows(length, length)
    cut = film[start:stop]
    offsets, scores = cte_scores(film, cut)
    assert offsets[0] == -(len(cut) - 1)
    assert offsets[-1] == length - 1
    assert offsets[scores.argmax()] == start
    offsets, scores = cte_scores(cut, film)
    assert offsets[scores.argmax()] == -start


def test_scores_are_the_deconvolution_by_its_definition() -> None:
    a, b = rows(5, 1), rows(4, 2)
    size = 8
    spectra = [np.fft.fft(np.concatenate([x, np.zeros((size - len(x), 40))]), axis=0) for x in (a, b)]
    cross = (spectra[0] * spectra[1].conj()).sum(axis=1)
    power = (np.abs(spectra[0]) ** 2).sum(axis=1)
    half = power[: size // 2 + 1].mean()
    expected = np.fft.ifft(cross / (power + 0.1 * half)).real / np.fft.ifft(power / (power + 0.1 * half)).real[0]
    offsets, scores = cte_scores(a, b)
    assert offsets.tolist() == list(range(-3, 5))
    np.testing.assert_allclose(scores, expected[offsets % size], atol=1e-6)


def test_still_footage_does_not_hide_the_offset() -> None:
    film = rows(200, 3) * 0.2 + rows(1, 4)  # one picture with a little motion
    offsets, scores = cte_scores(film, film[70:150])
    assert offsets[scores.argmax()] == 70


def test_the_reference_s_negative_offsets_are_one_frame_off() -> None:
    film = rows(128, 5)
    a, b = (cte_descriptor(x) for x in (film, np.roll(film, 20, axis=0)))  # true offset -20
    reported = int(cte_reference_scores(a, b, 256).argmax()) - 128
    assert reported == -21
    offsets, scores = cte_scores(film, np.roll(film, 20, axis=0))
    assert offsets[scores.argmax()] == -20


def test_torch_tensors_give_what_numpy_gives() -> None:
    torch = pytest.importorskip("torch")
    a, b = rows(70, 6), rows(50, 7)
    offsets, scores = cte_scores(torch.from_numpy(a), torch.from_numpy(b))
    expected_offsets, expected = cte_scores(a, b)
    assert offsets.tolist() == expected_offsets.tolist()
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


def test_empty_sequences_and_too_many_frequencies_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\(0, 40\)"):
        cte_scores(rows(5, 8)[:0], rows(5, 8))
    with pytest.raises(InvalidArgument, match="5 frames"):
        cte_descriptor(rows(5, 8))


def test_many_sequences_at_once_score_as_each_pair_does() -> None:
    encoding = CirculantEncoding(frames=50)
    sides = [
        [rows(n, seed) for seed, n in ((1, 50), (2, 33))],
        [rows(n, seed) for seed, n in ((1, 50), (3, 17), (4, 41))],
    ]
    a, b = (np.stack([encoding.describe(x) for x in side]) for side in sides)
    found = encoding.scores(a, b, np.arange(-40, 41))
    own = encoding.scores(a, a, np.zeros(1))
    for i, x in enumerate(sides[0]):
        assert own[i, i, 0] == pytest.approx(1, abs=1e-5)
        for k, y in enumerate(sides[1]):
            spectra = (np.fft.fft(side, n=128, axis=0) for side in (x, y))
            left, right = spectra
            power = (np.abs(left) ** 2).sum(axis=1)
            weight = 1 / (power + 0.1 * power[:65].mean())
            curve = (
                np.fft.ifft((left * np.conj(right)).sum(axis=1) * weight).real / np.fft.ifft(power * weight).real[0]
            )
            np.testing.assert_allclose(found[i, k], curve[np.arange(-40, 41) % 128], atol=1e-5)


def test_an_encoding_moves_in_time_and_takes_times() -> None:
    encoding = CirculantEncoding(frames=50, harmonics=20)
    x = rows(20, 5)
    moved = encoding.shift(np.stack([encoding.describe(x)] * 2), np.array([7.0, 30.0]))
    assert moved.shape == (2, 20, x.shape[1])
    np.testing.assert_allclose(moved[0], encoding.describe(x, np.arange(20.0) + 7), atol=1e-4)
    np.testing.assert_allclose(moved[1], encoding.describe(x, np.arange(20.0) + 30), atol=1e-4)


def test_what_an_encoding_cannot_hold_is_refused() -> None:
    encoding = CirculantEncoding(frames=10)
    with pytest.raises(InvalidArgument, match="11 frames is longer"):
        encoding.describe(rows(11, 1))
    with pytest.raises(InvalidArgument, match="before it"):
        encoding.describe(rows(2, 1), np.array([-1.0, 0.0]))
    one = encoding.describe(rows(10, 1))[None]
    for offset in (10.0, 0.5):
        with pytest.raises(InvalidArgument, match="less than 10 frames"):
            encoding.scores(one, one, np.array([offset]))
    with pytest.raises(InvalidArgument, match="positive"):
        CirculantEncoding(frames=0)
