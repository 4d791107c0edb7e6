"""Finding words in what the network has read, as a model writes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from carousel.common.decoding import Symbol
from carousel.common.decoding.align import spell
from carousel.common.text.alphabet import BLANK

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.decoding.align import Spelling
    from carousel.common.domain import Searched
    from carousel.common.model.file import Model
    from carousel.common.text.alphabet import Alphabet

APART = -1  # stands for the space between two words where the alphabet has none


class Finder:
    """Finds words, each spelled as each model writes it."""

    def __init__(self, words: Sequence[str], inner: str, inside: bool) -> None:
        self.words, self.inner, self.inside = words, inner, inside
        self._of: dict[int, tuple[dict[str, Spelling], list[int]]] = {}

    def check(self, models: Sequence[Model]) -> None:
        """Raises InputError for words that one of the models cannot write."""
        for model in models:
            self._spelled(model)

    def _spelled(self, model: Model) -> tuple[dict[str, Spelling], list[int]]:
        """The words' spellings, and the symbols that part words."""
        if id(model) not in self._of:
            spellings = {word: spell(word, model.alphabet) for word in self.words}
            self._of[id(model)] = spellings, bounds(model.alphabet, self.inner)
        return self._of[id(model)]

    def __call__(self, searched: Searched, threshold: float) -> list[Symbol]:
        """Keywords of an input, in their order along it."""
        from carousel.common.ctc.spotting import spot as spot_word

        spellings, parting = self._spelled(searched.model)
        around = [] if self.inside or searched.model.alphabet.unknown(" ") else parting
        found = []
        for word, spelling in spellings.items():
            for at in spot_word(searched.log_probs, spelling.target, around, threshold):
                start, end, box = searched.place(at)
                found.append(Symbol(word, start, end, at.score, box))
        return sorted(found, key=lambda item: (item.start, item.end))

    def written(self, searched: Searched, text: str) -> list[Symbol]:
        """Where a known text has the keywords, by forced alignment; score 1."""
        spellings, parting = self._spelled(searched.model)
        spelling = spell(text, searched.model.alphabet, skip_unknown=True)
        reaches = searched.reaches(spelling)
        found = []
        for word, pattern in spellings.items():
            for first, last in occurrences(pattern, spelling, None if self.inside else {APART, *parting}):
                found.append(Symbol(word, reaches[first][0], reaches[last][1], 1.0))
        return found


def bounds(alphabet: Alphabet, inner: str) -> list[int]:
    """Indices of the symbols that part words: all but letters, their marks, digits and inner."""
    return [
        index
        for index, symbol in enumerate(alphabet.symbols, start=BLANK + 1)
        if not any(c.isalnum() or unicodedata.category(c)[0] == "M" or c in inner for c in symbol)
    ]


def occurrences(word: Spelling, text: Spelling, parting: Collection[int] | None) -> list[tuple[int, int]]:
    """First and last piece of each place where a text has a word.

    parting: what must stand before and after it, unless the text begins or ends there; None: anything may.
    """
    pattern = [index for index, _ in _flat(word)]
    flat = _flat(text)
    symbols = [index for index, _ in flat]
    found = []
    for i in range(len(symbols) - len(pattern) + 1):
        j = i + len(pattern)
        around = [*symbols[max(i - 1, 0) : i], *symbols[j : j + 1]]
        if symbols[i:j] == pattern and (parting is None or all(symbol in parting for symbol in around)):
            found.append((flat[i][1], flat[j - 1][1]))
    return found


def _flat(spelling: Spelling) -> list[tuple[int, int]]:
    """Each symbol of a text with the number of its piece."""
    return [
        (index, number)
        for number, (_, indices) in enumerate(spelling.pieces)
        for index in indices or (APART,)
    ]


def match(found: Sequence[Symbol], written: Sequence[Symbol]) -> list[tuple[Symbol, bool]]:
    """Each detection, best first, and whether it meets an occurrence of its word that no better one met."""
    free = list(written)
    result = []
    for item in sorted(found, key=lambda item: -item.confidence):
        met = [s for s in free if s.text == item.text and s.start < item.end and item.start < s.end]
        if met:
            free.remove(max(met, key=lambda s: min(s.end, item.end) - max(s.start, item.start)))
        result.append((item, bool(met)))
    return result
