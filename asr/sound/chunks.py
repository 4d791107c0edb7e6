"""Files of chunks (wav, RF64, W64, AIFF, CAF) and of a header and samples (AU, NIST sphere).

Programs that write to a pipe cannot go back to fill in the sizes, and others fill them in wrongly. All that
is there is taken, behind a header of our own that says how much that is.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from carousel.asr.sound.layout import SLACK, Found, Layout, Part, at, find, whole

NEARLY = 1 << 24  # bytes: a size so close to 2 or 4 GiB is not meant
LARGEST = (1 << 32) - (1 << 16)  # bytes: what the size fields of 32 bits can tell
PLAIN = (1, 3, 6, 7, 0xFFFE)  # formats of wav whose samples all have one width
AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes of a sample, by encoding
AIFC_WIDTHS = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}
AIFC_PLAIN = (b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32")
# Chunks that stand behind samples even where a file is cut in them.
COMMON = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"JUNK", b"PAD ", b"cue ", b"smpl", b"ANNO", b"COMT")
# How a file begins, in so many bytes that samples do not look like it; one by one they are found faster.
MAGICS = (
    *(b"RIFF....WAVE", b"RF64....WAVE", b"RIFX....WAVE", b"FORM....AIF", rb"riff\x2e\x91\xcf\x11"),
    *(rb"caff\x00\x01\x00\x00", rb"\.snd\x00\x00\x00", rb"NIST_1A\n"),
)
FILES = tuple(re.compile(magic, re.DOTALL) for magic in MAGICS)


class Form(NamedTuple):
    """How a file of chunks looks."""

    first: int  # bytes before the first chunk
    header: str  # of a chunk, name and size, as of struct
    data: bytes = b"data"  # the chunk of the samples
    pad: int = 2  # bytes that a chunk's length is a multiple of
    inclusive: bool = False  # the size counts the header

    @property
    def bits(self) -> int:
        return 64 if self.header[-1] in "qQ" else 32


RIFF, RIFX = Form(12, "<4sI"), Form(12, ">4sI")
W64, AIFF, CAF = Form(40, "<16sQ", pad=8, inclusive=True), RIFX._replace(data=b"SSND"), Form(8, ">4sq", pad=1)


class Region(NamedTuple):
    """Where a file starts, where its samples do, their length by the header, and where all ends (bytes)."""

    start: int
    offset: int
    length: int  # 0: unknown
    size: int


Chunks = Mapping[bytes, bytes]  # the first four bytes of a name -> the beginning of the content


def walk(stream: BinaryIO, offset: int, end: int, form: Form) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its content begins, its size) of one chunk after the other."""
    width = struct.calcsize(form.header)
    while offset + width <= end:
        name, length = struct.unpack(form.header, at(stream, offset, width))
        length -= width if form.inclusive else 0
        yield name, offset + width, length
        offset += width + max(length, 0)
        if length % form.pad and not _is_name(at(stream, offset, 4)):  # some leave the padding out
            offset += -length % form.pad


def _open(stream: BinaryIO, start: int, size: int, form: Form) -> tuple[Region, Chunks] | None:
    """The samples of a file and the chunks before them; None if it has none."""
    chunks: dict[bytes, bytes] = {}
    for name, offset, length in walk(stream, start + form.first, size, form):
        if name[:4] == form.data:
            known = form.bits == 32 or not unknown(length, form.bits)
            return Region(start, offset, length if known else 0, size), chunks
        chunks[name[:4]] = at(stream, offset, min(length, 1 << 12))
    return None


def wav(stream: BinaryIO, start: int, size: int) -> Found:
    """The layout of the file that begins at `start`, and where the next one does (`size`: nowhere)."""
    magic = at(stream, start, 4)
    form = {b"RIFX": RIFX, b"riff": W64}.get(magic, RIFF)
    if (opened := _open(stream, start, size, form)) is None:
        return whole(stream, start, size)
    region, chunks = opened
    if magic in (b"RF64", b"BW64") and region.length == 0xFFFFFFFF:
        length = struct.unpack_from("<Q", chunks[b"ds64"], 8)[0]
        region = region._replace(length=0 if unknown(length, 64) else length)
    order, described, fact = form.header[0], chunks[b"fmt "], chunks.get(b"fact")
    coding, _, rate, _, block = struct.unpack_from(order + "HHIIH", described)
    count = struct.unpack(order + "I", fact[:4])[0] if fact else 0
    if coding in PLAIN:
        width = float(rate * block)
    else:  # by the number of samples: encoders leave the bytes a second at what they would be uncompressed
        width = region.length * rate / count if count and not unknown(count) else 0.0
    layout, after = _region(stream, region, form, width)
    length = layout.parts[0].end - region.offset
    if length > LARGEST:  # libsndfile finds its way in RF64 and W64
        return layout, after
    described = struct.pack(order + "4sI", b"fmt ", len(described)) + described + b"\0" * (len(described) % 2)
    if fact and region.length == length:  # it counts the samples
        described += struct.pack(order + "4sI", b"fact", 4) + fact[:4]
    head = struct.pack(order + "4sI", b"RIFX" if order == ">" else b"RIFF", 12 + len(described) + length)
    head += b"WAVE" + described + struct.pack(order + "4sI", b"data", length)
    return _behind(head, region, layout), after


