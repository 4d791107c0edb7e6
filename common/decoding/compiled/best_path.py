"""The best path to a text that may be written (Viterbi): for when a beam has lost all of them."""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.decoding.compiled.prefix_tree import BLANK, NONE
from carousel.common.decoding.compiled.scoring import BETWEEN, Tables
from carousel.common.errors import InputError

MOST = 400_000_000  # frames × nodes, for which 2 GB are needed


def best_text(tables: Tables, log_probs: np.ndarray) -> list[int] | None:
    """Indices of the text that the nodes allow with the likeliest single path, or None if none fits.

    log_probs: (frames, symbols) natural log. What a language model or hotwords add has no part in it. Memory:
    five bytes a frame and node. Raises InputError when there are more than 400 million of these.
    """
    nodes = len(tables.lexicon_nodes)
    if len(log_probs) * nodes > MOST:
        raise InputError(
            f"no text that may be written is on the beam, and {len(log_probs)} frames with {nodes} nodes "
            "are too many to look for one without a beam; give a wider --beam or shorter inputs"
        )
    here, arcs = tables.lexicon_nodes, tables.arcs
    may_end = (here["word"] == BETWEEN) | (here["close"] > -np.inf)
    spaced = np.flatnonzero(may_end & (here["after"] != NONE))
    counts = here["stop"] - here["first"]
    source = np.concatenate([np.repeat(np.arange(nodes), counts), spaced]).astype(np.int32)
    target = np.concatenate([arcs["target"], here["after"][spaced]])
    symbol = np.full(nodes, NONE, np.int32)  # that leads to each node
    symbol[arcs["target"]] = arcs["symbol"]
    symbol[here["after"][spaced]] = tables.space
    rows = np.ascontiguousarray(log_probs, np.float64)
    blank, last, left, came = _viterbi(source, target, symbol, rows)
    ends = np.where(may_end & (here["end"] == 0.0), np.maximum(blank, last), -np.inf)
    node = int(ends.argmax())
    if ends[node] == -np.inf:
        return None
    return _traced(node, bool(last[node] > blank[node]), symbol, left, came)


@numba.njit(cache=True)
def _viterbi(source, target, symbol, rows):  # type: ignore[no-untyped-def]
    """ln of the best path to each node that ends in a blank, and in its symbol; how they came there:

    (frames, nodes) whether the first came from the symbol, and where the second came from: -1 the node
    itself, else twice the node before it, and one if it was in a blank there.
    """
    frames, nodes = len(rows), len(symbol)
    left, came = np.zeros((frames, nodes), np.bool_), np.full((frames, nodes), -1, np.int32)
    blank, last = np.full(nodes, -np.inf), np.full(nodes, -np.inf)
    blank[0] = 0.0
    for t in range(frames):
        row = rows[t]
        next_blank, next_last = np.empty(nodes), np.full(nodes, -np.inf)
        for q in range(nodes):
            left[t, q] = last[q] > blank[q]
            next_blank[q] = max(blank[q], last[q]) + row[BLANK]
            if symbol[q] != NONE:
                next_last[q] = last[q] + row[symbol[q]]
        for k in range(len(source)):
            s, q = source[k], target[k]
            from_blank = symbol[s] == symbol[q] or blank[s] >= last[s]
            score = (blank[s] if from_blank else last[s]) + row[symbol[q]]
            if score > next_last[q]:
                next_last[q] = score
                came[t, q] = 2 * s + from_blank
        blank, last = next_blank, next_last
    return blank, last, left, came


def _traced(node: int, in_symbol: bool, symbol: np.ndarray, left: np.ndarray, came: np.ndarray) -> list[int]:
    """The symbols of the path that ends in a node."""
    found: list[int] = []
    for t in range(len(came) - 1, -1, -1):
        if not in_symbol:
            in_symbol = bool(left[t, node])
        elif came[t, node] >= 0:
            found.append(int(symbol[node]))
            in_symbol = came[t, node] % 2 == 0
            node = int(came[t, node] // 2)
    return found[::-1]
