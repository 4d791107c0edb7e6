"""Whole ragged sequences through one recurrent layer on a CPU, compiled by numba: every step of a direction
in one call (`kernels`), without the framework between the steps.

Directions (and, with more threads, interleaved rows: they do not depend on each other) run beside each other
in torch's threads. Projections of the inputs and gradients of the weights are one product of torch each. The
backward direction reads and writes the same frames in mirrored order, so nothing is copied for it.

numba compiles a cell at its first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from common.lstm import normalised
from common.lstm.cells import EPSILON, GRU, Variant, Weights, elapsed_discount
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
    gain_inputs: Tensor | None = None,
    mask: Tensor | None = None,
    gaps: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one or both directions, of any variant; with layer normalisation without projection.

    x: (frames, inputs), packed by steps, float32 or bfloat16, which is the operands' dtype; the cell state is
    float32. inputs: W, (directions, gates * hidden, inputs); bias and gain_inputs, of the normalised W x:
    (directions, gates * hidden); weights: the directions in front of all. start: the state before the first
    step, each (directions, counts[0], …) as in `fused.zero_state`, zeros if None; mask: factors of h where R
    takes it, (directions, counts[0], outputs); gaps: (directions, frames, 1) for the time-aware cell.
    Returns (frames, directions * outputs), each direction's output at its own frame, and, if there is a
    `start`, the state after each row's last frame in its direction, like it, float32.
    """
    recurrent, outputs = weights.recurrent, weights.recurrent.shape[2]
    if weights.gate_recurrent is not None:
        on_i, on_f, on_o = weights.gate_recurrent.chunk(3, dim=1)
        on_gates = torch.cat((on_i, on_f, torch.zeros_like(on_i), on_o), dim=1)
        recurrent = torch.cat((recurrent, on_gates), dim=2)
    start_h = start_c = None
    if start is not None:
        start_h = torch.cat((start[0], *start[2:]), dim=2).float()
        start_c = start[0 if variant == GRU else 1]
    own = _own(variant, weights, bias)
    fading = weights.decay, weights.bias_decay
    parameters: tuple[Tensor | None, ...] = inputs, recurrent, bias, own, weights.projection, *fading
    if gain_inputs is not None:  # the layer gets W x normalised
        sides = zip(inputs.to(x.dtype), gain_inputs, bias, strict=True)
        x = torch.cat([layer_norm(x @ w.T, g.shape, g, b, EPSILON) for w, g, b in sides], dim=1)
        parameters = None, recurrent, None, own, None, None, None
    lost = 1 - elapsed_discount(gaps.float()) if gaps is not None else None
    out, h, c = _Layer.apply(variant, steps, mask, lost, x, *parameters, start_h, start_c)
    if start is None:
        return out, ()
    if variant == GRU:
        return out, (c,)
    gates = (h[..., outputs:],) if variant.gate_recurrence else ()
    return out, (h[..., :outputs], c, *gates)


