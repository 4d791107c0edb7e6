"""Whole ragged sequences through any cell of the LSTM family: one `autograd.Function`, any device, any dtype.

Sequences are *packed by steps*: rows are sorted by falling length, and step s holds the rows that are still
running at s, one after the other. Packed tensors are (directions, frames, …), `frames` being the sum of all
lengths, so that padding costs nothing, and the two directions take each step in one batched product.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from carousel.common.lstm.cells import GRU, VARIANTS, Variant, Weights, elapsed_discount
from carousel.common.lstm.torch_path.step import Gradients, Noise, Setting, Tape, step, step_back


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

    @cached_property
    def places(self) -> Tensor:
        """(directions, frames): where the frames of each direction stand, in its own time order."""
        return torch.stack((torch.arange(len(self.mirror), device=self.mirror.device), self.mirror))

    @cached_property
    def lengths(self) -> Tensor:
        """(rows that run,) falling."""
        return (torch.tensor(self.counts)[:, None] > torch.arange(self.counts[0])).sum(0)

    @property
    def running(self) -> Tensor:
        """The caller's rows that have frames, by falling length."""
        return self.order[: self.counts[0]]

    @property
    def last(self) -> Tensor:
        """The packed place of each running row's last frame."""
        return self.mirror[: self.counts[0]]


def is_empty(x: Tensor, lengths: Tensor) -> bool:
    """Whether no row of x, (batch, frames, …), has a frame.

    Raises TypeError for lengths that are no tensor of integers, and ValueError for those that do not fit x.
    """
    kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
    if kind not in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"lengths must be a tensor of integers, not {kind}")
    if x.dim() < 2 or lengths.shape != x.shape[:1]:
        raise ValueError(
            f"lengths of shape {tuple(lengths.shape)} for x of shape {tuple(x.shape)}: a length a row"
        )
    if not lengths.numel():
        return True
    shortest, longest = torch.stack(lengths.aminmax()).tolist()
    if shortest < 0 or longest > x.shape[1]:
        raise ValueError(f"lengths from {shortest} to {longest} for rows of {x.shape[1]} frames")
    return longest == 0


def sequence(projected: Tensor, recurrent: Tensor, peephole: Tensor, counts: list[int]) -> Tensor:
    """Outputs h of a packed batch through the peephole LSTM, from states of zero.

    projected: W x + b, (directions, frames, 4 hidden), each direction in its own time order;
    recurrent: (directions, 4 hidden, hidden); peephole: (directions, 3, hidden), zeros for the plain LSTM;
    counts: `Steps.counts`. Products run in the dtype of `projected`, the cell state in float32 (float64 for
    float64).
    Returns (directions, frames, hidden).
    """
    return run(VARIANTS["peephole"], projected, Weights(recurrent, peephole), counts)[0]


