"""KenLM's binary files (Heafield 2011), those of the type `probing`, which build_binary makes by default.

Such a file has hash tables in place of n-grams: of each only a key of 64 bits, made of the key of the n-gram
without its first token and of that token. So the n-grams are found again by trying: one without its first
token and one without its last token, both known from the order below, and together a key that is in the table
or not. That all entries of all tables are found in the end shows that nothing was missed or made up.

The layout is that of KenLM's lm/binary_format.cc, lm/vocab.cc and lm/search_hashed.hh, version 5.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from carousel.common.errors import InputError
from carousel.common.language.ngram import BEGIN, END, UNKNOWN, NGrams

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
TYPES = ("probing", "rest probing", "trie", "quantized trie", "array trie", "quantized array trie")
MOST_PAIRS = 20_000_000_000  # tried for one order: a minute and a half, at 4.5 ns each
FACTOR, TOKEN_FACTOR = np.uint64(8978948897894561157), np.uint64(17894857484156487943)
WEIGHTS = np.dtype([("prob", "<f4"), ("backoff", "<f4")])
MIDDLE = np.dtype([("key", "<u8"), ("prob", "<f4"), ("backoff", "<f4")])
LONGEST = np.dtype([("key", "<u8"), ("prob", "<f4")])
VOCABULARY = np.dtype([("key", "<u8"), ("word", "<u4")])


class Order(NamedTuple):
    """The n-grams of one order, sorted by prefix and last token, as NGrams.build takes them."""

    prefix: np.ndarray  # (n-grams,) int64
    last: np.ndarray  # (n-grams,) int64
    suffix: np.ndarray  # (n-grams,) int64
    first: np.ndarray  # (n-grams,) uint64, KenLM's number of the first token
    key: np.ndarray  # (n-grams,) uint64


def read(path: Path) -> NGrams:
    """A model over words from a file of type `probing` that has its words in it (build_binary's default).

    Raises InputError for another type, a file without words, one that is too large and a damaged one.
    """
    data = np.memmap(path, np.uint8, "r")
    try:
        multiplier, counts, at = _header(data, path)
        words, tables = _parts(data, path, multiplier, counts, at)
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise InputError(f"{path}: is a damaged KenLM file ({error}); make or copy it again") from None
    return _build(path, words, tables)


def _header(data: np.ndarray, path: Path) -> tuple[np.float32, list[int], int]:
    """Multiplier of the hash tables' sizes, n-grams of each order, and where the header ends."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise InputError(
            f"{path}: is a KenLM file of another version or an unfinished one; give the ARPA file that it "
            "was made of"
        )
    at = _whole(len(MAGIC) + 1) + 32  # the rest of the sanity check: numbers as this machine writes them
    order, kind, with_words = int(data[at]), int(data[at + 8]), bool(data[at + 12])
    if kind != 0 or not with_words:
        what = "without its words" if kind == 0 else f"of type {TYPES[kind] if kind < len(TYPES) else kind}"
        raise InputError(
            f"{path}: is a KenLM file {what}, and only those of type probing with words are read; give the "
            "ARPA file that it was made of"
        )
    multiplier = np.frombuffer(data, "<f4", 1, at + 4)[0]
    counts = np.frombuffer(data, "<u8", order, at + 20).tolist()
    if order < 2:
        raise ValueError(f"order {order}")
    return multiplier, counts, _whole(at + 20 + 8 * order)


