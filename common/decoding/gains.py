"""What a further symbol adds to the score of a text, compiled: language model, spelling, hotwords.

Three automata are read side by side, and a text keeps its place in each. The language model
(common.decoding.ngram) reads characters, or words where they end. Places are a lexicon, the vocabulary of a
language model or a grammar, spelled out symbol by symbol. Hotwords are a table (common.decoding.hotwords).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from common.decoding.ngram import UNKNOWN_ID, step
from common.decoding.tree import NONE

NOTHING, CHARACTERS, WORDS, OTHER = range(4)  # units; OTHER: no tokens are counted, but something is known
OUTSIDE = -1  # place of a word that left the places
BETWEEN = -2  # `word` of a place where no word has begun

# Records, as compiled functions hand each array on at a price.
PLACE = np.dtype(
    [
        ("first", np.int32),  # arcs first … stop go on from here,
        ("stop", np.int32),  # … their symbols rising, spaces not among them
        ("word", np.int32),  # the token of the word that ends here, or BETWEEN
        ("after", np.int32),  # the place after a space, NONE: none may follow
        ("cost", np.float64),  # ln for a word that ends here; -inf: none may
        ("paid", np.float64),  # … how much of it was added on the way
        ("end", np.float64),  # ln for a text that ends here: 0, or -inf
    ]
)
ARC = np.dtype([("symbol", np.int32), ("place", np.int32)])
HOT = np.dtype([("gain", np.float64), ("state", np.int32)])


class Knowledge(NamedTuple):
    """Language model, places and hotwords, by the alphabet's indices."""

    units: int  # what tokens are; 0: nothing is known, so every gain is 0
    spelled: bool  # whether words follow the places
    hinted: bool  # whether there are hotwords
    weight: float  # of the language model's logarithms
    bonus: float  # ln a token
    outside: float  # ln for a word that leaves the places; -inf: none may
    most: float  # no symbol adds more than this
    space: int  # index of the symbol between words, NONE if there is none
    token: np.ndarray  # (symbols,) the language model's token of each symbol
    places: np.ndarray  # (places,) PLACE; place 0 is the begin
    arcs: np.ndarray  # (arcs,) ARC
    hot: np.ndarray  # (states, symbols) HOT: what a symbol does in each state of the hotwords
    hot_end: np.ndarray  # (states,) ln that the end of the text adds there
    first: np.ndarray  # the automaton of `ngram.step`
    arc_token: np.ndarray
    log_prob: np.ndarray
    follow: np.ndarray
    backoff: np.ndarray
    shorter: np.ndarray


@numba.njit(cache=True)
def token_gain(know, state, token):  # type: ignore[no-untyped-def]
    """What a token gives, and the state of the language model after it."""
    score, state = step(
        know.first, know.arc_token, know.log_prob, know.follow, know.backoff, know.shorter, state, token
    )
    return know.weight * score, state


@numba.njit(cache=True)
def word_gain(know, state, spot):  # type: ignore[no-untyped-def]
    """What the end of a word gives, and the state of the language model after it; -inf forbids it."""
    word, gain = UNKNOWN_ID, 0.0
    if spot != OUTSIDE:
        here = know.places[spot]
        word, gain = here.word, here.cost - here.paid
    if know.units != WORDS or gain == -np.inf:
        return gain, state
    more, state = token_gain(know, state, word)
    return gain + more + know.bonus, state


@numba.njit(cache=True)
def spelling_gain(know, state, spot, symbol):  # type: ignore[no-untyped-def]
    """What a symbol gives that goes on or ends a word; state and place after it."""
    if spot == OUTSIDE:
        if symbol != know.space:
            return 0.0, state, OUTSIDE
        gain, state = word_gain(know, state, spot)
        return gain, state, 0
    here = know.places[spot]
    if symbol != know.space:
        for arc in range(here.first, here.stop):
            if know.arcs[arc].symbol == symbol:
                place = know.arcs[arc].place
                return know.places[place].paid - here.paid, state, place
        return know.outside - here.paid, state, OUTSIDE
    if here.after == NONE:
        return -np.inf, state, OUTSIDE
    if here.word == BETWEEN:
        return 0.0, state, here.after
    gain, state = word_gain(know, state, spot)
    return gain, state, here.after


@numba.njit(cache=True)
def gain_of(know, state, spot, hot, symbol):  # type: ignore[no-untyped-def]
    """ln of what a further symbol gives; state, place and hotword state after it."""
    gain = 0.0
    if know.spelled:
        gain, state, spot = spelling_gain(know, state, spot, symbol)
        if gain == -np.inf:
            return gain, state, spot, hot
    if know.units == CHARACTERS:
        more, state = token_gain(know, state, know.token[symbol])
        gain += more + know.bonus
    if know.hinted:
        gain += know.hot[hot, symbol].gain
        hot = know.hot[hot, symbol].state
    return gain, state, spot, hot


@numba.njit(cache=True)
def closing_gain(know, end, state, spot, hot):  # type: ignore[no-untyped-def]
    """What the end of the text gives: its last word, and the token `end` (NONE: nothing)."""
    gain = 0.0
    if know.spelled:
        if spot == OUTSIDE or know.places[spot].word != BETWEEN:
            gain, state = word_gain(know, state, spot)
        if spot != OUTSIDE:
            gain += know.places[spot].end
    if know.units != NOTHING and end != NONE:
        gain += token_gain(know, state, end)[0]
    if know.hinted:
        gain += know.hot_end[hot]
    return gain
