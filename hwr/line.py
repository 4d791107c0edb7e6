"""A line of writing as the network takes it, and the boxes of its letters.

A Line is the Prepared of common.domain. Its boxes are in the coordinates of the input. The recogniser tells
where a symbol fires, not where its ink ends: a box reaches half-way to the neighbours, and in a line image it
is as high as the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.decoding import Box, Hypothesis, Symbol
from carousel.common.decoding.align import Spelling, align
from carousel.common.domain import Transcript
from carousel.common.errors import InputError
from carousel.hwr.features import extract, size
from carousel.hwr.reader import read

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.ctc.spotting import Detection
    from carousel.common.domain import Item, Reading
    from carousel.common.model.file import Model

__all__ = ["Line", "open", "prepare", "read", "size", "without_rests"]


def open(source: Any, domain: str) -> Iterator[Item]:
    """The pages of a picture file, or the ink of a file; a grey picture (rows, columns) uint8, or strokes."""

    def item(read: Callable[[], Any]) -> Callable[[dict[str, Any], Reading], Line]:
        return lambda settings, reading: prepare(read(), settings)

    if isinstance(source, np.ndarray | list | tuple):
        yield None, item(lambda: source)
    elif domain == "ink":
        from carousel.hwr.ink.file import read_ink

        yield None, item(partial(read_ink, source))
    else:
        from carousel.hwr.image.file import read_pages

        for page, read_page in read_pages(source):
            yield page, item(read_page)


def without_rests(array: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """The features as they are: writing has no rests."""
    return array


@dataclass(frozen=True, slots=True)
class Line:
    """Features of a line, and where in the input each frame is."""

    features: np.ndarray  # (frames, size)
    places: np.ndarray | None  # (frames, 2): x, y; None where ink was drawn for a model of images
    height: int | None = None  # of the picture; None for strokes
    domain: str = "image"  # of the model
    strokes: Sequence[np.ndarray] = ()  # (points, 2) each, where the model reads these
    notes: tuple[str, ...] = ()
    fault: str = ""

    @property
    def windows(self) -> tuple[np.ndarray]:
        return (self.features,)

    @property
    def about(self) -> dict[str, Any]:
        return {"domain": self.domain}

    @property
    def amount(self) -> float:
        return 1

    def box(self, start: int, end: int) -> Box | None:
        """Around the frames [start, end), in a picture all its height; None where places are not known."""
        if self.places is None:
            return None
        x, y = self.places[start:end].T
        top, bottom = (y.min(), y.max()) if self.height is None else (0, self.height)
        return float(x.min()), float(top), float(x.max()), float(bottom)

    def located(self, found: Sequence[Sequence[Hypothesis]], stride: int, nbest: int) -> list[Hypothesis]:
        readings: dict[str, Hypothesis] = {}
        for hypothesis in found[0]:
            symbols = hypothesis.stripped()
            boxes = symbol_boxes(symbols, self, stride)
            boxed = tuple(s._replace(box=box) for s, box in zip(symbols, boxes, strict=True))
            reading = replace(hypothesis, symbols=boxed)
            readings.setdefault(reading.text, reading)  # two hypotheses may differ in spaces at the ends only
        return list(readings.values())

    def aligned(self, scores: Sequence[np.ndarray], spelling: Spelling, model: Model) -> Transcript:
        found = align(scores[0], spelling)
        spikes = tuple((int(symbol.start), int(symbol.end)) for symbol in found.symbols)
        return Transcript(tuple(self.located([[found]], model.stride, 1)), self.about, spikes, len(scores[0]))

    def searched(self, scores: Sequence[np.ndarray], model: Model) -> SearchedLine:
        return SearchedLine(model, self, scores[0])

    def draw(
        self, scores: np.ndarray, hypothesis: Hypothesis, model: Model, picture: Path, title: str
    ) -> None:
        from carousel.common.plots import draw_activations, draw_ink

        if self.places is not None and self.height is None:
            frames = np.arange(0, len(self.places), model.stride) + model.stride // 2
            middles = self.places[np.minimum(frames, len(self.places) - 1)]  # of the output frames
            draw_ink(self.strokes, middles, scores, hypothesis, model.alphabet, picture, title=title)
        else:
            image = self.features.T  # (rows, columns), 0 paper … 1 ink
            draw_activations(
                image, scores, hypothesis, model.alphabet, picture, title=title, stride=model.stride
            )


@dataclass(frozen=True, slots=True)
class SearchedLine:
    """A line in which keywords are looked for."""

    model: Model
    prepared: Line
    log_probs: np.ndarray

    def place(self, at: Detection) -> tuple[float, float, Box | None]:
        """As of `hwr align`, between the symbols before it and after it that a greedy decoder reads."""
        read = np.flatnonzero(self.log_probs.argmax(axis=1))
        before, after = read[read < at.start][-1:].tolist(), read[read >= at.end][:1].tolist()
        symbols = [
            *(Symbol("", i, i + 1, 1.0) for i in before),
            Symbol("", at.start, at.end, at.score),
            *(Symbol("", i, i + 1, 1.0) for i in after),
        ]
        start, end = self._spans(symbols)[len(before)]
        return start, end, self.prepared.box(start, end)

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        return [*self._spans(align(self.log_probs, spelling).symbols)]

    def _spans(self, symbols: Sequence[Symbol]) -> list[tuple[int, int]]:
        return symbol_spans(symbols, len(self.prepared.features), self.model.stride)


def prepare(source: np.ndarray | Sequence[np.ndarray], settings: dict[str, Any]) -> Line:
    """Features of a grey picture (rows, columns) uint8 or of strokes, (points, 2) each.

    Strokes for a model of images are drawn first. Raises InputError for a picture given to a model of
    strokes, for one without ink, and for a page of several lines.
    """
    if isinstance(source, np.ndarray):
        if settings["kind"] != "image":
            raise InputError("is a picture, and this model reads pen strokes; take a model for line images")
        from carousel.hwr.image.page import is_page

        if is_page(source):  # before features are, which may find no ink in a page with black edges
            raise InputError(
                "this looks like a page of several lines, and one line is read at a time; "
                "cut it into lines, one picture each"
            )
        return Line(*extract(source, settings), height=len(source))
    if settings["kind"] == "ink":
        return Line(*extract(source, settings), domain="ink", strokes=source)
    from carousel.hwr.ink.render import render

    drawn = render(list(source), height=settings.get("height", 48))
    return Line(extract(drawn, settings)[0], places=None)


def symbol_boxes(symbols: Sequence[Symbol], line: Line, stride: int) -> list[Box | None]:
    """The box of each symbol, around its frames as of symbol_spans. stride: frames to an output frame."""
    return [line.box(*span) for span in symbol_spans(symbols, len(line.features), stride)]


def symbol_spans(symbols: Sequence[Symbol], frames: int, stride: int) -> list[tuple[int, int]]:
    """The frames [start, end) of each symbol, at least one: from half-way after the one before to half-way
    before the next. The first starts where the line does, the last ends where it does."""
    middles = [stride * int(a.end + b.start) // 2 for a, b in pairwise(symbols)]
    spans = []
    for start, end in zip([0, *middles], [*middles, frames], strict=False):
        first = min(start, frames - 1)
        spans.append((first, max(end, first + 1)))
    return spans[: len(symbols)]
