from __future__ import annotations

import pickle

import pytest

from reelspace import errors


def test_every_public_error_derives_from_the_one_base_and_is_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.ReelspaceError)
        assert name in (errors.__doc__ or "")


def test_a_wrong_name_suggests_the_nearest_one() -> None:
    assert "did you mean 'tmk-poullot'?" in str(errors.UnknownName("method", "tmk-poulot", ["tmk", "tmk-poullot"]))
    assert str(errors.UnknownName("frames", "pdqf", [])) == "no frames named 'pdqf'; there is none"
    assert "known: cte, tmk" in str(errors.UnknownName("method", "qqqq", ["tmk", "cte"]))


def test_many_names_are_counted_and_where_they_are_listed_is_said() -> None:
    said = str(errors.UnknownName("encoder", "qqqq", map(str, range(13)), listed_by="reelspace models"))
    assert said == "no encoder named 'qqqq'; 13 are known; `reelspace models` lists them"
    assert str(errors.UnknownName("day", "qqqq", map(str, range(13)))).endswith("; 13 are known")
    assert "known: 0, 1, 10" in str(errors.UnknownName("day", "qqqq", map(str, range(12))))


def test_bad_arguments_are_value_errors() -> None:
    assert issubclass(errors.InvalidArgument, ValueError)
    assert issubclass(errors.SpaceMismatch, ValueError)


def test_a_media_error_crosses_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(errors.Truncated("a.mp4", "truncated: 94 of 247 frames")))
    assert (type(error), error.source, error.reason) == (errors.Truncated, "a.mp4", "truncated: 94 of 247 frames")


def test_a_missing_extra_gives_the_line_to_run() -> None:
    with pytest.raises(ImportError, match=r"pip install 'reelspace\[plots\]'"):
        raise errors.MissingExtra("matplotlib", extra="plots")
