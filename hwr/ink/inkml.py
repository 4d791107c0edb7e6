"""InkML (W3C Recommendation, 2011): the traces that are shown, by the X and Y of their channels."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from carousel.common.errors import InputError

MOST_STEPS = 1_000_000  # elements of a file, each as often as a view refers to it
MOST_POINTS = 100_000  # of one sample; ten minutes of writing at 160 points a second
DRAWN = ("trace", "traceGroup", "traceView")
DEEPEST = 8  # from a context to its inkSource, to another context, and so on

# How the value is meant (!'"); then a number, the one before (*), unknown (?), a truth value or hexadecimal.
_TOKEN = re.compile(r"""[!'"]? ?(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[*?TF]|#[0-9A-Fa-f]+)""")


class Shown(NamedTuple):
    """A trace, what says how it was written, and its first and last point, counted from 1 (None: all)."""

    trace: Element
    context: Element | None
    first: int | None
    last: int | None


class Way(NamedTuple):
    """How the values of a trace become points: name and sign of each channel, and a matrix (2, 3) if any."""

    channels: list[tuple[str, float]]
    matrix: np.ndarray | None


@dataclass
class File:
    """The root element, the elements with an id, and what each context was found to say."""

    root: Element
    by_id: dict[str, Element]
    ways: dict[int, Way] = field(default_factory=dict)

    def referred(self, reference: str) -> Element:
        """Raises InputError where there is no such element."""
        try:
            return self.by_id[_name(reference)]
        except KeyError:
            raise InputError(f"refers to {reference[:40]!r}, which is not in it; export it again") from None


def read_inkml(root: Element) -> list[np.ndarray]:
    """Strokes (points, 2) of the root element, y downwards, without what the pen did in the air.

    Traces in <definitions> count where a traceView shows them. Raises InputError, without the file's name.
    """
    file = File(root, {name: element for element in root.iter() if (name := _id(element)) is not None})
    strokes: list[list[np.ndarray]] = []
    stroke_of: dict[str, list[np.ndarray]] = {}  # by the id of each of its traces
    total = 0
    for trace, context, first, last in _shown(file):
        if trace.get("type") == "penUp":
            continue
        points = _trace(trace.text or "", _way(context, file))[(first or 1) - 1 : last]
        total += len(points)
        check_amount(total)
        prior = stroke_of.get(_name(trace.get("priorRef", "")))
        if trace.get("continuation") not in ("middle", "end") or prior is None:
            strokes.append(prior := [])
        prior.append(points)
        stroke_of[_id(trace) or ""] = prior
    return [joined for parts in strokes if len(joined := np.concatenate(parts))]


def check_amount(points: int) -> None:
    """Raises InputError for more points than a sample has."""
    if points > MOST_POINTS:
        raise InputError(f"holds more than {MOST_POINTS:,} points, too much for a line of writing: cut it up")


def tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _id(element: Element) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == "id"), None)


def _name(reference: str) -> str:
    return reference.strip().removeprefix("#")


def _shown(file: File) -> Iterator[Shown]:
    """Traces in the order of the file, each once, with its own context, that of the nearest group, or the one
    that stands before it."""
    drawn = {id(element) for element in _outside_definitions(file.root) if tag(element) == "trace"}
    before: Element | None = None
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    waiting: list[tuple[Element, Element | None, tuple[int, ...], tuple[int, ...], bool]] = [
        (file.root, None, (), (), False)
    ]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        element, context, start, stop, viewed = waiting.pop()
        kind = tag(element)
        if kind == "definitions" or (id(element), start, stop) in seen:
            continue
        seen.add((id(element), start, stop))
        if kind == "context":
            before = element
        if reference := element.get("contextRef"):
            context = file.referred(reference)
        if kind == "trace":
            if not viewed or id(element) not in drawn:
                where = [at[0] if at else None for at in (start, stop)]
                yield Shown(element, before if context is None else context, *where)
        elif kind == "traceView" and (reference := element.get("traceDataRef")):
            start, stop = _indices(element, "from") or start, _indices(element, "to") or stop
            waiting.append((file.referred(reference), context, start, stop, True))
        else:
            inside = [(child, context, a, b, viewed) for child, a, b in _children(element, start, stop)]
            waiting += reversed(inside)
        if len(waiting) > MOST_STEPS:
            break
    raise InputError(f"has more than {MOST_STEPS:,} elements, too much for a line of writing: cut it up")


def _outside_definitions(root: Element) -> Iterator[Element]:
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if tag(element) != "definitions":
            yield element
            waiting += element


