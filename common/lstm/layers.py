"""The stack of (bidirectional) LSTM layers over a padded batch, exact for every row."""

import os

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.lstm.fused import Steps, carried_sequence, sequence

CELLS = ("lstm", "peephole")

State = list[tuple[Tensor, Tensor]]  # for each layer h and c, each (batch, hidden) float32

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
        if self.cell == "peephole":
            return self._packed(x, lengths, None)[0]
        return self._padded(x, lengths)

    def carry(self, x: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As `forward`, from `state` on (zeros if None), with the state after each row's own last frame.

        A row without frames keeps its state. Gradients flow through the state: a caller that truncates them
        (truncated backpropagation through time, Williams & Peng 1990) detaches it between two calls.
        Raises InputError for a stack that also runs backward, which would need the future.
        """
        if self.directions == 2:
            raise InputError("state can be carried only with bidirectional=false")
        if state is None:
            zeros = x.new_zeros(len(x), self.hidden, dtype=_exact(x.dtype))
            state = [(zeros, zeros)] * len(self.inputs)
        if x.shape[0] == 0 or x.shape[1] == 0 or int(lengths.max()) == 0:
            return x.new_zeros(*x.shape[:2], self.outputs), state
        return self._packed(x, lengths, state)

    def _drop(self, x: Tensor, layer: int) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if layer and self.dropout else x

    def _packed(self, x: Tensor, lengths: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Our own layers: no frame of padding is computed. The new state is empty where none was given."""
        batch, frames, _ = x.shape
        steps = Steps.of(lengths).to(x.device)
        longest = len(steps.counts)
        operand = _operand_dtype(x)
        packed = x[:, :longest].flatten(0, 1)[steps.gather].to(operand)  # (frames, inputs)
        carried = []
        for layer, weights in enumerate(self.inputs):
            packed = self._drop(packed, layer)
            both = torch.stack((packed, packed[steps.mirror]) if self.directions == 2 else (packed,))
            bias = self.bias[layer][:, None].to(operand)
            projected = torch.baddbmm(bias, both, weights.transpose(1, 2).to(operand))
            recurrent = self.recurrent[layer].to(operand)
            peephole = self.peephole[layer] if self.cell == "peephole" else bias.new_zeros(1, 3, self.hidden)
            if state is None:
                h = sequence(projected, recurrent, peephole, steps.counts)
            else:
                old_h, old_c = state[layer]
                start = old_h[None, steps.running].to(operand), old_c[None, steps.running]
                h, c = carried_sequence(projected, recurrent, peephole, steps.counts, start)
                new_h, new_c = (t[0, steps.last] for t in (h, c))
                new_h = old_h.index_copy(0, steps.running, new_h.to(old_h.dtype))
                carried.append((new_h, old_c.index_copy(0, steps.running, new_c)))
            packed = torch.cat((h[0], h[1][steps.mirror]), dim=-1) if self.directions == 2 else h[0]
        rows = packed.new_zeros(batch * longest, self.outputs).index_copy(0, steps.gather, packed)
        rows = nn.functional.pad(rows.view(batch, longest, -1), (0, 0, 0, frames - longest)).to(x.dtype)
        return rows, carried

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


def _exact(dtype: torch.dtype) -> torch.dtype:
    """Of states: never less than float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


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