def run(
    variant: Variant,
    projected: Tensor,
    weights: Weights,
    counts: list[int],
    start: tuple[Tensor, ...] | None = None,
    noise: Noise | None = None,
    gaps: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The states of a packed batch after each step: `cells.variant_step` again and again.

    projected: (directions, frames, gates * hidden), each direction in its own time order; weights: matrices
    in the dtype of `projected`, the rest in that of the cell state; start: the state before the first step,
    each (directions, counts[0], …), zeros if None; gaps: (directions, frames, 1) for the time-aware cell.
    Returns h, c, and with gate recurrence the gates i, f, o, each (directions, frames, …): h in the dtype of
    `projected`, the others in `exact` of it.
    """
    if start is None:
        start = zero_state(variant, weights, (len(projected), counts[0]), projected.dtype)
    discount = elapsed_discount(gaps) if gaps is not None else None
    setting = Setting(variant, counts, noise or Noise(), discount)
    gates = start[2] if variant.gate_recurrence else None
    states: tuple[Tensor, ...] = _Sequence.apply(setting, projected, *start[:2], gates, *weights)
    return states if variant.gate_recurrence else states[:2]


def exact(dtype: torch.dtype) -> torch.dtype:
    """The dtype of cell states beside operands of `dtype`: never less than float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def zero_state(
    variant: Variant, weights: Weights, rows: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """The state before the first step, each (*rows, …): h in `dtype`, the others in `exact` of it."""
    width, outputs = weights.recurrent.shape[-2:]
    hidden = width // len(variant.gates)
    h = weights.recurrent.new_zeros(*rows, outputs, dtype=dtype)
    if variant == GRU:
        return (h,)
    c = h.new_zeros(*rows, hidden, dtype=exact(dtype))
    return (h, c, c.new_zeros(*rows, 3 * hidden)) if variant.gate_recurrence else (h, c)


class _Sequence(torch.autograd.Function):
    """h, c and gates over all steps. Backward is by hand: weight gradients are one product after the loop."""

    @staticmethod
    def forward(
        ctx: Any,
        setting: Setting,
        projected: Tensor,
        start_h: Tensor,
        start_c: Tensor,
        start_gates: Tensor | None,
        *weights: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        w = Weights(*weights)
        tape = Tape.blank(setting, projected, start_h, start_c, w)
        state: tuple[Any, ...] = start_h, start_c, start_gates
        offset = 0
        for count in setting.counts:
            here = slice(offset, offset + count)
            before = tuple(None if t is None else t[:, :count] for t in state)
            state = step(setting, tape, here, projected[:, here], before, w)
            offset += count
        ctx.save_for_backward(*tape, start_h, start_c, start_gates, *weights)
        ctx.setting = setting
        ctx.set_materialize_grads(False)  # most callers leave all but h alone
        return tape.h, tape.c, tape.gates

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_states: Any) -> tuple[Any, ...]:
        saved, setting = ctx.saved_tensors, ctx.setting
        tape, w = Tape(*saved[: len(Tape._fields)]), Weights(*saved[-len(Weights._fields) :])
        start = saved[len(Tape._fields) : -len(Weights._fields)]
        counts = setting.counts
        back = Gradients.blank(setting, tape, w)
        d_state = tuple(t[:, :0].to(tape.c.dtype) for t in (tape.h, tape.c, tape.gates))
        offset = tape.h.shape[1]
        for number in range(len(counts) - 1, -1, -1):
            count = counts[number]
            offset -= count
            here = slice(offset, offset + count)
            grown = (0, 0, 0, count - d_state[0].shape[1])  # rows that end here join with zero gradient
            d_state = tuple(torch.nn.functional.pad(d, grown) for d in d_state)
            pairs = zip(d_state, d_states, strict=True)
            d_state = tuple(d if more is None else d + more[:, here] for d, more in pairs)
            c_old = tape.c[:, offset - counts[number - 1] :][:, :count] if number else start[1]
            d_state = step_back(setting, tape, here, c_old, d_state, w, back)
        d_start = d_state[0].to(tape.h.dtype), d_state[1], d_state[2] if start[2] is not None else None
        d_weights = _weight_gradients(setting, tape, _before(counts, tape, start), back, w)
        return None, back.z, *d_start, *d_weights


def previous_frames(counts: list[int]) -> Tensor:
    """The packed place one step before, of each frame but those of the first step."""
    rows = torch.tensor(counts)
    return torch.arange(counts[0], sum(counts)) - torch.repeat_interleave(rows[:-1], rows[1:])


def _before(counts: list[int], tape: Tape, start: Any) -> tuple[Any, ...]:
    """h, c and gates before each frame, packed as the tape."""
    previous = previous_frames(counts).to(tape.h.device)
    pairs = zip(start, (tape.h, tape.c, tape.gates), strict=True)
    return tuple(None if first is None else torch.cat((first, t[:, previous]), dim=1) for first, t in pairs)


def dropped(h: Tensor, counts: list[int], dropout: Tensor | None) -> Tensor:
    """Packed h as the recurrent product has seen it."""
    if dropout is None:
        return h
    ranks = torch.cat([torch.arange(count) for count in counts]).to(h.device)
    return h * dropout[:, ranks]


def _weight_gradients(
    setting: Setting, tape: Tape, old: tuple[Any, ...], back: Gradients, w: Any
) -> tuple[Tensor | None, ...]:
    """Over all frames at once."""
    variant, counts, noise, _ = setting
    h, c, gates = old
    d: dict[str, Tensor] = {"recurrent": torch.bmm(back.product.mT, dropped(h, counts, noise.dropout))}
    blocks = dict(zip(variant.gates, back.z.chunk(len(variant.gates), dim=-1), strict=True))
    if variant.peepholes:
        looks = [(blocks[n].to(c.dtype), tape.new_c if n == "o" else c) for n in variant.sigmoids]
        d["peephole"] = torch.stack([(by_z * seen).sum(1) for by_z, seen in looks], dim=1)
    if w.projection is not None:
        d["projection"] = torch.bmm(back.projected.mT, tape.unprojected)
    if variant.gate_recurrence:
        by_z = torch.cat([blocks[name] for name in "ifo"], dim=-1)
        d["gate_recurrent"] = torch.bmm(by_z.mT, gates.to(by_z.dtype))
    if variant.layer_norm:
        d["gain_recurrent"] = (back.z.to(c.dtype) * tape.normal_product.to(c.dtype)).sum(1)
        d["gain_cell"] = (back.squashed * tape.normal_c).sum(1)
        d["bias_cell"] = back.squashed.sum(1)
    if variant.time_gaps:
        d["decay"] = torch.bmm(back.short.mT, c.to(back.short.dtype))
        d["bias_decay"] = back.short.to(c.dtype).sum(1)
    return tuple(d[n].to(t.dtype) if n in d else None for n, t in zip(w._fields, w, strict=True))
