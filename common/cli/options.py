"""The options that several commands share, each with its default in --help. Nothing heavy is imported."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli.streams import QUIET, USUAL, VERBOSE
from carousel.common.options import COUNTS, settings

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SESSIONS = "the files of one folder in their order, the pieces of one file, or none"
PRECISIONS = ("auto", "fp32", "bf16")
IGNORABLE = ("case", "punctuation")  # of common.text.metrics.without
BATCH_FRAMES = 20_000  # as in common.recogniser


def number(
    least: float = -math.inf, most: float = math.inf, kind: Callable[[str], float] = float
) -> Callable[[str], float]:
    """argparse type: a finite number (kind: float or int) between least and most."""
    bounds = [f" of at least {least:g}"] * (least > -math.inf) + [f" of at most {most:g}"] * (most < math.inf)
    what = f"{'whole ' * (kind is int)}number{' and'.join(bounds)}"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (-math.inf < value < math.inf and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")
        return value

    return read


count = number(*COUNTS)


def shard(text: str) -> tuple[int, int]:
    """argparse type: K/N, the K-th of N shares."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N, as 3/16, with K from 1 to N")
    return int(number), int(count)


def channels(text: str) -> tuple[str, ...] | None:
    """argparse type: None for mix, nothing for split, or the names of channels."""
    names = tuple(name.strip() for name in text.split(","))
    if names in (("mix",), ("split",)):
        return None if names[0] == "mix" else ()
    if len(names) < 2 or not all(names) or len({*names}) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not mix, split, or two or more names with commas")
    return names


def several(known: Sequence[str]) -> Callable[[str], list[str]]:
    """argparse type: one or more of these, parted by commas, each once."""

    def read(text: str) -> list[str]:
        found = list(dict.fromkeys(part.strip() for part in text.split(",")))
        if not set(found) <= set(known):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not one of {', '.join(known)}, or several with commas between them"
            )
        return found

    return read


def ignorable(text: str) -> list[str]:
    """argparse type: what `evaluate --ignore` leaves out of account, parted by commas."""
    return several(IGNORABLE)(text)


def language_model(text: str) -> Path:
    """argparse type: the file of a language model, or the one that `train` left in the folder of a run."""
    path = Path(text)
    return path / "best.safetensors" if path.is_dir() else path


class Parser(argparse.ArgumentParser):
    """Tells of an unknown option with the usage of the subcommand that it was given to, and a near name."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            near = [
                f"{word} (did you mean {match}?)"
                for word in rest
                for match in difflib.get_close_matches(word.partition("=")[0], known, 1)
            ]
            self.error(f"unrecognized arguments: {' '.join(near or rest)}")
        return found, rest


def program_parser(name: str, purpose: str, version: str) -> argparse.ArgumentParser:
    whole = Parser(
        name,
        description=purpose,
        epilog=f"{name} COMMAND --help shows the options of a command. "
        "Exit status: 0 all done, 1 some inputs failed (each is named on stderr, the others are done), "
        "2 wrong usage.",
    )
    whole.add_argument("--version", action="version", version=f"{name} {version}")
    return whole


def command_parser(commands: Subparsers, name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    """A subcommand with its purpose above its options and examples below."""
    return commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog="examples:\n" + "\n".join("  " + line.strip() for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_talk_arguments(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    for short, word, much, what in (
        ("-q", "--quiet", QUIET, "tell on standard error only what fails: no notes, no progress"),
        ("-v", "--verbose", VERBOSE, "tell which model reads and how long each step takes as well"),
    ):
        either.add_argument(
            short, word, dest="talk", action="store_const", const=much, default=USUAL, help=what
        )


def add_model_arguments(parser: argparse.ArgumentParser, program: str, batches: bool = True) -> None:
    parser.add_argument(
        "--model",
        metavar="M",
        help="a model file (.safetensors, or .onnx as `export` makes it), the folder of a training run, or "
        f"the name of a model that ships (default: the one that `{program} models` marks with *)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the network runs (default: auto, the GPU if there is one)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="precision of the matrix products; log-probabilities and search are float32 (default: auto, "
        "bf16 where the machine multiplies it faster, else fp32; an .onnx has its own and takes only auto)",
    )
    add_talk_arguments(parser)
    if not batches:
        return
    parser.add_argument(
        "--batch-frames",
        type=count,
        default=BATCH_FRAMES,
        metavar="N",
        help=f"frames that go through the network at once; fewer take less memory (default: {BATCH_FRAMES})",
    )


def add_decoder_arguments(
    parser: argparse.ArgumentParser,
    session: tuple[str, ...] | None = None,
    nbest: bool = True,
    second_pass: bool = True,
) -> None:
    """session: what --session may be, the default first; None: any key of a manifest."""
    for name, setting in settings().items():
        if (name == "nbest" and not nbest) or (name.startswith("rescore") and not second_pass):
            continue
        bounds, choices = setting["bounds"], setting["choices"]
        kind: Callable[[str], Any] = number(*bounds) if bounds else Path
        if name == "rescore":
            kind = language_model
        metavar = "FILE" if not bounds else "N" if bounds == COUNTS else "X"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            *setting["also"],
            type=str if choices else kind,
            choices=choices,
            metavar=None if choices else metavar,
            default=1 if name == "nbest" else None,
            help=setting["help"],
        )
    if not second_pass:
        return
    parser.add_argument(
        "--session",
        choices=session,
        metavar=None if session else "KEY",
        help="over what that model remembers the texts before: "
        + (
            f"{SESSIONS} (default: {session[0]})"
            if session
            else "samples with one value of this key of the manifest, or none (default: speaker or writer)"
        ),
    )


def add_output_arguments(parser: argparse.ArgumentParser, formats: Iterable[str]) -> None:
    """formats: the default first."""
    formats = tuple(formats)
    parser.add_argument(
        "-f",
        "--format",
        type=several(formats),
        default=[formats[0]],
        metavar="F[,F…]",
        help=f"what to write: {', '.join(formats)}; several, as {','.join(formats[:2])}, with --output "
        f"(default: {formats[0]})",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write one file for each input into this folder (default: everything to standard output)",
    )
