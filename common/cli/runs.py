"""`runs`: the folders of trainings, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from carousel.common.cli import options
from carousel.common.cli.failures import DONE, Failures
from carousel.common.cli.files import check_picture
from carousel.common.cli.program import Program
from carousel.common.cli.streams import show
from carousel.common.errors import InputError

RATES = ("valid_cer", "valid_wer")  # columns that are shown in per cent
COLUMNS = 6  # settings that the table has room for
WIDEST = 30  # characters of a value in the table


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(
        commands,
        "runs",
        "list and compare the run folders of trainings",
        f"""
        {program.name} runs                              all below runs/, the best first
        {program.name} runs runs/a runs/b --plot ab.png  their curves in one picture
        {program.name} runs runs/mine-sweep --json
        """,
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        metavar="FOLDER",
        help="run folders, or folders of them (default: runs)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw their curves over each other")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.set_defaults(run=lambda program, args: list_runs(args.folders, args.plot, args.json))


def list_runs(folders: Sequence[Path], picture: Path | None, as_json: bool = False) -> int:
    """Prints the runs, those apart that cannot be read; returns the exit status."""
    from carousel.common.train import compare

    if picture:
        check_picture("plot", picture)
    failures = Failures()
    runs = []
    for folder in dict.fromkeys(compare.find(folders)):
        try:
            runs.append(compare.read(folder))
        except InputError as error:
            failures.add(str(folder), error)
    keys = compare.differing(runs)
    if as_json:
        show(json.dumps(compare.table(runs, keys), ensure_ascii=False, indent=2))
    else:
        show("\n".join(tabulated(compare.table(runs, keys[:COLUMNS]))))
        if more := keys[COLUMNS:]:
            show(f"{len(more)} more settings differ, which --json has: {', '.join(more)}")
    if picture:
        from carousel.common.plots import draw_runs

        draw_runs({str(run.folder): run.rows for run in runs if run.rows}, picture)
    return failures.status if failures.count else DONE


def tabulated(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table with a column for each key of some line."""
    keys = list(dict.fromkeys(key for line in lines for key in line))
    cells = [keys, *([_cell(key, line.get(key)) for key in keys] for line in lines)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(keys))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if key in RATES or (key == "last" and value < 2) else f"{value:g}"
    text = str(value)
    return text if len(text) <= WIDEST or key == "run" else f"{text[: WIDEST - 1]}…"
