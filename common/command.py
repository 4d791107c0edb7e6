"""What the command lines of `asr` and `hwr` share: inputs, outputs, running over them, exit status.

Neither room is imported here: what differs is handed in as functions. Nothing heavy is imported before it is
needed, so that --help answers at once. The options stand in common/arguments.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import InputError
from common.naming import with_unique_stems

if TYPE_CHECKING:  # loading it brings torch
    from common.model_file import Model

DONE, FAILED, USAGE, INTERRUPTED, BROKEN_PIPE = (
    0,
    1,
    2,
    130,
    141,
)  # exit status; the last two as a shell counts signals
DEFAULT_BEAM = 16  # of the decoders
GROUP = 64  # inputs read before the network sees them: enough to fill batches, few enough to hold
STDIN = "-"

KNOWING = (
    "lm",
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
RECOVERABLE = (InputError, OSError, MemoryError)  # what one input may cause while the others go on

Key = TypeVar("Key")
Source = TypeVar("Source")
Result = TypeVar("Result")


class UsageError(InputError):
    """The command line contradicts itself or asks for what does not exist: exit status 2."""


class Failures:
    """Inputs that could not be used: each is named on stderr at once, and counted for the exit status."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, name: str, error: BaseException) -> None:
        self.count += 1
        message = sentence(error)
        say(message if message.startswith(name) else f"{name}: {message}")

    @property
    def status(self) -> int:
        return FAILED if self.count else DONE


def say(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr, flush=True)


def sentence(error: BaseException) -> str:
    """What an exception says, on one line."""
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}" + (f": {error.filename}" if error.filename else "")
    return " ".join(str(error).split()) or type(error).__name__


