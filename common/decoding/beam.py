"""Prefix beam search (Graves 2006, section 3.2; Hannun 2014, algorithm 1), with the place of every symbol.

A beam holds prefixes of texts. All paths that write the same prefix are one entry, which knows their total
probability in two parts, that of paths ending in a blank (pb) and that of paths ending in the last symbol
(pn): only the first may write the same symbol once more. Beside the sums each entry keeps the best single
path of either kind (vb, vn), which says where each symbol is and how sure it is. Everything is in natural
logs and float64, which 10,000 frames do not underflow.

Frames where nothing but the blank passes the symbol threshold only update the sums, without search: a path
through them has still ended in a blank, so a doubled letter is not lost.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.alphabet import BLANK, Alphabet
from common.decoding import Hypothesis, check, check_search, place

# A symbol on a path: (the link before it or None, index, first frame, frame after the last, highest
# log-probability in between). Prefixes share links, and the last prefix that needs one frees it.
Link = tuple["Link | None", int, int, int, float]

ROOT = 0  # node of the empty prefix


def decode(
    log_probs: np.ndarray,
    alphabet: Alphabet,
    *,
    beam: int = 16,
    nbest: int = 1,
    symbol_threshold: float = -8.0,
    score_threshold: float = 15.0,
) -> list[Hypothesis]:
    """The likeliest texts, best first: at most nbest, and at least one.

    log_probs: (frames, symbols) natural log, column 0 the blank.
    beam: how many prefixes are kept after each frame.
    symbol_threshold: a prefix is not extended by a symbol whose log-probability in that frame is below this,
        unless it is the frame's highest; blank and repetition always go on. -inf switches this off.
    score_threshold: prefixes by more than this below the best one (natural log) are dropped. inf: off.

    The score is the log-probability of the text, summed over all its paths but those that were pruned:
    without pruning CTC's forward score. Places and confidences are those of the best of these paths.
    Raises InputError for NaN, a shape that does not fit the alphabet, or an option that makes no sense.
    """
    check(log_probs, alphabet)
    check_search(beam, nbest, symbol_threshold, score_threshold)
    search = Search(beam=beam, symbol_threshold=symbol_threshold, score_threshold=score_threshold)
    advance(search, log_probs)
    return hypotheses(search, alphabet, nbest)


@dataclass
class Entries:
    """The prefixes of a beam: arrays with one element an entry."""

    node: np.ndarray  # number of the prefix
    parent: np.ndarray  # number of the prefix without its last symbol, -1 for the empty one
    last: np.ndarray  # index of the last symbol, blank for the empty one
    pb: np.ndarray  # ln of all paths that end in a blank
    pn: np.ndarray  # ln of all paths that end in the last symbol
    vb: np.ndarray  # ln of the best path that ends in a blank
    vn: np.ndarray  # ln of the best path that ends in the last symbol
    closed: np.ndarray  # path of vb: link of the last symbol
    before: np.ndarray  # path of vn: link before the last symbol,
    start: np.ndarray  # … first frame of the last symbol
    peak: np.ndarray  # … and its highest log-probability so far


def _empty_prefix() -> Entries:
    zero, never, nothing = np.array([0.0]), np.array([-np.inf]), np.array([None])
    node, parent, last = np.array([ROOT]), np.array([-1]), np.array([BLANK])
    return Entries(node, parent, last, zero, never, zero, never, nothing, nothing, np.array([0]), never)


@dataclass
class Search:
    """A beam between two frames, fed by advance and asked by hypotheses."""

    beam: int
    symbol_threshold: float
    score_threshold: float
    frame: int = 0  # frames seen
    entries: Entries = field(default_factory=_empty_prefix)
    # (number of the prefix before, last symbol) -> number. A prefix that fell off the beam and comes back
    # must be known again, or its children that stayed there would not be merged with what it writes now.
    nodes: dict[tuple[int, int], int] = field(default_factory=dict)


def advance(search: Search, log_probs: np.ndarray) -> None:
    """Feeds further frames (frames, symbols); block by block or all at once, the result is the same."""
    rows = log_probs.astype(np.float64)
    floor = np.minimum(search.symbol_threshold, rows.max(axis=1, initial=-np.inf))
    passed = (rows >= floor[:, None]) & (rows > -np.inf)
    passed[:, BLANK] = False
    for row, extending in zip(rows, passed, strict=True):
        _step(search, row, np.flatnonzero(extending))


def hypotheses(search: Search, alphabet: Alphabet, nbest: int) -> list[Hypothesis]:
    """The best texts after the frames so far, best first."""
    scores = np.logaddexp(search.entries.pb, search.entries.pn)
    links = _close(search.entries, search.frame)
    found = []
    for entry in np.argsort(-scores, kind="stable")[:nbest].tolist():
        indices, spans = _unroll(links[entry])
        found.append(Hypothesis(place(alphabet, indices, spans), float(scores[entry])))
    return found


def _unroll(link: Link | None) -> tuple[list[int], list[tuple[int, int, float]]]:
    """Indices and (start, end, confidence) of the symbols up to a link."""
    indices, spans = [], []
    while link is not None:
        link, index, start, end, peak = link
        indices.append(index)
        spans.append((start, end, math.exp(peak)))
    return indices[::-1], spans[::-1]


def _close(entries: Entries, frame: int) -> np.ndarray:
    """Of each entry the link of the last symbol, ending before this frame, on its better path: objects."""
    links = entries.closed.copy()
    for i in np.flatnonzero(entries.vn > entries.vb).tolist():
        index, start, peak = int(entries.last[i]), int(entries.start[i]), float(entries.peak[i])
        links[i] = (entries.before[i], index, start, frame, peak)
    return links


class Growth(NamedTuple):
    """What entries become in a frame by one more symbol; only a path that ends in a blank doubles one."""

    symbols: np.ndarray  # (symbols,) indices, ascending
    peaks: np.ndarray  # (symbols,) their log-probabilities
    sums: np.ndarray  # (entries, symbols) ln of all paths
    paths: np.ndarray  # (entries, symbols) ln of the best path
    blank_links: np.ndarray  # (entries,) links of the last symbols on the best paths that end in a blank
    best_links: np.ndarray  # (entries,) links of the last symbols on the better paths

    def links(self, entries: Entries, parents: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Links before the new symbols, for extensions of parents (positions) by columns of symbols."""
        doubled = entries.last[parents] == self.symbols[columns]
        return np.where(doubled, self.blank_links[parents], self.best_links[parents])


