"""Real-time recurrent learning: derivatives by the weights that are carried forward with the state.

Williams & Zipser 1989, A Learning Algorithm for Continually Running Fully Recurrent Neural Networks, for the
LSTM with forget gate. Exact over all steps, where a backward pass has to be cut.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Carried(NamedTuple):
    """State and its derivatives by all weights of the layer."""

    h: Tensor  # (hidden,)
    c: Tensor  # (hidden,)
    dh: Tensor  # (hidden, weights)
    dc: Tensor  # (hidden, weights)


def start(weights: Tensor) -> Carried:
    """Before the first step: zeros. weights: (4, hidden, inputs + hidden + 1), as `network.joined` has
    them."""
    zeros = weights.new_zeros(weights.shape[1])
    slopes = weights.new_zeros(weights.shape[1], weights.numel())
    return Carried(zeros, zeros, slopes, slopes)


def step(weights: Tensor, x: Tensor, old: Carried) -> Carried:
    """The state after input x, (inputs,)."""
    _, hidden, fan = weights.shape
    rows = weights.flatten(0, 1)
    seen = torch.cat((x, old.h, x.new_ones(1)))
    i, f, g, o = (rows @ seen).view(4, hidden)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    dz = rows[:, -hidden - 1 : -1] @ old.dh  # (units, weights)
    dz.view(len(rows), len(rows), fan).diagonal(dim1=0, dim2=1).add_(seen[:, None])
    di, df, dg, do = dz.view(4, hidden, -1)
    c = f * old.c + i * g
    squashed = c.tanh()
    dc = f[:, None] * old.dc + (old.c * f * (1 - f))[:, None] * df
    dc += (g * i * (1 - i))[:, None] * di + (i * (1 - g * g))[:, None] * dg
    dh = (squashed * o * (1 - o))[:, None] * do + (o * (1 - squashed * squashed))[:, None] * dc
    return Carried(o * squashed, c, dh, dc)
