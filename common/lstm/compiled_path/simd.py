"""Vectors of sixteen float32 for numba, the parts of `compiled.py` that its Python cannot say.

numba compiles scalars; what is written here are functions that give it LLVM's vectors, on any processor: LLVM
splits a vector where registers are narrower. A float32 array is read as it stands, a uint16 array as bfloat16
(the upper half of a float32), so one source serves both. Only the product of bfloat16 pairs is an instruction
of some processors (`vdpbf16ps` of AVX512_BF16); elsewhere it is two exact float32 products.
"""

from __future__ import annotations

import operator
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16  # float32 in a vector
BLOCK = 4 * WIDTH  # columns of one tile of a product

FLOAT, SHORT, INT = ir.FloatType(), ir.IntType(16), ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, WIDTH)
INTS = ir.VectorType(INT, WIDTH)
FAST = ("contract",)  # a * b + c may be one instruction; nothing else is reordered


class _Bfloat(ir.Type):
    """llvmlite knows no bfloat."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


PAIRS = ir.VectorType(_Bfloat(), 2 * WIDTH)
HALF = ir.VectorType(_Bfloat(), WIDTH)
SHORTS = ir.VectorType(SHORT, WIDTH)


def processor_has(feature: str) -> bool:
    """Whether the processor compiled for has a feature by LLVM's name. "avx512bf16" multiplies pairs of
    bfloat16 in one instruction."""
    is_host = numba.config.CPU_NAME is None and numba.config.CPU_FEATURES is None
    return is_host and bool(llvm.get_host_cpu_features().get(feature, False))


class VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__("float32x16")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any):
        super().__init__(manager, kind, VECTOR)


def _constant(value: float) -> Any:
    return ir.Constant(VECTOR, [float(np.float32(value))] * WIDTH)


def _splat(builder: Any, scalar: Any) -> Any:
    kind = ir.VectorType(scalar.type, WIDTH)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(INT, WIDTH), [0] * WIDTH))


def _llvm(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Calls LLVM's intrinsic `name`."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _llvm(builder, "llvm.fma.v16f32", VECTOR, a, b, c)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, element: Any) -> Any:
    """Pointer to array[index] of a flat array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), element.as_pointer())


def _widen(builder: Any, shorts: Any) -> Any:
    """bfloat16 as <16 x i16> → float32."""
    bits = builder.shl(builder.zext(shorts, INTS), ir.Constant(INTS, [16] * WIDTH))
    return builder.bitcast(bits, VECTOR)


def _narrow(builder: Any, value: Any) -> Any:
    """float32 → bfloat16 as <16 x i16>, to nearest, ties to even."""
    if processor_has("avx512bf16"):
        return builder.bitcast(builder.fptrunc(value, HALF), SHORTS)
    bits = builder.bitcast(value, INTS)

    def all_of(number: int) -> Any:
        return ir.Constant(INTS, [number] * WIDTH)

    odd = builder.and_(builder.lshr(bits, all_of(16)), all_of(1))
    rounded = builder.add(bits, builder.add(odd, all_of(0x7FFF)))
    return builder.trunc(builder.lshr(rounded, all_of(16)), SHORTS)


