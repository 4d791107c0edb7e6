"""Our own manifests: JSONL of samples, one file or several (train.jsonl, valid.jsonl …)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carousel.common.data.layouts.found import Folder, Found
from carousel.common.data.layouts.jsonlines import sniff
from carousel.common.data.manifest import Sample, read_manifest

KEYS = ("audio", "image", "strokes")
ENDINGS = (".jsonl", ".jsonl.gz")


def claims(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(*ENDINGS) if is_manifest(file, folder.key)]


def is_manifest(file: Path, key: str) -> bool:
    line = sniff(file)
    return isinstance(line.get("text"), str) and isinstance(line.get(key), list if key == "strokes" else str)


def read(folder: Folder, found: Found) -> None:
    for file in claims(folder):
        add_manifest(file, found, folder.split(file))


def add_manifest(file: Path, found: Found, split: str | None = None) -> None:
    """The samples of a manifest; those of another kind are left out."""
    for sample in read_manifest(file):
        value = getattr(sample, found.key)
        if value is None:
            found.leave(sample.where, f'no "{found.key}"')
        elif found.key != "strokes" and not value.is_file():
            found.leave(sample.where, "missing file")
        else:
            found.add(value, sample.text, **{"split": split} | row_of(sample))


def row_of(sample: Sample) -> dict[str, Any]:
    """What a line of a manifest says beside file and text."""
    who = "speaker" if sample.audio is not None else "writer"
    part = {"start": sample.start or None, "end": sample.end}
    return {who: sample.group, "duration": sample.duration, **part, **sample.extra}
