"""What a user's data is: its samples by split, how much it is, and what was left out."""

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from carousel.common.data.manifest import Sample, check, read_manifest, write_manifest
from carousel.common.errors import InputError, UsageError
from carousel.common.text.alphabet import name_symbols
from carousel.common.train.own.splits import Row, Split, group_of, split

DOMAINS = {"audio": "speech", "image": "image", "strokes": "ink"}  # key of a row -> domain
TRIED = 40  # recordings at most that are measured where no sample says how long it is
SHOWN = 60  # symbols at most that are listed


@dataclass(frozen=True)
class Own:
    """A user's data as a training takes it."""

    domain: str
    split: Split
    amount: float  # of all in train: hours of speech, else samples
    left_out: tuple[str, ...]
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
            *(f"left out: {line}" for line in self.left_out),
        ]

    def size(self, part: str) -> str:
        rows = self.split.parts[part]
        groups = self.groups(part)
        kind = "speaker" if self.domain == "speech" else "group"
        people = f", {groups} {kind}{'s' * (groups != 1)}" if groups else ""
        if self.domain == "speech":
            hours = self.amount * len(rows) / max(len(self.split.parts["train"]), 1)
            known = [row["duration"] for row in rows if row.get("duration")]
            hours = sum(known) / 3600 if len(known) == len(rows) else hours
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


def load(paths: Sequence[str], domains: Sequence[str], seconds: Callable[[Sample], float]) -> Own:
    """Reads and splits manifests. domains: that the command trains; seconds: the length of a recording.

    Raises InputError for what cannot be used, and UsageError for data of another command.
    """
    where = ", ".join(paths)
    for name in paths:
        if not Path(name).exists():
            raise InputError(f"{name}: there is no such file or folder; give data=PATH of your own data")
    samples, problems = check(sample for name in paths for sample in _read(Path(name)))
    rows = [_row(sample) for sample in samples]
    kinds = sorted({key for row in rows for key in DOMAINS if key in row})
    if len(kinds) != 1:
        what = f"holds {' and '.join(kinds)}" if kinds else "holds no sample that can be used"
        first = f" ({'; '.join(problems.lines())})" if problems.counts else ""
        raise InputError(f"{where}: {what}{first}; give samples of one kind, each with its text")
    domain = DOMAINS[kinds[0]]
    if domain not in domains:
        other = "asr" if domain == "speech" else "hwr"
        raise UsageError(f"{where}: holds what {other} trains on; use {other} train")
    try:
        parts = split(rows)
    except InputError as error:
        raise InputError(f"{where}: {error}; give more") from None
    train = parts.parts["train"]
    amount = _hours(train, seconds) if domain == "speech" else float(len(train))
    return Own(domain, parts, amount, tuple(problems.lines()), "manifest")


def samples_of(rows: Sequence[Row]) -> list[Sample]:
    """The samples that rows stand for: by way of a manifest, so that there is one reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        write_manifest(path, rows)
        # the folder goes, and paths are relative to it
        return [
            replace(sample, audio=row.get("audio"), image=row.get("image"))
            for sample, row in zip(read_manifest(path), rows, strict=True)
        ]


def _read(path: Path) -> list[Sample]:
    if path.is_dir():
        named = {name: path / f"{name}.jsonl" for name in ("train", "valid", "test")}
        found = {n: p for n, p in ((n, _existing(p)) for n, p in named.items()) if p is not None}
        if "train" not in found:
            raise InputError(f"{path}: has no train.jsonl; give a manifest, or a folder with train.jsonl")
        return [_marked(sample, name) for name, file in found.items() for sample in read_manifest(file)]
    return list(read_manifest(path))


def _existing(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _marked(sample: Sample, name: str) -> Sample:
    sample.extra.setdefault("split", name)
    return sample


def _row(sample: Sample) -> Row:
    """The line of a manifest that a sample stands for."""
    key, source = next((key, value) for key in DOMAINS if (value := getattr(sample, key)) is not None)
    who = "speaker" if key == "audio" else "writer"
    row = {key: source, "text": sample.text, who: sample.group, "duration": sample.duration, **sample.extra}
    return {name: value for name, value in row.items() if value is not None}


def _hours(train: Sequence[Row], seconds: Callable[[Sample], float]) -> float:
    """Hours of the training rows; where some do not tell their durations, by the mean of others."""
    known = [float(row["duration"]) for row in train if row.get("duration")]
    if not known:
        some = samples_of(train[:: max(len(train) // TRIED, 1)])
        known = [length for sample in some if (length := _tried(seconds, sample))]
    return statistics.fmean(known or [0.0]) * len(train) / 3600


def _tried(seconds: Callable[[Sample], float], sample: Sample) -> float:
    try:
        return seconds(sample)
    except InputError:  # build_corpus names it
        return 0.0
