"""Texts from which everything goes on alike.

Of those that language model, lexicon and hotwords cannot tell apart any more, and that end in the same
symbol, only the likeliest can become the best text (recombination, as in Ney 1984, "The use of a one-stage
dynamic programming algorithm for connected word recognition"). So as many of each kind are kept as texts are
asked for, and the beam has room for texts that differ in what can follow. What is lost are paths that come
back to a text from a prefix that was dropped: little of a score where the network is sure.
"""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.decoding.compiled.prefix_tree import NONE


@borrowing
def kth_largest(values, count, k):  # type: ignore[no-untyped-def]
    """The k-th largest of the first `count` values, which are reordered (quickselect; what is above the pivot
    is moved without asking, as no processor foresees such answers)."""
    low, high = 0, count
    while True:
        a, pivot, b = values[low], values[(low + high) // 2], values[high - 1]
        pivot = max(min(a, b), min(max(a, b), pivot))
        above = to_front(values, low, high, pivot, False)
        if k <= above:
            high = above
            continue
        low = to_front(values, above, high, pivot, True)
        if k <= low:
            return pivot


@borrowing
def to_front(values, low, high, pivot, equal):  # type: ignore[no-untyped-def]
    """Moves what of values[low:high] is above the pivot, or equal, to the front; where the rest begins."""
    for j in range(low, high):
        value = values[j]
        values[j], values[low] = values[low], value
        low += value == pivot if equal else value > pivot
    return low


@numba.njit(cache=True)
def room_for(texts):  # type: ignore[no-untyped-def]
    """To write in, for so many texts: the next of the same kind, a hash table of the last of each kind, and
    where in it the kinds are."""
    size = 64
    while size < 2 * texts:
        size *= 2
    return np.empty(texts, np.int32), np.full(size, NONE, np.int32), np.empty(texts, np.int32)


@borrowing
def recombine(entries, alive, found, count, nodes, keep, totals, room):  # type: ignore[no-untyped-def]
    """Drops what is not among the likeliest `keep` of its kind: entries get no probability, and texts that
    are new are removed. Returns how many of these there are.

    totals, room: to write in; the hash table of `room` is empty before and after.
    """
    chain, last, kinds = room
    mask, many = len(last) - 1, 0
    for i in range(alive + count):
        node = nodes[entries[i].node] if i < alive else nodes[found[i - alive].target]
        slot = slot_of_kind(entries, alive, found, nodes, node, last, mask)
        if last[slot] == NONE:
            kinds[many] = slot
            many += 1
        chain[i], last[slot] = last[slot], i
    for k in range(many):
        first = last[kinds[k]]
        last[kinds[k]] = NONE
        if chain[first] != NONE:
            thin(entries, alive, found, first, chain, keep, totals)
    kept = 0
    for k in range(count):
        if found[k].score > 0.0:
            if kept < k:
                found[kept] = found[k]
            kept += 1
    return kept


@borrowing
def slot_of_kind(entries, alive, found, nodes, node, last, mask):  # type: ignore[no-untyped-def]
    """Where the hash table has texts from which all goes on as from `node`, or the free slot for them."""
    key = np.int64(node.state) * 0x9E3779B97F4A7C1 ^ np.int64(node.lexicon_node) * 0x61C8864680B583EB
    key ^= np.int64(node.hot) * 0x2545F4914F6CDD1D ^ np.int64(node.symbol) * 0x369DEA0F31A53F85
    slot = key >> 20 & mask
    while last[slot] != NONE:
        i = last[slot]
        other = nodes[entries[i].node] if i < alive else nodes[found[i - alive].target]
        if (
            other.state == node.state
            and other.lexicon_node == node.lexicon_node
            and other.hot == node.hot
            and other.symbol == node.symbol
        ):
            break
        slot = (slot + 1) & mask
    return slot


@borrowing
def thin(entries, alive, found, first, chain, keep, totals):  # type: ignore[no-untyped-def]
    """Takes their probability from all texts of a chain but the likeliest `keep`."""
    size, i = 0, first
    while i != NONE:
        totals[size] = entries[i].blank_sum + entries[i].symbol_sum if i < alive else found[i - alive].score
        size, i = size + 1, chain[i]
    if size <= keep:
        return
    least = kth_largest(totals, size, keep)
    equal = keep
    for k in range(size):
        equal -= totals[k] > least
    i = first
    while i != NONE:
        total = entries[i].blank_sum + entries[i].symbol_sum if i < alive else found[i - alive].score
        if total < least or (total == least and equal == 0):
            if i < alive:
                entries[i].blank_sum = entries[i].symbol_sum = 0.0
            else:
                found[i - alive].score = 0.0
        elif total == least:
            equal -= 1
        i = chain[i]
