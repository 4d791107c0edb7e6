"""The compiled end of a beam search: the best texts of the beam, with the frames of each symbol."""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.decoding.compiled.prefix_tree import NONE
from carousel.common.decoding.compiled.scoring import closing_gain


@numba.njit(cache=True)
def best_texts(entries, alive, tree, tables, end, frame, scale, nbest):  # type: ignore[no-untyped-def]
    """The best entries after `frame` frames: ln of the probability of each with what the end of the text
    adds, how many symbols it has, and of all these one after the other (3, symbols) index, first frame and
    frame after the last, and (symbols,) confidence.

    end: the token that the language model reads at the end, or NONE. Of those that cannot be written only
    the first is given, and only if there are no others.
    """
    scores = np.empty(alive)
    for i in range(alive):
        total = entries[i].blank_sum + entries[i].symbol_sum
        scores[i] = scale + np.log(total) if total > 0.0 else -np.inf
        if tables.units:
            node = tree.nodes[entries[i].node]
            scores[i] += closing_gain(tables, end, node.state, node.lexicon_node, node.hot)
    chosen = np.empty(min(alive, nbest), np.int64)
    count = choose(scores, chosen)
    lengths, symbols = np.empty(count, np.int64), 0
    for k in range(count):
        lengths[k] = length(entries, chosen[k], tree.links)
        symbols += lengths[k]
    spans, confidences, best = np.empty((3, symbols), np.int64), np.empty(symbols), np.empty(count)
    stop = 0
    for k in range(count):
        best[k] = scores[chosen[k]]
        stop += lengths[k]
        write(entries, chosen[k], tree.links, frame, spans, confidences, stop)
    return best, lengths, spans, confidences


@borrowing
def choose(scores, chosen):  # type: ignore[no-untyped-def]
    """Writes the indices of the highest scores, the highest and of equals the first at the front; returns how
    many: one, and further ones above -inf."""
    many = 0
    for i in range(len(scores)):
        if many > 0 and scores[i] == -np.inf:
            continue
        k = many if many < len(chosen) else many - 1
        if many == len(chosen) and scores[i] <= scores[chosen[k]]:
            continue
        while k > 0 and scores[chosen[k - 1]] < scores[i]:
            chosen[k] = chosen[k - 1]
            k -= 1
        chosen[k] = i
        many = min(many + 1, len(chosen))
    while many > 1 and scores[chosen[many - 1]] == -np.inf:
        many -= 1
    return many


@borrowing
def length(entries, i, links):  # type: ignore[no-untyped-def]
    """How many symbols are on the best path of entry i."""
    opened = entries[i].symbol_path > entries[i].blank_path
    count, link = int(opened), entries[i].before if opened else entries[i].closed
    while link != NONE:
        count, link = count + 1, links[link].before
    return count


@borrowing
def write(entries, i, links, frame, spans, confidences, stop):  # type: ignore[no-untyped-def]
    """Writes the symbols on the best path of entry i, so that the last one is before `stop`."""
    link = entries[i].closed
    if entries[i].symbol_path > entries[i].blank_path:
        stop -= 1
        spans[0, stop], spans[1, stop], spans[2, stop] = entries[i].last, entries[i].start, frame
        confidences[stop] = np.exp(entries[i].peak)
        link = entries[i].before
    while link != NONE:
        stop -= 1
        symbol_link = links[link]
        spans[0, stop], spans[1, stop], spans[2, stop] = (
            symbol_link.symbol,
            symbol_link.start,
            symbol_link.end,
        )
        confidences[stop] = np.exp(symbol_link.peak)
        link = symbol_link.before
