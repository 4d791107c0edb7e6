"""What `asr spot` and `hwr spot` share: their options, finding words, measuring how well they are found."""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from carousel.common.cli import align as align_command
from carousel.common.cli import options as arguments
from carousel.common.cli import runner as command
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input, expand
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.ctc.spotting import Curve, Detection
    from carousel.common.decoding.align import Spelling
    from carousel.common.model.file import Model
    from carousel.common.text.alphabet import Alphabet

LEAST = 1e-4  # score of what a curve is made of
APART = -1  # stands for the space between two words where the alphabet has none

Box = tuple[float, float, float, float]
Place = tuple[float, float, Box | None]


@dataclass(frozen=True, slots=True)
class Spotted:
    """A keyword in an input; score in 0 … 1.

    start, end: how far it reaches along the input, in seconds of a recording or frames of a line; box: left,
    top, right and bottom in the coordinates of a line, None in a recording or where places are not known.
    """

    word: str
    start: float
    end: float
    score: float
    box: Box | None = None


class Scored(Protocol):
    """An input that the network has read."""

    @property
    def model(self) -> Model: ...

    @property
    def log_probs(self) -> np.ndarray:
        """(frames, symbols), natural log."""

    @property
    def amount(self) -> float:
        """How much it is, in parts as of Kind."""

    def place(self, at: Detection) -> Place:
        """Start, end and box of a keyword."""

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        """Start and end of each piece of a known text, by forced alignment; InputError where it does not
        fit."""


