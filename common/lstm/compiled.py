"""Whole ragged sequences through one recurrent layer on a CPU, compiled by numba: every step of a direction in
one call (`kernels`), without the framework between the steps.

Directions (and, with more threads, interleaved rows: they do not depend on each other) run beside each other
in torch's threads. Projections of the inputs and gradients of the weights are one product of torch each. The backward
direction reads and writes the same frames in mirrored order, so nothing is copied for it.

numba compiles a cell at its first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from common.lstm.cells import GRU, Variant, Weights
from common.lstm.fused import Steps
from common.lstm.kernels import ROWS, backward, forward
from common.lstm.team import run_all
from common.lstm.vector import BLOCK, WIDTH

LITTLE = 1 << 20  # products a gate and direction below which starting the threads costs what they bring


def layer(
    variant: Variant,
    x: Tensor,
    inputs: Tensor,
    bias: Tensor,
    weights: Weights,
    steps: Steps,
    start: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one or both directions, of any variant whose gates are elementwise after the products.

    x: (frames, inputs), packed by steps, float32 or bfloat16, which is the operands' dtype; the cell state is
    float32. inputs: W, (directions, gates * hidden, inputs); bias: (directions, gates * hidden); weights:
    the directions in front of all. start: the state before the first step, each (directions, counts[0], …)
    as in `fused.zero_state`, zeros if None.
    Returns (frames, directions * hidden), each direction's output at its own frame, and the state after each
    row's last frame in its direction, like `start`, float32.
    """
    recurrent, hidden = weights.recurrent, bias.shape[1] // len(variant.gates)
    if variant.gate_recurrence:
        on_i, on_f, on_o = weights.gate_recurrent.chunk(3, dim=1)  # type: ignore[union-attr]
        on_gates = torch.cat((on_i, on_f, torch.zeros_like(on_i), on_o), dim=1)
        recurrent = torch.cat((recurrent, on_gates), dim=2)
    start_h = start_c = None
    if start is not None:
        start_h, start_c = (
            torch.cat((start[0], *start[2:]), dim=-1).float(),
            start[-1 if variant == GRU else 1],
        )
    own = _own(variant, weights, bias)
    out, h, c = _Layer.apply(variant, steps, x, inputs, recurrent, bias, own, start_h, start_c)
    if variant == GRU:
        return out, (c,)
    return out, (h[..., :hidden], c, *([h[..., hidden:]] if variant.gate_recurrence else []))


