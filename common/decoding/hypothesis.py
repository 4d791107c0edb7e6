"""What a decoder finds: a text, the frames of each of its symbols and words, and how sure they are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from carousel.common.calibration import UNCALIBRATED, Calibration
from carousel.common.text.alphabet import Alphabet


class Symbol(NamedTuple):
    """One symbol: output frames [start, end), and a confidence in 0 … 1, its highest posterior there,
    calibrated if the hypothesis is."""

    text: str
    start: int
    end: int
    confidence: float


class Word(NamedTuple):
    """Symbols between spaces: output frames [start, end) and a confidence (common.calibration)."""

    text: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text with the frames of each symbol. score: natural log; what it sums up is the decoder's to say.
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
        """The same text and frames with calibrated confidences; `self` must not be calibrated."""
        if calibration == UNCALIBRATED:
            return self
        symbols = (s._replace(confidence=calibration.symbols(s.confidence)) for s in self.symbols)
        return replace(self, symbols=tuple(symbols), calibration=calibration)

    def stripped(self) -> tuple[Symbol, ...]:
        """The symbols without spaces at the ends."""
        inked = [index for index, symbol in enumerate(self.symbols) if not symbol.text.isspace()]
        return self.symbols[inked[0] : inked[-1] + 1] if inked else ()

    def words(self) -> list[Word]:
        """The words of the text, which are those of text.split()."""
        words: list[Word] = []
        current: list[Symbol] = []
        for symbol in self.symbols:
            if not symbol.text.isspace():
                current.append(symbol)
            elif current:
                words.append(self._word(current))
                current = []
        return [*words, self._word(current)] if current else words

    def _word(self, symbols: list[Symbol]) -> Word:
        confidence = self.calibration.word(symbol.confidence for symbol in symbols)
        text = "".join(symbol.text for symbol in symbols)
        return Word(text, symbols[0].start, symbols[-1].end, confidence)


Span = tuple[int, int, float]  # start, end, confidence


def timed_symbols(alphabet: Alphabet, indices: Iterable[int], spans: Iterable[Span]) -> tuple[Symbol, ...]:
    """Symbols from their indices in the alphabet and their (start, end, confidence)."""
    texts = alphabet.symbols
    return tuple([Symbol(texts[index - 1], *span) for index, span in zip(indices, spans, strict=True)])
