"""InkML (W3C Recommendation, 2011): the traces that are shown, by the X and Y of their channels."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from carousel.common.errors import InputError
from carousel.common.markup import tag

MOST_STEPS = 1_000_000  # elements of a file, each as often as a view refers to it
MOST_POINTS = 100_000  # of one sample; ten minutes of writing at 160 points a second
DRAWN = ("trace", "traceGroup", "traceView")
DEEPEST = 8  # from a context to its inkSource, to another context, and so on

# How the value is meant (!'"); then a number, the one before (*), unknown (?), a truth value or hexadecimal.
_TOKEN = re.compile(r"""[!'"]? ?(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[*?TF]|#[0-9A-Fa-f]+)""")

Range = tuple[int, ...]  # number, from 1, of the trace in a group, of the point in this …; (): no limit


class Shown(NamedTuple):
    """An element on the way to what is drawn."""

    element: Element
    context: Element | None = None  # what says how it was written
    start: Range = ()  # where the view of it begins
    stop: Range = ()  # where the view of it ends, inclusive
    viewed: bool = False  # by a traceView


class Way(NamedTuple):
    """How the values of a trace become points."""

    channels: list[tuple[str, float]]  # name and sign
    matrix: np.ndarray | None  # (2, 3)


class File:
    """The root element, the elements with an id, and what each context was found to say."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self.by_id = {name: element for element in root.iter() if (name := _id(element)) is not None}
        self.ways: dict[int, Way] = {}

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
    file = File(root)
    strokes: list[list[np.ndarray]] = []
    stroke_of: dict[str, list[np.ndarray]] = {}  # by the id of each of its traces
    total = 0
    for trace, context, start, stop, _ in _shown(file):
        if trace.get("type") == "penUp":
            continue
        first, last = start[0] if start else 1, stop[0] if stop else None
        points = _trace(trace.text or "", _way(context, file))[first - 1 : last]
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
        raise InputError(f"holds more than {MOST_POINTS:,} points, too much for a line of writing; cut it up")


def _id(element: Element) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == "id"), None)


def _name(reference: str) -> str:
    return reference.strip().removeprefix("#")


def _first(elements: Iterable[Element], kind: str) -> Element | None:
    return next((element for element in elements if tag(element) == kind), None)


def _shown(file: File) -> Iterator[Shown]:
    """Traces in the order of the file, each once, with its own context, that of the nearest group, or the one
    that stands before it."""
    drawn = {id(element) for element in _outside_definitions(file.root) if tag(element) == "trace"}
    before: Element | None = None
    seen: set[tuple[int, Range, Range]] = set()
    waiting = [Shown(file.root)]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        shown = waiting.pop()
        element, context, start, stop, viewed = shown
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
                yield shown._replace(context=before if context is None else context)
        elif kind == "traceView" and (reference := element.get("traceDataRef")):
            start, stop = _range(element, "from") or start, _range(element, "to") or stop
            waiting.append(Shown(file.referred(reference), context, start, stop, viewed=True))
        else:
            waiting += reversed([*_children(shown._replace(context=context))])
        if len(waiting) > MOST_STEPS:
            break
    raise InputError(f"has more than {MOST_STEPS:,} elements, too much for a line of writing; cut it up")


def _outside_definitions(root: Element) -> Iterator[Element]:
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if tag(element) != "definitions":
            yield element
            waiting += element


def _range(view: Element, key: str) -> Range:
    text = view.get(key, "")
    try:
        return tuple(int(number) for number in text.split(":")) if text.strip() else ()
    except ValueError:
        raise InputError(f"has a traceView {key} {text[:40]!r}, which is not a list of numbers") from None


def _children(parent: Shown) -> Iterator[Shown]:
    """What an element holds, from one place to another, each with the places in it."""
    element, context, start, stop, viewed = parent
    limited = bool(start or stop)
    parts = [child for child in element if not limited or tag(child) in DRAWN]
    first, last = max(start[0] if start else 1, 1), max(stop[0] if stop else len(parts), 0)
    for number, child in enumerate(parts[first - 1 : last], first):
        begin, end = start[1:] if number == first else (), stop[1:] if number == last else ()
        yield Shown(child, context, begin, end, viewed)


def _way(context: Element | None, file: File) -> Way:
    if id(context) not in file.ways:
        formats = _of_context(context, "traceFormat", file)
        if formats is None:  # the first of the file, wherever it stands
            formats = _first(file.root.iter(), "traceFormat")
        channels = [("X", 1.0), ("Y", 1.0)]
        if formats is not None:
            found = [e for e in formats if tag(e) == "channel"]
            channels = [(c.get("name", ""), -1.0 if c.get("orientation") == "-ve" else 1.0) for c in found]
        element = _of_context(context, "canvasTransform", file)
        transform = None if element is None else _matrix(element, file)
        if transform is not None:  # it says the directions, too
            channels = [(name, 1.0) for name, _ in channels]
        file.ways[id(context)] = Way(channels, transform)
    return file.ways[id(context)]


def _of_context(context: Element | None, kind: str, file: File) -> Element | None:
    """The traceFormat or canvasTransform of a context, in it or where it refers to."""
    references = [f"{kind}Ref", "inkSourceRef", "contextRef"]
    if kind == "canvasTransform":
        references.remove("inkSourceRef")
    for _ in range(DEEPEST):
        if context is None or tag(context) == kind:
            return context
        inside = [e for child in context for e in ([child, *child] if tag(child) == "inkSource" else [child])]
        if (found := _first(inside, kind)) is not None:
            return found
        own = [key for key in references if context.get(key)]
        context = file.referred(context.get(own[0], "")) if own else None
    return None


def _matrix(transform: Element, file: File) -> np.ndarray | None:
    """(2, 3) of an affine canvasTransform, from X, Y and 1 to x and y; None where it changes nothing."""
    mapping = _first(transform, "mapping")
    if mapping is None:
        return None
    if reference := mapping.get("mappingRef"):
        mapping = file.referred(reference)
    kind = mapping.get("type", "unknown")
    if kind == "identity":
        return None
    if kind != "affine":
        raise InputError(f"has a canvasTransform of type {kind[:40]!r}, not affine; export without it")
    try:
        numbers = [float(word) for word in (mapping.text or "").replace(",", " ").split()]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
        return np.array(numbers).reshape(2, 3)
    except ValueError:
        raise InputError("has an affine mapping that is not two rows of three numbers; correct it") from None


def _trace(text: str, way: Way) -> np.ndarray:
    """Points (n, 2) between commas, their values explicit (!) or first (') or second (") differences."""
    names = [name for name, _ in way.channels]
    if "X" not in names or "Y" not in names:
        raise InputError("has a traceFormat without the channels X and Y; export it again")
    check_amount(text.count(","))
    columns = [names.index("X"), names.index("Y")]
    x, y = Channel(), Channel()
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
        points.append([x.step(tokens[columns[0]]), y.step(tokens[columns[1]])])
    signs = [way.channels[column][1] for column in columns]
    found = np.array(points, dtype=np.float64).reshape(-1, 2) * signs
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told of all formats alike
        return found if way.matrix is None else found @ way.matrix[:, :2].T + way.matrix[:, 2]


@dataclass
class Channel:
    """The last value of a channel of a trace, the last difference, and how values are meant."""

    value: float = 0.0
    speed: float = 0.0
    mode: str = "!"

    def step(self, token: str) -> float:
        """The next value."""
        if token[0] in "!'\"":
            self.mode, token = token[0], token[1:].strip()
        before = {"!": self.value, "'": self.speed, '"': 0.0}[self.mode]
        try:
            number = before if token in ("*", "?") else float(token)  # as before: the value or the difference
        except ValueError:
            raise InputError(f"has a trace with {token!r} in place of a coordinate") from None
        if self.mode == "!":
            self.value, self.speed = number, number - self.value
        else:
            self.speed = number if self.mode == "'" else self.speed + number
            self.value += self.speed
        return self.value
