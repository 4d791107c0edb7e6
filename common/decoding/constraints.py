"""What a beam search knows beside the network's output, as the tables of common.decoding.compiled.scoring."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.decoding import grammar as grammar_
from carousel.common.decoding import hotwords as hotwords_
from carousel.common.decoding.compiled import scoring
from carousel.common.decoding.compiled.lexicon_tree import (
    LexiconTree,
    Words,
    bounded,
    lexicon_tree_of_words,
    tree_of,
)
from carousel.common.decoding.compiled.prefix_tree import NONE
from carousel.common.decoding.compiled.scoring import CHARACTERS, NOTHING, OTHER, WORDS
from carousel.common.errors import InputError
from carousel.common.language import ngram_files
from carousel.common.language.ngram import BEGIN, END, END_ID, SPACE, UNKNOWN, UNKNOWN_ID, NGrams
from carousel.common.options import LISTS
from carousel.common.options import NONE as NO_LIST
from carousel.common.text.alphabet import Alphabet, name_symbols, normalise
from carousel.common.text.lines import File, Listed, read_lines

log = logging.getLogger(__name__)

UNKNOWN_COST = -5.0  # default of `unknown`: the fewest errors on valid speech, ink and lines together
LOWEST, MOST = -1000.0, 20.0  # of costs, of weights and bonus: beyond, one option drowns what was seen
LEAST = -20.0  # ln below which words are not told apart before they end


@dataclass(frozen=True)
class Constraints:
    """Tables of the compiled part, and how texts begin and end."""

    tables: scoring.Tables
    start: int = 0  # state of the language model
    end: int = NONE  # token that it reads at the end
    closed: bool = False  # whether only words of a lexicon or sentences of a grammar may be written

    def added(self, indices: Sequence[int]) -> float:
        """What all this adds to the score of a whole text."""
        state, lexicon_node, hot, total = self.start, 0, 0, 0.0
        for symbol in indices:
            gain, state, lexicon_node, hot = scoring.gain_of(self.tables, state, lexicon_node, hot, symbol)
            total += gain
        return total + float(scoring.closing_gain(self.tables, self.end, state, lexicon_node, hot))


_NO_LEXICON = np.zeros(1, scoring.LEXICON_NODE), np.zeros(1, scoring.ARC)
_NO_HOTWORDS = np.zeros((1, 1), scoring.HOT), np.zeros(1)
_INT, _FLOAT = np.zeros(1, np.int32), np.zeros(1, np.float32)
# one token of probability 1, so that a lexicon without a language model has something to read
_NO_MODEL = (np.array([0, 1], np.int32), _INT, _FLOAT, _INT, _FLOAT, _INT)


@functools.cache
def unconstrained() -> Constraints:
    return Constraints(
        scoring.Tables(
            NOTHING, False, False, 0.0, 0.0, 1.0, NONE, _INT, *_NO_LEXICON, *_NO_HOTWORDS, *_NO_MODEL
        )
    )


def constraints_of(alphabet: Alphabet, *, lm: NGrams | File | None = None, **options: Any) -> Constraints:
    """The tables for an alphabet, of the options of common.decoding.beam.decode; the last ones and those of
    files are kept. Raises InputError for files that cannot be used and for options that make no sense."""
    for name in LISTS:
        if str(options.get(name)) == NO_LIST:
            options[name] = None
    if lm is None and not any(value is not None for value in options.values()):
        return unconstrained()
    for name, value in options.items():
        if isinstance(value, (list, dict, set, np.ndarray)):  # the cache cannot take them as a key
            raise InputError(f"{name} must be a number or a file, not {value!r}")
    return _constraints_of(alphabet, lm=_Same(lm) if isinstance(lm, NGrams) else lm, **options)


@functools.lru_cache(maxsize=4, typed=True)  # typed: True is no weight, and 1 is
def _constraints_of(
    alphabet: Alphabet,
    *,
    lm: _Same | File | None = None,
    lm_unit: str | None = None,
    lm_weight: float | None = None,
    bonus: float | None = None,
    unknown: float | None = None,
    lexicon: File | Listed | None = None,
    unlisted: float | None = None,
    hotwords: File | None = None,
    hotword_weight: float | None = None,
    grammar: File | Listed | None = None,
) -> Constraints:
    if unlisted is not None and lexicon is None:
        raise InputError("unlisted is what a word adds that a lexicon does not have: give a lexicon too")
    if hotword_weight is not None and hotwords is None:
        raise InputError("hotword_weight is what hotwords add: give a file of hotwords too")
    if grammar is not None and lexicon is not None:
        raise InputError("a grammar lists its own words: give it or a lexicon, not both")
    if lm is None and lexicon is None and hotwords is None and grammar is None:
        return unconstrained()
    if lm_unit is not None and (lm is None or isinstance(lm, _Same)):
        raise InputError("lm_unit says what the tokens of a language model's file are: give lm as a file")
    spaces = not alphabet.unknown(" ")
    model = lm.model if isinstance(lm, _Same) else None if lm is None else _load(Path(lm), lm_unit, spaces)
    listed = lexicon is not None or grammar is not None
    if unknown is not None and (listed or model is None or model.unit == "characters"):
        raise InputError(
            "unknown goes with a language model over words and no lexicon or grammar: else there are none"
        )
    units = WORDS if model is not None or listed else OTHER
    if model is not None and model.unit == "characters":
        units = CHARACTERS
    advised = UNKNOWN_COST if model is None else model.advice.get("unknown", UNKNOWN_COST)
    outside = _cost(-math.inf if listed else advised, unknown=unknown, unlisted=unlisted)
    kept = _Same(model) if model is not None and units == WORDS else None
    weight, each = _weights(model, lm_weight, bonus)
    lexicon_tree: LexiconTree = _NO_LEXICON
    if units == WORDS or listed:
        ahead, most = _tokens_ahead(kept, weight, each if units == WORDS else 0.0)
        if grammar is not None:
            lexicon_tree = _of_grammar(alphabet, kept, _source(grammar))
        else:
            name = "the language model" if isinstance(lm, _Same) else str(lm)
            words = _words(alphabet, kept, _source(lexicon), outside > -math.inf, name)
            lexicon_tree = lexicon_tree_of_words(words, outside, ahead)
        lexicon_tree = bounded(lexicon_tree, most)
    table = _hotwords(alphabet, hotwords, hotword_weight)
    tables = scoring.Tables(
        units,
        lexicon_tree is not _NO_LEXICON,
        table is not None,
        weight,
        each,
        _most(each if units == CHARACTERS else 0.0, table),
        NONE if alphabet.unknown(" ") else alphabet.encode(" ")[0],
        _tokens(alphabet, _Same(model)) if model is not None and units == CHARACTERS else _INT,
        *lexicon_tree,
        *(table or _NO_HOTWORDS),
        *(_NO_MODEL if model is None else model.automaton()),
    )
    closed = listed and outside == -math.inf
    if model is None:
        return Constraints(tables, closed=closed)
    return Constraints(tables, model.start, _end(model), closed)


def _source(given: File | Listed | None) -> Any:
    return given if given is None or isinstance(given, Listed) else Path(given)


def _most(each: float, table: hotwords_.Table | None) -> float:
    """e to the most that a symbol gives which is a token, and by hotwords."""
    with np.errstate(over="ignore"):
        return float(np.exp(each + (0.0 if table is None else max(0.0, float(table[0]["gain"].max())))))


def _tokens_ahead(lm: _Same | None, weight: float, each: float) -> tuple[np.ndarray, np.ndarray]:
    """(tokens,) what the model gives for a token in no context; the same, the most that it gives in any."""
    if lm is None:
        return np.full(1, each), np.full(1, each)
    alone = lm.model.log_prob[: len(lm.model.words)].astype(np.float64)
    return weight * np.maximum(alone, LEAST) + each, weight * lm.model.highest() + each


def _end(model: NGrams) -> int:
    """The token that a model reads at the end of a text."""
    if not model.running:
        return END_ID
    return model.index().get(SPACE, NONE) if model.unit == "characters" else NONE


def _weights(model: NGrams | None, lm_weight: float | None, bonus: float | None) -> tuple[float, float]:
    """The weight of a model's logarithms (0 without a model) and what each token adds."""
    advice = {"lm_weight": 0.5, "bonus": 0.0} | (model.advice if model else {})
    weight = advice["lm_weight"] if lm_weight is None else lm_weight
    each = advice["bonus"] if bonus is None else bonus
    check_number("lm_weight", weight, 0.0, MOST)
    check_number("bonus", each, -MOST, MOST)
    return float(weight) if model is not None else 0.0, float(each)


