"""The decoupled extended Kalman filter: learning as the estimate of weights, of which outputs are a noisy
view.

Puskorius & Feldkamp 1994, Neurocontrol of Nonlinear Dynamical Systems with Kalman Filter Trained Recurrent
Networks. Weights are in groups, and what is known of one says nothing of another. With one group it is the
extended Kalman filter of all weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def fresh(weights: Sequence[Tensor], variance: float) -> list[Tensor]:
    """Covariances at first, (groups, size, size) for each stack of weights (groups, size): variance · I."""
    return [variance * torch.eye(w.shape[1], dtype=w.dtype).repeat(len(w), 1, 1) for w in weights]


def update(
    weights: Sequence[Tensor],
    covariances: Sequence[Tensor],
    slopes: Sequence[Tensor],
    error: Tensor,
    noise: float,
    drift: float,
) -> None:
    """One observation, in place; groups of one size are a stack.

    weights: w, (groups, size) each; covariances: P, (groups, size, size); slopes: H = ∂outputs/∂w, (groups,
    size, outputs); error: target less output, (outputs,); noise: the variance R of an output; drift: that, Q,
    of a weight from one observation to the next.

    A = (R I + Σ HᵀPH)⁻¹, K = P H A, w ← w + K error, P ← P - K HᵀP + Q I.
    """
    seen = [p @ h for p, h in zip(covariances, slopes, strict=True)]
    spread = noise * torch.eye(len(error), dtype=error.dtype)
    for h, ph in zip(slopes, seen, strict=True):
        spread = spread + (h.mT @ ph).sum(0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(spread))
    for w, p, ph in zip(weights, covariances, seen, strict=True):
        gain = ph @ inverse
        w += gain @ error
        p -= gain @ ph.mT
        p.diagonal(dim1=1, dim2=2).add_(drift)
