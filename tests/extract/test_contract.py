"""An encoder that changes its mind is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_network

from reelspace.encoders.load import load_encoder
from reelspace.errors import CheckpointError
from reelspace.extract.contract import check_encoder, require_contract
from reelspace.media import probe


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELSPACE_MODELS_CACHE", str(tmp_path))
    return tmp_path


def test_the_first_check_records_and_the_next_one_compares() -> None:
    first = check_encoder(tiny_network.ROW, device="cpu")
    assert (first.status, first.difference) == ("recorded", 0.0)
    assert first.got["colour"].shape == (3, 3)  # two seconds in windows of 0.8
    assert first.got["text"].shape == (1, 3)
    again = check_encoder(tiny_network.ROW, device="cpu")
    assert (again.status, again.difference, again.encoder) == ("matches", 0.0, "colours-4x16")
    np.testing.assert_array_equal(again.expected["colour"], first.got["colour"])


def test_the_golden_input_passes_the_whole_way_from_the_file() -> None:
    video = Path(check_encoder.__code__.co_filename).parent / "golden.mp4"
    assert (probe(video).frame_count, probe(video).codec) == (48, "h264")
    got = check_encoder(tiny_network.ROW, device="cpu").got["colour"]
    assert np.ptp(got, axis=0).min() > 0.01  # its windows are told apart


def test_a_drift_is_reported_with_its_size_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = check_encoder(tiny_network.ROW, device="cpu")
    monkeypatch.setattr(tiny_network, "drift", 0.02)
    report = check_encoder(tiny_network.ROW, device="cpu")
    assert report.status == "differs"
    assert report.difference == pytest.approx(0.02 / np.abs(first.got["colour"]).max(), rel=1e-3)
    monkeypatch.setattr("reelspace.extract.contract._surroundings", lambda encoder: "upgraded")
    with pytest.raises(
        CheckpointError, match=rf"colours-4x16 does not give .* \(upgraded\).* delete {report.path}"
    ):
        require_contract(load_encoder(tiny_network.ROW, device="cpu"))


def test_a_drift_below_a_thousandth_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    check_encoder(tiny_network.ROW, device="cpu")
    monkeypatch.setattr(tiny_network, "drift", 1e-4)
    assert check_encoder(tiny_network.ROW, device="cpu").status == "matches"


def test_half_precision_is_held_to_less() -> None:
    check_encoder(tiny_network.ROW, device="cpu")
    half = load_encoder(tiny_network.ROW, device="cpu", dtype="bfloat16")
    report = check_encoder(half)
    assert 1e-4 < report.difference < report.tolerance == 5e-2
    assert report.status == "matches"


def test_what_matched_before_in_the_same_surroundings_is_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = load_encoder(tiny_network.ROW, device="cpu")
    require_contract(encoder)
    runs = encoder._module.runs  # type: ignore[attr-defined]
    require_contract(encoder)
    assert encoder._module.runs == runs  # type: ignore[attr-defined]
    monkeypatch.setattr("reelspace.extract.contract._surroundings", lambda encoder: "upgraded")
    require_contract(encoder)
    once_more = encoder._module.runs  # type: ignore[attr-defined]
    assert once_more > runs
    require_contract(encoder)
    assert encoder._module.runs == once_more  # type: ignore[attr-defined]


def test_another_preprocessing_is_another_contract() -> None:
    first = check_encoder(tiny_network.ROW, device="cpu")
    other = replace(tiny_network.ROW, preprocessing=replace(tiny_network.ROW.preprocessing, mean=(0.0, 0.0, 0.0)))
    report = check_encoder(other, device="cpu")
    assert report.status == "recorded"
    assert report.path != first.path


def test_vectors_that_are_no_numbers_are_refused_first_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr(tiny_network, "drift", float("nan"))
        with pytest.raises(CheckpointError, match="no finite numbers"):  # nothing to hold anybody to
            check_encoder(tiny_network.ROW, device="cpu")
    check_encoder(tiny_network.ROW, device="cpu")
    monkeypatch.setattr(tiny_network, "drift", float("nan"))
    with pytest.raises(CheckpointError, match="no finite numbers"):
        check_encoder(tiny_network.ROW, device="cpu")


def test_the_packages_own_frame_encoders_are_held_to_it_too() -> None:
    assert check_encoder("reelprint").got["frames"].shape == (10, 256)
    assert check_encoder("reelprint").status == "matches"


def test_a_store_that_may_only_be_read_stops_nobody(store: Path) -> None:
    (store / "contracts").write_text("a file where the folder would be")
    require_contract(load_encoder(tiny_network.ROW, device="cpu"))


def test_a_damaged_record_is_an_error_that_names_it() -> None:
    path = check_encoder(tiny_network.ROW, device="cpu").path
    path.write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=f"{path} cannot be read"):
        check_encoder(tiny_network.ROW, device="cpu")
