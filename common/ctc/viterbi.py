"""The compiled part of forced alignment: the best path through a CTC lattice in little memory.

A table of the moves into every state at every frame would take 10 GB for an hour of speech. Only the scores
at every `block`-th frame are kept; the moves are found again, block by block from the end, and there only of
the 2 × block states from which the path can have come (checkpointing, as Grice, Hughey & Speck 1997,
"Reduced space sequence alignment", do for hidden Markov models).

numba compiles at the first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 1024  # frames between two kept rows of scores


@numba.njit(cache=True)
def advance(row, states, skips, before, after, low, high):  # type: ignore[no-untyped-def]
    """Scores of the states low … high - 1 after a frame. before, after: (states + 2,), two closed in front.

    row: (symbols,) natural log; skips: 0 or -inf, may a path skip into the state from two before.
    """
    for state in range(low, high):
        best = max(before[state + 2], before[state + 1], before[state] + skips[state])
        after[state + 2] = best + row[states[state]]


@numba.njit(cache=True)
def checkpoints(log_probs, states, skips, block):  # type: ignore[no-untyped-def]
    """Scores (blocks + 1, states + 2) before each block of frames, and after the last frame."""
    frames, count = len(log_probs), len(states)
    blocks = (frames + block - 1) // block
    kept = np.full((blocks + 1, count + 2), -np.inf)
    kept[0, 2] = 0.0  # before the first frame a path is as if in the first blank
    before, after = kept[0].copy(), np.full(count + 2, -np.inf)
    for frame in range(frames):
        low = max(0, count - 2 * (frames - frame))  # from a lower state the end is out of reach
        advance(log_probs[frame], states, skips, before, after, low, min(count, 2 * frame + 2))
        before, after = after, before
        if (frame + 1) % block == 0 or frame + 1 == frames:
            kept[(frame + block) // block] = before
    return kept


@numba.njit(cache=True)
def best_path(log_probs, states, skips, block):  # type: ignore[no-untyped-def]
    """The state of the best path at each frame (frames,), and its score; of equals that which stays longest.

    Where every path has probability 0 the score is -inf and the path nonsense.
    """
    frames, count = len(log_probs), len(states)
    kept = checkpoints(log_probs, states, skips, block)
    path = np.empty(frames, np.int64)
    last = count - 1
    if count > 1 and kept[-1, count] > kept[-1, count + 1]:
        last = count - 2
    score, state = kept[-1, last + 2], last
    for piece in range(len(kept) - 2, -1, -1):
        first, end = piece * block, min(frames, (piece + 1) * block)
        low, high = max(0, state - 2 * (end - first)), state + 1
        moves = np.empty((end - first, high - low), np.int8)
        before, after = kept[piece, low : high + 2].copy(), np.full(high - low + 2, -np.inf)
        if (
            low > 0
        ):  # two states stand in front that are not closed; what comes from there cannot reach `state`
            before[:2] = -np.inf
        own, skip = states[low:high], skips[low:high]
        for frame in range(first, end):
            for i in range(high - low):
                best, move = before[i + 2], 0
                if before[i + 1] > best:
                    best, move = before[i + 1], 1
                if before[i] + skip[i] > best:
                    best, move = before[i] + skip[i], 2
                after[i + 2] = best + log_probs[frame, own[i]]
                moves[frame - first, i] = move
            before, after = after, before
        for frame in range(end - 1, first - 1, -1):
            path[frame] = state
            state -= moves[frame - first, state - low]
    return path, score
