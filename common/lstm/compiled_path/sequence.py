"""Whole ragged sequences through one recurrent layer on a CPU, compiled by numba: every step of a direction
in one call (`kernels`), without the framework between the steps.

Directions (and, with more threads, interleaved rows: they do not depend on each other) run beside each other
in torch's threads. Projections of the inputs and gradients of the weights are one product of torch each. The
backward direction reads and writes the same frames in mirrored order, so nothing is copied for it.

numba compiles a cell at its first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from carousel.common.lstm.cells import EPSILON, GRU, Variant, Weights, elapsed_discount
from carousel.common.lstm.compiled_path import kernels, normalised
from carousel.common.lstm.compiled_path.arguments import (
    Fading,
    FadingBack,
    Gradients,
    Normals,
    Parameters,
    Share,
    Start,
    State,
    Tape,
)
from carousel.common.lstm.compiled_path.kernels import ROWS
from carousel.common.lstm.compiled_path.openmp import run_all
from carousel.common.lstm.compiled_path.simd import BLOCK, WIDTH
from carousel.common.lstm.torch_path.fused import Steps

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
    gates, outputs = len(variant.gates), weights.recurrent.shape[2]
    directions, hidden = len(bias), bias.shape[1] // gates
    units = _rounded(hidden)
    seen = [outputs, hidden, hidden, hidden] if variant.gate_recurrence else [outputs]  # what R takes

    def by_units(t: Tensor) -> Tensor:
        """(directions, gates * hidden, …) → (directions, gates, units, …)"""
        return _wider(t.unflatten(1, (gates, hidden)), 2, units)

    recurrent = weights.recurrent
    if weights.gate_recurrent is not None:
        on_i, on_f, on_o = weights.gate_recurrent.chunk(3, dim=1)
        on_gates = torch.cat((on_i, on_f, torch.zeros_like(on_i), on_o), dim=1)
        recurrent = torch.cat((recurrent, on_gates), dim=2)
    w: Tensor | None
    b: Tensor | None
    if gain_inputs is None:
        w, b = by_units(inputs).flatten(0, 2).to(x.dtype), by_units(bias).float().contiguous()
    else:
        w, b = None, None
        sides = zip(inputs.to(x.dtype), gain_inputs, bias, strict=True)
        x = torch.cat([layer_norm(x @ m.T, g.shape, g, shift, EPSILON) for m, g, shift in sides], dim=1)
        x = _wider(x.unflatten(1, (directions, gates, hidden)), 3, units).flatten(1)
    matrices = weights.projection, weights.decay
    p, decay = (None if m is None else _square(m.to(x.dtype), _rounded(m.shape[1]), units) for m in matrices)
    own = _wider(_own(variant, weights, bias), 2, units).float().contiguous()
    parameters = w, _spread(by_units(recurrent).float(), seen).contiguous(), b, own, p, decay
    bias_decay = None if weights.bias_decay is None else _wider(weights.bias_decay, 1, units).float()
    start_h = start_c = None
    if start is not None:
        start_h = _spread(torch.cat((start[0], *start[2:]), dim=2).float(), seen)
        start_c = _wider(start[0 if variant == GRU else 1].float(), 2, units)
    if mask is not None:
        mask = _wider(mask.float(), 2, _rounded(outputs)).contiguous()
    lost = 1 - elapsed_discount(gaps.float()) if gaps is not None else None
    out, h, c = _Layer.apply(
        variant, steps, hidden, mask, lost, x.contiguous(), *parameters, bias_decay, start_h, start_c
    )
    out = (out[..., :outputs] if out.shape[2] > outputs else out).flatten(1)
    if start is None:
        return out, ()
    h, c = _gathered(h, seen), c[..., :hidden]
    if variant == GRU:
        return out, (c,)
    return out, (h[..., :outputs], c, *((h[..., outputs:],) if variant.gate_recurrence else ()))


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


class _Saved(NamedTuple):
    """What backward needs; None what the cell lacks."""

    x: Tensor
    w: Tensor | None
    recurrent: Tensor
    own: Tensor
    projection: Tensor | None
    gates: Tensor
    cells: Tensor
    unprojected: Tensor | None
    outputs: Tensor
    normals: Tensor | None
    scales: Tensor | None
    mask: Tensor | None
    decay: Tensor | None
    lost: Tensor | None
    shorts: Tensor | None
    start_h: Tensor
    start_c: Tensor


class _Layer(torch.autograd.Function):
    """The layer on operands whose units are padded, as `kernels` takes them: outputs (frames, directions,
    size of h), and, if there is a start, the last h, (directions, rows, width), and c, both float32."""

    @staticmethod
    def forward(
        ctx: Any,
        variant: Variant,
        steps: Steps,
        hidden: int,
        mask: Tensor | None,
        lost: Tensor | None,
        x: Tensor,
        w: Tensor | None,
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
        frames, rows = len(x), steps.counts[0]
        directions, gates, units, width = recurrent.shape
        size = units if projection is None else projection.shape[1]
        h = x.new_zeros(directions, 2, rows, width)
        c = x.new_zeros(directions, rows, units, dtype=torch.float32)
        if start_h is not None and start_c is not None:
            h[:, 0], c[:] = start_h, start_c
        before = h[:, 0].clone(), c.clone()
        if mask is not None:
            h[:, 0, :, :size] *= mask.to(h.dtype)
        z = x.clone() if w is None else x @ w.T

        def blank(*shape: int, there: bool = True) -> Tensor | None:
            return z.new_empty(frames if keep else 0, *shape) if there else None

        cells = z.new_empty(frames if keep else 0, directions, units, dtype=torch.float32)
        unprojected = blank(directions, units, there=projection is not None)
        shorts = blank(directions, units, there=decay is not None)
        normals = blank(z.shape[1], there=variant.layer_norm)
        scales = cells.new_empty(cells.shape[:2]) if variant.layer_norm else None
        outputs = z.new_empty(frames, directions, size)
        operands = x.new_empty(_shares(directions, steps), directions, gates * units * width)
        tape, state = Tape(z, cells, unprojected, outputs), State(h, c)
        if variant.layer_norm:
            parameters = Parameters(recurrent.flatten(1, 2).mT.contiguous(), bias, own)
            extra: Any = Normals(normals, scales, hidden)
        else:
            parameters = Parameters(recurrent, bias, own)
            extra = None if decay is None else Fading(decay.mT.contiguous(), bias_decay, lost, shorts)
        transposed = None if projection is None else projection.mT.contiguous()
        arguments = parameters, tape, state, operands, transposed, mask, extra
        _each(_kernels(variant).forward, variant, steps, directions, hidden, (*arguments, keep))
        if keep:
            written = *tape, normals, scales, mask, decay, lost, shorts
            ctx.save_for_backward(*_Saved(x, w, recurrent, own, projection, *written, *before))
            ctx.variant, ctx.steps, ctx.hidden, ctx.has_start = variant, steps, hidden, start_h is not None
            ctx.set_materialize_grads(False)  # most callers leave the last states alone
        if start_h is None:
            return outputs, None, None
        last_h = h.flatten(1, 2)[:, steps.lengths % 2 * rows + torch.arange(rows)]
        if mask is not None:
            sides = torch.arange(directions)[:, None]
            last_h[..., :size] = outputs[steps.places[:directions, steps.last], sides]
        return outputs, last_h.float(), c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Any, d_last_h: Any, d_last_c: Any) -> tuple[Tensor | None, ...]:
        t = _Saved(*ctx.saved_tensors)
        variant, steps = ctx.variant, ctx.steps
        (directions, gates, units, width), rows = t.recurrent.shape, steps.counts[0]
        d_y = torch.zeros_like(t.outputs) if d_outputs is None else d_outputs.contiguous()
        d_y = d_y if t.projection is None else d_y.clone()  # is written
        d_z, previous = torch.empty_like(t.gates), d_y.new_empty(*d_y.shape[:2], width)
        d_product = torch.empty_like(d_z) if variant == GRU or variant.layer_norm else d_z
        shares = _shares(directions, steps)
        d_h = _tiled(torch.zeros_like(t.start_h) if d_last_h is None else d_last_h, shares)
        d_c = torch.zeros_like(t.start_c) if d_last_c is None else d_last_c.clone()
        d_bias, d_own = torch.zeros(shares, directions, gates, units), torch.zeros(shares, *t.own.shape)
        operands = d_y.new_empty(shares, directions, d_h.shape[2] * BLOCK * gates * units)
        gradients = Gradients(d_y, d_z, d_product, previous, d_h, d_c, d_bias, d_own)
        d_shorts: Tensor | None = None
        extra: Any = Normals(t.normals, t.scales, ctx.hidden) if variant.layer_norm else None
        if t.shorts is not None:
            d_shorts, faded = torch.empty_like(t.shorts), torch.empty_like(t.shorts)
            extra = FadingBack(t.decay, t.lost, t.shorts, d_shorts, faded)
        parameters, start = Parameters(t.recurrent, None, t.own), Start(t.start_h, t.start_c)
        tape = Tape(t.gates, t.cells, t.unprojected, t.outputs)
        arguments = parameters, tape, start, gradients, operands, t.projection, t.mask, extra
        _each(_kernels(variant).backward, variant, steps, directions, ctx.hidden, (*arguments, ctx.has_start))
        d_x = d_z if t.w is None else d_z @ t.w if ctx.needs_input_grad[5] else None
        by_parameters = (
            None if t.w is None else d_z.T @ t.x,
            _by_frames(d_product, previous).view(directions, gates, units, width).float(),
            None if t.w is None else d_bias.sum(0),
            d_own.sum(0),
            None if t.unprojected is None else _by_frames(d_y, t.unprojected),
            None if d_shorts is None else _by_frames(d_shorts, faded),
            None if d_shorts is None else d_shorts.sum(0, dtype=torch.float32),
        )
        d_start = (_untiled(d_h)[:, :rows, :width], d_c) if ctx.has_start else (None, None)
        return *(None,) * 5, d_x, *by_parameters, *d_start


def _by_frames(d: Tensor, seen: Tensor) -> Tensor:
    """The gradient by a matrix, (directions, columns of d, columns of seen), from that by its outputs and
    what it has seen, (frames, directions, …)."""
    frames, directions, columns = seen.shape
    d = d.view(frames, directions, -1)
    out = d.new_empty(directions, d.shape[2], columns)
    for k in range(directions):
        torch.mm(d[:, k].T, seen[:, k], out=out[k])
    return out


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


def _square(t: Tensor, rows: int, columns: int) -> Tensor:
    """(directions, …) matrices with zeros up to so many rows and columns."""
    return _wider(_wider(t, 1, rows), 2, columns).contiguous()


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
    """A contiguous tensor's memory, bfloat16 as its bits; named tuples field by field; others as they are."""
    if isinstance(t, tuple):
        return type(t)(*map(_flat, t))
    if not isinstance(t, Tensor):
        return t
    t = t.detach().view(-1)
    return t.view(torch.int16).numpy().view(np.uint16) if t.dtype == torch.bfloat16 else t.numpy()


def _shares(directions: int, steps: Steps) -> int:
    """Into how many shares the rows of each direction are split."""
    return max(1, min(-(-torch.get_num_threads() // directions), steps.counts[0] // ROWS))


def _kernels(variant: Variant) -> Any:
    return normalised if variant.layer_norm else kernels


def _each(
    kernel: Any, variant: Variant, steps: Steps, directions: int, hidden: int, arguments: tuple[Any, ...]
) -> None:
    """The kernel for all directions and shares of rows, in torch's threads."""
    flat = [_flat(argument) for argument in arguments]
    frame_of, counts = _flat(steps.places[:directions]), np.array(steps.counts)
    stride = _shares(directions, steps)
    tasks = [
        partial(kernel, variant, Share(frame_of, counts, d, directions, first, stride), *flat)
        for first in range(stride)
        for d in range(directions)
    ]
    if sum(steps.counts) * hidden**2 < LITTLE:
        for task in tasks:
            task()
    else:
        run_all(tasks)
