"""`explain`: a page that shows how one input is read."""

from __future__ import annotations

import argparse
from pathlib import Path

from carousel.common.cli import options
from carousel.common.cli.failures import Failures
from carousel.common.cli.files import check_page
from carousel.common.cli.inputs import Input
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.streams import show


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(
        commands,
        "explain",
        f"write a page that shows how one {program.input} is read: activations, CTC's lattice, gates, search",
        f"""
        {program.name} explain {program.example}                         explained.html
        {program.name} explain {program.example} --word seven --layer 2  a word, and the layer of the cell
        """,
    )
    parser.add_argument("input", metavar="FILE", help=f"one {program.input}")
    options.add_model_arguments(parser, program.name)
    parser.add_argument("--word", help="the word that is looked at (default: the first that is read)")
    parser.add_argument("--layer", type=options.count, metavar="N", help="of the cell (default: the last)")
    parser.add_argument(
        "--direction",
        choices=("forward", "backward"),
        default="forward",
        help="of the cell's layer (default: forward)",
    )
    parser.add_argument(
        "--unit", type=options.count, metavar="N", help="the cell (default: the one that the word moves most)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("explained.html"),
        metavar="FILE",
        help="the page to write (default: explained.html)",
    )
    program.add_truncation(parser)
    parser.set_defaults(run=explain)


def explain(program: Program, args: argparse.Namespace) -> int:
    check_page("output", args.output)
    failures = Failures()
    opener = Opener(program, args, failures)
    inputs = program.expand([args.input], failures)

    from carousel.common.explain.page import Asked, write_explanation

    direction = 2 if args.direction == "backward" else 1
    asked = Asked(args.word, args.layer, direction, args.unit)
    for item in inputs[:1]:
        try:
            model, prepared = opener.prepare(item)
            text = write_explanation(args.output, _name(item), model, prepared, asked)
            show(f"{args.output}: {text}")
        except Exception as error:
            failures.add(item.name, error)
    return failures.status


def _name(item: Input) -> str:
    return item.path.name if item.path else item.name
