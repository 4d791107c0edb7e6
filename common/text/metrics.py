"""Error rates of transcripts: characters and words, with counts and confidence intervals.

Rates are totals over totals (all edits of all items / all symbols of all references), never a mean of the
rates of items or batches, which would give a one-word line the weight of a ten-word one.
"""

import unicodedata
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypedDict, TypeVar

import numpy as np

from carousel.common.text.alphabet import normalise

T = TypeVar("T", bound=Hashable)

RESAMPLES = 1000  # of the bootstrap
LEVEL = 0.95  # of the intervals
BLOCK = 4_000_000  # resampled weights held at once (numbers, not bytes): bounds the memory of a huge test set


class Edits(NamedTuple):
    """How a hypothesis differs from its reference: one smallest set of edits, and the reference's length."""

    substitutions: int
    insertions: int
    deletions: int
    length: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.insertions + self.deletions


class Counts(TypedDict):
    total: int  # symbols of the references
    substitutions: int
    insertions: int
    deletions: int


class Report(TypedDict):
    """Error rates of a set of items; a plain dict that json.dump takes as it is."""

    items: int
    cer: float
    cer_interval: list[float]  # [low, high], 95 %
    wer: float
    wer_interval: list[float]
    chars: Counts
    words: Counts


def without(text: str, ignored: Collection[str]) -> str:
    """`text` in NFC, without what is "case" or "punctuation" in it if that is to be ignored.

    Dashes and slashes part words, so they become spaces; other punctuation goes.
    """
    if "case" in ignored:
        text = text.casefold()
    text = normalise(text)
    if "punctuation" in ignored:
        kinds = ((c, unicodedata.category(c)) for c in text)
        kept = (" " if kind == "Pd" or c in "/\\_" else "" if kind[0] == "P" else c for c, kind in kinds)
        text = " ".join("".join(kept).split())
    return text


