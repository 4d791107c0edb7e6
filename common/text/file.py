"""Text files as people have them: UTF-8 with or without a byte order mark, perhaps packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# by how a file begins
PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError)  # what reading one may raise


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A text file, unpacked by what it holds and not by its name. Opening and reading raise UNREADABLE."""
    with open(path, "rb") as file:
        start = file.peek(6)
        unpack = next((opener for magic, opener in PACKED.items() if start.startswith(magic)), None)
        with (
            unpack(file, "rb") if unpack else file as data,
            io.TextIOWrapper(data, encoding="utf-8-sig") as text,
        ):
            yield text
