"""Pen-Based Recognition of Handwritten Digits (UCI) to manifests: digit strings composed from one writer's
digits.

CORPUS is either a folder with train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz of composed strings, whose
splits are kept, or the UCI folder with pendigits-orig.tra and pendigits-orig.tes (unpack the .Z files with
`gzip -d`): then strings of 3 to 8 digits are composed here, each digit used once, in the order of writing.
The .tes writers are test; of the .tra writers every sixth is valid.
"""

import re
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.errors import InputError
from carousel.hwr.ink.file import Ink, parse_unipen
from carousel.recipes import command
from carousel.recipes.ink import SPLITS, prepare_manifests, write_splits

ORIGINALS = {"tra": "pendigits-orig.tra", "tes": "pendigits-orig.tes"}
VALID_EVERY = 6  # of the writers of the training part
SHORTEST, LONGEST = 3, 8  # digits in a string
GAP, GAP_SPREAD, RISE = (
    0.25,
    0.1,
    0.04,
)  # between digits, its deviation, and that of the baseline, in digit heights
SEGMENT = re.compile(r'^\.SEGMENT\s+DIGIT\s.*"(\d)"\s*$\s*^\.COMMENT\s+\d+\s+(\d+)', re.MULTILINE)


def prepare(arguments: Namespace) -> None:
    """Write the manifests. Raises InputError for a folder that holds neither form of the corpus."""
    corpus, output = arguments.corpus, arguments.output
    if not any((corpus / name).is_file() for name in ORIGINALS.values()):
        packed = [corpus / f"{name}.Z" for name in ORIGINALS.values() if (corpus / f"{name}.Z").is_file()]
        if packed:
            raise InputError(f"{packed[0]}: is still packed; unpack it with `gzip -d {packed[0].name}`")
        if not any((corpus / f"{name}.jsonl.gz").is_file() for name in SPLITS):
            names = ", ".join(ORIGINALS.values())
            raise InputError(
                f"{corpus}: holds neither {names} nor train.jsonl.gz; give the folder of the corpus"
            )
        prepare_manifests(arguments)
        return
    parts = {part: read_digits(corpus / name) for part, name in ORIGINALS.items()}
    held_out = set(sorted(parts["tra"])[VALID_EVERY - 1 :: VALID_EVERY])
    splits = {
        "train": [
            row for writer in parts["tra"] if writer not in held_out for row in rows(parts, "tra", writer)
        ],
        "valid": [row for writer in held_out for row in rows(parts, "tra", writer)],
        "test": [row for writer in parts["tes"] for row in rows(parts, "tes", writer)],
    }
    write_splits(output, splits)


def read_digits(path: Path) -> dict[int, list[tuple[str, Ink]]]:
    """Digits of a UCI file by writer, (digit, strokes) in the order of writing; y downwards."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError:
        raise InputError(f"{path}: is missing; CORPUS is the folder with both original files") from None
    digits = defaultdict(list)
    heads = list(SEGMENT.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=False):
        try:
            strokes = parse_unipen(text[head.end() : end])
        except InputError as error:
            line = text.count("\n", 0, head.start()) + 1
            raise InputError(f"{path}: the digit at line {line} is damaged ({error})") from None
        if strokes:
            digits[int(head[2])].append((head[1], strokes))
    if not digits:
        raise InputError(f"{path}: holds no digit; it should be the file pendigits-orig.* of UCI, unpacked")
    return dict(digits)


def rows(
    parts: dict[str, dict[int, list[tuple[str, Ink]]]], part: str, writer: int
) -> Iterator[dict[str, Any]]:
    """Strings composed from the digits of one writer; the same at each call."""
    digits = parts[part][writer]
    rng = np.random.default_rng([writer, len(part), ord(part[-1])])
    height = float(np.median([np.ptp(np.concatenate(strokes)[:, 1]) for _, strokes in digits])) or 1.0
    start = 0
    while len(digits) - start >= SHORTEST:
        count = int(rng.integers(SHORTEST, LONGEST + 1))
        group = digits[start : start + count]
        start += count
        if len(group) >= SHORTEST:
            text = "".join(digit for digit, _ in group)
            yield {
                "strokes": compose([ink for _, ink in group], height, rng),
                "text": text,
                "writer": f"{part}{writer}",
            }


def compose(inks: Sequence[Ink], height: float, rng: np.random.Generator) -> Ink:
    """Strokes of several inks beside each other, on one baseline but for some unevenness, rounded to whole
    units."""
    strokes: Ink = []
    right = 0.0
    for ink in inks:
        points = np.concatenate(ink)
        left, bottom = points[:, 0].min(), points[:, 1].max()
        gap = max(0.05, rng.normal(GAP, GAP_SPREAD)) * height
        shift = np.array([right + gap - left, rng.normal(0, RISE) * height - bottom])
        strokes += [np.rint(stroke + shift).astype(np.int64) for stroke in ink]
        right += gap + float(np.ptp(points[:, 0]))
    return strokes


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.pendigits.prepare`."""
    parser = command.parser("carousel.recipes.pendigits.prepare", __doc__, "data/pendigits")
    return command.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
