"""Forced alignment of a known text: from the network's output to words and symbols with their extent.

A CTC network marks a symbol by a spike of a frame or two somewhere in it, not by where it begins and ends
(Graves 2006, section 3). Segments are made of the spikes of the best path (common.ctc.forced_align) by one
rule: inside a word a symbol lasts until the next one's spike begins. A word ends with the spike of its last
symbol and begins with that of its first, each stretched half-way through the blanks up to its neighbour
(the spike of the space, or of the next word where no space is written), by at most `reach` frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.alphabet import Alphabet, name_symbols, normalise
from common.ctc import Span, forced_align
from common.errors import InputError


@dataclass(frozen=True, slots=True)
class Segment:
    """A symbol or a word: output frames [start, end), which may be fractions, and a confidence in 0 … 1.

    spike: the whole frames [first, last) in which the best path is at it.
    """

    text: str
    start: float
    end: float
    confidence: float
    spike: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Word(Segment):
    """A word of the text, as sure as its least sure symbol."""

    symbols: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The words of text.split() in their order. score: ln of the best path's probability over the frames."""

    words: tuple[Word, ...]
    score: float
    frames: int


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text in the symbols of an alphabet: of each word its characters, each with its indices (none if
    skipped)."""

    words: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]
    space: tuple[int, ...]  # between words; empty where the alphabet has no space

    @property
    def target(self) -> list[int]:
        found: list[int] = []
        for word in self.words:
            letters = [index for _, indices in word for index in indices]
            found += [*(self.space if found and letters else ()), *letters]
        return found


def spell(text: str, alphabet: Alphabet, skip_unknown: bool = False) -> Spelling:
    """The text as a target. A letter that the alphabet has in the other case only is aligned as that one.

    skip_unknown: characters that cannot be written stay in the text and take no time; without it they are an
    InputError that names them, as is a text in which nothing can be written.
    """

    def indices(character: str) -> tuple[int, ...]:
        for form in (character, character.upper(), character.lower()):
            if form and not alphabet.unknown(form):
                return tuple(alphabet.encode(form))
        return ()

    words = tuple(tuple((c, indices(c)) for c in word) for word in normalise(text).split())
    unknown = {c for word in words for c, found in word if not found}
    if unknown and not skip_unknown:
        raise InputError(f"the model cannot write {name_symbols(unknown)} of the text {_short(text)!r}")
    if not any(found for word in words for _, found in word):
        raise InputError(f"there is nothing in the text {_short(text)!r} that the model can write")
    space = () if alphabet.unknown(" ") else tuple(alphabet.encode(" "))
    return Spelling(words, space)


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


def align(log_probs: np.ndarray, spelling: Spelling, reach: float = np.inf) -> Alignment:
    """Words and symbols of a text in log_probs (frames, symbols), natural log.

    reach: frames by which a word may be longer than its spikes at each end. A word of which no character can
    be written has no place and is left out. Raises InputError where the text does not fit.
    """
    spans = forced_align(log_probs, spelling.target)
    words: list[list[tuple[str, Span]]] = []
    gaps: list[Span | None] = []  # the spike of the space after each word
    rest = iter(spans)
    score = path_score(log_probs, spelling.target, spans)
    for word in spelling.words:
        if not any(indices for _, indices in word):
            continue
        if words:
            gaps.append(next(rest) if spelling.space else None)
        words.append(_characters(word, rest))
    starts, ends = _edges(words, [*gaps, None], len(log_probs), reach)
    found = (_word(word, start, end) for word, start, end in zip(words, starts, ends, strict=True))
    return Alignment(tuple(found), score, len(log_probs))


def path_score(log_probs: np.ndarray, target: Sequence[int], spans: Sequence[Span]) -> float:
    """ln of the probability of the path that is at target[i] in spans[i] and blank elsewhere."""
    path = np.zeros(len(log_probs), dtype=np.intp)
    for index, span in zip(target, spans, strict=True):
        path[span.start : span.end] = index
    return float(log_probs[np.arange(len(path)), path].astype(np.float64).sum())


def _characters(word: Sequence[tuple[str, tuple[int, ...]]], spans: object) -> list[tuple[str, Span]]:
    """Characters with their spikes; what was skipped joins the one before it, or the first one."""
    found: list[tuple[str, Span]] = []
    before = ""
    for character, indices in word:
        own = [next(spans) for _ in indices]  # type: ignore[call-overload]
        if own:
            span = Span(own[0].start, own[-1].end, min(s.confidence for s in own))
            found.append((before + character, span))
            before = ""
        elif found:
            found[-1] = (found[-1][0] + character, found[-1][1])
        else:
            before += character
    return found


def _edges(
    words: Sequence[list[tuple[str, Span]]], gaps: Sequence[Span | None], frames: int, reach: float
) -> tuple[list[float], list[float]]:
    """Starts and ends of words in frames."""
    starts, ends = [], []
    left: float = 0.0  # how far back the next word may begin
    for i, word in enumerate(words):
        first, last = word[0][1], word[-1][1]
        starts.append(max(left, first.start - reach))
        following = words[i + 1][0][1] if i + 1 < len(words) else None
        gap = gaps[i]
        if following is None:
            right, left = float(frames), float(frames)
        elif gap is not None:
            right, left = (last.end + gap.start) / 2, (gap.end + following.start) / 2
        else:
            right = left = (last.end + following.start) / 2
        ends.append(min(right, last.end + reach))
    return starts, ends


def _word(characters: Sequence[tuple[str, Span]], start: float, end: float) -> Word:
    edges = [start, *(span.start for _, span in characters[1:]), end]
    symbols = tuple(
        Segment(text, edges[i], edges[i + 1], span.confidence, (span.start, span.end))
        for i, (text, span) in enumerate(characters)
    )
    return Word(
        text="".join(symbol.text for symbol in symbols),
        start=start,
        end=end,
        confidence=min(symbol.confidence for symbol in symbols),
        spike=(symbols[0].spike[0], symbols[-1].spike[1]),
        symbols=symbols,
    )
