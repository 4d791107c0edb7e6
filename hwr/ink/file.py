"""Files of pen strokes: JSON and JSON lines as in a manifest, InkML, IAM-OnDB's XML, and UNIPEN."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from carousel.common.data.manifest import as_points, parse_json
from carousel.common.errors import InputError
from carousel.common.files import Source, read_source, source_name
from carousel.hwr.ink.inkml import check_amount, read_inkml, tag

LARGEST_FILE = 16 * 2**20  # bytes, unpacked; a page of ink has a tenth of that
ROOTS = ("ink", "WhiteboardCaptureSession")  # of InkML and of IAM-OnDB's XML
Ink = list[np.ndarray]  # strokes in the order of writing, each (points, 2) float64: x, y downwards


def read_ink(source: Source) -> Ink:
    """The strokes of a file that holds one sample of ink: arrays (points, 2) float64 of x and y, y downwards.

    What the file is, its first character says: JSON ({ or [), InkML or IAM-OnDB's XML (<), UNIPEN (.); gzip
    is undone.
    Raises InputError with one sentence for whatever cannot be read, and for a file of several samples.
    """
    name, inks = _read(source)
    if len(inks) > 1:
        raise InputError(
            f"{name}: holds {len(inks)} samples; `hwr evaluate` reads manifests, here give one sample a file"
        )
    return inks[0]


def read_inks(source: Source) -> list[Ink]:
    """As `read_ink`, for a file of one or more samples; only JSON lines and lists of objects hold several."""
    return _read(source)[1]


def _read(source: Source) -> tuple[str, list[Ink]]:
    name, data = source_name(source), read_source(source, LARGEST_FILE)
    try:
        inks = _parse(_unpacked(data))
        for ink in inks:
            check_amount(sum(map(len, ink)))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    for ink in inks:
        if not ink:
            raise InputError(f"{name}: holds no pen stroke; export it again")
        if not all(np.isfinite(stroke).all() for stroke in ink):
            raise InputError(f"{name}: holds a coordinate that is not a finite number; repair the file")
    return name, inks


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
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if _wide(data):
        raise InputError("is not UTF-8 but UTF-16, which is read of XML only; save it as UTF-8")
    if start in (b"{", b"["):
        return [_strokes(record) for record in _records(_text(data))]
    if start in (b"<", b"\xff", b"\xfe"):  # the latter begin UTF-16
        return [_xml(data)]
    if start == b".":
        return [parse_unipen(_text(data))]
    raise InputError("is no ink: it must be JSON, InkML or UNIPEN")


def _wide(data: bytes) -> bool:
    """True for JSON and UNIPEN in UTF-16, with a byte order mark or without."""
    head = data[:64].removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return b"\0" in head and head.replace(b"\0", b"").lstrip()[:1] in (b"{", b"[", b".")


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
    except InputError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not isinstance(error.__cause__, json.JSONDecodeError):
            raise InputError(f"is {error}") from None
        return [_line(number, line) for number, line in lines]
    return value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]


def _line(number: int, line: str) -> Any:
    try:
        return parse_json(line)
    except InputError as error:
        raise InputError(f"is neither JSON nor JSON lines: line {number} ({error})") from None


def _strokes(record: Any) -> Ink:
    """Strokes of {"strokes": […]} or of the list itself: each flat, x0, y0, x1, y1, …, or a list of [x,
    y]."""
    rows = record.get("strokes") if isinstance(record, dict) else record
    if not isinstance(rows, list):
        raise InputError('has no "strokes": a list of strokes, each x0, y0, x1, y1, …')
    check_amount(len(rows))
    try:
        strokes = [as_points(row, np.float64) for row in rows]
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            '"strokes" must be a list of strokes, each a flat list of numbers x0, y0, x1, y1, …'
        ) from None
    return [stroke for stroke in strokes if len(stroke)]


# XML


def _xml(data: bytes) -> Ink:
    """Strokes of InkML or of IAM-OnDB's XML. A document type is refused: its entities might never end."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        root = ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"is not well-formed XML ({error})") from None
    kind = tag(root)
    if kind not in ROOTS:
        raise InputError(f"is XML, but its root is {kind!r} where InkML has 'ink'")
    return read_inkml(root) if kind == "ink" else _whiteboard(root)


def _refuse(*declaration: object) -> None:
    raise InputError("has a document type declaration, which is not read for safety; remove it")


def is_ink_xml(head: bytes) -> bool:
    """Whether XML that begins so has the root element of InkML or of IAM-OnDB."""
    parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(["start"])
    try:
        parser.feed(head)
        root = next((event[-1] for event in parser.read_events()), None)
    except (ElementTree.ParseError, ValueError, LookupError):
        return False
    return isinstance(root, ElementTree.Element) and tag(root) in ROOTS


def _whiteboard(root: ElementTree.Element) -> Ink:
    """Strokes of a line of IAM-OnDB: StrokeSet/Stroke/Point with attributes x and y, y downwards."""
    try:
        strokes = [
            np.array([(float(p.attrib["x"]), float(p.attrib["y"])) for p in stroke.iter("Point")]).reshape(
                -1, 2
            )
            for stroke in root.iter("Stroke")
        ]
    except (KeyError, ValueError):
        raise InputError("has a Point without numbers x and y") from None
    return [stroke for stroke in strokes if len(stroke)]


# UNIPEN


def parse_unipen(text: str) -> Ink:
    """Strokes of UNIPEN text (I. Guyon et al., "UNIPEN project of on-line data exchange and recognizer
    benchmarks", ICPR 1994): the points between .PEN_DOWN and the next statement, one a line. UNIPEN's y grows
    upwards, so it is negated.

    Raises InputError for a line that is no point.
    """
    strokes: list[list[tuple[float, float]]] = []
    x, y = 0, 1
    drawing = False
    for number, words in _unipen_lines(text):
        if words[0].startswith("."):
            if words[0] == ".COORD":
                x, y = _unipen_columns(words[1:], number)
            drawing = words[0] == ".PEN_DOWN" or (drawing and words[0] == ".DT")
            if words[0] == ".PEN_DOWN":
                strokes.append([])
        elif drawing:
            try:
                strokes[-1].append((float(words[x]), -float(words[y])))
            except (ValueError, IndexError):
                raise InputError(
                    f"line {number} is no point of a pen stroke: {' '.join(words)[:60]!r}"
                ) from None
    return [np.array(stroke) for stroke in strokes if stroke]


def _unipen_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that has any; a point on the line of .PEN_DOWN itself counts as the next
    line."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and words[0] == ".PEN_DOWN" and len(words) > 1:
            yield number, words[:1]
            words = words[1:]
        if words:
            yield number, words


def _unipen_columns(names: Sequence[str], number: int) -> tuple[int, int]:
    try:
        return names.index("X"), names.index("Y")
    except ValueError:
        raise InputError(f"line {number}: .COORD lacks X or Y") from None
