"""Files of pen strokes: JSON and JSON lines as in a manifest, InkML, IAM-OnDB's XML, and UNIPEN."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np

from common.corpus import as_points, parse_json
from common.errors import InputError

LARGEST_FILE = 64 * 2**20  # bytes, unpacked; a page of ink has a hundredth of that
ROOTS = ("ink", "WhiteboardCaptureSession")  # of InkML and of IAM-OnDB's XML
Ink = list[np.ndarray]  # strokes in the order of writing, each (points, 2) float64: x, y downwards

_TOKEN = re.compile(r"""[!'"]?\s*(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[*?TF]|#[0-9A-Fa-f]+)""")


def read_ink(source: str | Path | BinaryIO) -> Ink:
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


def read_inks(source: str | Path | BinaryIO) -> list[Ink]:
    """As `read_ink`, for a file of one or more samples; only JSON lines and lists of objects hold several."""
    return _read(source)[1]


def _read(source: str | Path | BinaryIO) -> tuple[str, list[Ink]]:
    name, data = _bytes(source)
    try:
        inks = _parse(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    for ink in inks:
        if not ink:
            raise InputError(f"{name}: holds no pen stroke; export it again")
        if not all(np.isfinite(stroke).all() for stroke in ink):
            raise InputError(f"{name}: holds a coordinate that is not a finite number; repair the file")
    return name, inks


def _bytes(source: str | Path | BinaryIO) -> tuple[str, bytes]:
    """Name for messages and contents, at most LARGEST_FILE long after unpacking."""
    name = str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "standard input"))
    try:
        if isinstance(source, str | Path):
            with open(source, "rb") as file:
                data = file.read(LARGEST_FILE + 1)
        else:
            data = source.read(LARGEST_FILE + 1)
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None)
        hint = "correct the path" if reason else "copy it again"
        raise InputError(f"{name}: cannot be read ({reason or error}); {hint}") from None
    if len(data) > LARGEST_FILE:
        raise InputError(
            f"{name}: is larger than {LARGEST_FILE >> 20} MB, too much for one sample of ink: cut it up"
        )
    if not data.strip():
        raise InputError(f"{name}: the file is empty; export or copy it again")
    return name, data


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
    if b"<!DOCTYPE" in (plain := data.replace(b"\0", b"").upper()) or b"<!ENTITY" in plain:
        raise InputError("has a document type declaration, which is not read for safety; remove it")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"is not well-formed XML ({error})") from None
    kind = _tag(root)
    if kind not in ROOTS:
        raise InputError(f"is XML, but its root is {kind!r} where InkML has 'ink'")
    return _inkml(root) if kind == "ink" else _whiteboard(root)


def is_ink_xml(head: bytes) -> bool:
    """Whether XML that begins so has the root element of InkML or of IAM-OnDB."""
    parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(["start"])
    try:
        parser.feed(head)
        root = next((event[-1] for event in parser.read_events()), None)
    except (ElementTree.ParseError, ValueError, LookupError):
        return False
    return isinstance(root, ElementTree.Element) and _tag(root) in ROOTS


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


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


def _inkml(root: ElementTree.Element) -> Ink:
    """Traces of InkML (W3C Recommendation, 2011): X and Y of each trace, other channels ignored, pen-up left
    out."""
    by_id = {value: element for element in root.iter() for key, value in element.attrib.items() if _id(key)}
    strokes: dict[str, np.ndarray] = {}
    for index, (trace, context) in enumerate(_traces(root)):
        if trace.get("type") == "penUp":
            continue
        channels = _channels(context, root, by_id)
        points = _trace(trace.text or "", channels)
        name = next((value for key, value in trace.attrib.items() if _id(key)), f" {index}")
        prior = trace.get("priorRef", "").removeprefix("#")
        if trace.get("continuation") in ("middle", "end") and prior in strokes:
            points = np.concatenate([strokes.pop(prior), points])
        if len(points):
            strokes[name] = points
    return list(strokes.values())


def _traces(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str]]:
    """Traces in the order of the file, each with the id of its context, its own or its nearest group's."""
    waiting = [(root, "")]
    while waiting:
        element, context = waiting.pop()
        context = element.get("contextRef", "").removeprefix("#") or context
        if _tag(element) == "trace":
            yield element, context
        waiting += [(child, context) for child in reversed(element)]


def _id(attribute: str) -> bool:
    return attribute.rpartition("}")[2] == "id"


def _channels(
    reference: str, root: ElementTree.Element, by_id: dict[str, ElementTree.Element]
) -> list[tuple[str, float]]:
    """Name and sign (−1 where the orientation is reversed) of each regular channel in the context of that id;
    X, Y by default."""
    wanted = root
    for _ in range(4):  # context → inkSource → traceFormat, or by way of another context
        if reference not in by_id:
            break
        wanted = element = by_id[reference]
        if any(_tag(e) == "traceFormat" for e in element.iter()):
            break
        reference = next(
            (
                element.get(key, "").removeprefix("#")
                for key in ("traceFormatRef", "inkSourceRef", "contextRef")
                if element.get(key)
            ),
            "",
        )
    found = next((e for top in (wanted, root) for e in top.iter() if _tag(e) == "traceFormat"), None)
    if found is None:
        return [("X", 1.0), ("Y", 1.0)]
    channels = [e for e in found if _tag(e) == "channel"]
    return [(c.get("name", ""), -1.0 if c.get("orientation") == "-ve" else 1.0) for c in channels]


def _trace(text: str, channels: Sequence[tuple[str, float]]) -> np.ndarray:
    """Points (n, 2) of a trace: points between commas, their values explicit (!) or first (') or second (")
    differences."""
    names = [name for name, _ in channels]
    if "X" not in names or "Y" not in names:
        raise InputError("has a traceFormat without the channels X and Y")
    columns = [names.index("X"), names.index("Y")]
    values, speeds, modes = [0.0] * len(names), [0.0] * len(names), ["!"] * len(names)
    points = []
    for part in text.split(","):
        tokens = [token.strip() for token in _TOKEN.findall(part)]
        if not tokens and not part.strip():
            continue
        if len(tokens) <= max(columns):
            raise InputError(f"has a trace with the point {part.strip()[:40]!r}, which lacks X or Y")
        for column in columns:
            _step(tokens[column], column, values, speeds, modes)
        points.append([values[column] * channels[column][1] for column in columns])
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _step(token: str, column: int, values: list[float], speeds: list[float], modes: list[str]) -> None:
    """Takes one value of a trace into the state of its channel."""
    if token[0] in "!'\"":
        modes[column], token = token[0], token[1:].strip()
    if token in ("*", "?"):  # as before: the same value, or the same difference
        number = values[column] if modes[column] == "!" else speeds[column] if modes[column] == "'" else 0.0
    else:
        try:
            number = float(token)
        except ValueError:
            raise InputError(f"has a trace with {token!r} in place of a coordinate") from None
    if modes[column] == "!":
        speeds[column], values[column] = number - values[column], number
        return
    speeds[column] = number if modes[column] == "'" else speeds[column] + number
    values[column] += speeds[column]


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
