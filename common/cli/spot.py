"""`spot`: where given words are, and measuring how well they are found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import options
from carousel.common.cli.data import expanded, inputs_of
from carousel.common.cli.failures import Failures
from carousel.common.cli.files import check_file, check_picture
from carousel.common.cli.inputs import Input
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.runner import emitter
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings numpy and torch
    from collections.abc import Callable, Iterable

    from carousel.common.ctc.spotting import Curve
    from carousel.common.domain import Prepared, Searched
    from carousel.common.model.file import Model

LEAST = 1e-4  # score of what a curve is made of


def add(commands: options.Subparsers, program: Program) -> None:
    name, example = program.name, program.example
    parser = options.command_parser(
        commands,
        "spot",
        f"find where given words are in {program.inputs}",
        f"""
        {name} spot STOP,GO {example}                          the words, then the files
        {name} spot --words list.txt inputs/ --format json     words of a file, one a line
        {name} spot "START OVER" {example} --threshold 0.1     find more, and more that is false
        {name} spot STOP,GO --tune valid.jsonl --roc roc.png  the threshold that suits these words
        """,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="WORDS FILE|FOLDER|-",
        help=f"the words, with commas between them, unless --words is given; then {program.inputs}, folders "
        "of them, - for standard input",
    )
    parser.add_argument("--words", type=Path, metavar="FILE", help="a file of the words, one a line")
    several = len(program.domains) > 1
    defaults = [f"{domain.threshold}{f' for {domain.name}' * several}" for domain in program.domains]
    parser.add_argument(
        "--threshold",
        type=options.number(0, 1),
        metavar="X",
        help="the least score, in 0 … 1: e to the mean over a word's letters of ln P(word) - ln P(likeliest "
        f"text) where it is (default: {', '.join(defaults)})",
    )
    parser.add_argument(
        "--inside", action="store_true", help="find words inside longer ones, too, as ONE in PHONE"
    )
    parser.add_argument(
        "--tune",
        type=Path,
        metavar="MANIFEST|FOLDER",
        help="measure on a manifest or folder with texts, and print the threshold with the best F1",
    )
    parser.add_argument(
        "--roc", type=Path, metavar="FILE.png", help="with --tune: draw what is found against false alarms"
    )
    options.add_model_arguments(parser, program.name)
    options.add_output_arguments(parser, [name for name, form in program.formats.items() if form.spotting])
    program.add_plot(parser)
    program.add_truncation(parser)
    program.add_layout(parser)
    parser.set_defaults(run=spot)


def spot(program: Program, args: argparse.Namespace) -> int:
    words = keywords(program, args)
    check(args)
    failures = Failures()
    opener = Opener(program, args, failures)
    if args.tune is not None:
        tune(program, args, words, opener)
        return failures.status
    inputs = expanded(args.inputs, program, failures)
    if not inputs:
        return failures.status
    emit = emitter(inputs, args, program.formats, program.draw)

    from carousel.common.domain import Transcript
    from carousel.common.spotting import Finder

    find = Finder(words, program.domains[0].inner, args.inside)
    find.check(opener.needed(inputs))
    thresholds = {domain.name: domain.threshold for domain in program.domains}

    def write(item: Input, searched: Searched) -> None:
        model = searched.model
        found = find(searched, thresholds[model.domain] if args.threshold is None else args.threshold)
        transcript = Transcript((), searched.prepared.about, found=tuple(found))
        emit(item, transcript, model.card["name"])

    search(opener.items(inputs), write, opener)
    return failures.status


def search(inputs: Iterable[Input], write: Callable[[Input, Searched], None], opener: Opener) -> None:
    """Shows inputs to the network, and what it made of them to `write`."""
    from carousel.common.recogniser import scores_of

    def work(model: Model, sources: list[tuple[Model, Prepared]]) -> list[Searched]:
        items = [prepared for _, prepared in sources]
        scores = scores_of(model, items, opener.args.batch_frames)
        return [item.searched(own, model) for item, own in zip(items, scores, strict=True)]

    opener.run(inputs, opener.prepare, work, write)


def keywords(program: Program, args: argparse.Namespace) -> list[str]:
    """The words asked for, each once; from `inputs` their argument is taken away."""
    usage = f"as in: {program.name} spot STOP,GO {program.example}"
    if args.words is not None:
        check_file("words", args.words)
        from carousel.common.text.lines import read_lines

        texts = [line for _, line in read_lines(args.words, "list of words")]
    elif not args.inputs:
        raise UsageError(f"no word to find was given; give words, {usage}")
    else:
        first = args.inputs.pop(0)
        if first and Path(first).exists():
            raise UsageError(
                f"{first}: is a file; give the words first, as in: {program.name} spot STOP,GO {first}"
            )
        texts = first.split(",")
    found = list(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    if not found:
        raise UsageError("there is no word to find")
    if not args.inputs and args.tune is None:
        raise UsageError(f"no {program.input} was given; give files after the words, {usage}")
    return found


def check(args: argparse.Namespace) -> None:
    """What contradicts itself is a UsageError."""
    if args.roc is not None and not args.tune:
        raise UsageError("--roc draws what --tune measures; give --tune as well")
    if args.roc is not None:
        check_picture("roc", args.roc)
    if args.tune is not None and args.plot is not None:
        raise UsageError("--plot draws what is found in inputs; with --tune, --roc draws its curve")
    if args.tune is None:
        return
    if args.inputs:
        raise UsageError(f"{args.inputs[0]}: --tune measures on its manifest; leave out other inputs")
    if args.output is not None or args.format not in (["txt"], ["json"]):
        named = ",".join(args.format)
        raise UsageError(f"--tune prints a table, or --format json: leave out --output and {named}")


def tune(program: Program, args: argparse.Namespace, words: list[str], opener: Opener) -> None:
    """Measures on a manifest: prints what is found at the best threshold or that given."""
    from carousel.common.ctc.spotting import curve
    from carousel.common.plots import draw_roc
    from carousel.common.spotting import Finder, match

    inputs = list(inputs_of(args.tune, program))
    find = Finder(words, program.domains[0].inner, args.inside)
    find.check(opener.needed(inputs))
    scores: list[float] = []
    correct: list[bool] = []
    references: int = 0
    amount: float = 0

    def write(item: Input, searched: Searched) -> None:
        nonlocal references, amount
        written = find.written(searched, item.text)
        for one, right in match(find(searched, LEAST), written):
            scores.append(one.confidence)
            correct.append(right)
        references += len(written)
        amount += searched.prepared.amount

    search(inputs, write, opener)
    if not references:
        raise InputError(f"{args.tune}: none of the words is in its texts, so there is nothing to measure")
    found = curve(scores, correct, references, amount / program.parts * len(words), program.unit)
    if args.roc is not None:
        draw_roc(found, args.roc, title=f"{args.tune}: {len(words)} keywords")
    report(found, args, {program.part: round(amount, 2)})


def report(found: Curve, args: argparse.Namespace, size: Mapping[str, float]) -> None:
    """Prints the numbers of a point of the curve and of the whole; size: of what was searched."""
    if not len(found.thresholds):
        raise InputError(f"{args.tune}: none of the words is found in it, however low the threshold")
    point = found.best()
    if args.threshold is not None:
        point = int((found.thresholds >= args.threshold).sum()) - 1
    threshold = float(found.thresholds[point]) if args.threshold is None else args.threshold
    hits, alarms = (int(found.hits[point]), int(found.alarms[point])) if point >= 0 else (0, 0)
    numbers = {
        "threshold": round(threshold, 4),
        "references": found.references,
        "hits": hits,
        "false_alarms": alarms,
        "hit_rate": round(hits / found.references, 4),
        f"false_alarms_per_keyword_and_{'_'.join(found.unit.split())}": round(alarms / found.amount, 2),
        "f1": round(2 * hits / (hits + alarms + found.references), 4),
        "fom": round(found.figure_of_merit(), 4),
        "average_precision": round(found.average_precision(), 4),
        **size,
    }
    if args.format == ["json"]:
        print(json.dumps(numbers))
        return
    for name, value in numbers.items():
        print(f"{name.replace('_', ' '):42s} {value}")
    if args.threshold is None:
        print(f"use it with --threshold {numbers['threshold']}")
