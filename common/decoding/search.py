"""The compiled part of prefix beam search: one frame after the other, exact merging, no allocation a symbol.

Probabilities of a beam are kept divided by that of its best prefix, whose logarithm is `scale`, so sums are
plain additions and 10,000 frames do not underflow; best single paths, which become unlikely against the sums,
are in logarithms. What a language model and the like give (common.decoding.gains) is part of both.

numba compiles at the first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

import numba
import numpy as np

from common.decoding.gains import gain_of
from common.decoding.tree import (
    BLANK,
    NONE,
    ROOT,
    copy_entry,
    empty_entries,
    grown,
    link_of,
    reserve,
    slot_of,
)


@numba.njit(cache=True)
def kth_largest(values, k):  # type: ignore[no-untyped-def]
    """The k-th largest of values, which are reordered (Hoare's selection)."""
    low, high, want = 0, len(values) - 1, k - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            return values[want]
    return values[want]


@numba.njit(cache=True)
def stay(e, tree, row, p, frame):  # type: ignore[no-untyped-def]
    """The entries after a frame without a new symbol: a blank, or the last symbol once more."""
    n = len(e.node)
    after = empty_entries(n)
    for i in range(n):
        last = tree.symbol[e.node[i]]
        after.node[i] = e.node[i]
        after.pb[i] = (e.pb[i] + e.pn[i]) * p[BLANK]
        after.vb[i] = max(e.vb[i], e.vn[i]) + row[BLANK]
        if e.vn[i] > e.vb[i]:  # the best path leaves its symbol here
            after.closed_before[i], after.closed_start[i] = e.before[i], e.start[i]
            after.closed_end[i], after.closed_peak[i] = frame, e.peak[i]
        else:
            after.closed_before[i], after.closed_start[i] = e.closed_before[i], e.closed_start[i]
            after.closed_end[i], after.closed_peak[i] = e.closed_end[i], e.closed_peak[i]
        if e.node[i] != ROOT:
            after.pn[i] = e.pn[i] * p[last]
            after.vn[i] = e.vn[i] + row[last]
            after.before[i], after.start[i] = e.before[i], e.start[i]
            after.peak[i] = max(e.peak[i], row[last])
    return after


@numba.njit(cache=True)
def merge(e, after, tree, row, p, passed, frame):  # type: ignore[no-untyped-def]
    """Adds to each entry what its parent, if that is on the beam, becomes by the entry's last symbol.

    Returns (entries, symbols): whether an entry's text and a symbol are on the beam already.
    """
    merged = np.zeros((len(e.node), len(p)), np.bool_)
    for j in range(len(e.node)):
        node = e.node[j]
        if node == ROOT:
            continue
        parent, symbol = tree.parent[node], tree.symbol[node]
        if tree.seen[parent] != frame or not passed[symbol]:
            continue
        i = tree.row[parent]
        merged[i, symbol] = True
        doubled = parent != ROOT and tree.symbol[parent] == symbol
        before = e.pb[i] if doubled else e.pb[i] + e.pn[i]
        after.pn[j] += before * p[symbol] * (np.exp(tree.gain[node]) if tree.gain[node] != 0.0 else 1.0)
        blank = doubled or e.vb[i] >= e.vn[i]
        path = (e.vb[i] if blank else e.vn[i]) + row[symbol] + tree.gain[node]
        if path > after.vn[j]:
            after.vn[j], after.start[j], after.peak[j] = path, frame, row[symbol]
            after.before[j] = link_of(tree, e, i, frame, blank)
    return merged


@numba.njit(cache=True)
def extend(e, after, tree, know, p, order, merged, beam, ratio):  # type: ignore[no-untyped-def]
    """Texts that are new on the beam: (scores, entries that they extend, symbols, gains), those worth a look.

    order: symbols that may extend, the likeliest first. What cannot come among the best `beam`, or is below
    `ratio` of the best, is not computed.
    """
    n = len(e.node)
    stayed = after.pb + after.pn
    best = stayed.max()
    least = stayed.min() if n >= beam else 0.0  # the best `beam` are all above this
    most = np.exp(know.most)
    room = max(64, 2 * n)
    scores, rows, symbols, gains = (
        np.empty(room),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room),
    )
    count = 0
    for i in range(n):
        last = tree.symbol[e.node[i]]  # blank for the empty text, and so no symbol
        either = e.pb[i] + e.pn[i]
        for symbol in order:
            score = (e.pb[i] if last == symbol else either) * p[symbol]
            cut = max(least, best * ratio)
            if either * p[symbol] * most <= cut:
                break
            if score * most <= cut or merged[i, symbol]:
                continue
            gain = 0.0
            if know.units:
                node = e.node[i]
                gain = gain_of(know, tree.state[node], tree.spot[node], tree.hot[node], symbol)[0]
                score *= np.exp(gain)
                if score <= cut:
                    continue
            if count == len(scores):
                if n + count > 2 * beam:
                    least = max(least, kth_largest(np.concatenate((stayed, scores)), beam))
                    count = squeeze(scores, rows, symbols, gains, least)
                if 2 * count > len(scores):
                    room = 2 * len(scores)
                    scores, rows = grown(scores, room), grown(rows, room)
                    symbols, gains = grown(symbols, room), grown(gains, room)
            scores[count], rows[count], symbols[count], gains[count] = score, i, symbol, gain
            best = max(best, score)
            count += 1
    return scores[:count], rows[:count], symbols[:count], gains[:count]


