"""All steps of one direction of a layer as one compiled function, forward and back.

The recurrent product, the gates and the storing of a tile (four rows × the gates of sixteen units) happen
while it is in registers and the nearest cache; the recurrent weights stay in the second cache of the core.

Arrays are flat, and named tuples of `arguments`. Frames are packed by steps (`fused.Steps`).
"""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.lstm.compiled_path.simd import (
    BLOCK,
    WIDTH,
    fill,
    load,
    store,
    store_pairs,
    tanh,
    tile_product,
)
from carousel.common.lstm.compiled_path.simd_cells import (
    add_four,
    gates_product,
    gru_back,
    gru_step,
    load_gates,
    load_three,
    lstm_back,
    lstm_step,
    store_gates,
    store_three,
)

ROWS = 4  # of a tile: with its 4 × 4 sums in registers both multipliers of a core are busy
DEPTH = 256  # of a tile's product in the backward pass: 64 columns × 256 in bf16 are 32 KB, the nearest cache

compiled = numba.njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)


@compiled
def rows_of(count, first, stride):  # type: ignore[no-untyped-def]
    """How many of `count` rows are first, first + stride, …"""
    return max(0, (count - first + stride - 1) // stride)


@compiled
def part(array, index, number):  # type: ignore[no-untyped-def]
    """One of `number` equal parts."""
    size = array.size // number
    return array[index * size : (index + 1) * size]


@compiled
def pack(out, matrix, gates, units, width):  # type: ignore[no-untyped-def]
    """R, (gates, units, width), as `forward` reads it: (units / 16, width / pair, gates, 16, pair), pair 2 in
    bfloat16, else 1."""
    some = WIDTH * out.itemsize // 4  # words of sixteen columns
    words, depth = out.view(np.uint32), width // WIDTH * some
    rows = np.empty(WIDTH * WIDTH, out.dtype)
    row_words = rows.view(np.uint32)
    for unit in range(0, units, WIDTH):
        for gate in range(gates):
            for block in range(width // WIDTH):
                for row in range(WIDTH):
                    at = (gate * units + unit + row) * width + block * WIDTH
                    store(rows, row * WIDTH, load(matrix, at))
                for word in range(some):
                    to = ((unit // WIDTH * depth + block * some + word) * gates + gate) * WIDTH
                    for row in range(WIDTH):
                        words[to + row] = row_words[row * some + word]


@compiled
def pack_transposed(out, matrix, columns):  # type: ignore[no-untyped-def]
    """matrix, (depth, columns), as `rows_product` reads it: (columns / 64, depth / pair, 64, pair)."""
    depth = matrix.size // columns
    pair = 4 // out.itemsize
    zero = fill(0.0)
    for tile in range(0, (columns + BLOCK - 1) // BLOCK * BLOCK, BLOCK):
        for k in range(0, depth, pair):
            for column in range(tile, tile + BLOCK, WIDTH):
                at = tile * depth + k * BLOCK + (column - tile) * pair
                there = column < columns
                first = load(matrix, k * columns + column) if there else zero
                if pair == 1:
                    store(out, at, first)
                else:
                    second = load(matrix, (k + 1) * columns + column) if there else zero
                    store_pairs(out, at, first, second)


@compiled
def slot(column, rows, row):  # type: ignore[no-untyped-def]
    """Where a row has this column in (columns / 64, rows, 64)."""
    return (column // BLOCK * rows + row) * BLOCK + column % BLOCK


@compiled
def rows_product(out, rows, weights, x, depth, count):  # type: ignore[no-untyped-def]
    """The first `count` rows of x, (rows, depth), times weights, from `pack_transposed`.

    out: float32 (columns / 64, rows, 64).
    """
    for tile in range(weights.size // (depth * BLOCK)):
        for k in range(0, depth, DEPTH):
            some = min(DEPTH, depth - k)
            at = (tile * depth + k) * BLOCK
            for row in range(0, count, ROWS):
                many = min(ROWS, count - row)
                to, source = (tile * rows + row) * BLOCK, row * depth + k
                tile_product(out, to, weights, at, x, source, depth, some, many, k == 0)


@compiled
def multiplier(matrix, columns, rows):  # type: ignore[no-untyped-def]
    """What `rows_product` by (depth, columns) takes and gives: weights, memory for the rows and for `out`."""
    depth, wide = matrix.size // columns, (columns + BLOCK - 1) // BLOCK * BLOCK
    weights = np.empty(wide * depth, matrix.dtype)
    pack_transposed(weights, matrix, columns)
    return weights, np.empty(rows * depth, matrix.dtype), np.empty(wide * rows, np.float32)


@compiled
def masked(y, mask, at):  # type: ignore[no-untyped-def]
    """y where R takes it."""
    if mask is None:
        return y
    return y * load(mask, at)


@compiled
def mask_rows(d_h, mask, mask_at, size, rows, count, first, stride):  # type: ignore[no-untyped-def]
    """`masked` back, for the rows of a step."""
    for row in range(count):
        for column in range(0, size, WIDTH):
            at = slot(column, rows, row)
            store(d_h, at, load(d_h, at) * load(mask, mask_at + (first + row * stride) * size + column))


@compiled
def forward(variant, share, weights, tape, state, operands, projection, mask, fading, keep):  # type: ignore[no-untyped-def]
    """All steps of a share; the arguments are those of `arguments`.

    operands: memory for R, (calls, gates * units * width); projection: transposed, (directions, units, size
    of h), or None; mask: (directions, rows, size of h), factors of h where R takes it, or None; fading:
    `Fading` or None; keep: whether the tape is written.
    """
    _, counts, direction, directions, first, stride = share
    frame_of, own = part(share.frame_of, direction, directions), part(weights.own, direction, directions)
    h, c = part(state.h, direction, directions), part(state.c, direction, directions)
    bias = part(weights.bias, direction, directions)
    z, cells, unprojected, outputs = tape
    packed = part(operands, first * directions + direction, stride * directions)
    block = variant.blocks * WIDTH
    units = own.size // 3
    width = h.size // (2 * counts[0])
    size = outputs.size // (frame_of.size * directions)
    rows = rows_of(counts[0], first, stride)
    pack(packed, part(weights.recurrent, direction, directions), variant.blocks, units, width)
    sums = np.empty(ROWS * BLOCK, np.float32)
    if projection is not None:
        projecting, y_row, projected = multiplier(part(projection, direction, directions), size, rows)
    mask_at = direction * counts[0] * size
    if fading is not None:
        decay, bias_decay, lost, shorts = fading
        lost, bias_decay = part(lost, direction, directions), part(bias_decay, direction, directions)
        decaying, c_row, decayed = multiplier(part(decay, direction, directions), units, rows)
    old, new = 0, counts[0] * width
    offset = 0
    for step in range(counts.size):
        count = rows_of(counts[step], first, stride)
        if fading is not None:
            for row in range(count):
                for unit in range(0, units, WIDTH):
                    store(c_row, row * units + unit, load(c, (first + row * stride) * units + unit))
            rows_product(decayed, rows, decaying, c_row, units, count)
            for row in range(count):
                rank = first + row * stride
                frame, loss = frame_of[offset + rank] * directions + direction, fill(lost[offset + rank])
                for unit in range(0, units, WIDTH):
                    short = tanh(load(decayed, slot(unit, rows, row)) + load(bias_decay, unit))
                    store(c, rank * units + unit, load(c, rank * units + unit) - short * loss)
                    if keep:
                        store(shorts, frame * units + unit, short)
        for unit in range(0, units, WIDTH):
            by_unit, biases = load_three(own, unit, units), load_gates(variant, bias, unit, units)
            for row in range(0, count, ROWS):
                many = min(ROWS, count - row)
                rank = first + row * stride
                at, x_at = unit * variant.blocks * width, old + rank * width
                gates_product(variant, sums, packed, at, h, x_at, stride * width, width, many)
                for r in range(many):
                    frame = frame_of[offset + rank + r * stride] * directions + direction
                    at, own_at = frame * units * variant.blocks + unit, (rank + r * stride) * units + unit
                    product = load_gates(variant, sums, r * block, WIDTH)
                    x = load_gates(variant, z, at, units)
                    before = load(c, own_at)
                    if variant.is_gru:
                        gates, kept, after = gru_step(product, x, biases, by_unit, before)
                        y = after
                    else:
                        into = add_four(add_four(product, x), biases)
                        gates, after, y = lstm_step(variant, into, by_unit, before)
                        kept = after
                    store(c, own_at, after)
                    to = new + (rank + r * stride) * width + unit
                    if projection is None:
                        store(h, to, masked(y, mask, mask_at + own_at))
                        store(outputs, frame * units + unit, y)
                    else:
                        store(y_row, (row + r) * units + unit, y)
                    if variant.gate_recurrence:
                        store_three(h, to + size, units, (gates[0], gates[1], gates[3]))
                    if keep:
                        store_gates(variant, z, at, units, gates)
                        store(cells, frame * units + unit, kept)
                        if projection is not None:
                            store(unprojected, frame * units + unit, y)
        if projection is not None:
            rows_product(projected, rows, projecting, y_row, units, count)
            for row in range(count):
                rank = first + row * stride
                frame = frame_of[offset + rank] * directions + direction
                for column in range(0, size, WIDTH):
                    y = load(projected, slot(column, rows, row))
                    store(h, new + rank * width + column, masked(y, mask, mask_at + rank * size + column))
                    store(outputs, frame * size + column, y)
        old, new = new, old
        offset += counts[step]


@compiled
def backward(  # type: ignore[no-untyped-def]
    variant, share, weights, tape, start, gradients, operands, projection, mask, fading, to_start
):  # fmt: skip
    """The steps of `forward` back from the last.

    operands: memory for R, (calls, gates * units * width up to a multiple of 64); projection: (directions,
    size of h, units) or None; fading: `FadingBack` or None; to_start: whether the gradients by the first
    states are wanted.
    """
    _, counts, direction, directions, first, stride = share
    call, calls = first * directions + direction, stride * directions
    frame_of, own = part(share.frame_of, direction, directions), part(weights.own, direction, directions)
    start_h, start_c = part(start.h, direction, directions), part(start.c, direction, directions)
    recurrent, packed = part(weights.recurrent, direction, directions), part(operands, call, calls)
    gates, cells, _, outputs = tape
    d_outputs, d_z, d_product, previous = gradients[:4]
    d_bias, d_own = part(gradients.bias, call, calls), part(gradients.own, call, calls)
    d_h, d_c = part(gradients.h, direction * stride + first, calls), part(gradients.c, direction, directions)
    units = own.size // 3
    depth = units * variant.blocks
    width = recurrent.size // depth
    size = outputs.size // (frame_of.size * directions)
    pack_transposed(packed, recurrent, width)
    rows = d_h.size // ((width + BLOCK - 1) // BLOCK * BLOCK)
    d_row = np.empty(rows * depth, packed.dtype)  # d_product of this step
    if projection is not None:
        projecting, d_y_row, d_unprojected = multiplier(part(projection, direction, directions), units, rows)
    mask_at = direction * counts[0] * size
    if fading is not None:
        decay, lost, shorts, d_shorts, faded = fading
        lost = part(lost, direction, directions)
        decaying, d_short_row, d_faded = multiplier(part(decay, direction, directions), units, rows)
    zero = fill(0.0)
    offset = frame_of.size
    for step in range(counts.size - 1, -1, -1):
        offset -= counts[step]
        earlier = offset - (counts[step - 1] if step else 0)
        count = rows_of(counts[step], first, stride)
        if projection is not None:
            for row in range(count):
                rank = first + row * stride
                frame = frame_of[offset + rank] * directions + direction
                for column in range(0, size, WIDTH):
                    d_y = load(d_outputs, frame * size + column) + load(d_h, slot(column, rows, row))
                    store(d_outputs, frame * size + column, d_y)
                    store(d_y_row, row * size + column, d_y)
                    if step:
                        frame_before = frame_of[earlier + rank] * directions + direction
                        h_before = load(outputs, frame_before * size + column)
                    else:
                        h_before = load(start_h, rank * width + column)
                    store(
                        previous,
                        frame * width + column,
                        masked(h_before, mask, mask_at + rank * size + column),
                    )
            rows_product(d_unprojected, rows, projecting, d_y_row, size, count)
        for unit in range(0, units, WIDTH):
            by_unit = load_three(own, unit, units)
            bias_sum, own_sum = load_gates(variant, d_bias, unit, units), load_three(d_own, unit, units)
            for row in range(count):
                rank = first + row * stride
                frame = frame_of[offset + rank] * directions + direction
                frame_before = frame_of[earlier + rank] * directions + direction  # unless this is the first
                at, state = frame * depth + unit, rank * units + unit
                before = load(cells, frame_before * units + unit) if step else load(start_c, state)
                h_before = zero
                if projection is None:
                    if step:
                        h_before = load(outputs, frame_before * units + unit)
                    else:
                        h_before = load(start_h, rank * width + unit)
                    store(previous, frame * width + unit, masked(h_before, mask, mask_at + state))
                    d_y = load(d_outputs, frame * units + unit) + load(d_h, slot(unit, rows, row))
                else:
                    d_y = load(d_unprojected, slot(unit, rows, row))
                if fading is not None:
                    loss, short = fill(lost[offset + rank]), load(shorts, frame * units + unit)
                    store(faded, frame * units + unit, before)
                    before = before - short * loss
                after = load(cells, frame * units + unit)
                activations = load_gates(variant, gates, at, units)
                if variant.is_gru:
                    d_y = d_y + load(d_c, state)
                    d_x, d_sums, d_by_unit, d_before = gru_back(activations, h_before, after, d_y)
                    store_gates(variant, d_product, at, units, d_sums)
                else:
                    d_gates = zero, zero, zero
                    if variant.gate_recurrence:
                        d_gates = (
                            load(d_h, slot(size + unit, rows, row)),
                            load(d_h, slot(size + units + unit, rows, row)),
                            load(d_h, slot(size + 2 * units + unit, rows, row)),
                        )
                    d_x, d_by_unit, d_before = lstm_back(
                        variant, activations, before, after, by_unit, d_y, load(d_c, state), d_gates
                    )
                    d_sums = d_x
                store(d_c, state, d_before)
                if fading is not None:
                    d_short = (zero - loss) * d_before * (fill(1.0) - short * short)
                    store(d_shorts, frame * units + unit, d_short)
                    store(d_short_row, row * units + unit, d_short)
                store_gates(variant, d_row, row * depth + unit, units, d_sums)
                store_gates(variant, d_z, at, units, d_x)
                if variant.gate_recurrence:
                    seen = load_three(start_h, rank * width + size + unit, units)
                    if step:
                        i, f, _, o = load_gates(variant, gates, frame_before * depth + unit, units)
                        seen = i, f, o
                    store_three(previous, frame * width + size + unit, units, seen)
                bias_sum = add_four(bias_sum, d_x)
                own_sum = own_sum[0] + d_by_unit[0], own_sum[1] + d_by_unit[1], own_sum[2] + d_by_unit[2]
            store_gates(variant, d_bias, unit, units, bias_sum)
            store_three(d_own, unit, units, own_sum)
        if fading is not None:
            rows_product(d_faded, rows, decaying, d_short_row, units, count)
            for row in range(count):
                for unit in range(0, units, WIDTH):
                    state = (first + row * stride) * units + unit
                    store(d_c, state, load(d_c, state) + load(d_faded, slot(unit, rows, row)))
        if step or to_start:
            rows_product(d_h, rows, packed, d_row, depth, count)
            if mask is not None:
                mask_rows(d_h, mask, mask_at, size, rows, count, first, stride)
