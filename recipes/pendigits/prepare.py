"""Pen-Based Recognition of Handwritten Digits (UCI): strings of digits.

CORPUS is either a folder with train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz of composed strings, whose
splits are kept, or the UCI folder with pendigits-orig.tra and pendigits-orig.tes (unpack the .Z files with
`gzip -d`): then strings of 3 to 8 digits of one writer are composed here, each digit used once, in the order
of writing. The .tes writers are test; of the .tra writers every sixth is valid.
"""

import re
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from carousel.common.errors import InputError
from carousel.hwr.ink.file import Ink, parse_unipen
from carousel.recipes import ink
from carousel.recipes.splits import SPLITS, Row, hold_out, require

ORIGINALS = {"tra": "pendigits-orig.tra", "tes": "pendigits-orig.tes"}
VALID_EVERY = 6  # of the writers of the training part
SHORTEST, LONGEST = 3, 8  # digits in a string
GAP, GAP_SPREAD = 0.25, 0.1  # between digits, and its deviation, in digit heights
RISE = 0.04  # deviation of the baseline, in digit heights
SEGMENT = re.compile(r'^\.SEGMENT\s+DIGIT\s.*"(\d)"\s*$\s*^\.COMMENT\s+\d+\s+(\d+)', re.MULTILINE)


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a folder that holds neither form of the corpus."""
    corpus = arguments.corpus
    if not any((corpus / name).is_file() for name in ORIGINALS.values()):
        for name in ORIGINALS.values():
            if (corpus / f"{name}.Z").is_file():
                raise InputError(f"{corpus / name}.Z: is still packed; unpack it with `gzip -d {name}.Z`")
        if not any((corpus / f"{split}{ink.SUFFIX}").is_file() for split in SPLITS):
            names = ", ".join(ORIGINALS.values())
            raise InputError(
                f"{corpus}: holds neither {names} nor train.jsonl.gz; give the folder of the corpus"
            )
        ink.prepare(arguments)
        return
    train, test = (rows(part, read_digits(corpus / name)) for part, name in ORIGINALS.items())
    writers = sorted({row["writer"] for row in train}, key=lambda writer: int(writer.removeprefix("tra")))
    splits = hold_out(train, writers[VALID_EVERY - 1 :: VALID_EVERY])
    ink.write_splits(arguments.output, {**splits, "test": test})


def read_digits(path: Path) -> dict[int, list[tuple[str, Ink]]]:
    """Digits of a UCI file by writer, (digit, strokes) in the order of writing; y downwards."""
    require(path.parent, ORIGINALS.values())
    text = path.read_text(encoding="latin-1")
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
        raise InputError(f"{path}: holds no digit; give UCI's file pendigits-orig.*, unpacked")
    return dict(digits)


def rows(part: str, writers: Mapping[int, Sequence[tuple[str, Ink]]]) -> list[Row]:
    """Strings composed from the digits of each writer; the same at each call."""
    found: list[Row] = []
    for writer, digits in writers.items():
        rng = np.random.default_rng([writer, len(part), ord(part[-1])])
        height = float(np.median([np.ptp(np.concatenate(strokes)[:, 1]) for _, strokes in digits])) or 1.0
        start = 0
        while len(digits) - start >= SHORTEST:
            group = digits[start : start + int(rng.integers(SHORTEST, LONGEST + 1))]
            start += len(group)
            if len(group) >= SHORTEST:
                strokes = compose([strokes for _, strokes in group], height, rng)
                text = "".join(digit for digit, _ in group)
                found.append({"strokes": strokes, "text": text, "writer": f"{part}{writer}"})
    return found


def compose(inks: Sequence[Ink], height: float, rng: np.random.Generator) -> Ink:
    """Strokes of several inks beside each other, nearly on one baseline, rounded to whole units."""
    strokes: Ink = []
    right = 0.0
    for digit in inks:
        points = np.concatenate(digit)
        left, bottom = points[:, 0].min(), points[:, 1].max()
        gap = max(0.05, rng.normal(GAP, GAP_SPREAD)) * height
        shift = np.array([right + gap - left, rng.normal(0, RISE) * height - bottom])
        strokes += [np.rint(stroke + shift).astype(np.int64) for stroke in digit]
        right += gap + float(np.ptp(points[:, 0]))
    return strokes
