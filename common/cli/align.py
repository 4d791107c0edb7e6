"""`align`: where each word and letter of a known text is."""

from __future__ import annotations

import argparse
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import options
from carousel.common.cli.data import MANIFESTS, as_inputs, inputs_of, samples_in
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input, with_unique_stems
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.runner import emitter
from carousel.common.cli.streams import note
from carousel.common.domain import read_data
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.decoding.align import Spelling
    from carousel.common.domain import Prepared
    from carousel.common.model.file import Model
    from carousel.common.text.alphabet import Alphabet

    Source = tuple[Model, Prepared, Spelling]

TEXTS = (".txt", ".lab", ".gt.txt")  # beside a.wav: a.txt, a.lab (Montreal Forced Aligner), a.gt.txt (kraken)


def add(commands: options.Subparsers, program: Program) -> None:
    name = program.name
    parser = options.command_parser(
        commands,
        "align",
        "find where each word and letter of a known text is",
        f"""
        {name} align {program.example} --text "SEVEN TWO"       the text on the command line
        {name} align {program.example} --transcript said.txt    or in a file
        {name} align inputs/ --output aligned/         beside each input a text, .txt or .lab
        {name} align inputs/ --transcript texts/       or in another folder
        {name} align test.jsonl --format json          a manifest has its own texts, and so has a folder
                                                       in another layout that `prepare` knows
        """,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE|FOLDER|MANIFEST|-",
        help="what to align, as for the other commands, or manifests (.jsonl, .jsonl.gz); "
        "- for standard input",
    )
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument("--text", metavar="TEXT", help="the text of the one input")
    texts.add_argument(
        "--transcript",
        type=Path,
        metavar="FILE|DIR",
        help="file of the one input's text, or folder of files named as the inputs, but in "
        ".txt or .lab (default: beside each input)",
    )
    parser.add_argument(
        "--skip-unknown",
        action="store_true",
        help="characters that the model cannot write, such as punctuation, take no time "
        "(default: they are an error)",
    )
    options.add_model_arguments(parser, program.name)
    options.add_output_arguments(parser, [form for form in program.formats if form != "txt"])
    program.add_plot(parser)
    program.add_truncation(parser)
    program.add_layout(parser)
    parser.set_defaults(run=align)


def align(program: Program, args: argparse.Namespace) -> int:
    failures = Failures()
    inputs = with_texts(program, args, failures)
    if not inputs:
        return failures.status
    emit = emitter(inputs, args, program.formats, program.draw)

    from carousel.common.recogniser import scores_of

    opener = Opener(program, args, failures)
    opener.needed(inputs)

    def read(item: Input) -> Source:
        model, prepared = opener.prepare(item)
        spelling = spelled(item, model.alphabet, args)
        if not any(map(len, prepared.windows)):
            raise InputError(f"{program.domains[0].empty}, so no text can be aligned with it")
        return model, prepared, spelling

    def work(model: Model, sources: list[Source]) -> list[tuple[Source, list[np.ndarray]]]:
        scores = scores_of(model, [prepared for _, prepared, _ in sources], args.batch_frames)
        return list(zip(sources, scores, strict=True))

    def write(item: Input, scored: tuple[Source, list[np.ndarray]]) -> None:
        (model, prepared, spelling), scores = scored
        aligned = prepared.aligned(scores, spelling, model)
        emit(item, aligned, model.card["name"])

    opener.run(inputs, read, work, write)
    return failures.status


def with_texts(program: Program, args: argparse.Namespace, failures: Failures) -> list[Input]:
    """Inputs of the command line with their texts; those without one go to `failures`."""
    given = args.text is not None or (args.transcript is not None and not os.path.isdir(args.transcript))
    if given and (len(args.inputs) > 1 or os.path.isdir(args.inputs[0]) or _is_manifest(args.inputs[0])):
        raise UsageError(
            "--text and a --transcript FILE are the text of one input; for several put a text beside each "
            "(a.wav, a.txt), or give --transcript DIR or a manifest"
        )
    found: list[Input] = []
    files = []
    for name in args.inputs:
        listed = os.path.isdir(name) and not args.transcript and _listed(Path(name), program)
        found += listed or []
        files += [name] * (not listed and not _is_manifest(name))
    for item in program.expand(files, failures, without=MANIFESTS) if files else ():
        try:
            found.append(replace(item, text=_text_of(item, args)))
        except Exception as error:
            failures.add(item.name, error)
    for name in filter(_is_manifest, args.inputs):
        try:
            found += inputs_of(Path(name), program)
        except Exception as error:
            failures.add(name, error)
    return with_unique_stems(found)


def _is_manifest(name: str) -> bool:
    return name.lower().endswith(MANIFESTS)


def _listed(path: Path, program: Program) -> list[Input]:
    """The samples of a folder whose texts stand elsewhere than beside its files; none for any other."""
    from carousel.common.data.layouts import Folder, beside

    if any(beside.claims(Folder(path, domain.key, domain.suffixes)) for domain in program.domains):
        return []
    try:
        _, found = read_data(path, program.domains)
    except InputError:
        return []
    return list(as_inputs(samples_in(found, path), path))


def _text_of(item: Input, args: argparse.Namespace) -> str:
    if args.text is not None:
        return args.text
    folder = args.transcript
    if folder is not None and not os.path.isdir(folder):
        return read_text(args.transcript)
    if item.path is None:
        raise InputError("needs its text: give it with --text or --transcript")
    stems = [item.path.with_suffix("")] if folder is None else [folder / item.stem, folder / item.key]
    for stem, ending in itertools.product(stems, TEXTS):
        path = stem.with_name(stem.name + ending)
        if os.path.isfile(path):
            return read_text(path)
    raise InputError(
        f"there is no text for it ({' or '.join(str(stems[-1]) + ending for ending in TEXTS[:2])}); "
        "put one there, or give --text, --transcript or a manifest"
    )


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, its lines joined by spaces. Raises InputError naming the file."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "is not UTF-8"
        raise InputError(f"{path}: cannot be read as text ({reason}); give UTF-8 text") from None


def spelled(item: Input, alphabet: Alphabet, args: argparse.Namespace) -> Spelling:
    """As common.decoding.align.spell; tells which characters were passed over."""
    from carousel.common.decoding.align import spell
    from carousel.common.text.alphabet import name_symbols

    advice = ", or pass over such characters with --skip-unknown"
    spelling = spell(item.text, alphabet, args.skip_unknown, advice)
    if spelling.unknown:
        note(f"{item.name}: passed over {name_symbols(spelling.unknown)}")
    return spelling
