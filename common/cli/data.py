"""Samples with texts for the commands: of manifests, and of folders in any layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli.streams import say
from carousel.common.domain import read_data

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.cli.program import Program
    from carousel.common.data.layouts import Found
    from carousel.common.data.manifest import Sample


def samples_of(path: Path, program: Program, test: bool = False) -> list[Sample]:
    """The samples of a manifest, or of a folder: with `test` its test part, where the layout has one.

    What was understood of a folder, and left out, is told. Raises InputError.
    """
    from carousel.common.data.manifest import read_manifest

    if not path.is_dir():
        return list(read_manifest(path))
    _, found = read_data(path, program.domains)
    return samples_in(found, path, test)


def samples_in(found: Found, path: Path, test: bool = False) -> list[Sample]:
    kept = [row for row in found.rows if row.get("split") == "test"] if test else []
    which = "its test part" if kept else "all of it"
    if test:
        found.rows[:] = kept or found.rows
    say(f"note: {path}: {found.layout}, {which}: {len(found.rows):,} samples")
    for fault in found.faults():
        say(f"note: {path}: left out {fault}")
    return found.samples(str(path))


def texts_of(path: Path, program: Program) -> Iterator[str]:
    """Lines of a text, or texts of a manifest or folder. Raises InputError naming the file."""
    from carousel.common.language.texts import read_texts

    if path.is_dir():
        return (sample.text for sample in samples_of(path, program))
    return read_texts(path)
