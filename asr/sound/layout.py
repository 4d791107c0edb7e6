"""Which bytes of a sound file are sound, in parts that can be decoded each by itself."""

import io
import os
import re
from dataclasses import dataclass
from typing import BinaryIO

SLACK = 0.1  # s: less than that is no cut, but a size that is slightly off
BLOCK = 1 << 20  # bytes searched at a time


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes start … end of a file, with a header of our own in front if the file's is wrong."""

    start: int
    end: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file consists of."""

    parts: tuple[Part, ...]  # to be decoded one after the other
    promised: float | None = None  # seconds by the file's own headers; None: they do not say
    cut: bool = False  # bytes are missing
    slack: float = SLACK  # seconds by which decoding may fall short of `promised` without a loss
    note: str = ""  # what the user should know
    container: str = ""  # by ffmpeg's name; empty: unknown
    headed: bool = False  # its header tells how long it is, so ffmpeg's duration is not that of what is there


Found = tuple[Layout, int]  # of the file that begins at an offset, and where the next one does, or the end


def whole(stream: BinaryIO, start: int, end: int) -> Found:
    """A file of which nothing is known. As all that find a layout, it takes the file it is in."""
    return Layout((Part(start, end),)), end


class Spliced(io.RawIOBase):
    """A part as a file of its own."""

    def __init__(self, stream: BinaryIO, part: Part) -> None:
        self._stream, self._part, self._offset = stream, part, 0

    def seek(self, by: int, whence: int = os.SEEK_SET) -> int:
        size = len(self._part.head) + self._part.end - self._part.start
        self._offset = max(0, by + {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: size}[whence])
        return self._offset

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        head = self._part.head
        if self._offset < len(head):
            data = head[self._offset : self._offset + len(buffer)]
        else:
            offset = self._offset - len(head) + self._part.start
            data = at(self._stream, offset, max(0, min(len(buffer), self._part.end - offset)))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


def at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def find(stream: BinaryIO, pattern: re.Pattern[bytes], offset: int, end: int, longest: int = 64) -> int:
    """Where a pattern of at most `longest` bytes first matches at or after `offset`; `end` if nowhere."""
    while offset < end:
        block = at(stream, offset, min(BLOCK, end - offset))
        if match := pattern.search(block):
            return offset + match.start()
        offset += max(len(block) - longest, 1) if offset + len(block) < end else max(len(block), 1)
    return end


def joined(layouts: list[Layout]) -> Layout:
    """One file after the other, as `cat` makes them."""
    promised = [layout.promised for layout in layouts]
    return Layout(
        tuple(part for layout in layouts for part in layout.parts),
        None if None in promised else sum(seconds for seconds in promised if seconds is not None),
        any(layout.cut for layout in layouts),
        sum(layout.slack for layout in layouts),
        next((layout.note for layout in layouts if layout.note), ""),
        headed=all(layout.headed for layout in layouts),
    )
