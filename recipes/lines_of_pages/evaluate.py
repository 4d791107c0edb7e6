"""The line finder measured on pages: python -m carousel.recipes.lines_of_pages.evaluate FOLDER

Found lines are compared with those of ALTO or PAGE by their boxes: what overlaps most is a pair, from an
intersection over union of 0.5 on. Characters: the edits of pairs, and all characters of what has no partner;
beside them those of the same model on the lines as the file cuts them. Order is right where the lines of each
region of the file come in its order. With --photo the pages are photographed first (phone.py); boxes are
compared on the page.
"""

from __future__ import annotations

import sys
import time
import zlib
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

import carousel
from carousel.common import markup
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.errors import InputError
from carousel.common.model.file import Model
from carousel.common.recogniser import transcribe
from carousel.common.text.metrics import edits
from carousel.hwr.image.file import read_image
from carousel.hwr.page.find import find_lines
from carousel.hwr.page.layout import Line, Page
from carousel.hwr.page.lines import prepare_page
from carousel.hwr.page.read import open_page
from carousel.recipes.lines_of_pages.phone import photographed

LEAST = 0.5  # intersection over union of a pair
UNREADABLE = "><"  # crossed out beyond reading, in Copiste's texts: not counted

OPTIONS = {
    "folder": {"help": "ALTO or PAGE files, each with its picture beside it"},
    "--model": {"default": "lines", "help": "what reads the lines (default: lines)"},
    "--photo": {"action": "store_true", "help": "photograph each page first, from a seed that its name is"},
    "--only-lines": {"action": "store_true", "help": "find lines and do not read them"},
    "--each": {"action": "store_true", "help": "show a row for each page as well"},
}


@dataclass(frozen=True)
class Score:
    """Of a page, or of several: everything is a count but the seconds."""

    found: int = 0
    known: int = 0
    pairs: int = 0
    ordered: int = 0  # pages
    pages: int = 0
    characters: int = 0
    errors: int = 0  # on the lines that were found
    errors_known: int = 0  # on the lines of the file
    finding: float = 0.0  # seconds of the processor
    reading: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        text = f"precision {self.pairs}/{self.found} = {self.pairs / max(self.found, 1):.1%}, "
        text += f"recall {self.pairs}/{self.known} = {self.pairs / max(self.known, 1):.1%}, "
        text += f"order {self.ordered}/{self.pages}"
        if self.characters:
            rates = self.errors / self.characters, self.errors_known / self.characters
            ratio = rates[0] / max(rates[1], 1e-9)
            text += f", CER {rates[0]:.2%} (lines of the file {rates[1]:.2%}, ratio {ratio:.2f})"
        seconds = self.finding / max(self.pages, 1), self.reading / max(self.pages, 1)
        return text + f", {seconds[0]:.2f} + {seconds[1]:.2f} s a page"


def prepare(arguments: Namespace) -> None:
    """Shows the figures. Raises InputError where there is no page."""
    files = sorted(arguments.folder.rglob("*.xml"))
    if not files:
        raise InputError(f"{arguments.folder}: there is no ALTO or PAGE file in this folder")
    model = None if arguments.only_lines else carousel.load(arguments.model).model
    total = Score()
    for file in files:
        score = measured(file, model, arguments.photo)
        total += score
        if arguments.each:
            show(f"{file.stem}: {score}")
    show(f"{len(files)} pages: {total}")


def measured(file: Path, model: Model | None, photo: bool = False) -> Score:
    """The score of the page of an ALTO or PAGE file. model: reads the lines, if there is one."""
    known, picture = open_page(file)
    grey = read_image(picture)
    start = time.process_time()
    if photo:
        shot = photographed(grey, np.random.default_rng(zlib.crc32(file.stem.encode())))
        start = time.process_time()
        found = find_lines(shot.grey)
        boxes = [replace(line, polygon=shot.on_page(line.polygon)).box for line in found.lines]
    else:
        found = find_lines(grey)
        boxes = [line.box for line in found.lines]
    seconds = time.process_time() - start
    pairs = paired(boxes, [line.box for line in known.lines])
    ordered = int(is_ordered(pairs, regions(file), known.lines))
    score = Score(len(boxes), len(known.lines), len(pairs), ordered, pages=1, finding=seconds)
    if model is None:
        return score
    start = time.process_time()
    read = texts(shot.grey if photo else grey, found, model)
    seconds = time.process_time() - start
    return replace(score, reading=seconds, **counted(read, texts(grey, known, model), known.lines, pairs))


def paired(found: Sequence[Sequence[float]], known: Sequence[Sequence[float]]) -> dict[int, int]:
    """From the number of a box (left, top, right, bottom) to that of its partner, the best first."""
    one, other = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (found, known))
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    overlap = shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-9)
    pairs = {}
    while overlap.size and overlap.max() >= LEAST:
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs[int(i)] = int(j)
        overlap[i], overlap[:, j] = 0, 0
    return pairs


def regions(file: Path) -> dict[str, int]:
    """From the id of a line to the number of its region."""
    blocks = [e for e in markup.parse(file.read_bytes()).iter() if markup.tag(e).startswith("Text")]
    blocks = [block for block in blocks if markup.tag(block) in ("TextBlock", "TextRegion")]
    lines = ((n, line) for n, block in enumerate(blocks) for line in block if markup.tag(line) == "TextLine")
    return {line.get("ID") or line.get("id") or "": number for number, line in lines}


def is_ordered(pairs: dict[int, int], region: dict[str, int], lines: Sequence[Line]) -> bool:
    """Whether the lines that were found come in the order that they have in their regions."""
    order: dict[int | None, list[int]] = {}
    for _, known in sorted(pairs.items()):
        order.setdefault(region.get(lines[known].id or ""), []).append(known)
    return all(a < b for numbers in order.values() for a, b in pairwise(numbers))


def texts(grey: np.ndarray, page: Page, model: Model) -> list[str]:
    """What a model reads of the lines of a page."""
    if not page.lines:
        return []
    (found,) = transcribe(model, [prepare_page(grey, page, model.features)], nbest=1)
    return found.text.split("\n")


def counted(
    read: Sequence[str], read_known: Sequence[str], lines: Sequence[Line], pairs: dict[int, int]
) -> dict[str, int]:
    """Characters and errors, as of Score."""
    truth = [line.text or "" for line in lines]
    skipped = {number for number, text in enumerate(truth) if UNREADABLE in text}
    partner = {known: found for found, known in pairs.items()}
    errors = sum(len(text) for number, text in enumerate(read) if number not in pairs)
    characters = errors_known = 0
    for number, text in enumerate(truth):
        if number in skipped:
            continue
        characters += len(text)
        errors += edits(text, read[partner[number]]).errors if number in partner else len(text)
        errors_known += edits(text, read_known[number]).errors
    return {"characters": characters, "errors": errors, "errors_known": errors_known}


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
