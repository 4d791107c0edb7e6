"""What of a reading is told in a report: which errors are made, of what, and on which samples."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from carousel.common.data.manifest import Sample
from carousel.common.decoding import Hypothesis
from carousel.common.text.metrics import LEVEL, RESAMPLES, aligned, edits, error_rates, without

LENGTHS = (10, 20, 40, 80, 160)  # characters of a reference, where the bins of lengths end
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Row:
    """What was read of a sample. Counts are of edits, and of characters and words of the reference."""

    place: str  # its file, or where it stands
    reference: str
    text: str
    confidence: float | None
    group: str | None  # who spoke or wrote
    char_errors: int
    chars: int
    word_errors: int
    words: int

    @property
    def rate(self) -> float:
        return self.char_errors / max(self.chars, 1)

    @property
    def key(self) -> tuple[str, str]:
        """By which two reports know the same sample."""
        return self.place.rpartition("/")[2], self.reference


def row(sample: Sample, hypothesis: Hypothesis, ignored: Collection[str] = ()) -> Row:
    said, read = (without(text, ignored).strip() for text in (sample.text, hypothesis.text))
    chars, words = edits(said, read), edits(said.split(), read.split())
    sure = hypothesis.confidence
    return Row(
        place=os.path.normpath(sample.source) if sample.source else sample.where,
        reference=said,
        text=read,
        confidence=None if sure is None else round(sure, 4),
        group=sample.group,
        char_errors=chars.errors,
        chars=chars.length,
        word_errors=words.errors,
        words=words.length,
    )


def rates(rows: Iterable[Row]) -> dict[str, Any]:
    """Error rates (common.text.metrics), and the share of samples without an error."""
    rows = list(rows)
    right = sum(not row.char_errors for row in rows) / max(len(rows), 1)
    return {**error_rates((row.reference, row.text) for row in rows), "right": right}


def confusions(rows: Iterable[Row], words: bool = False) -> list[tuple[str, str, int]]:
    """What stands in the reference, what was read in its place, and how often, the most frequent first.

    Nothing stands for what was inserted or left out."""
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        sides = (row.reference.split(), row.text.split()) if words else (row.reference, row.text)
        found.update((said or "", read or "") for said, read in aligned(*sides) if said != read)
    return [(said, read, count) for (said, read), count in found.most_common()]


def by_bin(rows: Iterable[Row], value: Callable[[Row], float | None], ends: Sequence[float]) -> list[Any]:
    """Rates in the bins of a value: (from, to, rates), from the lowest; rows without it are left out."""
    bins: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if (found := value(row)) is not None:
            bins[int(np.searchsorted(ends, found, side="right"))].append(row)
    edges = [None, *ends, None]
    return [(edges[k], edges[k + 1], rates(bins[k])) for k in sorted(bins)]


def by_group(rows: Iterable[Row]) -> list[tuple[str, dict[str, Any]]]:
    """Rates of each speaker or writer, the most errors first; none where there is but one."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.group is not None:
            groups[row.group].append(row)
    found = [(group, rates(own)) for group, own in groups.items()]
    return sorted(found, key=lambda one: -one[1]["cer"]) if len(found) > 1 else []


def worst(rows: Iterable[Row], count: int) -> list[Row]:
    """The rows with the most wrong characters for their length, the worst first."""
    return sorted((row for row in rows if row.char_errors), key=lambda row: (-row.rate, -row.chars))[:count]


def compared(rows: Sequence[Row], before: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """The samples that two reports share: rates then and now, and their differences.

    The intervals of the differences are 95 % percentile bootstrap intervals over the samples, paired.
    """
    known = {row.key: row for row in before}
    pairs = [(known[row.key], row) for row in rows if row.key in known]
    if not pairs:
        return {"items": 0}
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=RESAMPLES)
    found: dict[str, Any] = {"items": len(pairs)}
    for name, errors, total in (("cer", "char_errors", "chars"), ("wer", "word_errors", "words")):
        counts = np.array([[getattr(then, errors), getattr(now, errors)] for then, now in pairs], float)
        lengths = np.array([getattr(now, total) for _, now in pairs], float)
        resampled = (weights @ np.diff(counts, axis=1)[:, 0]) / np.maximum(weights @ lengths, 1)
        before_rate, now_rate = counts.sum(axis=0) / max(lengths.sum(), 1)
        tails = np.percentile(resampled, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        found[name] = {"before": float(before_rate), "now": float(now_rate), "interval": tails.tolist()}
    changed = sorted(pairs, key=lambda pair: pair[1].char_errors - pair[0].char_errors)
    found["better"] = [pair for pair in changed if pair[1].char_errors < pair[0].char_errors]
    found["worse"] = [pair for pair in changed[::-1] if pair[1].char_errors > pair[0].char_errors]
    return found


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def from_json(values: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Raises TypeError and AttributeError for what `as_json` does not give."""
    return [Row(**value) for value in values]
