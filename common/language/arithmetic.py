"""Arithmetic coding: a sequence of symbols as one number, in as many bits as their probabilities are worth
(I. Witten, R. Neal, J. Cleary, "Arithmetic Coding for Data Compression", CACM 30(6), 1987).

A model is a row of cumulative counts: symbol k has those from cumulative[k] to cumulative[k + 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

BITS = 32  # of low and high
WHOLE, HALF, QUARTER = 1 << BITS, 1 << (BITS - 1), 1 << (BITS - 2)
COUNTS = 1 << 24  # of a row together: below QUARTER, so that no symbol's part becomes empty


def cumulative(probabilities: np.ndarray) -> np.ndarray:
    """Counts (rows, symbols + 1) int64 that rise from 0 to COUNTS, of probabilities (rows, symbols).

    Each symbol has a count of at least one. What rounding leaves over goes to the last symbol.
    """
    counts = 1 + np.floor(probabilities.astype(np.float64) * (COUNTS - probabilities.shape[1] - 1)).astype(
        np.int64
    )
    edges = np.zeros((len(counts), counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=edges[:, 1:])
    edges[:, -1] = COUNTS
    return edges


class Encoder:
    def __init__(self) -> None:
        self.low, self.high, self.waiting = 0, WHOLE - 1, 0
        self.bits = bytearray()  # one a byte, packed at the end

    def encode(self, low: int, high: int, total: int = COUNTS) -> None:
        """Adds the symbol that has the counts from low to high of a total."""
        width = self.high - self.low + 1
        self.high = self.low + width * high // total - 1
        self.low += width * low // total
        while True:
            if self.high < HALF:
                self._put(0)
            elif self.low >= HALF:
                self._put(1)
                self.low, self.high = self.low - HALF, self.high - HALF
            elif self.low >= QUARTER and self.high < HALF + QUARTER:  # its half is not known yet
                self.waiting += 1
                self.low, self.high = self.low - QUARTER, self.high - QUARTER
            else:
                break
            self.low, self.high = 2 * self.low, 2 * self.high + 1

    def _put(self, bit: int) -> None:
        self.bits.append(bit)
        self.bits += bytes([1 - bit]) * self.waiting
        self.waiting = 0

    def finish(self) -> bytes:
        """All that was encoded."""
        self.waiting += 1
        self._put(int(self.low >= QUARTER))
        return np.packbits(np.frombuffer(bytes(self.bits), np.uint8)).tobytes()


class Decoder:
    """Bits beyond the end of the data are zeros."""

    def __init__(self, data: bytes) -> None:
        self.bits = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())
        self.low, self.high, self.value = 0, WHOLE - 1, 0
        for bit in islice(self.bits, BITS):
            self.value = 2 * self.value + bit
        self.value <<= max(0, BITS - 8 * len(data))

    def decode(self, edges: Sequence[int] | np.ndarray) -> int:
        """The next symbol of a model's cumulative counts."""
        total, width = int(edges[-1]), self.high - self.low + 1
        count = ((self.value - self.low + 1) * total - 1) // width
        symbol = int(np.searchsorted(edges, count, side="right")) - 1
        self.high = self.low + width * int(edges[symbol + 1]) // total - 1
        self.low += width * int(edges[symbol]) // total
        while True:
            if self.high < HALF:
                away = 0
            elif self.low >= HALF:
                away = HALF
            elif self.low >= QUARTER and self.high < HALF + QUARTER:
                away = QUARTER
            else:
                return symbol
            self.low, self.high = 2 * (self.low - away), 2 * (self.high - away) + 1
            self.value = 2 * (self.value - away) + next(self.bits, 0)
