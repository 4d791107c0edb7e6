"""python -m carousel.recipes.diagnostics TASK [KEY=VALUE ...]: shows one thing that LSTM is known for.

A run trains each variant of the task from each seed and writes to runs/NAME: results.csv (a line a
training), plot.png, the settings (config.yaml) and train.log. Settings are Hydra's:

  python -m carousel.recipes.diagnostics adding
  python -m carousel.recipes.diagnostics adding name=short length=50 seeds=[1]
  python -m carousel.recipes.diagnostics copying 'variants=[plain]' hidden=128 optimizer.rate=0.002
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.streams import show
from carousel.common.errors import UsageError
from carousel.common.settings.field import described
from carousel.common.settings.training import AdamW
from carousel.recipes.composed import run_composed
from carousel.recipes.diagnostics.settings import Settings

if TYPE_CHECKING:  # torch takes a second
    from carousel.recipes.diagnostics.task import Task

TASKS = sorted(path.stem for path in (Path(__file__).parent / "tasks").glob("[a-z]*.py"))
HELP = ("-h", "--help")


def main(argv: list[str]) -> int:
    """The exit status. Raises UsageError for a task or a setting that does not exist."""
    if not argv or argv[0] in HELP:
        show(helped())
        return DONE
    name, *overrides = argv
    if name not in TASKS:
        raise UsageError(f"there is no task {name}; there are {', '.join(TASKS)}")
    task = import_module(f"carousel.recipes.diagnostics.tasks.{name}").TASK
    if any(word in HELP for word in overrides):
        show("\n".join([_source(name).split('"""')[1], "settings:", *described(task.settings, "  ")]))
        return DONE
    _train(name, task, overrides)
    return DONE


def helped() -> str:
    """What `--help` says: the tasks with a line on each."""
    lines = [f"  {name:<16}{_source(name).partition(chr(10))[0].strip(chr(34))}" for name in TASKS]
    return "\n".join([__doc__ or "", "tasks (TASK --help tells more):", *lines])


def _source(name: str) -> str:
    return (Path(__file__).parent / "tasks" / f"{name}.py").read_text(encoding="utf-8")


def _train(name: str, task: Task, overrides: list[str]) -> None:
    def action(given: dict[str, Any], told: Collection[str], folder: Path) -> None:
        from carousel.recipes.diagnostics.report import run_task

        run_task(task, settings_of(given), told, folder)

    run_composed("diagnostics", replace(task.settings, name=f"diagnostics-{name}"), overrides, action)


def settings_of(given: dict[str, Any]) -> Settings:
    """Settings of plain data, which has been checked."""
    optimizer = AdamW(**given["optimizer"])
    lists = {key: tuple(given[key]) for key in ("seeds", "variants") if given[key] is not None}
    return Settings(**given | lists | {"optimizer": optimizer})


if __name__ == "__main__":
    sys.exit(guarded(partial(main, sys.argv[1:]), "diagnostics"))
