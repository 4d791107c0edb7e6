"""Words spelled out, so that a search can follow them symbol by symbol.

What a word costs is charged as early as it is known, so that texts are compared on equal terms wherever their
words end: with each letter the cost of the cheapest word that can still come of it (language model
look-ahead, Ortmanns, Ney & Eiden 1996, by unigrams), and the difference to its own cost where it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from carousel.common.decoding.compiled.prefix_tree import NONE
from carousel.common.decoding.compiled.scoring import ARC, BETWEEN, LEXICON_NODE
from carousel.common.language.ngram import UNKNOWN_ID

LETTERS = 6  # of the word that the cost of unknown words is given for
SLACK = 1e-4  # by which gains, rounded as they are, stay below the most that is told of them

LexiconTree = tuple[np.ndarray, np.ndarray]  # (nodes,) LEXICON_NODE and (arcs,) ARC of scoring


class Words(NamedTuple):
    """Words as a tree of their letters, all arrays (nodes,); node 0 is the begin, parents come before."""

    parent: np.ndarray
    symbol: np.ndarray  # that leads here from the parent
    depth: np.ndarray  # letters so far
    token: np.ndarray  # of the word that ends here, UNKNOWN_ID where none does
    listed: np.ndarray  # whether the word that ends here costs nothing of its own


def unknown_word(cost: float, letters: int) -> float:
    """What an unknown word adds, in proportion to its letters, as if they were spelled each with the same
    probability: at one cost a word, two words would be cheaper without the space between them."""
    return cost * letters / LETTERS


def tree_of(words: Iterable[tuple[list[int], int, bool]]) -> Words:
    """The tree of words (symbols, token, whether listed), each different, in the order of their symbols."""
    rows: list[tuple[int, int, int]] = [(NONE, NONE, 0)]
    ends: dict[int, tuple[int, bool]] = {0: (BETWEEN, False)}
    path: list[int] = [0]  # nodes of the word before, and its symbols
    before: list[int] = []
    for symbols, token, listed in words:
        shared = 0
        for one, other in zip(before, symbols, strict=False):
            if one != other:
                break
            shared += 1
        del path[shared + 1 :]
        for depth in range(shared, len(symbols)):
            rows.append((path[-1], symbols[depth], depth + 1))
            path.append(len(rows) - 1)
        ends[path[-1]], before = (token, listed), symbols
    parent, symbol, depths = np.array(rows).T
    tokens, known = np.full(len(rows), UNKNOWN_ID), np.zeros(len(rows), bool)
    at = list(ends)
    tokens[at], known[at] = zip(*ends.values(), strict=True)
    return Words(parent, symbol, depths, tokens, known)


def lexicon_tree_of_words(words: Words, outside: float, ahead: np.ndarray) -> LexiconTree:
    """Nodes with any number of spaces between words.

    outside: cost of what is not listed, see unknown_word. ahead: (tokens,) what the language model gives for
    a token before its context is known.
    """
    parent, depth, letter = words.parent[1:], words.depth[1:], unknown_word(outside, 1)
    cost = np.where(words.listed[1:], 0.0, letter * depth)
    paid = np.zeros(len(words.parent))
    paid[1:] = cost + ahead[words.token[1:]]
    for letters in range(depth.max(initial=0), 1, -1):  # from the leaves to the begin
        level = np.flatnonzero(depth == letters)
        np.maximum.at(paid, parent[level], paid[level + 1])
    nodes = np.zeros(len(paid), LEXICON_NODE)
    nodes["word"] = words.token
    nodes["leave"] = letter * (words.depth + 1) - paid
    nodes["close"][1:] = cost - paid[1:]
    order = np.lexsort((words.symbol[1:], parent)) + 1
    arcs = np.zeros(len(order), ARC)
    arcs["symbol"], arcs["target"] = words.symbol[order], order
    arcs["gain"] = paid[order] - paid[words.parent[order]]
    return _joined(nodes, np.bincount(parent, minlength=len(nodes)), arcs)


def lexicon_tree_of(
    arcs: list[list[tuple[int, int]]],
    tokens: list[int],
    after: list[int],
    close: list[float],
    end: list[float],
) -> LexiconTree:
    """Each node by its arcs (symbol, next node) and some columns of LEXICON_NODE; no word may leave them."""
    nodes = np.zeros(len(arcs), LEXICON_NODE)
    nodes["word"], nodes["after"], nodes["close"], nodes["end"] = tokens, after, close, end
    nodes["leave"] = -np.inf
    found = [(symbol, to, 0.0) for mine in arcs for symbol, to in mine]
    return _joined(nodes, np.array([len(mine) for mine in arcs]), np.array(found, ARC))


def _joined(nodes: np.ndarray, counts: np.ndarray, arcs: np.ndarray) -> LexiconTree:
    """Nodes with their arcs, which stand in the order of the nodes; counts: (nodes,) arcs of each."""
    nodes["stop"] = np.cumsum(counts)
    nodes["first"] = nodes["stop"] - counts
    return nodes, arcs


def bounded(found: LexiconTree, most: np.ndarray) -> LexiconTree:
    """The same with the most that a symbol gives at each node; most: (tokens,) of what a token gives."""
    nodes, arcs = found[0].copy(), found[1]
    begun = nodes["word"] != BETWEEN
    ends = np.where(begun, nodes["close"] + most[np.maximum(nodes["word"], 0)], 0.0)
    bound = np.maximum(ends, nodes["leave"] + most[UNKNOWN_ID])
    source = np.repeat(np.arange(len(nodes)), nodes["stop"] - nodes["first"])
    np.maximum.at(bound, source, arcs["gain"].astype(float))
    with np.errstate(over="ignore"):
        nodes["most"] = np.exp(bound + SLACK)
    return nodes, arcs
