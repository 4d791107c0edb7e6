"""Whole ragged sequences through one LSTM layer on a CPU, compiled by numba: every step of a direction in one
call, without the framework between the steps.

The recurrent product, the gates and the storing of a tile (four rows × sixteen units) happen while it is in
registers and the nearest cache; the recurrent weights of a direction stay in the second cache of the core
that computes it. Directions (and, with more threads, interleaved rows: they do not depend on each other) run
beside each other in torch's threads. Projections of the inputs and gradients of the weights are one product
of torch each.

Frames are *packed by steps* (`fused.Steps`). The backward direction reads and writes the same frames in
mirrored order, so nothing is copied for it. Units are padded to a multiple of 16, and the four gates of
sixteen units stand together: a frame's pre-activations are (directions, units / 16, 4 gates, 16).

numba compiles at the first use and keeps the result on the disk for later processes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from common.lstm.fused import Steps
from common.lstm.team import run_all
from common.lstm.vector import BLOCK, WIDTH, fill, load, prefetch, sigmoid, store, tanh, tile_product

ROWS = 4  # of a tile: with its 4 × 4 sums in registers both multipliers of a core are busy
DEPTH = 256  # of a tile's product in the backward pass: 64 columns × 256 in bf16 are 32 KB, the nearest cache
LITTLE = 1 << 20  # products a gate and direction below which starting the threads costs what they bring
DTYPES = {torch.float32: np.float32, torch.bfloat16: np.uint16}

compiled = numba.njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)


@compiled
def rows_of(count, first, stride):  # type: ignore[no-untyped-def]
    """How many of `count` rows are first, first + stride, …"""
    return max(0, (count - first + stride - 1) // stride)


@compiled
def pack_transposed(recurrent, hidden, units, pair):  # type: ignore[no-untyped-def]
    """R, flat (4 hidden, hidden), as `backward` reads it: (units / 64, 4 units / pair, 64, pair), the second
    dimension in the order of a frame's pre-activations."""
    tiles = (units + BLOCK - 1) // BLOCK
    out = np.zeros(tiles * BLOCK * 4 * units, recurrent.dtype)
    for gate in range(4):
        for unit in range(hidden):
            k = unit // WIDTH * BLOCK + gate * WIDTH + unit % WIDTH
            source = (gate * hidden + unit) * hidden
            for column in range(hidden):
                tile, lane = column // BLOCK, column % BLOCK
                place = (tile * 4 * units + k // pair * pair) * BLOCK + lane * pair + k % pair
                out[place] = recurrent[source + column]
    return out


@compiled
def forward(  # type: ignore[no-untyped-def]
    z,
    cells,
    outputs,
    weights,
    bias,
    peephole,
    place,
    counts,
    direction,
    directions,
    first,
    stride,
    keep,
):
    """All steps of one direction for the rows first, first + stride, …

    All arrays are flat. z: (frames, directions, units / 16, 4, 16) holds W x and, if `keep`, the activations
    of the gates afterwards; cells: (frames, directions, units) float32, written if `keep`; outputs: (frames,
    directions, units); weights: what `_packed` gives; bias: (units / 16, 4, 16); peephole: (3, units); place:
    (frames,) where the frames of this direction stand; counts: (steps,) rows that run.
    """
    units = peephole.size // 3
    rows = rows_of(counts[0], first, stride)
    c = np.zeros(rows * units, np.float32)
    h = np.zeros(2 * rows * units, weights.dtype)  # before and after the step
    sums = np.empty(ROWS * BLOCK, np.float32)
    old, new = 0, rows * units
    offset = 0
    for step in range(counts.size):
        count = rows_of(counts[step], first, stride)
        for unit in range(0, units, WIDTH):
            block = unit * 4
            p_i, p_f, p_o = (
                load(peephole, unit),
                load(peephole, units + unit),
                load(peephole, 2 * units + unit),
            )
            b_i, b_f = load(bias, block), load(bias, block + WIDTH)
            b_g, b_o = load(bias, block + 2 * WIDTH), load(bias, block + 3 * WIDTH)
            for row in range(0, count, ROWS):
                many = min(ROWS, count - row)
                for r in range(many):
                    frame = place[offset + first + (row + r) * stride] * directions + direction
                    prefetch(z, frame * 4 * units + block)
                    prefetch(z, frame * 4 * units + block + 2 * WIDTH)
                tile_product(sums, 0, weights, block * units, h, old + row * units, units, units, many, True)
                for r in range(many):
                    frame = place[offset + first + (row + r) * stride] * directions + direction
                    at = frame * 4 * units + block
                    state = (row + r) * units + unit
                    before = load(c, state)
                    i = sigmoid(load(sums, r * BLOCK) + load(z, at) + b_i + p_i * before)
                    f = sigmoid(load(sums, r * BLOCK + WIDTH) + load(z, at + WIDTH) + b_f + p_f * before)
                    g = tanh(load(sums, r * BLOCK + 2 * WIDTH) + load(z, at + 2 * WIDTH) + b_g)
                    after = f * before + i * g
                    z_o = load(sums, r * BLOCK + 3 * WIDTH) + load(z, at + 3 * WIDTH) + b_o
                    o = sigmoid(z_o + p_o * after)
                    y = o * tanh(after)
                    store(c, state, after)
                    store(h, new + state, y)
                    store(outputs, frame * units + unit, y)
                    if keep:
                        store(z, at, i)
                        store(z, at + WIDTH, f)
                        store(z, at + 2 * WIDTH, g)
                        store(z, at + 3 * WIDTH, o)
                        store(cells, frame * units + unit, after)
        old, new = new, old
        offset += counts[step]


@compiled
def backward(  # type: ignore[no-untyped-def]
    gates, cells, outputs, d_outputs, d_z, previous, d_bias, d_peephole,
    recurrent, peephole, place, counts, hidden, direction, directions, first, stride,
):  # fmt: skip
    """The steps of `forward` back from the last.

    Written are d_z, like `gates`; previous: (frames, directions, units), the outputs one step before; d_bias:
    (units / 16, 4, 16) and d_peephole: (3, units), both float32, from zeros. recurrent: (4 hidden, hidden).
    """
    pair = 4 // recurrent.itemsize
    units = peephole.size // 3
    rows = rows_of(counts[0], first, stride)
    weights = pack_transposed(recurrent, hidden, units, pair)
    tiles = (units + BLOCK - 1) // BLOCK
    d_c = np.zeros(rows * units, np.float32)
    d_h = np.zeros(tiles * rows * BLOCK, np.float32)  # (units / 64, rows, 64)
    d_row = np.empty(rows * 4 * units, recurrent.dtype)  # d_z of this step
    one, zero = fill(1.0), fill(0.0)
    offset = place.size
    for step in range(counts.size - 1, -1, -1):
        offset -= counts[step]
        earlier = offset - (counts[step - 1] if step else 0)
        count = rows_of(counts[step], first, stride)
        for unit in range(0, units, WIDTH):
            block = unit * 4
            p_i, p_f, p_o = (
                load(peephole, unit),
                load(peephole, units + unit),
                load(peephole, 2 * units + unit),
            )
            s_i, s_f = load(d_bias, block), load(d_bias, block + WIDTH)
            s_g, s_o = load(d_bias, block + 2 * WIDTH), load(d_bias, block + 3 * WIDTH)
            q_i, q_f = load(d_peephole, unit), load(d_peephole, units + unit)
            q_o = load(d_peephole, 2 * units + unit)
            for row in range(count):
                rank = first + row * stride
                frame = place[offset + rank] * directions + direction
                at, state = frame * 4 * units + block, row * units + unit
                i, f = load(gates, at), load(gates, at + WIDTH)
                g, o = load(gates, at + 2 * WIDTH), load(gates, at + 3 * WIDTH)
                before, h_before = zero, zero
                if step:
                    frame_before = place[earlier + rank] * directions + direction
                    before = load(cells, frame_before * units + unit)
                    h_before = load(outputs, frame_before * units + unit)
                after = load(cells, frame * units + unit)
                squashed = tanh(after)
                from_next = load(d_h, (unit // BLOCK * rows + row) * BLOCK + unit % BLOCK)
                d_y = load(d_outputs, frame * units + unit) + from_next
                d_o = d_y * squashed * o * (one - o)
                d_cell = load(d_c, state) + d_y * o * (one - squashed * squashed) + d_o * p_o
                d_i = d_cell * g * i * (one - i)
                d_f = d_cell * before * f * (one - f)
                d_g = d_cell * i * (one - g * g)
                store(d_c, state, d_cell * f + d_i * p_i + d_f * p_f)
                here = row * 4 * units + block
                store(d_row, here, d_i)
                store(d_row, here + WIDTH, d_f)
                store(d_row, here + 2 * WIDTH, d_g)
                store(d_row, here + 3 * WIDTH, d_o)
                store(d_z, at, d_i)
                store(d_z, at + WIDTH, d_f)
                store(d_z, at + 2 * WIDTH, d_g)
                store(d_z, at + 3 * WIDTH, d_o)
                store(previous, frame * units + unit, h_before)
                s_i, s_f, s_g, s_o = s_i + d_i, s_f + d_f, s_g + d_g, s_o + d_o
                q_i, q_f, q_o = q_i + d_i * before, q_f + d_f * before, q_o + d_o * after
            store(d_bias, block, s_i)
            store(d_bias, block + WIDTH, s_f)
            store(d_bias, block + 2 * WIDTH, s_g)
            store(d_bias, block + 3 * WIDTH, s_o)
            store(d_peephole, unit, q_i)
            store(d_peephole, units + unit, q_f)
            store(d_peephole, 2 * units + unit, q_o)
        if step:
            for tile in range(tiles):
                for k in range(0, 4 * units, DEPTH):
                    depth = min(DEPTH, 4 * units - k)
                    at = (tile * 4 * units + k) * BLOCK
                    for row in range(0, count, ROWS):
                        many = min(ROWS, count - row)
                        to, source = (tile * rows + row) * BLOCK, row * 4 * units + k
                        tile_product(d_h, to, weights, at, d_row, source, 4 * units, depth, many, k == 0)


def layer(
    x: Tensor, weights: Tensor, recurrent: Tensor, bias: Tensor, peephole: Tensor | None, steps: Steps
) -> Tensor:
    """One layer of (peephole) LSTM in one or both directions.

    x: (frames, inputs), packed by steps, float32 or bfloat16, which is the operands' dtype; the cell state is
    float32. weights: W, (directions, 4 hidden, inputs); recurrent: R, (directions, 4 hidden, hidden); bias:
    (directions, 4 hidden); peephole: (directions, 3, hidden) or None.
    Returns (frames, directions * hidden), each direction's output at its own frame.
    """
    if peephole is None:
        peephole = bias.new_zeros(bias.shape[0], 3, recurrent.shape[-1])
    return _Layer.apply(x, weights, recurrent, bias, peephole, steps)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, recurrent: Tensor, bias: Tensor, peephole: Tensor, steps: Steps
    ) -> Tensor:
        keep = any(ctx.needs_input_grad)
        frames, (directions, _, hidden) = len(x), recurrent.shape
        units = -(-hidden // WIDTH) * WIDTH
        x = x.contiguous()
        w = _by_blocks(weights.to(x.dtype), units)
        r = recurrent.to(x.dtype)
        b = _by_blocks(bias.float(), units)
        p = torch.nn.functional.pad(peephole.float(), (0, units - hidden)).contiguous()
        z = x @ w.flatten(0, 1).T
        cells = z.new_empty(frames if keep else 0, directions, units, dtype=torch.float32)
        outputs = z.new_empty(frames, directions, units)
        packed = _packed(r, units)
        flat = [_flat(t) for t in (z, cells, outputs)]
        _each(
            directions,
            steps,
            hidden,
            lambda d, first, stride: forward(
                *flat, _flat(packed[d]), _flat(b[d]), _flat(p[d]), *_order(steps, d),
                d, directions, first, stride, keep,
            ),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(x, w, r, p, z, cells, outputs)
            ctx.steps = steps
            ctx.dtypes = [t.dtype for t in (weights, recurrent, bias, peephole)]
        return outputs[..., :hidden].flatten(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, w, r, p, gates, cells, outputs = ctx.saved_tensors
        frames, directions, units = outputs.shape
        hidden = r.shape[-1]
        d_outputs = d_outputs.to(x.dtype).view(frames, directions, hidden)
        d_outputs = torch.nn.functional.pad(d_outputs, (0, units - hidden)).contiguous()
        d_z, previous = torch.empty_like(gates), torch.empty_like(outputs)
        flat = [_flat(t) for t in (gates, cells, outputs, d_outputs, d_z, previous)]
        shares = _shares(directions, steps := ctx.steps)
        d_bias = torch.zeros(shares, directions, 4 * units)
        d_peephole = torch.zeros(shares, directions, 3, units)
        _each(
            directions,
            steps,
            hidden,
            lambda d, first, stride: backward(
                *flat, _flat(d_bias[first, d]), _flat(d_peephole[first, d]), _flat(r[d]), _flat(p[d]),
                *_order(steps, d), hidden, d, directions, first, stride,
            ),
        )  # fmt: skip
        d_x = d_z @ w.flatten(0, 1) if ctx.needs_input_grad[0] else None
        d_w = (d_z.T @ x).view(directions, 4 * units, -1)
        sides = [d_z.view(frames, directions, -1)[:, d].T @ previous[:, d] for d in range(directions)]
        d_r = torch.stack(sides)[..., :hidden]
        gradients = (
            _by_gates(d_w, hidden),
            _by_gates(d_r, hidden),
            _by_gates(d_bias.sum(0), hidden),
            d_peephole.sum(0)[..., :hidden],
        )
        return d_x, *(g.to(dtype) for g, dtype in zip(gradients, ctx.dtypes, strict=True)), None


def _by_blocks(t: Tensor, units: int) -> Tensor:
    """(directions, 4 hidden, …) → (directions, 4 units, …), the gates of sixteen units together."""
    hidden, rest = t.shape[1] // 4, t.shape[2:]
    gates = t.unflatten(1, (4, hidden))
    if units > hidden:
        gates = torch.cat((gates, gates.new_zeros(len(t), 4, units - hidden, *rest)), dim=2)
    return gates.unflatten(2, (-1, WIDTH)).transpose(1, 2).reshape(len(t), 4 * units, *rest)


def _packed(recurrent: Tensor, units: int) -> Tensor:
    """R as `forward` reads it: (directions, units / 16, units / pair, 4, 16, pair), pair 2 in bfloat16."""
    directions, _, hidden = recurrent.shape
    missing = units - hidden
    gates = torch.nn.functional.pad(
        recurrent.unflatten(1, (4, hidden)), (0, missing, 0, missing)
    ).contiguous()
    words = gates.view(torch.int32).view(directions, 4, units // WIDTH, WIDTH, -1)
    return words.permute(0, 2, 4, 1, 3).contiguous().view(recurrent.dtype)


def _by_gates(t: Tensor, hidden: int) -> Tensor:
    """The inverse of `_by_blocks`."""
    blocks = t.unflatten(1, (-1, 4, WIDTH)).transpose(1, 2).flatten(2, 3)
    return blocks[:, :, :hidden].flatten(1, 2)


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
