"""Variables of TensorFlow 1, read without TensorFlow: ``.ckpt`` checkpoints and ``variables/`` of saved models.

A bundle is an index and one or more shards: ``PREFIX.index`` and ``PREFIX.data-00000-of-00001``. The index is a
table of LevelDB's format (tensorflow/core/lib/io/table_format.txt): sorted blocks of keys, each stored as what it
adds to the one before it, with a footer that says where the blocks are. Its values are protocol buffers
(tensor_bundle.proto): of each variable the type, shape, shard, offset, size and CRC-32C. A shard is nothing but the
bytes of its variables one after another.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelspace.errors import FormatError

__all__ = ["TensorBundle", "crc32c", "read_bundle"]

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5  # a trailer: how the block is compressed, 1 byte; its CRC, 4
_LITTLE_ENDIAN = 0
# tensorflow/core/framework/types.proto
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types


class _Entry(NamedTuple):
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size_bytes: int
    masked_crc: int
    in_slices: bool


class TensorBundle(Mapping[str, NDArray[np.generic]]):
    """The variables of a bundle by name: each is read, and its checksum compared, when it is asked for.

    Attributes:
        path: of the index.
        shapes: of every variable, without reading any.
    """

    def __init__(self, path: Path, entries: Mapping[str, _Entry], shards: int) -> None:
        self.path = path
        self.shapes = MappingProxyType({name: entry.shape for name, entry in entries.items()})
        self._entries = entries
        self._shards = shards

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        """The variable.

        Raises:
            KeyError: when there is none of that name.
            FormatError: when its bytes are missing or damaged, or of a type that is no number.
        """
        entry = self._entries[name]
        if entry.dtype not in _DTYPES or entry.in_slices:
            what = "is split into slices" if entry.in_slices else f"is of type {entry.dtype} of types.proto"
            raise FormatError(f"{self.path}: {name} {what}; only whole tensors of numbers can be read")
        dtype = np.dtype(_DTYPES[entry.dtype])
        if entry.size_bytes != dtype.itemsize * int(np.prod(entry.shape, dtype=np.int64)):
            raise FormatError(f"{self.path}: {name} {entry.shape} cannot have {entry.size_bytes} bytes")
        shard = self.path.with_name(f"{self.path.stem}.data-{entry.shard:05d}-of-{self._shards:05d}")
        if not shard.is_file():
            raise FormatError(f"{shard} is not there, and holds {name}; put it beside {self.path.name}")
        with shard.open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size_bytes)
        if len(data) != entry.size_bytes or _masked(crc32c(data)) != entry.masked_crc:
            raise FormatError(f"{shard}: the bytes of {name} are damaged or cut off; fetch the file again")
        return np.frombuffer(data, dtype).reshape(entry.shape)


def read_bundle(path: str | Path) -> TensorBundle:
    """The variables of a checkpoint of TensorFlow 1.

    Args:
        path: of the index, ``variables/variables.index``, or without its ending, as TensorFlow names a checkpoint.

    Raises:
        FormatError: when it is not the index of a bundle, or damaged.
    """
    index = Path(path) if Path(path).suffix == ".index" else Path(f"{path}.index")
    if not index.is_file():
        raise FormatError(f"{index} is not there; a checkpoint of TensorFlow is PREFIX.index and PREFIX.data-...")
    try:
        table = dict(_table(index.read_bytes()))
        header = _fields(table.pop(b""))
        if header.get(2, [_LITTLE_ENDIAN]) != [_LITTLE_ENDIAN]:
            raise FormatError("its numbers are big-endian")
        entries = {name.decode(): _entry(value) for name, value in table.items()}
        shards = int(header.get(1, [1])[0])
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise FormatError(f"{index} is not an index of TensorFlow's variables: {error}") from error
    return TensorBundle(index, entries, shards)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values, in order."""
    if len(data) < _FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise FormatError("it does not end as a table does")
    footer = data[-_FOOTER_BYTES:]
    place = 0
    for _ in range(2):  # where the index of metadata is, which nobody writes
        _, place = _varint(footer, place)
    for _, handle in _block(data, footer[place:]):
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block that ``handle`` points at."""
    start, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    compression, crc = struct.unpack_from("<BI", data, start + size)
    if compression:
        raise FormatError(
            f"its blocks are compressed (kind {compression}), which TensorFlow does not do to an index"
        )
    if _masked(crc32c(data[start : start + size + 1])) != crc:
        raise FormatError(f"the block at byte {start} is damaged; fetch the file again")
    block = data[start : start + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * restarts
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        added, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + added]
        place += added
        yield key, block[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that starts there, seven bits per byte from the lowest, and where the next thing starts."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protocol buffer by number; strings and messages as bytes."""
    fields: dict[int, list[int | bytes]] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = _varint(message, place)
        else:
            if kind == _LENGTH:
                length, place = _varint(message, place)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise FormatError(f"a field has wire type {kind}")
            raw = message[place : place + length]
            value = raw if kind == _LENGTH else int.from_bytes(raw, "little")
            place += length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _entry(message: bytes) -> _Entry:
    """``BundleEntryProto``; a field that is zero is not written."""
    fields = _fields(message)
    dtype, shard, offset, size, crc = (_number(fields, number) for number in (1, 3, 4, 5, 6))
    shape = _fields(_message(fields, 2)).get(2, [])
    dimensions = tuple(_number(_fields(_as_bytes(dimension)), 1) for dimension in shape)
    return _Entry(dtype, dimensions, shard, offset, size, crc, in_slices=7 in fields)


