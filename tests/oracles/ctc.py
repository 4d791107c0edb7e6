"""CTC by enumeration: every path through a small lattice, symbols ** frames of them."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Text(NamedTuple):
    """A text (indices without blanks) over all of its paths: ln of their sum, and ln of the best of them."""

    total: float
    best: float


def paths(log_probs: np.ndarray) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path through log_probs (frames, symbols) that is possible, and its ln probability."""
    frames, symbols = log_probs.shape
    for path in itertools.product(range(symbols), repeat=frames):
        score = math.fsum(float(log_probs[frame, index]) for frame, index in enumerate(path))
        if score > -math.inf:
            yield path, score


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """The text of a path: runs merged, then blanks dropped."""
    return tuple(index for index, _ in itertools.groupby(path) if index)


def texts(log_probs: np.ndarray) -> dict[tuple[int, ...], Text]:
    """Every text that is possible."""
    scores: dict[tuple[int, ...], list[float]] = {}
    for path, score in paths(log_probs):
        scores.setdefault(collapse(path), []).append(score)
    return {
        text: Text(math.log(math.fsum(map(math.exp, found))), max(found)) for text, found in scores.items()
    }


def occupation(log_probs: np.ndarray, target: Sequence[int]) -> np.ndarray:
    """Probability of each state (blank, symbol 1, blank, …) per frame, given the target: (frames, 2n + 1)."""
    counts = np.zeros((len(log_probs), 2 * len(target) + 1))
    for path, score in paths(log_probs):
        if collapse(path) == tuple(target):
            for frame, state in enumerate(states(path)):
                counts[frame, state] += math.exp(score)
    return counts / counts[0].sum() if len(counts) else counts


def states(path: Sequence[int]) -> list[int]:
    """State of the lattice at each frame of a path: 2k in the blank after k symbols, 2k - 1 in symbol k."""
    found, written, before = [], 0, 0
    for index in path:
        written += bool(index) and index != before
        found.append(2 * written - bool(index))
        before = index
    return found


def path_of(indices: Sequence[int], spans: Sequence[tuple[int, int]], frames: int) -> tuple[int, ...]:
    """The path that has these symbols in these frames [start, end), and blanks elsewhere."""
    path = [0] * frames
    for index, (start, end) in zip(indices, spans, strict=True):
        for frame in range(start, end):
            path[frame] = index
    return tuple(path)
