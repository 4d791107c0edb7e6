"""The stack of (bidirectional) LSTM layers over a padded batch, exact for every row."""

import os

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.lstm.fused import Steps, sequence

CELLS = ("lstm", "peephole")

# oneDNN keeps a compiled primitive for each shape it has seen, 1,024 of them by default: gigabytes, as every
# ragged batch has a shape of its own. It reads this at its first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


class LSTMStack(nn.Module):
    """`layers` LSTM layers, each in both directions unless `bidirectional` is off.

    cell: "lstm" (forget gate, Gers 2000; through torch's own kernels) or "peephole" (Gers & Schmidhuber
    2000). dropout: on the input of every layer but the first.

    A row of a padded batch gives what it gives alone: the backward direction starts at the row's own last
    frame.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        layers: int = 3,
        cell: str = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        if cell not in CELLS:
            raise InputError(f"network.cell is {cell!r}; there are {', '.join(CELLS)}")
        self.hidden, self.cell, self.directions, self.dropout = (
            hidden,
            cell,
            2 if bidirectional else 1,
            dropout,
        )
        self.outputs = self.directions * hidden
        sizes = [inputs] + [self.outputs] * (layers - 1)
        d = self.directions
        self.inputs = nn.ParameterList(nn.Parameter(torch.empty(d, 4 * hidden, size)) for size in sizes)
        self.recurrent = nn.ParameterList(nn.Parameter(torch.empty(d, 4 * hidden, hidden)) for _ in sizes)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(d, 4 * hidden)) for _ in sizes)
        peepholes = sizes if cell == "peephole" else []
        self.peephole = nn.ParameterList(nn.Parameter(torch.zeros(d, 3, hidden)) for _ in peepholes)
        self.reset()

    def reset(self) -> None:
        """Glorot for inputs, orthogonal for recurrent weights, forget bias 1 (Gers 2000; Jozefowicz 2015)."""
        for inputs, recurrent, bias in zip(self.inputs, self.recurrent, self.bias, strict=True):
            for direction in range(self.directions):
                for gate in range(4):
                    rows = slice(gate * self.hidden, (gate + 1) * self.hidden)
                    nn.init.xavier_uniform_(inputs[direction, rows])
                    nn.init.orthogonal_(recurrent[direction, rows])
            with torch.no_grad():
                bias.zero_()[:, self.hidden : 2 * self.hidden] = 1.0

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (batch, frames, inputs); lengths: (batch,) integers on any device. Returns (batch, frames,
        outputs).

        Frames past a row's length are zero in the result, whatever they hold in `x`.
        """
        if x.shape[0] == 0 or x.shape[1] == 0 or int(lengths.max()) == 0:
            return x.new_zeros(*x.shape[:2], self.outputs)
        run = self._packed if self.cell == "peephole" else self._padded
        return run(x, lengths)

    def _drop(self, x: Tensor, layer: int) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if layer and self.dropout else x

    def _packed(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Our own layers: no frame of padding is computed."""
        batch, frames, _ = x.shape
        steps = Steps.of(lengths).to(x.device)
        longest = len(steps.counts)
        operand = _operand_dtype(x)
        packed = x[:, :longest].flatten(0, 1)[steps.gather].to(operand)  # (frames, inputs)
        for layer, weights in enumerate(self.inputs):
            packed = self._drop(packed, layer)
            both = torch.stack((packed, packed[steps.mirror]) if self.directions == 2 else (packed,))
            bias = self.bias[layer][:, None].to(operand)
            projected = torch.baddbmm(bias, both, weights.transpose(1, 2).to(operand))
            h = sequence(projected, self.recurrent[layer].to(operand), self.peephole[layer], steps.counts)
            packed = torch.cat((h[0], h[1][steps.mirror]), dim=-1) if self.directions == 2 else h[0]
        rows = packed.new_zeros(batch * longest, self.outputs).index_copy(0, steps.gather, packed)
        return nn.functional.pad(rows.view(batch, longest, -1), (0, 0, 0, frames - longest)).to(x.dtype)

    def _padded(self, x: Tensor, lengths: Tensor) -> Tensor:
        """torch's one-way kernels (oneDNN, cuDNN), the backward direction on rows reversed in their own
        length.

        Right padding cannot reach a one-way pass over the frames before it, so this is exact, and it is
        several times faster than a `PackedSequence` on a CPU.
        """
        operand = _operand_dtype(x)
        lengths = lengths.to(x.device)
        time = torch.arange(x.shape[1], device=x.device)[:, None]  # (frames, 1)
        reverse = torch.where(time < lengths, lengths - 1 - time, time)[..., None]  # (frames, batch, 1)
        h = x.transpose(0, 1).to(operand)  # (frames, batch, inputs)
        for layer, weights in enumerate(self.inputs):
            h = self._drop(h, layer)
            outputs = []
            for direction in range(self.directions):
                mine = h if direction == 0 else h.gather(0, reverse.expand_as(h))
                parameters = [
                    weights[direction],
                    self.recurrent[layer][direction],
                    self.bias[layer][direction],
                ]
                out = _torch_lstm(mine, [p.to(operand) for p in parameters])
                outputs.append(out if direction == 0 else out.gather(0, reverse.expand_as(out)))
            h = torch.cat(outputs, dim=-1) if self.directions == 2 else outputs[0]
        h = h * (time < lengths)[..., None]
        return h.transpose(0, 1).to(x.dtype)


def _operand_dtype(x: Tensor) -> torch.dtype:
    """Under autocast the products' dtype, else that of the input."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _torch_lstm(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """One layer in one direction. x: (frames, batch, inputs); parameters: W, R, b. Returns (frames, batch,
    hidden)."""
    weights, recurrent, bias = parameters
    zero = x.new_zeros(1, x.shape[1], recurrent.shape[1])
    flat = [weights, recurrent, bias, torch.zeros_like(bias)]
    with torch.autocast(x.device.type, enabled=False):
        # arguments: has_biases, layers, dropout, train, bidirectional, batch_first
        return torch._VF.lstm(x, (zero, zero), flat, True, 1, 0.0, torch.is_grad_enabled(), False, False)[0]