def aiff(stream: BinaryIO, start: int, size: int) -> Found:
    if (opened := _open(stream, start, size, AIFF)) is None:
        return whole(stream, start, size)
    region, described = opened[0], opened[1].get(b"COMM", b"")
    kind = at(stream, start + 8, 4)
    channels, _, bits = struct.unpack_from(">HIH", described)
    coding = described[18:22] if kind == b"AIFC" else b"NONE"
    width = channels * (-(-bits // 8) if coding in AIFC_PLAIN else AIFC_WIDTHS.get(coding, 0))
    before = 8 + struct.unpack(">I", at(stream, region.offset, 4))[0]  # bytes of the chunk that are not sound
    length = region.length if unknown(region.length) else region.length - before
    region = region._replace(offset=region.offset + before, length=length)
    layout, after = _region(stream, region, AIFF, width * _extended(described[8:18]))
    if not width:
        return replace(layout, parts=(Part(start, after),)), after
    count = (layout.parts[0].end - region.offset) // width
    described = described[:2] + struct.pack(">I", count) + described[6:]
    body = kind + struct.pack(">4sI", b"COMM", len(described)) + described + b"\0" * (len(described) % 2)
    body += struct.pack(">4sIII", b"SSND", 8 + count * width, 0, 0)
    return _behind(struct.pack(">4sI", b"FORM", len(body) + count * width) + body, region, layout), after


def _extended(number: bytes) -> float:
    """An IEEE 754 number of 80 bits, which must be one of a rate in Hz."""
    exponent, mantissa = struct.unpack(">HQ", number)
    return float(mantissa * 2.0 ** (exponent - 16383 - 63)) if exponent < 16383 + 64 else 0.0


def caf(stream: BinaryIO, start: int, size: int) -> Found:
    if (opened := _open(stream, start, size, CAF)) is None:
        return whole(stream, start, size)
    region, described = opened[0], opened[1].get(b"desc", b"")[:32]
    rate, _, _, packet, count = struct.unpack_from(">d4sIII", described)
    region = region._replace(offset=region.offset + 4, length=region.length and region.length - 4)
    layout, after = _region(stream, region, CAF, rate * packet / count if count else 0)
    if not packet:  # packets of any length, which a table behind them tells
        return replace(layout, parts=(Part(start, after),)), after
    head = b"caff\x00\x01\0\0" + struct.pack(">4sq", b"desc", len(described)) + described
    head += struct.pack(">4sqI", b"data", 4 + layout.parts[0].end - region.offset, 0)
    return _behind(head, region, layout), after


def au(stream: BinaryIO, start: int, size: int) -> Found:
    order = ">" if at(stream, start, 1) == b"." else "<"
    magic, header, length, coding, rate, channels = struct.unpack(order + "4s5I", at(stream, start, 24))
    region = Region(start, start + header, length, size)
    layout, after = _region(stream, region, None, rate * channels * AU_WIDTHS.get(coding, 0))
    there = min(layout.parts[0].end - region.offset, LARGEST)
    head = struct.pack(order + "4s5I", magic, 24, there, coding, rate, channels)
    return _behind(head, region, layout), after


def sphere(stream: BinaryIO, start: int, size: int) -> Found:
    head = at(stream, start, 4096)
    numbers = {key: int(value) for key, value in re.findall(rb"(\w+) -i (\d+)", head)}
    begins = re.match(rb"NIST_1A\s+(\d+)", head)
    if not begins:
        return whole(stream, start, size)
    width = numbers.get(b"sample_n_bytes", 2) * numbers.get(b"channel_count", 1)
    region = Region(start, start + int(begins[1]), numbers.get(b"sample_count", 0) * width, size)
    return _region(stream, region, None, numbers.get(b"sample_rate", 0) * width)


def _behind(head: bytes, region: Region, layout: Layout) -> Layout:
    return replace(layout, parts=(Part(region.offset, layout.parts[0].end, head),))


def _region(stream: BinaryIO, region: Region, form: Form | None, rate: float) -> Found:
    """As `wav`, of samples at `rate` bytes a second (0: unknown); the one part ends where they do.

    What follows them is more chunks (form: how they look), another file, or sound that the header missed.
    """
    start, offset, length, size = region
    there, end = size - offset, offset + length
    after = None if length > there else _after(stream, end, size, form)
    if unknown(length) and (length or after is None):
        end = min(find(stream, magic, offset, size) for magic in FILES)
        return whole(stream, start, end)
    seconds = length / rate if rate else None
    if length > there:
        missing = (length - there) / rate > SLACK if rate else length - there > length / 100
        return Layout((Part(start, size),), seconds, missing), size
    if after is None and rate and (size - end) / rate > SLACK:
        note = f"its header promises {length / rate:.2f} s, and {there / rate:.2f} s are there; all are read"
        return Layout((Part(start, size),), note=note), size
    return Layout((Part(start, end),), seconds), size if after is None else after


def _after(stream: BinaryIO, offset: int, size: int, form: Form | None) -> int | None:
    """Where the next file begins behind samples that end at `offset`, or `size`; None if it is neither.

    Between them there may be chunks, the last of them perhaps cut.
    """
    for at_once in (offset, offset + 1):
        if at_once == size or _begins(stream, at_once):
            return at_once
    if form is None:
        return None
    offset += not _is_name(at(stream, offset, 4))  # padding
    for name, begins, length in walk(stream, offset, size, form):
        if not _is_name(name[:4]) or length < 0:
            return None
        end = begins + length
        for following in (end, end + -length % form.pad):
            if _begins(stream, following):
                return following
        if end + form.pad >= size:
            return size if end <= size + form.pad or name[:4] in COMMON else None
    return None


def _begins(stream: BinaryIO, offset: int) -> bool:
    head = at(stream, offset, 12)
    return any(magic.match(head) for magic in FILES)


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def unknown(length: int, bits: int = 32) -> bool:
    """Whether a size says that nobody knows it: 0, or about the largest number that the field holds."""
    return length <= 0 or any(abs(length - (1 << full)) <= NEARLY for full in (bits - 1, bits))
