from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reelspace.encoders.word_tokens import Vocabulary, WordTower, read_words
from reelspace.errors import FormatError

WORDS = ("the", "don't", "pan", "naïve", "pan", "2")


def numbers(text: str) -> list[int]:
    tokens = Vocabulary(WORDS).tokens([text])
    assert tokens.shape == (1, 16)
    assert tokens.dtype == np.int64
    return tokens[0].tolist()


def filled(*known: int) -> list[int]:
    return [*known, *[0] * (16 - len(known))]


def test_unknown_words_leave_no_gap() -> None:
    assert numbers("2 shiny frobs, the end") == filled(6, 1)


def test_case_and_punctuation_do_not_matter() -> None:
    assert numbers("THE...2/The") == filled(1, 6, 1)


def test_apostrophes_belong_to_the_word() -> None:
    assert numbers("Don't! 'the' the's") == filled(2)  # with its quotes on, 'the' is another word


def test_letters_of_all_languages_are_letters() -> None:
    assert numbers("NAÏVE") == filled(4)


def test_of_a_word_listed_twice_the_last_number_counts() -> None:
    assert numbers("pan") == filled(5)


@pytest.mark.parametrize("text", ["", "   ", "?!", "frobs unknown"])
def test_a_text_without_known_words_is_all_zeros(text: str) -> None:
    assert numbers(text) == filled()


def test_the_17th_known_word_is_dropped() -> None:
    assert numbers("frob " * 9 + "the " * 15 + "2 pan") == [*[1] * 15, 6]


def test_no_texts_give_no_rows() -> None:
    assert Vocabulary(WORDS).tokens([]).shape == (0, 16)


def test_words_are_read_from_arrays_and_from_text(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(WORDS))
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    assert read_words(tmp_path / "words.npy") == WORDS
    assert read_words(tmp_path / "words.txt") == WORDS


def test_pickled_words_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(WORDS, dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="is not a list of words"):
        read_words(tmp_path / "words.npy")


def test_numbers_are_no_words(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.arange(4))
    with pytest.raises(FormatError, match=r"holds int64 \(4,\)"):
        read_words(tmp_path / "words.npy")


def test_places_that_are_filled_up_take_part() -> None:
    """By hand: the table is the identity of two rows, so the hidden numbers are the rows themselves."""
    tower = WordTower(2, words=2, hidden=2, dimensions=2)
    with torch.no_grad():
        tower.word_embd.weight.copy_(torch.tensor([[0.0, 5.0], [3.0, -1.0]]))
        for layer in (tower.fc1, tower.fc2):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    short, full = torch.zeros(1, 16, dtype=torch.long), torch.ones(1, 16, dtype=torch.long)
    short[0, 0] = 1
    assert tower(short).tolist() == [[3.0, 5.0]]
    assert tower(full).tolist() == [[3.0, 0.0]]
