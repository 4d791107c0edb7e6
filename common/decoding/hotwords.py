"""Words and phrases to look out for: shallow fusion with a table of what each symbol adds.

The table is the automaton of Aho & Corasick (1975) over the spelled-out phrases, restricted to matches that
begin where a word may begin. A phrase counts wherever it stands with no letter or digit next to it, so also
in quotes and before a full stop. Part of its weight is added with each of its symbols, in proportion, so that
it is not pruned before it is complete; the symbol that leads elsewhere takes all of that back (as in Zhao et
al. 2019, "Shallow-fusion end-to-end contextual biasing"). So a text as a whole gets the weight of each phrase
that stands in it, and nothing else.
"""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carousel.common.decoding.compiled.scoring import HOT
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet, name_symbols
from carousel.common.text.lines import read_lines

log = logging.getLogger(__name__)

WEIGHT = 3.0  # natural log, of a phrase without a weight of its own
# Beyond which a weight says nothing more, or pushes the beginnings of all other words off the beam: with one
# hotword, words around it were 8.1 % wrong at 0, 9.2 at 30, 11 at 50, 32 at 100 (AN4 test, beam 16).
LEAST, HIGHEST = -100.0, 30.0
MOST = 20_000_000  # entries of the table: 240 MB

Table = tuple[np.ndarray, np.ndarray]  # hot and hot_end of scoring.Tables


@functools.lru_cache(maxsize=4)
def load(alphabet: Alphabet, path: Path, weight: float) -> Table | None:
    """The table of a file, see `read`; None when none of its phrases can be written. Each that cannot is told
    once, by a warning."""
    phrases = {}
    for phrase, own in read(path).items():
        phrase = alphabet.cased(phrase)
        if unknown := alphabet.unknown(phrase):
            log.warning(
                f"{path}: {phrase} cannot be written: the model does not have {name_symbols(unknown)}"
            )
        else:
            phrases[phrase] = weight if own is None else own
    states = 2 + sum(map(len, phrases))
    if states * len(alphabet) > MOST:
        raise InputError(f"{path}: is too long ({len(phrases):,} phrases); keep those that matter")
    return table(alphabet, phrases) if phrases else None


def read(path: Path) -> dict[str, float | None]:
    """Phrases of a file and their own weights: a phrase a line, or phrase, tab, weight; # begins a comment.

    Raises InputError naming the file and the line.
    """
    phrases: dict[str, float | None] = {}
    for number, line in read_lines(path, "list of hotwords"):
        text, _, weight = line.split("#")[0].partition("\t")
        phrase = " ".join(text.split())
        if not phrase and not weight.strip():
            continue
        try:
            phrases[phrase] = own = float(weight) if weight.strip() else None
        except ValueError:
            own = np.nan
        if not phrase or (own is not None and not np.isfinite(own)):
            raise InputError(f"{path}: line {number} is not WORD or WORD<tab>WEIGHT: {line.strip()!r}")
        if own is not None and not LEAST <= own <= HIGHEST:
            raise InputError(
                f"{path}: line {number}: a weight of {own:g} would spoil other words; give {LEAST:g} to "
                f"{HIGHEST:g}, natural log, such as {WEIGHT:g}"
            )
    if not phrases:
        raise InputError(f"{path}: has no hotword; give one word or phrase a line")
    return phrases


def is_letter(symbol: str) -> bool:
    """Whether a symbol belongs to a word: letters, their marks, and digits."""
    return any(unicodedata.category(character)[0] in "LMN" for character in symbol)


def table(alphabet: Alphabet, phrases: Mapping[str, float]) -> Table:
    """(states, symbols) HOT: next state and what the symbol adds; (states,) what the end of the text adds.

    phrases: weights of phrases that the alphabet can write, words parted by single spaces. State 0 is the
    begin of a word, state 1 within one that matches nothing.
    """
    begin, within = 0, 1
    children: list[dict[int, int]] = [{}, {}]
    weights, shares = [0.0, 0.0], [0.0, 0.0]  # what a complete phrase adds; what its part adds so far
    for phrase, weight in phrases.items():
        at = begin
        for count, symbol in enumerate(alphabet.encode(phrase), start=1):
            if symbol not in children[at]:
                children[at][symbol] = len(children)
                children.append({})
                weights.append(0.0)
                shares.append(0.0)
            at = children[at][symbol]
            shares[at] = max(shares[at], weight * count / len(phrase))
        weights[at] += weight
    return _filled(alphabet, children, np.array(weights), np.array(shares), begin, within)


def _filled(
    alphabet: Alphabet,
    children: list[dict[int, int]],
    weights: np.ndarray,
    shares: np.ndarray,
    begin: int,
    within: int,
) -> Table:
    """The table, in breadth, so that the shorter match that a state falls back to has its row before it."""
    letter = np.array([True, *map(is_letter, alphabet.symbols)])  # the blank is no symbol: any value will do
    space = 0 if alphabet.unknown(" ") else alphabet.encode(" ")[0]
    follow = np.empty((len(children), len(alphabet)), np.int32)
    follow[within] = np.where(letter, within, begin)
    full, share = (
        weights.copy(),
        shares.copy(),
    )  # with those of the shorter matches that end in the same place
    queue = [(begin, within, False)]  # state, the one that it falls back to, whether a space led to it
    for state, shorter, spaced in queue:
        follow[state] = follow[shorter]
        full[state] += full[shorter]
        share[state] = max(share[state], share[shorter])
        for symbol, child in children[state].items():
            queue.append((child, int(follow[shorter, symbol]), symbol == space))
            follow[state, symbol] = child
        if spaced and space:
            follow[state, space] = state  # any number of spaces parts two words
    found = np.empty(follow.shape, HOT)
    found["state"] = follow
    found["gain"] = share[follow] - share[:, None] + np.where(letter, 0.0, full[:, None])
    return found, full - share
