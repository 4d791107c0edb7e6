"""What the command lines of `asr` and `hwr` share: inputs, outputs, running over them, exit status.

Neither room is imported here: what differs is handed in as functions. Nothing heavy is imported before it is
needed, so that --help answers at once. The options stand in common/cli/options.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from carousel.common.cli import streams
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import STDIN, Input
from carousel.common.cli.streams import printable
from carousel.common.errors import InputError, UsageError
from carousel.common.files import atomic_text

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.model.file import Model

DEFAULT_BEAM = 16  # of the decoders
GROUP = 64  # inputs read before the network sees them: enough to fill batches, few enough to hold
KNOWING = (
    "lm",
    "lm_unit",
    "lm_weight",
    "bonus",
    "unknown",
    "lexicon",
    "unlisted",
    "hotwords",
    "hotword_weight",
    "grammar",
)
SEARCHING = ("beam", *KNOWING)  # options of beam search
SHARED = ("txt", "json", "ctm")  # formats of which several can stand in one stream
ENDINGS = {"textgrid": "TextGrid"}  # of files, where it is not the format's name

Key = TypeVar("Key")
Source = TypeVar("Source")
Result = TypeVar("Result")


def decoding(args: argparse.Namespace, model: Model | None = None) -> dict[str, Any]:
    """The options of common.decoding.decode that were asked for; what contradicts itself is a UsageError.

    Without a model only the arguments are checked, which takes no time.
    """
    nbest = getattr(args, "nbest", 1)
    searching = {
        name: value for name in (*SEARCHING, "rescore") if (value := getattr(args, name, None)) is not None
    }
    if args.decoder == "greedy" and (searching or nbest > 1):
        named = ", ".join("--" + name.replace("_", "-") for name in [*searching, *["nbest"] * (nbest > 1)])
        raise UsageError(f"--decoder greedy searches nothing, so leave out {named}, or take --decoder beam")
    if args.decoder == "pyctcdecode" and (known := [name for name in KNOWING if name in searching]):
        named = ", ".join("--" + name.replace("_", "-") for name in known)
        raise UsageError(f"--decoder pyctcdecode does not know {named}; take --decoder beam")
    if nbest > 1 and args.format != "json":
        raise UsageError("--nbest writes several texts for each input, which only --format json can hold")
    if args.beam and nbest > args.beam:
        raise UsageError(f"--nbest {nbest} needs a --beam of at least {nbest}, not {args.beam}")
    for name in ("lm_unit", "lm_weight", "bonus", "unknown"):
        if (
            name in searching
            and "lm" not in searching
            and not (name == "bonus" and {"lexicon", "grammar"} & searching.keys())
        ):
            raise UsageError(
                f"--{name.replace('_', '-')} says how a language model counts; give one with --lm"
            )
    for name, other in (("unlisted", "lexicon"), ("hotword_weight", "hotwords")):
        if name in searching and other not in searching:
            raise UsageError(
                f"--{name.replace('_', '-')} says how --{other} counts; give one with --{other} FILE"
            )
    if "grammar" in searching and "lexicon" in searching:
        raise UsageError("--grammar lists its own words: give it or --lexicon, not both")
    for name in ("rescore_weight", "rescore_bonus", "session"):
        if getattr(args, name, None) is not None and "rescore" not in searching:
            raise UsageError(
                f"--{name.replace('_', '-')} goes with a second pass; give its model with --rescore"
            )
    for name in ("lm", "lexicon", "hotwords", "grammar", "rescore"):
        if name in searching:
            check_file(name, searching[name])
    options: dict[str, Any] = {name: value for name, value in searching.items() if name != "rescore"}
    if args.decoder is not None:
        options["decoder"] = args.decoder
    if nbest > 1:
        options["nbest"] = nbest
    implied = args.decoder is None and (options or searching)
    if model is not None and implied and model.decoder.get("decoder", "greedy") == "greedy":
        options["decoder"] = "beam"
    if model is not None:
        from carousel.common.recogniser import options as over_defaults

        if nbest > DEFAULT_BEAM and "beam" not in over_defaults(model, options):
            options["beam"] = nbest
        _check(model, options, over_defaults(model, options))
    return options


def _check(model: Model, options: dict[str, Any], whole: dict[str, Any]) -> None:
    """What the decoder cannot do is told once, not for each input. Raises UsageError for options that
    contradict the model's own decoder, InputError for files and models that cannot be used."""
    import numpy as np

    from carousel.common.decoding import decode_batch
    from carousel.common.decoding.constraints import constraints_of

    constraints_of(model.alphabet, **{name: options[name] for name in KNOWING if name in options})
    # Without frames; a grammar may not allow that, and would warn.
    nothing = [] if whole.get("decoder") == "beam" else [np.zeros((0, len(model.alphabet)))]
    try:
        decode_batch(nothing, model.alphabet, **whole)
    except (InputError, TypeError) as error:
        if not options:
            raise InputError(
                f"{model.path}: its settings of a decoder cannot be used ({error}); give --decoder"
            ) from error
        own = ", ".join(f"{key} {value}" for key, value in model.decoder.items())
        raise UsageError(f"{error} (the model's own: {own}); give --decoder or --beam as well") from error


