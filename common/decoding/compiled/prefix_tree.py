"""What the compiled beam search keeps: the entries of a beam, and the tree of the texts that were on it.

Texts are nodes of a tree, found by a hash table from the text before and the last symbol. A symbol that is
over on some best path is a link to the one before it, with its frames; links are shared like nodes.

All are arrays of records: numba counts references at each use of an array that stands in a tuple, which takes
longer than the search, and what belongs together is in one cache line.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing

NONE = -1
ROOT = 0  # node of the empty text
BLANK = 0
RARE = 16  # of so many slots of the hash table fewer than one is taken: freeing these is faster than all


def record(**fields: type) -> np.dtype:
    """float64 and int32, floats first: then nothing has to be left free between them."""
    kinds = {float: np.float64, int: np.int32}
    return np.dtype(
        [(name, kinds[kind]) for kind in (float, int) for name in fields if fields[name] is kind], align=True
    )


# A prefix of the beam.
ENTRY = record(
    node=int,  # its text
    above=int,  # the node of the text without its last symbol
    last=int,  # the last symbol; the blank: there is none
    blank_sum=float,  # probability of all paths that end in a blank, over e^scale
    symbol_sum=float,  # … of all that end in the last symbol
    blank_path=float,  # ln of the best path that ends in a blank
    symbol_path=float,  # … of the best that ends in the last symbol
    before=int,  # of symbol_path: the link of the symbol before the last one
    start=int,  # … the last symbol's first frame
    peak=float,  # … the last symbol's highest log-probability so far
    closed=int,  # of blank_path: the link of the last symbol
)
# A text that has been on the beam.
NODE = record(
    parent=int,  # the text without its last symbol
    symbol=int,  # the last symbol
    gain=float,  # what is added to the score for that symbol
    state=int,  # of the language model
    lexicon_node=int,  # where it is in the lexicon or grammar
    hot=int,  # state of the hotwords
    row=int,  # its entry of the beam, or NONE
)
# A symbol that a best path has left.
LINK = record(
    before=int,  # the link of the symbol before it
    symbol=int,
    start=int,  # its first frame
    end=int,  # the frame after its last one
    peak=float,  # its highest log-probability
)


class Tree(NamedTuple):
    """The texts that have been on the beam, and the links of their symbols."""

    nodes: np.ndarray  # (nodes,) NODE
    links: np.ndarray  # (links,) LINK
    table: np.ndarray  # (2^k,) nodes by parent and symbol; ROOT: the slot is free
    size: np.ndarray  # (2,) nodes and links that are in use


def new_tree() -> Tree:
    """The tree of a search that has not begun."""
    return Tree(np.zeros(1, NODE), np.zeros(1, LINK), np.zeros(64, np.int32), np.array([1, 0]))


@numba.njit(cache=True)
def begin(entries, nodes, table, size, state):  # type: ignore[no-untyped-def]
    """Makes the empty text, in this state of the language model, the only one on the beam and in the tree.

    size: what is in use of nodes and table, and of the links.
    """
    entry = entries[0]
    entry.blank_sum, entry.symbol_sum, entry.blank_path, entry.symbol_path, entry.peak = (
        1.0,
        0.0,
        0.0,
        -np.inf,
        -np.inf,
    )
    entry.node, entry.above, entry.last, entry.before, entry.start, entry.closed = (
        ROOT,
        NONE,
        BLANK,
        NONE,
        0,
        NONE,
    )
    if RARE * size[0] < len(table):
        forget(nodes, table, size[0])
    else:
        table[:] = ROOT
    root = nodes[ROOT]
    root.gain, root.parent, root.symbol, root.state = 0.0, NONE, BLANK, state
    root.lexicon_node, root.hot, root.row = 0, 0, 0
    size[0], size[1] = 1, 0


@borrowing
def forget(nodes, table, count):  # type: ignore[no-untyped-def]
    """Frees the slots of `count` nodes in the hash table, and with each those up to the next free one: so
    nothing is left behind what was freed before."""
    mask = len(table) - 1
    for node in range(1, count):
        slot = home_of(nodes[node].parent, nodes[node].symbol, mask)
        while table[slot] != ROOT:
            table[slot] = ROOT
            slot = (slot + 1) & mask


@borrowing
def put(target, at, values):  # type: ignore[no-untyped-def]
    """target[at : at + len(values)] = values, which takes numba a second to compile."""
    for k in range(len(values)):
        target[at + k] = values[k]


@numba.njit(cache=True)
def grown(array, size):  # type: ignore[no-untyped-def]
    longer = np.empty(size, array.dtype)
    put(longer, 0, array)
    return longer


@numba.njit(cache=True)
def reserve(tree, nodes, links):  # type: ignore[no-untyped-def]
    """The tree with room for so many more nodes and links."""
    texts, marks, table = tree.nodes, tree.links, tree.table
    need = tree.size[0] + nodes
    if need > len(texts):
        texts = grown(texts, 2 * need)
        capacity = 64
        while capacity < 2 * len(texts):
            capacity *= 2
        table = np.zeros(capacity, np.int32)
        fill(table, texts, tree.size[0])
    need = tree.size[1] + links
    if need > len(marks):
        marks = grown(marks, 2 * need)
    return Tree(texts, marks, table, tree.size)


@borrowing
def home_of(parent, symbol, mask):  # type: ignore[no-untyped-def]
    return ((np.int64(parent) << 20 ^ symbol) * 0x9E3779B97F4A7C1) >> 20 & mask


@borrowing
def slot_of(nodes, table, parent, symbol):  # type: ignore[no-untyped-def]
    """Where a text is in the hash table, or the free slot where it would be (linear probing)."""
    mask = len(table) - 1
    slot = home_of(parent, symbol, mask)
    while table[slot] != ROOT:
        node = nodes[table[slot]]
        if node.parent == parent and node.symbol == symbol:
            break
        slot = (slot + 1) & mask
    return slot


@borrowing
def fill(table, nodes, count):  # type: ignore[no-untyped-def]
    for node in range(1, count):
        table[slot_of(nodes, table, nodes[node].parent, nodes[node].symbol)] = node


@borrowing
def child_of(nodes, table, size, parent, symbol):  # type: ignore[no-untyped-def]
    """The node of a text and a further symbol, made if there is none yet."""
    slot = slot_of(nodes, table, parent, symbol)
    if table[slot] != ROOT:
        return table[slot]
    child = size[0]
    size[0] = child + 1
    table[slot] = child
    new = nodes[child]
    new.parent, new.symbol, new.row, new.gain = parent, symbol, NONE, 0.0
    new.state, new.lexicon_node, new.hot = 0, 0, 0
    return child


@numba.njit(cache=True)
def compact(entries, count, tree):  # type: ignore[no-untyped-def]
    """The tree with only the texts and links that the `count` entries still need, in their order."""
    texts, marks = tree.nodes, tree.links
    node_used, link_used = np.zeros(tree.size[0], np.bool_), np.zeros(tree.size[1], np.bool_)
    node_used[ROOT] = True
    for i in range(count):
        node_used[entries[i].node] = True
        for link in (entries[i].before, entries[i].closed):
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
        entries[i].node = node_now[entries[i].node]
        if entries[i].above != NONE:
            entries[i].above = node_now[entries[i].above]
        if entries[i].before != NONE:
            entries[i].before = link_now[entries[i].before]
        if entries[i].closed != NONE:
            entries[i].closed = link_now[entries[i].closed]
    size = np.array([len(kept), len(held)])
    return reserve(Tree(kept, held, tree.table, size), len(kept), len(held))
