"""From line images and pen strokes to texts: network and decoder, then places in the input's coordinates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from carousel.common.cli.align import Task
from carousel.common.cli.inputs import Input
from carousel.common.decoding.reading import Reading
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.decoding import Hypothesis, Symbol
    from carousel.common.decoding.rescoring import Rescorer
    from carousel.common.model.file import Model

Own = TypeVar("Own", bound=tuple)  # a model, and what goes with it
Result = TypeVar("Result")

Box = tuple[float, float, float, float]  # left, top, right, bottom: x to the right, y downwards


@dataclass(frozen=True, slots=True)
class Placed:
    """A symbol or a word, its box in the input's coordinates and a confidence in 0 … 1.

    The recogniser tells where a symbol fires, not where its ink ends: a box reaches half-way to the
    neighbours, and in a line image it is as high as the picture. None where ink was drawn for a model of
    images, since places are lost then.
    """

    text: str
    box: Box | None
    confidence: float

    @classmethod
    def around(cls, items: Sequence[Placed], text: str, confidence: float) -> Placed:
        return cls(text, _around([item.box for item in items]), confidence)


@dataclass(frozen=True, slots=True)
class Line:
    """What was read: readings, best first, at least one (perhaps empty), by a model of images or of ink."""

    readings: tuple[Reading[Placed], ...]
    domain: str

    @property
    def best(self) -> Reading[Placed]:
        return self.readings[0]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A line as the network takes it."""

    features: np.ndarray  # (frames, size)
    places: np.ndarray | None  # (frames, 2): x, y of each frame in the input's coordinates
    height: int | None  # of the picture; None for strokes

    def box(self, start: int, end: int) -> Box | None:
        """Around the frames [start, end), in a picture all its height; None where places are not known."""
        if self.places is None:
            return None
        x, y = self.places[start:end].T
        top, bottom = (y.min(), y.max()) if self.height is None else (0, self.height)
        return float(x.min()), float(top), float(x.max()), float(bottom)

    def output_places(self, stride: int) -> np.ndarray:
        """(output frames, 2): the place in the middle of each output frame (`stride` frames)."""
        if self.places is None:
            raise ValueError("ink drawn for a model of images has no places")
        frames = len(self.places)
        return self.places[np.minimum(np.arange(0, frames, stride) + stride // 2, frames - 1)]


def prepare(source: np.ndarray | Sequence[np.ndarray], settings: dict[str, Any]) -> Prepared:
    """Features of a grey picture (rows, columns) uint8 or of strokes, (points, 2) each.

    Strokes for a model of images are drawn first. Raises InputError for a picture given to a model of
    strokes, for one without ink, and for a page of several lines.
    """
    from carousel.hwr import features

    if isinstance(source, np.ndarray):
        if settings["kind"] != "image":
            raise InputError("is a picture, and this model reads pen strokes; take a model for line images")
        from carousel.hwr.image.page import is_page

        if is_page(source):  # before features are, which may find no ink in a page with black edges
            raise InputError(
                "this looks like a page of several lines, and one line is read at a time; "
                "cut it into lines, one picture each"
            )
        return Prepared(*features.extract(source, settings), height=len(source))
    if settings["kind"] == "ink":
        return Prepared(*features.extract(source, settings), height=None)
    from carousel.hwr.ink.render import render

    drawn = render(list(source), height=settings.get("height", 48))
    return Prepared(features.extract(drawn, settings)[0], places=None, height=None)


def read_task(
    task: Task,
    read_source: Callable[[Input], tuple[str, Any]],
    models: Callable[[str], Model],
) -> tuple[Model, Prepared]:
    """The line of an input or of a sample, with the model for it.

    read_source: ("image", picture) or ("ink", strokes) of an input; models: the
    model for "image" or "ink".
    """
    if task.sample is not None and task.sample.audio is not None:
        raise InputError('has neither "image" nor "strokes", so it cannot be read as handwriting')
    strokes = task.sample.strokes if task.sample else None
    domain, source = ("ink", strokes) if strokes is not None else read_source(task.item)
    model = models(domain)
    return model, prepare(source, model.features)


def by_model(items: Sequence[Own], work: Callable[[Model, list[Own]], Sequence[Result]]) -> list[Result]:
    """The results of items in their order, those of one model worked together; the model stands first."""
    found: dict[int, Result] = {}
    for model in {id(item[0]): item[0] for item in items}.values():
        mine = [i for i, item in enumerate(items) if item[0] is model]
        found.update(zip(mine, work(model, [items[i] for i in mine]), strict=True))
    return [found[i] for i in range(len(items))]


def recognise(
    model: Model,
    lines: Sequence[Prepared],
    batch_frames: int,
    rescorer: Rescorer | None = None,
    sessions: Sequence[Hashable] | None = None,
    **decoding: Any,
) -> list[Line]:
    """The lines' texts, in their order.

    batch_frames: feature frames that go through the network at once; rescorer, sessions: a second pass, and
    what each line belongs to; decoding: decoder, beam, nbest and further options of common.decoding.decode,
    over the defaults of the model.
    """
    from carousel.common.recogniser import recognise as hypotheses

    features = [line.features for line in lines]
    found = hypotheses(model, features, batch_frames, rescorer, sessions, **decoding)
    return [line_of(line, nbest, model) for line, nbest in zip(lines, found, strict=True)]


def line_of(line: Prepared, nbest: Sequence[Hypothesis], model: Model) -> Line:
    """What the hypotheses about a line say, with boxes; of those with one text the first."""
    readings: dict[str, Reading[Placed]] = {}
    for hypothesis in nbest:
        symbols = hypothesis.stripped()
        boxes = symbol_boxes(symbols, line, model.stride)
        placed = tuple(Placed(s.text, box, s.confidence) for s, box in zip(symbols, boxes, strict=True))
        reading = Reading(placed, hypothesis.score, hypothesis.calibration)
        readings.setdefault(reading.text, reading)  # two hypotheses may differ in spaces at the ends only
    return Line(tuple(readings.values()), model.domain)


def symbol_boxes(symbols: Sequence[Symbol], line: Prepared, stride: int) -> list[Box | None]:
    """The box of each symbol, around its frames as of symbol_spans. stride: frames to an output frame."""
    return [line.box(*span) for span in symbol_spans(symbols, len(line.features), stride)]


def symbol_spans(symbols: Sequence[Symbol], frames: int, stride: int) -> list[tuple[int, int]]:
    """The frames [start, end) of each symbol, at least one: from half-way after the one before to half-way
    before the next. The first starts where the line does, the last ends where it does."""
    middles = [stride * (a.end + b.start) // 2 for a, b in pairwise(symbols)]
    spans = []
    for start, end in zip([0, *middles], [*middles, frames], strict=False):
        first = min(start, frames - 1)
        spans.append((first, max(end, first + 1)))
    return spans[: len(symbols)]


def _around(boxes: Sequence[Box | None]) -> Box | None:
    """The smallest box that holds all."""
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    left, top, right, bottom = zip(*known, strict=True)
    return min(left), min(top), max(right), max(bottom)
