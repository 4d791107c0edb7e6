"""What a beam search knows beside the network's output, as the tables of common.decoding.gains."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.alphabet import Alphabet, name_symbols, normalise
from common.decoding import gains, ngram
from common.decoding.gains import BETWEEN, CHARACTERS, NOTHING, WORDS
from common.decoding.ngram import END_ID, SPACE, UNKNOWN_ID, NGrams
from common.decoding.tree import NONE
from common.errors import InputError

log = logging.getLogger(__name__)

UNKNOWN_COST = -10.0  # default of `unknown`: what pyctcdecode takes

File = Path | str


@dataclass(frozen=True)
class Knowledge:
    """Tables of the compiled part, and how texts begin and end."""

    tables: gains.Knowledge
    start: int = 0  # state of the language model
    end: int = NONE  # token that it reads at the end


class Places(NamedTuple):
    """The arrays spot_… of gains.Knowledge, which see."""

    first: np.ndarray
    symbol: np.ndarray
    next: np.ndarray
    word: np.ndarray
    cost: np.ndarray
    paid: np.ndarray
    after: np.ndarray
    end: np.ndarray


_INT, _FLOAT = np.zeros(1, np.int32), np.zeros(1)
_NO_PLACES = Places(_INT, _INT, _INT, _INT, _FLOAT, _FLOAT, _INT, _FLOAT)
_NO_HOTWORDS = np.zeros((1, 1), np.int32), np.zeros((1, 1)), _FLOAT
# one token of probability 1, so that a lexicon without a language model has something to read
_NO_MODEL = (np.array([0, 1], np.int32), _INT, np.zeros(1, np.float32), _INT, np.zeros(1, np.float32), _INT)


def know_nothing() -> Knowledge:
    return Knowledge(
        gains.Knowledge(
            NOTHING, False, False, 0.0, 0.0, 0.0, 0.0, NONE, _INT, *_NO_PLACES, *_NO_HOTWORDS, *_NO_MODEL
        )
    )


def know(
    alphabet: Alphabet,
    *,
    lm: NGrams | File | None = None,
    lm_weight: float | None = None,
    bonus: float | None = None,
    unknown: float | None = None,
    lexicon: File | None = None,
    unlisted: float | None = None,
) -> Knowledge:
    """The tables for an alphabet, of the options of common.decoding.beam.decode; those of files are kept for
    later. Raises InputError for files that cannot be used and for options that make no sense."""
    if unlisted is not None and lexicon is None:
        raise InputError("unlisted is what a word adds that a lexicon does not have: give a lexicon too")
    if lm is None and lexicon is None:
        return know_nothing()
    model = lm if isinstance(lm, NGrams) or lm is None else _load(Path(lm))
    if unknown is not None and (lexicon is not None or (model is not None and model.unit == "characters")):
        raise InputError("unknown goes with a language model over words and no lexicon: else there are none")
    advice = {"lm_weight": 0.5, "bonus": 0.0} | (model.advice if model else {})
    lm_weight = advice["lm_weight"] if lm_weight is None else lm_weight
    bonus = advice["bonus"] if bonus is None else bonus
    outside = -math.inf if lexicon is not None else UNKNOWN_COST
    for name, cost in (("unknown", unknown), ("unlisted", unlisted)):
        if cost is not None:
            check_number(name, cost, most=0.0)
            outside = float(cost)
    check_number("lm_weight", lm_weight, least=0.0)
    check_number("bonus", bonus)
    of_characters = model is not None and model.unit == "characters"
    spelled = lexicon is not None or not of_characters
    kept = None if model is None else _Same(model)
    places = _of_words(alphabet, None if of_characters else kept, lexicon, outside) if spelled else _NO_PLACES
    tables = gains.Knowledge(
        CHARACTERS if of_characters else WORDS,
        spelled,
        False,
        float(lm_weight) if model is not None else 0.0,
        float(bonus),
        outside,
        max(0.0, float(bonus)),
        NONE if alphabet.unknown(" ") else alphabet.encode(" ")[0],
        _tokens(alphabet, kept) if kept is not None and of_characters else _INT,
        *places,
        *_NO_HOTWORDS,
        *(_NO_MODEL if model is None else model.automaton()),
    )
    if model is None:
        return Knowledge(tables)
    end = END_ID if not model.running else (model.index().get(SPACE, NONE) if of_characters else NONE)
    return Knowledge(tables, model.start, end)


def check_number(name: str, value: float, least: float = -math.inf, most: float = math.inf) -> None:
    """Raises InputError unless an option is a finite number between least and most."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name} must be a number, not {value!r}")
    if not least <= value <= most:
        raise InputError(
            f"{name} must be at {f'least {least:g}' if value < least else f'most {most:g}'}, not {value}"
        )


