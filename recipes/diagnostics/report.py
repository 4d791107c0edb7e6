"""All trainings of a task, and what is left of them: a table, a picture, results.csv."""

import csv
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median

from carousel.common.cli.streams import show
from carousel.common.errors import InputError, UsageError
from carousel.common.files import atomic_text
from carousel.common.settings.field import defaults
from carousel.common.train.runs import save_config
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Run, Task, told, train

NAN = float("nan")
RESULTS, PLOT = "results.csv", "plot.png"

log = logging.getLogger(__name__)


def run_task(task: Task, settings: Settings, given: Collection[str], folder: Path) -> list[Run]:
    """Trains each variant from each seed and writes the results into the folder.

    given: settings that the user has named, which go before a variant's own.
    Raises InputError for a folder that holds results already, UsageError for a variant that is not there.
    """
    if (folder / RESULTS).exists():
        raise InputError(f"{folder}: already holds {RESULTS}; give another name=…, or remove it")
    names = settings.variants if settings.variants is not None else tuple(task.variants)
    if unknown := [name for name in names if name not in task.variants]:
        raise UsageError(f"there is no variant {', '.join(unknown)}; there are {', '.join(task.variants)}")
    folder.mkdir(parents=True, exist_ok=True)
    save_config(defaults(settings), folder)
    runs = []
    for name in names:
        own = {key: value for key, value in task.variants[name].items() if key not in given}
        for seed in settings.seeds:
            runs.append(train(task, replace(settings, **own), seed, name))
            log.info("%s", line(runs[-1]))
            write(runs, folder / RESULTS)
    task.draw(runs, folder / PLOT)
    if task.write:
        for run in runs:
            task.write(run, folder)
    show(table(runs))
    return runs


def line(run: Run) -> str:
    """A training in a line."""
    end = "solved" if run.solved else "not solved"
    spent = f"{run.steps} steps, {run.steps * run.settings.batch} sequences, {run.seconds:.0f} s"
    return f"{run.variant} seed {run.seed}: {end} after {spent}; {told(run.measured)}"


def write(runs: Sequence[Run], path: Path) -> None:
    """A line a training, as CSV."""
    measures = list(dict.fromkeys(name for run in runs for name in run.measured))
    with atomic_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "seed", "solved", "steps", "sequences", "seconds", *measures])
        for run in runs:
            spent = [run.steps, run.steps * run.settings.batch, round(run.seconds, 1)]
            values = [f"{run.measured[name]:.6g}" if name in run.measured else "" for name in measures]
            writer.writerow([run.variant, run.seed, int(run.solved), *spent, *values])


def table(runs: Sequence[Run]) -> str:
    """A line a variant, as Markdown: how many seeds solved it, the median of the sequences that those needed,
    and each measure of all seeds."""
    measures = list(runs[0].measured)
    lines = [["variant", "solved", "sequences", *measures], ["---"] * (3 + len(measures))]
    for variant, group in groupby(runs, key=lambda run: run.variant):
        several = list(group)
        needed = [run.steps * run.settings.batch for run in several if run.solved]
        values = [" / ".join(f"{run.measured.get(name, NAN):.4g}" for run in several) for name in measures]
        spent = f"{median(needed):,.0f}" if needed else "–"
        lines.append([variant, f"{len(needed)} of {len(several)}", spent, *values])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