@numba.njit(cache=True)
def squeeze(scores, rows, symbols, gains, least):  # type: ignore[no-untyped-def]
    """Moves what scores at least `least` to the front; returns how many that are."""
    count = 0
    for k in range(len(scores)):
        if scores[k] >= least:
            scores[count], rows[count], symbols[count], gains[count] = (
                scores[k],
                rows[k],
                symbols[k],
                gains[k],
            )
            count += 1
    return count


@numba.njit(cache=True)
def child_of(tree, know, node, symbol, gain, width):  # type: ignore[no-untyped-def]
    """The node of a text and a further symbol, made if there is none yet."""
    wanted = np.int64(node) * width + symbol
    slot = slot_of(tree.key, wanted)
    if tree.key[slot] != NONE:
        return tree.value[slot]
    child = tree.size[0]
    tree.size[0] = child + 1
    tree.key[slot], tree.value[slot] = wanted, child
    tree.parent[child], tree.symbol[child], tree.gain[child], tree.seen[child] = node, symbol, gain, NONE
    state, spot, hot = tree.state[node], tree.spot[node], tree.hot[node]
    if know.units:
        _, state, spot, hot = gain_of(know, state, spot, hot, symbol)
    tree.state[child], tree.spot[child], tree.hot[child] = state, spot, hot
    return child


@numba.njit(cache=True)
def select(e, after, tree, know, row, found, frame, beam, ratio):  # type: ignore[no-untyped-def]
    """The best of the entries that stayed and the texts that are new."""
    scores, rows, symbols, gains = found
    n, m = len(after.node), len(scores)
    totals = np.concatenate((after.pb + after.pn, scores))
    cut, spare = totals.max() * ratio, n + m
    if n + m > beam:
        least = kth_largest(totals.copy(), beam)
        if least > cut:
            cut = least
            spare = beam - np.sum(totals > cut)  # of those that are equal to the least
    kept = np.empty(n + m, np.int32)
    count = 0
    for k in range(n + m):
        if totals[k] > cut or (totals[k] == cut and spare > 0 and totals[k] > 0):
            spare -= totals[k] == cut
            kept[count] = k
            count += 1
    chosen = empty_entries(count)
    for k in range(count):
        i = kept[k]
        if i < n:
            copy_entry(after, i, chosen, k)
            continue
        i -= n
        parent, symbol = rows[i], symbols[i]
        doubled = e.node[parent] != ROOT and tree.symbol[e.node[parent]] == symbol
        blank = doubled or e.vb[parent] >= e.vn[parent]
        chosen.node[k] = child_of(tree, know, e.node[parent], symbol, gains[i], len(row))
        chosen.pn[k] = scores[i]
        chosen.vn[k] = (e.vb[parent] if blank else e.vn[parent]) + row[symbol] + gains[i]
        chosen.before[k] = link_of(tree, e, parent, frame, blank)
        chosen.start[k], chosen.peak[k] = frame, row[symbol]
    return chosen


@numba.njit(cache=True)
def run(e, tree, know, rows, frame, scale, beam, symbol_threshold, score_threshold):  # type: ignore[no-untyped-def]
    """The beam after some frames, rows (frames, symbols) of natural logs: entries, tree, frame, scale."""
    ratio = np.exp(-score_threshold)
    symbols = rows.shape[1]
    passed, order = np.empty(symbols, np.bool_), np.empty(symbols, np.int32)
    for row in rows:
        new = min(beam, len(e.node) * symbols)
        tree = reserve(tree, new, len(e.node) + new, symbols)
        p = np.exp(row)
        floor = min(symbol_threshold, row.max())
        count = 0
        for symbol in range(symbols):
            passed[symbol] = symbol != BLANK and row[symbol] >= floor and row[symbol] > -np.inf
            if passed[symbol]:
                k = count
                while k > 0 and row[order[k - 1]] < row[symbol]:  # few, so insertion is fast
                    order[k] = order[k - 1]
                    k -= 1
                order[k] = symbol
                count += 1
        after = stay(e, tree, row, p, frame)
        if count:
            merged = merge(e, after, tree, row, p, passed, frame)
            found = extend(e, after, tree, know, p, order[:count], merged, beam, ratio)
            after = select(e, after, tree, know, row, found, frame, beam, ratio)
        e = after
        frame += 1
        best = 0.0
        for i in range(len(e.node)):
            tree.seen[e.node[i]], tree.row[e.node[i]] = frame, i
            best = max(best, e.pb[i] + e.pn[i])
        scale += np.log(best)
        for i in range(len(e.node)):
            e.pb[i] /= best
            e.pn[i] /= best
    return e, tree, frame, scale
