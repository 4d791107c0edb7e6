"""Prefix beam search (Graves 2006, section 3.2; Hannun 2014, algorithm 1), with the frames of every symbol,
and with a language model, a lexicon and hotwords if there are any.

A beam holds prefixes of texts. All paths that write the same prefix are one entry, which knows their total
probability in two parts, that of paths ending in a blank and that of paths ending in the last symbol: only
the first may write the same symbol once more. Beside the sums each entry keeps the best single path of either
kind, which says where each symbol is and how sure it is.

Frames where nothing but the blank passes the symbol threshold only update the sums, without search: a path
through them has still ended in a blank, so a doubled letter is not lost.

With a language model or a lexicon, what a word costs is charged as early as it is known
(common.decoding.compiled.lexicon_tree), and of the texts that go on alike only the likeliest are kept
(common.decoding.compiled.recombine).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.ctc.loss import forced_align, log_likelihood
from carousel.common.decoding import Hypothesis, Symbol, check_search, check_shape, check_values
from carousel.common.decoding.compiled.backtrace import best_texts
from carousel.common.decoding.compiled.batch import search_all
from carousel.common.decoding.compiled.best_path import best_text
from carousel.common.decoding.compiled.prefix_tree import ENTRY, Tree, begin, compact, new_tree
from carousel.common.decoding.compiled.search import Pruning, run
from carousel.common.decoding.constraints import Constraints, constraints_of, unconstrained
from carousel.common.decoding.hypothesis import timed_symbols
from carousel.common.language.ngram import NGrams
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.lines import Listed

log = logging.getLogger(__name__)

BLOCK = 1000  # frames that are searched in one call, after which …
COMPACT = 1 << 20  # … more texts or links than this are freed of those that fell off the beam: about 60 MB

KEEP = 1 << 18  # texts or links: room of a search that the next one takes over, as fresh memory is slow

_kept = threading.local()


def decode(log_probs: np.ndarray, alphabet: Alphabet, **options: Any) -> list[Hypothesis]:
    """`decode_batch` of one utterance, (frames, symbols)."""
    return decode_batch([log_probs], alphabet, **options)[0]


def decode_batch(
    log_probs: Sequence[np.ndarray],
    alphabet: Alphabet,
    *,
    beam: int = 16,
    nbest: int = 1,
    symbol_threshold: float = -8.0,
    score_threshold: float = 15.0,
    lm: NGrams | Path | str | None = None,
    lm_unit: str | None = None,
    lm_weight: float | None = None,
    bonus: float | None = None,
    unknown: float | None = None,
    lexicon: Path | str | Listed | None = None,
    unlisted: float | None = None,
    hotwords: Path | str | None = None,
    hotword_weight: float | None = None,
    grammar: Path | str | Listed | None = None,
) -> list[list[Hypothesis]]:
    """The likeliest texts of each utterance, best first: at most nbest, and at least one.

    log_probs: of each utterance (frames, symbols) natural log, column 0 the blank.
    beam: how many prefixes are kept after each frame.
    symbol_threshold: a prefix is not extended by a symbol whose log-probability in that frame is below this,
        unless it is the frame's highest; blank and repetition always go on. -inf switches this off.
    score_threshold: prefixes by more than this below the best one (natural log) are dropped; with a language
        model or a lexicon, so are those from which all goes on as from `nbest` better ones
        (common.decoding.compiled.recombine). inf: neither.
    lm: an n-gram model over characters or words, or its file. Its natural logs count `lm_weight` times, and
        each token adds `bonus`; None: what was tuned for the model, else 0.5 and 0.
    lm_unit: "words" or "characters", what the tokens of a foreign file are; None: what they look like.
    unknown: what a word of six letters adds that the vocabulary of a model over words does not have, at most
        0, and others in proportion to their letters; None: what was tuned for the model, else -5.
    lexicon: a file of words, one a line; no others are written, with or without a language model.
    unlisted: the same for words that the lexicon does not have; None: there are none.
    hotwords: a file of words and phrases, one a line, with a tab and a weight of its own if wanted. Each adds
        its weight wherever it stands whole, with no letter or digit next to it.
    hotword_weight: of those without a weight of their own (None: 3), natural log.
    grammar: a file of the only texts that may be written, with one space between words: a list, one a line,
        or a grammar in JSGF (common.decoding.jsgf).

    The score is the log-probability of the text, summed over all its paths but those that were pruned
    (without pruning CTC's forward score), and what the language model and the others add. Frames and
    confidences are those of the best of these paths.
    If a lexicon or grammar allows none of the texts on the beam in the end, the one with the best single path
    is looked for without a beam. If none fits into the frames, the text is empty, with a warning.
    Memory at beam 100: about 200 MB for one hour (90,000 frames) of a trained network's output; at most about
    100 bytes × beam × symbols of the text, where all texts of the beam differ from the begin on (an hour of
    noise: 900 MB).
    Raises InputError for NaN, a shape that does not fit the alphabet, an option that makes no sense, and for
    a file that cannot be read.
    """
    for scores in log_probs:
        check_shape(scores, alphabet)
    check_search(beam, nbest, symbol_threshold, score_threshold)
    constraints = constraints_of(
        alphabet,
        lm=lm,
        lm_unit=lm_unit,
        lm_weight=lm_weight,
        bonus=bonus,
        unknown=unknown,
        lexicon=lexicon,
        unlisted=unlisted,
        hotwords=hotwords,
        hotword_weight=hotword_weight,
        grammar=grammar,
    )
    pruning = Pruning(beam, float(symbol_threshold), float(score_threshold), nbest)
    found: list[list[Hypothesis]] = []
    for several in _by_blocks(log_probs):
        if len(several) == 1 and len(several[0]) > BLOCK:
            search = Search(pruning, constraints)
            search.feed(several[0])
            found.append(search.best(alphabet))
        else:
            found += _search_all(several, alphabet, pruning, constraints)
    return found


def _by_blocks(log_probs: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Neighbours as long as they have at most BLOCK frames together; a longer utterance comes alone."""
    several: list[np.ndarray] = []
    frames = 0
    for scores in log_probs:
        if several and frames + len(scores) > BLOCK:
            yield several
            several, frames = [], 0
        several.append(scores)
        frames += len(scores)
    if several:
        yield several


def _search_all(
    log_probs: Sequence[np.ndarray], alphabet: Alphabet, pruning: Pruning, constraints: Constraints
) -> list[list[Hypothesis]]:
    stops = np.array(list(accumulate(map(len, log_probs))))
    rows = np.concatenate(log_probs, dtype=np.float64)
    tree, _kept.tree = getattr(_kept, "tree", None) or new_tree(), None
    done, tree, counts, *texts = search_all(
        stops, rows, tree, constraints.tables, constraints.start, constraints.end, pruning
    )
    if len(tree.nodes) <= KEEP and len(tree.links) <= KEEP:
        _kept.tree = tree
    if done < len(log_probs):
        check_values(log_probs[done])
    all_ = iter(_texts(alphabet, *texts))
    found = [list(islice(all_, count)) for count in counts.tolist()]
    if constraints.closed:
        for k, best in enumerate(found):
            if best[0].score == -np.inf:
                found[k] = [_without_beam(constraints, alphabet, log_probs[k])]
    return found


class Search:
    """A beam that is fed frame by frame or block by block; the texts are the same as of all frames at once.

    `begin` starts anew, `feed` takes further frames, and `best` says what the texts are so far.
    """

    def __init__(self, pruning: Pruning, constraints: Constraints | None = None):
        self.pruning = pruning
        self.constraints = constraints or unconstrained()
        self.begin()

    def begin(self) -> None:
        """Forgets what was fed."""
        self.frame = 0  # frames seen
        self.scale = 0.0  # ln of what the probabilities of the beam are divided by
        self.count = 1  # entries in use
        self.entries = np.empty(1, ENTRY)  # (count or more,)
        self.tree: Tree = new_tree()
        self.full = COMPACT  # nodes or links
        self.fed: list[np.ndarray] = []  # all frames, where not every text may be written
        begin(self.entries, self.tree.nodes, self.tree.table, self.tree.size, self.constraints.start)

    def feed(self, log_probs: np.ndarray) -> None:
        """Takes further frames, (frames, symbols) natural log.

        Raises InputError, as `check`, for frames without a finite highest value; begin anew after that.
        """
        if self.constraints.closed:
            self.fed.append(np.array(log_probs))
        for first in range(0, len(log_probs), BLOCK):
            rows = log_probs[first : first + BLOCK].astype(np.float64, order="C")
            self.entries, self.count, self.tree, divided = run(
                self.entries, self.count, self.tree, self.constraints.tables, rows, self.frame, self.pruning
            )
            if not self.count:
                check_values(log_probs)
            self.frame += len(rows)
            self.scale += divided
            if self.tree.size.max() > self.full:
                self.tree = compact(self.entries, self.count, self.tree)
                self.full = max(COMPACT, 2 * int(self.tree.size.max()))

    def best(self, alphabet: Alphabet, nbest: int | None = None) -> list[Hypothesis]:
        """The best texts after the frames so far, best first; nbest: None for as many as pruning names."""
        constraints = self.constraints
        texts = best_texts(
            self.entries, self.count, self.tree, constraints.tables, constraints.end, self.frame,
            float(self.scale), nbest or self.pruning.nbest,
        )  # fmt: skip
        if constraints.closed and texts[0][0] == -np.inf:
            fed = np.concatenate(self.fed) if self.fed else np.zeros((0, len(alphabet)))
            return [_without_beam(constraints, alphabet, fed)]
        return _texts(alphabet, *texts)


def _texts(
    alphabet: Alphabet, scores: np.ndarray, lengths: np.ndarray, spans: np.ndarray, confidences: np.ndarray
) -> list[Hypothesis]:
    """What `best_texts` gives, as hypotheses."""
    indices, starts, ends = spans.tolist()
    texts = [alphabet.symbols[index - 1] for index in indices]
    none, nowhere = [None] * len(texts), [""] * len(texts)
    parts = zip(texts, starts, ends, confidences.tolist(), none, nowhere, strict=True)
    symbols = tuple(map(tuple.__new__, repeat(Symbol), parts))  # Symbol._make without its step in Python
    lengths_ = lengths.tolist()
    return [
        Hypothesis(symbols[stop - length : stop], score)
        for score, length, stop in zip(scores.tolist(), lengths_, accumulate(lengths_), strict=True)
    ]


def _without_beam(constraints: Constraints, alphabet: Alphabet, log_probs: np.ndarray) -> Hypothesis:
    """The text of the best path that a lexicon or grammar allows; if there is none, the empty text."""
    if not len(log_probs):
        return Hypothesis((), 0.0)
    indices = best_text(constraints.tables, log_probs)
    if indices is None:
        log.warning(f"nothing that may be written fits into {len(log_probs)} frames: the text is left empty")
        return Hypothesis((), log_likelihood(log_probs, []))
    score = log_likelihood(log_probs, indices) + constraints.added(indices)
    return Hypothesis(timed_symbols(alphabet, indices, forced_align(log_probs, indices)), score)
