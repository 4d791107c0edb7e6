"""`asr prepare` and `hwr prepare`: the prepare.py of a recipe turns a corpus into manifests.

Such a module has a docstring, which is its help, `prepare(arguments)`, and perhaps OPTIONS: arguments beyond
CORPUS and OUTPUT, or in place of them, as the names and settings that argparse takes. Those that are not
options are paths.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from carousel.common.cli import options
from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.program import Program
from carousel.common.train.recipe import ROOT, recipes

Options = dict[str, dict[str, Any]]


def add(commands: options.Subparsers, program: Program) -> None:
    """Adds the command with the recipes of the program, none of which is imported before it is named."""
    parser = options.command_parser(
        commands,
        "prepare",
        "turn a corpus, as published, into manifests",
        f"""
        {program.name} prepare NAME CORPUS              manifests in data/NAME
        {program.name} prepare NAME CORPUS OUTPUT       manifests in OUTPUT
        {program.name} prepare NAME --help              what a recipe needs, and its options
        """,
    )
    names = parser.add_subparsers(title="recipes", metavar="NAME", required=True, parser_class=RecipeParser)
    for name in recipes(program.names):
        with (ROOT / "recipes" / name / "prepare.py").open(encoding="utf-8") as file:
            purpose = file.readline().strip('".\n')
        names.add_parser(name, help=purpose, recipe=name)


class RecipeParser(options.Parser):
    """Takes its help and its arguments from a recipe once it has to parse."""

    def __init__(self, recipe: str, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.recipe = recipe

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if self.description is None:
            module = import_module(f"carousel.recipes.{self.recipe}.prepare")
            _describe(self, module, _common(self.recipe) | getattr(module, "OPTIONS", {}))
        return super().parse_known_args(args, namespace)


def _common(recipe: str) -> Options:
    return {
        "corpus": {"help": "folder of the corpus, as published"},
        "output": {
            "nargs": "?",
            "default": Path("data", recipe),
            "help": "folder for the manifests (default: %(default)s)",
        },
    }


def run(module: ModuleType, argv: Sequence[str] | None = None) -> int:
    """The exit status of a module of the recipes that is a command of its own: `python -m module`."""
    name = module.__spec__.name if module.__spec__ else module.__name__
    parser = options.Parser(f"python -m {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    _describe(parser, module, module.OPTIONS)
    arguments = parser.parse_args(argv)
    return guarded(partial(arguments.run, None, arguments), name.rpartition(".")[2])


def _describe(parser: argparse.ArgumentParser, module: ModuleType, entries: Options) -> None:
    parser.description = module.__doc__
    for name, settings in entries.items():
        if f"--{name}" in entries:  # an option of a recipe takes the place of the argument
            continue
        path: dict[str, Any] = {} if name.startswith("-") else {"type": Path, "metavar": name.upper()}
        parser.add_argument(name, **path | settings)
    parser.set_defaults(run=partial(_prepare, module.prepare))


def _prepare(
    prepare: Callable[[argparse.Namespace], None], program: Program | None, arguments: argparse.Namespace
) -> int:
    prepare(arguments)
    return DONE
