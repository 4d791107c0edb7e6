"""Which inputs a run takes: those of a list, one share of them, those that are not yet done."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from carousel.common.cli import streams
from carousel.common.cli.inputs import STDIN, STDINS, Input
from carousel.common.cli.options import shard
from carousel.common.cli.streams import note
from carousel.common.errors import InputError, UsageError, sentence


def add_selection_arguments(parser: argparse.ArgumentParser, inputs: str) -> None:
    parser.add_argument(
        "--files-from",
        metavar="LIST",
        help=f"a file of further {inputs}, one path a line; - for standard input",
    )
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="K/N",
        help="do the K-th of N shares alone, as 3/16: each machine, or each process, has its own",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out what has its files in the folder of --output already: a run that was stopped goes on",
    )


def check(args: argparse.Namespace, what: str) -> None:
    """Adds the paths of --files-from to the inputs. Raises UsageError where there is none, or none can be."""
    if args.skip_existing and args.output is None:
        raise UsageError("--skip-existing looks into the folder of --output; give --output DIR")
    if args.files_from in STDINS and STDIN in args.inputs:
        raise UsageError(f"standard input is a {what} or the list of --files-from, not both")
    if args.files_from is not None:
        args.inputs += listed(args.files_from)
    if not args.inputs:
        raise UsageError(f"no {what} was given; give files, folders, - or --files-from LIST")


def listed(name: str) -> list[str]:
    """The paths of a file, one a line. Raises InputError that names what cannot be read or is empty."""
    try:
        if name not in STDINS:
            with open(name, "rb") as file:
                data = file.read()
        elif sys.stdin is None or streams.is_closed("stdin"):
            raise InputError("standard input: is closed; give a file or a pipe")
        else:
            data = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"--files-from {name}: cannot be read ({sentence(error)})") from error
    lines = (os.fsdecode(line.removesuffix(b"\r")) for line in data.split(b"\n"))
    found = [line for line in lines if line.strip()]
    if not found or "\0" in "".join(found):
        raise InputError(f"--files-from {name}: is no list of paths, one a line; correct it")
    return found


def share(inputs: Sequence[Input], args: argparse.Namespace) -> list[Input]:
    """Those of --shard: every N-th, so that the shares are alike and together all."""
    if args.shard is None:
        return list(inputs)
    number, count = args.shard
    return list(inputs[number - 1 :: count])


def tell_skipped(skipped: int, inputs: Sequence[Input]) -> None:
    if skipped:
        note(f"{skipped} of {len(inputs)} are done already and left out")
