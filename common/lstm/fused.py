"""Whole ragged sequences through a peephole (or plain) LSTM: one `autograd.Function`, any device, any dtype.

Sequences are *packed by steps*: rows are sorted by falling length, and step s holds the rows that are still
running at s, one after the other. Packed tensors are (directions, frames, …), `frames` being the sum of all
lengths, so that padding costs nothing, and the two directions take each step in one batched product.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Steps:
    """Where each frame of a ragged batch stands in the packed order."""

    counts: list[int]  # rows that run at each step, falling
    gather: (
        Tensor  # (frames,) row * longest + step: packed ← padded (rows, longest), rows in the caller's order
    )
    mirror: (
        Tensor  # (frames,) the packed place of the same row's frame, counted from its end; its own inverse
    )
    order: Tensor  # (rows,) the caller's rows by falling length

    @classmethod
    def of(cls, lengths: Tensor) -> "Steps":
        """lengths: (rows,) integers ≥ 0, in any order."""
        lengths = lengths.cpu()
        order = torch.argsort(lengths, descending=True, stable=True)
        sorted_lengths = lengths[order]
        longest = int(sorted_lengths[0]) if len(lengths) else 0
        running = torch.arange(longest)[:, None] < sorted_lengths[None, :]  # (steps, rows)
        counts = running.sum(1)
        step, rank = running.nonzero(as_tuple=True)
        offsets = counts.cumsum(0) - counts
        mirror = offsets[sorted_lengths[rank] - 1 - step] + rank
        return cls(counts.tolist(), order[rank] * longest + step, mirror, order)

    def to(self, device: torch.device) -> "Steps":
        return Steps(self.counts, *(t.to(device) for t in (self.gather, self.mirror, self.order)))

    @property
    def running(self) -> Tensor:
        """The caller's rows that have frames, by falling length."""
        return self.order[: self.counts[0]]

    @property
    def last(self) -> Tensor:
        """The packed place of each running row's last frame."""
        return self.mirror[: self.counts[0]]


