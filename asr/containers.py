"""How long a sound file says that it is: libsndfile reads what is there of it, and says nothing."""

import os
import re
import struct
from typing import BinaryIO

UNKNOWN = 0x7FFFF000  # bytes; programs that write to a pipe give this or more, or 0, as the length
OGG_PAGE = 65307  # bytes, at most
MP3_TOLERANCE = 0.99  # encoders do not agree on what belongs to the length in a Xing header


def promised_size(stream: BinaryIO) -> int:
    """Bytes that the file must have by its own headers; 0 if they do not say, or are none of these.

    stream: seekable, and back at its start afterwards. Knows wav, RF64, W64, AIFF, AU, NIST sphere, Ogg
    (Vorbis, Opus, FLAC) and mp3 with a Xing header. (FLAC files count their samples, which decoding checks.)
    """
    size = stream.seek(0, os.SEEK_END)
    head = _at(stream, 0, 4096)
    try:
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            promised = _wav(stream, size)
        elif head[:4] == b"OggS":
            promised = _ogg(stream, size)
        else:
            promised = _by_head(head)
    except struct.error:  # shorter than its own header: the decoder says so
        promised = 0
    stream.seek(0)
    return promised


def _by_head(head: bytes) -> int:
    """The formats whose first bytes tell all."""
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return 8 + struct.unpack_from("<Q", head, 20)[0]
    if head[:4] == b"riff":  # Sony's 64-bit wav
        return struct.unpack_from("<Q", head, 16)[0]
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        length = struct.unpack_from(">I", head, 4)[0]
        return 0 if _unknown(length) else 7 + length  # 8, but a last byte of padding is often left out
    if head[:4] == b".snd":
        offset, length = struct.unpack_from(">II", head, 4)
        return 0 if _unknown(length) else offset + length
    if head[:7] == b"NIST_1A":
        return _sphere(head)
    return _mp3(head)


def _wav(stream: BinaryIO, size: int) -> int:
    """Where the data chunk ends."""
    place = 12
    while place + 8 <= size:
        chunk, length = struct.unpack("<4sI", _at(stream, place, 8))
        if chunk == b"data":
            return 0 if _unknown(length) else place + 8 + length
        place += 8 + length + length % 2
    return 0


def _ogg(stream: BinaryIO, size: int) -> int:
    """Where the last page ends."""
    start = max(0, size - OGG_PAGE)
    tail = _at(stream, start, OGG_PAGE)
    place = tail.rfind(b"OggS")
    if place < 0:
        return 0
    page = tail[place:]
    if len(page) < 27 or len(page) < 27 + page[26]:  # its header itself is cut
        return size + 1
    return start + place + 27 + page[26] + sum(page[27 : 27 + page[26]])


def _sphere(head: bytes) -> int:
    fields = {key: int(value) for key, value in re.findall(rb"(\w+) -i (\d+)", head)}
    start = re.match(rb"NIST_1A\s+(\d+)", head)
    if not start or not {b"sample_count", b"sample_n_bytes"} <= fields.keys():
        return 0
    channels = fields.get(b"channel_count", 1)
    return int(start[1]) + fields[b"sample_count"] * fields[b"sample_n_bytes"] * channels


def _mp3(head: bytes) -> int:
    """By the Xing (or Info) header of the first frame, if it gives a number of bytes."""
    if head[:2] not in (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2"):
        return 0  # ID3v2 tags may be longer than `head`: what follows them is not looked at
    place = max(head[:64].find(b"Xing"), head[:64].find(b"Info"))
    if place < 0:
        return 0
    flags = struct.unpack_from(">I", head, place + 4)[0]
    if not flags & 2:
        return 0
    return int(MP3_TOLERANCE * struct.unpack_from(">I", head, place + 8 + 4 * (flags & 1))[0])


def _unknown(length: int) -> bool:
    return length == 0 or length >= UNKNOWN


def _at(stream: BinaryIO, place: int, count: int) -> bytes:
    stream.seek(place)
    return stream.read(count)
