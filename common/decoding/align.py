"""Forced alignment of a text as people write it: its spelling in a model's alphabet, then the best path.

The result is a hypothesis like a decoder's, so that all that takes these takes alignments, too: its text is
the user's, with one space between words, and each symbol is where it fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, groupby

import numpy as np

from carousel.common.ctc.loss import Span, forced_align
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet, name_symbols, normalise

QUOTED = 60  # characters of a text that a message shows


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text in the symbols of an alphabet.

    pieces: one or several characters of the text each, with the indices that write them (none for a space
    where the alphabet has no space); unknown: characters that were passed over and stand in no index.
    """

    pieces: tuple[tuple[str, tuple[int, ...]], ...]
    unknown: frozenset[str] = frozenset()

    @property
    def target(self) -> list[int]:
        return [index for _, indices in self.pieces for index in indices]


def spell(text: str, alphabet: Alphabet, skip_unknown: bool = False, advice: str = "") -> Spelling:
    """The text as a target; a letter that the alphabet has only in the other case is written as that one.

    skip_unknown: characters that the alphabet cannot write take no time: they join the character before them
    in their word, or the one after, and a word of nothing else is left out. Without it they are an InputError
    that names them, with advice on what else to do; so is a text of which nothing can be written.
    """
    pieces: list[tuple[str, tuple[int, ...]]] = []
    unknown: set[str] = set()
    space = () if alphabet.unknown(" ") else tuple(alphabet.encode(" "))
    for word in normalise(text).split():
        letters = [(piece, _indices(piece, alphabet)) for piece in _pieces(word, alphabet)]
        unknown.update(character for character, indices in letters if not indices)
        if any(indices for _, indices in letters):
            pieces += [*([(" ", space)] if pieces else []), *_joined(letters)]
    if unknown and not skip_unknown:
        raise InputError(
            f"the model cannot write {name_symbols(unknown)} of the text {_short(text)!r}; "
            f"spell it otherwise{advice}"
        )
    if not pieces:
        raise InputError(f"the text {_short(text)!r} has nothing in it that the model can write")
    return Spelling(tuple(pieces), frozenset(unknown))


def _pieces(word: str, alphabet: Alphabet) -> list[str]:
    """The word split as the alphabet writes it, in the case in which it lacks the fewest characters."""
    splits = [alphabet.split(form) for form in (word, word.upper(), word.lower()) if len(form) == len(word)]
    pieces = min(splits, key=lambda pieces: sum(bool(alphabet.unknown(piece)) for piece in pieces))
    ends = list(accumulate(map(len, pieces)))
    return [word[end - len(piece) : end] for piece, end in zip(pieces, ends, strict=True)]


def _indices(character: str, alphabet: Alphabet) -> tuple[int, ...]:
    for form in (character, character.upper(), character.lower()):
        if not alphabet.unknown(form):
            return tuple(alphabet.encode(form))
    return ()


def _joined(letters: list[tuple[str, tuple[int, ...]]]) -> list[tuple[str, tuple[int, ...]]]:
    """Characters without an index go with the one before; the first ones with the one after."""
    found: list[tuple[str, tuple[int, ...]]] = []
    before = ""
    for character, indices in letters:
        if indices:
            found.append((before + character, indices))
            before = ""
        elif found:
            found[-1] = (found[-1][0] + character, found[-1][1])
        else:
            before += character
    return found


def _short(text: str) -> str:
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


def align(log_probs: np.ndarray, spelling: Spelling) -> Hypothesis:
    """Where each piece of a spelling fires in log_probs (frames, symbols), natural log.

    The score is that of the best path alone. A space that the alphabet does not have takes the frames between
    its neighbours, with confidence 1. Raises InputError where the text does not fit.
    """
    target = spelling.target
    spans = forced_align(log_probs, target)
    score = path_score(log_probs, target, spans)
    rest = iter(spans)
    own = [[next(rest) for _ in indices] for _, indices in spelling.pieces]
    symbols = []
    for i, (text, _) in enumerate(spelling.pieces):
        if own[i]:
            confidence = min(span.confidence for span in own[i])
            symbols.append(Symbol(text, own[i][0].start, own[i][-1].end, confidence))
        else:
            symbols.append(Symbol(text, own[i - 1][-1].end, own[i + 1][0].start, 1.0))
    return Hypothesis(tuple(symbols), score)


def path_score(log_probs: np.ndarray, target: list[int], spans: list[Span]) -> float:
    """ln of the probability of the path that is at target[i] in spans[i] and in the blank elsewhere."""
    path = np.zeros(len(log_probs), dtype=np.intp)
    for index, span in zip(target, spans, strict=True):
        path[span.start : span.end] = index
    return float(log_probs[np.arange(len(path)), path].sum(dtype=np.float64))


def words(symbols: tuple[Symbol, ...]) -> list[tuple[Symbol, ...]]:
    """The symbols of each word."""
    return [tuple(run) for space, run in groupby(symbols, lambda s: s.text.isspace()) if not space]
