"""n-gram models over words or characters as automata: a state is a context, an arc a token after it.

The n-grams of all orders stand in one array, by order and within it by context and token. n-gram number a is
the arc that reads its last token in the state of its context; as a context it is itself the state a + 1, and
state 0 is the empty context. So reading a token is a search among the arcs of a state, and if it is not
there, the weight of the state and the same in the state of the next shorter context (Katz 1987).

Logarithms are natural inside; ngram_files.py reads and writes files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing
from carousel.common.errors import InputError
from carousel.common.text.alphabet import normalise

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
UNKNOWN_ID, BEGIN_ID, END_ID = 0, 1, 2
SPACE = "<space>"  # the token of a space in models over characters: ARPA parts its tokens by spaces
SPACES = (SPACE, "\u2581", "|")  # the same in files of others: SentencePiece's, and that of speech toolkits
UNITS = ("words", "characters")
ROUNDING = 1e-2  # by which a log-probability may be above 0
NEVER = -99.0  # log10 of what never happens, in ARPA files


@dataclass(frozen=True)
class NGrams:
    """An n-gram model. Arrays are of int32 and float32; logarithms are natural."""

    words: list[str]  # the tokens by their numbers, <unk>, <s> and </s> first
    counts: list[int]  # n-grams of each order
    first: np.ndarray  # (states + 1,) arcs of state s: first[s] … first[s + 1]
    token: np.ndarray  # (arcs,) rising within a state; the arcs of state 0 are all tokens
    log_prob: np.ndarray  # (arcs,)
    follow: np.ndarray  # (arcs,) state after the arc
    backoff: np.ndarray  # (states,) weight of a token that the state has no arc for
    shorter: np.ndarray  # (states,) state of the context without its first token
    unit: str = "words"
    running: bool = False  # made of running text: an utterance may begin and end anywhere, so <s> has no part
    advice: dict[str, float] = field(default_factory=dict)  # options of a search, as tuned on a valid set

    @property
    def order(self) -> int:
        return len(self.counts)

    @classmethod
    def build(
        cls,
        words: list[str],
        structure: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
        log_probs: Sequence[np.ndarray],
        backoffs: Sequence[np.ndarray],
        keep: Sequence[np.ndarray] | None = None,
    ) -> NGrams:
        """Of the n-grams of each order, sorted by prefix and last token.

        structure: of each order (prefix, last, suffix), all (n-grams,): number of the n-gram without its last
        token in the order below, its last token, number of the n-gram without its first token. keep: which
        ones stay, with their prefixes and suffixes.
        """
        keep = keep or [np.ones(len(last), bool) for _, last, _ in structure]
        counts = [int(kept.sum()) for kept in keep]
        states = 1 + sum(counts[:-1])
        arcs_of = np.zeros(states, np.int64)
        token, log_prob, backoff, shorter = [], [], [np.zeros(1)], [np.zeros(1, np.int64)]
        state_of = np.zeros(1, np.int64)  # (n-grams of the order below,) the state of each that is kept
        below = 0
        for (prefix, last, suffix), p, b, kept in zip(structure, log_probs, backoffs, keep, strict=True):
            arcs_of += np.bincount(state_of[prefix[kept]], minlength=states)
            token.append(last[kept])
            log_prob.append(p[kept])
            backoff.append(b[kept])
            shorter.append(state_of[suffix[kept]])
            state_of = below + np.cumsum(kept)
            below += int(kept.sum())
        # an arc leads to the state of its own n-gram, at the highest order to that without the first token
        follow = np.concatenate([np.arange(1, states), shorter[-1]])
        all_shorter = np.concatenate(shorter)[:states]
        all_backoff = np.concatenate(backoff)[:states].astype(np.float32)
        return cls(
            words=words,
            counts=counts,
            first=np.concatenate([[0], np.cumsum(arcs_of)]).astype(np.int32),
            token=np.concatenate(token).astype(np.int32),
            log_prob=np.concatenate(log_prob).astype(np.float32),
            follow=_alive((arcs_of == 0) & (all_backoff == 0), all_shorter)[follow].astype(np.int32),
            backoff=all_backoff,
            shorter=all_shorter.astype(np.int32),
        )

    def automaton(self) -> tuple[np.ndarray, ...]:
        """The arrays that `step` reads."""
        return self.first, self.token, self.log_prob, self.follow, self.backoff, self.shorter

    def number(self, tokens: Iterable[str]) -> np.ndarray:
        """(tokens,) numbers, 0 for what the model does not know."""
        index = self.index()
        return np.array([index.get(token, UNKNOWN_ID) for token in tokens], dtype=np.int32)

    def index(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def tokens(self, text: str) -> list[str]:
        """A text as the model's tokens."""
        return tokens(text, self.unit)

    @property
    def start(self) -> int:
        """The state at the begin of an utterance or line."""
        if not self.running:
            return int(self.follow[BEGIN_ID])
        space = self.words.index(SPACE) if SPACE in self.words else None
        return int(self.follow[space]) if space is not None else 0

    def highest(self) -> np.ndarray:
        """(tokens,) ln of a probability that each token exceeds in no context."""
        found = np.full(len(self.words), -np.inf, self.log_prob.dtype)
        np.maximum.at(found, self.token, self.log_prob)
        return found + (self.order - 1) * max(0.0, float(self.backoff.max()))

    def scores(self, sentence: Sequence[str]) -> np.ndarray:
        """ln of the probability of each token of a sentence, and of its end unless the text is running."""
        numbers = self.number(sentence)
        if not self.running:
            numbers = np.append(numbers, np.int32(END_ID))
        scores: np.ndarray = read(*(*self.automaton(), self.start, numbers))
        return scores

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> tuple[float, int, int]:
        """Perplexity a token (ends of sentences are tokens), tokens, and unknown ones among them."""
        total, count, unknown = 0.0, 0, 0
        index = self.index()
        for sentence in sentences:
            scores = self.scores(sentence)
            total += float(scores.sum(dtype=np.float64))
            count += len(scores)
            unknown += sum(token not in index for token in sentence)
        return math.exp(-total / max(count, 1)), count, unknown


