"""`asr spot`: where keywords are said in recordings, and how well they are found on a manifest with texts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from common import arguments, command
from common.command import Failures, Input, UsageError
from common.errors import InputError

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from asr.align import Heard
    from common.corpus import Sample
    from common.model_file import Model
    from common.spotting import Curve, Detection

    Scored = tuple[Heard, list[np.ndarray]]

FORMATS = ("txt", "json", "ctm")
THRESHOLD = 0.85  # best F1 (97.1 %) on AN4's valid part, for 31 words: digits, letters and commands
LEAST = 1e-4  # score of what a curve is made of

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Spotted:
    """A keyword from start to end in seconds; score in 0 … 1."""

    word: str
    start: float
    end: float
    score: float


def add(commands: arguments.Subparsers, function: arguments.Command) -> None:
    parser = arguments.command_parser(
        commands,
        "spot",
        "find where given words are said",
        """
        asr spot STOP,GO call.wav                          the words, then the recordings
        asr spot --words list.txt calls/ --format json     words of a file, one a line
        asr spot "START OVER" call.wav --threshold 0.1     find more, and more that is false
        asr spot STOP,GO --tune valid.jsonl --roc roc.png  the threshold that suits these words
        """,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="WORDS FILE|FOLDER|-",
        help="the words, with commas between them, unless --words is given; then recordings, folders of "
        "them, - for standard input",
    )
    parser.add_argument("--words", type=Path, metavar="FILE", help="a file of the words, one a line")
    parser.add_argument(
        "--threshold",
        type=arguments.number(0, 1),
        metavar="X",
        help="the least score, in 0 … 1: e to the mean over a word's letters of ln P(word) - ln P(likeliest "
        f"text) where it is (default: {THRESHOLD})",
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
    arguments.add_model_arguments(parser, "default: the one that is marked * by `asr models`")
    arguments.add_output_arguments(parser, FORMATS)
    parser.set_defaults(run=function)


def spot(args: argparse.Namespace, models: Path, domains: tuple[str, ...], suffixes: tuple[str, ...]) -> int:
    words = keywords(args)
    check(args)
    failures = Failures()
    if args.tune is not None:
        return tune(args, words, models, domains, failures)
    inputs = command.expand(args.inputs, suffixes, "recording", failures)
    if not inputs:
        return failures.status
    emit = command.emitter(inputs, args)
    from asr.features import size
    from common.shelf import open_model

    model = open_model(args.model, models, domains, args.device, size, args.precision)
    patterns = _patterns(words, model)
    threshold = THRESHOLD if args.threshold is None else args.threshold

    def write(item: Input, scored: Scored) -> None:
        found = find(scored, patterns, model, threshold, args.inside)
        emit(item, WRITERS[args.format](found, item, model.card["name"]))

    _run(inputs, lambda item: item.path, lambda item: item.name, model, args, failures, write)
    return failures.status


def keywords(args: argparse.Namespace) -> list[str]:
    """The words asked for, each once; from `inputs` their argument is taken away."""
    if args.words is not None:
        command.check_file("words", args.words)
        from common.decoding.lines import read_lines

        texts = [line for _, line in read_lines(args.words, "list of words")]
    elif not args.inputs:
        raise UsageError("there is no word to find; give words, as in: asr spot STOP,GO call.wav")
    else:
        first = args.inputs.pop(0)
        if first and Path(first).exists():
            raise UsageError(f"{first}: is a file; give the words first, as in: asr spot STOP,GO {first}")
        texts = first.split(",")
    found = list(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    if not found:
        raise UsageError("there is no word to find")
    if not args.inputs and args.tune is None:
        raise UsageError(
            "there is no recording; give files after the words, as in: asr spot STOP,GO call.wav"
        )
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
    if args.output is not None or args.format == "ctm":
        raise UsageError("--tune prints a table (or --format json), so leave out --output and ctm")


def _patterns(words: Sequence[str], model: Model) -> dict[str, list[int]]:
    from common.align import spell

    return {word: spell(word, model.alphabet).target for word in words}


def find(
    scored: Scored, patterns: dict[str, list[int]], model: Model, threshold: float, inside: bool
) -> list[Spotted]:
    """Keywords of a recording, in the order of time."""
    import numpy as np

    from asr.align import joined
    from common.spotting import spot as spot_word

    heard, scores = scored
    log_probs, edges = joined(heard.prepared, scores, model.stride, model.alphabet)
    space = None if inside or model.alphabet.unknown(" ") else model.alphabet.encode(" ")[0]
    likeliest = log_probs.argmax(axis=1)
    letters = np.flatnonzero((likeliest != 0) & (likeliest != space))
    found = []
    for word, pattern in patterns.items():
        for at in spot_word(log_probs, pattern, space, threshold):
            start, end = edges_of(at, letters, edges, heard)
            found.append(Spotted(word, start, end, at.score))
    return sorted(found, key=lambda item: (item.start, item.end))


def edges_of(at: Detection, letters: np.ndarray, edges: np.ndarray, heard: Heard) -> tuple[float, float]:
    """Start and end in seconds as of asr.align, between the letters before and after it that a greedy decoder
    reads. letters: their frames, rising; edges: (frames + 1,) seconds."""
    from asr.align import word_edges

    before, after = letters[letters < at.start][-1:], letters[letters >= at.end][:1]
    spikes = [(edges[i], edges[i], edges[i + 1]) for i in before]
    spikes.append((edges[at.start], edges[at.begin], edges[at.end]))
    spikes += [(edges[i], edges[i], edges[i + 1]) for i in after]
    start, end = word_edges(spikes, heard.loudness, heard.prepared.duration)[len(before)]
    return float(start), float(end)


def _run(
    keys: Sequence[Key],
    path: Callable[[Key], Path | None],
    name: Callable[[Key], str],
    model: Model,
    args: argparse.Namespace,
    failures: Failures,
    write: Callable[[Key, Scored], None],
) -> None:
    """Each recording (standard input where it has no path) through the network, then to write."""
    from asr.align import hear
    from asr.audio import read_audio
    from common.recognise import log_probs

    def read(key: Key) -> Heard:
        source = path(key)
        wave = read_audio(sys.stdin.buffer if source is None else source, model.features["sample_rate"])
        return hear(wave, model, silent=True)

    def work(heard: list[Heard]) -> list[Scored]:
        found = iter(log_probs(model, [w for h in heard for w in h.prepared.windows], args.batch_frames))
        return [(h, [next(found) for _ in h.prepared.windows]) for h in heard]

    command.run(
        keys,
        read,
        work,
        write,
        failures,
        name=name,
        weigh=lambda heard: heard.prepared.frames,
        budget=args.batch_frames,
    )


def txt(found: list[Spotted], item: Input, model: str) -> str:
    return ", ".join(f"{s.word} {s.start:.2f}-{s.end:.2f} s ({s.score:.2f})" for s in found) + "\n"


def as_json(found: list[Spotted], item: Input, model: str) -> str:
    """One JSON object on one line: times in seconds, scores in 0 … 1."""
    rows = [
        {"word": s.word, "start": round(s.start, 3), "end": round(s.end, 3), "score": round(s.score, 4)}
        for s in found
    ]
    return json.dumps({"file": item.name, "model": model, "spotted": rows}, ensure_ascii=False) + "\n"


def ctm(found: list[Spotted], item: Input, model: str) -> str:
    """NIST CTM with the score as confidence; a keyword of several words is joined by _."""
    name = "_".join(item.stem.split())
    return "".join(
        f"{name} 1 {s.start:.3f} {s.end - s.start:.3f} {'_'.join(s.word.split())} {s.score:.4f}\n"
        for s in found
    )


WRITERS = {"txt": txt, "json": as_json, "ctm": ctm}


def tune(
    args: argparse.Namespace, words: list[str], models: Path, domains: tuple[str, ...], failures: Failures
) -> int:
    """Measures on a manifest: prints hits, false alarms and FOM at the best threshold or that given."""
    from asr.features import size
    from common.corpus import read_manifest
    from common.draw import draw_roc
    from common.shelf import open_model
    from common.spotting import curve

    samples = list(read_manifest(args.tune))
    model = open_model(args.model, models, domains, args.device, size, args.precision)
    patterns = _patterns(words, model)
    scores: list[float] = []
    correct: list[bool] = []
    references, seconds = 0, 0.0

    def write(sample: Sample, scored: Scored) -> None:
        nonlocal references, seconds
        said = said_in(sample, scored, words, model)
        found = find(scored, patterns, model, LEAST, args.inside)
        for item, right in match(found, said):
            scores.append(item.score)
            correct.append(right)
        references += len(said)
        seconds += scored[0].prepared.duration

    def audio(sample: Sample) -> Path:
        if sample.audio is None:
            raise InputError('has no "audio", so no word can be found in it')
        return sample.audio

    _run(samples, audio, lambda sample: sample.where, model, args, failures, write)
    if not references:
        raise InputError(f"{args.tune}: none of the words is said in it, so there is nothing to measure")
    found = curve(scores, correct, references, seconds / 3600 * len(words))
    if args.roc is not None:
        draw_roc(found, args.roc, title=f"{args.tune}: {len(words)} keywords")
    report(found, args, seconds)
    return failures.status


def said_in(sample: Sample, scored: Scored, words: Sequence[str], model: Model) -> list[Spotted]:
    """Where the text of a sample has the keywords, by forced alignment; score 1."""
    from asr.align import place
    from common.align import spell

    heard, scores = scored
    spoken = place(heard, scores, spell(sample.text, model.alphabet, skip_unknown=True), model).words
    found = []
    for word in words:
        parts = word.casefold().split()
        for i in range(len(spoken) - len(parts) + 1):
            run = spoken[i : i + len(parts)]
            if [part.text.casefold() for part in run] == parts:
                found.append(Spotted(word, run[0].start, run[-1].end, 1.0))
    return found


def match(found: Sequence[Spotted], said: Sequence[Spotted]) -> list[tuple[Spotted, bool]]:
    """Each detection, best first, and whether it meets an occurrence of its word that no better one met."""
    free = list(said)
    result = []
    for item in sorted(found, key=lambda item: -item.score):
        met = [s for s in free if s.word == item.word and s.start < item.end and item.start < s.end]
        if met:
            free.remove(max(met, key=lambda s: min(s.end, item.end) - max(s.start, item.start)))
        result.append((item, bool(met)))
    return result


def report(found: Curve, args: argparse.Namespace, seconds: float) -> None:
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
        "false_alarms_per_keyword_and_hour": round(alarms / found.hours, 2),
        "f1": round(2 * hits / (hits + alarms + found.references), 4),
        "fom": round(found.figure_of_merit(), 4),
        "minutes": round(seconds / 60, 2),
    }
    if args.format == "json":
        print(json.dumps(numbers))
        return
    for name, value in numbers.items():
        print(f"{name.replace('_', ' '):34s} {value}")
    if args.threshold is None:
        print(f"use it with --threshold {numbers['threshold']}")