def check_file(option: str, path: Path) -> None:
    """Raises UsageError unless the file that an option names is there."""
    if not path.is_file():
        what = "this is a folder; give a file" if path.is_dir() else "there is no such file"
        if path.exists() and not path.is_dir():
            what = "this is a pipe or a device, and it is read more than once; save it as a file"
        raise UsageError(f"--{option} {path}: {what}")


def check_picture(option: str, path: Path) -> None:
    """Raises UsageError for a picture that cannot be written."""
    if path.suffix != ".png" or path.is_dir():
        raise UsageError(f"--{option} {path}: the picture is written as FILE.png")
    if not path.parent.is_dir():
        raise UsageError(f"--{option} {path}: there is no folder {path.parent}; make it first")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all; folders are made. Raises InputError where that cannot be."""
    make_folder(path.parent)
    try:
        with atomic_text(path, errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); give another --output") from error


def make_folder(folder: Path) -> None:
    """Makes a folder for the output, and those above it. Raises InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{folder}: is a file, so it cannot be a folder; give another --output") from None
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be made ({_reason(error)}); give another --output"
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def emitter(inputs: Sequence[Input], args: argparse.Namespace) -> Callable[[Input, str], None]:
    """The function that takes the text of an input, in args.format, to standard output or into args.output.

    Several inputs share standard output where their format allows: txt gets the name and a tab before the
    text (as soon as several inputs, or a folder, were named), json has one object a line, ctm has names.
    Raises InputError rather than writing over an input.
    """
    several = len(inputs) > 1 or len(args.inputs) > 1 or any(map(os.path.isdir, args.inputs))
    if args.output is not None:
        return _file_emitter(inputs, args.output, args.format)
    if several and args.format not in SHARED:
        raise UsageError(
            f"several inputs cannot share one {args.format} file: give a folder with --output DIR"
        )
    if streams.is_closed("stdout"):
        raise InputError("standard output is closed, so the result has no place: give --output DIR")
    terminal = sys.stdout.isatty()

    def emit(item: Input, text: str) -> None:
        name = STDIN if item.path is None and item.page is None else " ".join(item.label.split())
        named = (several or item.page is not None) and args.format == "txt"
        text = f"{name}\t{text}" if named else text
        sys.stdout.write(printable(text, keep="\n\t") if terminal else text)
        sys.stdout.flush()

    return emit


def _file_emitter(inputs: Sequence[Input], folder: Path, suffix: str) -> Callable[[Input, str], None]:
    def target_of(item: Input) -> Path:
        page = "" if item.page is None else f".page{item.page}"
        return folder / f"{item.stem}{page}.{ENDINGS.get(suffix, suffix)}"

    taken = {os.path.realpath(item.path) for item in inputs if item.path is not None}
    targets = {target_of(item) for item in inputs}

    def check(target: Path) -> None:
        if os.path.realpath(target) in taken:
            raise InputError(
                f"{target}: would be written over, and it is an input; give another folder to --output"
            )

    def emit(item: Input, text: str) -> None:
        target = target_of(item)
        if item.page is not None:
            check(target)
            if target in targets:
                raise InputError(f"{target}: is the output of another input; give another folder to --output")
        write_whole(target, text)

    for target in targets:
        check(target)
    make_folder(folder)
    return emit


def run(
    inputs: Iterable[Key],
    read: Callable[[Key], Source],
    work: Callable[[list[Source]], list[Result]],
    emit: Callable[[Key, Result], None],
    failures: Failures,
    *,
    name: Callable[[Key], str],
    weigh: Callable[[Source], int],
    budget: int,
) -> None:
    """Takes inputs through read (one at a time), work (in groups, to fill batches) and emit, in order.

    What fails at any of these, in whatever way, is named and left out; all others are done. A group is full
    when the weights of its sources (frames) reach the budget, or at GROUP sources.
    """

    def finish(group: list[tuple[Key, Source]]) -> None:
        for key, result in _worked(group, work, failures, name):
            try:
                emit(key, result)
            except BrokenPipeError:
                raise
            except Exception as error:
                failures.add(name(key), error)

    group: list[tuple[Key, Source]] = []
    weight = 0
    for key in inputs:
        try:
            source = read(key)
            weight += weigh(source)
        except Exception as error:
            failures.add(name(key), error)
            continue
        group.append((key, source))
        if weight >= budget or len(group) >= GROUP:
            finish(group)
            group, weight = [], 0
    finish(group)


def _worked(
    group: list[tuple[Key, Source]],
    work: Callable[[list[Source]], list[Result]],
    failures: Failures,
    name: Callable[[Key], str],
) -> Iterator[tuple[Key, Result]]:
    """Each key with its result; if the group fails, one after the other, to name the one to blame."""
    if not group:
        return
    try:
        results = work([source for _, source in group])
    except Exception as error:
        if len(group) == 1:
            failures.add(name(group[0][0]), error)
            return
        for single in group:
            yield from _worked([single], work, failures, name)
        return
    yield from zip((key for key, _ in group), results, strict=True)
