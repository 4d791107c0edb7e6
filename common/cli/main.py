"""The command line of a program: its commands, one file each beside this one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from carousel import __version__
from carousel.common.cli import (
    align,
    demo,
    evaluate,
    explain,
    listen,
    lm,
    models,
    options,
    prepare,
    runs,
    serve,
    shell,
    spot,
    streams,
    transcribe,
)
from carousel.common.cli.failures import guarded
from carousel.common.cli.program import Program


def main(program: Program, argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["train"] and not {"-h", "--help"} & set(words):  # all that follows is Hydra's
        return guarded(partial(train, program, words[1:]), program.name)
    if words[:1] == ["prepare"]:
        words = prepare.worded(words, program)
    if words[:2] == [shell.COMPLETE, "--"]:
        return shell.complete(program, parser(program), words[2:])
    args = parser(program).parse_args(words)
    streams.talk(getattr(args, "talk", streams.USUAL))
    return guarded(partial(args.run, program, args), program.name)


def parser(program: Program) -> argparse.ArgumentParser:
    whole = options.program_parser(program.name, program.purpose, __version__)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    prepare.add(commands, program)
    add_train(commands, program)
    for command in (transcribe, evaluate, align, spot, lm, models, runs, serve, explain, demo):
        command.add(commands, program)
    if program.live is not None:
        listen.add(commands, program)
    shell.add(commands, program, whole)
    return whole


def add_train(commands: options.Subparsers, program: Program) -> None:
    """Only for --help: `train` hands all its arguments to Hydra before they are parsed here."""
    from carousel.common.train.recipe import recipes

    name, (first, second) = program.name, program.recipes
    parser = options.command_parser(
        commands,
        "train",
        "train a model on your own data, or by a recipe",
        f"""
        {name} train data=FOLDER                     your own data, nothing else needed
        {name} train data=FOLDER trainer.minutes=20  done in 20 minutes
        {name} train recipe={first}
        {name} train recipe={second} network.hidden=320 trainer.epochs=30
        {name} train recipe=path/to/mine          a folder with a recipe.yaml
        {name} train recipe={first} -m seed=1,2,3    three runs
        {name} train name={first} resume=true        go on after a stop, whatever stopped it
        {name} train recipe={first} init=MODEL       start from a model, its network and symbols
        {name} train recipe={first} --cfg job        print the settings, train nothing
        """,
    )
    brief = parser.format_help

    def whole_help() -> str:
        from carousel.common.settings.training import described_settings

        return f"{brief()}\n{described_settings()}\n"

    parser.format_help = whole_help  # type: ignore[method-assign]
    parser.usage = f"{name} train data=PATH|recipe=NAME|FOLDER [KEY=VALUE ...] [-m] [--cfg job]"
    parser.add_argument(
        "data",
        metavar="data=PATH",
        help="a manifest, or a folder, of your own: it is split, and settings and a start are chosen by it",
    )
    parser.add_argument(
        "recipe",
        metavar="recipe=NAME|FOLDER",
        help=f"one of {', '.join(recipes(program.names))}; or a folder with a recipe.yaml",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="another value for a setting, such as seed=2; GROUP=NAME takes another file of a group, "
        "such as optimizer=sgd; +KEY=VALUE adds a key, ~KEY takes one out",
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for each of the values a,b,c")
    parser.add_argument("--cfg", metavar="job", help="print the settings that a training would have")
    parser.add_argument("--hydra-help", action="store_true", help="show the other options, those of Hydra")


def train(program: Program, words: list[str]) -> int:
    from carousel.common.cli.train import main as train_main

    return train_main(program.domains, words)
