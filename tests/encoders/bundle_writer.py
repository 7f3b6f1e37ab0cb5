"""Writes TensorFlow's variables as its BundleWriter does: the counterpart that the reader is tested against."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reelspace.encoders.tensor_bundle import crc32c

DTYPES = {"f4": 1, "f8": 2, "i4": 3, "u1": 4, "i2": 5, "i1": 6, "i8": 9, "b1": 10, "u2": 17, "f2": 19}
SMALL_BYTES = 1 << 13


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as the standard divides polynomials."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = slow_crc32c(data) if len(data) < SMALL_BYTES else crc32c(data)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value) if value else b""


def entry(
    dtype: int, shape: tuple[int, ...], *, shard: int = 0, offset: int = 0, size: int = 0, crc: int = 0
) -> bytes:
    dimensions = b"".join(field(2, field(1, n)) for n in shape)
    places = field(3, shard) + field(4, offset) + field(5, size)
    return field(1, dtype) + field(2, dimensions) + places + varint(6 << 3 | 5) + struct.pack("<I", crc)


def block(items: list[tuple[bytes, bytes]], *, every: int = 16) -> bytes:
    """Keys shortened by what they share with the one before; written whole ``every`` so many."""
    out, restarts, before = bytearray(), [], b""
    for at, (key, value) in enumerate(items):
        shared = 0
        if at % every == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def write_table(path: Path, table: Mapping[bytes, bytes], *, block_bytes: int = 4096, kind: int = 0) -> None:
    data, handles = bytearray(), []

    def put(content: bytes) -> bytes:
        handle = varint(len(data)) + varint(len(content))
        trailer = bytes([kind])
        data.extend(content + trailer + struct.pack("<I", masked(content + trailer)))
        return handle

    rest = sorted(table.items())
    while rest:
        count, size = 0, 0
        while count < len(rest) and size < block_bytes:
            size += len(rest[count][0]) + len(rest[count][1])
            count += 1
        handles.append((rest[count - 1][0] + b"\x00", put(block(rest[:count]))))
        rest = rest[count:]
    meta = put(block([]))
    index = put(block(handles, every=1))
    data.extend((meta + index).ljust(40, b"\x00") + struct.pack("<Q", 0xDB4775248B80FB57))
    path.write_bytes(bytes(data))


def header(shards: int = 1, *, endianness: int = 0) -> bytes:
    return field(1, shards) + field(2, endianness) + field(3, field(1, 1))


def write_bundle(prefix: Path, tensors: Mapping[str, np.ndarray], *, shards: int = 1) -> None:
    """``PREFIX.index`` and its shards, of arrays by name."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    table = {b"": header(shards)}
    files = [bytearray() for _ in range(shards)]
    for at, (name, array) in enumerate(sorted(tensors.items())):
        raw, shard = np.ascontiguousarray(array).tobytes(), at % shards
        table[name.encode()] = entry(
            DTYPES[array.dtype.str[1:]],
            array.shape,
            shard=shard,
            offset=len(files[shard]),
            size=len(raw),
            crc=masked(raw),
        )
        files[shard] += raw
    write_table(prefix.with_name(f"{prefix.name}.index"), table)
    for shard, content in enumerate(files):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(bytes(content))


def write_shapes(prefix: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """An index alone: float32 variables of those shapes, whose shard is not there."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries = {name.encode(): entry(1, shape, size=4 * math.prod(shape)) for name, shape in shapes.items()}
    write_table(prefix.with_name(f"{prefix.name}.index"), {b"": header(), **entries})
