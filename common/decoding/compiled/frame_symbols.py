"""A frame: the probabilities of its symbols, and which of them may extend a text."""

from __future__ import annotations

import math

import numba
import numpy as np

from carousel.common.compiling.decorators import borrowing, borrowing_fused
from carousel.common.decoding import ROUNDING
from carousel.common.decoding.compiled.prefix_tree import BLANK, NONE

# Of e^x: the least x; 1/12! … 1; adding this rounds; ln 2 in two parts, of which n times the first is exact
LEAST = -700.0
TERMS = tuple(1 / math.factorial(k) for k in range(12, -1, -1))
WHOLE = 1.5 * 2**52
LN2 = math.log(2)
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6


@borrowing_fused
def look(row, probabilities, symbol_threshold):  # type: ignore[no-untyped-def]
    """Writes a frame's probabilities, (symbols,); returns how many symbols are not below the threshold, or
    NONE if the highest value is not finite, which NaN is not, or no log-probability.

    e^x = 2^n e^r with n whole and |r| ≤ ln 2 / 2, e^r by its Taylor series, to 3e-16 of it: unlike np.exp, in
    one loop for several symbols at once. What is below e^-700 is none.
    """
    passed, possible, broken = 0, 0, 0  # counted, as that is done for several symbols at once
    for symbol in range(len(row)):
        entry = row[symbol]
        passed += entry >= symbol_threshold
        possible += entry > -np.inf
        broken += not entry <= ROUNDING
        bounded = max(entry, LEAST)
        alive = (bounded * (1 / LN2) + WHOLE) - WHOLE
        r = bounded - alive * LN2_HIGH - alive * LN2_LOW
        power = 0.0
        for k in numba.literal_unroll(TERMS):
            power = power * r + k
        probabilities[symbol] = (
            power * np.int64((np.int64(alive) + 1023) << 52).view(np.float64) if entry > LEAST else 0.0
        )
    return passed if possible > 0 and broken == 0 else NONE


@borrowing
def passing(row, symbol_threshold, passed, order, before):  # type: ignore[no-untyped-def]
    """How many symbols may extend in a frame; sets which, and their order; `before` of them did earlier."""
    for k in range(before):
        passed[order[k]] = False
    best = row[BLANK]
    if best < symbol_threshold:
        for symbol in range(1, len(row)):
            best = max(best, row[symbol])
    floor = min(symbol_threshold, best)
    count = 0
    for symbol in range(1, len(row)):
        if row[symbol] >= floor and row[symbol] > -np.inf:
            passed[symbol] = True
            k = count
            while k > 0 and row[order[k - 1]] < row[symbol]:  # few, so insertion is fast
                order[k] = order[k - 1]
                k -= 1
            order[k] = symbol
            count += 1
    return count
