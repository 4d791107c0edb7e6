"""The compiled beam search of several utterances, one after the other: for short ones, a call from Python
takes as long as a third of the search."""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.decoding.compiled.backtrace import best_texts
from carousel.common.decoding.compiled.prefix_tree import ENTRY, begin, grown, put
from carousel.common.decoding.compiled.search import run


@numba.njit(cache=True, nogil=True)
def search_all(stops, rows, tree, tables, start, end, pruning):  # type: ignore[no-untyped-def]
    """The best texts of each utterance, as `best_texts` gives them for one.

    rows: (frames, symbols) of all, as `run` takes them; stops: (utterances,) frame after the last of each;
    tree: of a search that is over; start, end: as in Constraints.
    Returns how many utterances are done (one with a frame whose highest value is not finite is the last),
    tree, how many texts each has, and of all texts score and length, and of all symbols (3, symbols) spans
    and confidence.
    """
    done, texts, symbols, first = 0, 0, 0, 0
    counts = np.zeros(len(stops), np.int64)
    scores, lengths = np.empty(len(stops)), np.empty(len(stops), np.int64)
    spans, confidences = np.empty((3, len(rows)), np.int64), np.empty(len(rows))
    entries, one, zero = np.empty(1, ENTRY), np.int64(1), np.int64(0)
    while done < len(stops):
        stop = stops[done]
        begin(entries, tree.nodes, tree.table, tree.size, start)
        entries, alive, tree, scale = run(entries, one, tree, tables, rows[first:stop], zero, pruning)
        if alive == 0:
            break
        best, many, where, sure = best_texts(
            entries, alive, tree, tables, end, stop - first, scale, pruning.nbest
        )
        counts[done] = len(best)
        if texts + len(best) > len(scores):
            scores, lengths = grown(scores, 2 * (texts + len(best))), grown(lengths, 2 * (texts + len(best)))
        if symbols + len(sure) > len(confidences):
            confidences = grown(confidences, 2 * (symbols + len(sure)))
            spans = wider(spans, len(confidences))
        put(scores, texts, best)
        put(lengths, texts, many)
        put(confidences, symbols, sure)
        for k in range(3):
            put(spans[k], symbols, where[k])
        done, texts, symbols, first = done + 1, texts + len(best), symbols + len(sure), stop
    return done, tree, counts, scores[:texts], lengths[:texts], spans[:, :symbols], confidences[:symbols]


@numba.njit(cache=True)
def wider(array, size):  # type: ignore[no-untyped-def]
    wide = np.empty((len(array), size), array.dtype)
    for k in range(len(array)):
        put(wide[k], 0, array[k])
    return wide