def _indices(view: Element, key: str) -> tuple[int, ...]:
    """Where a view begins or ends: number of the trace in a group, of the point in this, and so on."""
    text = view.get(key, "")
    try:
        return tuple(int(number) for number in text.split(":")) if text.strip() else ()
    except ValueError:
        raise InputError(f"has a traceView {key} {text[:40]!r}, which is no list of numbers") from None


def _children(
    element: Element, start: tuple[int, ...], stop: tuple[int, ...]
) -> Iterator[tuple[Element, tuple[int, ...], tuple[int, ...]]]:
    """What an element holds, from one place to another, each with the places in it."""
    if not start and not stop:
        yield from ((child, (), ()) for child in element)
        return
    parts = [child for child in element if tag(child) in DRAWN]
    first, last = start[0] if start else 1, stop[0] if stop else len(parts)
    for number, child in enumerate(parts[max(first, 1) - 1 : max(last, 0)], max(first, 1)):
        yield child, start[1:] if number == first else (), stop[1:] if number == last else ()


def _way(context: Element | None, file: File) -> Way:
    if id(context) not in file.ways:
        formats, transform = _of_context(context, "traceFormat", file), None
        if formats is None:  # the first of the file, wherever it stands
            formats = next((e for e in file.root.iter() if tag(e) == "traceFormat"), None)
        channels = [("X", 1.0), ("Y", 1.0)]
        if formats is not None:
            found = [e for e in formats if tag(e) == "channel"]
            channels = [(c.get("name", ""), -1.0 if c.get("orientation") == "-ve" else 1.0) for c in found]
        if (element := _of_context(context, "canvasTransform", file)) is not None:
            transform = _matrix(element, file)
        if transform is not None:  # it says the directions, too
            channels = [(name, 1.0) for name, _ in channels]
        file.ways[id(context)] = Way(channels, transform)
    return file.ways[id(context)]


def _of_context(context: Element | None, kind: str, file: File) -> Element | None:
    """The traceFormat or canvasTransform of a context, in it or where it refers to."""
    for _ in range(DEEPEST):
        if context is None or tag(context) == kind:
            return context
        for child in context:
            inside = [child, *child] if tag(child) == "inkSource" else [child]
            if (found := next((e for e in inside if tag(e) == kind), None)) is not None:
                return found
        own = [key for key in (f"{kind}Ref", "inkSourceRef", "contextRef") if context.get(key)]
        if kind == "canvasTransform":
            own = [key for key in own if key != "inkSourceRef"]
        context = file.referred(context.get(own[0], "")) if own else None
    return None


def _matrix(transform: Element, file: File) -> np.ndarray | None:
    """(2, 3) of an affine canvasTransform, from X, Y and 1 to x and y of the canvas; None where it changes
    nothing."""
    mapping = next((e for e in transform if tag(e) == "mapping"), None)
    if mapping is None:
        return None
    if reference := mapping.get("mappingRef"):
        mapping = file.referred(reference)
    kind = mapping.get("type", "unknown")
    if kind == "identity":
        return None
    if kind != "affine":
        raise InputError(
            f"has a canvasTransform of type {kind[:40]!r}; affine ones are read, so export without"
        )
    try:
        numbers = [float(word) for word in (mapping.text or "").replace(",", " ").split()]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
        return np.array(numbers).reshape(2, 3)
    except ValueError:
        raise InputError("has an affine mapping that is not two rows of three numbers; correct it") from None


def _trace(text: str, way: Way) -> np.ndarray:
    """Points (n, 2) of a trace: points between commas, their values explicit (!) or first (') or second (")
    differences."""
    names = [name for name, _ in way.channels]
    if "X" not in names or "Y" not in names:
        raise InputError("has a traceFormat without the channels X and Y")
    check_amount(text.count(","))
    columns = [names.index("X"), names.index("Y")]
    values, speeds, modes = [0.0] * len(names), [0.0] * len(names), ["!"] * len(names)
    points = []
    for part in text.split(","):
        part = " ".join(part.split())
        if not part:
            continue
        tokens = [token.strip() for token in _TOKEN.findall(part)]
        if len(tokens) <= max(columns):
            raise InputError(f"has a trace with the point {part[:40]!r}, which lacks X or Y")
        if _TOKEN.sub("", part).strip():
            raise InputError(f"has a trace with the point {part[:40]!r}, which is not numbers")
        for column in columns:
            _step(tokens[column], column, values, speeds, modes)
        points.append([values[column] * way.channels[column][1] for column in columns])
    found = np.array(points, dtype=np.float64).reshape(-1, 2)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told of all formats alike
        return found if way.matrix is None else found @ way.matrix[:, :2].T + way.matrix[:, 2]


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