def _own(variant: Variant, weights: Weights, bias: Tensor) -> Tensor:
    """What each unit has to itself, (directions, 3, hidden): peepholes of i, f, o; of a GRU b_hn."""
    nothing = bias.new_zeros(len(bias), bias.shape[1] // len(variant.gates))
    if variant == GRU:
        return torch.stack((weights.bias_candidate, nothing, nothing), dim=1)  # type: ignore[arg-type]
    if weights.peephole is None or len(variant.sigmoids) == 3:
        return nothing[:, None].expand(-1, 3, -1) if weights.peephole is None else weights.peephole
    there = dict(zip(variant.sigmoids, weights.peephole.unbind(1), strict=True))
    return torch.stack([there.get(name, nothing) for name in "ifo"], dim=1)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        variant: Variant,
        steps: Steps,
        x: Tensor,
        inputs: Tensor,
        recurrent: Tensor,
        bias: Tensor,
        own: Tensor,
        start_h: Tensor | None,
        start_c: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        keep = any(ctx.needs_input_grad)
        frames, gates, (directions, _, hidden) = len(x), len(variant.gates), own.shape
        rows, parts = steps.counts[0], recurrent.shape[2] // hidden
        units = -(-hidden // WIDTH) * WIDTH
        x = x.contiguous()
        w = _by_blocks(inputs.to(x.dtype), gates, units)
        r = recurrent.to(x.dtype).view(directions, gates, hidden, parts, hidden)
        r = _wider(_wider(r, 4, units), 2, units).flatten(3)
        b = _by_blocks(bias.float(), gates, units)
        p = _wider(own.float(), 2, units).contiguous()
        c = x.new_zeros(directions, rows, units, dtype=torch.float32)
        h = x.new_zeros(directions, 2, rows, parts * units)
        if start_h is not None and start_c is not None:
            h[:, 0] = _wider(start_h.unflatten(2, (parts, hidden)), 3, units).flatten(2)
            c[..., :hidden] = start_c
        first = (h[:, 0].clone(), c.clone()) if keep else ()
        z = x @ w.flatten(0, 1).T
        cells = z.new_empty(frames if keep else 0, directions, units, dtype=torch.float32)
        outputs = z.new_empty(frames, directions, units)
        packed = _packed(r)
        flat = [_flat(t) for t in (z, cells, outputs)]
        _each(
            directions,
            steps,
            hidden,
            lambda d, first, stride: forward(
                variant, *flat, *(_flat(t[d]) for t in (h, c, packed, b, p)), *_order(steps, d),
                d, directions, first, stride, keep,
            ),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(x, w, r, p, z, cells, outputs, *first)
            ctx.variant, ctx.steps, ctx.hidden, ctx.has_start = variant, steps, hidden, start_h is not None
            ctx.dtypes = [t.dtype for t in (inputs, recurrent, bias, own)]
            ctx.set_materialize_grads(False)  # most callers leave the last states alone
        lengths = (torch.tensor(steps.counts)[:, None] > torch.arange(rows)).sum(0)
        last = h[:, lengths % 2, torch.arange(rows)].float()
        last = last.unflatten(2, (parts, units))[..., :hidden].flatten(2)
        return outputs[..., :hidden].flatten(1), last, c[..., :hidden].contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Any, d_last_h: Any, d_last_c: Any) -> tuple[Tensor | None, ...]:
        x, w, r, p, gates, cells, outputs, start_h, start_c = ctx.saved_tensors
        variant, steps = ctx.variant, ctx.steps
        (frames, directions, units), (_, rows, width) = outputs.shape, start_h.shape
        number, parts, hidden = len(variant.gates), width // units, ctx.hidden
        if d_outputs is None:
            d_outputs = outputs.new_zeros(frames, directions * hidden)
        d_y = _wider(d_outputs.to(x.dtype).view(frames, directions, hidden), 2, units).contiguous()
        d_z, previous = torch.empty_like(gates), outputs.new_empty(frames, directions, width)
        d_product = torch.empty_like(gates) if variant == GRU else d_z
        shares = _shares(directions, steps)
        d_h, d_c = torch.zeros_like(start_h, dtype=torch.float32), torch.zeros_like(start_c)
        if d_last_h is not None:
            d_h.unflatten(2, (parts, units))[..., :hidden] = d_last_h.unflatten(2, (parts, hidden))
        if d_last_c is not None:
            d_c[..., :hidden] = d_last_c
        d_h = _tiled(d_h, shares)
        d_bias = torch.zeros(shares, directions, number * units)
        d_own = torch.zeros(shares, directions, 3, units)
        flat = [_flat(t) for t in (gates, cells, outputs, d_y, d_z, d_product, previous)]
        _each(
            directions,
            steps,
            hidden,
            lambda d, first, stride: backward(
                variant, *flat, _flat(d_h[d, first]), _flat(d_c[d]), _flat(d_bias[first, d]),
                _flat(d_own[first, d]), *(_flat(t[d]) for t in (start_h, start_c, r, p)), *_order(steps, d),
                d, directions, first, stride, ctx.has_start,
            ),
        )  # fmt: skip
        d_x = d_z @ w.flatten(0, 1) if ctx.needs_input_grad[2] else None
        d_w = (d_z.T @ x).view(directions, number * units, -1)
        sides = [d_product.view(frames, directions, -1)[:, d].T @ previous[:, d] for d in range(directions)]
        d_r = torch.stack(sides).unflatten(2, (parts, units))[..., :hidden].flatten(2)
        gradients = (
            _by_gates(d_w, number, hidden),
            _by_gates(d_r, number, hidden),
            _by_gates(d_bias.sum(0), number, hidden),
            d_own.sum(0)[..., :hidden],
        )
        d_start = None, None
        if ctx.has_start:
            by_h = _untiled(d_h, width)[:, :rows].unflatten(2, (parts, units))
            d_start = by_h[..., :hidden].flatten(2), d_c[..., :hidden]
        return None, None, d_x, *(g.to(t) for g, t in zip(gradients, ctx.dtypes, strict=True)), *d_start


def _by_blocks(t: Tensor, number: int, units: int) -> Tensor:
    """(directions, number * hidden, …) → (directions, number * units, …), the gates of sixteen units
    together."""
    gates = _wider(t.unflatten(1, (number, -1)), 2, units)
    return gates.unflatten(2, (-1, WIDTH)).transpose(1, 2).reshape(len(t), number * units, *t.shape[2:])


def _by_gates(t: Tensor, number: int, hidden: int) -> Tensor:
    """The inverse of `_by_blocks`."""
    blocks = t.unflatten(1, (-1, number, WIDTH)).transpose(1, 2).flatten(2, 3)
    return blocks[:, :, :hidden].flatten(1, 2)


def _wider(t: Tensor, dimension: int, size: int) -> Tensor:
    """With zeros at the end of a dimension."""
    if t.shape[dimension] == size:
        return t
    missing = list(t.shape)
    missing[dimension] = size - t.shape[dimension]
    return torch.cat((t, t.new_zeros(missing)), dim=dimension)


def _packed(recurrent: Tensor) -> Tensor:
    """R, (directions, gates, units, width), as `forward` reads it: (directions, units / 16, width / pair,
    gates, 16, pair), pair 2 in bfloat16."""
    directions, gates, units, _ = recurrent.shape
    words = recurrent.view(torch.int32).view(directions, gates, units // WIDTH, WIDTH, -1)
    return words.permute(0, 2, 4, 1, 3).contiguous().view(recurrent.dtype)


def _tiled(t: Tensor, shares: int) -> Tensor:
    """(directions, rows, width) as `backward` adds to it: float32 (directions, shares, width / 64, rows of a
    share, 64), row k * shares + s being row k of share s."""
    tiles, most = -(-t.shape[2] // BLOCK), -(-t.shape[1] // shares)
    wide = _wider(_wider(t.float(), 2, tiles * BLOCK), 1, most * shares)
    return wide.view(-1, most, shares, tiles, BLOCK).permute(0, 2, 3, 1, 4).contiguous()


def _untiled(t: Tensor, width: int) -> Tensor:
    """The inverse of `_tiled`, (directions, rows and perhaps more, width)."""
    return t.permute(0, 3, 1, 2, 4).flatten(1, 2).flatten(2)[..., :width]


def _flat(t: Tensor) -> np.ndarray:
    """A contiguous tensor's memory; bfloat16 as its bits."""
    t = t.detach().view(-1)
    return t.view(torch.int16).numpy().view(np.uint16) if t.dtype == torch.bfloat16 else t.numpy()


def _order(steps: Steps, direction: int) -> tuple[np.ndarray, np.ndarray]:
    place = steps.mirror if direction else torch.arange(len(steps.mirror))
    return place.numpy(), np.array(steps.counts)


def _shares(directions: int, steps: Steps) -> int:
    """Into how many shares the rows of each direction are split."""
    return max(1, min(-(-torch.get_num_threads() // directions), steps.counts[0] // ROWS))


def _each(directions: int, steps: Steps, hidden: int, work: Any) -> None:
    """work(direction, first, stride) for all directions and shares of rows, in torch's threads."""
    stride = _shares(directions, steps)
    tasks = [partial(work, d, first, stride) for first in range(stride) for d in range(directions)]
    if sum(steps.counts) * hidden**2 < LITTLE:
        for task in tasks:
            task()
    else:
        run_all(tasks)
