"""One step of `cells.VARIANTS` on sixteen units, forward and back, for numba.

A `Variant` is passed to compiled code as it is. Its *type* holds the switches, so that they are constants of
the machine code: each variant that is used is compiled by itself, and what it lacks is not in its code.

Gates are four vectors, i, f, g, o, of which the GRU has three, r, z, n; what a cell lacks is zeros.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numba
from numba import types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, models, register_model, typeof_impl, unbox

from carousel.common.lstm.cells import GRU, Variant
from carousel.common.lstm.compiled_path.simd import (
    fill,
    load,
    narrow_product,
    sigmoid,
    store,
    tanh,
    tile_product,
)

inlined = numba.njit(forceinline=True, error_model="numpy")

PLACES = {"i": "ir", "f": "fz", "g": "gn", "o": "o"}  # which of a cell's gates is at each place


class VariantType(types.Type):
    """Compiled code reads the variant's switches from it, and besides them

    is_gru; blocks: how many gates there are; has_i …: whether there is such a gate; at_i …: which of them
    it is.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__(repr(replace(variant, source="")))  # equal cells of two papers are one
        self.constants: dict[str, bool | int] = {
            name: value for name, value in asdict(variant).items() if isinstance(value, bool)
        }
        self.constants |= {"is_gru": variant.gates == GRU.gates, "blocks": len(variant.gates)}
        for name, letters in PLACES.items():
            places = [k for k, letter in enumerate(variant.gates) if letter in letters]
            self.constants |= {f"has_{name}": bool(places), f"at_{name}": places[0] if places else 0}


_type = cache(VariantType)


@typeof_impl.register(Variant)
def _type_of(variant: Variant, context: Any) -> VariantType:
    return _type(variant)


