"""Texts as the tokens a text tower was trained on: each family writes them in its own way."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, InvalidArgument

__all__ = ["CLIP", "SIGLIP", "SIGLIP2", "VIDEOPRISM", "TextReader", "TextRule"]

_FILE = "tokenizer.json"
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION_APART = str.maketrans(string.punctuation, " " * len(string.punctuation))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """How a family turns a text into tokens.

    Attributes:
        pad: the token that fills up what is shorter, on the right.
        start: the token before the text; None for none.
        end: the token after the text, kept where the text is cut; None for none.
        full: every text is filled up to the full length, as in training: the vector is read at a fixed place.
        masked: the tower is told which places are filled up.
        clean: what is done to the text itself first.
    """

    pad: str
    start: str | None = None
    end: str | None = None
    full: bool = False
    masked: bool = True
    clean: Callable[[str], str] = str


def _without_punctuation(text: str) -> str:
    """As `SiglipTokenizer.canonicalize_text` of transformers, after big_vision's prompt_engineering.py."""
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def _one_sentence(text: str) -> str:
    """As `canonicalize_text` of google-deepmind/videoprism: punctuation to spaces, lower case, one full stop."""
    return " ".join(text.translate(_PUNCTUATION_APART).lower().split()) + "."


CLIP = TextRule(start="<|startoftext|>", end="<|endoftext|>", pad="<|endoftext|>")
# Neither SigLIP masks what is filled up, and both read their vector at the last place.
SIGLIP = TextRule(end="</s>", pad="</s>", full=True, masked=False, clean=_without_punctuation)
# Lower case: transformers 5.23 does so for model_type siglip2, but the checkpoints of fixed size say siglip.
SIGLIP2 = TextRule(end="<eos>", pad="<pad>", full=True, masked=False, clean=str.lower)
# The original always cleans; transformers 5.23 leaves that to the caller.
VIDEOPRISM = TextRule(pad="<pad>", full=True, clean=_one_sentence)


class TextReader:
    """Turns texts into the input of a text tower, by the ``tokenizer.json`` of its checkpoint.

    What comes before, after and behind the text is taken from the rule, whatever the file says of it.

    Args:
        checkpoint: holds ``tokenizer.json``.
        row: whose checkpoint it is, for messages.
        rule: of its family.
        length: tokens the tower has places for; longer texts are cut.

    Raises:
        FormatError: when the file is not there, is not a tokenizer, or lacks a token of the rule.
    """

    def __init__(self, checkpoint: Checkpoint, row: EncoderSpec, rule: TextRule, *, length: int) -> None:
        path = checkpoint.files.get(_FILE)
        if path is None or not path.is_file():
            raise FormatError(f"{row.name}: its checkpoint has no {_FILE}, which its text tower reads by")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise FormatError(f"{row.name}: {path} is not a tokenizer: {error}") from error
        ends = {token: self._id(token, row) for token in (rule.start, rule.end) if token is not None}
        template = " ".join(part for part in (rule.start, "$A", rule.end) if part is not None)
        self._tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=list(ends.items()))
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(
            pad_id=self._id(rule.pad, row), pad_token=rule.pad, length=length if rule.full else None
        )
        self._rule = rule

    def __call__(self, texts: Sequence[str], *, device: torch.device) -> dict[str, torch.Tensor]:
        """What ``get_text_features`` takes: ``input_ids`` int64 (N, L), and ``attention_mask`` where it is masked.

        Raises:
            InvalidArgument: for no text at all.
        """
        if not texts:
            raise InvalidArgument("there is no text to encode")
        read = self._tokenizer.encode_batch([self._rule.clean(text) for text in texts])
        found = {"input_ids": torch.tensor([text.ids for text in read], device=device)}
        if self._rule.masked:
            found["attention_mask"] = torch.tensor([text.attention_mask for text in read], device=device)
        return found

    def _id(self, token: str, row: EncoderSpec) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise FormatError(f"{row.name}: its {_FILE} is another family's: it has no token {token!r}")
        return found