def _is_float(kind: Any) -> bool:
    return kind.dtype == types.float32


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a flat array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = VECTOR if _is_float(array) else SHORTS
        source, at = arguments
        pointer = _address(context, builder, array, source, at, element)
        value = builder.load(pointer, align=array.dtype.bitwidth // 8)
        return value if _is_float(array) else _widen(builder, value)

    return vector(array, types.intp), code


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 16] = value."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, at, content = arguments
        element = VECTOR if _is_float(array) else SHORTS
        pointer = _address(context, builder, array, source, at, element)
        builder.store(
            content if _is_float(array) else _narrow(builder, content),
            pointer,
            align=array.dtype.bitwidth // 8,
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def store_pairs(typingctx: Any, array: Any, index: Any, first: Any, second: Any) -> Any:
    """array[index : index + 32] of a bfloat16 array = first[0], second[0], first[1], …"""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, at, *contents = arguments
        pointer = _address(context, builder, array, source, at, INTS)
        low, high = (builder.zext(_narrow(builder, content), INTS) for content in contents)
        pairs = builder.or_(low, builder.shl(high, ir.Constant(INTS, [16] * WIDTH)))
        builder.store(pairs, pointer, align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, vector), code


@intrinsic
def fill(typingctx: Any, value: Any) -> Any:
    """Sixteen times the same number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, context.cast(builder, arguments[0], value, types.float32))

    return vector(value), code


@intrinsic
def total(typingctx: Any, x: Any) -> Any:
    """The sum of the sixteen."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        size = WIDTH
        while size > 1:
            size //= 2
            halves = ([*range(size)], [*range(size, 2 * size)])
            masks = [ir.Constant(ir.VectorType(INT, size), half) for half in halves]
            value = builder.fadd(*(builder.shuffle_vector(value, value, mask) for mask in masks))
        return builder.extract_element(value, INT(0))

    return types.float32(vector), code


def _operator(symbol: Any, build: str) -> None:
    @intrinsic
    def apply(typingctx: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, build)(*arguments, flags=FAST)

        return vector(vector, vector), code

    @overload(symbol, inline="always")
    def operate(a, b):  # type: ignore[no-untyped-def]  # numba compares these names with the lambda's
        if isinstance(a, VectorType) and isinstance(b, VectorType):
            return lambda a, b: apply(a, b)
        return None


for _symbol, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _operator(_symbol, _build)


# (e^r - 1 - r) / r² for |r| ≤ ln(2) / 2: Taylor's next term is below 2^-25 of e^r - 1
POLYNOMIAL = (1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5)


def _expm1(builder: Any, x: Any) -> tuple[Any, Any]:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1), as (e^x - 1, e^x); x within ± 87."""
    n = _llvm(builder, "llvm.rint.v16f32", VECTOR, builder.fmul(x, _constant(1.4426950408889634)))
    r = _fma(builder, n, _constant(-0.693359375), x)  # ln 2 in two parts: n times the first is exact
    r = _fma(builder, n, _constant(2.12194440e-4), r)
    p = _constant(POLYNOMIAL[0])
    for coefficient in POLYNOMIAL[1:]:
        p = _fma(builder, p, r, _constant(coefficient))
    p = _fma(builder, builder.fmul(r, r), p, r)
    exponent = builder.add(builder.fptosi(n, INTS), ir.Constant(INTS, [127] * WIDTH))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(INTS, [23] * WIDTH)), VECTOR)
    return _fma(builder, power, p, builder.fsub(power, _constant(1.0))), _fma(builder, power, p, power)


def _within(builder: Any, x: Any, bound: float) -> Any:
    """x cut to ± bound; what is no number stays none."""
    low, high = _constant(-bound), _constant(bound)
    x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
    return builder.select(builder.fcmp_ordered(">", x, high), high, x)


@intrinsic
def sigmoid(typingctx: Any, x: Any) -> Any:
    """1 / (1 + e^-x)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        negative = builder.fneg(_within(builder, arguments[0], 87.0))
        _, exponential = _expm1(builder, negative)
        return builder.fdiv(_constant(1.0), builder.fadd(_constant(1.0), exponential))

    return vector(vector), code


