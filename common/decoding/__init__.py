"""Decoding: from CTC log-probabilities to texts, each symbol with its place and confidence.

One algorithm a file, and each file has a function decode(log_probs, alphabet, *, …) -> list[Hypothesis], and
perhaps a decode_batch that is faster for several; the functions here check what was asked and hand over.
Frames are output frames of the network; the caller turns them into seconds or pixels by one constant.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from carousel.common.calibration import UNCALIBRATED, Calibration
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet

DECODERS = {  # name -> its module; imported when first used: pyctcdecode may be missing and is slow to load
    "greedy": "carousel.common.decoding.greedy",
    "beam": "carousel.common.decoding.beam",
    "pyctcdecode": "carousel.common.decoding.with_pyctcdecode",
}

ROUNDING = 1.0  # natural log by which a log-probability may be above 0, as of quantised networks
SHARES = 4  # of a batch for each thread, as some are done sooner


Box = tuple[float, float, float, float]  # left, top, right, bottom: x to the right, y downwards


class Symbol(NamedTuple):
    """One symbol, or a word of them, from start to end: output frames, or seconds once they are known.

    confidence: in 0 … 1; of a symbol its highest posterior there, calibrated if the hypothesis is, of a word
    as of common.calibration. box: in the coordinates of a picture or of ink, where it is known.
    """

    text: str
    start: float
    end: float
    confidence: float
    box: Box | None = None


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
        return Symbol(text, symbols[0].start, symbols[-1].end, confidence, box)


def decode(
    log_probs: np.ndarray,
    alphabet: Alphabet,
    decoder: str = "greedy",
    beam: int | None = None,
    nbest: int = 1,
    **options: Any,
) -> list[Hypothesis]:
    """The best texts of an utterance or line, best first: at least one, at most nbest.

    log_probs: (frames, symbols) natural log, column 0 the blank. beam: hypotheses kept (None: the decoder's
    default). options: further options of that decoder; None stands for its default. No frames give one empty
    hypothesis. Raises InputError for a decoder that does not exist, an option that it does not have or
    log_probs with NaN.
    """
    return find(decoder)(log_probs, alphabet, **_asked(decoder, beam, nbest, options))


def decode_batch(
    log_probs: Sequence[np.ndarray],
    alphabet: Alphabet,
    threads: int | None = None,
    decoder: str = "greedy",
    beam: int | None = None,
    nbest: int = 1,
    **options: Any,
) -> list[list[Hypothesis]]:
    """`decode` of several utterances or lines, in their order, on several threads at once.

    threads: None for as many as there are cores; options and errors: as of decode. The compiled search of
    decoder beam runs in parallel; other decoders hold Python's lock, so they take one thread.
    """
    asked = _asked(decoder, beam, nbest, options)
    together = getattr(_module(decoder), "decode_batch", None)
    if together is None:
        return [find(decoder)(scores, alphabet, **asked) for scores in log_probs]
    threads = min(threads or os.cpu_count() or 1, len(log_probs))
    if threads <= 1:
        return together(log_probs, alphabet, **asked)
    size = -(-len(log_probs) // (threads * SHARES))
    parts = [log_probs[first : first + size] for first in range(0, len(log_probs), size)]
    with ThreadPoolExecutor(threads) as pool:
        return [found for part in pool.map(lambda p: together(p, alphabet, **asked), parts) for found in part]


def _asked(decoder: str, beam: int | None, nbest: int, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not left to the decoder's defaults. Raises InputError for one that it has not."""
    known = options_of(decoder)
    asked = {name: value for name, value in {"beam": beam, **options}.items() if value is not None}
    if nbest != 1:  # greedy has one answer, so asking it for one is no mistake
        asked["nbest"] = nbest
    if unusable := asked.keys() - known.keys():
        have = ", ".join(sorted(known)) or "none"
        raise InputError(
            f"decoder {decoder} has no option {', '.join(sorted(unusable))}; its options: {have}"
        )
    return asked


def find(decoder: str) -> Callable[..., list[Hypothesis]]:
    """The decode function of a decoder by its name, or InputError."""
    function: Callable[..., list[Hypothesis]] = _module(decoder).decode
    return function


@functools.cache
def _module(decoder: str) -> ModuleType:
    if decoder not in DECODERS:
        raise InputError(f"no decoder {decoder!r}; there are: {', '.join(sorted(DECODERS))}")
    return importlib.import_module(DECODERS[decoder])


@functools.cache
def options_of(decoder: str) -> dict[str, Any]:
    """The options of a decoder with their defaults; not to be changed."""
    module = _module(decoder)
    parameters = inspect.signature(getattr(module, "decode_batch", module.decode)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check(log_probs: np.ndarray, alphabet: Alphabet) -> None:
    """Raises InputError unless log_probs is (frames, len(alphabet)), the highest of each finite and ≤ 0."""
    check_shape(log_probs, alphabet)
    check_values(log_probs)


def check_shape(log_probs: np.ndarray, alphabet: Alphabet) -> None:
    """Raises InputError unless log_probs is (frames, len(alphabet))."""
    if log_probs.ndim != 2 or log_probs.shape[1] != len(alphabet):
        raise InputError(
            f"log-probabilities of shape {log_probs.shape} do not fit an alphabet of {len(alphabet)} with "
            "the blank: the model and the alphabet are not of one piece"
        )


def check_values(log_probs: np.ndarray) -> None:
    """Raises InputError unless the highest value of each frame is finite and at most 0."""
    best = log_probs.max(axis=1) if len(log_probs) else np.zeros(1)  # max hands NaN on
    bad = ~(np.isfinite(best) & (best <= ROUNDING))
    if bad.any():
        frame = int(bad.argmax())
        what = "NaN" if np.isnan(best[frame]) else f"{best[frame]} as the highest value"
        raise InputError(f"log-probabilities have {what} in frame {frame}: the model or its input is broken")


def check_search(beam: int, nbest: int, symbol_threshold: float, score_threshold: float) -> None:
    """Raises InputError for settings of a beam search that make no sense."""
    for name, value in (("beam", beam), ("nbest", nbest)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    if nbest > beam:
        raise InputError(f"nbest {nbest} needs a beam of at least {nbest}, and it is {beam}")
    if not symbol_threshold <= 0:  # written so that NaN does not pass either
        raise InputError(f"symbol_threshold is a log-probability, at most 0, not {symbol_threshold!r}")
    if not score_threshold > 0:
        raise InputError(f"score_threshold is a distance in natural logs, above 0, not {score_threshold!r}")


Place = tuple[int, int, float]  # start, end, confidence


def place(alphabet: Alphabet, indices: Iterable[int], places: Iterable[Place]) -> tuple[Symbol, ...]:
    """Symbols from their indices in the alphabet and their (start, end, confidence)."""
    texts = alphabet.symbols
    return tuple([Symbol(texts[index - 1], *where) for index, where in zip(indices, places, strict=True)])
