"""Which of the entries, and of the texts that are new, make the next beam."""

from __future__ import annotations

import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.decoding.compiled.prefix_tree import NONE, child_of
from carousel.common.decoding.compiled.recombine import kth_largest


@borrowing
def gather(entries, alive, found, count, totals, cut):  # type: ignore[no-untyped-def]
    """Writes the probabilities of entries and texts that are new, if not below `cut`; returns how many."""
    many = 0
    for i in range(alive):
        total = entries[i].blank_sum + entries[i].symbol_sum
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
def select(entries, alive, earlier, found, count, totals, nodes, table, size, row, frame, beam, cut):  # type: ignore[no-untyped-def]
    """Drops the entries below `cut`, and puts the texts that are new in their stead; returns how many
    there are."""
    spare = alive + count
    if alive + count > beam:
        many = gather(entries, alive, found, count, totals, cut)
        if many > beam:
            cut = kth_largest(totals, many, beam)
            spare = beam - count_above(totals, many, cut)  # of those that are equal to it
    holes = 0
    for i in range(alive):
        total = entries[i].blank_sum + entries[i].symbol_sum
        if total > cut or (total == cut and spare > 0 and total > 0):
            spare -= total == cut
        else:
            nodes[entries[i].node].row = NONE
            earlier[holes].hole = i
            holes += 1
    used = 0
    for k in range(count):
        new, parent = found[k], earlier[found[k].source]
        if not (new.score > cut or (new.score == cut and spare > 0)):
            continue
        spare -= new.score == cut
        if used < holes:
            at = earlier[used].hole
            used += 1
        else:
            at = alive
            alive += 1
        symbol, node = new.symbol, new.target
        if node == NONE:
            node = child_of(nodes, table, size, parent.node, symbol)
        nodes[node].row = at
        doubled = nodes[parent.node].symbol == symbol
        entry = entries[at]
        entry.node, entry.above, entry.last = node, parent.node, symbol
        entry.blank_sum, entry.symbol_sum, entry.blank_path = 0.0, new.score, -np.inf
        entry.symbol_path = (parent.blank_path if doubled else parent.path) + row[symbol] + nodes[node].gain
        entry.before = parent.closed if doubled else parent.over
        entry.start, entry.peak, entry.closed = frame, row[symbol], NONE
    while holes > used:  # from the last hole on, so that what stands at the end is no hole
        holes -= 1
        alive -= 1
        at = earlier[holes].hole
        if at != alive:
            entries[at] = entries[alive]
            nodes[entries[at].node].row = at
    return alive
