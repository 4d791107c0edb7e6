"""What the recipes share: files of a corpus, its rows in train, valid and test, and the report."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from carousel.common.cli.streams import show
from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.common.errors import InputError
from carousel.common.text.lines import read_lines

Row = dict[str, Any]  # one sample, as a line of a manifest
Fault = Callable[[str, Row], str | None]  # split, row -> why the row cannot be used

SPLITS = ("train", "valid", "test")


def require(folder: Path, names: Iterable[str]) -> None:
    """Raises InputError for the first file of a corpus that is not in its folder."""
    names = list(names)
    for name in names:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: is missing; CORPUS is the folder that holds {', '.join(names)}"
            )


def find_file(stem: Path, endings: Iterable[str]) -> Path | None:
    """The file with the first of these endings that is there; `stem` is its path without the ending."""
    paths = (stem.with_name(stem.name + ending) for ending in endings)
    return next((path for path in paths if path.is_file()), None)


def text_lines(path: Path) -> list[str]:
    """Lines of a text file of the corpus, without empty ones. Raises InputError if it cannot be read."""
    if not path.is_file():
        raise InputError(f"{path}: is missing; get the corpus whole")
    return [line.strip() for _, line in read_lines(path, "list of the corpus") if line.strip()]


def listed_images(manifest: Path) -> Iterator[Row]:
    """Rows of a manifest of line images."""
    for sample in read_manifest(manifest):
        if sample.image is None:
            raise InputError(f'{sample.where}: has no "image"; this recipe is for line images')
        row = {"image": sample.image, "text": sample.text, "writer": sample.group, **sample.extra}
        yield {key: value for key, value in row.items() if value is not None}


def _kind(row: Row) -> str:
    return "speaker" if "audio" in row else "writer"


def group_of(row: Row) -> str:
    """Who speaks or writes; empty if unknown."""
    return str(row.get(_kind(row)) or "")


def hold_out(
    rows: Iterable[Row], held_out: Collection[str], person: Callable[[str], str] = str
) -> dict[str, list[Row]]:
    """Rows of the held-out persons as valid, the others as train. person: as for `write_splits`."""
    splits: dict[str, list[Row]] = {"train": [], "valid": []}
    for row in rows:
        splits["valid" if person(group_of(row)) in held_out else "train"].append(row)
    return splits


def write_splits(
    output: Path,
    splits: Mapping[str, Iterable[Row]],
    person: Callable[[str], str] | None = str,
    fault: Fault = lambda split, row: None,
    suffix: str = ".jsonl",
) -> None:
    """Writes OUTPUT/{split}.jsonl, and reports what each holds, and what was left out and why.

    person: speaker or writer -> who that is; None where one person may be in several splits.
    Raises InputError, before anything is written, if a split has no row that can be used, or a person is in
    two splits.
    """
    usable = {output / f"{name}{suffix}": _usable(rows, name, fault) for name, rows in splits.items()}
    owner: dict[str, Path] = {}
    for path, (rows, left_out) in usable.items():
        if not rows:
            why = ", ".join(_counted(left_out)) or "there is none"
            raise InputError(f"{path}: no sample of this split can be used ({why}); get the corpus whole")
        people = {person(who) for row in rows if (who := group_of(row))} if person else set()
        for who in sorted(people & owner.keys()):
            kind, other = _kind(rows[0]), owner[who].name.removesuffix(suffix)
            raise InputError(f"{path}: {kind} {who} is in {other} as well; splits must not share {kind}s")
        owner |= dict.fromkeys(people, path)
    for path, (rows, left_out) in usable.items():
        write_manifest(path, rows)
        show("\n  left out: ".join([f"{path}: {_summary(rows)}", *_counted(left_out)]))


def _usable(rows: Iterable[Row], split: str, fault: Fault) -> tuple[list[Row], Counter[str]]:
    """The rows without fault, and how often each fault occurs."""
    usable: list[Row] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        if reason := fault(split, row):
            left_out[reason] += 1
        else:
            usable.append(row)
    return usable, left_out


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{count} × {what}" for what, count in counts.most_common()]


def _summary(rows: list[Row]) -> str:
    people = len({group_of(row) for row in rows} - {""}) or "unknown"
    if "duration" in rows[0]:
        size = f"{sum(row['duration'] for row in rows) / 3600:.2f} hours"
    else:
        size = f"{sum(len(row['text']) for row in rows)} characters"
    return f"{len(rows)} samples, {people} {_kind(rows[0])}s, {size}"


def text_fault(text: str) -> str | None:
    """Why a text cannot be learnt from, or None."""
    if not text.strip():
        return "empty text"
    return None if text.isprintable() else "text with a control character"