class _Same:
    """A model as a key of a cache: by its identity, as arrays have no hash."""

    def __init__(self, model: NGrams):
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.model is other.model


@functools.lru_cache(maxsize=4)
def _load(path: Path) -> NGrams:
    return ngram.load(path)


@functools.lru_cache(maxsize=4)
def _tokens(alphabet: Alphabet, lm: _Same) -> np.ndarray:
    """(symbols,) the token of each symbol of the alphabet."""
    index = lm.model.index()
    tokens = [UNKNOWN_ID, *(index.get(SPACE if s == " " else s, UNKNOWN_ID) for s in alphabet.symbols)]
    return np.array(tokens, np.int32)


@functools.lru_cache(maxsize=4)
def _of_words(alphabet: Alphabet, lm: _Same | None, lexicon: File | None, outside: float) -> Places:
    """Places of the words of a lexicon or a language model, or of both if unlisted words are allowed."""
    index = {} if lm is None else lm.model.index()
    known = [] if lm is None else lm.model.words[3:]  # without <unk>, <s> and </s>, which no one writes
    listed = set(map(normalise, known)) if lexicon is None else _listed(alphabet, Path(lexicon))
    words = dict.fromkeys(map(normalise, known), outside) if outside > -math.inf else {}
    words |= dict.fromkeys(listed, 0.0)
    sound = {word: cost for word, cost in words.items() if not alphabet.unknown(word)}
    if not sound:
        raise InputError("the language model has no word that the model's alphabet can write")
    return tree_of(
        sorted((alphabet.encode(w), index.get(w, UNKNOWN_ID), cost) for w, cost in sound.items()), outside
    )


def _listed(alphabet: Alphabet, path: Path) -> set[str]:
    """The words of a lexicon that can be written, in the case of the alphabet."""
    words = {alphabet.cased(line.split()[0]) for _, line in read_lines(path, "lexicon") if line.strip()}
    lost = sorted(word for word in words if alphabet.unknown(word))
    if len(lost) == len(words):
        raise InputError(f"{path}: has no word that the model's alphabet can write; give one word a line")
    if lost:
        log.warning(
            f"{path}: {len(lost)} of {len(words)} words cannot be written, such as {lost[0]}: "
            f"the model does not have {name_symbols(alphabet.unknown(lost[0]))}"
        )
    return words.difference(lost)


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """(number, line) of a text file in UTF-8. Raises InputError naming the file and what it should be."""
    try:
        return list(enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a {what} ({error}); give a text file in UTF-8") from None


def tree_of(words: Iterable[tuple[list[int], int, float]], outside: float) -> Places:
    """Places of words (symbols, token, cost), in their order, with any number of spaces between them.

    outside: cost of what is no such word. A prefix has paid what the cheapest word that begins with it costs.
    """
    children: list[dict[int, int]] = [{}]
    tokens, costs = [BETWEEN], [0.0]
    parents = [0]
    for symbols, token, cost in words:
        at = 0
        for symbol in symbols:
            if symbol not in children[at]:
                children[at][symbol] = len(children)
                children.append({})
                tokens.append(UNKNOWN_ID)
                costs.append(outside)
                parents.append(at)
            at = children[at][symbol]
        tokens[at], costs[at] = token, cost
    paid = costs.copy()
    for place in range(len(paid) - 1, 0, -1):  # a parent is older than its children
        paid[parents[place]] = max(paid[parents[place]], paid[place])
    paid[0] = 0.0
    nothing = np.zeros(len(children), np.int32)
    return Places(
        *arcs_of(children),
        np.array(tokens, np.int32),
        np.array(costs),
        np.array(paid),
        nothing,
        0.0 * nothing,
    )


def arcs_of(children: list[dict[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arcs of each place, given as {symbol: next place}: (places + 1,) first arc, (arcs,) symbol and next."""
    first = np.cumsum([0, *map(len, children)]).astype(np.int32)
    arcs = [arc for child in children for arc in sorted(child.items())]
    symbols, next_ = np.array(arcs, np.int32).reshape(-1, 2).T
    return first, symbols.copy(), next_.copy()
