"""Connectionist temporal classification (Graves 2006): loss, feasibility, forced alignment, posteriors.

The lattice of a target of n symbols has 2n + 1 states: blank, symbol 1, blank, symbol 2, …, blank. A path
stays, steps by one, or skips a blank between two different symbols, and starts and ends in the first and last
two states. The blank has index 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from carousel.common.errors import InputError

if TYPE_CHECKING:  # torch takes a second to import, and alignment does without it
    import torch


class Span(NamedTuple):
    """Where a symbol is: output frames [start, end), and its highest posterior in them (0 … 1)."""

    start: int
    end: int
    confidence: float


def ctc_loss(
    log_probs: torch.Tensor,
    lengths: torch.Tensor,
    targets: Sequence[torch.Tensor] | torch.Tensor,
    target_lengths: torch.Tensor | None = None,
    zero_infinity: bool = False,
) -> torch.Tensor:
    """-ln P(target | input) of each sample: (batch,), in float32 whatever the input's precision.

    log_probs: (batch, frames, symbols) natural log; lengths: (batch,) integers, frames of each sample;
    targets: a list of 1-D integer tensors, or padded (batch, longest) with target_lengths (batch,). A sample
    that cannot be aligned has an infinite loss and no finite gradient, so the caller names it and leaves it
    out (frames_needed tells beforehand); with zero_infinity it has loss 0 and gradient 0.
    """
    import torch

    if not isinstance(targets, torch.Tensor):
        target_lengths = torch.tensor([len(target) for target in targets])
        targets = torch.cat([*targets]) if len(targets) else torch.empty(0, dtype=torch.long)
    if target_lengths is None:
        raise TypeError("padded targets need target_lengths")
    if lengths.is_floating_point() or target_lengths.is_floating_point():
        raise TypeError("lengths are counts of frames and symbols: integers, never fractions")
    return torch.nn.functional.ctc_loss(
        log_probs.float().transpose(0, 1),  # (frames, batch, symbols), as torch wants it
        targets.to(log_probs.device),
        lengths.cpu(),
        target_lengths.cpu(),
        blank=0,
        reduction="none",
        zero_infinity=zero_infinity,
    )


def frames_needed(target: Sequence[int] | np.ndarray | torch.Tensor) -> int:
    """The fewest output frames that can hold a target: one a symbol, and a blank between equal neighbours."""
    indices = np.asarray(target)
    return len(indices) + int(np.count_nonzero(indices[1:] == indices[:-1]))


def can_align(lengths: torch.Tensor, targets: torch.Tensor, target_lengths: torch.Tensor) -> torch.Tensor:
    """Which samples of a batch can be aligned: (batch,) bool, on the CPU.

    lengths: (batch,) output frames; targets: (sum of target_lengths,) on the CPU; target_lengths: (batch,).
    """
    import torch

    needed = [frames_needed(target) for target in targets.split(target_lengths.tolist())]
    return lengths.cpu() >= torch.tensor(needed)


def forced_align(log_probs: np.ndarray, target: Sequence[int] | np.ndarray) -> list[Span]:
    """The best path through a known target (Viterbi): one (start, end, confidence) a symbol.

    log_probs: (frames, symbols) natural log; target: indices from 1. Of equally good paths the one that stays
    longest is taken. Raises InputError when the target cannot fit or all paths have probability 0. Memory:
    16 bytes a symbol for every 1,024 frames, so 80 MB for 100,000 frames (an hour of speech) of 50,000
    symbols.
    """
    states, skips = _lattice(log_probs, target)
    if not len(target):
        return []
    from carousel.common.ctc.viterbi import (  # numba takes a while to import, and training does without it
        BLOCK,
        best_path,
    )

    path, score = best_path(np.ascontiguousarray(log_probs), states, skips, BLOCK)
    if score == -np.inf:
        raise InputError("the text cannot be aligned: every path through it has probability 0")
    return _spans(log_probs, path, states)


def _spans(log_probs: np.ndarray, path: np.ndarray, states: np.ndarray) -> list[Span]:
    """Spans of the symbols of a path (frames,) through the states of a lattice."""
    peaks = log_probs[np.arange(len(path)), states[path]]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(path)) + 1])
    ends = np.append(starts[1:], len(path))
    confidences = np.exp(np.maximum.reduceat(peaks, starts).astype(np.float64))
    spoken = path[starts] % 2 == 1
    triples = zip(starts[spoken].tolist(), ends[spoken].tolist(), confidences[spoken].tolist(), strict=True)
    return [Span(*triple) for triple in triples]


def log_likelihood(log_probs: np.ndarray, target: Sequence[int] | np.ndarray) -> float:
    """ln P(target | log_probs), summed over all paths; -inf when the target cannot fit."""
    if len(log_probs) < frames_needed(target):
        return -np.inf
    if not len(log_probs):
        return 0.0
    states, skips = _lattice(log_probs, target)
    return float(np.logaddexp.reduce(_forward(log_probs[:, states].astype(np.float64), skips)[-1, -2:]))


def posteriors(log_probs: np.ndarray, target: Sequence[int] | np.ndarray) -> np.ndarray:
    """The probability of each state at each frame, given that the target was written (forward-backward).

    log_probs: (frames, symbols) natural log; target: n indices from 1. Returns (frames, 2n + 1) float64 whose
    rows sum to 1; column 2i + 1 is symbol i, the even columns are blanks. Raises InputError as forced_align
    does.
    """
    states, skips = _lattice(log_probs, target)
    emissions = log_probs[:, states].astype(np.float64)  # (frames, states)
    # The backward pass is the forward pass of the reversed lattice; a skip there enters a state two places
    # earlier.
    backward_skips = np.full_like(skips, -np.inf)
    backward_skips[2:] = skips[2:][::-1]
    forward = _forward(emissions, skips)
    backward = _forward(emissions[::-1, ::-1], backward_skips)[::-1, ::-1]
    total = np.logaddexp.reduce(forward[-1:, -2:], axis=None) if len(forward) else 0.0
    if total == -np.inf:
        raise InputError("the text cannot be aligned: every path through it has probability 0")
    with np.errstate(invalid="ignore"):  # a state of probability 0 is -inf in all three
        occupation = forward + backward - emissions - total
    return np.exp(np.where(np.isneginf(emissions), -np.inf, occupation))


def _forward(emissions: np.ndarray, skips: np.ndarray) -> np.ndarray:
    """Forward variables ln α (frames, states) of a lattice: Graves 2006, equations 5–8, in logarithms."""
    alpha = np.full((len(emissions) + 1, emissions.shape[1] + 2), -np.inf)  # two closed states in front
    alpha[0, 2] = 0.0
    for frame, emission in enumerate(emissions):
        before = alpha[frame]
        entered = np.logaddexp(np.logaddexp(before[2:], before[1:-1]), before[:-2] + skips)
        alpha[frame + 1, 2:] = entered + emission
    return alpha[1:, 2:]


def _lattice(log_probs: np.ndarray, target: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each state (2n + 1,): its symbol index, and 0 or -inf: may a path skip into it from two before."""
    indices = np.asarray(target, dtype=np.intp)
    symbols = log_probs.shape[1]
    if len(indices) and (indices.min() < 1 or indices.max() >= symbols):
        raise InputError(f"the text has symbol indices outside 1 … {symbols - 1}")
    if np.isnan(log_probs).any():
        raise InputError("log-probabilities have NaN: the model or its input is broken")
    if len(log_probs) < frames_needed(indices):
        raise InputError(
            f"the text needs at least {frames_needed(indices)} output frames and there are {len(log_probs)}: "
            "it is too long for its recording or line"
        )
    states = np.zeros(2 * len(indices) + 1, dtype=np.intp)
    states[1::2] = indices
    skips = np.full(len(states), -np.inf)
    skips[3::2] = np.where(indices[1:] != indices[:-1], 0.0, -np.inf)
    return states, skips