Source = TypeVar("Source")
Writer = Callable[[list[Spotted], Input, str], str]  # what was found, where, and the model's name


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between sound and writing before a model is loaded.

    input, inputs: what one is called; example: one of them; also: as expand takes it; writers: by
    format; thresholds: by domain; inner: characters that stand inside words, besides letters and digits;
    unit: of what false alarms are counted in; part: what a unit is made of, parts: how many of these;
    split: inputs to the pages in them.
    """

    program: str
    input: str
    inputs: str
    example: str
    suffixes: Collection[str]
    writers: Mapping[str, Writer]
    thresholds: Mapping[str, float]
    inner: str
    unit: str
    part: str
    parts: int
    also: Callable[[Path], bool] = lambda file: False
    split: Callable[[Iterable[Input], Failures], Iterable[Input]] = lambda inputs, failures: inputs


class Room(NamedTuple, Generic[Source]):
    """What differs with the models: those that are sure to be used, and the way through them."""

    models: list[Model]
    read: Callable[[Task], Source]
    weigh: Callable[[Source], int]
    work: Callable[[list[Source]], list[Any]]  # of Scored


def add(commands: arguments.Subparsers, kind: Kind, function: arguments.Command) -> argparse.ArgumentParser:
    program, example = kind.program, kind.example
    parser = arguments.command_parser(
        commands,
        "spot",
        f"find where given words are in {kind.inputs}",
        f"""
        {program} spot STOP,GO {example}                          the words, then the files
        {program} spot --words list.txt inputs/ --format json     words of a file, one a line
        {program} spot "START OVER" {example} --threshold 0.1     find more, and more that is false
        {program} spot STOP,GO --tune valid.jsonl --roc roc.png  the threshold that suits these words
        """,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="WORDS FILE|FOLDER|-",
        help=f"the words, with commas between them, unless --words is given; then {kind.inputs}, folders of "
        "them, - for standard input",
    )
    parser.add_argument("--words", type=Path, metavar="FILE", help="a file of the words, one a line")
    several = len(kind.thresholds) > 1
    defaults = [f"{value}{f' for {of}' if several else ''}" for of, value in kind.thresholds.items()]
    parser.add_argument(
        "--threshold",
        type=arguments.number(0, 1),
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
        metavar="MANIFEST",
        help="measure on a manifest with texts, and tell the threshold with the best F1",
    )
    parser.add_argument(
        "--roc", type=Path, metavar="FILE.png", help="with --tune: draw what is found against false alarms"
    )
    arguments.add_model_arguments(parser, f"default: the one that is marked * by `{program} models`")
    arguments.add_output_arguments(parser, tuple(kind.writers))
    parser.set_defaults(run=function)
    return parser


def spot(args: argparse.Namespace, kind: Kind, open_room: Callable[[Sequence[Task]], Room]) -> int:
    """The command. open_room: loads what the inputs need."""
    words = keywords(args, kind)
    check(args)
    failures = Failures()
    if args.tune is not None:
        return tune(args, words, kind, open_room, failures)
    inputs = expand(args.inputs, kind.suffixes, kind.input, failures, kind.also)
    if not inputs:
        return failures.status
    emit = command.emitter(inputs, args)
    tasks = [Task(item, "") for item in inputs]
    room, find = open_room(tasks), Finder(words, kind.inner, args.inside)
    find.check(room.models)

    def write(task: Task, scored: Scored) -> None:
        model = scored.model
        threshold = kind.thresholds[model.domain] if args.threshold is None else args.threshold
        found = find(scored, threshold)
        emit(task.item, kind.writers[args.format](found, task.item, model.card["name"]))

    pages = (Task(item, "") for item in kind.split(inputs, failures))
    align_command.run(pages, room.read, room.work, write, failures, room.weigh, args)
    return failures.status


def keywords(args: argparse.Namespace, kind: Kind) -> list[str]:
    """The words asked for, each once; from `inputs` their argument is taken away."""
    usage = f"as in: {kind.program} spot STOP,GO {kind.example}"
    if args.words is not None:
        command.check_file("words", args.words)
        from carousel.common.text.lines import read_lines

        texts = [line for _, line in read_lines(args.words, "list of words")]
    elif not args.inputs:
        raise UsageError(f"there is no word to find; give words, {usage}")
    else:
        first = args.inputs.pop(0)
        if first and Path(first).exists():
            raise UsageError(
                f"{first}: is a file; give the words first, as in: {kind.program} spot STOP,GO {first}"
            )
        texts = first.split(",")
    found = list(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    if not found:
        raise UsageError("there is no word to find")
    if not args.inputs and args.tune is None:
        raise UsageError(f"there is no {kind.input}; give files after the words, {usage}")
    return found


def check(args: argparse.Namespace) -> None:
    """What contradicts itself is a UsageError."""
    if args.roc is not None and not args.tune:
        raise UsageError("--roc draws what --tune measures, so give both")
    if args.roc is not None:
        command.check_picture("roc", args.roc)
    if args.tune is None:
        return
    if args.inputs:
        raise UsageError(f"{args.inputs[0]}: --tune measures on its manifest, so leave out other inputs")
    if args.output is not None or args.format not in ("txt", "json"):
        raise UsageError(f"--tune prints a table, or --format json: leave out --output and {args.format}")


class Finder:
    """Finds words, each spelled as each model writes it."""

    def __init__(self, words: Sequence[str], inner: str, inside: bool) -> None:
        self.words, self.inner, self.inside = words, inner, inside
        self._of: dict[int, tuple[dict[str, Spelling], list[int]]] = {}

    def check(self, models: Sequence[Model]) -> None:
        """Raises InputError for words that one of the models cannot write."""
        for model in models:
            self._spelled(model)

    def _spelled(self, model: Model) -> tuple[dict[str, Spelling], list[int]]:
        """The words' spellings, and the symbols that part words."""
        from carousel.common.decoding.align import spell

        if id(model) not in self._of:
            spellings = {word: spell(word, model.alphabet) for word in self.words}
            self._of[id(model)] = spellings, bounds(model.alphabet, self.inner)
        return self._of[id(model)]

    def __call__(self, scored: Scored, threshold: float) -> list[Spotted]:
        """Keywords of an input, in their order along it."""
        from carousel.common.ctc.spotting import spot as spot_word

        spellings, parting = self._spelled(scored.model)
        around = [] if self.inside or scored.model.alphabet.unknown(" ") else parting
        found = []
        for word, spelling in spellings.items():
            for at in spot_word(scored.log_probs, spelling.target, around, threshold):
                start, end, box = scored.place(at)
                found.append(Spotted(word, start, end, at.score, box))
        return sorted(found, key=lambda item: (item.start, item.end))

    def written(self, scored: Scored, text: str) -> list[Spotted]:
        """Where a known text has the keywords, by forced alignment; score 1."""
        from carousel.common.decoding.align import spell

        spellings, parting = self._spelled(scored.model)
        spelling = spell(text, scored.model.alphabet, skip_unknown=True)
        reaches = scored.reaches(spelling)
        found = []
        for word, pattern in spellings.items():
            for first, last in occurrences(pattern, spelling, None if self.inside else {APART, *parting}):
                found.append(Spotted(word, reaches[first][0], reaches[last][1], 1.0))
        return found


