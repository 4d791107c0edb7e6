"""The compiled part of prefix beam search: one frame after the other, exact merging, no allocation a symbol.

Probabilities of a beam are kept divided by that of its best prefix, whose logarithm is `scale`, so sums are
plain additions and 10,000 frames do not underflow; best single paths, which become unlikely against the sums,
are in logarithms. What a language model and the like give (common.decoding.compiled.scoring) is part of both.

numba compiles at the first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.decoding.compiled.frame_symbols import look, passing
from carousel.common.decoding.compiled.prefix_tree import BLANK, NONE, child_of, grown, record, reserve
from carousel.common.decoding.compiled.recombine import kth_largest, recombine, room_for
from carousel.common.decoding.compiled.scoring import OTHER, gain_of, most_after
from carousel.common.decoding.compiled.selection import gather, select, squeeze

LOW, HIGH = 1e-60, 1e60  # highest probability of a beam outside of which all are scaled; above: by hotwords
# ln that a symbol adds, more than any model that is one: e^300 · 1e60 is a float, and no infinity.
MOST = 300.0
TINY = 1e-280  # … and what is nothing against it: lesser numbers are slow
# What is known of an entry only within a frame.
EARLIER = record(
    node=int,  # before the frame, as of ENTRY
    closed=int,
    blank_sum=float,
    sum=float,  # of both kinds of paths
    blank_path=float,
    path=float,  # the better of both kinds
    over=int,  # closed after the frame
    child=int,  # the first of the entries whose text is this one's and a symbol more
    sibling=int,  # the next of the same
    hole=int,  # a list of its own: the entries that are dropped
)
# A text that is new on the beam.
FOUND = record(
    source=int,  # the entry that it extends
    symbol=int,  # by which
    target=int,  # its node, if something is known of it
    score=float,
)


class Pruning(NamedTuple):
    """What a beam keeps."""

    beam: int  # prefixes after each frame
    symbol_threshold: float  # natural log below which a symbol extends no prefix
    score_threshold: float  # natural log by which a prefix may be below the best one
    nbest: int = 1  # texts that will be asked for: as many are kept of those that go on alike


@borrowing
def stay(entries, alive, earlier, noted, row, probabilities, links, size, frame):  # type: ignore[no-untyped-def]
    """A frame without a new symbol, a blank or the last symbol once more; returns the highest probability.

    Where the best path that goes on with a blank leaves its last symbol, that becomes a link. noted: whether
    what the entries were is noted in `earlier`.
    """
    best = 0.0
    for i in range(alive):
        entry = entries[i]
        if noted:
            note = earlier[i]
            note.blank_sum, note.sum = entry.blank_sum, entry.blank_sum + entry.symbol_sum
            note.blank_path, note.path = entry.blank_path, max(entry.blank_path, entry.symbol_path)
            note.node, note.closed, note.child = entry.node, entry.closed, NONE
        last = entry.last  # the empty text: blank, and nothing ends in it, neither a sum nor a path
        if entry.symbol_path > entry.blank_path:
            link = links[size[1]]
            link.before, link.symbol, link.start, link.end = entry.before, last, entry.start, frame
            link.peak = entry.peak
            entry.closed = size[1]
            size[1] += 1
        if noted:
            earlier[i].over = entry.closed
        blank = (entry.blank_sum + entry.symbol_sum) * probabilities[BLANK]
        again = entry.symbol_sum * probabilities[last]
        if again < TINY:
            again = 0.0
        entry.blank_sum, entry.symbol_sum = blank, again
        best = max(best, blank + again)
        entry.blank_path = max(entry.blank_path, entry.symbol_path) + row[BLANK]
        entry.symbol_path += row[last]
        entry.peak = max(entry.peak, row[last])
    return best


@borrowing
def merge(entries, alive, earlier, nodes, row, probabilities, passed, frame):  # type: ignore[no-untyped-def]
    """Adds to each entry what its parent, if that is on the beam, becomes by the entry's last symbol. Returns
    the highest and the least probability.

    Notes for each entry which others are its children by a symbol that may extend.
    """
    best, least = 0.0, np.inf
    for j in range(alive):
        entry = entries[j]
        symbol = entry.last
        i = nodes[entry.above].row if passed[symbol] else NONE
        if i == NONE:
            total = entry.blank_sum + entry.symbol_sum
            best, least = max(best, total), min(least, total)
            continue
        parent = earlier[i]
        earlier[j].sibling, parent.child = parent.child, j
        gain = nodes[entry.node].gain
        doubled = entries[i].last == symbol
        before = parent.blank_sum if doubled else parent.sum
        entry.symbol_sum += before * probabilities[symbol] * (np.exp(gain) if gain != 0.0 else 1.0)
        path = (parent.blank_path if doubled else parent.path) + row[symbol] + gain
        if path > entry.symbol_path:
            entry.symbol_path, entry.start, entry.peak = path, frame, row[symbol]
            entry.before = parent.closed if doubled else entries[i].closed
        total = entry.blank_sum + entry.symbol_sum
        best, least = max(best, total), min(least, total)
    return best, least


@borrowing
def extend(  # type: ignore[no-untyped-def]
    entries,
    alive,
    earlier,
    found,
    totals,
    nodes,
    table,
    size,
    tables,
    probabilities,
    order,
    count,
    taken,
    stamp,
    beam,
    ratio,
    span,
):
    """Finds the texts that are new on the beam and worth a look; returns how many, and the best probability
    of all.

    order: the `count` symbols that may extend, the likeliest first; taken: (symbols,) to write in, where
    nothing from `stamp` to stamp + n is yet; span: the highest and the least probability of entries. What
    cannot come among the best `beam`, or is below `ratio` of the best, is not computed.
    """
    best, least = span
    if alive < beam:
        least = 0.0  # else the best `beam` are all at least this
    cut = max(least, best * ratio)
    new = 0
    for i in range(alive):
        entry = earlier[i]
        most = (
            most_after(tables, nodes[entry.node].lexicon_node) if tables.units else 1.0
        )  # no symbol gives more
        if entry.sum * probabilities[order[0]] * most <= cut:
            continue
        last = entries[i].last
        child = entry.child
        while child != NONE:
            taken[entries[child].last] = stamp + i
            child = earlier[child].sibling
        for k in range(count):
            symbol = order[k]
            if entry.sum * probabilities[symbol] * most <= cut:
                break
            score = (entry.blank_sum if last == symbol else entry.sum) * probabilities[symbol]
            if score * most <= cut or taken[symbol] == stamp + i:
                continue
            target = NONE
            if tables.units:
                target = scored_child(nodes, table, size, tables, entry.node, symbol)
                if nodes[target].gain != 0.0:
                    score *= np.exp(nodes[target].gain)
                if score <= cut:
                    continue
            if new == len(found):
                gather(entries, alive, found, new, totals, 0.0)
                least = kth_largest(totals, alive + new, beam)
                new = squeeze(found, new, least, beam)
                cut = max(least, cut)
            note = found[new]
            note.score, note.source, note.symbol, note.target = score, i, symbol, target
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
def frames(  # type: ignore[no-untyped-def]
    entries, alive, earlier, found, work, nodes, links, table, size, tables, rows, t, frame, symbol, pruning
):
    """Takes frames from `t` on, until one finds too little room: how many entries there are, the next frame,
    ln of what probabilities were divided by, and how many texts that frame may add. No entries: a frame's
    highest value is not finite.

    rows: (frames, symbols) natural logs; symbol: (p, passed, order, taken), all (symbols,) to write in;
    work: `totals`, and the room of
    `recombine`, to write in.
    """
    totals, room = work
    probabilities, passed, order, taken = symbol
    beam = pruning.beam
    passed[:], taken[:] = False, 0
    ratio, scale, count, stamp = np.exp(-pruning.score_threshold), 0.0, 0, 1
    first = frame - t
    while t < len(rows):
        row, frame, more = rows[t], first + t, 0
        many = look(row, probabilities, pruning.symbol_threshold)
        if many == NONE:
            return 0, t, scale, 0
        if many != 1 or row[BLANK] < pruning.symbol_threshold:  # else surely nothing but the blank passes
            count = passing(row, pruning.symbol_threshold, passed, order, count)
            more = alive * count
        if (
            size[1] + alive > len(links)
            or size[0] + more > len(nodes)
            or min(beam, alive + more) > len(entries)
            or min(2 * beam, more) > len(found)
        ):
            return alive, t, scale, more
        best = stay(entries, alive, earlier, more > 0, row, probabilities, links, size, frame)
        if more > 0:
            span = merge(entries, alive, earlier, nodes, row, probabilities, passed, frame)
            new, best = extend(
                entries, alive, earlier, found, totals, nodes, table, size, tables, probabilities, order,
                count, taken, stamp, beam, ratio, span,
            )  # fmt: skip
            stamp += alive
            if tables.units > OTHER and ratio > 0.0:
                new = recombine(entries, alive, found, new, nodes, pruning.nbest, totals, room)
            if best > 0.0:  # else a lexicon has nowhere to go
                alive = select(
                    entries,
                    alive,
                    earlier,
                    found,
                    new,
                    totals,
                    nodes,
                    table,
                    size,
                    row,
                    frame,
                    beam,
                    best * ratio,
                )
        if 0.0 < best < LOW or best > HIGH:
            scale += np.log(best)
            for i in range(alive):
                entries[i].blank_sum /= best
                entries[i].symbol_sum /= best
        t += 1
    return alive, t, scale, 0


@numba.njit(cache=True, nogil=True)
def run(entries, alive, tree, tables, rows, frame, pruning):  # type: ignore[no-untyped-def]
    """The beam after some frames: entries, how many they are, tree, ln of what probabilities were divided by.

    rows: (frames, symbols) natural logs. No entries: a frame's highest is not finite.
    """
    symbols, beam = rows.shape[1], pruning.beam
    order, taken = np.empty(symbols, np.int32), np.empty(symbols, np.int64)
    symbol = np.empty(symbols), np.empty(symbols, np.bool_), order, taken
    earlier, found, totals = np.empty(len(entries), EARLIER), np.empty(64, FOUND), np.empty(64 + len(entries))
    room = room_for(len(totals) if tables.units > OTHER else 0)
    t, scale = np.int64(0), 0.0  # numba would compile what takes a literal 0 for it alone, too
    while True:
        alive, t_next, divided, more = frames(
            entries, alive, earlier, found, (totals, room), tree.nodes, tree.links, tree.table, tree.size,
            tables, rows, t, frame + t, symbol, pruning,
        )  # fmt: skip
        t, scale = t_next, scale + divided
        if alive == 0 or t == len(rows):
            return entries, alive, tree, scale
        tree = reserve(tree, more, alive)
        if min(beam, alive + more) > len(entries):
            entries = grown(entries, min(beam, 2 * (alive + more)))
            earlier = np.empty(len(entries), EARLIER)
        if min(2 * beam, more) > len(found):
            found = np.empty(min(2 * beam, 2 * more), FOUND)
        totals = np.empty(len(entries) + len(found))
        room = room_for(len(totals) if tables.units > OTHER else 0)