def _step(search: Search, row: np.ndarray, symbols: np.ndarray) -> None:
    """One frame. row: log-probabilities (symbols,); symbols: indices, ascending, that may extend a prefix."""
    now, links = search.entries, _close(search.entries, search.frame)
    either, best = np.logaddexp(now.pb, now.pn), np.maximum(now.vb, now.vn)
    again = row[now.last]  # whatever stands here for the empty prefix, its pn stays -inf
    after = Entries(
        now.node, now.parent, now.last,
        either + row[BLANK], now.pn + again, best + row[BLANK], now.vn + again,
        links, now.before, now.start, np.maximum(now.peak, again),
    )  # fmt: skip
    if len(symbols):
        doubled = now.last[:, None] == symbols  # (entries, symbols)
        growth = Growth(
            symbols=symbols,
            peaks=row[symbols],
            sums=np.where(doubled, now.pb[:, None], either[:, None]) + row[symbols],
            paths=np.where(doubled, now.vb[:, None], best[:, None]) + row[symbols],
            blank_links=now.closed,
            best_links=links,
        )
        _merge(after, growth, search.frame)
        after = _select(search, after, growth)
    search.entries = after
    search.frame += 1


def _merge(after: Entries, growth: Growth, frame: int) -> None:
    """Adds extensions whose text is on the beam already to its entry, and strikes them out of the growth."""
    order = np.argsort(after.node)
    # A parent's number is below its child's, so what is found is on the beam, but it may be another node.
    parents = order[np.searchsorted(after.node, after.parent, sorter=order)]
    columns = np.searchsorted(growth.symbols, after.last).clip(max=len(growth.symbols) - 1)
    there = (after.node[parents] == after.parent) & (growth.symbols[columns] == after.last)
    children = np.flatnonzero(there)
    if not len(children):
        return
    parents, columns = parents[children], columns[children]
    after.pn[children] = np.logaddexp(after.pn[children], growth.sums[parents, columns])
    growth.sums[parents, columns] = -np.inf
    entered = growth.paths[parents, columns]
    better = entered > after.vn[children]
    children, parents, columns = children[better], parents[better], columns[better]
    after.before, after.start = after.before.copy(), after.start.copy()
    after.vn[children] = entered[better]
    after.before[children] = growth.links(after, parents, columns)
    after.start[children] = frame
    after.peak[children] = growth.peaks[columns]


def _select(search: Search, after: Entries, growth: Growth) -> Entries:
    """The best of the entries that stayed and of their extensions."""
    stayed = len(after.node)
    kept = _best(np.concatenate([np.logaddexp(after.pb, after.pn), growth.sums.ravel()]), search)
    stay, new = kept[kept < stayed], kept[kept >= stayed] - stayed
    parents, columns = np.divmod(new, len(growth.symbols))
    index = growth.symbols[columns]
    parent = after.node[parents]
    pairs = zip(parent.tolist(), index.tolist(), strict=True)
    node = np.array([_number(search, pair) for pair in pairs], dtype=np.int64)
    never = np.full(len(new), -np.inf)

    def joined(old: np.ndarray, added: np.ndarray) -> np.ndarray:
        return np.concatenate([old[stay], added])

    return Entries(
        node=joined(after.node, node),
        parent=joined(after.parent, parent),
        last=joined(after.last, index),
        pb=joined(after.pb, never),
        pn=joined(after.pn, growth.sums[parents, columns]),
        vb=joined(after.vb, never),
        vn=joined(after.vn, growth.paths[parents, columns]),
        closed=joined(after.closed, np.full(len(new), None)),
        before=joined(after.before, growth.links(after, parents, columns)),
        start=joined(after.start, np.full(len(new), search.frame)),
        peak=joined(after.peak, growth.peaks[columns]),
    )


def _number(search: Search, prefix: tuple[int, int]) -> int:
    """Number of a prefix given as (number of the prefix before, last symbol); the empty one has 0."""
    return search.nodes.setdefault(prefix, len(search.nodes) + 1)


def _best(scores: np.ndarray, search: Search) -> np.ndarray:
    """Positions, ascending, of the scores that the search keeps."""
    kept = np.flatnonzero((scores >= scores.max() - search.score_threshold) & (scores > -np.inf))
    if len(kept) <= search.beam:
        return kept
    worst = len(kept) - search.beam
    return np.sort(kept[np.argpartition(scores[kept], worst)[worst:]])
