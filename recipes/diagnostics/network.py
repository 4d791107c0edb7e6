"""One recurrent layer and a linear output: the network of every task."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from carousel.common.errors import UsageError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import VARIANTS
from carousel.common.lstm.stack import State
from carousel.recipes.diagnostics.settings import RNN, Settings


class Network(nn.Module):
    """Inputs → recurrent layer → linear output, from left to right."""

    def __init__(self, inputs: int, outputs: int, settings: Settings):
        super().__init__()
        self.layer: LSTMStack | nn.RNN
        if settings.cell == RNN:
            simple = nn.RNN(inputs, settings.hidden, batch_first=True)
            nn.init.orthogonal_(simple.get_parameter("weight_hh_l0"), settings.gain)
            self.layer = simple
        else:
            self.layer = LSTMStack(inputs, settings.hidden, 1, settings.cell, bidirectional=False)
            set_bias(self.layer, settings)
        self.head = nn.Linear(settings.hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x: (batch, steps, inputs), of which a row has `lengths` (batch,); state: before the first step.

        Returns (batch, steps, outputs) and the state after each row's last step.
        """
        if isinstance(self.layer, nn.RNN):
            h, _ = self.layer(x, state[0][0][None] if state else None)
            state = [(h[torch.arange(len(x)), lengths - 1],)]
        else:
            h, state = self.layer.carry(x, lengths, state)
        return self.head(h), state


def set_bias(layer: LSTMStack, settings: Settings) -> None:
    """What a cell keeps at first: forget bias, or chrono initialisation.

    Chrono: b_f = ln U(1, T - 1), b_i = -b_f (Tallec & Ollivier 2018, Can Recurrent Neural Networks Warp
    Time?); of a GRU the bias of the gate that keeps.
    """
    gates = layer.variant.gates
    blocks = dict(zip(gates, layer.bias[0].detach().split(layer.hidden, dim=1), strict=True))
    keeps = blocks.get("f", blocks.get("z"))
    if settings.chrono:
        bias = torch.empty(1, layer.hidden).uniform_(1, max(settings.chrono - 1, 1)).log()
        if keeps is not None:
            keeps.copy_(bias)
        if "i" in blocks:
            blocks["i"].copy_(-bias)
    elif keeps is not None:
        keeps.fill_(settings.forget_bias)


def joined(network: Network) -> Tensor:
    """A copy of all weights of the recurrent layer, (gates, hidden, inputs + hidden + 1), gates i, f, g, o:
    those of the inputs, of h and the bias of each unit.

    Raises UsageError for another cell than the LSTM with forget gate.
    """
    layer = network.layer
    if not isinstance(layer, LSTMStack) or layer.variant != VARIANTS["lstm"]:
        raise UsageError("this way of learning knows cell=lstm alone")
    parts = [layer.inputs[0][0], layer.recurrent[0][0], layer.bias[0][0][:, None]]
    return torch.cat([part.detach() for part in parts], dim=1).unflatten(0, (4, layer.hidden))


def take(network: Network, weights: Tensor, head: Tensor) -> None:
    """Puts weights as those of `joined`, and head (outputs, hidden + 1) with the bias last, into a
    network."""
    layer: Any = network.layer
    size = head.shape[1] - 1
    rows = weights.flatten(0, 1)
    with torch.no_grad():
        for own, new in (
            (layer.inputs[0][0], rows[:, : -size - 1]),
            (layer.recurrent[0][0], rows[:, -size - 1 : -1]),
            (layer.bias[0][0], rows[:, -1]),
            (network.head.weight, head[:, :-1]),
            (network.head.bias, head[:, -1]),
        ):
            own.copy_(new)


def generate(
    network: Network, x: Tensor, steps: int, after: Callable[[Tensor], Tensor], state: State | None
) -> Tensor:
    """Outputs of a network that reads what it wrote, (batch, steps, outputs).

    x: the first input, (batch, inputs); after: the next input, made of the last output.
    """
    ones, outputs = torch.ones(len(x), dtype=torch.long), []
    for _ in range(steps):
        y, state = network(x[:, None], ones, state)
        outputs.append(y[:, 0])
        x = after(y[:, 0])
    return torch.stack(outputs, dim=1)
