"""What the `prepare.py` of every corpus of line images shares: texts, rows, splits, the report, the command
line.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from carousel.common.data.manifest import write_manifest
from carousel.common.errors import InputError
from carousel.common.text.alphabet import name_symbols, normalise

Row = dict[str, Any]

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".webp",
    ".bmp",
    ".gif",
)  # in the order they are looked for

# What a pen does not tell apart is written with one character; every replacement is counted and printed.
TYPOGRAPHY = {
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{MODIFIER LETTER APOSTROPHE}": "'",
    "\N{PRIME}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{DOUBLE LOW-9 QUOTATION MARK}": '"',
    "\N{DOUBLE PRIME}": '"',
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{HORIZONTAL BAR}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{LATIN SMALL LIGATURE FF}": "ff",
    "\N{LATIN SMALL LIGATURE FI}": "fi",
    "\N{LATIN SMALL LIGATURE FL}": "fl",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": " ",
    "\N{SOFT HYPHEN}": "",
    "\N{ZERO WIDTH SPACE}": "",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "",
}


def write_like_a_pen(text: str, counts: Counter[str]) -> str:
    """NFC text, typographic variants replaced (each counted in `counts`), single spaces, none at the ends."""
    text = normalise(text)
    counts.update(character for character in text if character in TYPOGRAPHY)
    return " ".join("".join(TYPOGRAPHY.get(character, character) for character in text).split())


def replacements(counts: Counter[str]) -> list[str]:
    """One line of the report for each character that was replaced."""
    return [
        f"{count} × {name_symbols([old])} written as {TYPOGRAPHY[old]!r}"
        for old, count in counts.most_common()
    ]


def fault(row: Row) -> str | None:
    """Why a line cannot be used, or None: no picture, a picture that cannot be opened, no text, a control
    character.
    """
    from PIL import Image  # its header only: decoding every picture would take minutes

    if not row["text"].strip():
        return "empty text"
    if not row["text"].isprintable():
        return "text with a control character"
    if not Path(row["image"]).is_file():
        return "missing picture"
    try:
        with Image.open(row["image"]):
            return None
    except Exception:  # Pillow's decoders raise nearly anything on damaged files
        return "picture that cannot be opened"


def page_of(name: str) -> str:
    """The page in a line's name: all but its last part, if that is a number (`a01-000u-03` -> `a01-000u`),
    else itself.

    `p1_r1_l3`, `p1.line_3` and `p1_003` are lines of `p1_r1` or `p1`.
    """
    match = re.fullmatch(r"(.+?)[-_.](?:line[-_]?|[a-z]{0,2})\d+", name)
    return match[1] if match else name


def split_by_group(
    rows: Sequence[Row], group: Callable[[Row], str], valid: float, test: float
) -> dict[str, list[Row]]:
    """Rows to train, valid, test, no group on two sides: groups in the order of a hash of their names fill
    test, then valid, then train, so that the same corpus always gives the same split.

    With fewer than three groups the lines themselves are the groups. valid, test: shares of the lines, at
    least one group each (none for 0). Raises InputError where there are fewer than three lines.
    """
    if len({group(row) for row in rows}) < 3:
        group = _by_picture
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    if len(groups) < 3:
        raise InputError(f"only {len(rows)} lines: train, valid and test need at least one each")
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    splits: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for place, name in enumerate(order):
        left = len(order) - place  # groups that are not placed yet
        if _wanted(splits["test"], test * len(rows), groups[name]) and (left > 2 or not splits["test"]):
            splits["test"] += groups[name]
        elif _wanted(splits["valid"], valid * len(rows), groups[name]) and (left > 1 or not splits["valid"]):
            splits["valid"] += groups[name]
        else:
            splits["train"] += groups[name]
    return splits


def _wanted(split: Sequence[Row], target: float, group: Sequence[Row]) -> bool:
    """Whether the group brings the split nearer to its target; the first does, if there is a target."""
    return target > 0 and (not split or len(split) + len(group) / 2 <= target)


def _by_picture(row: Row) -> str:
    return str(Path(row["image"]).name)


def write_splits(output: Path, splits: Mapping[str, Iterable[Row]], keep: Sequence[str] = ("test",)) -> None:
    """Write OUTPUT/{split}.jsonl and print lines, writers and characters of each, and what was left out and
    why.

    Raises InputError when a split has no line that can be used, or when pictures are missing from a split in
    `keep`.
    """
    usable = {name: _usable(output, name, rows, name in keep) for name, rows in splits.items()}
    for name, (rows, left_out) in usable.items():
        path = output / f"{name}.jsonl"
        write_manifest(path, rows)
        writers = {row["writer"] for row in rows if row.get("writer")}
        characters = sum(len(row["text"]) for row in rows)
        print(f"{path}: {len(rows)} lines, {len(writers) or 'unknown'} writers, {characters} characters")
        for reason, count in left_out.most_common():
            print(f"  left out: {count} × {reason}")


def _usable(output: Path, name: str, rows: Iterable[Row], whole: bool) -> tuple[list[Row], Counter[str]]:
    good: list[Row] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        reason = fault(row)
        if reason and "picture" in reason and whole:
            raise InputError(f"{row['image']}: {reason}; get the corpus whole")
        if reason:
            left_out[reason] += 1
        else:
            good.append({key: value for key, value in row.items() if value is not None})
    if not good:
        why = ", ".join(f"{count} × {reason}" for reason, count in left_out.items()) or "there are none"
        raise InputError(f"{output / name}.jsonl: no line of this split can be used ({why})")
    return good, left_out
