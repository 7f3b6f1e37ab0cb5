"""What a stranger's pickle may do here: be an array, or be refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelspace.errors import FormatError
from reelspace.store.array_pickle import read_array_pickle

ARRAYS = {
    "floats": np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32),
    "halves": np.arange(6, dtype=np.float16).reshape(2, 3),
    "big-endian": np.arange(6, dtype=">f8").reshape(3, 2),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "bytes": np.arange(256, dtype=np.uint8),
    "empty": np.zeros((0, 16), np.float32),
    "no axis": np.array(3.5),
}

# Put together by hand, for want of a Python 2: the array [[1.5, -2.0]] of 'f4' as Python 2.7 should pickle it by
# protocol 2. The content is a text, and the modules are those of that time.
PYTHON_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x01K"
    b"\x02\x86cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x08\x00\x00\xc0?\x00\x00\x00\xc0tb."
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(tmp_path: Path, name: str, protocol: int):
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps(ARRAYS[name], protocol=protocol))
    loaded = read_array_pickle(file)
    assert loaded.dtype == ARRAYS[name].dtype.newbyteorder("=")
    assert np.array_equal(loaded, ARRAYS[name])
    assert loaded.flags.writeable


def test_arrays_of_python_2_are_read(tmp_path: Path):
    file = tmp_path / "a.pkl"
    file.write_bytes(PYTHON_2)
    assert np.array_equal(read_array_pickle(file), np.array([[1.5, -2.0]], np.float32))
    assert np.array_equal(pickle.loads(PYTHON_2, encoding="latin1"), read_array_pickle(file))


class _Runs:
    def __init__(self, target: Any, *arguments: Any) -> None:
        self.call = (target, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_a_malicious_pickle_runs_nothing_and_is_named(tmp_path: Path):
    trap = tmp_path / "ran"
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps(_Runs(os.system, f"touch {trap}")))
    with pytest.raises(FormatError, match=r"a\.pkl: the file asks for posix\.system"):
        read_array_pickle(file)
    assert not trap.exists()
    pickle.loads(file.read_bytes())  # the trap is a real one
    assert trap.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (_Runs(eval, "1"), r"__builtin__\.eval"),
        (np.array([_Runs(eval, "1")], dtype=object), r"numbers is expected, got one of 'O8'"),
        (np.array(["text"]), "an array of numbers is expected, got one of 'U4'"),
        (np.ma.masked_array([1.0], [True]), r"numpy\.ma"),
        (np.float32(2), r"multiarray\.scalar"),
        ({"a": 1}, "expected one pickled numpy array, got a dict"),
        ([np.zeros(2)], "got a list"),
        (_Runs(np.ndarray, (10**15,)), "not a pickled array"),
        (_Runs(bytes, 10**15), "not a pickled array"),
        (np.ndarray, "got a type"),
    ],
    ids=range(10),
)
def test_anything_but_an_array_of_numbers_is_refused(tmp_path: Path, content: Any, named: str):
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(FormatError, match=named):
        read_array_pickle(file)


def test_a_damaged_pickle_is_refused(tmp_path: Path):
    file = tmp_path / "a.pkl"
    whole = pickle.dumps(ARRAYS["floats"], protocol=2)
    for content in (b"", whole[:40], whole[:-30], b"not a pickle", whole.replace(b"K\x07K\x05", b"K\x07K\x06")):
        file.write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.pkl"):
            read_array_pickle(file)
