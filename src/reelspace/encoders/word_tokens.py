"""The text tower of MIL-NCE: known words to numbers, numbers to one vector (Miech et al. 2020, section 3.3).

It has no grammar: each of the first 16 known words gives 2048 numbers, and of each the largest over all words
remains. What fills up a short sentence takes part in that, with a vector of its own: so published.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reelspace.errors import FormatError

__all__ = ["WORDS_PER_TEXT", "Vocabulary", "WordTower", "read_words"]

WORDS_PER_TEXT = 16
"""Known words after these are dropped."""

_WORD = re.compile(r"[\w']+")


class Vocabulary:
    """The words a tower knows, by number: from 1 on, as 0 fills up.

    Args:
        words: in the order of the tower's table.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._numbers = {word: number for number, word in enumerate(words, start=1)}

    def knows(self, text: str) -> bool:
        """Whether any word of the text is known."""
        return any(word in self._numbers for word in _WORD.findall(text.lower()))

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of the words of each text, in lower case, unknown ones left out: int64 (N, 16), then zeros."""
        tokens = np.zeros((len(texts), WORDS_PER_TEXT), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            words = _WORD.findall(text.lower())
            known = [self._numbers[word] for word in words if word in self._numbers][:WORDS_PER_TEXT]
            row[: len(known)] = known
        return tokens


def read_words(path: Path) -> tuple[str, ...]:
    """The words of a vocabulary: an ``.npy`` array of strings such as ``s3d_dict.npy``, or text, one word per line.

    Raises:
        FormatError: when it is neither; pickled arrays are not opened.
    """
    try:
        if path.suffix != ".npy":
            return tuple(path.read_text("utf-8").splitlines())
        words = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise FormatError(f"{path} is not a list of words: {error}") from error
    if words.ndim != 1 or words.dtype.kind != "U":
        raise FormatError(f"{path} holds {words.dtype} {words.shape}, expected a list of words")
    return tuple(words.tolist())


class WordTower(nn.Module):
    """Words to a vector: linear, ReLU, the largest over the 16 places, linear.

    Args:
        rows: of the table: the words, and row 0 for places that are filled up.
        words: numbers per row.
        hidden: numbers per word before the largest is taken.
        dimensions: of the result.
    """

    def __init__(self, rows: int, *, words: int = 300, hidden: int = 2048, dimensions: int = 512) -> None:
        super().__init__()
        self.word_embd = nn.Embedding(rows, words)
        self.fc1 = nn.Linear(words, hidden)
        self.fc2 = nn.Linear(hidden, dimensions)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, 16) of int64 -> (N, dimensions)."""
        known = torch.relu(self.fc1(self.word_embd(tokens)))  # (N, 16, hidden)
        vectors: Tensor = self.fc2(known.amax(dim=1))
        return vectors