def _cost(default: float, **asked: float | None) -> float:
    """The one of some costs that was asked for, or the default."""
    for name, cost in asked.items():
        if cost is not None:
            check_number(name, cost, LOWEST, 0.0)
            return float(cost)
    return default


def _hotwords(alphabet: Alphabet, file: File | None, weight: float | None) -> hotwords_.Table | None:
    weight = hotwords_.WEIGHT if weight is None else weight
    check_number("hotword_weight", weight, hotwords_.LEAST, hotwords_.HIGHEST)
    return None if file is None else hotwords_.load(alphabet, Path(file), float(weight))


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
def _load(path: Path, unit: str | None, spaces: bool) -> NGrams:
    return ngram_files.load(path, unit, spaces)


@functools.lru_cache(maxsize=4)
def _tokens(alphabet: Alphabet, lm: _Same) -> np.ndarray:
    """(symbols,) the token of each symbol of the alphabet."""
    index = lm.model.index()
    tokens = [UNKNOWN_ID, *(index.get(SPACE if s == " " else s, UNKNOWN_ID) for s in alphabet.symbols)]
    long = [symbol for symbol in alphabet.symbols if len(symbol) > 1]
    if lm.model.unit == "characters" and long and not any(symbol in index for symbol in long):
        raise InputError(
            f"the language model has no symbol such as {long[0]!r} of the model; make it with `lm --model`"
        )
    return np.array(tokens, np.int32)


@functools.lru_cache(maxsize=4)
def _words(
    alphabet: Alphabet, lm: _Same | None, lexicon: Path | Listed | None, others: bool, name: str
) -> Words:
    """The words of a lexicon or a language model, or of both if unlisted ones are allowed. name: that of the
    language model, for messages."""
    index = {} if lm is None else lm.model.index()
    known = set(index) - {UNKNOWN, BEGIN, END}  # which no one writes
    listed = set(map(normalise, known)) if lexicon is None else _listed(alphabet, lexicon)
    words = listed.union(map(normalise, known)) if others else listed
    sound = {word for word in words if not alphabet.unknown(word)}
    if not sound:
        raise InputError(
            f"{name}: has no word that the model's alphabet can write; make it of texts in the model's case, "
            "as `lm --model` does"
        )
    return tree_of(sorted((alphabet.encode(w), index.get(w, UNKNOWN_ID), w in listed) for w in sound))


@functools.lru_cache(maxsize=4)
def _of_grammar(alphabet: Alphabet, lm: _Same | None, path: Path | Listed) -> LexiconTree:
    return grammar_.load(alphabet, path, {} if lm is None else lm.model.index())


def _listed(alphabet: Alphabet, path: Path | Listed) -> set[str]:
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
