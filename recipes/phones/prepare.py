"""Manifests in words become manifests in phones, by a pronouncing dictionary.

CORPUS is the folder of the manifests of another recipe (train, valid and test.jsonl); texts become phones,
and the words stay in `words`. Of several pronunciations the first is taken. A text with a word that the
dictionary lacks is left out.
"""

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.recipes.phones import written
from carousel.recipes.splits import SPLITS, Row, text_lines, write_splits

OPTIONS: dict[str, dict[str, Any]] = {
    "--dictionary": {
        "type": Path,
        "required": True,
        "metavar": "FILE",
        "help": "a line a word, WORD PHONE PHONE …, as CMUdict and AN4's an4.dic",
    }
}
COMMENT = (";;;", "#")


def prepare(arguments: Namespace) -> None:
    """Raises InputError for a dictionary or manifests that cannot be read."""
    known = pronunciations(arguments.dictionary)
    splits = {name: _rows(arguments.corpus / f"{name}.jsonl", known) for name in SPLITS}
    write_splits(arguments.output, splits, fault=_fault)


def pronunciations(path: Path) -> dict[str, list[str]]:
    """The first pronunciation of each word, in capitals, without the stress of its vowels (AH0)."""
    found: dict[str, list[str]] = {}
    for line in text_lines(path):
        word, *phones = line.split()
        if line.startswith(COMMENT):
            continue
        if not phones:
            raise InputError(f"{path}: {line!r} has a word and no phones")
        found.setdefault(re.sub(r"\(\d+\)$", "", word).upper(), [re.sub(r"\d", "", one) for one in phones])
    return found


def _rows(manifest: Path, known: Mapping[str, list[str]]) -> Iterator[Row]:
    for sample in read_manifest(manifest):
        words = sample.text.upper().split()
        lacking = [word for word in words if word not in known]
        text = "" if lacking else written(phone for word in words for phone in known[word])
        row = {"audio": sample.audio, "text": text, "speaker": sample.group, "duration": sample.duration}
        yield {
            **row,
            "words": sample.text,
            "lacking": lacking,
            "start": sample.start or None,
            "end": sample.end,
        }


def _fault(split: str, row: Row) -> str | None:
    lacking = row.pop("lacking")
    for key in [key for key, value in row.items() if value is None]:
        del row[key]
    return f"not in the dictionary: {' '.join(lacking)}" if lacking else None
