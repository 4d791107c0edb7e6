"""`models` and `export`: what recognisers and language models there are, and one of them as an ONNX file."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from carousel.common.cli import options
from carousel.common.cli.failures import DONE, Failures
from carousel.common.cli.program import Program
from carousel.common.cli.streams import printable, show
from carousel.common.errors import InputError, UsageError


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(
        commands,
        "models",
        "list the models that ship, and those of given folders, language models too",
        f"""
        {program.name} models
        {program.name} models runs/mine --json
        """,
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER|FILE", help="model files, or folders of them, to list too"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")

    parser.set_defaults(run=lambda program, args: list_models(program.models, args.folders, args.json))

    parser = options.command_parser(
        commands,
        "export",
        "write a model as an ONNX file",
        f"""
        {program.name} export runs/mine mine.onnx
        {program.name} evaluate test.jsonl --model mine.onnx
        """,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model file, the folder of a training run, or a model that ships"
    )
    parser.add_argument("file", metavar="FILE.onnx", type=Path, help="what to write")

    parser.set_defaults(
        run=lambda program, args: export_model(args.model, args.file, program.models, program.names)
    )


def list_models(shipped: Path, given: Iterable[str], as_json: bool) -> int:
    """Prints the models that ship and those of the given folders or files; returns the exit status."""
    from carousel.common.model.catalogue import describe

    failures = Failures()
    found = []
    for path in _paths(shipped, given, failures):
        try:
            found.append(describe(path))
        except Exception as error:
            failures.add(str(path), error)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else _table(found))
    return failures.status


def export_model(choice: str, target: Path, shipped: Path, domains: Sequence[str]) -> int:
    """Writes a model as ONNX and says so on one line; returns the exit status.

    Raises UsageError for a target that is no .onnx, InputError for a model that cannot be exported.
    """
    from carousel.common.model import onnx_run
    from carousel.common.model.catalogue import open_model
    from carousel.common.model.onnx_export import export

    if target.suffix != onnx_run.SUFFIX or target.is_dir():
        raise UsageError(f"{target}: a model is exported as FILE{onnx_run.SUFFIX}")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}; make it first")
    model = open_model(choice, shipped, domains, "cpu")
    difference = export(model, target)
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    show(f"{target}: {model.card['name']}, {size}, log-probabilities within {difference:.0e} of torch's")
    return DONE


def _paths(shipped: Path, given: Iterable[str], failures: Failures) -> list[Path]:
    from carousel.common.model import onnx_run
    from carousel.common.model.file import is_checkpoint
    from carousel.common.model.names import SUFFIX

    paths = sorted(shipped.glob("*" + SUFFIX))
    for argument in given:
        path = Path(argument)
        inside = [path]
        if path.is_dir():  # a run folder also holds what training is resumed from
            inside = [file for file in sorted(path.glob("*" + SUFFIX)) if not is_checkpoint(file)]
            inside += sorted(path.glob("*" + onnx_run.SUFFIX))
        if not inside:
            failures.add(
                argument,
                InputError(f"there is no model file (*{SUFFIX}, *{onnx_run.SUFFIX}) in this folder"),
            )
        paths += inside
    return paths


def _table(models: Sequence[dict[str, Any]]) -> str:
    """Aligned columns, the longest text last; the default of each domain has a star.

    Where the terminal is too narrow for them, a paragraph a model."""
    from carousel.common.model.catalogue import DOMAINS

    if not models:
        return "no models"
    rows: list[tuple[str, ...]] = [("NAME", "READS", "SYMBOLS", "SIZE", "LICENCE", "RESULTS")]
    for model in models:
        star = " *" if model["default"] else ""
        size = f"{model['bytes'] / 1e6:.1f} MB"
        results = _short(model["results"])
        reads = DOMAINS.get(model["domain"]) or f"{model['kind']}, {model['unit']}"
        licence = str(model["licence"] or "?")
        rows.append((model["name"] + star, reads, str(model["symbols"]), size, licence, results))
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
    wide = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and max(map(len, lines)) > wide:
        lines = [line for row in rows[1:] for line in _paragraph(rows[0], row, wide)][:-1]
    return "\n".join([*lines, "", "* taken when no --model is given"])


def _paragraph(names: Sequence[str], row: Sequence[str], wide: int) -> list[str]:
    """A row of the table as lines that are no wider than this, and an empty one."""
    indent = max(map(len, names)) + 3
    lines = [row[0]]
    for name, cell in zip(names[1:], row[1:], strict=True):
        first = "  " + name.lower().ljust(indent - 2)
        lines += cell and textwrap.wrap(first + cell, max(wide, 2 * indent), subsequent_indent=" " * indent)
    return [*lines, ""]


def _short(results: Any) -> str:
    """Results of a model card on one line, whatever their shape."""
    if isinstance(results, dict):
        return ", ".join(f"{key} {_short(value)}" for key, value in results.items())
    if isinstance(results, list | tuple):
        return "; ".join(_short(value) for value in results)
    return "" if results is None else " ".join(str(results).split())
