"""What a further symbol adds to the score of a text, compiled: language model, spelling, hotwords.

Three automata are read side by side, and a text keeps its state in each. The language model
(common.language.ngram) reads characters, or words where they end. The lexicon tree holds a lexicon, the
vocabulary of a language model or a grammar, spelled out symbol by symbol. Hotwords are a table
(common.decoding.hotwords).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.decoding.compiled.prefix_tree import NONE
from carousel.common.language.ngram import UNKNOWN_ID, step

NOTHING, OTHER, CHARACTERS, WORDS = range(4)  # units; OTHER: no tokens are counted, but something is known
OUTSIDE = -1  # lexicon_node of a word that has left the tree
BETWEEN = -2  # `word` of a node where no word has begun

# Records, as compiled functions hand each array on at a price.
LEXICON_NODE = np.dtype(
    [
        ("first", np.int32),  # arcs first … stop go on from here,
        ("stop", np.int32),  # … their symbols rising, spaces not among them
        ("word", np.int32),  # the token of the word that ends here, or BETWEEN
        ("after", np.int32),  # the node after a space, NONE: none may follow
        ("leave", np.float32),  # ln for a symbol that no arc has, which leads OUTSIDE; -inf: there is none
        ("close", np.float32),  # ln for the end of a word; -inf: none ends here
        ("end", np.float32),  # ln for the end of the text: 0, or -inf
        ("most", np.float64),  # e to the most that a symbol gives here, hotwords left aside
    ]
)
ARC = np.dtype([("symbol", np.int32), ("target", np.int32), ("gain", np.float32)])
HOT = np.dtype([("gain", np.float64), ("state", np.int32)])


class Tables(NamedTuple):
    """Language model, lexicon tree and hotwords, by the alphabet's indices."""

    units: int  # what tokens are; 0: nothing is known, so every gain is 0
    spelled: bool  # whether words follow the lexicon tree
    hinted: bool  # whether there are hotwords
    weight: float  # of the language model's logarithms
    bonus: float  # ln a token
    most: float  # e to the most that a symbol gives beside what it does by its node
    space: int  # index of the symbol between words, NONE if there is none
    token: np.ndarray  # (symbols,) the language model's token of each symbol
    lexicon_nodes: np.ndarray  # (nodes,) LEXICON_NODE; node 0 is the begin
    arcs: np.ndarray  # (arcs,) ARC
    hot: np.ndarray  # (states, symbols) HOT: what a symbol does in each state of the hotwords
    hot_end: np.ndarray  # (states,) ln that the end of the text adds there
    first: np.ndarray  # the automaton of `ngram.step`
    arc_token: np.ndarray
    log_prob: np.ndarray
    follow: np.ndarray
    backoff: np.ndarray
    shorter: np.ndarray


@borrowing
def token_gain(tables, state, token):  # type: ignore[no-untyped-def]
    """What the language model gives for a token, and its state after it."""
    score, state = step(
        tables.first,
        tables.arc_token,
        tables.log_prob,
        tables.follow,
        tables.backoff,
        tables.shorter,
        state,
        token,
    )
    return tables.weight * score, state


@borrowing
def spell(tables, lexicon_node, symbol):  # type: ignore[no-untyped-def]
    """What a symbol gives that goes on or ends a word; the token that is then known, or NONE; the node after
    it. Of an unknown word the token is known where it leaves the tree."""
    if lexicon_node == OUTSIDE:
        if symbol == tables.space:
            return 0.0, NONE, 0
        return float(tables.lexicon_nodes[0].leave), NONE, OUTSIDE
    here = tables.lexicon_nodes[lexicon_node]
    if symbol != tables.space:
        for arc in range(here.first, here.stop):
            if tables.arcs[arc].symbol == symbol:
                return float(tables.arcs[arc].gain), NONE, tables.arcs[arc].target
        return float(here.leave), UNKNOWN_ID, OUTSIDE
    if here.after == NONE:
        return -np.inf, NONE, OUTSIDE
    if here.word == BETWEEN:
        return 0.0, NONE, here.after
    return float(here.close), here.word, here.after


@borrowing
def gain_of(tables, state, lexicon_node, hot, symbol):  # type: ignore[no-untyped-def]
    """ln of what a further symbol gives; state, node and hotword state after it."""
    gain, token = 0.0, NONE
    if tables.spelled:
        gain, token, lexicon_node = spell(tables, lexicon_node, symbol)
        if gain == -np.inf:
            return gain, state, lexicon_node, hot
    if tables.units == CHARACTERS:
        token = tables.token[symbol]
    if token != NONE:
        more, state = token_gain(tables, state, token)
        gain += more + tables.bonus
    if tables.hinted:
        gain += tables.hot[hot, symbol].gain
        hot = tables.hot[hot, symbol].state
    return gain, state, lexicon_node, hot


@borrowing
def most_after(tables, lexicon_node):  # type: ignore[no-untyped-def]
    """e to the most that a symbol gives after a node of the lexicon tree."""
    if tables.spelled and lexicon_node != OUTSIDE:
        return tables.most * tables.lexicon_nodes[lexicon_node].most
    return tables.most


@borrowing
def closing_gain(tables, end, state, lexicon_node, hot):  # type: ignore[no-untyped-def]
    """What the end of the text gives: its last word, and the token `end` (NONE: nothing)."""
    gain, token = 0.0, NONE
    if tables.spelled and lexicon_node != OUTSIDE:
        here = tables.lexicon_nodes[lexicon_node]
        gain = float(here.end)
        if here.word != BETWEEN:
            token = here.word
            gain += here.close
    if token != NONE and tables.units == WORDS:
        more, state = token_gain(tables, state, token)
        gain += more + tables.bonus
    if end != NONE:
        gain += token_gain(tables, state, end)[0]
    if tables.hinted:
        gain += tables.hot_end[hot]
    return gain
