"""Words spelled out, so that a search can follow them symbol by symbol."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.decoding.gains import ARC, BETWEEN, LONG, OUTSIDE, PLACE
from common.decoding.ngram import UNKNOWN_ID

Places = tuple[np.ndarray, np.ndarray]  # (places,) PLACE and (arcs,) ARC of common.decoding.gains


def unknown_word(cost: float, letters: int) -> float:
    """What an unknown word adds: its cost, and in proportion more when it has more than LONG letters (as in
    pyctcdecode), since else two unknown words without a space between them would cost half as much."""
    return cost * max(letters, LONG) / LONG


def tree_of(words: Iterable[tuple[list[int], int, float]], outside: float) -> Places:
    """Places of words (symbols, token, cost), in their order, with any number of spaces between them.

    outside: cost of what is no such word, see unknown_word. A prefix has paid what the cheapest word that
    begins with it costs.
    """
    children: list[dict[int, int]] = [{}]
    tokens, costs = [BETWEEN], [0.0]
    parents, depths = [0], [0]
    for symbols, token, cost in words:
        at = 0
        for symbol in symbols:
            if symbol not in children[at]:
                children[at][symbol] = len(children)
                children.append({})
                tokens.append(UNKNOWN_ID)
                parents.append(at)
                depths.append(depths[at] + 1)
                costs.append(unknown_word(outside, depths[-1]))
            at = children[at][symbol]
        tokens[at], costs[at] = token, cost
    paid = costs.copy()
    for place in range(len(paid) - 1, 0, -1):  # a parent is older than its children
        paid[parents[place]] = max(paid[parents[place]], paid[place])
    paid[0] = 0.0
    leave = [unknown_word(outside, depth + 1) - before for depth, before in zip(depths, paid, strict=True)]
    close = [c - p for c, p in zip(costs, paid, strict=True)]
    arcs = [
        [(symbol, to, paid[to] - paid[at]) for symbol, to in sorted(child.items())]
        for at, child in enumerate(children)
    ]
    return places_of(arcs, tokens, [0] * len(arcs), leave, close, [0.0] * len(arcs), depths)


def places_of(
    arcs: list[list[tuple[int, int, float]]],
    tokens: list[int],
    after: list[int],
    leave: list[float],
    close: list[float],
    ends: list[float],
    depths: list[int] | None = None,
) -> Places:
    """Each place by its arcs (symbol, next place, gain) and the other columns of PLACE; depths: letters of
    the word so far, where it may be left."""
    places = np.zeros(len(arcs), PLACE)
    places["stop"] = np.cumsum([*map(len, arcs)])
    places["first"][1:] = places["stop"][:-1]
    places["word"], places["after"], places["end"] = tokens, after, ends
    places["leave"], places["close"] = leave, close
    places["outside"] = OUTSIDE if depths is None else -np.minimum(np.array(depths) + 1, LONG)
    return places, np.array([arc for mine in arcs for arc in mine], ARC)
