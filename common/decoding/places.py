"""Words spelled out, so that a search can follow them symbol by symbol."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.decoding.gains import ARC, BETWEEN, PLACE
from common.decoding.ngram import UNKNOWN_ID

Places = tuple[np.ndarray, np.ndarray]  # (places,) PLACE and (arcs,) ARC of common.decoding.gains


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
    return places_of(children, tokens, costs, [0] * len(children), [0.0] * len(children), paid)


def places_of(
    children: list[dict[int, int]],
    tokens: list[int],
    costs: list[float],
    after: list[int],
    ends: list[float],
    paid: list[float] | None = None,
) -> Places:
    """Each place by its arcs {symbol: next place} and the columns of PLACE."""
    arcs = [arc for child in children for arc in sorted(child.items())]
    places = np.zeros(len(children), PLACE)
    places["stop"] = np.cumsum([*map(len, children)])
    places["first"][1:] = places["stop"][:-1]
    places["word"], places["cost"], places["after"], places["end"] = tokens, costs, after, ends
    places["paid"] = 0.0 if paid is None else paid
    return places, np.array(arcs, ARC)