def _number(fields: dict[int, list[int | bytes]], number: int) -> int:
    return int(fields.get(number, [0])[-1])


def _message(fields: dict[int, list[int | bytes]], number: int) -> bytes:
    return _as_bytes(fields.get(number, [b""])[-1])


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise FormatError("a number stands where a message is expected")
    return value


# CRC-32C (Castagnoli, RFC 3720), reflected, of 0x1EDC6F41. Without its complement before and after, it is linear:
# leading zeros change nothing, and crc(a + b) = shift(crc(a), len(b)) ^ crc(b). So long data is cut into lanes that
# are summed side by side, one byte of every lane at a time, and joined at the end.
_POLYNOMIAL = 0x82F63B78
_LANE_BYTES = 1 << 12
_ONES = 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of ``data``, as TensorFlow and iSCSI compute it."""
    if len(data) < 2 * _LANE_BYTES:
        return _continued(_ONES, data) ^ _ONES
    head = len(data) % _LANE_BYTES
    crc = _continued(_ONES, data[:head])
    lanes = np.frombuffer(data, np.uint8, offset=head).reshape(-1, _LANE_BYTES)
    shift = _shift()
    for of_lane in _side_by_side(lanes).tolist():
        moved = 0  # shift(crc, a lane)
        for bit, contribution in enumerate(shift):
            if crc >> bit & 1:
                moved ^= contribution
        crc = moved ^ of_lane
    return crc ^ _ONES


def _continued(crc: int, data: bytes) -> int:
    table = _steps().tolist()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _side_by_side(lanes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The sum of each row, from zero."""
    table = _steps()
    crcs = np.zeros(len(lanes), np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        crcs = table[(crcs ^ column) & 0xFF] ^ crcs >> 8
    return crcs


@cache
def _steps() -> NDArray[np.uint32]:
    """What each byte makes of a sum of zero: uint32 (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


@cache
def _shift() -> list[int]:
    """What each of the 32 bits of a sum becomes when a lane of zeros follows."""
    crcs = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_LANE_BYTES):
        crcs = _steps()[crcs & 0xFF] ^ crcs >> 8
    moved: list[int] = crcs.tolist()
    return moved


def _masked(crc: int) -> int:
    """As it is stored: turned by 15 bits and moved, so that sums over sums stay good (crc32c.h)."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES
