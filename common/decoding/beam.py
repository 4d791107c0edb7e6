"""Prefix beam search (Graves 2006, section 3.2; Hannun 2014, algorithm 1), with the place of every symbol,
and with a language model or a lexicon if there is one.

A beam holds prefixes of texts. All paths that write the same prefix are one entry, which knows their total
probability in two parts, that of paths ending in a blank and that of paths ending in the last symbol: only
the first may write the same symbol once more. Beside the sums each entry keeps the best single path of either
kind, which says where each symbol is and how sure it is.

Frames where nothing but the blank passes the symbol threshold only update the sums, without search: a path
through them has still ended in a blank, so a doubled letter is not lost.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from pathlib import Path

import numpy as np

from common.alphabet import Alphabet, normalise
from common.decoding import Hypothesis, check, check_search, ngram, place, search
from common.decoding.ngram import END_ID, SPACE, UNKNOWN_ID, NGrams
from common.decoding.tree import BLANK, ENTRY, LINK, NODE, NONE, ROOT, Tree, compact
from common.errors import InputError

BLOCK = 1000  # frames, after which …
KEEP = 1 << 18  # texts or links: room of a search that the next one takes over, as fresh memory is slow
COMPACT = 1 << 20  # … more texts or links than this are freed of those that fell off the beam: about 100 MB

_kept = threading.local()


def decode(
    log_probs: np.ndarray,
    alphabet: Alphabet,
    *,
    beam: int = 16,
    nbest: int = 1,
    symbol_threshold: float = -8.0,
    score_threshold: float = 15.0,
    lm: NGrams | Path | str | None = None,
    lm_weight: float | None = None,
    bonus: float | None = None,
    unknown: float | None = None,
    lexicon: Path | str | None = None,
) -> list[Hypothesis]:
    """The likeliest texts, best first: at most nbest, and at least one.

    log_probs: (frames, symbols) natural log, column 0 the blank.
    beam: how many prefixes are kept after each frame.
    symbol_threshold: a prefix is not extended by a symbol whose log-probability in that frame is below this,
        unless it is the frame's highest; blank and repetition always go on. -inf switches this off.
    score_threshold: prefixes by more than this below the best one (natural log) are dropped. inf: off.
    lm: an n-gram model over characters or words, or its file. Its natural logs count `lm_weight` times, and
        each token adds `bonus`; None: what was tuned for the model, else 0.5 and 0.
    unknown: what a word adds that the vocabulary of a model over words does not have (None: -10).
    lexicon: a file of words, one a line; no others are written, with or without a language model.

    The score is the log-probability of the text, summed over all its paths but those that were pruned
    (without pruning CTC's forward score), and what the language model adds. Places and confidences are those
    of the best of these paths.
    Raises InputError for NaN, a shape that does not fit the alphabet, an option that makes no sense, and for
    a file that cannot be read.
    """
    check(log_probs, alphabet)
    check_search(beam, nbest, symbol_threshold, score_threshold)
    knowledge = know(alphabet, lm, lm_weight, bonus, unknown, lexicon)
    found = Search(beam, symbol_threshold, score_threshold, knowledge, getattr(_kept, "tree", None))
    _kept.tree = None
    advance(found, log_probs)
    results = hypotheses(found, alphabet, nbest)
    if len(found.tree.nodes) <= KEEP and len(found.tree.links) <= KEEP:
        _kept.tree = found.tree
    return results


@dataclass(frozen=True)
class Knowledge:
    """What a search knows beside the network's output: the compiled part's tables, and how texts begin and
    end."""

    tables: search.Knowledge
    start: int = 0  # state of the language model
    end: int = NONE  # token that it reads at the end


@dataclass
class Search:
    """A beam between two frames, fed by advance and asked by hypotheses."""

    beam: int
    symbol_threshold: float
    score_threshold: float
    knowledge: Knowledge = field(default_factory=lambda: know_nothing())
    memory: InitVar[Tree | None] = None  # of a search that is over
    frame: int = 0  # frames seen
    scale: float = 0.0  # ln of what the beam's probabilities are divided by
    count: int = 1  # entries
    entries: np.ndarray = field(init=False)  # (count or more,) ENTRY
    tree: Tree = field(init=False)

    def __post_init__(self, memory: Tree | None) -> None:
        self.entries = np.zeros(1, ENTRY)
        self.entries[0] = (1.0, 0.0, 0.0, -np.inf, -np.inf, ROOT, NONE, 0, NONE, 0, NONE)
        nodes, links, table, _ = memory or (
            np.zeros(1, NODE),
            np.zeros(1, LINK),
            np.zeros(64, np.int32),
            None,
        )
        table.fill(ROOT)
        nodes[ROOT] = (0.0, NONE, BLANK, self.knowledge.start, 0, 0)
        self.tree = Tree(nodes, links, table, np.array([1, 0]))


def advance(found: Search, log_probs: np.ndarray) -> None:
    """Feeds further frames (frames, symbols); block by block or all at once, the result is the same."""
    for first in range(0, len(log_probs), BLOCK):
        rows = np.empty((2, *log_probs[first : first + BLOCK].shape))
        rows[0] = log_probs[first : first + BLOCK]
        np.exp(rows[0], out=rows[1])
        found.entries, found.count, found.tree, divided = search.run(
            found.entries,
            found.count,
            found.tree,
            found.knowledge.tables,
            rows,
            found.frame,
            found.beam,
            float(found.symbol_threshold),
            float(found.score_threshold),
        )
        found.frame += rows.shape[1]
        found.scale += divided
        if found.tree.size.max() > COMPACT:
            found.tree = compact(found.entries, found.count, found.tree)


def hypotheses(found: Search, alphabet: Alphabet, nbest: int) -> list[Hypothesis]:
    """The best texts after the frames so far, best first."""
    entries, nodes, knowledge = found.entries[: found.count], found.tree.nodes, found.knowledge
    with np.errstate(divide="ignore"):
        scores = np.log(entries["pb"] + entries["pn"]) + found.scale
    if knowledge.tables.units:
        closing = [
            search.closing_gain(knowledge.tables, knowledge.end, nodes[node]["state"], nodes[node]["spot"])
            for node in entries["node"].tolist()
        ]
        complete = scores + closing
        if np.isfinite(complete.max()):  # else no text of the beam ends with a word of the lexicon
            scores = complete
    results: list[Hypothesis] = []
    for entry in np.argsort(-scores, kind="stable")[:nbest].tolist():
        if results and scores[entry] == -np.inf:
            break
        indices, *spans = (
            part.tolist() for part in search.best_path(entries, entry, found.tree.links, found.frame)
        )
        results.append(Hypothesis(place(alphabet, indices, zip(*spans, strict=True)), float(scores[entry])))
    return results


# --- language model and lexicon ---


def know_nothing() -> Knowledge:
    ints, floats = np.zeros(1, np.int32), np.zeros(1, np.float32)
    tables = search.Knowledge(
        0, False, 0.0, 0.0, 0.0, NONE, ints, ints, ints, ints, ints, ints, ints, floats, ints, floats, ints
    )
    return Knowledge(tables)


def know(
    alphabet: Alphabet,
    lm: NGrams | Path | str | None,
    lm_weight: float | None,
    bonus: float | None,
    unknown: float | None,
    lexicon: Path | str | None,
) -> Knowledge:
    """The tables of a language model and a lexicon for an alphabet; those of files are kept for later."""
    if lm is None and lexicon is None:
        return know_nothing()
    model = lm if isinstance(lm, NGrams) or lm is None else _load(Path(lm))
    if unknown is not None and (lexicon is not None or (model is not None and model.unit == "characters")):
        raise InputError("unknown goes with a language model over words and no lexicon: else there are none")
    unknown = -10.0 if unknown is None else unknown
    advice = {"lm_weight": 0.5, "bonus": 0.0} | (model.advice if model else {})
    lm_weight = advice["lm_weight"] if lm_weight is None else lm_weight
    bonus = advice["bonus"] if bonus is None else bonus
    for name, value in (("lm_weight", lm_weight), ("bonus", bonus), ("unknown", unknown)):
        if not math.isfinite(value):
            raise InputError(f"{name} must be a number, not {value!r}")
    if lm_weight < 0 or unknown > 0:
        raise InputError(f"lm_weight must be at least 0 and unknown at most 0, not {lm_weight} and {unknown}")
    if model is not None and model.unit == "characters":
        if lexicon is not None:
            raise InputError(
                "a lexicon goes with a language model over words, and this one is over characters"
            )
        parts = _of_characters(alphabet, _Same(model))
    else:
        parts = _of_words(alphabet, None if model is None else _Same(model), lexicon)
    units, closed, space, *arrays = parts
    automaton = _NO_MODEL if model is None else model.automaton()
    weight = float(lm_weight) if model is not None else 0.0
    tables = search.Knowledge(units, closed, weight, float(bonus), float(unknown), space, *arrays, *automaton)
    if model is None:
        return Knowledge(tables)
    end = END_ID if not model.running else (model.index().get(SPACE, NONE) if units == 1 else NONE)
    return Knowledge(tables, model.start, end)


# one token of probability 1, so that a lexicon without a language model has something to read
_NO_MODEL = (
    np.array([0, 1], np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1, np.int32),
    np.zeros(1, np.float32), np.zeros(1, np.int32),
)  # fmt: skip


class _Same:
    """A model as a key of a cache: by its identity, as arrays have no hash."""

    def __init__(self, model: NGrams):
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.model is other.model


@functools.lru_cache(maxsize=4)
def _load(path: Path) -> NGrams:
    return ngram.load(path)


@functools.lru_cache(maxsize=4)
def _of_characters(alphabet: Alphabet, lm: _Same) -> tuple:
    index = lm.model.index()
    tokens = [UNKNOWN_ID, *(index.get(SPACE if s == " " else s, UNKNOWN_ID) for s in alphabet.symbols)]
    nothing = np.zeros(1, np.int32)
    return 1, False, NONE, np.array(tokens, np.int32), nothing, nothing, nothing, nothing


@functools.lru_cache(maxsize=4)
def _of_words(alphabet: Alphabet, lm: _Same | None, lexicon: Path | str | None) -> tuple:
    """A tree of the words that can be written. Places are numbered by the words in their order."""
    index = {} if lm is None else lm.model.index()
    known = [] if lm is None else lm.model.words[3:]  # without <unk>, <s> and </s>, which no one writes
    listed: Iterable[str] = known if lexicon is None else _words(Path(lexicon))
    sound = sorted({word for word in map(normalise, listed) if not alphabet.unknown(word)})
    if not sound:
        raise InputError(
            f"{lexicon or 'the language model'}: has no word that the model's alphabet can write"
        )
    encoded = sorted((alphabet.encode(word), index.get(word, UNKNOWN_ID)) for word in sound)
    space = alphabet.encode(" ")[0] if not alphabet.unknown(" ") else NONE
    nothing = np.zeros(1, np.int32)
    return 2, lexicon is not None, space, nothing, *_lexicon_tree(encoded)


def _words(path: Path) -> list[str]:
    try:
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a lexicon ({error}); give one word a line") from None


def _lexicon_tree(words: list[tuple[list[int], int]]) -> tuple[np.ndarray, ...]:
    """Arcs of each place, their symbols (rising) and where they lead to, and the word that ends there."""
    children: list[dict[int, int]] = [{}]
    ends = [NONE]
    for symbols, word in words:
        at = 0
        for symbol in symbols:
            if symbol not in children[at]:
                children[at][symbol] = len(children)
                children.append({})
                ends.append(NONE)
            at = children[at][symbol]
        ends[at] = word
    first = np.cumsum([0, *map(len, children)])
    arcs = [arc for child in children for arc in sorted(child.items())]
    symbols_, next_ = np.array(arcs, np.int32).reshape(-1, 2).T
    return first.astype(np.int32), symbols_.copy(), next_.copy(), np.array(ends, np.int32)
