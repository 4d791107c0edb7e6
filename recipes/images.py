"""What the recipes for line images share: how texts are written, splits by a hash, and faults."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from carousel.common.cli.streams import show
from carousel.common.data.layouts.beside import page_of as page_of
from carousel.common.errors import InputError
from carousel.common.text.alphabet import name_symbols, normalise
from carousel.recipes import splits
from carousel.recipes.splits import SPLITS, Row

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif")  # in the order of preference

# What a pen does not tell apart is written with one character; every replacement is counted and printed.
TYPOGRAPHY = {
    character: written
    for written, characters in (
        ("'", "‘’ʼ′"),
        ('"', "“”„″"),
        ("-", "\N{HYPHEN}\N{NON-BREAKING HYPHEN}–—―\N{MINUS SIGN}"),
        ("...", "…"),
        ("ff", "\N{LATIN SMALL LIGATURE FF}"),
        ("fi", "\N{LATIN SMALL LIGATURE FI}"),
        ("fl", "\N{LATIN SMALL LIGATURE FL}"),
        (" ", "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"),
        ("", "\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"),
    )
    for character in characters
}


def write_like_a_pen(text: str, counts: Counter[str]) -> str:
    """NFC text, typographic variants replaced (each counted in `counts`), single spaces, none at the ends."""
    text = normalise(text)
    counts.update(character for character in text if character in TYPOGRAPHY)
    return " ".join("".join(TYPOGRAPHY.get(character, character) for character in text).split())


def report(left_out: Counter[str], replaced: Counter[str]) -> None:
    """Prints how many lines a recipe left out and why, and how many characters it replaced."""
    for reason, count in left_out.most_common():
        show(f"  left out: {count} × {reason}")
    for old, count in replaced.most_common():
        show(f"  {count} × {name_symbols([old])} written as {TYPOGRAPHY[old]!r}")


def split_by_group(
    rows: Sequence[Row], group: Callable[[Row], str], valid: float, test: float
) -> dict[str, list[Row]]:
    """Rows to train, valid and test, no group in two of them, and always the same for the same corpus.

    Groups in the order of a hash of their names fill test, then valid, then train.

    With fewer than three groups the lines themselves are the groups. valid, test: shares of the lines, at
    least one group each (none for 0). Raises InputError where there are fewer than three lines.
    """
    if len({group(row) for row in rows}) < 3:
        group = _picture_name
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    if len(groups) < 3:
        raise InputError(f"there are only {len(rows)} lines; train, valid and test need at least one each")
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for number, name in enumerate(order):
        left = len(order) - number  # groups that are in no split yet
        if _wanted(parts["test"], test * len(rows), groups[name]) and (left > 2 or not parts["test"]):
            parts["test"] += groups[name]
        elif _wanted(parts["valid"], valid * len(rows), groups[name]) and (left > 1 or not parts["valid"]):
            parts["valid"] += groups[name]
        else:
            parts["train"] += groups[name]
    return parts


def _wanted(split: Sequence[Row], target: float, group: Sequence[Row]) -> bool:
    """Whether the group brings the split nearer to its target; the first does, if there is a target."""
    return target > 0 and (not split or len(split) + len(group) / 2 <= target)


def _picture_name(row: Row) -> str:
    return Path(row["image"]).name


def write_splits(output: Path, parts: Mapping[str, Iterable[Row]], whole: Collection[str] = SPLITS) -> None:
    """Writes OUTPUT/{split}.jsonl and the report. A writer may be in several splits.

    Raises InputError for a split that has no line, or that is in `whole` and lacks a picture.
    """

    def fault(split: str, row: Row) -> str | None:
        if reason := splits.text_fault(row["text"]):
            return reason
        reason = _picture_fault(Path(row["image"]))
        if reason and split in whole:
            raise InputError(f"{row['image']}: {reason}; get the corpus whole")
        return reason

    splits.write_splits(output, parts, person=None, fault=fault)


def _picture_fault(path: Path) -> str | None:
    from PIL import Image  # late, for --help

    if not path.is_file():
        return "missing picture"
    try:
        with Image.open(path):  # reads the header only: decoding every picture would take minutes
            return None
    except Exception:  # Pillow's decoders raise nearly anything on damaged files
        return "picture that cannot be opened"