@intrinsic
def tanh(typingctx: Any, x: Any) -> Any:
    """(e^2x - 1) / (e^2x + 1), through e^2x - 1, so that small x keep their digits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        twice = _within(builder, arguments[0], 10.0)
        less_one, _ = _expm1(builder, builder.fadd(twice, twice))
        return builder.fdiv(less_one, builder.fadd(less_one, _constant(2.0)))

    return vector(vector), code


def _pair_product(builder: Any, sum_: Any, weights: Any, x: Any, native: bool) -> Any:
    """sum + w[even] x[even] + w[odd] x[odd], pairs of bfloat16 as <16 x i32>."""
    if native:
        operands = [builder.bitcast(v, PAIRS) for v in (weights, x)]
        return _llvm(builder, "llvm.x86.avx512bf16.dpbf16ps.512", VECTOR, sum_, *operands)
    for half in (
        lambda v: builder.shl(v, ir.Constant(INTS, [16] * WIDTH)),
        lambda v: builder.and_(v, ir.Constant(INTS, [0xFFFF0000] * WIDTH)),
    ):
        a, b = (builder.bitcast(half(v), VECTOR) for v in (weights, x))
        sum_ = _fma(builder, a, b, sum_)
    return sum_


def _sum_loop(
    builder: Any, tile: Any, vectors: int, rows: list[Any], words: Any, ways: int, multiply: Any
) -> list[list[Any]]:
    """Σ rows[r][k] tile[k] over all words k as a loop of machine code. Returns `vectors` a row.

    ways: sums kept apart for words k, k + 1, …, so that an instruction need not wait for the one before.
    """
    size = words.type
    before, loop, after = builder.block, builder.append_basic_block("sum"), builder.append_basic_block("end")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(size)
    k.add_incoming(size(0), before)
    sums = [[[builder.phi(VECTOR) for _ in range(vectors)] for _ in rows] for _ in range(ways)]
    new = []
    for way in range(ways):
        word = builder.add(k, size(way))
        at = builder.mul(word, size(WIDTH * vectors))
        columns = [builder.gep(tile, [builder.add(at, size(WIDTH * v))]) for v in range(vectors)]
        kind = ir.VectorType(tile.type.pointee, WIDTH).as_pointer()
        weights = [builder.load(builder.bitcast(c, kind), align=4) for c in columns]
        numbers = [_splat(builder, builder.load(builder.gep(row, [word]), align=2)) for row in rows]
        new.append(
            [
                [multiply(old, w, x) for old, w in zip(olds, weights, strict=True)]
                for olds, x in zip(sums[way], numbers, strict=True)
            ]
        )
    for phi, value in zip(_flatten(sums), _flatten(new), strict=True):
        phi.add_incoming(_constant(0.0), before)
        phi.add_incoming(value, loop)
    following = builder.add(k, size(ways))
    k.add_incoming(following, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, words), loop, after)
    builder.position_at_end(after)
    totals = new[0]
    for more in new[1:]:
        totals = [
            [builder.fadd(a, b) for a, b in zip(*pair, strict=True)]
            for pair in zip(totals, more, strict=True)
        ]
    return totals


def _flatten(nested: list[list[list[Any]]]) -> list[Any]:
    return [value for rows in nested for row in rows for value in row]


def _make_product(rows: int, ways: int, vectors: int) -> Any:
    """`tile_product` for one number of rows and one of vectors a row, its sums in registers."""

    @intrinsic
    def product(typingctx, out, out_at, weights, weights_at, x, x_at, stride, depth, fresh):  # type: ignore[no-untyped-def]
        is_float = _is_float(weights)
        word, element = (FLOAT, FLOAT) if is_float else (INT, SHORT)  # two bfloat16 make a word
        native = processor_has("avx512bf16")

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            out_, out_at_, weights_, weights_at_, x_, x_at_, stride_, depth_, fresh_ = arguments

            def multiply(old: Any, w: Any, number: Any) -> Any:
                return (
                    _fma(builder, w, number, old)
                    if is_float
                    else _pair_product(builder, old, w, number, native)
                )

            start = _address(context, builder, x, x_, x_at_, element)
            size = depth_.type
            starts = [builder.gep(start, [builder.mul(stride_, size(r))]) for r in range(rows)]
            starts = [builder.bitcast(s, word.as_pointer()) for s in starts]
            tile = _address(context, builder, weights, weights_, weights_at_, word)
            words = depth_ if is_float else builder.udiv(depth_, size(2))
            totals = _sum_loop(builder, tile, vectors, starts, words, ways, multiply)
            target = _address(context, builder, out, out_, out_at_, FLOAT)
            for place, total in enumerate(vector for row in totals for vector in row):
                pointer = builder.bitcast(builder.gep(target, [size(place * WIDTH)]), VECTOR.as_pointer())
                old = builder.select(fresh_, _constant(0.0), builder.load(pointer, align=4))
                builder.store(builder.fadd(total, old), pointer, align=4)
            return context.get_dummy_value()

        numbers = types.intp, types.intp, types.intp, types.boolean
        return types.void(out, types.intp, weights, types.intp, x, *numbers), code

    return product


def _products(vectors: int) -> Any:
    """`tile_product` for tiles of so many vectors a row."""
    # One row alone needs four sums a column to hide the instruction's latency.
    one, two, three, four = (
        _make_product(rows, ways, vectors) for rows, ways in ((1, 4), (2, 2), (3, 1), (4, 1))
    )

    def product(out, out_at, weights, weights_at, x, x_at, stride, depth, rows, fresh):  # type: ignore[no-untyped-def]
        """out[r, column] = Σ x[r, k] weights[k, column] for 1–4 rows r and the columns of a tile, k < depth.

        Row r starts at x[x_at + r * stride] and at out[out_at + r * columns]; the tile's weights stand at
        weights_at as (depth, columns) in float32, (depth / 2, columns, 2) in bfloat16. fresh: whether to
        forget what `out` holds; else the sum is added to it. depth: a multiple of 16.
        """
        if rows == 4:
            four(out, out_at, weights, weights_at, x, x_at, stride, depth, fresh)
        elif rows == 3:
            three(out, out_at, weights, weights_at, x, x_at, stride, depth, fresh)
        elif rows == 2:
            two(out, out_at, weights, weights_at, x, x_at, stride, depth, fresh)
        else:
            one(out, out_at, weights, weights_at, x, x_at, stride, depth, fresh)

    return numba.njit(nogil=True, error_model="numpy")(product)


tile_product, narrow_product = _products(4), _products(3)  # 64 columns, and 48
