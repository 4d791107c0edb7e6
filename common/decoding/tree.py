"""What the compiled beam search keeps: the entries of a beam, and the tree of the texts that were on it.

Texts are nodes of a tree, found by a hash table from the text before and the last symbol. A symbol that is
over on some best path is a link to the one before it, with its place; links are shared like nodes.

All are arrays of records: numba counts references at each use of an array that stands in a tuple, which takes
longer than the search, and what belongs together is in one cache line.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

NONE = -1
ROOT = 0  # node of the empty text
BLANK = 0


def record(integers: str, floats: str) -> np.dtype:
    return np.dtype(
        [(name, np.float64) for name in floats.split()] + [(name, np.int32) for name in integers.split()],
        align=True,
    )


# A prefix of the beam:
# node; above, that of the text without its last symbol; last, that symbol (blank: there is none)
# pb, pn: probability of all paths that end in a blank or in the last symbol, over e^scale
# vb, vn: ln of the best path of either kind
# before, start, peak: path of vn: link of the symbol before the last one, first frame of the last symbol, and
# its highest log-probability so far
# closed: path of vb: link of its last symbol
ENTRY = record("node above last before start closed", "pb pn vb vn peak")
# A text that has been on the beam: parent, the text without its last symbol; symbol, that one; gain, ln of what the language model
# gives for it; state of the language model; spot, the place in the lexicon; row, the entry of the beam or NONE
NODE = record("parent symbol state spot row", "gain")
# A symbol on a best path that has left it
LINK = record("before symbol start end", "peak")
# hash table: key is parent * symbols + symbol, or NONE
SLOT = np.dtype([("key", np.int64), ("node", np.int32)], align=True)


class Tree(NamedTuple):
    """The texts that have been on the beam, and the links of their symbols."""

    nodes: np.ndarray  # (nodes,) NODE
    links: np.ndarray  # (links,) LINK
    table: np.ndarray  # (2^k,) SLOT
    size: np.ndarray  # (2,) nodes and links that are in use


@numba.njit(cache=True)
def grown(array, size):  # type: ignore[no-untyped-def]
    longer = np.empty(size, array.dtype)
    longer[: len(array)] = array
    return longer


@numba.njit(cache=True)
def reserve(tree, nodes, links, symbols):  # type: ignore[no-untyped-def]
    """The tree with room for so many more nodes and links."""
    texts, marks, table = tree.nodes, tree.links, tree.table
    need = tree.size[0] + nodes
    if need > len(texts):
        texts = grown(texts, 2 * need)
        capacity = len(table)
        while capacity < 2 * len(texts):
            capacity *= 2
        table = np.empty(capacity, table.dtype)
        for slot in range(capacity):
            table[slot].key = NONE
        for node in range(1, tree.size[0]):
            slot = slot_of(table, np.int64(texts[node].parent) * symbols + texts[node].symbol)
            table[slot].key, table[slot].node = (
                np.int64(texts[node].parent) * symbols + texts[node].symbol,
                node,
            )
    need = tree.size[1] + links
    if need > len(marks):
        marks = grown(marks, 2 * need)
    return Tree(texts, marks, table, tree.size)


@numba.njit(cache=True, _nrt=False)
def slot_of(table, key):  # type: ignore[no-untyped-def]
    """Where a key is in the hash table, or the free place where it would be (linear probing)."""
    mask = len(table) - 1
    slot = (key * 0x9E3779B97F4A7C1) >> 20 & mask
    while table[slot].key != NONE and table[slot].key != key:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, _nrt=False)
def child_of(nodes, table, size, node, symbol, symbols):  # type: ignore[no-untyped-def]
    """The node of a text and a further symbol, made if there is none yet."""
    key = np.int64(node) * symbols + symbol
    slot = slot_of(table, key)
    if table[slot].key != NONE:
        return table[slot].node
    child = size[0]
    size[0] = child + 1
    table[slot].key, table[slot].node = key, child
    new = nodes[child]
    new.parent, new.symbol, new.row, new.gain, new.state, new.spot = node, symbol, NONE, 0.0, 0, 0
    return child


@numba.njit(cache=True)
def compact(e, count, tree, symbols):  # type: ignore[no-untyped-def]
    """The tree with only the texts and links that the `count` entries still need, in their order."""
    texts, marks = tree.nodes, tree.links
    node_used, link_used = np.zeros(tree.size[0], np.bool_), np.zeros(tree.size[1], np.bool_)
    node_used[ROOT] = True
    for i in range(count):
        node_used[e[i].node] = True
        for link in (e[i].before, e[i].closed):
            if link != NONE:
                link_used[link] = True
    for node in range(len(node_used) - 1, 0, -1):  # a parent is older than its children
        if node_used[node]:
            node_used[texts[node].parent] = True
    for link in range(len(link_used) - 1, -1, -1):
        if link_used[link] and marks[link].before != NONE:
            link_used[marks[link].before] = True
    node_now, link_now = np.cumsum(node_used) - 1, np.cumsum(link_used) - 1
    kept, held = texts[: len(node_used)][node_used], marks[: len(link_used)][link_used]
    for k in range(1, len(kept)):
        kept[k].parent = node_now[kept[k].parent]
    for k in range(len(held)):
        if held[k].before != NONE:
            held[k].before = link_now[held[k].before]
    for i in range(count):
        e[i].node = node_now[e[i].node]
        if e[i].above != NONE:
            e[i].above = node_now[e[i].above]
        if e[i].before != NONE:
            e[i].before = link_now[e[i].before]
        if e[i].closed != NONE:
            e[i].closed = link_now[e[i].closed]
    size = np.array([len(kept), len(held)])
    return reserve(Tree(kept, held, tree.table[:1].copy(), size), len(kept), len(held), symbols)