def edits(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """The smallest number of edits from reference to hypothesis (Levenshtein), counted by kind.

    Of several smallest sets the one that jiwer and rapidfuzz report is counted (deletion before insertion
    before substitution, from the end). Works on strings (characters) and on lists (words).
    """
    substitutions = insertions = deletions = 0
    for column, row in _steps(reference, hypothesis):
        if row < 0:
            deletions += 1
        elif column < 0:
            insertions += 1
        else:
            substitutions += reference[column] != hypothesis[row]
    return Edits(substitutions, insertions, deletions, len(reference))


def matched(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[bool]:
    """Whether each symbol (word) of the hypothesis is kept from the reference by the edits of `edits`."""
    left, right = _common_ends(reference, hypothesis)
    kept = [row < left or row >= len(hypothesis) - right for row in range(len(hypothesis))]
    for column, row in _steps(reference, hypothesis):
        if column >= 0 and row >= 0:
            kept[row] = reference[column] == hypothesis[row]
    return kept


def aligned(reference: Sequence[T], hypothesis: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """The symbols (words) of both side by side, as the edits of `edits` pair them, from the beginning; None
    where one has none."""
    left, right = _common_ends(reference, hypothesis)
    middle = [
        (reference[column] if column >= 0 else None, hypothesis[row] if row >= 0 else None)
        for column, row in _steps(reference, hypothesis)
    ][::-1]
    end = reference[len(reference) - right :]
    return [*zip(reference[:left], hypothesis[:left], strict=True), *middle, *zip(end, end, strict=True)]


def _steps(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """The alignment between the common ends, from its end: (index in the reference, index in the hypothesis),
    with -1 for none."""
    left, right = _common_ends(reference, hypothesis)
    ref = reference[left : len(reference) - right]
    hyp = hypothesis[left : len(hypothesis) - right]
    column, row = len(ref), len(hyp)
    plus, minus = _bit_rows(ref, hyp) if ref and hyp else ([], [])
    while column and row:
        bit = 1 << (column - 1)
        if plus[row - 1] & bit:
            column -= 1
            yield left + column, -1
            continue
        row -= 1
        if row and minus[row - 1] & bit:
            yield -1, left + row
        else:
            column -= 1
            yield left + column, left + row
    yield from ((left + index, -1) for index in reversed(range(column)))
    yield from ((-1, left + index) for index in reversed(range(row)))


def _common_ends(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, int]:
    """Lengths of the common prefix and of the common suffix after it."""
    shorter = min(len(a), len(b))
    left = 0
    while left < shorter and a[left] == b[left]:
        left += 1
    right = 0
    while right < shorter - left and a[-1 - right] == b[-1 - right]:
        right += 1
    return left, right


def _bit_rows(ref: Sequence[Hashable], hyp: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """The Levenshtein matrix as bit vectors, one Python integer a row: Myers 1999 in the form of Hyyrö 2003.

    Neighbours in the matrix differ by -1, 0 or +1, so a row of it is two integers: bit i of plus[j] (of
    minus[j]) says that D[j+1][i+1] - D[j+1][i] is +1 (-1). A row costs a dozen operations on integers,
    whatever its length.
    """
    matches: dict[Hashable, int] = {}
    for position, symbol in enumerate(ref):
        matches[symbol] = matches.get(symbol, 0) | 1 << position
    full = (1 << len(ref)) - 1
    vp, vn = full, 0
    plus, minus = [], []
    for symbol in hyp:
        match = matches.get(symbol, 0)
        d0 = ((((match & vp) + vp) ^ vp) | match | vn) & full
        hp = vn | (full & ~(d0 | vp))
        hn = d0 & vp
        hp = (hp << 1) | 1
        vp = ((hn << 1) | ~(d0 | hp)) & full
        vn = hp & d0
        plus.append(vp)
        minus.append(vn)
    return plus, minus


def error_rates(pairs: Iterable[tuple[str, str]], seed: int = 0, ignored: Collection[str] = ()) -> Report:
    """Character and word error rates of (reference, hypothesis) pairs.

    Both sides are NFC-normalised and stripped at the ends; characters are code points, words are what spaces
    part. Case, punctuation and inner spaces count, but for what is in `ignored` (see `without`).
    The intervals are 95 % percentile bootstrap intervals over items (1,000 resamples, seeded). What was read
    from an empty reference counts as insertions; if all references are empty, the total is taken as 1, so
    that the rate is a number, and 0 only when nothing was read.
    """
    chars, words = [], []
    for reference, hypothesis in pairs:
        ref = without(reference, ignored).strip()
        hyp = without(hypothesis, ignored).strip()
        chars.append(edits(ref, hyp))
        words.append(edits(ref.split(), hyp.split()))
    char_counts, word_counts = _table(chars), _table(words)
    (cer_low, cer_high), (wer_low, wer_high) = _intervals(char_counts, word_counts, seed)
    return Report(
        items=len(chars),
        cer=_rate(char_counts.sum(0)),
        cer_interval=[cer_low, cer_high],
        wer=_rate(word_counts.sum(0)),
        wer_interval=[wer_low, wer_high],
        chars=_counts(char_counts),
        words=_counts(word_counts),
    )


def _table(items: list[Edits]) -> np.ndarray:
    """(items, 4): substitutions, insertions, deletions, length."""
    return np.array(items, dtype=np.int64).reshape(-1, 4)


def _rate(totals: np.ndarray) -> float:
    return int(totals[:3].sum()) / max(int(totals[3]), 1)


def _counts(table: np.ndarray) -> Counts:
    substitutions, insertions, deletions, total = (int(n) for n in table.sum(0))
    return Counts(total=total, substitutions=substitutions, insertions=insertions, deletions=deletions)


def _intervals(chars: np.ndarray, words: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """Bootstrap intervals of the character and the word error rate, from the same resamples of the items."""
    items = len(chars)
    if not items:
        return [(0.0, 0.0), (0.0, 0.0)]
    rng = np.random.default_rng(seed)
    columns = [chars[:, :3].sum(1), chars[:, 3], words[:, :3].sum(1), words[:, 3]]
    # (items, 4); BLAS takes floats only, which are exact below 2^53
    both = np.stack(columns, axis=1).astype(np.float64)
    block = max(1, BLOCK // items)
    sums = []
    for first in range(0, RESAMPLES, block):
        weights = rng.multinomial(items, np.full(items, 1 / items), size=min(block, RESAMPLES - first))
        sums.append(weights.astype(np.float64) @ both)
    resampled = np.concatenate(sums)  # (RESAMPLES, 4)
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    low_high = []
    for errors, lengths in ((resampled[:, 0], resampled[:, 1]), (resampled[:, 2], resampled[:, 3])):
        low, high = np.percentile(errors / np.maximum(lengths, 1), tails)
        low_high.append((float(low), float(high)))
    return low_high
