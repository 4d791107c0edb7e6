"""Networks that see the beginning of a film and show how it goes on: convolutional LSTM, and fully connected.

Shi et al. 2015, Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting. Frames
are cut into patches, which become channels; the states of all layers together give the next frame, by a
convolution of one place. What is to come is made of what was made before, step by step.
"""

import torch
from torch import Tensor, nn

from carousel.common.lstm import LSTMStack
from carousel.recipes.diagnostics.settings import CONVOLUTIONAL, Settings

SIZE = 32  # pixels of a frame, each way
PATCH = 4  # pixels of a patch, each way
GRID, CHANNELS = SIZE // PATCH, PATCH * PATCH
KERNEL = 3
LAYERS = 2
PAPER = -2.0  # logit of ink at first: most of a frame is none


class ConvLSTMCell(nn.Module):
    """LSTM cells with peepholes at each place of a grid, connected by convolutions (equation 3)."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, KERNEL, padding=KERNEL // 2)
        self.peephole = nn.Parameter(torch.zeros(3, hidden, GRID, GRID))
        bias = torch.zeros(4, hidden)
        bias[1] = 1  # of the forget gate
        self.gates.bias = nn.Parameter(bias.flatten())

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, inputs, GRID, GRID); h, c: (batch, hidden, GRID, GRID) before. Returns h and c after."""
        i, f, o, z = self.gates(torch.cat((x, h), dim=1)).chunk(4, dim=1)
        i = torch.sigmoid(i + self.peephole[0] * c)
        f = torch.sigmoid(f + self.peephole[1] * c)
        c = f * c + i * torch.tanh(z)
        return torch.sigmoid(o + self.peephole[2] * c) * torch.tanh(c), c


class Film(nn.Module):
    """Layers that read frames and then go on with their own; `step` is what differs."""

    def forward(self, x: Tensor, lengths: Tensor, state: None = None) -> tuple[Tensor, None]:
        """x: (batch, seen, pixels) from 0 to 1, all rows as long. Returns logits of as many frames more."""
        states, shown = self.begin(len(x)), []
        for frame in x.unbind(1):
            logits, states = self.step(frame, states)
        for _ in range(x.shape[1]):
            shown.append(logits)
            logits, states = self.step(torch.sigmoid(logits), states)
        return torch.stack(shown, dim=1), None

    def begin(self, batch: int) -> list[tuple[Tensor, ...]]:
        raise NotImplementedError

    def step(
        self, frame: Tensor, states: list[tuple[Tensor, ...]]
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """The logits of the next frame, (batch, pixels), and the states after this one."""
        raise NotImplementedError


def _begin_blank(head: nn.Conv2d | nn.Linear) -> None:
    if head.bias is not None:
        nn.init.constant_(head.bias, PAPER)


class Convolutional(Film):
    """hidden: channels of each layer."""

    def __init__(self, hidden: int):
        super().__init__()
        sizes = [CHANNELS, *[hidden] * (LAYERS - 1)]
        self.cells = nn.ModuleList(ConvLSTMCell(inputs, hidden) for inputs in sizes)
        self.head = nn.Conv2d(LAYERS * hidden, CHANNELS, 1)
        _begin_blank(self.head)
        self.hidden = hidden

    def begin(self, batch: int) -> list[tuple[Tensor, ...]]:
        zeros = torch.zeros(batch, self.hidden, GRID, GRID)
        return [(zeros, zeros)] * LAYERS

    def step(
        self, frame: Tensor, states: list[tuple[Tensor, ...]]
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        x = nn.functional.pixel_unshuffle(frame.view(-1, 1, SIZE, SIZE), PATCH)
        after: list[tuple[Tensor, ...]] = []
        for cell, state in zip(self.cells, states, strict=True):
            x, c = cell(x, *state)
            after.append((x, c))
        logits = self.head(torch.cat([h for h, _ in after], dim=1))
        return nn.functional.pixel_shuffle(logits, PATCH).flatten(1), after


class Connected(Film):
    """The same of layers that know no places. hidden: cells of each layer."""

    def __init__(self, hidden: int):
        super().__init__()
        self.stack = LSTMStack(SIZE * SIZE, hidden, LAYERS, bidirectional=False)
        self.head = nn.Linear(hidden, SIZE * SIZE)
        _begin_blank(self.head)

    def begin(self, batch: int) -> list[tuple[Tensor, ...]]:
        return self.stack.fresh(batch)

    def step(
        self, frame: Tensor, states: list[tuple[Tensor, ...]]
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        h, states = self.stack.carry(frame[:, None], torch.ones(len(frame), dtype=torch.long), states)
        return self.head(h[:, 0]), states


def film_network(settings: Settings) -> Film:
    """Of cell=convlstm a convolutional one, of any other one that is fully connected."""
    return (Convolutional if settings.cell == CONVOLUTIONAL else Connected)(settings.hidden)