@unbox(VariantType)
def _unbox(kind: Any, value: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


register_model(VariantType)(models.OpaqueModel)


@infer_getattr
class _Constants(AttributeTemplate):
    key = VariantType

    def generic_resolve(self, kind: VariantType, name: str) -> Any:
        value = kind.constants.get(name)
        return None if value is None else types.boolean if isinstance(value, bool) else types.intp


@lower_getattr_generic(VariantType)
def _constant(context: Any, builder: Any, kind: VariantType, value: Any, name: str) -> Any:
    number = kind.constants[name]
    return context.get_constant(types.boolean if isinstance(number, bool) else types.intp, number)


@inlined
def load_gates(variant, array, at, stride):  # type: ignore[no-untyped-def]
    """The gates of sixteen units; each gate begins a stride after the one before."""
    i = f = g = o = fill(0.0)
    if variant.has_i:
        i = load(array, at + variant.at_i * stride)
    if variant.has_f:
        f = load(array, at + variant.at_f * stride)
    if variant.has_g:
        g = load(array, at + variant.at_g * stride)
    if variant.has_o:
        o = load(array, at + variant.at_o * stride)
    return i, f, g, o


@inlined
def store_gates(variant, array, at, stride, gates):  # type: ignore[no-untyped-def]
    if variant.has_i:
        store(array, at + variant.at_i * stride, gates[0])
    if variant.has_f:
        store(array, at + variant.at_f * stride, gates[1])
    if variant.has_g:
        store(array, at + variant.at_g * stride, gates[2])
    if variant.has_o:
        store(array, at + variant.at_o * stride, gates[3])


@inlined
def load_three(array, at, stride):  # type: ignore[no-untyped-def]
    return load(array, at), load(array, at + stride), load(array, at + 2 * stride)


@inlined
def store_three(array, at, stride, values):  # type: ignore[no-untyped-def]
    store(array, at, values[0])
    store(array, at + stride, values[1])
    store(array, at + 2 * stride, values[2])


@inlined
def add_four(a, b):  # type: ignore[no-untyped-def]
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


@inlined
def multiply_four(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]


@inlined
def gates_product(variant, sums, weights, weights_at, x, x_at, stride, depth, rows):  # type: ignore[no-untyped-def]
    """R h for the gates of sixteen units: see `tile_product`."""
    if variant.blocks == 4:
        tile_product(sums, 0, weights, weights_at, x, x_at, stride, depth, rows, True)
    else:
        narrow_product(sums, 0, weights, weights_at, x, x_at, stride, depth, rows, True)


@inlined
def _gate(variant, z, peephole, c):  # type: ignore[no-untyped-def]
    if variant.peepholes:
        return sigmoid(z + peephole * c)
    return sigmoid(z)


@inlined
def lstm_step(variant, z, own, before):  # type: ignore[no-untyped-def]
    """`cells.gates_and_cell` and the output: gates, new cell state, output.

    z: what comes to the gates; own: peepholes of i, f, o; before: the cell state.
    """
    one = fill(1.0)
    i = f = o = one
    g = z[2]
    if variant.has_i:
        i = _gate(variant, z[0], own[0], before)
    if variant.has_f:
        f = _gate(variant, z[1], own[1], before)
    if variant.coupled:
        f = one - i
    if variant.input_activation:
        g = tanh(g)
    after = f * before + i * g
    if variant.has_o:
        o = _gate(variant, z[3], own[2], after)
    y = after
    if variant.output_activation:
        y = tanh(after)
    return (i, f, g, o), after, o * y


@inlined
def gru_step(product, x, bias, own, before):  # type: ignore[no-untyped-def]
    """`cells.gru_step`: gates, what the reset gate lets through, new h.

    product: R h; x: W x; bias: of W x; own: b_hn, and nothing; before: h.
    """
    z = add_four(add_four(product, x), bias)
    reset, update = sigmoid(z[0]), sigmoid(z[1])
    seen = product[2] + own[0]
    n = tanh(x[2] + bias[2] + reset * seen)
    return (reset, update, n, z[3]), seen, (fill(1.0) - update) * n + update * before


@inlined
def lstm_back(variant, gates, before, after, own, d_y, d_after, d_gates):  # type: ignore[no-untyped-def]
    """`lstm_step` back: gradients by z, by `own`, by `before`.

    d_gates: of i, f, o from elsewhere, where gates recur.
    """
    one, zero = fill(1.0), fill(0.0)
    i, f, g, o = gates
    d_i = d_f = d_o = zero
    squashed, d_squashed = after, d_y
    if variant.has_o:
        d_squashed = d_y * o
    if variant.output_activation:
        squashed = tanh(after)
        d_squashed = d_squashed * (one - squashed * squashed)
    if variant.has_o:
        d_o = d_y * squashed
        if variant.gate_recurrence:
            d_o = d_o + d_gates[2]
        d_o = d_o * o * (one - o)
    d_c = d_after + d_squashed
    if variant.peepholes:
        d_c = d_c + d_o * own[2]
    d_g = d_before = d_c
    if variant.has_i:
        d_g = d_c * i
        d_i = d_c * g
        if variant.coupled:
            d_i = d_c * (g - before)
            d_before = d_c * (one - i)
        if variant.gate_recurrence:
            d_i = d_i + d_gates[0]
        d_i = d_i * i * (one - i)
    if variant.has_f:
        d_before = d_c * f
        d_f = d_c * before
        if variant.gate_recurrence:
            d_f = d_f + d_gates[1]
        d_f = d_f * f * (one - f)
    if variant.input_activation:
        d_g = d_g * (one - g * g)
    d_own = zero, zero, zero
    if variant.peepholes:
        d_before = d_before + d_i * own[0] + d_f * own[1]
        d_own = d_i * before, d_f * before, d_o * after
    return (d_i, d_f, d_g, d_o), d_own, d_before


@inlined
def gru_back(gates, before, seen, d_y):  # type: ignore[no-untyped-def]
    """`gru_step` back: gradients by W x, by R h, by `own`, by `before`."""
    one, zero = fill(1.0), fill(0.0)
    reset, update, n, _ = gates
    d_n = d_y * (one - update) * (one - n * n)
    d_update = d_y * (before - n) * update * (one - update)
    d_reset = d_n * seen * reset * (one - reset)
    d_seen = d_n * reset
    d_x = d_reset, d_update, d_n, zero
    d_product = d_reset, d_update, d_seen, zero
    return d_x, d_product, (d_seen, zero, zero), d_y * update