def _whole(size: int) -> int:
    """The next multiple of 8."""
    return -(-size // 8) * 8


def _parts(
    data: np.ndarray, path: Path, multiplier: np.float32, counts: list[int], at: int
) -> tuple[list[str], list[np.ndarray]]:
    """The words by KenLM's numbers, and the table of each order: first the weights of the words."""

    def take(kind: np.dtype, count: int) -> np.ndarray:
        nonlocal at
        found = np.frombuffer(data, kind, count, at)
        at += count * kind.itemsize
        return found

    def buckets(entries: int) -> int:
        return max(entries + 1, int(multiplier * np.float32(entries)))

    bound = int(np.frombuffer(data, "<u4", 1, at + 4)[0])
    at += 8
    take(VOCABULARY, buckets(counts[0]))
    tables = [take(WEIGHTS, counts[0] + 1)]
    tables += [take(MIDDLE, buckets(count)) for count in counts[1:-1]]
    tables.append(take(LONGEST, buckets(counts[-1])))
    words = bytes(data[at:]).decode("utf-8").split("\0")[:bound]
    if (
        "" in words
        or not 0 < len(words) == bound <= counts[0] + 1
        or words[0] != UNKNOWN
        or not {BEGIN, END} <= {*words}
    ):
        raise ValueError("its words are not whole")
    return words, tables


def _build(path: Path, words: list[str], tables: list[np.ndarray]) -> NGrams:
    special = [words.index(word) for word in (UNKNOWN, BEGIN, END)]
    rest = np.setdiff1d(np.arange(len(words)), special)
    theirs = np.concatenate([special, rest])  # (words,) KenLM's number of each of ours
    nothing = np.zeros(len(words), np.int64)
    number = theirs.astype(np.uint64)
    order = Order(nothing, np.arange(len(words)), nothing, number, number)
    found, weights = [order], [tables[0][theirs]]
    contexts = 1
    for table in tables[1:]:
        filled = table[table["key"] != 0]
        filled = filled[np.argsort(filled["key"])]
        below, order = order, _longer(path, order, filled["key"], contexts)
        contexts = len(below.key)
        if len(order.key) != len(filled):
            raise InputError(
                f"{path}: {len(filled) - len(order.key):,} n-grams of order {len(found) + 1} have no "
                "beginning or end in the order below; give the ARPA file that it was made of"
            )
        found.append(order)
        weights.append(filled[np.searchsorted(filled["key"], order.key)])
    ten = math.log(10)
    return NGrams.build(
        [words[k] for k in theirs],
        [(o.prefix, o.last, o.suffix) for o in found],
        [-np.abs(w["prob"].astype(np.float64)) * ten for w in weights],  # the sign is a flag of KenLM's
        [w["backoff"].astype(np.float64) * ten for w in weights[:-1]] + [np.zeros(len(weights[-1]))],
    )


def _longer(path: Path, below: Order, keys: np.ndarray, contexts: int) -> Order:
    """The n-grams one token longer than those of `below` whose keys are in the table.

    keys: (entries,) of the table, rising; contexts: n-grams of the order below `below`.
    """
    starts = np.searchsorted(below.prefix, np.arange(contexts + 1))  # those that begin with a context …
    by_suffix = np.argsort(below.suffix, kind="stable")  # … and those that end with it
    ends = np.searchsorted(below.suffix[by_suffix], np.arange(contexts + 1))
    pairs = int((np.diff(starts) * np.diff(ends)).sum())
    if pairs > MOST_PAIRS:
        raise InputError(
            f"{path}: is too large to be read as a KenLM file ({pairs:,} pairs of n-grams to try, at most "
            f"{MOST_PAIRS:,} are); give the ARPA file that it was made of"
        )
    with np.errstate(over="ignore"):
        code = (below.first[by_suffix] + np.uint64(1)) * TOKEN_FACTOR
    bits = max(6, int(math.log2(4 * len(keys) + 1)) + 1)  # 4 to 8 for each key: few are looked up in vain
    sieve = np.zeros((2, 1 << (bits - 6)), np.uint64)  # by the first bits of the keys, and by the last
    prefix, suffix = _try(below.key, code, by_suffix, starts, ends, np.array(keys), sieve, bits)
    order = np.lexsort((below.last[suffix], prefix))
    prefix, suffix = prefix[order], suffix[order]
    first = below.first[prefix]
    with np.errstate(over="ignore"):
        key = (below.key[suffix] * FACTOR) ^ ((first + np.uint64(1)) * TOKEN_FACTOR)
    return Order(prefix, below.last[suffix], suffix, first, key)


@numba.njit(cache=True)
def _try(key, code, by_suffix, starts, ends, keys, sieve, bits):  # type: ignore[no-untyped-def]
    """Numbers of prefix and suffix of each n-gram that is in the table."""
    shift, one, six, low = np.uint64(64 - bits), np.uint64(1), np.uint64(6), np.uint64(63)
    mask = (one << np.uint64(bits)) - one
    for k in keys:
        place = k >> shift
        sieve[0, place >> six] |= one << (place & low)
        place = k & mask
        sieve[1, place >> six] |= one << (place & low)
    prefix, suffix = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    count = 0
    for context in range(len(starts) - 1):
        for s in range(starts[context], starts[context + 1]):
            high = key[s] * FACTOR
            for i in range(ends[context], ends[context + 1]):
                wanted = high ^ code[i]
                place = wanted >> shift
                if not (sieve[0, place >> six] >> (place & low)) & one:
                    continue
                place = wanted & mask
                if not (sieve[1, place >> six] >> (place & low)) & one:
                    continue
                at = np.searchsorted(keys, wanted)
                if at < len(keys) and keys[at] == wanted and count < len(keys):
                    prefix[count], suffix[count] = by_suffix[i], s
                    count += 1
    return prefix[:count], suffix[:count]
