"""What `asr align` and `hwr align` share: their options, and which text belongs to which input."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import options as arguments
from carousel.common.cli import runner as command
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input, expand, with_unique_stems
from carousel.common.cli.runner import Result, Source
from carousel.common.cli.streams import say
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings numpy
    from carousel.common.data.manifest import Sample
    from carousel.common.decoding.align import Spelling
    from carousel.common.text.alphabet import Alphabet

MANIFESTS = (".jsonl", ".jsonl.gz")
TEXTS = (".txt", ".lab", ".gt.txt")  # beside a.wav: a.txt, a.lab (Montreal Forced Aligner), a.gt.txt (kraken)


@dataclass(frozen=True, slots=True)
class Task:
    """An input and the text to find in it; sample: the line of a manifest, if it is from there."""

    item: Input
    text: str
    sample: Sample | None = None


def add(
    commands: arguments.Subparsers,
    program: str,
    what: str,
    formats: Sequence[str],
    function: arguments.Command,
) -> argparse.ArgumentParser:
    """what: an input for the examples, such as call.wav."""
    folder = "inputs/"
    parser = arguments.command_parser(
        commands,
        "align",
        "find where each word and letter of a known text is",
        f"""
        {program} align {what} --text "SEVEN TWO"       the text on the command line
        {program} align {what} --transcript said.txt    or in a file
        {program} align {folder} --output aligned/         beside each input a text, .txt or .lab
        {program} align {folder} --transcript texts/       or in another folder
        {program} align test.jsonl --format json          a manifest has its own texts
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
    arguments.add_model_arguments(parser, f"default: the one that is marked * by `{program} models`")
    arguments.add_output_arguments(parser, formats)
    parser.set_defaults(run=function)
    return parser


def tasks(
    args: argparse.Namespace,
    suffixes: Collection[str],
    kind: str,
    failures: Failures,
    also: Callable[[Path], bool] = lambda file: False,
) -> list[Task]:
    """Inputs of the command line with their texts; those without one go to `failures`."""
    given = args.text is not None or (args.transcript is not None and not os.path.isdir(args.transcript))
    if given and (len(args.inputs) > 1 or os.path.isdir(args.inputs[0]) or _is_manifest(args.inputs[0])):
        raise UsageError(
            "--text and a --transcript FILE are the text of one input; for several put a text beside each "
            "(a.wav, a.txt), or give --transcript DIR or a manifest"
        )
    files = expand(
        [name for name in args.inputs if not _is_manifest(name)],
        [suffix for suffix in suffixes if suffix not in MANIFESTS],
        kind,
        failures,
        also,
    )
    found: list[Task] = []
    for item in files:
        try:
            found.append(Task(item, _text_of(item, args)))
        except Exception as error:
            failures.add(item.name, error)
    for name in filter(_is_manifest, args.inputs):
        try:
            found += samples(Path(name))
        except Exception as error:
            failures.add(name, error)
    items = with_unique_stems([task.item for task in found])
    return [Task(item, task.text, task.sample) for item, task in zip(items, found, strict=True)]


def _is_manifest(name: str) -> bool:
    return name.lower().endswith(MANIFESTS)


def samples(manifest: Path) -> Iterator[Task]:
    """The samples of a manifest with their texts."""
    from carousel.common.data.manifest import read_manifest

    for sample in read_manifest(manifest):
        path = sample.source
        stem = path.stem if path else f"{manifest.name.split('.')[0]}-{sample.where.rpartition(':')[2]}"
        yield Task(Input(str(path or sample.where), path, stem), sample.text, sample)


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


def run(
    tasks: Iterable[Task],
    read: Callable[[Task], Source],
    work: Callable[[list[Source]], list[Result]],
    write: Callable[[Task, Result], None],
    failures: Failures,
    weigh: Callable[[Source], int],
    args: argparse.Namespace,
) -> None:
    """Takes tasks through read, work and write, as common.cli.runner.run does."""
    command.run(
        tasks,
        read,
        work,
        write,
        failures,
        name=lambda task: task.item.label,
        weigh=weigh,
        budget=args.batch_frames,
    )


def spell_task(task: Task, alphabet: Alphabet, args: argparse.Namespace) -> Spelling:
    """As common.decoding.align.spell; tells which characters were passed over."""
    from carousel.common.decoding.align import spell
    from carousel.common.text.alphabet import name_symbols

    advice = ", or pass over such characters with --skip-unknown"
    spelling = spell(task.text, alphabet, args.skip_unknown, advice)
    if spelling.unknown:
        say(f"note: {task.item.name}: passed over {name_symbols(spelling.unknown)}")
    return spelling
