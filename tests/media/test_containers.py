"""What bytes tell: lengths stated ahead, and why a file is of no use."""

from __future__ import annotations

import io
import struct

import pytest

from reelspace.media.containers import missing_bytes, why_unreadable


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def riff(content: bytes, name: bytes = b"AVI ") -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + name + content


def ebml(content: bytes, *, size: bytes | None = None) -> bytes:
    length = size or bytes([0x08]) + len(content).to_bytes(4, "big")
    return b"\x1aE\xdf\xa3\x83\x42\x86\x81" + b"\x18S\x80g" + length + content


FTYP = box(b"ftyp", b"isom" + bytes(8))
WHOLE = {
    "mp4": FTYP + box(b"moov", bytes(40)) + box(b"mdat", bytes(900)),
    "mp4 to the end": FTYP + struct.pack(">I4s", 0, b"mdat") + bytes(900),
    "mp4, 64-bit box": FTYP + struct.pack(">I4sQ", 1, b"mdat", 916) + bytes(900),
    "avi": riff(bytes(900)),
    "avi of two parts": riff(bytes(400)) + riff(bytes(500), b"AVIX"),
    "webm": ebml(bytes(900)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_misses_nothing(kind: str):
    assert missing_bytes(io.BytesIO(WHOLE[kind])) == 0


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "mp4 to the end"])
@pytest.mark.parametrize("cut", [1, 300])
def test_a_cut_file_misses_what_was_cut_off(kind: str, cut: int):
    assert missing_bytes(io.BytesIO(WHOLE[kind][:-cut])) in {cut, cut - 1 if kind.startswith("avi") else cut}


def test_a_live_recording_promises_no_length():
    assert missing_bytes(io.BytesIO(ebml(bytes(900), size=b"\x01" + b"\xff" * 7))) == 0


@pytest.mark.parametrize("data", [b"", b"x", b"This is no video. " * 9, bytes(64), b"RIFF", b"\x1aE\xdf\xa3"])
def test_other_bytes_promise_nothing(data: bytes):
    assert missing_bytes(io.BytesIO(data)) == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"This is no video. " * 9, "not a media file, or its header is damaged"),
        (b"\x1aE\xdf\xa3" + bytes(20), "damaged header"),
        (FTYP + struct.pack(">I4s", 5000, b"mdat") + bytes(99), "cut off before its index (the moov box)"),
        (FTYP + box(b"mdat", bytes(99)), "no index (the moov box is missing)"),
        (FTYP + box(b"moov", b"stsd....encv"), "encrypted"),
        (FTYP + box(b"moov", bytes(30)), "malformed box"),
    ],
)
def test_the_reason_is_a_phrase_a_user_understands(data: bytes, reason: str):
    assert why_unreadable(io.BytesIO(data)) == reason
