"""The command line that every `prepare.py` has."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from carousel.common.cli.failures import sentence
from carousel.common.cli.streams import say
from carousel.common.errors import InputError


def parser(module: str, description: str | None, output: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring.

    With `output` it takes what most corpora need: CORPUS, and OUTPUT, which defaults to `output`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,  # docstrings keep their lines
    )
    if output is not None:
        text = f"folder for the manifests [{output}]"
        parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder of the corpus, as published")
        parser.add_argument("output", type=Path, metavar="OUTPUT", nargs="?", default=Path(output), help=text)
    return parser


def run(prepare: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Exit status of `prepare`: 0, or 1 after an InputError, whose sentence goes to stderr."""
    try:
        prepare(arguments)
    except InputError as error:
        say(sentence(error))
        return 1
    return 0


def require(folder: Path, names: Iterable[str]) -> None:
    """Raises InputError for the first file of a corpus that is not in its folder."""
    names = list(names)
    for name in names:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: is missing; CORPUS is the folder that holds {', '.join(names)}"
            )
