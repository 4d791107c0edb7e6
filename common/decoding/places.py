"""Words spelled out, so that a search can follow them symbol by symbol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from common.decoding.gains import BETWEEN
from common.decoding.ngram import UNKNOWN_ID


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
