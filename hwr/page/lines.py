"""A page as the network takes it, a window a line; where in the page a text stands.

PageLines is the Prepared of common.domain. Its text has a line of text for each line of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.calibration import UNCALIBRATED
from carousel.common.decoding import Box, Hypothesis, Symbol
from carousel.common.decoding.align import Spelling, align
from carousel.common.decoding.hypothesis import best_sums
from carousel.common.domain import Transcript
from carousel.common.errors import InputError
from carousel.hwr.features import extract, size
from carousel.hwr.line import Line, SearchedLine, symbol_boxes, symbol_spans
from carousel.hwr.page.cut import strip_of
from carousel.hwr.page.layout import Line as Drawn
from carousel.hwr.page.layout import Page

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.ctc.spotting import Detection
    from carousel.common.model.file import Model

BREAK = "\n"  # between the lines of a text


@dataclass(frozen=True, slots=True)
class PageLines:
    """The lines of a page in reading order, cut and as the network takes them."""

    page: Page
    lines: tuple[Line, ...]  # of the page, each with its strip
    notes: tuple[str, ...] = ()
    fault: str = ""
    domain: str = "image"

    @property
    def windows(self) -> tuple[np.ndarray, ...]:
        return tuple(line.features for line in self.lines)

    @property
    def about(self) -> dict[str, Any]:
        """Also the width and height of the page in pixels, and its lines without their texts."""
        page = self.page
        lines = [
            {
                **({} if line.id is None else {"id": line.id}),
                "baseline": line.baseline.round(1).tolist(),
                "polygon": line.polygon.round(1).tolist(),
            }
            for line in page.lines
        ]
        about: dict[str, Any] = {
            "domain": self.domain,
            "image": None if page.image is None else str(page.image),
        }
        about |= {"width": page.width, "height": page.height, "angle": page.angle, "lines": lines}
        return {key: value for key, value in about.items() if value not in (None, 0.0)}

    @property
    def amount(self) -> float:
        return len(self.lines)

    def located(self, found: Sequence[Sequence[Hypothesis]], stride: int, nbest: int) -> list[Hypothesis]:
        """The score of a text is the sum over its lines."""
        read = [line.located([own], stride, nbest) for line, own in zip(self.lines, found, strict=True)]
        calibration = found[0][0].calibration if found else UNCALIBRATED
        return [
            Hypothesis(
                broken([own[pick].symbols for own, pick in zip(read, picks, strict=True)]), score, calibration
            )
            for score, picks in best_sums([[h.score for h in own] for own in read], nbest)
        ]

    def aligned(self, scores: Sequence[np.ndarray], spelling: Spelling, model: Model) -> Transcript:
        """The text may break its lines anywhere: what is aligned is all lines one after the other."""
        joined = Joined(scores, model)
        found = align(joined.log_probs, spelling)
        symbols: list[Symbol] = []
        spikes: list[tuple[int, int]] = []
        for number, line in enumerate(self.lines):
            if number:
                symbols.append(Symbol(BREAK, 0, 0, 1.0))
                spikes.append((joined.starts[number] - 1, joined.starts[number]))
            own = Hypothesis(
                tuple(s for s in found.symbols if joined.line(s.start) == number), 0.0
            ).stripped()
            local = [
                s._replace(start=joined.within(s.start)[1], end=joined.within(s.end - 1)[1] + 1) for s in own
            ]
            boxes = symbol_boxes(local, line, model.stride)
            symbols += [s._replace(box=box) for s, box in zip(own, boxes, strict=True)]
            spikes += [(int(s.start), int(s.end)) for s in own]
        whole = Hypothesis(tuple(symbols), found.score)
        return Transcript((whole,), self.about, tuple(spikes), len(joined.log_probs))

    def searched(self, scores: Sequence[np.ndarray], model: Model) -> SearchedPage:
        return SearchedPage(model, self, tuple(scores), Joined(scores, model))

    def draw(
        self, scores: np.ndarray, hypothesis: Hypothesis, model: Model, picture: Path, title: str
    ) -> None:
        raise InputError("is a page, and the network's activations are drawn for a single line")


class Joined:
    """The output frames of all lines, one line after the other.

    Between two lines stands a frame in which blank and space are certain: a line's end parts two words.
    log_probs: (frames, symbols); starts: of each line its first frame, as a frame of these.
    """

    def __init__(self, scores: Sequence[np.ndarray], model: Model) -> None:
        alphabet = model.alphabet
        pause = np.full((1, len(alphabet)), -np.inf, np.float32)
        pause[0, [0, *([] if alphabet.unknown(" ") else alphabet.encode(" "))]] = 0.0
        pieces = [piece for own in scores for piece in (pause, own)][1:]
        self.log_probs = np.concatenate([np.zeros((0, len(alphabet)), np.float32), *pieces])
        self.lengths = [len(own) for own in scores]
        self.starts = (np.cumsum([0, *self.lengths[:-1]]) + np.arange(len(scores))).tolist()

    def line(self, frame: float) -> int:
        """The line that a frame belongs to, that before it for a frame between two."""
        return int(np.searchsorted(self.starts, frame, side="right")) - 1

    def within(self, frame: float) -> tuple[int, int]:
        """The line of a frame, and which of the line's frames it is."""
        line = self.line(frame)
        return line, min(int(frame) - self.starts[line], max(self.lengths[line] - 1, 0))