def guarded(command: Callable[[], int], program: str) -> int:
    """Runs a command; what a user can cause becomes one line on stderr and a status, not a traceback."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                encoding="utf-8", errors=errors
            )  # texts in any script and any file name, in any locale
    try:
        status = command()
        sys.stdout.flush()
        return status
    except UsageError as error:
        say(f"{program}: {sentence(error)}")
        return USAGE
    except BrokenPipeError:
        # The reader (such as `head`) has gone. Python would complain once more when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (InputError, OSError) as error:
        say(f"{program}: {sentence(error)}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


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
    for name in ("lm_weight", "bonus", "unknown"):
        if (
            name in searching
            and "lm" not in searching
            and not (name == "bonus" and {"lexicon", "grammar"} & searching.keys())
        ):
            raise UsageError(
                f"--{name.replace('_', '-')} says how much a language model counts; give one with --lm"
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
    if nbest > DEFAULT_BEAM and not args.beam:
        options["beam"] = nbest
    if model is not None and (files := {name: options[name] for name in KNOWING if name in options}):
        from common.decoding.knowledge import know

        know(model.alphabet, **files)  # a file that cannot be used is told once, not for each input
    return options


def check_file(option: str, path: Path) -> None:
    """Raises UsageError unless the file that an option names is there."""
    if not path.is_file():
        what = "this is a folder; give a file" if path.is_dir() else "there is no such file"
        raise UsageError(f"--{option} {path}: {what}")


def check_picture(option: str, path: Path) -> None:
    """Raises UsageError for a picture that cannot be written."""
    if path.suffix != ".png" or path.is_dir():
        raise UsageError(f"--{option} {path}: the picture is written as FILE.png")
    if not path.parent.is_dir():
        raise UsageError(f"--{option} {path}: there is no folder {path.parent}; make it first")


@dataclass(frozen=True, slots=True)
class Input:
    """A file, or standard input (no path). `stem`: its own place in an output folder, without suffix.

    Of a file of several pages each is an input of its own; load: reads it, where the file is open already.
    """

    name: str
    path: Path | None
    stem: str
    page: int | None = None
    load: Callable[[], Any] | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.name if self.page is None else f"{self.name}, page {self.page}"


Session = str | None  # over what a second pass remembers; None: over nothing


def session(item: Input, kind: str | None) -> Session:
    """What an input belongs to, by --session: its folder if that is not given, itself, or nothing."""
    if kind == "none":
        return None
    return item.name if item.path is None or kind == "file" else str(item.path.parent)


def expand(
    arguments: Sequence[str],
    suffixes: Iterable[str],
    kind: str,
    failures: Failures,
    also: Callable[[Path], bool] = lambda file: False,
) -> list[Input]:
    """Inputs of FILE|FOLDER|- arguments; of a folder all files below it whose suffix is known, by name.

    A file given by itself is taken whatever its suffix. A folder without a usable file is a failure.
    also: whether to take a file of a folder whose suffix is not known.
    """
    if list(arguments).count(STDIN) > 1:
        raise UsageError("- (standard input) can be read once only")
    if "" in arguments:  # as a path it would be the current folder
        raise UsageError("an input has an empty name; give a file, a folder or - (standard input)")
    known = set(suffixes)
    found: list[Input] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            found.append(Input("standard input", None, "stdin"))
        elif path.is_dir():
            files = _files(path, failures)
            inside = [file for file in files if file.suffix.lower() in known or also(file)]
            if not inside:
                failures.add(argument, InputError(f"there is no {kind} in this folder"))
            found += [Input(str(file), file, str(file.relative_to(path).with_suffix(""))) for file in inside]
        else:
            found.append(Input(argument, path, path.stem))
    return with_unique_stems(found)


def _files(folder: Path, failures: Failures) -> Iterator[Path]:
    """Files below a folder, sorted; hidden ones and hidden folders are left out."""
    for parent, folders, files in os.walk(folder, onerror=lambda error: failures.add(str(folder), error)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all; folders are made. Raises InputError where that cannot be."""
    make_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); give another --output") from error
    finally:
        with suppress(OSError):
            partial.unlink()


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
    several = (
        len(inputs) > 1 or len(args.inputs) > 1 or any(Path(argument).is_dir() for argument in args.inputs)
    )
    if args.output is not None:
        return _file_emitter(inputs, args.output, args.format)
    if several and args.format not in SHARED:
        raise UsageError(
            f"several inputs cannot share one {args.format} file: give a folder with --output DIR"
        )

    def emit(item: Input, text: str) -> None:
        name = STDIN if item.path is None and item.page is None else " ".join(item.label.split())
        named = (several or item.page is not None) and args.format == "txt"
        sys.stdout.write(f"{name}\t{text}" if named else text)
        sys.stdout.flush()

    return emit


def _file_emitter(inputs: Sequence[Input], folder: Path, suffix: str) -> Callable[[Input, str], None]:
    def target_of(item: Input) -> Path:
        page = "" if item.page is None else f".page{item.page}"
        return folder / f"{item.stem}{page}.{ENDINGS.get(suffix, suffix)}"

    taken = {item.path.resolve() for item in inputs if item.path is not None}
    targets = {target_of(item) for item in inputs}

    def check(target: Path) -> None:
        if target.resolve() in taken:
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

    What fails at any of these is named and left out; all others are done. A group is full when the weights of
    its sources (frames) reach the budget, or at GROUP sources.
    """

    def finish(group: list[tuple[Key, Source]]) -> None:
        for key, result in _worked(group, work, failures, name):
            try:
                emit(key, result)
            except BrokenPipeError:
                raise
            except RECOVERABLE as error:
                failures.add(name(key), error)

    group: list[tuple[Key, Source]] = []
    weight = 0
    for key in inputs:
        try:
            source = read(key)
        except RECOVERABLE as error:
            failures.add(name(key), error)
            continue
        group.append((key, source))
        weight += weigh(source)
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
    except RECOVERABLE as error:
        if len(group) == 1:
            failures.add(name(group[0][0]), error)
            return
        for single in group:
            yield from _worked([single], work, failures, name)
        return
    yield from zip((key for key, _ in group), results, strict=True)
