from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_writer import entry, field, header, slow_crc32c, write_bundle, write_shapes, write_table

from reelspace.encoders.tensor_bundle import crc32c, read_bundle
from reelspace.errors import FormatError


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Names that share beginnings, over several blocks; every type; a scalar and an empty one."""
    rng = np.random.default_rng(0)
    many = {
        f"RGB/inception_i3d/Mixed_{at}/w": rng.standard_normal((3, at + 1)).astype(np.float32) for at in range(150)
    }
    dtypes = ("f2", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1")
    types = {dtype: (100 * rng.standard_normal(5)).astype(dtype) for dtype in dtypes}
    return {**many, **types, "scalar": np.array(7, np.int64), "empty": np.zeros((0, 4), np.float32)}


def test_what_was_written_is_read(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_bundle(tmp_path / "model.ckpt", arrays)
    bundle = read_bundle(tmp_path / "model.ckpt")
    assert set(bundle) == set(arrays)
    assert len(bundle) == len(arrays)
    for name, array in arrays.items():
        assert bundle.shapes[name] == array.shape
        assert bundle[name].dtype == array.dtype
        np.testing.assert_array_equal(bundle[name], array)


def test_a_bundle_may_have_several_shards(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_bundle(tmp_path / "variables" / "variables", arrays, shards=3)
    bundle = read_bundle(tmp_path / "variables" / "variables.index")
    for name, array in arrays.items():
        np.testing.assert_array_equal(bundle[name], array)


def test_check_value_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, Koopman's catalogue of CRCs


@pytest.mark.parametrize("size", [0, 1, 4095, 8191, 8192, 8193, 3 * 4096, 20_011])
def test_the_quick_sum_is_the_slow_one(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    assert crc32c(data) == slow_crc32c(data)


def test_shapes_need_no_shard(tmp_path: Path) -> None:
    write_shapes(tmp_path / "model.ckpt", {"a/w": (2, 3), "b": ()})
    bundle = read_bundle(tmp_path / "model.ckpt")
    assert dict(bundle.shapes) == {"a/w": (2, 3), "b": ()}


def test_a_missing_shard_is_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_bundle(tmp_path / "model.ckpt", arrays)
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(FormatError, match=r"data-00000-of-00001 is not there, and holds scalar"):
        read_bundle(tmp_path / "model.ckpt")["scalar"]


def test_one_wrong_bit_is_found(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.ckpt", {"w": np.arange(5000.0, dtype=np.float32), "b": np.ones(3, np.float32)})
    shard = tmp_path / "model.ckpt.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[12 + 9000] ^= 4
    shard.write_bytes(data)
    bundle = read_bundle(tmp_path / "model.ckpt")
    np.testing.assert_array_equal(bundle["b"], np.ones(3))
    with pytest.raises(FormatError, match="the bytes of w are damaged"):
        bundle["w"]


def test_a_shard_that_was_cut_off_is_found(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.ckpt", {"w": np.arange(50.0, dtype=np.float32)})
    shard = tmp_path / "model.ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(FormatError, match="the bytes of w are damaged or cut off"):
        read_bundle(tmp_path / "model.ckpt")["w"]


def test_a_damaged_index_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_bundle(tmp_path / "model.ckpt", arrays)
    index = tmp_path / "model.ckpt.index"
    whole = index.read_bytes()
    index.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    with pytest.raises(FormatError, match="is damaged"):
        read_bundle(tmp_path / "model.ckpt")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 20, b"\x00" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(content)
    with pytest.raises(FormatError, match="is not an index of TensorFlow's variables"):
        read_bundle(tmp_path / "model.ckpt")


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "model.ckpt.index", {b"key": b"\xff\xff\xff"})
    with pytest.raises(FormatError, match="is not an index of TensorFlow's variables"):
        read_bundle(tmp_path / "model.ckpt")


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"model.ckpt.index is not there"):
        read_bundle(tmp_path / "model.ckpt")


def test_compressed_blocks_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "model.ckpt.index", {b"": header()}, kind=1)
    with pytest.raises(FormatError, match="compressed"):
        read_bundle(tmp_path / "model.ckpt")


def test_big_endian_numbers_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "model.ckpt.index", {b"": header(endianness=1)})
    with pytest.raises(FormatError, match="big-endian"):
        read_bundle(tmp_path / "model.ckpt")


def test_strings_slices_and_impossible_sizes_are_refused_by_name(tmp_path: Path) -> None:
    table = {
        b"": header(),
        b"text": entry(7, (3,), size=3),
        b"split": entry(1, (4,), size=16) + field(7, b""),
        b"short": entry(1, (4,), size=15),
    }
    write_table(tmp_path / "model.ckpt.index", table)
    bundle = read_bundle(tmp_path / "model.ckpt")
    for name, message in (("text", "text is of type 7"), ("split", "split is split"), ("short", "short")):
        with pytest.raises(FormatError, match=message):
            bundle[name]
    with pytest.raises(KeyError):
        bundle["nothing"]
