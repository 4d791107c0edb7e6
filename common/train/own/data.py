"""What a user's data is: its samples by split, how much it is, and what was left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carousel.common.data.layouts import Row, group_of
from carousel.common.data.manifest import Sample, as_sample, write_manifest
from carousel.common.domain import Domain, read_data
from carousel.common.errors import InputError
from carousel.common.text.alphabet import name_symbols
from carousel.common.train.own.splits import Split, split

SHOWN = 60  # symbols at most that are listed


@dataclass(frozen=True)
class Own:
    """A user's data as a training takes it."""

    domain: str
    split: Split
    amount: float  # of all in train: hours of speech, else samples
    left_out: tuple[str, ...]
    notes: tuple[str, ...]  # what was decided in reading
    layout: str

    def texts(self, part: str) -> list[str]:
        return [str(row["text"]) for row in self.split.parts.get(part, [])]

    def groups(self, part: str) -> int:
        return len({group_of(row) for row in self.split.parts[part]} - {None})

    def report(self) -> list[str]:
        """What was found, in lines."""
        parts = ", ".join(f"{name} {self.size(name)}" for name in self.split.parts)
        symbols = Counter("".join(self.texts("train")))
        rare = [symbol for symbol, count in symbols.items() if count < 3]
        listed = "".join(sorted(symbols)) if len(symbols) <= SHOWN else ""
        return [
            f"data: {self.layout}; {parts}",
            f"split: {self.split.how} (SHA-256 of the names, so always alike)",
            f"symbols: {len(symbols)}{' ' * bool(listed)}{listed}"
            + (f"; seldom: {name_symbols(rare[:8])}{' …' * (len(rare) > 8)}" if rare else ""),
            *(f"note: {line}" for line in self.notes),
            *(f"left out: {line}" for line in self.left_out),
        ]

    def size(self, part: str) -> str:
        rows = self.split.parts[part]
        groups = self.groups(part)
        kind = "speaker" if self.domain == "speech" else "group"
        people = f", {groups} {kind}{'s' * (groups != 1)}" if groups else ""
        if self.domain == "speech":
            hours = sum(float(row.get("duration", 0.0)) for row in rows) / 3600
            long = f"{hours:.2f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
            return f"{len(rows)} recordings ({long}{people})"
        return (
            f"{len(rows)} {'lines' if self.domain == 'image' else 'samples'}{people and f' ({people[2:]})'}"
        )

    def write(self, folder: Path) -> dict[str, str]:
        """Writes a manifest of each part into `folder`; returns their paths."""
        paths = {name: folder / f"{name}.jsonl" for name in self.split.parts}
        for name, path in paths.items():
            write_manifest(path, self.split.parts[name])
        return {name: str(path) for name, path in paths.items()}


def load(paths: Sequence[str], domains: Sequence[Domain]) -> Own:
    """Reads and splits folders in any layout, and manifests. domains: that the command trains.

    Raises InputError for what cannot be used.
    """
    where = ", ".join(paths)
    read = [read_data(Path(path), domains) for path in paths]
    names = {domain.name for domain, _ in read}
    if len(names) > 1:
        raise InputError(f"{where}: hold {' and '.join(sorted(names))}; give samples of one kind")
    rows = [row for _, found in read for row in found.rows]
    try:
        parts = split(rows)
    except InputError as error:
        raise InputError(f"{where}: {error}; give more") from None
    train = parts.parts["train"]
    hours = sum(float(row.get("duration", 0.0)) for row in train) / 3600
    domain = read[0][0].name
    layout = ", ".join(dict.fromkeys(found.layout for _, found in read))
    left_out = [fault for _, found in read for fault in found.faults()]
    notes = [note for _, found in read for note in found.notes]
    amount = hours if domain == "speech" else float(len(train))
    return Own(domain, parts, amount, (*left_out,), (*notes,), layout)


def samples_of(rows: Sequence[Row]) -> list[Sample]:
    """The samples that rows stand for."""
    return [as_sample(row, Path(), str(row.get("audio", row.get("image", "")))) for row in rows]