def bounds(alphabet: Alphabet, inner: str) -> list[int]:
    """Indices of the symbols that part words: all but letters, their marks, digits and inner."""
    parting = [
        symbol
        for symbol in alphabet.symbols
        if not (symbol.isalnum() or unicodedata.category(symbol)[0] == "M" or symbol in inner)
    ]
    return alphabet.encode("".join(parting))


def occurrences(word: Spelling, text: Spelling, parting: Collection[int] | None) -> list[tuple[int, int]]:
    """First and last piece of each place where a text has a word.

    parting: what must stand before and after it, unless the text begins or ends there; None: anything may.
    """
    pattern = [index for index, _ in _flat(word)]
    flat = _flat(text)
    symbols = [index for index, _ in flat]
    found = []
    for i in range(len(symbols) - len(pattern) + 1):
        j = i + len(pattern)
        around = [*symbols[max(i - 1, 0) : i], *symbols[j : j + 1]]
        if symbols[i:j] == pattern and (parting is None or all(symbol in parting for symbol in around)):
            found.append((flat[i][1], flat[j - 1][1]))
    return found


def _flat(spelling: Spelling) -> list[tuple[int, int]]:
    """Each symbol of a text with the number of its piece."""
    return [
        (index, number)
        for number, (_, indices) in enumerate(spelling.pieces)
        for index in indices or (APART,)
    ]


def as_json(rows: list[dict[str, Any]], item: Input, model: str, **more: Any) -> str:
    """One JSON object on one line."""
    page = {} if item.page is None else {"page": item.page}
    whole = {"file": item.name, **page, "model": model, **more, "spotted": rows}
    return json.dumps(whole, ensure_ascii=False) + "\n"


def tune(
    args: argparse.Namespace,
    words: list[str],
    kind: Kind,
    open_room: Callable[[Sequence[Task]], Room],
    failures: Failures,
) -> int:
    """Measures on a manifest: prints what is found at the best threshold or that given."""
    from carousel.common.ctc.spotting import curve
    from carousel.common.plots import draw_roc

    tasks = list(align_command.samples(args.tune))
    room, find = open_room(tasks), Finder(words, kind.inner, args.inside)
    find.check(room.models)
    scores: list[float] = []
    correct: list[bool] = []
    references: int = 0
    amount: float = 0

    def write(task: Task, scored: Scored) -> None:
        nonlocal references, amount
        written = find.written(scored, task.text)
        for item, right in match(find(scored, LEAST), written):
            scores.append(item.score)
            correct.append(right)
        references += len(written)
        amount += scored.amount

    align_command.run(tasks, room.read, room.work, write, failures, room.weigh, args)
    if not references:
        raise InputError(f"{args.tune}: none of the words is in its texts, so there is nothing to measure")
    found = curve(scores, correct, references, amount / kind.parts * len(words), kind.unit)
    if args.roc is not None:
        draw_roc(found, args.roc, title=f"{args.tune}: {len(words)} keywords")
    report(found, args, {kind.part: round(amount, 2)})
    return failures.status


def match(found: Sequence[Spotted], written: Sequence[Spotted]) -> list[tuple[Spotted, bool]]:
    """Each detection, best first, and whether it meets an occurrence of its word that no better one met."""
    free = list(written)
    result = []
    for item in sorted(found, key=lambda item: -item.score):
        met = [s for s in free if s.word == item.word and s.start < item.end and item.start < s.end]
        if met:
            free.remove(max(met, key=lambda s: min(s.end, item.end) - max(s.start, item.start)))
        result.append((item, bool(met)))
    return result


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
    if args.format == "json":
        print(json.dumps(numbers))
        return
    for name, value in numbers.items():
        print(f"{name.replace('_', ' '):42s} {value}")
    if args.threshold is None:
        print(f"use it with --threshold {numbers['threshold']}")
