"""What a sound file is and how much it promises, by its own bytes: decoders do not tell of a loss."""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from carousel.asr.sound import chunks, frames
from carousel.asr.sound.layout import Found, Layout, Part, at, find, joined, whole

LOOSE = 0.5  # s: containers of video are not exact about sound

PLAYLIST = re.compile(
    rb"\s*(#EXTM3U|\[playlist\]|\[reference\]|ffconcat|<\?xml|<asx|<smil|<mpd|<playlist|v=0\s)", re.IGNORECASE
)
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
SEGMENT, EBML = b"\x18\x53\x80\x67", b"\x1a\x45\xdf\xa3"
VOC = rb"Creative Voice File"


def layout(stream: BinaryIO) -> Layout:
    """What a seekable file is, in which parts it is to be decoded, and how long it promises to be.

    Raises nothing for what is damaged: of a file that makes no sense nothing is known, and it is one part.
    """
    size = stream.seek(0, os.SEEK_END)
    first = offset = frames.after_id3(stream)
    container = known(at(stream, first, 600))
    kind = CONTAINERS[container]
    found = []
    while offset < size:
        start = offset
        try:
            if kind.again:
                offset = find(stream, re.compile(kind.again, re.DOTALL), start + 1, size)
                part = Layout((Part(start, offset),), headed=True)
            else:
                part, offset = kind.walk(stream, start, size)
        except (struct.error, ValueError, OverflowError, IndexError, KeyError):  # its headers are damaged
            part, offset = whole(stream, start, size)
        found.append(part)
        if offset <= start or known(at(stream, offset, 600)) != container:
            break
    # A program that writes to a pipe may begin with several headers, and end with the one that it wanted.
    file = joined([one for one in found if one.parts[0].start < one.parts[0].end] or found)
    return replace(file, container=container or file.container)


def known(head: bytes) -> str:
    """The container that begins so, by ffmpeg's name; empty if it is none of those known."""
    return next(name for name, kind in CONTAINERS.items() if re.match(kind.starts, head, re.DOTALL))


def _mov(stream: BinaryIO, start: int, size: int) -> Found:
    """QuickTime, mp4, m4a, 3gp: boxes up to the next one that opens a file."""
    offset, headed = start, True
    while offset + 8 <= size:
        length, name = struct.unpack(">I4s", at(stream, offset, 8))
        headed = headed and name != b"moof"  # the first of fragments that may go on for ever
        if name == b"ftyp" and offset > start:
            break
        if length == 1:
            length = struct.unpack(">Q", at(stream, offset + 8, 8))[0]
        offset = offset + length if length >= 8 else size  # 0: up to the end
    end = min(offset, size)
    return Layout((Part(start, end),), cut=offset > size, headed=headed), end


def _matroska(stream: BinaryIO, start: int, size: int) -> Found:
    """Matroska and WebM: a header and a segment, whose size may be unknown."""
    offset = start
    for name in (EBML, SEGMENT):
        if at(stream, offset, 4) != name:
            return whole(stream, start, size)
        first = at(stream, offset + 4, 1)[0]
        width = 9 - first.bit_length()
        number = int.from_bytes(at(stream, offset + 4, width), "big") - (1 << 7 * width)
        if number == (1 << 7 * width) - 1:
            end = find(stream, re.compile(EBML + rb"[\x80-\xff\x01]"), offset + 4, size)
            return Layout((Part(start, end),), headed=True), end
        offset += 4 + width + number
    end = min(offset, size)
    return Layout((Part(start, end),), cut=offset > size, headed=True), end


def _asf(stream: BinaryIO, start: int, size: int) -> Found:
    """Windows Media: the file's properties tell its size and, 100 ns at a time, how long it plays."""
    head = at(stream, start, 1 << 16)
    offset = head.index(ASF_PROPERTIES)
    length, _, _, play, _, preroll, flags = struct.unpack_from("<6QI", head, offset + 40)
    if flags & 1:  # broadcast: nobody knew
        return whole(stream, start, size)
    end = min(start + length, size)
    return Layout((Part(start, end),), play / 1e7 - preroll / 1e3, start + length > size, LOOSE), end


def _avi(stream: BinaryIO, start: int, size: int) -> Found:
    offset = start
    while at(stream, offset, 4) == b"RIFF":
        length = struct.unpack("<I", at(stream, offset + 4, 4))[0]
        if chunks.unknown(length):
            return whole(stream, start, size)
        offset += 8 + length + length % 2
    return Layout((Part(start, size),), cut=offset > size + 1), size


def _voc(stream: BinaryIO, start: int, size: int) -> Found:
    offset = start + struct.unpack("<H", at(stream, start + 20, 2))[0]
    end = find(stream, re.compile(VOC), offset, size)
    while offset + 4 <= end and (head := at(stream, offset, 4))[0]:  # 0: the end
        offset += 4 + int.from_bytes(head[1:], "little")
    return Layout((Part(start, end),), cut=offset > end), end


class Kind(NamedTuple):
    """A container."""

    starts: bytes  # how a file of it begins
    walk: Callable[[BinaryIO, int, int], Found] = whole  # the file that begins at an offset, and its end
    again: bytes = b""  # how the next file begins, of one whose header tells how long it is


# By ffmpeg's names. What is not here never gets to ffmpeg: among what it knows are playlists, which make it
# open other files.
CONTAINERS = {
    "wav": Kind(rb"(RIFF|RIFX|RF64|BW64)....WAVE", chunks.wav),
    "avi": Kind(rb"RIFF....AVI[ X]", _avi),
    "w64": Kind(rb"riff\x2e\x91\xcf\x11", chunks.wav),
    "aiff": Kind(rb"FORM....AIF[FC]", chunks.aiff),
    "caf": Kind(rb"caff\x00\x01", chunks.caf),
    "au": Kind(rb"\.snd|dns\.", chunks.au),
    "nistsphere": Kind(rb"NIST_1A", chunks.sphere),
    "flac": Kind(rb"fLaC", frames.flac),
    "ogg": Kind(rb"OggS", frames.ogg),
    "mov": Kind(rb"....(ftyp|moov|mdat|wide|free|skip|pnot|moof|styp)", _mov),
    "matroska": Kind(EBML, _matroska),
    "asf": Kind(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _asf),
    "amr": Kind(rb"#!AMR(-WB)?\n", frames.amr),
    "wv": Kind(rb"wvpk", again=rb"wvpk.{4}.\x04.{6}\x00{4}"),
    "ape": Kind(rb"MAC ", again=rb"MAC [\x64-\xa0]\x0f"),
    "tta": Kind(rb"TTA[12]", again=rb"TTA1[\x01\x02]\x00"),
    "tak": Kind(rb"tBaK"),
    "mpc": Kind(rb"MP\+"),
    "mpc8": Kind(rb"MPCK", again=rb"MPCKSH"),
    "shn": Kind(rb"ajkg"),
    "voc": Kind(VOC, _voc),
    "flv": Kind(rb"FLV\x01", again=rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09"),
    "rm": Kind(rb"\.RMF|\.ra\xfd", again=rb"\.RMF\x00\x00\x00\x12"),
    "mpeg": Kind(rb"\x00\x00\x01\xba"),
    "mpegts": Kind(rb"\x47.{187}\x47.{187}\x47"),
    "ac3": Kind(rb"\x0b\x77"),
    "aac": Kind(rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", frames.adts),
    "mp3": Kind(rb"\xff[\xe2-\xe7\xea-\xef\xf2-\xf7\xfa-\xff]", frames.mp3),
    "": Kind(b"", frames.mp3),  # frames may begin behind anything
}
