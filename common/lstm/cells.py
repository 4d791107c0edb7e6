"""One step of each cell, as the papers write it. The fast paths are checked against these.

Gates stand in the order i, f, g, o (input gate, forget gate, cell input, output gate), as in `torch.nn.LSTM`.
"""

import torch
from torch import Tensor


def lstm_step(projected: Tensor, state: tuple[Tensor, Tensor], recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """LSTM with forget gate (Gers, Schmidhuber & Cummins 2000, Learning to Forget).

    projected: W x + b of this step, (batch, 4 hidden); state: h and c, each (batch, hidden);
    recurrent: R, (4 hidden, hidden). Returns the new h and c.
    """
    h, c = state
    i, f, g, o = (projected + h @ recurrent.T).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def peephole_step(
    projected: Tensor, state: tuple[Tensor, Tensor], recurrent: Tensor, peephole: Tensor
) -> tuple[Tensor, Tensor]:
    """Peephole LSTM (Gers & Schmidhuber 2000, Recurrent Nets that Time and Count; Graves 2013, equations
    7–11).

    As `lstm_step`; the gates also see the cell state: input and forget gate the old one, the output gate the
    new one. peephole: (3, hidden) for i, f, o.
    """
    h, c = state
    i, f, g, o = (projected + h @ recurrent.T).chunk(4, dim=-1)
    c_new = torch.sigmoid(f + peephole[1] * c) * c + torch.sigmoid(i + peephole[0] * c) * torch.tanh(g)
    return torch.sigmoid(o + peephole[2] * c_new) * torch.tanh(c_new), c_new
