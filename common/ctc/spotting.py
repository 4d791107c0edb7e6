"""Keyword spotting: where given words are, in speech or writing that says much else (Fernández, Graves &
Schmidhuber 2007, "An application of recurrent neural networks to discriminative keyword spotting").

A keyword's path through a span of frames is compared with the best free path through the same span, which
in CTC takes each frame's likeliest symbol. One Viterbi pass finds for every end frame the best start: a path
may enter the keyword at any frame, and pays in each ln P(its symbol) - ln P(likeliest symbol) ≤ 0. The score
is e to the mean of that sum over the keyword's letters: 1 where a greedy decoder reads just the keyword.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from carousel.common.errors import InputError


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

    costs: (frames, symbols) ≤ 0. bounded: the pattern's first and last symbols are bounds around the letters;
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
            if (
                state > 1
                and state % 2 == 0
                and letter != pattern[state // 2 - 1]
                and before[state - 2] > best
            ):
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
    log_probs: np.ndarray, word: Sequence[int], bounds: Sequence[int] = (), threshold: float = 0.0
) -> list[Detection]:
    """Where a keyword is, in the order of time: no two overlap, and of those that would the best is kept.

    log_probs: (frames, symbols) natural log; word: indices of its letters. bounds: indices of the space and
    of what else parts words; one of them, or an end of log_probs, must stand before it and after it. Without
    bounds it may be a part of a longer word. threshold: the least score. Raises InputError for NaN.
    """
    if np.isnan(log_probs).any():
        raise InputError("log-probabilities have NaN: the model or its input is broken")
    letters = np.asarray(word, np.int64)
    costs = log_probs - log_probs.max(axis=1, keepdims=True, initial=-np.inf) if len(log_probs) else log_probs
    shift = 1 if len(bounds) else 0
    if shift:  # a further symbol is whichever bound is likeliest, and the ends are certain to be that
        symbols = log_probs.shape[1]
        costs = np.column_stack([costs, costs[:, list(bounds)].max(axis=1)])
        ends = np.full((1, symbols + 1), -np.inf, log_probs.dtype)
        ends[0, [0, symbols]] = 0.0
        costs = np.concatenate([ends, costs, ends])
        letters = np.concatenate([[symbols], letters, [symbols]])
    scores, places = best_paths(np.ascontiguousarray(costs), letters, bool(shift))
    scores = np.exp(scores / len(word))
    taken = np.zeros(len(costs), bool)
    found = []
    # Of equally good ones the shortest, then the first.
    for end in np.lexsort((places[:, 1] - places[:, 0], -scores)):
        start, stop, begin = places[end]
        if scores[end] < threshold or scores[end] == 0:
            break
        if not taken[start:stop].any():
            taken[start:stop] = True
            found.append(
                Detection(int(start) - shift, int(stop) - shift, int(begin) - shift, float(scores[end]))
            )
    return sorted(found, key=lambda detection: detection.start)


@dataclass(frozen=True, slots=True)
class Curve:
    """Receiver operating characteristic: for falling thresholds what is found and what is false.

    thresholds, hits, alarms: (points,) each; hits and alarms are counts of scores of at least the threshold.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    references: int  # occurrences of the keywords
    amount: float  # of what was searched, in units, times the number of keywords
    unit: str = "hour"

    @property
    def rate(self) -> np.ndarray:
        """Part of the occurrences that is found."""
        return self.hits / max(self.references, 1)

    @property
    def alarm_rate(self) -> np.ndarray:
        """False alarms for each keyword in a unit, such as an hour."""
        return self.alarms / self.amount

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / np.maximum(self.hits + self.alarms + self.references, 1)

    def best(self) -> int:
        """The point with the highest F1; of equal ones that with the highest threshold."""
        return int(self.f1.argmax())

    def figure_of_merit(self) -> float:
        """Mean rate over 0 … 10 false alarms a keyword and unit (NIST's FOM, where that is an hour), linear
        between points."""
        at = (np.arange(1000) + 0.5) / 100
        return float(np.interp(at, [0.0, *self.alarm_rate], [0.0, *self.rate]).mean())

    def average_precision(self) -> float:
        """Mean over the occurrences of the precision at the threshold that finds each, 0 where none does:
        the area below precision over recall, by which word spotting in writing is compared (Manning, Raghavan
        & Schütze 2008, section 8.4), all keywords in one ranking."""
        precision = self.hits / np.maximum(self.hits + self.alarms, 1)
        return float((np.diff(self.rate, prepend=0.0) * precision).sum())


def curve(
    scores: Sequence[float], correct: Sequence[bool], references: int, amount: float, unit: str = "hour"
) -> Curve:
    """The curve of detections with their scores; a threshold is half-way to the next lower score."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    sorted_scores = np.asarray(scores, float)[order]
    right = np.asarray(correct, bool)[order]
    steps = (
        np.append(np.flatnonzero(np.diff(sorted_scores)), len(order) - 1) if len(order) else np.zeros(0, int)
    )
    below = np.append(sorted_scores, 0.0)[steps + 1]
    return Curve(
        (sorted_scores[steps] + below) / 2,
        np.cumsum(right)[steps],
        np.cumsum(~right)[steps],
        references,
        amount,
        unit,
    )