def _own(variant: Variant, weights: Weights, bias: Tensor) -> Tensor:
    """What each unit has to itself, (directions, 3, hidden): peepholes of i, f, o; of a GRU b_hn. With layer
    normalisation (directions, 6, hidden): gains of R h by gates, gain and bias of the cell state."""
    if variant.layer_norm:
        of_gates = weights.gain_recurrent.unflatten(1, (len(variant.gates), -1))  # type: ignore[union-attr]
        return torch.cat((of_gates, torch.stack((weights.gain_cell, weights.bias_cell), dim=1)), dim=1)  # type: ignore[arg-type]
    nothing = bias.new_zeros(len(bias), bias.shape[1] // len(variant.gates))
    there: dict[str, Tensor] = {}
    if weights.peephole is not None:
        there = dict(zip(variant.sigmoids, weights.peephole.unbind(1), strict=True))
    elif weights.bias_candidate is not None:
        there = {"i": weights.bias_candidate}
    return torch.stack([there.get(name, nothing) for name in "ifo"], dim=1)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        variant: Variant,
        steps: Steps,
        mask: Tensor | None,
        lost: Tensor | None,
        x: Tensor,
        inputs: Tensor | None,
        recurrent: Tensor,
        bias: Tensor | None,
        own: Tensor,
        projection: Tensor | None,
        decay: Tensor | None,
        bias_decay: Tensor | None,
        start_h: Tensor | None,
        start_c: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        keep = any(ctx.needs_input_grad)
        frames, rows, gates = len(x), steps.counts[0], len(variant.gates)
        directions, _, hidden = own.shape
        size = hidden if projection is None else projection.shape[1]
        seen = [size, hidden, hidden, hidden] if variant.gate_recurrence else [size]  # what R takes
        units = _rounded(hidden)
        x, w, b = x.contiguous(), None, None
        if inputs is not None:
            w = _wider(inputs.unflatten(1, (gates, hidden)), 2, units).flatten(0, 2).to(x.dtype)
        if bias is not None:
            b = _wider(bias.unflatten(1, (gates, hidden)).float(), 2, units).contiguous()
        r = _spread(recurrent.unflatten(1, (gates, hidden)).float(), seen)
        r = _wider(r, 2, units).contiguous()
        own = _wider(own, 2, units).float().contiguous()
        p = (
            None
            if projection is None
            else _wider(_spread(projection.to(x.dtype), [hidden]), 1, _rounded(size))
        )
        h = x.new_zeros(directions, 2, rows, r.shape[3])
        c = x.new_zeros(directions, rows, units, dtype=torch.float32)
        if start_h is not None and start_c is not None:
            h[:, 0], c[..., :hidden] = _spread(start_h, seen), start_c
        before = (h[:, 0].clone(), c.clone()) if keep else ()
        if mask is not None:
            mask = _wider(mask.float(), 2, _rounded(size)).contiguous()
            h[:, 0, :, : mask.shape[2]] *= mask.to(h.dtype)
        if w is not None:
            z = x @ w.T
        else:
            z = _wider(x.unflatten(1, (directions, gates, hidden)), 3, units).flatten(1)
            z = z.clone() if z.data_ptr() == x.data_ptr() else z
        tape = frames if keep else 0
        cells = z.new_empty(tape, directions, units, dtype=torch.float32)
        unprojected = None if p is None else z.new_empty(tape, directions, units)
        outputs = z.new_empty(frames, directions, _rounded(size))
        operands = x.new_empty(_shares(directions, steps), directions, gates * units * r.shape[3])
        transposed = None if p is None else p.mT.contiguous()
        arrays: tuple[Any, ...] = z, cells, unprojected, outputs, h, c, operands
        normals = scales = shorts = fading = matrix = None
        if decay is not None and bias_decay is not None and lost is not None:
            matrix = _wider(_wider(decay.to(x.dtype), 1, units), 2, units).contiguous()
            shorts = z.new_empty(tape, directions, units)
            fading = matrix.mT.contiguous(), _wider(bias_decay.float(), 1, units).contiguous(), lost, shorts
        if variant.layer_norm:
            normals, scales = z.new_empty(tape, z.shape[1]), cells.new_empty(tape, directions)
            arrays += r.flatten(1, 2).mT.contiguous(), None, own, None, mask, normals, scales, hidden
            _each(normalised.forward, variant, arrays, steps, directions, hidden, keep)
        else:
            arrays += r, b, own, transposed, mask, fading
            _each(forward, variant, arrays, steps, directions, hidden, keep)
        if keep:
            tapes = z, cells, unprojected, outputs, normals, scales, mask, matrix, lost, shorts
            ctx.save_for_backward(x, w, r, own, p, *tapes, *before)
            ctx.variant, ctx.steps, ctx.seen, ctx.hidden = variant, steps, seen, hidden
            parameters = inputs, recurrent, bias, own, projection, decay, bias_decay
            ctx.dtypes = [None if t is None else t.dtype for t in parameters]
            ctx.has_start = start_h is not None
            ctx.set_materialize_grads(False)  # most callers leave the last states alone
        out = outputs[..., :size].flatten(1)
        if start_h is None:
            return out, None, None
        last_h = h.flatten(1, 2)[:, steps.lengths % 2 * rows + torch.arange(rows)]
        if mask is not None:
            frames_, sides = steps.places[:directions, steps.last], torch.arange(directions)[:, None]
            last_h[..., : outputs.shape[2]] = outputs[frames_, sides]
        return out, _gathered(last_h.float(), seen), c[..., :hidden].contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Any, d_last_h: Any, d_last_c: Any) -> tuple[Tensor | None, ...]:
        x, w, r, own, p, *tapes, start_h, start_c = ctx.saved_tensors
        gates, cells, unprojected, outputs, normals, scales, mask, decay, lost, shorts = tapes
        variant, steps, seen, hidden = ctx.variant, ctx.steps, ctx.seen, ctx.hidden
        (frames, directions, size), (_, rows, width), units = outputs.shape, start_h.shape, start_c.shape[2]
        number = len(variant.gates)
        if d_outputs is None:
            d_outputs = outputs.new_zeros(frames, directions * seen[0])
        d_y = _wider(d_outputs.to(x.dtype).view(frames, directions, seen[0]), 2, size).contiguous()
        d_y = d_y if p is None else d_y.clone()  # is written
        d_z, previous = torch.empty_like(gates), outputs.new_empty(frames, directions, width)
        d_product = torch.empty_like(gates) if variant == GRU or variant.layer_norm else d_z
        shares = _shares(directions, steps)
        d_h = torch.zeros_like(start_h, dtype=torch.float32) if d_last_h is None else _spread(d_last_h, seen)
        d_h, d_c = _tiled(d_h, shares), torch.zeros_like(start_c)
        if d_last_c is not None:
            d_c[..., :hidden] = d_last_c
        d_bias = torch.zeros(shares, directions, number, units)
        operands = x.new_empty(shares, directions, d_h.shape[2] * BLOCK * number * units)
        d_own = torch.zeros(shares, directions, own.shape[1], units)
        arrays: tuple[Any, ...] = (
            gates, cells, outputs, d_y, d_z, d_product, previous, d_h, d_c, d_bias, d_own,
            start_h, start_c, operands, r, own, p, mask,
        )  # fmt: skip
        fading = None
        if decay is not None:
            fading = decay, lost, shorts, torch.empty_like(shorts), torch.empty_like(shorts)
        arrays += (normals, scales, hidden) if variant.layer_norm else (fading,)
        kernel = normalised.backward if variant.layer_norm else backward
        _each(kernel, variant, arrays, steps, directions, hidden, ctx.has_start)

        def by_frames(d: Tensor, seen: Tensor) -> Tensor:
            """(directions, columns of d, columns of seen)"""
            out = x.new_empty(directions, d.numel() // (frames * directions), seen.shape[2])
            for k in range(directions):
                torch.mm(d.view(frames, directions, -1)[:, k].T, seen[:, k], out=out[k])
            return out

        def of_gates(d: Tensor) -> Tensor:
            """(directions, gates * units, …) without what units are padded with."""
            return d.unflatten(1, (number, units))[:, :, :hidden].flatten(1, 2)

        d_p = None if p is None else by_frames(d_y, unprojected)[:, : seen[0], :hidden]
        gradients = (
            None if w is None else of_gates((d_z.T @ x).unflatten(0, (directions, -1))),
            of_gates(_gathered(by_frames(d_product, previous), seen)),
            None if w is None else d_bias.sum(0)[..., :hidden].flatten(1),
            d_own.sum(0)[..., :hidden],
            d_p,
            None if fading is None else by_frames(*fading[3:])[:, :hidden, :hidden],
            None if fading is None else fading[3].sum(0, dtype=torch.float32)[:, :hidden],
        )
        d_x = None
        if w is None:
            d_x = d_z.unflatten(1, (directions, number, units))[..., :hidden].flatten(1)
        elif ctx.needs_input_grad[4]:
            d_x = d_z @ w
        d_start: tuple[Tensor | None, ...] = None, None
        if ctx.has_start:
            d_start = _gathered(_untiled(d_h)[:, :rows], seen), d_c[..., :hidden]
        pairs = zip(gradients, ctx.dtypes, strict=True)
        return None, None, None, None, d_x, *(None if g is None else g.to(t) for g, t in pairs), *d_start


def _rounded(size: int) -> int:
    return -(-size // WIDTH) * WIDTH


def _spread(t: Tensor, sizes: list[int]) -> Tensor:
    """The last dimension in parts of these sizes, each filled up with zeros to a multiple of 16."""
    parts = [_wider(part, part.dim() - 1, _rounded(part.shape[-1])) for part in t.split(sizes, dim=-1)]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _gathered(t: Tensor, sizes: list[int]) -> Tensor:
    """The inverse of `_spread`, of a last dimension that may go on."""
    rounded = [_rounded(size) for size in sizes]
    parts = t[..., : sum(rounded)].split(rounded, dim=-1)
    parts = [part[..., :size] for part, size in zip(parts, sizes, strict=True)]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _wider(t: Tensor, dimension: int, size: int) -> Tensor:
    """With zeros at the end of a dimension."""
    if t.shape[dimension] == size:
        return t
    missing = list(t.shape)
    missing[dimension] = size - t.shape[dimension]
    return torch.cat((t, t.new_zeros(missing)), dim=dimension)


def _tiled(t: Tensor, shares: int) -> Tensor:
    """(directions, rows, width) as `backward` adds to it: float32 (directions, shares, width / 64, rows of a
    share, 64), row k * shares + s being row k of share s."""
    tiles, most = -(-t.shape[2] // BLOCK), -(-t.shape[1] // shares)
    wide = _wider(_wider(t.float(), 2, tiles * BLOCK), 1, most * shares)
    return wide.view(-1, most, shares, tiles, BLOCK).permute(0, 2, 3, 1, 4).contiguous()


def _untiled(t: Tensor) -> Tensor:
    """The inverse of `_tiled`, (directions, rows and perhaps more, width and perhaps more)."""
    return t.permute(0, 3, 1, 2, 4).flatten(1, 2).flatten(2)


def _flat(t: Any) -> Any:
    """A contiguous tensor's memory, bfloat16 as its bits; what is no tensor as it is."""
    if isinstance(t, tuple):
        return tuple(_flat(part) for part in t)
    if not isinstance(t, Tensor):
        return t
    t = t.detach().view(-1)
    return t.view(torch.int16).numpy().view(np.uint16) if t.dtype == torch.bfloat16 else t.numpy()


def _shares(directions: int, steps: Steps) -> int:
    """Into how many shares the rows of each direction are split."""
    return max(1, min(-(-torch.get_num_threads() // directions), steps.counts[0] // ROWS))


def _each(
    kernel: Any,
    variant: Variant,
    arrays: tuple[Any, ...],
    steps: Steps,
    directions: int,
    hidden: int,
    switch: bool,
) -> None:
    """The kernel for all directions and shares of rows, in torch's threads."""
    flat = [_flat(t) for t in (*arrays, steps.places[:directions])]
    stride = _shares(directions, steps)
    counts = np.array(steps.counts)
    tasks = [
        partial(kernel, variant, *flat, counts, d, directions, first, stride, switch)
        for first in range(stride)
        for d in range(directions)
    ]
    if sum(steps.counts) * hidden**2 < LITTLE:
        for task in tasks:
            task()
    else:
        run_all(tasks)
