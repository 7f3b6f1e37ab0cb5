"""Texts as tokens, against the tokenizers of transformers reading the same files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPTokenizer,
    GemmaTokenizer,
    Siglip2Tokenizer,
    SiglipConfig,
    VideoPrismTokenizer,
)

from reelspace.encoders.catalog import find
from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.texts import CLIP, SIGLIP, SIGLIP2, VIDEOPRISM, TextReader, TextRule
from reelspace.errors import FormatError

LETTERS = "abcdefghijklmnopqrstuvwxyz.,!'"
ROW = find("clip-vit-base-patch32")
LENGTH = 12
TEXTS = ["A dog", "It's  RAINING,\ncats and dogs!", "", "one two three four five six seven"]


def _clip(folder: Path) -> Path:
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    merges = [("d", "o"), ("do", "g</w>")]
    vocab = {piece: i for i, piece in enumerate([*pieces[:-2], "do", "dog</w>", *pieces[-2:]])}
    CLIPTokenizer(vocab=vocab, merges=merges).save_pretrained(folder)
    return folder


def _gemma(folder: Path) -> Path:
    """As the checkpoints of SigLIP 2 of fixed size say: model siglip, tokenizer Gemma."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS, *LETTERS.upper()[:26]]
    GemmaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)
    SiglipConfig().save_pretrained(folder)
    return folder


def _videoprism(folder: Path) -> Path:
    pieces = ["<pad>", "</s>", "<unk>", "▁", "▁dog", *LETTERS, *LETTERS.upper()[:26]]
    vocab = [(piece, -float(i)) for i, piece in enumerate(pieces)]
    VideoPrismTokenizer(vocab=vocab, extra_ids=0).save_pretrained(folder)
    return folder


def _reader(folder: Path, rule: TextRule, length: int = LENGTH) -> TextReader:
    files = {"tokenizer.json": folder / "tokenizer.json"}
    return TextReader(Checkpoint(files, "0" * 64), ROW, rule, length=length)


def _read(folder: Path, rule: TextRule, texts: list[str], length: int = LENGTH) -> dict[str, list[list[int]]]:
    found = _reader(folder, rule, length)(texts, device=torch.device("cpu"))
    return {name: tensor.tolist() for name, tensor in found.items()}


def test_clip_reads_as_its_tokenizer_in_transformers(tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(_clip(tmp_path))
    expected = tokenizer(TEXTS, padding=True, truncation=True, max_length=LENGTH)
    found = _read(tmp_path, CLIP, TEXTS)
    assert found == {"input_ids": expected["input_ids"], "attention_mask": expected["attention_mask"]}
    assert tokenizer.convert_ids_to_tokens(found["input_ids"][0])[:4] == [
        "<|startoftext|>",
        "a</w>",
        "dog</w>",
        "<|endoftext|>",
    ]


def test_a_cut_text_keeps_its_end(tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(_clip(tmp_path))
    (ids,) = _read(tmp_path, CLIP, ["dog " * 50])["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<|startoftext|>", *["dog</w>"] * 10, "<|endoftext|>"]


def test_siglip2_is_read_in_lower_case_which_transformers_leaves_to_the_caller(tmp_path: Path) -> None:
    _gemma(tmp_path)
    as_loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert as_loaded.tokenize("A Dog") != as_loaded.tokenize("a dog")  # the fault that is not to be ours
    as_trained = Siglip2Tokenizer.from_pretrained(tmp_path)
    found = _read(tmp_path, SIGLIP2, ["A Dog", "ONE two three four"], length=16)
    assert list(found) == ["input_ids"]  # nothing is masked
    for text, ids in zip(["a dog", "one two three four"], found["input_ids"], strict=True):
        tokens = as_trained.tokenize(text)[:15]
        padding = ["<pad>"] * (15 - len(tokens))
        assert as_trained.convert_ids_to_tokens(ids) == [*tokens, "<eos>", *padding]


def test_videoprism_is_read_as_its_tokenizer_reads_a_cleaned_text(tmp_path: Path) -> None:
    tokenizer = VideoPrismTokenizer.from_pretrained(_videoprism(tmp_path))
    cleaned = ["a dog.", "it s raining cats and dogs.", ".", "one two three four five six seven."]
    expected = tokenizer(cleaned, padding="max_length", truncation=True, max_length=LENGTH)
    assert _read(tmp_path, VIDEOPRISM, TEXTS) == {
        "input_ids": expected["input_ids"],
        "attention_mask": expected["attention_mask"],
    }


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("Hello, World!", "hello world."), ("Hello,World..", "hello world."), ("  Hello   WORLD", "hello world.")],
)
def test_videoprism_cleans_as_the_original_documents(text: str, cleaned: str) -> None:
    """The examples of `canonicalize_text` in google-deepmind/videoprism, utils.py."""
    assert VIDEOPRISM.clean(text) == cleaned


def test_siglip_takes_punctuation_out() -> None:
    assert SIGLIP.clean(" It's a Dog,\n isn't it? ") == "its a dog isnt it"


def test_a_checkpoint_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no tokenizer\.json"):
        _reader(tmp_path, CLIP)
    with pytest.raises(FormatError, match=r"no tokenizer\.json"):
        TextReader(Checkpoint({}, "0" * 64), ROW, CLIP, length=8)


def test_another_familys_tokenizer_is_refused_naming_the_token(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no token '<\|startoftext\|>'"):
        _reader(_gemma(tmp_path), CLIP)
    with pytest.raises(FormatError, match="no token '<none>'"):
        _reader(tmp_path, replace(SIGLIP2, pad="<none>"))


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(FormatError, match="is not a tokenizer"):
        _reader(tmp_path, CLIP)
