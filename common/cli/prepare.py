"""`asr prepare` and `hwr prepare`: a folder in any layout, or the corpus of a recipe, becomes manifests.

The prepare.py of a recipe has a docstring, which is its help, `prepare(arguments)`, and perhaps OPTIONS:
arguments beyond CORPUS and OUTPUT, or in place of them, as the names and settings that argparse takes. Those
that are not options are paths.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from carousel.common.cli import options
from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.program import Program
from carousel.common.cli.streams import show
from carousel.common.domain import read_data
from carousel.common.errors import UsageError
from carousel.common.settings.field import defaults
from carousel.common.settings.text import Text
from carousel.common.train.recipe import ROOT, recipes

Options = dict[str, dict[str, Any]]
FOLDER = "FOLDER"  # stands before the path of a folder, as the name of a recipe does before its corpus


def add(commands: options.Subparsers, program: Program) -> None:
    """Adds the command with the recipes of the program, none of which is imported before it is named."""
    parser = options.command_parser(
        commands,
        "prepare",
        "turn a folder of recordings or pictures with texts, or a published corpus, into manifests",
        f"""
        {program.name} prepare FOLDER                   what a folder holds, in any layout that is known
        {program.name} prepare FOLDER --output M.jsonl  and the manifest of it
        {program.name} prepare NAME CORPUS              manifests in data/NAME
        {program.name} prepare NAME CORPUS OUTPUT       manifests in OUTPUT
        {program.name} prepare NAME --help              what a recipe needs, and its options
        """,
    )
    names = parser.add_subparsers(title="recipes", metavar="NAME", required=True, parser_class=RecipeParser)
    add_folder(names.add_parser(FOLDER, help=f"any folder of {program.inputs} with their texts", recipe=""))
    for name in recipes(program.names):
        with (ROOT / "recipes" / name / "prepare.py").open(encoding="utf-8") as file:
            purpose = file.readline().strip('".\n')
        names.add_parser(name, help=purpose, recipe=name)


def worded(words: list[str], program: Program) -> list[str]:
    """The command line with FOLDER before the path of a folder, where a recipe's name may stand as well."""
    first = words[1] if len(words) > 1 else ""
    if not first or first in (FOLDER, "-h", "--help", *recipes(program.names)):
        return words
    named = first.startswith("-") or os.path.exists(first) or os.sep in first
    return [words[0], FOLDER, *words[1:]] if named else words


def add_folder(parser: argparse.ArgumentParser) -> None:
    parser.description = "Tells what a folder holds, and writes it as a manifest. Layouts: docs/training.md"
    parser.add_argument("folder", type=Path, metavar="PATH", help="a folder, or a list or manifest in it")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the manifest to write, .jsonl or .jsonl.gz"
    )
    parser.add_argument(
        "--tier", metavar="NAME", help="the tier of TextGrid or ELAN files that has the texts"
    )
    for part in fields(Text):
        choices = part.metadata["choices"] or None
        metavar = None if choices else "CHARACTERS"
        parser.add_argument(
            f"--{part.name}",
            default=part.default,
            choices=choices,
            metavar=metavar,
            help=part.metadata["says"],
        )
    parser.set_defaults(run=prepare_folder)


def prepare_folder(program: Program, args: argparse.Namespace) -> int:
    if args.output is not None and not args.output.name.endswith((".jsonl", ".jsonl.gz")):
        raise UsageError(f"--output {args.output}: a manifest is written as FILE.jsonl or FILE.jsonl.gz")
    if args.output is not None and args.output.exists() and args.output.samefile(args.folder):
        raise UsageError(f"--output {args.output}: this is what is read; give another name")

    from carousel.common.data.layouts.report import report, rewrite
    from carousel.common.data.manifest import write_manifest

    _, found = read_data(args.folder, program.domains, args.tier)
    settings = {part.name: getattr(args, part.name) for part in fields(Text)}
    if settings != defaults(Text):
        rewrite(found, settings)
    for line in report(found):
        show(line)
    if args.output is not None:
        count = write_manifest(args.output, found.rows)
        show(f"{args.output}: {count:,} samples")
    return DONE


class RecipeParser(options.Parser):
    """Takes its help and its arguments from a recipe once it has to parse."""

    def __init__(self, recipe: str, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.recipe = recipe

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if self.recipe and self.description is None:
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
