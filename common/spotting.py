"""Keyword spotting: where given words are, in speech that says much else (Fernández, Graves & Schmidhuber
2007, "An application of recurrent neural networks to discriminative keyword spotting").

A keyword's path through a span of frames is compared with the best free path through the same span, which in
CTC takes each frame's likeliest symbol. One Viterbi pass finds for every end frame the best start: a path may
enter the keyword at any frame, and pays at each frame ln P(its symbol) - ln P(likeliest symbol) ≤ 0. The score is
e to the mean of that sum over the keyword's letters: 1 where the keyword is just what a greedy decoder reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from common.errors import InputError


@dataclass(frozen=True, slots=True)
class Detection:
    """A keyword in the output frames [start, end) of its letters' spikes; score in 0 … 1.

    begin: the frame in which the last letter's spike begins.
    """

    start: int
    end: int
    begin: int
    score: float


@numba.njit(cache=True)
def best_paths(costs, pattern, bounded):  # type: ignore[no-untyped-def]
    """Of each frame the best path that ends the pattern in it: score (frames,), and its letters' (frames, 3)
    start, end, and start of the last one; -inf where there is none.

    costs: (frames, symbols) ≤ 0. bounded: the pattern's first and last symbols are spaces around the letters;
    its path ends on entering the last one.
    """
    frames, states = len(costs), 2 * len(pattern) - 1
    first, last = (2, states - 3) if bounded else (0, states - 1)
    scores = np.full(frames, -np.inf)
    places = np.zeros((frames, 3), np.int64)
    before, after = np.full(states, -np.inf), np.full(states, -np.inf)
    old, new = np.zeros((states, 3), np.int64), np.zeros((states, 3), np.int64)
    for frame in range(frames):
        for state in range(states):
            letter = pattern[state // 2]
            best, source = before[state], state
            if state == 0 and best < 0.0:
                best, source = 0.0, -1
            if state > 0 and before[state - 1] > best:
                best, source = before[state - 1], state - 1
            if state > 1 and state % 2 == 0 and letter != pattern[state // 2 - 1] and before[state - 2] > best:
                best, source = before[state - 2], state - 2
            after[state] = best + costs[frame, letter if state % 2 == 0 else 0]
            if source >= 0:
                new[state] = old[source]
            if source != state:
                if state == first:
                    new[state, 0] = frame
                if state == last:
                    new[state, 2] = frame
            if state == last:
                new[state, 1] = frame + 1
            if state == states - 1 and (source != state or not bounded):
                scores[frame] = after[state]
                places[frame] = new[state]
        before, after = after, before
        old, new = new, old
    return scores, places


def spot(
    log_probs: np.ndarray, word: Sequence[int], space: int | None = None, threshold: float = 0.0
) -> list[Detection]:
    """Where a keyword is, in the order of time: no two overlap, and of those that would the best is kept.

    log_probs: (frames, symbols) natural log; word: indices of its letters. space: index of the space, which must
    stand before and after it, or the ends of log_probs; None: it may be a part of a longer word.
    threshold: the least score. Raises InputError for NaN.
    """
    if np.isnan(log_probs).any():
        raise InputError("log-probabilities have NaN: the model or its input is broken")
    letters = np.asarray(word, np.int64)
    costs = log_probs - log_probs.max(axis=1, keepdims=True, initial=-np.inf) if len(log_probs) else log_probs
    if space is not None:
        ends = np.full((1, log_probs.shape[1]), -np.inf, log_probs.dtype)
        ends[0, [0, space]] = 0.0
        costs = np.concatenate([ends, costs, ends])
        letters = np.concatenate([[space], letters, [space]])
    scores, places = best_paths(np.ascontiguousarray(costs), letters, space is not None)
    scores = np.exp(scores / len(word))
    shift = 0 if space is None else 1
    taken = np.zeros(len(costs), bool)
    found = []
    # Of equally good ones the shortest, then the first.
    for end in np.lexsort((places[:, 1] - places[:, 0], -scores)):
        start, stop, begin = places[end]
        if scores[end] < threshold or scores[end] == 0:
            break
        if not taken[start:stop].any():
            taken[start:stop] = True
            found.append(Detection(int(start) - shift, int(stop) - shift, int(begin) - shift, float(scores[end])))
    return sorted(found, key=lambda detection: detection.start)


@dataclass(frozen=True, slots=True)
class Curve:
    """Receiver operating characteristic: for falling thresholds what is found and what is false.

    thresholds, hits, alarms: (points,) each; hits and alarms are counts with a score of at least the threshold.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    references: int  # occurrences of the keywords
    hours: float  # of speech, times the number of keywords

    @property
    def rate(self) -> np.ndarray:
        """Part of the occurrences that is found."""
        return self.hits / max(self.references, 1)

    @property
    def per_hour(self) -> np.ndarray:
        """False alarms for each keyword in an hour."""
        return self.alarms / self.hours

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / np.maximum(self.hits + self.alarms + self.references, 1)

    def best(self) -> int:
        """The point with the highest F1; of equal ones that with the highest threshold."""
        return int(self.f1.argmax())

    def figure_of_merit(self) -> float:
        """Mean rate over 0 … 10 false alarms for each keyword in an hour (NIST's FOM)."""
        at = np.linspace(0, 10, 1001)
        known = np.searchsorted(self.per_hour, at, side="right") - 1
        return float(np.where(known >= 0, self.rate[np.maximum(known, 0)], 0.0).mean())


def curve(scores: Sequence[float], correct: Sequence[bool], references: int, hours: float) -> Curve:
    """The curve of detections with their scores; a threshold is half-way to the next lower score."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    sorted_scores = np.asarray(scores, float)[order]
    right = np.asarray(correct, bool)[order]
    steps = np.append(np.flatnonzero(np.diff(sorted_scores)), len(order) - 1) if len(order) else np.zeros(0, int)
    below = np.append(sorted_scores, 0.0)[steps + 1]
    return Curve(
        (sorted_scores[steps] + below) / 2,
        np.cumsum(right)[steps],
        np.cumsum(~right)[steps],
        references,
        hours,
    )
