"""Estimating n-gram models: interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3).

The highest order counts how often an n-gram occurs, every lower one in how many different contexts it does
(after how many different tokens); what begins a sentence has nothing before it and keeps its own count. From
each count a discount is taken, by whether it is 1, 2 or more, and given to the next lower order; unigrams are
interpolated with the uniform distribution, which is what an unknown token gets.

An n-gram of order n is known by a number that is dense within its order: the pair of its prefix's number and
its last token, sorted and counted by numpy, so that three million tokens take seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from carousel.common.errors import InputError
from carousel.common.language.ngram import BEGIN, BEGIN_ID, END, END_ID, UNKNOWN, UNKNOWN_ID, NGrams

FALLBACK = (0.5, 1.0, 1.5)  # discounts where too few counts of 1, 2, 3 and 4 are there to estimate them
SPECIAL = (UNKNOWN, BEGIN, END)  # the first three tokens of every vocabulary


class Order:
    """The n-grams of one order that occur."""

    def __init__(self, prefix: np.ndarray, last: np.ndarray, suffix: np.ndarray, count: np.ndarray):
        self.prefix = prefix  # (n-grams,) number, in the order below, of the n-gram without its last token
        self.last = last  # (n-grams,) its last token
        self.suffix = suffix  # (n-grams,) number, in the order below, of the n-gram without its first token
        self.count = count  # (n-grams,) how often it occurs
        self.adjusted = count  # (n-grams,) what Kneser-Ney counts
        self.begins = np.zeros(0, bool)  # (n-grams,) whether its first token is <s>


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int,
    *,
    prune: Sequence[int] = (),
    vocabulary: int | None = None,
) -> NGrams:
    """An n-gram model of sentences, each a sequence of tokens.

    order: 1 … 6. prune: the count up to which n-grams are left out, for order 1, 2, … (the last one counts
    for all that follow; unigrams are never left out). vocabulary: how many of the most frequent tokens are
    kept, the rest being unknown; None keeps all.
    Raises InputError when there is no token, or for an order that is not 1 … 6.
    """
    if not 1 <= order <= 6:
        raise InputError(f"the order of an n-gram model is 1 to 6, not {order}")
    tokens, words = _number(sentences, vocabulary)
    orders = _count(tokens, len(words), order)
    _adjust(orders, len(words))
    keep = [~(o.count <= _threshold(prune, n)) for n, o in enumerate(orders, start=1)]
    keep[0][:] = True
    probabilities, backoffs = _interpolate(orders, keep, len(words))
    return NGrams.build(
        words,
        [(o.prefix, o.last, o.suffix) for o in orders],
        [np.log(p) for p in probabilities],
        [np.log(np.maximum(b, 1e-300)) for b in backoffs],
        _closed(orders, keep),
    )


def _threshold(prune: Sequence[int], order: int) -> int:
    return 0 if order == 1 or not prune else prune[min(order, len(prune)) - 1]


def _number(sentences: Iterable[Sequence[str]], vocabulary: int | None) -> tuple[np.ndarray, list[str]]:
    """Tokens as numbers, <s> and </s> around each sentence, and the vocabulary, the frequent tokens first."""
    numbers: dict[str, int] = {}
    text: list[int] = []
    for sentence in sentences:
        text.append(-BEGIN_ID)
        text.extend([numbers.setdefault(token, len(numbers)) for token in sentence])
        text.append(-END_ID)
    if not numbers:
        raise InputError("the text has no token, so there is no language model to make of it")
    reserved = sorted(numbers.keys() & set(SPECIAL))
    if reserved:
        raise InputError(
            f"the text holds the token {reserved[0]}, which has a meaning of its own; take it out"
        )
    array = np.array(text, dtype=np.int64)
    inner = array >= 0
    counts = np.bincount(array[inner], minlength=len(numbers))
    ranking = np.argsort(-counts, kind="stable")[: vocabulary or len(numbers)]
    final = np.full(len(numbers), UNKNOWN_ID)
    final[ranking] = len(SPECIAL) + np.arange(len(ranking))
    array[inner] = final[array[inner]]
    array[~inner] *= -1
    names = list(numbers)
    return array, [*SPECIAL, *(names[k] for k in ranking.tolist())]


def _count(tokens: np.ndarray, words: int, order: int) -> list[Order]:
    """The n-grams of every order, none of which reaches over the end of a sentence."""
    left = np.flatnonzero(tokens == END_ID)
    room = (
        np.repeat(left, np.diff(left, prepend=-1)) - np.arange(len(tokens)) + 1
    )  # tokens to the sentence's end
    numbers = tokens  # (tokens,) number of the n-gram of the order that begins here, where there is room
    begins = np.arange(words) == BEGIN_ID
    first = Order(
        np.zeros(words, np.int64),
        np.arange(words),
        np.zeros(words, np.int64),
        np.bincount(tokens, minlength=words),
    )
    first.begins = begins
    orders = [first]
    for n in range(2, order + 1):
        at = np.flatnonzero(room >= n)
        if not len(at):
            raise InputError(
                f"no sentence has {n} tokens with its begin and end: take a lower order than {order}"
            )
        keys = numbers[at] * words + tokens[at + n - 1]
        unique, where, inverse, count = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        found = Order(unique // words, unique % words, numbers[at[where] + 1], count)
        found.begins = orders[-1].begins[found.prefix]
        orders.append(found)
        numbers = np.full(len(tokens), -1)
        numbers[at] = inverse
    return orders


def _adjust(orders: list[Order], words: int) -> None:
    """Counts of Kneser-Ney: below the highest order, of the different tokens before, unless none can be."""
    for lower, higher in itertools.pairwise(orders):
        contexts = np.bincount(higher.suffix, minlength=len(lower.count))
        lower.adjusted = np.where(lower.begins, lower.count, contexts)
    orders[0].adjusted = np.where(
        np.arange(words) == BEGIN_ID, 0, orders[0].adjusted
    )  # <s> is never predicted


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """What is taken from counts of 1, 2 and more (Chen & Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < d < k for k, d in enumerate(found, start=1)) else FALLBACK


def _interpolate(
    orders: list[Order], keep: list[np.ndarray], words: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Probability of each n-gram, and of each n-gram as a context the weight of the order below."""
    predictable = words - 1  # all but <s>
    probabilities: list[np.ndarray] = []
    backoffs: list[np.ndarray] = []
    lower = np.array([1.0 / predictable])  # order 0: the uniform distribution
    for o, kept in zip(orders, keep, strict=True):
        contexts = len(lower)
        total = np.bincount(o.prefix, o.adjusted, minlength=contexts)
        taken = np.take((0.0, *discounts(o.adjusted)), np.minimum(o.adjusted, 3))
        share = np.where(kept, o.adjusted - taken, 0.0) / np.maximum(total[o.prefix], 1)
        # what is left of each context goes down; with pruning also the share of what was left out
        backoff = 1 - np.bincount(o.prefix, share, minlength=contexts)
        backoff[total == 0] = 1.0
        probability = share + backoff[o.prefix] * lower[o.suffix]
        probabilities.append(probability)
        backoffs.append(backoff)
        lower = probability
    probabilities[0][BEGIN_ID] = 1e-99  # as ARPA files write it: it never stands after anything
    return probabilities, [*backoffs[1:], np.ones(len(lower))]


def _closed(orders: list[Order], keep: list[np.ndarray]) -> list[np.ndarray]:
    """What is kept, with the prefix and the suffix of everything that is kept."""
    for n in range(len(orders) - 1, 0, -1):
        for part in (orders[n].prefix, orders[n].suffix):
            keep[n - 1][part[keep[n]]] = True
    return keep
