"""ARPA files of n-gram models, as SRILM and KenLM write them; their logarithms are of base 10."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from common.decoding.ngram import (
    BEGIN,
    BEGIN_ID,
    END,
    END_ID,
    NEVER,
    UNKNOWN,
    UNKNOWN_ID,
    NGrams,
    recognised,
)
from common.errors import InputError


def lines(model: NGrams) -> Iterator[str]:
    """Lines of an ARPA file."""
    yield "\\data\\\n"
    for n, count in enumerate(model.counts, start=1):
        yield f"ngram {n}={count}\n"
    context_of = np.repeat(np.arange(len(model.first) - 1), np.diff(model.first))  # (arcs,) state of each arc
    names: list[str] = [""]  # of the states of the order below
    begin, lowest = 0, 0  # first arc of the order, first state of its contexts
    for n, count in enumerate(model.counts, start=1):
        yield f"\n\\{n}-grams:\n"
        written = []
        for arc in range(begin, begin + count):
            context = names[context_of[arc] - lowest]
            name = f"{context} {model.words[model.token[arc]]}" if context else model.words[model.token[arc]]
            score = max(float(model.log_prob[arc]) / math.log(10), NEVER)
            weight = f"\t{model.backoff[arc + 1] / math.log(10):.7g}" if n < model.order else ""
            yield f"{score:.7g}\t{name}{weight}\n"
            written.append(name)
        names, lowest = written, begin + 1
        begin += count
    yield "\n\\end\\\n"


def _sections(file: IO[str], path: Path) -> list[tuple[list[list[str]], np.ndarray, np.ndarray]]:
    """Of each order (tokens of each n-gram, ln probabilities, ln backoff weights), as in the file."""
    sections: list[tuple[list[list[str]], list[float], list[float]]] = []
    ended = False
    for number, line in enumerate(file, start=1):
        line = line.strip()
        if line == "\\end\\":
            ended = True
            break
        if line.endswith("-grams:"):
            sections.append(([], [], []))
        elif line and sections:
            parts = line.split()
            n = len(sections)
            try:
                score = float(parts[0])
                weight = float(parts[n + 1]) if len(parts) == n + 2 else 0.0
                if not n + 1 <= len(parts) <= n + 2:
                    raise ValueError
            except ValueError:
                raise InputError(f"{path}: line {number} is no {n}-gram of an ARPA file") from None
            sections[-1][0].append(parts[1 : n + 1])
            sections[-1][1].append(score)
            sections[-1][2].append(weight)
    if not ended or not sections or not sections[0][0]:
        raise InputError(
            f"{path}: is no whole ARPA file (it lacks n-grams or \\end\\); make or copy it again"
        )
    return [(t, np.array(p) * math.log(10), np.array(b) * math.log(10)) for t, p, b in sections if t]


def read(file: IO[str], path: Path) -> NGrams:
    """The model of an ARPA file. Raises InputError naming the file when it cannot be read."""
    sections = _sections(file, path)
    words, rows, scores, weights = _numbered(sections)
    _close(rows, scores, weights)
    structure: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    keys: list[np.ndarray] = []
    for n in range(len(rows)):
        order = np.lexsort(rows[n].T[::-1])
        rows[n], scores[n], weights[n] = rows[n][order], scores[n][order], weights[n][order]
        prefix = _ranks(rows[n][:, :-1], keys, len(words))
        suffix = _ranks(rows[n][:, 1:], keys, len(words))
        keys.append(prefix * len(words) + rows[n][:, -1])
        if (np.diff(keys[-1]) == 0).any():
            raise InputError(f"{path}: has an n-gram of order {n + 1} twice; make the language model anew")
        if n:  # n-grams that only hold others together are worth what the shorter ones give them
            implied = weights[n - 1][prefix] + scores[n - 1][suffix]
            scores[n] = np.where(np.isnan(scores[n]), implied, scores[n])
        structure.append((prefix, rows[n][:, -1], suffix))
    return recognised(NGrams.build(words, structure, scores, weights))


def _numbered(
    sections: Sequence[tuple[list[list[str]], np.ndarray, np.ndarray]],
) -> tuple[list[str], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The vocabulary, and of each order token numbers (n-grams, order), scores and weights."""
    _, unigram_scores, unigram_weights = sections[0]
    named = {"<UNK>": UNKNOWN, "<S>": BEGIN, "</S>": END}
    index = {UNKNOWN: UNKNOWN_ID, BEGIN: BEGIN_ID, END: END_ID}
    numbered = [
        np.array([[index.setdefault(named.get(t, t), len(index)) for t in gram] for gram in grams], np.int64)
        for grams, _, _ in sections
    ]
    scores = np.full(len(index), NEVER * math.log(10))
    scores[UNKNOWN_ID] = unigram_scores[unigram_scores > NEVER].min(
        initial=0.0
    )  # unless the model has its own
    weights = np.zeros(len(index))
    scores[numbered[0][:, 0]], weights[numbered[0][:, 0]] = unigram_scores, unigram_weights
    rows = [np.arange(len(index))[:, None], *numbered[1:]]
    return (
        list(index),
        rows,
        [scores, *(s for _, s, _ in sections[1:])],
        [weights, *(w for _, _, w in sections[1:])],
    )


def _close(rows: list[np.ndarray], scores: list[np.ndarray], weights: list[np.ndarray]) -> None:
    """Adds prefixes and suffixes that a pruned model has left out, with a score of NaN."""
    for n in range(len(rows) - 1, 1, -1):
        kind = np.dtype((np.void, 8 * n))
        wanted = np.unique(np.concatenate([rows[n][:, :-1], rows[n][:, 1:]]), axis=0)
        have = np.ascontiguousarray(rows[n - 1]).view(kind).ravel()
        missing = wanted[~np.isin(np.ascontiguousarray(wanted).view(kind).ravel(), have)]
        rows[n - 1] = np.concatenate([rows[n - 1], missing])
        scores[n - 1] = np.concatenate([scores[n - 1], np.full(len(missing), np.nan)])
        weights[n - 1] = np.concatenate([weights[n - 1], np.zeros(len(missing))])


def _ranks(rows: np.ndarray, keys: Sequence[np.ndarray], words: int) -> np.ndarray:
    """(n-grams,) the number of each n-gram within its order; keys: of the orders up to it, sorted."""
    ranks = np.zeros(len(rows), np.int64)
    for column, sorted_keys in zip(rows.T, keys, strict=False):
        ranks = np.searchsorted(sorted_keys, ranks * words + column)
    return ranks
