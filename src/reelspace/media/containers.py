"""What the bytes of a container tell when its decoder does not: whether some are missing, and what it is."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

__all__ = ["missing_bytes", "why_unreadable"]

_BOXES_READ = 100_000  # a fragmented hour has a few thousand; a damaged file may pretend to have millions
_MOOV_BYTES_READ = 4 << 20


def missing_bytes(stream: BinaryIO) -> int:
    """How many bytes the container's own structure says should follow the end of the file; 0 when none or unknown.

    Knows ISO media files (MP4, MOV), RIFF (AVI) and Matroska (WebM); they state the length of their parts ahead.
    """
    size = stream.seek(0, io.SEEK_END)
    promise = next((end for fits, end in _ENDS if fits(_read(stream, 0, 16))), None)
    return max(0, promise(stream, size) - size) if promise else 0


def why_unreadable(stream: BinaryIO) -> str:
    """One short phrase: why a file that no demuxer opens, or no decoder decodes, is of no use."""
    size = stream.seek(0, io.SEEK_END)
    head = _read(stream, 0, 16)
    if not _is_iso(head):
        known = any(fits(head) for fits, _ in _ENDS)
        return "damaged header" if known else "not a media file, or its header is damaged"
    names = []
    for name, start, end in _boxes(stream, size):
        names.append(name)
        if name == b"moov":
            moov = _read(stream, start, min(end - start, _MOOV_BYTES_READ))
            return "encrypted" if b"encv" in moov else "malformed box"
    if missing_bytes(stream):
        return "cut off before its index (the moov box)"
    return "no index (the moov box is missing)" if b"mdat" in names or b"moof" in names else "malformed box"


def _read(stream: BinaryIO, start: int, count: int) -> bytes:
    stream.seek(start)
    return stream.read(count)


# ── ISO base media (ISO/IEC 14496-12, 4.2) ──


def _is_iso(head: bytes) -> bool:
    return head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx", b"pnot"}


def _boxes(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the boxes at the top, as far as they make sense."""
    start = 0
    for _ in range(_BOXES_READ):
        header = _read(stream, start, 16)
        if len(header) < 8:
            return
        length, name = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:  # to the end of the file
            length = size - start
        if length < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            return
        yield name, start, start + length
        start += length


def _iso_end(stream: BinaryIO, size: int) -> int:
    return max((end for _, _, end in _boxes(stream, size)), default=0)


# ── RIFF; OpenDML files are several chunks, one after the other ──


def _is_riff(head: bytes) -> bool:
    return head[:4] == b"RIFF"


def _riff_end(stream: BinaryIO, size: int) -> int:
    end = 0
    while end < size:
        header = _read(stream, end, 8)
        if len(header) < 8 or header[:4] != b"RIFF":
            break
        length = struct.unpack("<I", header[4:])[0]
        end += 8 + length + length % 2
    return end - 1 if end == size + 1 else end  # the padding of the last chunk is often left out


# ── Matroska: an EBML header, then one Segment (RFC 8794, RFC 9559) ──


def _is_ebml(head: bytes) -> bool:
    return head[:4] == b"\x1aE\xdf\xa3"


def _ebml_end(stream: BinaryIO, size: int) -> int:  # noqa: ARG001
    header_start, header_length = _ebml_size(stream, 4)
    if header_length is None:
        return 0
    segment = header_start + header_length
    if _read(stream, segment, 4) != b"\x18S\x80g":
        return 0
    start, length = _ebml_size(stream, segment + 4)
    return 0 if length is None else start + length


def _ebml_size(stream: BinaryIO, start: int) -> tuple[int, int | None]:
    """Where the content of an element begins, and its length; None when it was not known on writing."""
    data = _read(stream, start, 8)
    if not data or not data[0]:
        return start, None
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return start + width, None if value == (1 << 7 * width) - 1 else value


_ENDS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]], ...] = (
    (_is_iso, _iso_end),
    (_is_riff, _riff_end),
    (_is_ebml, _ebml_end),
)