def _alive(idle: np.ndarray, shorter: np.ndarray) -> np.ndarray:
    """For each state the longest context at its end that is not idle (without arcs, at a weight of 1)."""
    alive = np.arange(len(idle))
    while (dead := idle[alive] & (alive > 0)).any():
        alive = np.where(dead, shorter[alive], alive)
    return alive


def tokens(text: str, unit: str, split: Callable[[str], Iterable[str]] = iter) -> list[str]:
    """Words between spaces, or characters with SPACE for a space. split: into the symbols of an alphabet."""
    return text.split() if unit == "words" else [SPACE if c == " " else c for c in split(text)]


def structure(
    first: np.ndarray, token: np.ndarray, counts: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The n-grams of each order as `NGrams.build` takes them, from the arcs of an automaton.

    first: (states + 1,), token: (arcs,), as in NGrams. Raises InputError where an n-gram's suffix is missing.
    """
    state = np.repeat(np.arange(len(first) - 1), np.diff(first))  # (arcs,) state of each
    suffix = _suffixes(first, token, state, counts[0])  # (arcs,) arc of each without its first token
    if (suffix < 0).any():
        raise InputError("the language model lacks the suffix of one of its n-grams; make it anew")
    found, start, below = [], 0, 0
    for count in counts:
        part = slice(start, start + count)
        prefix = np.maximum(state[part] - 1 - below, 0)
        found.append((prefix, token[part], np.maximum(suffix[part] - below, 0)))
        start, below = start + count, start
    return found


@numba.njit(cache=True)
def _suffixes(first, token, state, words):  # type: ignore[no-untyped-def]
    found = np.zeros(len(token), np.int64)
    for arc in range(words, len(token)):
        context = (
            state[arc] - 1
        )  # the arc that is the context; its suffix is of the context that is looked in
        shorter = 0 if context < words else found[context] + 1
        low = high = 0
        if shorter >= 0:
            low, high = first[shorter], first[shorter + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if token[middle] < token[arc]:
                low = middle + 1
            else:
                high = middle
        found[arc] = low if low < end and token[low] == token[arc] else -1
    return found


@borrowing
def step(first, token, log_prob, follow, backoff, shorter, state, word):  # type: ignore[no-untyped-def]
    """ln of the probability of a token in a state, and the state after it."""
    weight = 0.0
    while state > 0:
        low, high = first[state], first[state + 1]
        while low < high:
            middle = (low + high) // 2
            if token[middle] < word:
                low = middle + 1
            else:
                high = middle
        if low < first[state + 1] and token[low] == word:
            return weight + log_prob[low], follow[low]
        weight += backoff[state]
        state = shorter[state]
    return weight + log_prob[word], follow[word]


@numba.njit(cache=True)
def read(first, token, log_prob, follow, backoff, shorter, state, words):  # type: ignore[no-untyped-def]
    """ln of the probability of each of some tokens, read one after the other from a state on."""
    scores = np.empty(len(words))
    for k in range(len(words)):
        scores[k], state = step(first, token, log_prob, follow, backoff, shorter, state, words[k])
    return scores


def unit_of(words: Sequence[str]) -> str | None:
    """What the tokens of a vocabulary are; None where they may be spelled letters or characters as well."""
    letters = [word for word in words if not re.fullmatch("<.+>", word)]  # not those that have a meaning
    if not all(len(normalise(word)) == 1 for word in letters):
        return "words"
    return "characters" if any(space in words for space in SPACES) else None
