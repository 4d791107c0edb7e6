"""From a transducer's probabilities to labels: greedy, and the beam search of Graves 2012, algorithm 1.

Both see the network as a function: score(prefix, frame) has ln Pr(symbol | prefix, frame) of all symbols, the
blank first. A prefix is a tuple of labels, from 1.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping

import numpy as np

Prefix = tuple[int, ...]
Score = Callable[[Prefix, int], np.ndarray]
Found = list[tuple[Prefix, float]]  # best first, with ln P


def greedy(score: Score, frames: int, most: int) -> Found:
    """The labels of the likeliest step each time, at most `most` in a frame, with ln P of this one path."""
    prefix: Prefix = ()
    total = 0.0
    for frame in range(frames):
        for _ in range(most):
            scores = score(prefix, frame)
            best = int(scores.argmax())
            total += float(scores[best])
            if not best:
                break
            prefix = (*prefix, best)
    return [(prefix, total)]


def beam(score: Score, frames: int, width: int, longest: int | None = None) -> Found:
    """The `width` likeliest texts that the search finds, each with ln P over all the paths in it.

    longest: labels a text may have, by default as many as there are frames. Where width holds all texts as
    short as that, every ln P is exact. The paper divides ln P by the length in the end; here that is left to
    the caller.
    """
    kept: dict[Prefix, float] = {(): 0.0}
    for frame in range(frames):
        here = arrived(score, kept, frame)
        queue = [(-mass, prefix) for prefix, mass in here.items()]
        heapq.heapify(queue)
        done: dict[Prefix, float] = {}
        while queue and sum(mass > -queue[0][0] for mass in done.values()) < width:
            negative, prefix = heapq.heappop(queue)
            scores = score(prefix, frame).tolist()
            done[prefix] = scores[0] - negative
            if len(prefix) == (frames if longest is None else longest):
                continue
            for label, step in enumerate(scores[1:], start=1):
                # what was there when the frame began has this way to it in its sum already
                if (longer := (*prefix, label)) not in here and step > -math.inf:
                    heapq.heappush(queue, (negative - step, longer))
        kept = dict(heapq.nlargest(width, done.items(), key=lambda item: item[1]))
    return sorted(kept.items(), key=lambda item: -item[1])


def arrived(score: Score, kept: Mapping[Prefix, float], frame: int) -> dict[Prefix, float]:
    """ln P of the texts of a beam before the blank of a frame: what they had, and what comes to them in it
    from prefixes of theirs that are in the beam as well, by all labels between (the sum over pref(y))."""
    shortest = min(map(len, kept))
    found = {}
    for prefix, mass in kept.items():
        way = 0.0
        for cut in range(len(prefix) - 1, shortest - 1, -1):
            way += float(score(prefix[:cut], frame)[prefix[cut]])
            mass = float(np.logaddexp(mass, kept.get(prefix[:cut], -math.inf) + way))
        found[prefix] = mass
    return found
