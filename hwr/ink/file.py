"""Files of pen strokes: JSON and JSON lines as in a manifest, InkML, IAM-OnDB's XML, and UNIPEN."""

import gzip
import io
import json
import zlib
from typing import Any
from xml.etree import ElementTree

import numpy as np

from carousel.common import markup
from carousel.common.data.manifest import as_points, parse_json
from carousel.common.errors import InputError
from carousel.common.files import Source, read_source, source_name
from carousel.hwr.ink.inkml import check_amount, read_inkml
from carousel.hwr.ink.unipen import parse_unipen as parse_unipen

LARGEST_FILE = 16 * 2**20  # bytes, unpacked; a page of ink has a tenth of that
ROOTS = ("ink", "WhiteboardCaptureSession")  # of InkML and of IAM-OnDB's XML
Ink = list[np.ndarray]  # strokes in the order of writing, each (points, 2) float64: x, y downwards


def read_ink(source: Source) -> Ink:
    """The strokes of a file that holds one sample of ink: arrays (points, 2) float64 of x and y, y downwards.

    What the file is, its first character says: JSON ({ or [), InkML or IAM-OnDB's XML (<), UNIPEN (.); gzip
    is undone.
    Raises InputError with one sentence for whatever cannot be read, and for a file of several samples.
    """
    inks = read_inks(source)
    if len(inks) > 1:
        raise InputError(
            f"{source_name(source)}: holds {len(inks)} samples; give one sample a file, or a manifest"
            " to `hwr evaluate`"
        )
    return inks[0]


def read_inks(source: Source) -> list[Ink]:
    """As `read_ink`, for a file of one or more samples; only JSON lines and lists of objects hold several."""
    data = read_source(source, LARGEST_FILE)
    try:
        inks = _parse(_unpacked(data))
        for ink in inks:
            check_amount(sum(map(len, ink)))
            if not ink:
                raise InputError("holds no pen stroke; export it again")
            if not all(np.isfinite(stroke).all() for stroke in ink):
                raise InputError("holds a coordinate that is not a finite number; repair the file")
    except InputError as error:
        raise InputError(f"{source_name(source)}: {error}") from None
    return inks


def _unpacked(data: bytes) -> bytes:
    """The contents of a file, at most LARGEST_FILE long, without gzip. Errors lack the file's name."""
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be unpacked ({error}); copy it again") from None
    if len(data) > LARGEST_FILE:
        raise InputError(f"is larger than {LARGEST_FILE >> 20} MB unpacked, too much for a sample; cut it up")
    if not data.strip():
        raise InputError("is empty; copy it again")
    return data


def _parse(data: bytes) -> list[Ink]:
    """Samples of the file's contents, by its first character. Messages of its errors lack the file's name."""
    head = data[:64].removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if b"\0" in head and head.replace(b"\0", b"").lstrip()[:1] in (b"{", b"[", b"."):
        raise InputError("is UTF-16, not UTF-8, and only XML may be that; save it as UTF-8")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start in (b"{", b"["):
        return [_strokes(record) for record in _records(_text(data))]
    if start in (b"<", b"\xff", b"\xfe"):  # the latter begin UTF-16
        return [_xml(data)]
    if start == b".":
        return [parse_unipen(_text(data))]
    raise InputError("is not ink; it must be JSON, InkML or UNIPEN")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # comments in UNIPEN files of the nineties


# JSON


def _records(text: str) -> list[Any]:
    """JSON values of the file: one a file, a list of objects, or one a line."""
    try:
        value = parse_json(text)
        return value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
    except InputError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not isinstance(error.__cause__, json.JSONDecodeError):
            raise InputError(f"is {error}") from None
    values = []
    for number, line in lines:
        try:
            values.append(parse_json(line))
        except InputError as error:
            raise InputError(f"is neither JSON nor JSON lines; line {number} is {error}") from None
    return values


def _strokes(record: Any) -> Ink:
    """Strokes of {"strokes": […]} or of the list itself: each x0, y0, x1, y1, … or a list of [x, y]."""
    rows = record.get("strokes") if isinstance(record, dict) else record
    if not isinstance(rows, list):
        raise InputError('has no "strokes", a list of strokes, each x0, y0, x1, y1, …; export it again')
    check_amount(len(rows))
    try:
        strokes = [as_points(row, np.float64) for row in rows]
    except (TypeError, ValueError, OverflowError):
        raise InputError("has a stroke that is not a flat list of numbers x0, y0, x1, y1, …") from None
    return [stroke for stroke in strokes if len(stroke)]


# XML


def _xml(data: bytes) -> Ink:
    """Strokes of InkML or of IAM-OnDB's XML."""
    root = markup.parse(data)
    kind = markup.tag(root)
    if kind not in ROOTS:
        raise InputError(f"is XML, but its root is {kind!r} where InkML has 'ink'")
    return read_inkml(root) if kind == "ink" else _whiteboard(root)


def is_ink_xml(head: bytes) -> bool:
    """Whether XML that begins so has the root element of InkML or of IAM-OnDB."""
    return markup.root_tag(head) in ROOTS


def _whiteboard(root: ElementTree.Element) -> Ink:
    """Strokes of a line of IAM-OnDB: StrokeSet/Stroke/Point with attributes x and y, y downwards."""
    try:
        strokes = [
            [(float(point.attrib["x"]), float(point.attrib["y"])) for point in stroke.iter("Point")]
            for stroke in root.iter("Stroke")
        ]
    except (KeyError, ValueError):
        raise InputError("has a Point without numbers x and y; export it again") from None
    return [np.array(stroke) for stroke in strokes if stroke]
