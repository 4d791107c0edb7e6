"""What handwriting is read from: files of pictures, of one page or several, and of pen strokes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input
from carousel.common.cli.streams import standard_input

IMAGES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif"),
)
INK = (".json", ".jsonl", ".inkml", ".dat", ".unp", ".unipen")
# Of JSON, XML, UNIPEN, UTF-16 and gzip, as hwr.ink.file reads them; no picture that Pillow reads starts so.
INK_STARTS = (b"{", b"[", b"<", b".", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b")


def split_pages(inputs: Iterable[Input], failures: Failures) -> Iterator[Input]:
    """The inputs, each page of a file of several as one of its own; what cannot be opened goes to failures.

    Each is to be read, by `read_source`, before the next is asked for.
    """
    for item in inputs:
        try:
            ink, source = _open(item.path)
            if ink:
                yield replace(item, load=lambda source=source: ("ink", _read_ink(source)))  # type: ignore[misc]
                continue
            from carousel.hwr.image.file import read_pages

            for number, read in read_pages(source):
                yield replace(item, page=number, load=lambda read=read: ("image", read()))  # type: ignore[misc]
        except Exception as error:
            failures.add(item.name, error)


def read_source(item: Input) -> tuple[str, Any]:
    """("image", grey picture) or ("ink", strokes) of an input that holds one."""
    if item.load is not None:
        return item.load()
    ink, source = _open(item.path)
    if ink:
        return "ink", _read_ink(source)
    from carousel.hwr.image.file import read_image

    return "image", read_image(source)


def _read_ink(source: Path | io.BytesIO) -> Any:
    from carousel.hwr.ink.file import read_ink

    return read_ink(source)


def _open(path: Path | None) -> tuple[bool, Path | io.BytesIO]:
    """Whether a file, or standard input (None), holds ink, and where to read it from."""
    if path is None:
        source = standard_input()
        return _starts_as_ink(source.getvalue()[:64]), source
    if path.is_fifo():  # which can be read once only
        source = io.BytesIO(path.read_bytes())
        source.name = str(path)  # for messages
        return _starts_as_ink(source.getvalue()[:64]), source
    suffix = path.suffix.lower()
    return suffix in INK or (suffix not in IMAGES and _starts_as_ink(_head(path))), path


def _starts_as_ink(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(INK_STARTS)


def is_ink_xml(path: Path) -> bool:
    """Whether a file of a folder is ink that ends in .xml, as IAM-OnDB's does; much else ends so, too."""
    if path.suffix.lower() != ".xml":
        return False
    from carousel.hwr.ink import file as ink

    return ink.is_ink_xml(_head(path, 1 << 16))


def _head(path: Path, size: int = 64) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""  # read_image says what is wrong with it