class _Sequence(torch.autograd.Function):
    """h and c over all steps. Backward is by hand: weight gradients are one product after the loop."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        recurrent: Tensor,
        peephole: Tensor,
        start_h: Tensor,
        start_c: Tensor,
        counts: list[int],
    ) -> tuple[Tensor, Tensor]:
        directions, frames, _ = projected.shape
        hidden = recurrent.shape[-1]
        exact = start_c.dtype
        weights = recurrent.transpose(1, 2)
        p_i, p_f, p_o = (peephole[:, k, None, :].to(exact) for k in range(3))
        gates = torch.empty_like(projected)  # activations i, f, g, o
        cells = projected.new_empty(directions, frames, hidden, dtype=exact)
        outputs = projected.new_empty(directions, frames, hidden)
        h, c = start_h, start_c
        offset = 0
        for count in counts:
            here = slice(offset, offset + count)
            c = c[:, :count]
            z = torch.baddbmm(projected[:, here], h[:, :count], weights).to(exact)
            z_i, z_f, z_g, z_o = z.chunk(4, dim=-1)
            i, f, g = torch.sigmoid(z_i + p_i * c), torch.sigmoid(z_f + p_f * c), torch.tanh(z_g)
            c = torch.addcmul(f * c, i, g)
            o = torch.sigmoid(z_o + p_o * c)
            torch.cat((i, f, g, o), dim=-1, out=z)
            gates[:, here], cells[:, here] = z, c
            h = (o * torch.tanh(c)).to(outputs.dtype)
            outputs[:, here] = h
            offset += count
        ctx.save_for_backward(recurrent, peephole, gates, cells, outputs, start_h, start_c)
        ctx.counts = counts
        ctx.set_materialize_grads(False)  # most callers leave the cell states alone
        return outputs, cells

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        d_outputs, d_cells = output_gradients
        recurrent, peephole, gates, cells, outputs, start_h, start_c = ctx.saved_tensors
        counts = ctx.counts
        directions, frames, hidden = outputs.shape
        exact = cells.dtype
        p_i, p_f, p_o = (peephole[:, k, None, :].to(exact) for k in range(3))
        d_gates = torch.empty_like(gates)
        d_h = d_c = cells.new_zeros(directions, 0, hidden)
        offset = frames
        for step in range(len(counts) - 1, -1, -1):
            count = counts[step]
            offset -= count
            here = slice(offset, offset + count)
            grown = (0, 0, 0, count - d_c.shape[1])  # rows that end at this step join with zero gradient
            d_h, d_c = (torch.nn.functional.pad(d, grown) for d in (d_h, d_c))
            d_h = d_h if d_outputs is None else d_h + d_outputs[:, here]
            d_c = d_c if d_cells is None else d_c + d_cells[:, here]
            i, f, g, o = gates[:, here].to(exact).chunk(4, dim=-1)
            c = cells[:, here]
            c_before = cells[:, offset - counts[step - 1] :][:, :count] if step else start_c
            squashed = torch.tanh(c)
            d_o = d_h * squashed * o * (1 - o)
            d_c = d_c + d_h * o * (1 - squashed * squashed) + d_o * p_o
            d_i = d_c * g * i * (1 - i)
            d_f = d_c * c_before * f * (1 - f)
            d_g = d_c * i * (1 - g * g)
            d_gates[:, here] = torch.cat((d_i, d_f, d_g, d_o), dim=-1)
            d_c = d_c * f + d_i * p_i + d_f * p_f
            d_h = torch.bmm(d_gates[:, here], recurrent).to(exact)
        # frame k of step s ≥ 1 follows frame k - counts[s - 1] …, the same rank one step before
        previous = torch.arange(counts[0], frames, device=outputs.device)
        rows = torch.tensor(counts)
        previous -= torch.repeat_interleave(rows[:-1], rows[1:]).to(outputs.device)
        h_before = torch.cat((start_h, outputs[:, previous]), dim=1)
        c_before = torch.cat((start_c, cells[:, previous]), dim=1)
        d_recurrent = torch.bmm(d_gates.transpose(1, 2), h_before)
        d_i, d_f, _, d_o = d_gates.to(exact).chunk(4, dim=-1)
        d_peephole = torch.stack(
            [(d_i * c_before).sum(1), (d_f * c_before).sum(1), (d_o * cells).sum(1)], dim=1
        )
        d_start = d_h.to(start_h.dtype), d_c
        return d_gates, d_recurrent.to(recurrent.dtype), d_peephole.to(peephole.dtype), *d_start, None


def sequence(projected: Tensor, recurrent: Tensor, peephole: Tensor, counts: list[int]) -> Tensor:
    """Outputs h of a packed batch that begins with zeros.

    projected: W x + b, (directions, frames, 4 hidden), each direction in its own time order;
    recurrent: (directions, 4 hidden, hidden); peephole: (directions, 3, hidden), zeros for the plain LSTM;
    counts: `Steps.counts`. Products run in the dtype of `projected`, the cell state in float32 (float64 for
    float64).
    Returns (directions, frames, hidden).
    """
    exact = torch.float64 if projected.dtype == torch.float64 else torch.float32  # the cell is never bf16
    shape = (len(projected), counts[0], recurrent.shape[-1])
    zeros = projected.new_zeros(shape), projected.new_zeros(shape, dtype=exact)
    return carried_sequence(projected, recurrent, peephole, counts, zeros)[0]


def carried_sequence(
    projected: Tensor, recurrent: Tensor, peephole: Tensor, counts: list[int], start: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """As `sequence`, from the states h (dtype of `projected`) and c (float32, or float64), each (directions,
    counts[0], hidden), in the order of `Steps.running`. Returns h and c of all steps, each (directions,
    frames, hidden); `Steps.last` says which are the final ones.
    """
    outputs, cells = _Sequence.apply(projected, recurrent, peephole, *start, counts)
    return outputs, cells
