"""`kernels.forward` and `kernels.backward` of the layer-normalised cell (Ba, Kiros & Hinton 2016, Layer
Normalization).

All gates of a row are normalised together, and its cell state, so a row's product is whole before its first
gate, and its cell state before its first output. What comes to the gates from x is normalised already. The
arguments are those of `kernels`, with `Normals` in the place of `Fading`.
"""

import numpy as np

from carousel.common.lstm.cells import EPSILON
from carousel.common.lstm.compiled_path.kernels import (
    compiled,
    mask_rows,
    masked,
    pack_transposed,
    part,
    rows_of,
    rows_product,
    slot,
)
from carousel.common.lstm.compiled_path.simd import BLOCK, WIDTH, fill, load, store, tanh, total
from carousel.common.lstm.compiled_path.simd_cells import (
    add_four,
    load_gates,
    lstm_back,
    lstm_step,
    multiply_four,
    store_gates,
)


@compiled
def moments(x, at, segments, units, hidden):  # type: ignore[no-untyped-def]
    """Mean and 1 / standard deviation of the first `hidden` of `units` numbers in each of some segments."""
    whole, end, number = hidden // WIDTH * WIDTH, at + segments * units, segments * hidden
    sums, rest = fill(0.0), 0.0
    for start in range(at, end, units):
        for k in range(start, start + whole, WIDTH):
            sums = sums + load(x, k)
        for k in range(start + whole, start + hidden):
            rest += x[k]
    mean = (total(sums) + rest) / number
    squares, centre, rest = fill(0.0), fill(mean), 0.0
    for start in range(at, end, units):
        for k in range(start, start + whole, WIDTH):
            off = load(x, k) - centre
            squares = squares + off * off
        for k in range(start + whole, start + hidden):
            rest += (x[k] - mean) ** 2
    return mean, 1 / np.sqrt((total(squares) + rest) / number + EPSILON)


@compiled
def forward(variant, share, weights, tape, state, operands, projection, mask, normals, keep):  # type: ignore[no-untyped-def]
    """All steps of a share. projection: None."""
    _, counts, direction, directions, first, stride = share
    frame_of, own = part(share.frame_of, direction, directions), part(weights.own, direction, directions)
    h, c = part(state.h, direction, directions), part(state.c, direction, directions)
    z, cells, _, outputs = tape
    products_kept, scales, hidden = normals
    packed = part(operands, first * directions + direction, stride * directions)
    units, width = own.size // 6, h.size // (2 * counts[0])
    depth = variant.blocks * units
    rows = rows_of(counts[0], first, stride)
    pack_transposed(packed, part(weights.recurrent, direction, directions), depth)
    products, product = np.empty(rows * depth, np.float32), np.empty(depth, np.float32)
    output_gate, h_row = np.empty(units, np.float32), np.empty(rows * width, packed.dtype)
    for row in range(rows):
        for unit in range(0, width, WIDTH):
            store(h_row, row * width + unit, load(h, (first + row * stride) * width + unit))
    mask_at = direction * counts[0] * units
    nothing = fill(0.0), fill(0.0), fill(0.0)
    old, new = 0, counts[0] * width
    offset = 0
    for step in range(counts.size):
        count = rows_of(counts[step], first, stride)
        rows_product(products, rows, packed, h_row, width, count)
        for row in range(count):
            rank = first + row * stride
            frame = frame_of[offset + rank] * directions + direction
            at, own_at = frame * depth, rank * units
            for column in range(0, depth, WIDTH):
                store(product, column, load(products, slot(column, rows, row)))
            mean, scale = moments(product, 0, variant.blocks, units, hidden)
            centre, factor = fill(mean), fill(scale)
            for unit in range(0, units, WIDTH):
                i, f, g, o = load_gates(variant, product, unit, units)
                normal = (
                    (i - centre) * factor,
                    (f - centre) * factor,
                    (g - centre) * factor,
                    (o - centre) * factor,
                )
                into = multiply_four(normal, load_gates(variant, own, unit, units))
                into = add_four(into, load_gates(variant, z, at + unit, units))
                gates, after, _ = lstm_step(variant, into, nothing, load(c, own_at + unit))
                store(c, own_at + unit, after)
                store(output_gate, unit, gates[3])
                if keep:
                    store_gates(variant, z, at + unit, units, gates)
                    store_gates(variant, products_kept, at + unit, units, normal)
                    store(cells, frame * units + unit, after)
            if keep:
                scales[frame] = scale
            mean, scale = moments(c, own_at, 1, units, hidden)
            for unit in range(0, units, WIDTH):
                cell = (load(c, own_at + unit) - fill(mean)) * fill(scale)
                squashed = tanh(cell * load(own, depth + unit) + load(own, depth + units + unit))
                y = load(output_gate, unit) * squashed
                seen = masked(y, mask, mask_at + own_at + unit)
                store(h_row, row * width + unit, seen)
                store(h, new + rank * width + unit, seen)
                store(outputs, frame * units + unit, y)
        old, new = new, old
        offset += counts[step]


