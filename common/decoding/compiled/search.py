"""The compiled part of prefix beam search: one frame after the other, exact merging, no allocation a symbol.

Probabilities of a beam are kept divided by that of its best prefix, whose logarithm is `scale`, so sums are
plain additions and 10,000 frames do not underflow; best single paths, which become unlikely against the sums,
are in logarithms. What a language model and the like give (common.decoding.compiled.scoring) is part of both.

numba compiles at the first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing, borrowing_fused
from carousel.common.decoding import ROUNDING
from carousel.common.decoding.compiled.prefix_tree import BLANK, NONE, child_of, grown, record, reserve
from carousel.common.decoding.compiled.recombine import kth_largest, recombine, room_for
from carousel.common.decoding.compiled.scoring import OTHER, gain_of, most_after

LOW, HIGH = 1e-60, 1e60  # highest probability of a beam outside of which all are scaled; above: by hotwords
MOST = (
    300.0  # ln that a symbol adds, more than any model that is one: e^300 · 1e60 is a float, and no infinity
)
TINY = 1e-280  # … and what is nothing against it: lesser numbers are slow
# Of e^x: the least x; 1/12! … 1; adding this rounds; ln 2 in two parts, of which n times the first is exact
LEAST = -700.0
TERMS = tuple(1 / math.factorial(k) for k in range(12, -1, -1))
WHOLE = 1.5 * 2**52
LN2 = math.log(2)
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6
# What is known of an entry only within a frame. pb, both (pb + pn), vb, top (the higher of vb and vn), node,
# closed: before the frame; over: closed after it; child: the first of the entries whose text is this one's
# and a symbol more; sibling: the next of the same; hole (a list of its own): the entries that are dropped
BEFORE = record("node closed over child sibling hole", "pb both vb top")
# A text that is new on the beam: the entry that it extends, the symbol, its node if something is known of it
FOUND = record("source symbol target", "score")


class Pruning(NamedTuple):
    """What a beam keeps."""

    beam: int  # prefixes after each frame
    symbol_threshold: float  # natural log below which a symbol extends no prefix
    score_threshold: float  # natural log by which a prefix may be below the best one
    nbest: int = 1  # texts that will be asked for: as many are kept of those that go on alike


@borrowing_fused
def look(row, p, symbol_threshold):  # type: ignore[no-untyped-def]
    """Writes a frame's probabilities, (symbols,); returns how many symbols are not below the threshold, or
    NONE if the highest value is not finite, which NaN is not, or no log-probability.

    e^x = 2^n e^r with n whole and |r| ≤ ln 2 / 2, e^r by its Taylor series, to 3e-16 of it: unlike np.exp, in
    one loop for several symbols at once. What is below e^-700 is none.
    """
    passed, possible, broken = 0, 0, 0  # counted, as that is done for several symbols at once
    for symbol in range(len(row)):
        x = row[symbol]
        passed += x >= symbol_threshold
        possible += x > -np.inf
        broken += not x <= ROUNDING
        bounded = max(x, LEAST)
        n = (bounded * (1 / LN2) + WHOLE) - WHOLE
        r = bounded - n * LN2_HIGH - n * LN2_LOW
        power = 0.0
        for k in numba.literal_unroll(TERMS):
            power = power * r + k
        p[symbol] = power * np.int64((np.int64(n) + 1023) << 52).view(np.float64) if x > LEAST else 0.0
    return passed if possible > 0 and broken == 0 else NONE


@borrowing
def passing(row, symbol_threshold, passed, order, before):  # type: ignore[no-untyped-def]
    """How many symbols may extend in a frame; sets which, and their order; `before` of them did earlier."""
    for k in range(before):
        passed[order[k]] = False
    best = row[BLANK]
    if best < symbol_threshold:
        for symbol in range(1, len(row)):
            best = max(best, row[symbol])
    floor = min(symbol_threshold, best)
    count = 0
    for symbol in range(1, len(row)):
        if row[symbol] >= floor and row[symbol] > -np.inf:
            passed[symbol] = True
            k = count
            while k > 0 and row[order[k - 1]] < row[symbol]:  # few, so insertion is fast
                order[k] = order[k - 1]
                k -= 1
            order[k] = symbol
            count += 1
    return count


@borrowing
def stay(e, n, was, noted, row, p, links, size, frame):  # type: ignore[no-untyped-def]
    """A frame without a new symbol, a blank or the last symbol once more; returns the highest probability.

    Where the best path that goes on with a blank leaves its last symbol, that becomes a link. noted: whether
    what the entries were is noted in `was`.
    """
    best = 0.0
    for i in range(n):
        x = e[i]
        if noted:
            y = was[i]
            y.pb, y.both, y.vb, y.top = x.pb, x.pb + x.pn, x.vb, max(x.vb, x.vn)
            y.node, y.closed, y.child = x.node, x.closed, NONE
        last = x.last  # the empty text: blank, and nothing ends in it, neither a sum nor a path
        if x.vn > x.vb:
            link = links[size[1]]
            link.before, link.symbol, link.start, link.end = x.before, last, x.start, frame
            link.peak = x.peak
            x.closed = size[1]
            size[1] += 1
        if noted:
            was[i].over = x.closed
        blank = (x.pb + x.pn) * p[BLANK]
        again = x.pn * p[last]
        if again < TINY:
            again = 0.0
        x.pb, x.pn = blank, again
        best = max(best, blank + again)
        x.vb = max(x.vb, x.vn) + row[BLANK]
        x.vn += row[last]
        x.peak = max(x.peak, row[last])
    return best


@borrowing
def merge(e, n, was, nodes, row, p, passed, frame):  # type: ignore[no-untyped-def]
    """Adds to each entry what its parent, if that is on the beam, becomes by the entry's last symbol. Returns
    the highest and the least probability.

    Notes for each entry which others are its children by a symbol that may extend.
    """
    best, least = 0.0, np.inf
    for j in range(n):
        x = e[j]
        symbol = x.last
        i = nodes[x.above].row if passed[symbol] else NONE
        if i == NONE:
            total = x.pb + x.pn
            best, least = max(best, total), min(least, total)
            continue
        parent = was[i]
        was[j].sibling, parent.child = parent.child, j
        gain = nodes[x.node].gain
        doubled = e[i].last == symbol
        before = parent.pb if doubled else parent.both
        x.pn += before * p[symbol] * (np.exp(gain) if gain != 0.0 else 1.0)
        path = (parent.vb if doubled else parent.top) + row[symbol] + gain
        if path > x.vn:
            x.vn, x.start, x.peak = path, frame, row[symbol]
            x.before = parent.closed if doubled else e[i].closed
        total = x.pb + x.pn
        best, least = max(best, total), min(least, total)
    return best, least


@borrowing
def extend(  # type: ignore[no-untyped-def]
    e, n, was, found, totals, nodes, table, size, tables, p, order, count, taken, stamp, beam, ratio, span
):
    """Finds the texts that are new on the beam and worth a look; returns how many, and the best probability
    of all.

    order: the `count` symbols that may extend, the likeliest first; taken: (symbols,) to write in, where
    nothing from `stamp` to stamp + n is yet; span: the highest and the least probability of entries. What
    cannot come among the best `beam`, or is below `ratio` of the best, is not computed.
    """
    best, least = span
    if n < beam:
        least = 0.0  # else the best `beam` are all at least this
    cut = max(least, best * ratio)
    new = 0
    for i in range(n):
        x = was[i]
        most = most_after(tables, nodes[x.node].lexicon_node) if tables.units else 1.0  # no symbol gives more
        if x.both * p[order[0]] * most <= cut:
            continue
        last = e[i].last
        child = x.child
        while child != NONE:
            taken[e[child].last] = stamp + i
            child = was[child].sibling
        for k in range(count):
            symbol = order[k]
            if x.both * p[symbol] * most <= cut:
                break
            score = (x.pb if last == symbol else x.both) * p[symbol]
            if score * most <= cut or taken[symbol] == stamp + i:
                continue
            target = NONE
            if tables.units:
                target = scored_child(nodes, table, size, tables, x.node, symbol)
                if nodes[target].gain != 0.0:
                    score *= np.exp(nodes[target].gain)
                if score <= cut:
                    continue
            if new == len(found):
                gather(e, n, found, new, totals, 0.0)
                least = kth_largest(totals, n + new, beam)
                new = squeeze(found, new, least, beam)
                cut = max(least, cut)
            y = found[new]
            y.score, y.source, y.symbol, y.target = score, i, symbol, target
            best, cut = max(best, score), max(cut, score * ratio)
            new += 1
    return new, best


@borrowing
def scored_child(nodes, table, size, tables, node, symbol):  # type: ignore[no-untyped-def]
    """child_of, and what the language model has to say of it, which is asked once for each text."""
    known = size[0]
    child = child_of(nodes, table, size, node, symbol)
    if child == known:
        new, old = nodes[child], nodes[node]
        gain, new.state, new.lexicon_node, new.hot = gain_of(
            tables, old.state, old.lexicon_node, old.hot, symbol
        )
        new.gain = min(gain, MOST)
    return child


@borrowing
def gather(e, n, found, count, totals, cut):  # type: ignore[no-untyped-def]
    """Writes the probabilities of entries and texts that are new, if not below `cut`; returns how many."""
    many = 0
    for i in range(n):
        total = e[i].pb + e[i].pn
        totals[many] = total
        many += total >= cut
    for i in range(count):
        total = found[i].score
        totals[many] = total
        many += total >= cut
    return many


@borrowing
def squeeze(found, count, least, room):  # type: ignore[no-untyped-def]
    """Moves those that score at least `least` to the front, at most `room`; returns how many that are."""
    equal = room
    for k in range(count):
        equal -= found[k].score > least
    kept = 0
    for k in range(count):
        if found[k].score > least or (found[k].score == least and equal > 0):
            equal -= found[k].score == least
            found[kept] = found[k]
            kept += 1
    return kept


@borrowing
def count_above(values, count, limit):  # type: ignore[no-untyped-def]
    above = 0
    for k in range(count):
        above += values[k] > limit
    return above


@borrowing
def select(e, n, was, found, count, totals, nodes, table, size, row, frame, beam, cut):  # type: ignore[no-untyped-def]
    """Drops the entries below `cut`, and puts the texts that are new in their stead; returns how many
    there are."""
    spare = n + count
    if n + count > beam:
        many = gather(e, n, found, count, totals, cut)
        if many > beam:
            cut = kth_largest(totals, many, beam)
            spare = beam - count_above(totals, many, cut)  # of those that are equal to it
    holes = 0
    for i in range(n):
        total = e[i].pb + e[i].pn
        if total > cut or (total == cut and spare > 0 and total > 0):
            spare -= total == cut
        else:
            nodes[e[i].node].row = NONE
            was[holes].hole = i
            holes += 1
    used = 0
    for k in range(count):
        new, parent = found[k], was[found[k].source]
        if not (new.score > cut or (new.score == cut and spare > 0)):
            continue
        spare -= new.score == cut
        if used < holes:
            at = was[used].hole
            used += 1
        else:
            at = n
            n += 1
        symbol, node = new.symbol, new.target
        if node == NONE:
            node = child_of(nodes, table, size, parent.node, symbol)
        nodes[node].row = at
        doubled = nodes[parent.node].symbol == symbol
        x = e[at]
        x.node, x.above, x.last = node, parent.node, symbol
        x.pb, x.pn, x.vb = 0.0, new.score, -np.inf
        x.vn = (parent.vb if doubled else parent.top) + row[symbol] + nodes[node].gain
        x.before = parent.closed if doubled else parent.over
        x.start, x.peak, x.closed = frame, row[symbol], NONE
    while holes > used:  # from the last hole on, so that what stands at the end is no hole
        holes -= 1
        n -= 1
        at = was[holes].hole
        if at != n:
            e[at] = e[n]
            nodes[e[at].node].row = at
    return n


@borrowing
def frames(  # type: ignore[no-untyped-def]
    e, n, was, found, work, nodes, links, table, size, tables, rows, t, frame, symbol, pruning
):
    """Takes frames from `t` on, until one finds too little room: how many entries there are, the next frame,
    ln of what probabilities were divided by, and how many texts that frame may add. No entries: a frame's
    highest value is not finite.

    rows: (frames, symbols) natural logs; symbol: (p, passed, order, taken), all (symbols,) to write in;
    work: `totals`, and the room of
    `recombine`, to write in.
    """
    totals, room = work
    p, passed, order, taken = symbol
    beam = pruning.beam
    passed[:], taken[:] = False, 0
    ratio, scale, count, stamp = np.exp(-pruning.score_threshold), 0.0, 0, 1
    first = frame - t
    while t < len(rows):
        row, frame, more = rows[t], first + t, 0
        many = look(row, p, pruning.symbol_threshold)
        if many == NONE:
            return 0, t, scale, 0
        if many != 1 or row[BLANK] < pruning.symbol_threshold:  # else surely nothing but the blank passes
            count = passing(row, pruning.symbol_threshold, passed, order, count)
            more = n * count
        if (
            size[1] + n > len(links)
            or size[0] + more > len(nodes)
            or min(beam, n + more) > len(e)
            or min(2 * beam, more) > len(found)
        ):
            return n, t, scale, more
        best = stay(e, n, was, more > 0, row, p, links, size, frame)
        if more > 0:
            span = merge(e, n, was, nodes, row, p, passed, frame)
            new, best = extend(
                e, n, was, found, totals, nodes, table, size, tables, p, order, count, taken, stamp,
                beam, ratio, span,
            )  # fmt: skip
            stamp += n
            if tables.units > OTHER and ratio > 0.0:
                new = recombine(e, n, found, new, nodes, pruning.nbest, totals, room)
            if best > 0.0:  # else a lexicon has nowhere to go
                n = select(e, n, was, found, new, totals, nodes, table, size, row, frame, beam, best * ratio)
        if 0.0 < best < LOW or best > HIGH:
            scale += np.log(best)
            for i in range(n):
                e[i].pb /= best
                e[i].pn /= best
        t += 1
    return n, t, scale, 0


@numba.njit(cache=True, nogil=True)
def run(e, n, tree, tables, rows, frame, pruning):  # type: ignore[no-untyped-def]
    """The beam after some frames: entries, how many they are, tree, ln of what probabilities were divided by.

    rows: (frames, symbols) natural logs. No entries: a frame's highest is not finite.
    """
    symbols, beam = rows.shape[1], pruning.beam
    order, taken = np.empty(symbols, np.int32), np.empty(symbols, np.int64)
    symbol = np.empty(symbols), np.empty(symbols, np.bool_), order, taken
    was, found, totals = np.empty(len(e), BEFORE), np.empty(64, FOUND), np.empty(64 + len(e))
    room = room_for(len(totals) if tables.units > OTHER else 0)
    t, scale = np.int64(0), 0.0  # numba would compile what takes a literal 0 for it alone, too
    while True:
        n, t_next, divided, more = frames(
            e, n, was, found, (totals, room), tree.nodes, tree.links, tree.table, tree.size, tables, rows,
            t, frame + t, symbol, pruning,
        )  # fmt: skip
        t, scale = t_next, scale + divided
        if n == 0 or t == len(rows):
            return e, n, tree, scale
        tree = reserve(tree, more, n)
        if min(beam, n + more) > len(e):
            e = grown(e, min(beam, 2 * (n + more)))
            was = np.empty(len(e), BEFORE)
        if min(2 * beam, more) > len(found):
            found = np.empty(min(2 * beam, 2 * more), FOUND)
        totals = np.empty(len(e) + len(found))
        room = room_for(len(totals) if tables.units > OTHER else 0)
