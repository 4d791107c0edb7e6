"""What a decoder finds: a text, the frames of each of its symbols and words, and how sure they are."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from carousel.common.calibration import UNCALIBRATED, Calibration
from carousel.common.text.alphabet import Alphabet

Box = tuple[float, float, float, float]  # left, top, right, bottom: x to the right, y downwards


class Symbol(NamedTuple):
    """One symbol, or a word of them, from start to end: output frames, or seconds once they are known.

    confidence: in 0 … 1; of a symbol its highest posterior there, calibrated if the hypothesis is, of a word
    as of common.calibration. box: in the coordinates of a picture or of ink, where it is known. channel: its
    name, where the channels of a recording were read apart.
    """

    text: str
    start: float
    end: float
    confidence: float
    box: Box | None = None
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text with the place of each symbol. score: natural log; what it sums up is the decoder's to say.
    calibration: what the symbols' confidences have gone through, and those of words and text go through."""

    symbols: tuple[Symbol, ...]
    score: float
    calibration: Calibration = UNCALIBRATED

    @property
    def text(self) -> str:
        return "".join([symbol.text for symbol in self.symbols])

    @property
    def confidence(self) -> float | None:
        """The chance that the whole text is right (common.calibration); None where nothing was read."""
        inked = [symbol.confidence for symbol in self.symbols if not symbol.text.isspace()]
        return self.calibration.text(inked) if inked else None

    def calibrated(self, calibration: Calibration) -> "Hypothesis":
        """The same text and places with calibrated confidences; `self` must not be calibrated."""
        if calibration == UNCALIBRATED:
            return self
        symbols = (s._replace(confidence=calibration.symbols(s.confidence)) for s in self.symbols)
        return replace(self, symbols=tuple(symbols), calibration=calibration)

    def stripped(self) -> tuple[Symbol, ...]:
        """The symbols without spaces at the ends."""
        inked = [place for place, symbol in enumerate(self.symbols) if not symbol.text.isspace()]
        return self.symbols[inked[0] : inked[-1] + 1] if inked else ()

    def words(self) -> list[Symbol]:
        """The words of the text, which are those of text.split()."""
        words: list[Symbol] = []
        current: list[Symbol] = []
        for symbol in self.symbols:
            if not symbol.text.isspace():
                current.append(symbol)
            elif current:
                words.append(self._word(current))
                current = []
        return [*words, self._word(current)] if current else words

    def _word(self, symbols: list[Symbol]) -> Symbol:
        confidence = self.calibration.word(symbol.confidence for symbol in symbols)
        text = "".join(symbol.text for symbol in symbols)
        boxes = [symbol.box for symbol in symbols if symbol.box]
        box = None
        if boxes:
            left, top, right, bottom = zip(*boxes, strict=True)
            box = (min(left), min(top), max(right), max(bottom))
        return Symbol(text, symbols[0].start, symbols[-1].end, confidence, box, symbols[0].channel)


Span = tuple[int, int, float]  # start, end, confidence


def timed_symbols(alphabet: Alphabet, indices: Iterable[int], spans: Iterable[Span]) -> tuple[Symbol, ...]:
    """Symbols from their indices in the alphabet and their (start, end, confidence)."""
    texts = alphabet.symbols
    return tuple([Symbol(texts[index - 1], *span) for index, span in zip(indices, spans, strict=True)])


def best_sums(scores: Sequence[Sequence[float]], count: int) -> list[tuple[float, tuple[int, ...]]]:
    """The `count` best ways to pick one score of each row: (sum, picks), best first."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for row in scores:
        sums = ((total + score, (*picks, i)) for total, picks in best for i, score in enumerate(row))
        best = heapq.nlargest(count, sums, key=lambda item: item[0])
    return best