@compiled
def backward(  # type: ignore[no-untyped-def]
    variant, share, weights, tape, start, gradients, operands, projection, mask, normals, to_start
):  # fmt: skip
    """The steps of `forward` back from the last."""
    _, counts, direction, directions, first, stride = share
    call, calls = first * directions + direction, stride * directions
    frame_of, own = part(share.frame_of, direction, directions), part(weights.own, direction, directions)
    start_h, start_c = part(start.h, direction, directions), part(start.c, direction, directions)
    packed, recurrent = part(operands, call, calls), weights.recurrent
    gates, cells, _, outputs = tape
    products, scales, hidden = normals
    d_outputs, d_z, d_product, previous = gradients[:4]
    d_own = part(gradients.own, call, calls)
    d_h, d_c = part(gradients.h, direction * stride + first, calls), part(gradients.c, direction, directions)
    units = own.size // 6
    depth = variant.blocks * units
    width = recurrent.size // (directions * depth)
    pack_transposed(packed, part(recurrent, direction, directions), width)
    rows = d_h.size // ((width + BLOCK - 1) // BLOCK * BLOCK)
    d_row = np.empty(rows * depth, packed.dtype)  # d_product of this step
    d_cell, d_gate = np.empty(units, np.float32), np.empty(units, np.float32)
    d_normal = np.empty(depth, np.float32)
    mask_at = direction * counts[0] * units
    zero, one = fill(0.0), fill(1.0)
    nothing = zero, zero, zero
    offset = frame_of.size
    for step in range(counts.size - 1, -1, -1):
        offset -= counts[step]
        earlier = offset - (counts[step - 1] if step else 0)
        count = rows_of(counts[step], first, stride)
        for row in range(count):
            rank = first + row * stride
            frame = frame_of[offset + rank] * directions + direction
            frame_before = frame_of[earlier + rank] * directions + direction  # unless this is the first
            at, state = frame * depth, rank * units
            mean, scale = moments(cells, frame * units, 1, units, hidden)
            centre, factor = fill(mean), fill(scale)
            sums = along = zero
            for unit in range(0, units, WIDTH):
                normal = (load(cells, frame * units + unit) - centre) * factor
                gain = load(own, depth + unit)
                squashed = tanh(normal * gain + load(own, depth + units + unit))
                o = load(gates, at + variant.at_o * units + unit)
                d_y = load(d_outputs, frame * units + unit) + load(d_h, slot(unit, rows, row))
                store(d_gate, unit, d_y * squashed * o * (one - o))
                d = d_y * o * (one - squashed * squashed)
                store(d_own, depth + unit, load(d_own, depth + unit) + d * normal)
                store(d_own, depth + units + unit, load(d_own, depth + units + unit) + d)
                d = d * gain
                store(d_cell, unit, d)
                sums, along = sums + d, along + d * normal
                before = (
                    load(outputs, frame_before * units + unit) if step else load(start_h, rank * width + unit)
                )
                store(previous, frame * width + unit, masked(before, mask, mask_at + state + unit))
            mean_d, mean_along = fill(total(sums) / hidden), fill(total(along) / hidden)
            sums = along = zero
            for unit in range(0, units, WIDTH):
                after = load(cells, frame * units + unit)
                before = load(cells, frame_before * units + unit) if step else load(start_c, state + unit)
                normal = (after - centre) * factor
                d_after = factor * (load(d_cell, unit) - mean_d - normal * mean_along)
                d_after = d_after + load(d_c, state + unit)
                activations = load_gates(variant, gates, at + unit, units)
                # the output has been gone through above
                d, _, d_before = lstm_back(
                    variant, activations, before, after, nothing, zero, d_after, nothing
                )
                d = d[0], d[1], d[2], load(d_gate, unit)
                store(d_c, state + unit, d_before)
                store_gates(variant, d_z, at + unit, units, d)
                by_gates = load_gates(variant, products, at + unit, units)
                gains = add_four(load_gates(variant, d_own, unit, units), multiply_four(d, by_gates))
                store_gates(variant, d_own, unit, units, gains)
                d = multiply_four(d, load_gates(variant, own, unit, units))
                store_gates(variant, d_normal, unit, units, d)
                shares = multiply_four(d, by_gates)
                sums = sums + d[0] + d[1] + d[2] + d[3]
                along = along + shares[0] + shares[1] + shares[2] + shares[3]
            number = variant.blocks * hidden
            mean_d, mean_along = fill(total(sums) / number), fill(total(along) / number)
            factor = fill(scales[frame])
            for column in range(0, depth, WIDTH):
                d_sum = load(d_normal, column) - mean_d - load(products, at + column) * mean_along
                store(d_row, row * depth + column, factor * d_sum)
                store(d_product, at + column, factor * d_sum)
        if step or to_start:
            rows_product(d_h, rows, packed, d_row, depth, count)
            if mask is not None:
                mask_rows(d_h, mask, mask_at, units, rows, count, first, stride)
