"""What `evaluate` tells of what was read: rates, a table, and a file of reference beside hypothesis."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carousel.common.cli.streams import note, printable
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Hypothesis
from carousel.common.errors import UsageError
from carousel.common.model.file import Model
from carousel.common.text.alphabet import name_symbols
from carousel.common.text.metrics import Report, edits, error_rates, without

NOT_GIVEN = "(not given)"  # the group of samples without the key that --by asks for


@dataclass(frozen=True, slots=True)
class Item:
    """A sample and what was read of it."""

    sample: Sample
    hypothesis: Hypothesis

    @property
    def text(self) -> str:
        return self.hypothesis.text.strip()


def rates(items: Sequence[Item], ignored: Collection[str] = ()) -> Report:
    return error_rates(((item.sample.text, item.text) for item in items), ignored=ignored)


def rates_by(items: Iterable[Item], key: str, ignored: Collection[str] = ()) -> dict[str, Report]:
    """Rates apart for each value of a key of the manifest; speaker and writer are such keys too."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[value_of(item.sample, key)].append(item)
    return {value: rates(groups[value], ignored) for value in sorted(groups)}


def check_key(samples: Iterable[Sample], key: str, option: str = "--by") -> None:
    """A key that no sample has is told before the work, not after."""
    if all(value_of(sample, key) == NOT_GIVEN for sample in samples):
        raise UsageError(
            f"{option} {key}: no sample has this key; its values stand in the lines of the manifest"
        )


def value_of(sample: Sample, key: str) -> str:
    value = sample.group if key in ("speaker", "writer", "group") else sample.extra.get(key)
    if value is None:
        return NOT_GIVEN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def warn_of_unknown(items: Sequence[Item], model: Model, ignored: Collection[str]) -> None:
    """References with characters that the model cannot write count as errors, never as less text; say so."""
    lacks = model.alphabet.unknown
    told, caseless = rates(items, ignored), rates(items, [*ignored, "case"])
    of_case = 2 * caseless["cer"] < told["cer"]
    counted = [kind for kind in ignored if kind != "case"]
    unknown = [lacks(without(item.sample.text, counted)) for item in items]
    if of_case or "case" in ignored:  # letters that it writes in the other case are none to be named
        unknown = [{c for c in found if lacks(c.swapcase())} for found in unknown]
    if any(unknown):
        named = name_symbols(set().union(*unknown))
        note(f"the model cannot write {named}: errors in {sum(map(bool, unknown))} of the references")
    if of_case:
        note(
            "most of the errors are of case alone: without them (--ignore case) "
            f"{caseless['cer']:.2%} of the characters and {caseless['wer']:.2%} of the words are wrong"
        )


def hypotheses(items: Iterable[Item], suffix: str, ignored: Collection[str] = ()) -> str:
    """One line an item: as JSON, or as tab-separated columns below their names."""
    rows = [_row(item, ignored) for item in items]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    lines = ["\t".join(rows[0])] if rows else []
    lines += ["\t".join(" ".join(str(value).split()) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _row(item: Item, ignored: Collection[str]) -> dict[str, Any]:
    confidence = item.hypothesis.confidence
    said, read = (without(text, ignored).strip() for text in (item.sample.text, item.text))
    return {
        "sample": item.sample.where,
        "file": str(item.sample.source or ""),
        "reference": item.sample.text,
        "hypothesis": item.text,
        "char_errors": edits(said, read).errors,
        "word_errors": edits(said.split(), read.split()).errors,
        "confidence": None if confidence is None else round(confidence, 4),
        "score": round(item.hypothesis.score, 4),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report for people: a line for the characters and one for the words, of all and of each group."""
    failed = f", {report['failed']} failed" if report["failed"] else ""
    ignored = f", ignoring {' and '.join(report['ignored'])}" if report.get("ignored") else ""
    model = printable(str(report["model"]))
    lines = [f"{model}: {report['items']} items{failed}, {report['seconds']:.1f} s{ignored}", ""]
    cells = [("", "errors", "95 % interval", "of", "subst.", "ins.", "del."), *_lines("all", report)]
    for key, groups in report.get("by", {}).items():
        for value, group in groups.items():
            cells += _lines(printable(f"{key}={value}"), group)
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for name, *numbers in cells:
        lines.append(
            "  ".join(
                [name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]
            )
        )
    return "\n".join(lines)


def _lines(name: str, report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, rate in (("chars", "cer"), ("words", "wer")):
        counts = report[kind]
        low, high = report[f"{rate}_interval"]
        numbers = (str(counts[key]) for key in ("total", "substitutions", "insertions", "deletions"))
        yield (f"{name} {kind}", f"{report[rate]:.2%}", f"{low:.2%} – {high:.2%}", *numbers)
