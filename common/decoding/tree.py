"""What the compiled beam search keeps: the entries of a beam, and the tree of the texts that were on it.

Texts are nodes of a tree, found by a hash table from the text before and the last symbol. A symbol that is
over on some best path is a link to the one before it, with its place; links are shared like nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

NONE = -1
ROOT = 0  # node of the empty text
BLANK = 0


class Entries(NamedTuple):
    """The prefixes of a beam: arrays with one element each."""

    node: np.ndarray
    pb: np.ndarray  # probability of all paths that end in a blank, over that of the best prefix
    pn: np.ndarray  # … of all that end in the last symbol
    vb: np.ndarray  # ln of the best path that ends in a blank
    vn: np.ndarray  # ln of the best path that ends in the last symbol
    before: np.ndarray  # path of vn: link of the symbol before the last one,
    start: np.ndarray  # … first frame of the last symbol,
    peak: np.ndarray  # … and its highest log-probability so far
    closed_before: np.ndarray  # path of vb: the same of its last symbol,
    closed_start: np.ndarray
    closed_end: np.ndarray  # … and the frame after it
    closed_peak: np.ndarray


class Tree(NamedTuple):
    """The texts that have been on the beam, and the links of their symbols."""

    parent: np.ndarray  # (nodes,) text without its last symbol
    symbol: np.ndarray  # (nodes,) last symbol
    gain: np.ndarray  # (nodes,) ln of what the language model gives for the last symbol
    state: np.ndarray  # (nodes,) state of the language model
    spot: np.ndarray  # (nodes,) place in the lexicon or grammar
    hot: np.ndarray  # (nodes,) state of the table of hotwords
    row: np.ndarray  # (nodes,) entry of the beam, if
    seen: np.ndarray  # (nodes,) … this is the frame
    key: np.ndarray  # (2^k,) hash table: parent * symbols + symbol, or NONE
    value: np.ndarray  # (2^k,) its node
    link_before: np.ndarray  # (links,)
    link_symbol: np.ndarray
    link_start: np.ndarray
    link_end: np.ndarray
    link_peak: np.ndarray
    size: np.ndarray  # (2,) nodes and links that are in use


@numba.njit(cache=True)
def grown(array, size):  # type: ignore[no-untyped-def]
    longer = np.empty(size, array.dtype)
    longer[: len(array)] = array
    return longer


@numba.njit(cache=True)
def reserve(tree, nodes, links, symbols):  # type: ignore[no-untyped-def]
    """The tree with room for so many more nodes and links."""
    parent, symbol, gain, state, spot, hot, row, seen = (
        tree.parent,
        tree.symbol,
        tree.gain,
        tree.state,
        tree.spot,
        tree.hot,
        tree.row,
        tree.seen,
    )
    key, value = tree.key, tree.value
    before, of, start, end, peak = (
        tree.link_before,
        tree.link_symbol,
        tree.link_start,
        tree.link_end,
        tree.link_peak,
    )
    need = tree.size[0] + nodes
    if need > len(parent):
        room = 2 * need
        parent, symbol, gain = grown(parent, room), grown(symbol, room), grown(gain, room)
        state, spot, hot = grown(state, room), grown(spot, room), grown(hot, room)
        row, seen = grown(row, room), grown(seen, room)
    if 2 * need > len(key):
        capacity = len(key)
        while capacity < 4 * need:
            capacity *= 2
        key, value = np.full(capacity, NONE, np.int64), np.empty(capacity, np.int32)
        for node in range(1, tree.size[0]):
            put(key, value, np.int64(parent[node]) * symbols + symbol[node], node)
    need = tree.size[1] + links
    if need > len(before):
        room = 2 * need
        before, of, start, end, peak = (
            grown(before, room), grown(of, room), grown(start, room), grown(end, room), grown(peak, room),
        )  # fmt: skip
    return Tree(
        parent, symbol, gain, state, spot, hot, row, seen,
        key, value, before, of, start, end, peak, tree.size,
    )  # fmt: skip


@numba.njit(cache=True)
def slot_of(key, wanted):  # type: ignore[no-untyped-def]
    """Where a key is in the hash table, or the free place where it would be (linear probing)."""
    mask = len(key) - 1
    slot = (wanted * 0x9E3779B97F4A7C1) >> 20 & mask
    while key[slot] != NONE and key[slot] != wanted:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True)
def put(key, value, wanted, node):  # type: ignore[no-untyped-def]
    slot = slot_of(key, wanted)
    key[slot], value[slot] = wanted, node


@numba.njit(cache=True)
def add_link(tree, before, symbol, start, end, peak):  # type: ignore[no-untyped-def]
    link = tree.size[1]
    tree.link_before[link], tree.link_symbol[link] = before, symbol
    tree.link_start[link], tree.link_end[link], tree.link_peak[link] = start, end, peak
    tree.size[1] = link + 1
    return link


@numba.njit(cache=True)
def link_of(tree, e, i, frame, blank):  # type: ignore[no-untyped-def]
    """A link for the last symbol of entry i, on its best path that ends in a blank or in the symbol."""
    if e.node[i] == ROOT:
        return NONE
    symbol = tree.symbol[e.node[i]]
    if blank:
        return add_link(
            tree, e.closed_before[i], symbol, e.closed_start[i], e.closed_end[i], e.closed_peak[i]
        )
    return add_link(tree, e.before[i], symbol, e.start[i], frame, e.peak[i])


@numba.njit(cache=True)
def empty_entries(count):  # type: ignore[no-untyped-def]
    return Entries(
        np.zeros(count, np.int32), np.zeros(count), np.zeros(count),
        np.full(count, -np.inf), np.full(count, -np.inf),
        np.full(count, NONE, np.int32), np.zeros(count, np.int32), np.full(count, -np.inf),
        np.full(count, NONE, np.int32), np.zeros(count, np.int32), np.zeros(count, np.int32),
        np.full(count, -np.inf),
    )  # fmt: skip


@numba.njit(cache=True)
def copy_entry(source, i, target, k):  # type: ignore[no-untyped-def]
    target.node[k], target.pb[k], target.pn[k] = source.node[i], source.pb[i], source.pn[i]
    target.vb[k], target.vn[k] = source.vb[i], source.vn[i]
    target.before[k], target.start[k], target.peak[k] = source.before[i], source.start[i], source.peak[i]
    target.closed_before[k], target.closed_start[k] = source.closed_before[i], source.closed_start[i]
    target.closed_end[k], target.closed_peak[k] = source.closed_end[i], source.closed_peak[i]


@numba.njit(cache=True)
def compact(e, tree, symbols):  # type: ignore[no-untyped-def]
    """The tree with only the texts and links that the entries still need, in their order."""
    nodes, links = tree.size[0], tree.size[1]
    node_used, link_used = np.zeros(nodes, np.bool_), np.zeros(links, np.bool_)
    node_used[ROOT] = True
    for i in range(len(e.node)):
        node_used[e.node[i]] = True
        for link in (e.before[i], e.closed_before[i]):
            if link != NONE:
                link_used[link] = True
    for node in range(nodes - 1, 0, -1):  # a parent is older than its children
        if node_used[node]:
            node_used[tree.parent[node]] = True
    for link in range(links - 1, -1, -1):
        if link_used[link] and tree.link_before[link] != NONE:
            link_used[tree.link_before[link]] = True
    node_now, link_now = np.cumsum(node_used) - 1, np.cumsum(link_used) - 1
    kept, held = np.flatnonzero(node_used), np.flatnonzero(link_used)
    parent = node_now[tree.parent[kept]].astype(np.int32)
    before = np.empty(len(held), np.int32)
    for k in range(len(held)):
        old = tree.link_before[held[k]]
        before[k] = NONE if old == NONE else link_now[old]
    for i in range(len(e.node)):
        e.node[i] = node_now[e.node[i]]
        if e.before[i] != NONE:
            e.before[i] = link_now[e.before[i]]
        if e.closed_before[i] != NONE:
            e.closed_before[i] = link_now[e.closed_before[i]]
    key, value = np.full(64, NONE, np.int64), np.empty(64, np.int32)
    smaller = Tree(
        parent, tree.symbol[kept], tree.gain[kept], tree.state[kept], tree.spot[kept], tree.hot[kept],
        tree.row[kept], tree.seen[kept], key, value,
        before, tree.link_symbol[held], tree.link_start[held], tree.link_end[held], tree.link_peak[held],
        np.array([len(kept), len(held)]),
    )  # fmt: skip
    return reserve(smaller, 64, 64, symbols)
