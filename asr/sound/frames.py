"""Files of frames or pages that tell their own lengths: FLAC, Ogg, mp3, AAC (ADTS) and AMR."""

import re
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from carousel.asr.sound.layout import SLACK, Found, Layout, Part, at, find, joined, whole

FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")
MP3_SYNC = re.compile(rb"\xff[\xe2-\xff]|ID3|TAG|APETAGEX")
FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9][^\x0f\xf0-\xff].", re.DOTALL)
OLD = 5.0  # s: an Ogg stream whose first page is later than this did not begin there
AMR_SIZES = {  # bytes of a frame with its header, by its type
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}


def after_id3(stream: BinaryIO, offset: int = 0) -> int:
    """Where an ID3v2 tag ends that begins at `offset`; `offset` if there is none."""
    head = at(stream, offset, 10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 127:
        return offset
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return offset + 10 + length + (10 if head[5] & 16 else 0)


# --- FLAC ---


def flac(stream: BinaryIO, start: int, size: int) -> Found:
    info = at(stream, start + 8, 34)
    rate, total = _flac_length(info)
    end = find(stream, FLAC_START, start + 8, size)
    first = _flac_frames(stream, start + 4, end)
    part = Part(first, end, b"fLaC\x80\0\0\x22" + info)
    promised = total / rate if total and rate else None
    return Layout((part,), promised, not total and _flac_cut(stream, part)), end


def _flac_length(info: bytes) -> tuple[int, int]:
    """(Hz, samples or 0) of a STREAMINFO block."""
    bits = struct.unpack_from(">Q", info, 10)[0]
    return bits >> 44, bits & ((1 << 36) - 1)


def _flac_frames(stream: BinaryIO, offset: int, end: int) -> int:
    """Where the frames begin behind metadata, which may be damaged."""
    blocks, last = offset, 0
    while not last and blocks < end:
        kind, length = struct.unpack(">B3s", at(stream, blocks, 4))
        last, blocks = kind & 128, blocks + 4 + int.from_bytes(length, "big")
    if FLAC_FRAME.match(at(stream, blocks, 4)):
        return blocks
    return next(_flac_headers(stream, offset + 38, end), (end, 0))[0]


def _flac_headers(stream: BinaryIO, offset: int, end: int, block: int = 0) -> Iterator[tuple[int, int]]:
    """(offset, number of its first sample) of each frame, of `block` samples where they do not tell."""
    while (offset := find(stream, FLAC_FRAME, offset, end)) < end:
        if (first := _flac_first(at(stream, offset, 16), block)) is not None:
            yield offset, first
        offset += 1


def _flac_first(data: bytes, block: int) -> int | None:
    """Number of the first sample by the header that 16 bytes begin with, if its CRC fits."""
    if len(data) < 6 or 0x80 <= data[4] < 0xC0:
        return None
    count = 1 if data[4] < 0x80 else 8 - (data[4] ^ 0xFF).bit_length()  # bytes, as UTF-8 has them
    width = 4 + count + {6: 1, 7: 2}.get(data[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(data[2] & 15, 0)
    if len(data) <= width or _crc(data[:width], 0x07, 8) != data[width]:
        return None
    value = data[4] if count == 1 else data[4] & (0x7F >> count)
    for byte in data[5 : 4 + count]:
        value = value << 6 | byte & 63
    return value if data[1] & 1 else value * block


def flac_rest(stream: BinaryIO, part: Part, seconds: float) -> Part | None:
    """The frames behind a damaged one, at which decoding stopped after `seconds` of a part."""
    info = part.head[8:]
    block, (rate, total) = struct.unpack_from(">H", info)[0], _flac_length(info)
    least = (_flac_first(at(stream, part.start, 16), block) or 0) + round(seconds * rate) + block // 2
    if total and least > total:
        return None
    headers = _flac_headers(stream, part.start + 1, part.end, block)
    offset = next((offset for offset, first in headers if first > least), None)
    return None if offset is None else replace(part, start=offset)


def _flac_cut(stream: BinaryIO, part: Part) -> bool:
    """Whether the last frame is not whole, by its CRC."""
    for offset, _ in deque(_flac_headers(stream, max(part.start, part.end - (1 << 18)), part.end), 1):
        frame = at(stream, offset, part.end - offset)
        return len(frame) < 8 or _crc(frame[:-2], 0x8005, 16) != int.from_bytes(frame[-2:], "big")
    return False


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    crc, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        crc ^= byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
    return crc


# --- Ogg ---


@dataclass
class Link:
    """The pages of an Ogg file from one start of streams to the next."""

    start: int
    rate: int = 0  # Hz, that granules count
    skip: int = 0  # granules at the start that are not played
    serial: int | None = None  # of the stream that is heard
    first: int = 0  # granules: the end of the first page with sound, and of the last one
    last: int = 0
    opening: bool = True  # so far only first pages of streams

    def layout(self, end: int) -> Layout:
        known = self.rate and self.first < OLD * self.rate
        return Layout((Part(self.start, end),), (self.last - self.skip) / self.rate if known else None)


def ogg(stream: BinaryIO, start: int, size: int) -> Found:
    links: list[Link] = []
    end, complete = start, True
    for offset, flags, granule, serial, table, body in _pages(stream, start, size):
        end = body + sum(table)
        complete = end <= size and table[-1:] != b"\xff"
        if not links or (flags & 2 and not links[-1].opening):
            links.append(Link(offset))
        link = links[-1]
        link.opening = bool(flags & 2)
        if link.opening and link.serial is None:
            link.rate, link.skip = _ogg_rate(at(stream, body, 80))
            link.serial = serial if link.rate else None
        elif serial == link.serial and 0 < granule < 1 << 62 and complete:
            link.first, link.last = link.first or granule, granule
    cut = not complete or at(stream, end, 27)[:4] in (b"O", b"Og", b"Ogg", b"OggS")
    ends = [link.start for link in links[1:]] + [size]
    found = joined([link.layout(to) for link, to in zip(links, ends, strict=True)])
    return Layout(found.parts, None, cut) if cut or not links else found, size


def _pages(stream: BinaryIO, offset: int, size: int) -> Iterator[tuple[int, int, int, int, bytes, int]]:
    """(offset, flags, granule, serial, sizes of segments, where they begin) of each page."""
    while offset + 27 <= size:
        magic, _, flags, granule, serial, _, _, count = struct.unpack("<4sBBqIIIB", at(stream, offset, 27))
        if magic != b"OggS":
            offset = find(stream, re.compile(b"OggS"), offset, size)
            continue
        table = at(stream, offset + 27, count)
        if len(table) < count:
            return
        yield offset, flags, granule, serial, table, offset + 27 + count
        offset += 27 + count + sum(table)


def _ogg_rate(head: bytes) -> tuple[int, int]:
    """(granules a second, granules to skip) of the stream whose first packet begins so; 0: not of sound."""
    if head[:8] == b"OpusHead":
        return 48000, struct.unpack_from("<H", head, 10)[0]
    if head[:5] == b"\x7fFLAC":
        return _flac_length(head[17:])[0], 0
    offset = {b"\x01vorbis": 12, b"Speex  ": 36}.get(head[:7])
    return struct.unpack_from("<I", head, offset)[0] if offset else 0, 0


# --- mp3 ---

MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
KBITS = {  # by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
ENCODERS_TAG = re.compile(rb"Xing|Info|VBRI")  # in the first frame of what was encoded: how many follow
Kind = tuple[int, int, float]  # Hz, layer, seconds of a frame
MP3_DELAY = 4  # frames that a decoder may leave out at both ends together


@dataclass
class Run:
    """The frames of mp3 from one encoder's tag, or one change of rate, to the next."""

    start: int
    kind: Kind
    promised: int = 0  # frames; 0: there is no tag, or it does not say
    padding: float = 0.0  # seconds at both ends that are not played
    offsets: list[int] = field(default_factory=list)


def mp3(stream: BinaryIO, start: int, size: int) -> Found:
    runs: list[Run] = []
    end, covered = start, 0
    for offset, length, kind in _mp3_frames(stream, start, size):
        end, covered = offset + length, covered + length
        if tag := _encoders_tag(at(stream, offset, 200)):
            runs.append(Run(offset, kind, tag[0], tag[1] / kind[0]))
            continue
        if not runs or kind != runs[-1].kind:
            runs.append(Run(offset, kind))
        runs[-1].offsets.append(offset)
    if covered < (size - start) / 2:  # by chance, then
        return whole(stream, start, size)
    ends = [run.start for run in runs[1:]] + [size]
    found = joined([_run(stream, run, to) for run, to in zip(runs, ends, strict=True)])
    return replace(found, cut=found.cut or end > size, container="mp3"), size


def _run(stream: BinaryIO, run: Run, end: int) -> Layout:
    """Frames beyond those that an encoder's tag counts are another recording, which has no tag."""
    seconds, there, promised = run.kind[2], len(run.offsets), run.promised
    if not promised:
        return Layout((_tagged(stream, run, 0, end),))
    parts = [Part(run.start, end) if there >= promised else _tagged(stream, run, 0, end)]
    if (there - promised) * seconds > SLACK:
        parts = [Part(run.start, run.offsets[promised]), _tagged(stream, run, promised, end)]
    length = max(promised, there) * seconds - run.padding
    slack = SLACK + MP3_DELAY * seconds * len(parts)
    return Layout(tuple(parts), length, (promised - there) * seconds > SLACK, slack)


def _tagged(stream: BinaryIO, run: Run, first: int, end: int) -> Part:
    """The frames from `first` on behind a tag; without one libsndfile estimates how many there are."""
    if not run.offsets or run.kind[1] != 3:
        return Part(run.start, end)
    offset = run.offsets[first]
    head = at(stream, offset, 4)
    count = len(run.offsets) - first
    if run.promised and not first:  # the encoder's own tag, which tells what precedes the sound, too
        tag = at(stream, run.start, offset - run.start)
        own = ENCODERS_TAG.search(tag, 4, 44)
        if own and own[0] != b"VBRI":
            return Part(
                offset, end, tag[: own.start() + 8] + count.to_bytes(4, "big") + tag[own.start() + 12 :]
            )
    mono, full = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side = (9 if mono else 17) if not full else (17 if mono else 32)  # bytes
    head = bytes([head[0], head[1] | 1, 0xE0 | head[2] & 0x0C, head[3]])  # no checksum, most bits a second
    length = (_mp3_frame(head) or (0,))[0]
    tag = head + bytes(side) + struct.pack(">4sII", b"Xing", 1, count)
    return Part(offset, end, tag.ljust(length, b"\0"))


def _encoders_tag(head: bytes) -> tuple[int, int] | None:
    """(frames that follow or 0, samples not to be played) by an encoder's tag in a frame, if there is one."""
    match = ENCODERS_TAG.search(head, 4, 44)
    if not match:
        return None
    offset = match.start()
    if match[0] == b"VBRI":
        return struct.unpack_from(">I", head, offset + 14)[0], 0
    flags, count = struct.unpack_from(">II", head, offset + 4)
    named = head[offset + 120 : offset + 123].isalpha()  # the encoder says what it added at both ends
    ends = int.from_bytes(head[offset + 141 : offset + 144], "big") if named else 0
    return count if flags & 1 else 0, (ends >> 12) + (ends & 0xFFF)


def _mp3_frames(stream: BinaryIO, offset: int, size: int) -> Iterator[tuple[int, int, Kind]]:
    """(offset, bytes, kind) of each frame; tags and what is not a frame are passed over."""
    synced = False
    while offset + 4 <= size:
        frame = _mp3_frame(at(stream, offset, 4))
        if frame and (synced or offset + frame[0] >= size or _mp3_frame(at(stream, offset + frame[0], 4))):
            yield offset, *frame
            offset, synced = offset + frame[0], True
            continue
        synced = False
        following = _after_tag(stream, offset)
        offset = following if following > offset else find(stream, MP3_SYNC, offset + 1, size)


def _after_tag(stream: BinaryIO, offset: int) -> int:
    """Where a tag ends that begins at `offset`; `offset` if there is none."""
    head = at(stream, offset, 32)
    if head[:3] == b"TAG":
        return offset + 128
    if head[:8] == b"APETAGEX":
        return offset + 32 + struct.unpack_from("<I", head, 12)[0]
    return after_id3(stream, offset)


def _mp3_frame(head: bytes) -> tuple[int, Kind] | None:
    """(bytes, kind) of the frame with this header of four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    hertz, first = MPEG_RATES[version][rate], version == 3
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    unit = 4 if layer == 1 else 1
    length = (samples // 8 // unit * 1000 * KBITS[first, layer][bits] // hertz + (head[2] >> 1 & 1)) * unit
    return length, (hertz, layer, samples / hertz)


# --- AAC and AMR ---


def adts(stream: BinaryIO, start: int, size: int) -> Found:
    """AAC as it is broadcast: only a last frame that is not whole tells of a cut."""
    offset = start
    while offset + 7 <= size:
        head = at(stream, offset, 7)
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or length < 7:
            break
        offset += length
    left = at(stream, offset, 1) if offset < size else b""
    return Layout((Part(start, size),), None, offset > size or (size - offset < 7 and left == b"\xff")), size


def amr(stream: BinaryIO, start: int, size: int) -> Found:
    magic = at(stream, start, 9)
    magic = magic if magic in AMR_SIZES else magic[:6]
    offset = start + len(magic)
    while offset < size and at(stream, offset, len(magic)) != magic:
        offset += AMR_SIZES[magic][at(stream, offset, 1)[0] >> 3 & 15]
    return Layout((Part(start, min(offset, size)),), None, offset > size), min(offset, size)