@dataclass(frozen=True, slots=True)
class SearchedPage:
    """A page in which keywords are looked for."""

    model: Model
    prepared: PageLines
    scores: tuple[np.ndarray, ...]  # (output frames, symbols) of each line
    joined: Joined

    @property
    def log_probs(self) -> np.ndarray:
        return self.joined.log_probs

    def place(self, at: Detection) -> tuple[float, float, Box | None]:
        """As of a single line; a keyword that goes on in the next line has its first part."""
        line, start = self.joined.within(at.start)
        last = at.end - 1 if self.joined.line(at.end - 1) == line else self.joined.starts[line + 1] - 1
        own = SearchedLine(self.model, self.prepared.lines[line], self.scores[line])
        end = self.joined.within(last)[1] + 1
        first, after, box = own.place(replace(at, start=start, end=end))
        before = self.model.stride * self.joined.starts[line]
        return before + first, before + after, box

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        frames = self.model.stride * len(self.log_probs)
        return [*symbol_spans(align(self.log_probs, spelling).symbols, frames, self.model.stride)]


def broken(lines: Sequence[Sequence[Symbol]]) -> tuple[Symbol, ...]:
    """The symbols of all lines, with a break of the line between."""
    symbols: list[Symbol] = []
    for number, own in enumerate(lines):
        symbols += ([Symbol(BREAK, 0, 0, 1.0)] if number else []) + list(own)
    return tuple(symbols)


def prepare_page(
    grey: np.ndarray, page: Page, settings: dict[str, Any], notes: tuple[str, ...] = ()
) -> PageLines:
    """The lines of a page, cut out of its picture grey (rows, columns) uint8; those without ink are read as
    nothing. Raises InputError for a model of pen strokes, and for lines that are not in the picture."""
    return PageLines(
        page, tuple(prepare_line(grey, line, settings, blank=True) for line in page.lines), notes
    )


def prepare_line(grey: np.ndarray, line: Drawn, settings: dict[str, Any], blank: bool = False) -> Line:
    """A line of a page, cut out of its picture grey (rows, columns) uint8; its boxes are in the page.

    blank: a line without ink has no frames, in place of an InputError.
    """
    if settings["kind"] != "image":
        raise InputError("is a picture, and this model reads pen strokes; take a model for line images")
    picture, strip = strip_of(grey, line)
    try:
        features, places = extract(picture, settings)
    except InputError:
        if not blank:
            raise
        features, places = np.zeros((0, size(settings)), np.float32), np.zeros((0, 2), np.float32)
    return Line(features, places, height=len(picture), strip=strip)
