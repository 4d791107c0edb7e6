"""The loss of the transducer: Graves 2012, Sequence Transduction with Recurrent Neural Networks, section 2.4.

The lattice of n frames and m labels has a node (t, u) for "u labels are written, frame t is seen". From it
a blank leads to (t + 1, u), and label u + 1 to (t, u + 1); a path ends by the blank of (n - 1, m). The blank
has index 0, as everywhere.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

REDUCTIONS = ("none", "sum", "mean")


def transducer_loss(
    log_probs: Tensor, frames: Tensor, targets: Tensor, counts: Tensor, reduction: str = "none"
) -> Tensor:
    """-ln P(target | input) of each sample (batch,), or their sum or mean.

    log_probs: (batch, frames, labels + 1, symbols) natural logs, of any floating type; frames: (batch,) of
    each sample, at least 1; targets: (batch, labels) indices from 1, padded by anything; counts: (batch,)
    labels of each. What lies beyond a sample's frames and labels has no part in its loss, and no gradient.
    A target of probability 0 has an infinite loss and no finite gradient.
    Raises ValueError for shapes, lengths and a reduction that cannot be, TypeError for lengths that are no
    integers.
    """
    _check(log_probs, frames, targets, counts, reduction)
    labels = torch.arange(log_probs.shape[2] - 1, device=targets.device)
    # the last column has no label to write; there, and beyond a target, the index 0 is as good as any
    index = torch.nn.functional.pad(targets.where(labels < counts[:, None].to(targets.device), 0), (0, 1))
    index = index.to(log_probs.device, torch.long)[:, None, :, None].expand(*log_probs.shape[:3], 1)
    written = log_probs.gather(3, index)[..., 0]
    losses: Tensor = _Lattice.apply(log_probs[..., 0], written, frames, counts)
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def _check(log_probs: Tensor, frames: Tensor, targets: Tensor, counts: Tensor, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; there are {', '.join(REDUCTIONS)}")
    if frames.is_floating_point() or counts.is_floating_point():
        raise TypeError("frames and counts are integers, never fractions")
    if log_probs.dim() != 4 or targets.shape != (len(log_probs), log_probs.shape[2] - 1):
        raise ValueError(
            f"log_probs of shape {tuple(log_probs.shape)} for targets of shape {tuple(targets.shape)}: they "
            "must be (batch, frames, labels + 1, symbols) and (batch, labels)"
        )
    batch, most_frames, columns, symbols = log_probs.shape
    if frames.shape != (batch,) or counts.shape != (batch,):
        raise ValueError(f"frames and counts must have one number for each of the {batch} samples")
    if not batch:
        return
    if frames.min() < 1 or frames.max() > most_frames or counts.min() < 0 or counts.max() >= columns:
        raise ValueError(f"frames must be in 1 … {most_frames}, and counts in 0 … {columns - 1}")
    inside = torch.arange(columns - 1, device=targets.device) < counts[:, None].to(targets.device)
    if ((targets < 1) | (targets >= symbols))[inside].any():
        raise ValueError(f"targets must be in 1 … {symbols - 1}")


class _Lattice(torch.autograd.Function):
    """Losses of the blanks' and the labels' log-probabilities, each (batch, frames, labels + 1)."""

    @staticmethod
    def forward(ctx: Any, blank: Tensor, label: Tensor, frames: Tensor, counts: Tensor) -> Tensor:
        sides = (side.detach().cpu().numpy() for side in (blank, label, frames, counts))
        losses, *gradients = (torch.from_numpy(array).to(blank) for array in sweep(*sides))
        ctx.save_for_backward(*gradients)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_blank, of_label = ctx.saved_tensors
        scale = gradient[:, None, None]
        return scale * of_blank, scale * of_label, None, None


@numba.njit(cache=True)
def sweep(blank, label, frames, counts):  # type: ignore[no-untyped-def]
    """Losses (batch,), and their gradients by blank and label, float64 whatever comes in."""
    losses = np.empty(len(blank))
    of_blank, of_label = np.zeros(blank.shape), np.zeros(blank.shape)
    for row in range(len(blank)):
        n, m = frames[row], counts[row]
        alpha = forward_variables(blank[row], label[row], n, m)
        beta = backward_variables(blank[row], label[row], n, m)
        total = beta[0, 0]
        losses[row] = -total
        for t in range(n):
            for u in range(m + 1):
                before = alpha[t, u] - total
                of_blank[row, t, u] = -np.exp(before + blank[row, t, u] + beta[t + 1, u])
                of_label[row, t, u] = -np.exp(before + label[row, t, u] + beta[t, u + 1])
    return losses, of_blank, of_label


@numba.njit(cache=True)
def forward_variables(blank, label, n, m):  # type: ignore[no-untyped-def]
    """ln α of equation 16, (n, m + 1): of all ways from the beginning to a node."""
    alpha = np.full((n, m + 1), -np.inf)
    alpha[0, 0] = 0.0
    for t in range(n):
        for u in range(m + 1):
            if t:
                alpha[t, u] = alpha[t - 1, u] + blank[t - 1, u]
            if u:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t, u - 1] + label[t, u - 1])
    return alpha


@numba.njit(cache=True)
def backward_variables(blank, label, n, m):  # type: ignore[no-untyped-def]
    """ln β of equation 18: of all ways from a node to the end; (n + 1, m + 2), of which the last row and
    column are beyond the lattice, and are closed but for the end."""
    beta = np.full((n + 1, m + 2), -np.inf)
    beta[n, m] = 0.0
    for t in range(n - 1, -1, -1):
        for u in range(m, -1, -1):
            beta[t, u] = np.logaddexp(blank[t, u] + beta[t + 1, u], label[t, u] + beta[t, u + 1])
    return beta
