"""Samples with texts for the commands: of manifests, and of folders in any layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input, with_unique_stems
from carousel.common.cli.streams import note
from carousel.common.domain import read_data
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.cli.program import Program
    from carousel.common.data.layouts import Found
    from carousel.common.data.manifest import Sample

MANIFESTS = (".jsonl", ".jsonl.gz")


def samples_of(
    path: Path, program: Program, failures: Failures | None = None, test: bool = False
) -> list[Sample]:
    """The samples of a manifest, or of a folder or XML file in any layout: with `test` its test part, where
    the layout has one.

    What was understood of a folder, and left out, is told; what is broken is a failure. Raises InputError.
    """
    from carousel.common.data.manifest import read_manifest

    if not path.is_dir() and path.suffix.lower() != ".xml":
        return list(read_manifest(path))
    _, found = read_data(path, program.domains)
    if failures is not None:
        for fault in found.take_unread():
            failures.add(str(path), InputError(fault))
    return samples_in(found, path, test)


def samples_in(found: Found, path: Path, test: bool = False) -> list[Sample]:
    kept = [row for row in found.rows if row.get("split") == "test"] if test else []
    which = "its test part" if kept else "all of it"
    if test:
        found.rows[:] = kept or found.rows
    note(f"{path}: {found.layout}, {which}: {len(found.rows):,} samples")
    for fault in found.faults():
        note(f"{path}: left out {fault}")
    return found.samples(str(path))


def inputs_of(path: Path, program: Program) -> Iterator[Input]:
    """The samples of a manifest or folder as inputs with their texts."""
    return as_inputs(samples_of(path, program), path)


def as_inputs(samples: Iterable[Sample], manifest: Path) -> Iterator[Input]:
    for sample in samples:
        path = sample.source
        stem = path.stem if path else f"{manifest.name.split('.')[0]}-{sample.where.rpartition(':')[2]}"
        yield Input(str(path or sample.where), path, stem, text=sample.text, sample=sample)


def expanded(arguments: Sequence[str], program: Program, failures: Failures) -> list[Input]:
    """As `Program.expand`, and of a manifest of recordings or pictures its samples.

    A file of pen strokes in JSON lines is an input of its own, as ever.
    """
    listed = [name for name in arguments if name.endswith(MANIFESTS) and _is_manifest(Path(name), program)]
    others = [name for name in arguments if name not in listed]
    found = program.expand(others, failures) if others else []
    for name in listed:
        try:
            found += inputs_of(Path(name), program)
        except InputError as error:
            failures.add(name, error)
    return with_unique_stems(found)


def _is_manifest(path: Path, program: Program) -> bool:
    from carousel.common.data.layouts.own import is_manifest

    return any(is_manifest(path, domain.key) for domain in program.domains if domain.key != "strokes")


def texts_of(path: Path, program: Program) -> Iterator[str]:
    """Lines of a text, or texts of a manifest or folder. Raises InputError naming the file."""
    from carousel.common.language.texts import read_texts

    if path.is_dir():
        return (sample.text for sample in samples_of(path, program))
    return read_texts(path)
