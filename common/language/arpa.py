"""ARPA files of n-gram models, as SRILM and KenLM write them; their logarithms are of base 10."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from carousel.common.errors import InputError
from carousel.common.language.ngram import (
    BEGIN,
    BEGIN_ID,
    END,
    END_ID,
    NEVER,
    ROUNDING,
    UNKNOWN,
    UNKNOWN_ID,
    NGrams,
    unit_of,
)

SPACES = " \t\r\n"  # all that parts tokens, as for KenLM
SHOUTED = {"<UNK>": UNKNOWN, "<S>": BEGIN, "</S>": END}
COUNT = re.compile(r"ngram\s+(\d{1,2})\s*=\s*(\d{1,18})")
NOTE = re.compile(r"# unit=(words|characters)\b")  # of ours, before the data: KenLM skips what begins with #
LEAST = -1000.0  # log10 below which nothing is a score, and above minus which nothing is a backoff weight


def lines(model: NGrams) -> Iterator[str]:
    """Lines of an ARPA file, with a note of the unit where the tokens leave that open."""
    if unit_of(model.words) != model.unit:
        yield f"# unit={model.unit}\n"
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


def _sections(
    file: IO[str], path: Path
) -> tuple[list[tuple[list[list[str]], np.ndarray, np.ndarray]], str | None]:
    """Of each order (tokens of each n-gram, ln probabilities, ln backoff weights), as in the file; what it
    says that its tokens are."""
    sections: list[tuple[list[list[str]], list[float], list[float]]] = []
    counts: dict[int, int] = {}
    unit, ended = None, False
    numbered = enumerate(file, start=1)
    for _, line in numbered:  # before the data there may be prose
        if line.strip() == "\\data\\":
            break
        if note := NOTE.match(line):
            unit = note[1]
    for number, line in numbered:
        line = line.strip(SPACES)
        if line == "\\end\\":
            ended = True
            break
        if line == f"\\{len(sections) + 1}-grams:":
            sections.append(([], [], []))
        elif line and sections:
            gram, score, weight = _gram(line, len(sections), number, path)
            sections[-1][0].append(gram)
            sections[-1][1].append(score)
            sections[-1][2].append(weight)
        elif count := COUNT.fullmatch(line):
            counts[int(count[1])] = int(count[2])
    while sections and not sections[-1][0]:
        sections.pop()
    if not ended or not sections or not sections[0][0]:
        raise InputError(
            f"{path}: is not a whole ARPA file (it lacks \\data\\, n-grams or \\end\\); make or copy it again"
        )
    found = dict(enumerate((len(grams) for grams, _, _ in sections), start=1))
    for n, count_ in counts.items():
        if found.get(n, 0) != count_:
            raise InputError(
                f"{path}: has {found.get(n, 0):,} n-grams of order {n}, and says that it has {count_:,}; "
                "make or copy it again"
            )
    return [(t, np.array(p) * math.log(10), np.array(b) * math.log(10)) for t, p, b in sections], unit


def _gram(line: str, n: int, number: int, path: Path) -> tuple[list[str], float, float]:
    """Tokens, log10 of the probability and of the backoff weight of a line."""
    # as KenLM parts them, and unlike split(): tokens may hold a no-break space
    parts = [part for part in line.replace("\t", " ").split(" ") if part]
    try:
        score = float(parts[0])
        weight = float(parts[n + 1]) if len(parts) == n + 2 else 0.0
        if not n + 1 <= len(parts) <= n + 2:
            raise ValueError
    except ValueError:
        raise InputError(f"{path}: line {number} is not a {n}-gram of an ARPA file") from None
    if not (LEAST <= score <= ROUNDING and LEAST <= weight <= -LEAST):
        wrong = parts[n + 1] if LEAST <= score <= ROUNDING else parts[0]
        raise InputError(
            f"{path}: line {number} has {wrong} where the logarithm of a "
            f"{'backoff weight' if wrong is parts[-1] else 'probability'} is; make the language model anew"
        )
    return parts[1 : n + 1], score, weight


def read(file: IO[str], path: Path) -> tuple[NGrams, str | None]:
    """The model of an ARPA file, and the unit that it tells. Raises InputError naming the file when it cannot
    be read."""
    sections, unit = _sections(file, path)
    words, rows, scores, weights = _numbered(sections, path)
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
    return NGrams.build(words, structure, scores, weights), unit


def _numbered(
    sections: Sequence[tuple[list[list[str]], np.ndarray, np.ndarray]], path: Path
) -> tuple[list[str], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The vocabulary, and of each order token numbers (n-grams, order), scores and weights."""
    unigrams, unigram_scores, unigram_weights = sections[0]
    own = {word for (word,) in unigrams}
    named = {theirs: ours for theirs, ours in SHOUTED.items() if ours not in own}
    index = {UNKNOWN: UNKNOWN_ID, BEGIN: BEGIN_ID, END: END_ID}
    for (word,) in unigrams:
        index.setdefault(named.get(word, word), len(index))
    if len(own) < len(unigrams):
        raise InputError(f"{path}: has an n-gram of order 1 twice; make the language model anew")
    try:
        numbered = [
            np.array([[index[named.get(t, t)] for t in gram] for gram in grams], np.int64).reshape(-1, n)
            for n, (grams, _, _) in enumerate(sections, start=1)
        ]
    except KeyError as error:
        raise InputError(
            f"{path}: has {error} in an n-gram and not among the words of order 1; make it anew"
        ) from None
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
