"""The strict loader: what does not fit is refused by name, whatever transformers would make of it."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from published import save, seeded, tiny, videomae
from transformers import VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel

from reelspace.encoders.catalog import find
from reelspace.encoders.checkpoint import Checkpoint, checkpoint_of
from reelspace.encoders.pretrained import load_pretrained
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import FormatError, MissingExtra

_CONFIG: dict[str, Any] = {
    "model_type": "videomae",
    "architectures": ["VideoMAEForVideoClassification"],
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
    "tubelet_size": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "use_mean_pooling": True,
    "num_labels": 5,
}
_LAYER = "videomae.encoder.layer.1.attention.attention"


def _checkpoint(
    folder: Path, *, pickled: bool = False, tensors: dict[str, torch.Tensor] | None = None, **config: Any
) -> tuple[Checkpoint, EncoderSpec]:
    made = seeded(videomae(_CONFIG, classes=5)) if tensors is None else tensors
    files = save(folder, _CONFIG | config, made, pickled=pickled)
    row = tiny(
        find("videomae-base-finetuned-kinetics"), folder, files, side=32, outputs={"pooled": 32, "logits": 5}
    )
    return checkpoint_of(row.weights), row


def test_the_biases_of_query_and_value_are_those_of_the_file(tmp_path: Path) -> None:
    # Fault 1: transformers 5.10 to 5.17 leave them zero and warn.
    checkpoint, row = _checkpoint(tmp_path)
    model = load_pretrained(VideoMAEForVideoClassification, checkpoint, row)
    attention = model.videomae.encoder.layer[1].attention.attention
    file = seeded(videomae(_CONFIG, classes=5))
    assert torch.equal(attention.query.bias, file[f"{_LAYER}.q_bias"])
    assert torch.equal(attention.value.bias, file[f"{_LAYER}.v_bias"])
    assert attention.query.bias.abs().min() > 0


def test_a_transformers_that_does_not_know_the_biases_is_refused_by_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    monkeypatch.setattr(transformers.modeling_utils, "get_model_conversion_mapping", lambda *_, **__: [])
    with pytest.raises(FormatError, match=r"4 missing \(.*query\.bias.* 4 unexpected \(.*q_bias"):
        load_pretrained(VideoMAEForVideoClassification, checkpoint, row)


@pytest.mark.parametrize("version", ["4.57.1", "5.0.0", "5.17.0"])
def test_transformers_before_5_18_is_refused_with_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    monkeypatch.setattr("reelspace.encoders.pretrained.transformers.__version__", version)
    with pytest.raises(MissingExtra, match=rf"here is {version}.*pip install 'reelspace\[models\]'"):
        load_pretrained(VideoMAEForVideoClassification, checkpoint, row)


def test_a_tensor_that_is_missing_one_too_many_or_of_another_shape_is_named(tmp_path: Path) -> None:
    tensors = seeded(videomae(_CONFIG, classes=5))
    lacking = {name: tensor for name, tensor in tensors.items() if name != "fc_norm.weight"}
    with pytest.raises(FormatError, match=r"1 missing \(fc_norm\.weight\)"):
        load_pretrained(VideoMAEForVideoClassification, *_checkpoint(tmp_path / "a", tensors=lacking))
    more = tensors | {"neck.weight": torch.zeros(3)}
    with pytest.raises(FormatError, match=r"1 unexpected \(neck\.weight\)"):
        load_pretrained(VideoMAEForVideoClassification, *_checkpoint(tmp_path / "b", tensors=more))
    other = tensors | {"classifier.weight": torch.zeros(7, 32), "classifier.bias": torch.zeros(7)}
    with pytest.raises(FormatError, match=r"2 of another shape \(classifier\.bias \(7,\) for \(5,\)"):
        load_pretrained(VideoMAEForVideoClassification, *_checkpoint(tmp_path / "c", tensors=other))


def test_only_what_is_said_to_be_unused_may_be_left_aside(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    with pytest.raises(
        FormatError, match=r"4 unexpected \(classifier\.bias, classifier\.weight, fc_norm\.bias, \.\.\."
    ):
        load_pretrained(VideoMAEModel, checkpoint, row)
    with pytest.raises(FormatError, match=r"2 unexpected \(fc_norm"):
        load_pretrained(VideoMAEModel, checkpoint, row, unused=(r"classifier\.",))
    model = load_pretrained(VideoMAEModel, checkpoint, row, unused=(r"classifier\.", r"fc_norm\."))
    assert not model.training


def test_another_head_than_the_file_has_is_never_drawn_at_random(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path, use_mean_pooling=False)
    with pytest.raises(FormatError, match="missing"):
        load_pretrained(VideoMAEForPreTraining, checkpoint, row, unused=(r"classifier\.", r"fc_norm\."))


def test_another_family_s_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path, model_type="vivit")
    with pytest.raises(FormatError, match="a checkpoint of 'vivit', expected 'videomae'"):
        load_pretrained(VideoMAEForVideoClassification, checkpoint, row)


@pytest.mark.parametrize("pickled", [False, True])
def test_half_precision_files_become_float32(tmp_path: Path, pickled: bool) -> None:
    # Fault 16: without a dtype, that of the file is taken.
    halves = {name: tensor.half() for name, tensor in seeded(videomae(_CONFIG, classes=5)).items()}
    checkpoint, row = _checkpoint(tmp_path, tensors=halves, pickled=pickled, torch_dtype="float16")
    model = load_pretrained(VideoMAEForVideoClassification, checkpoint, row)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_fused_attention_is_used_where_there_is_one(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    assert load_pretrained(VideoMAEForVideoClassification, checkpoint, row).config._attn_implementation == "sdpa"


def test_a_pickle_is_loaded_without_a_thread_or_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fault 15: transformers asks the hub to convert repositories that have pickles only.
    checkpoint, row = _checkpoint(tmp_path, pickled=True)

    def refused(*_: Any, **__: Any) -> None:
        pytest.fail("the network was asked")

    started: list[str] = []
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread.name), start(thread))[1])
    load_pretrained(VideoMAEForVideoClassification, checkpoint, row)
    assert not [name for name in started if "conversion" in name.lower()]


def test_a_pickle_of_more_than_tensors_is_not_run(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path, pickled=True)
    marker = tmp_path / "was-run"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    torch.save({"videomae.x": Evil()}, checkpoint.files["pytorch_model.bin"])
    with pytest.raises(FormatError, match="is not a checkpoint VideoMAEForVideoClassification can read"):
        load_pretrained(VideoMAEForVideoClassification, checkpoint, row)
    assert not marker.exists()


def test_a_damaged_file_says_whose_it_is(tmp_path: Path) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    checkpoint.files["model.safetensors"].write_bytes(b"\x10\x00\x00")
    with pytest.raises(FormatError, match=r"videomae-base-finetuned-kinetics: .* is not a checkpoint"):
        load_pretrained(VideoMAEForVideoClassification, checkpoint, row)


def test_loading_says_nothing_and_leaves_the_logging_of_transformers_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint, row = _checkpoint(tmp_path)
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    load_pretrained(VideoMAEForVideoClassification, checkpoint, row)
    assert capfd.readouterr() == ("", "")
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == (level, bars)
    assert logging.getLogger().level == logging.WARNING
