"""python -m carousel.recipes.diagnostics TASK [KEY=VALUE ...]: shows one thing that LSTM is known for.

A run trains each variant of the task from each seed and writes to runs/NAME: results.csv (a line a
training), plot.png, the settings (config.yaml) and train.log. Settings are Hydra's:

  python -m carousel.recipes.diagnostics adding
  python -m carousel.recipes.diagnostics adding name=short length=50 seeds=[1]
  python -m carousel.recipes.diagnostics copying 'variants=[plain]' hidden=128 optimizer.rate=0.002
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli.failures import DONE, guarded
from carousel.common.cli.streams import show
from carousel.common.errors import InputError, UsageError
from carousel.common.settings.field import check, defaults, described
from carousel.common.train.recipe import CONF
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
    _hydra(name, task, overrides)
    return DONE


def helped() -> str:
    """What `--help` says: the tasks with a line on each."""
    lines = [f"  {name:<16}{_source(name).partition(chr(10))[0].strip(chr(34))}" for name in TASKS]
    return "\n".join([__doc__ or "", "tasks (TASK --help tells more):", *lines])


def _source(name: str) -> str:
    return (Path(__file__).parent / "tasks" / f"{name}.py").read_text(encoding="utf-8")


def _hydra(name: str, task: Task, overrides: list[str]) -> None:
    """Composes the settings as everywhere: defaults, then the command line; -m for several runs."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf

    failed: list[InputError] = []
    ours = ["runs", {"override hydra/job_logging": "carousel"}, {"override hydra/hydra_logging": "carousel"}]
    node: dict[str, Any] = {"defaults": [*ours, "_self_"], **defaults(task.settings)}
    ConfigStore.instance().store("diagnostics", node | {"name": f"diagnostics-{name}"})

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="diagnostics")
    def run(config: DictConfig) -> None:
        from carousel.recipes.diagnostics.report import run_task

        given: Any = OmegaConf.to_container(config, resolve=True)
        told = {override.partition("=")[0].lstrip("+") for override in HydraConfig.get().overrides.task}
        try:
            run_task(task, settings_of(given), told, Path(HydraConfig.get().runtime.output_dir))
        except InputError as error:  # here, as Hydra would print it as well; the other jobs of -m go on
            failed.append(error)

    sys.argv = [sys.argv[0], *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print and exit itself, with status 1
    try:
        run()
    except HydraException as error:
        raise UsageError(str(error)) from error
    if failed:
        raise failed[0]


def settings_of(given: dict[str, Any]) -> Settings:
    """Settings of plain data. Raises UsageError for what cannot be used."""
    try:
        check(Settings, given, "")
    except InputError as error:
        raise UsageError(str(error)) from error
    optimizer = type(Settings().optimizer)(**given["optimizer"])
    lists = {key: tuple(given[key]) for key in ("seeds", "variants") if given[key] is not None}
    return Settings(**given | lists | {"optimizer": optimizer})


if __name__ == "__main__":
    sys.exit(guarded(partial(main, sys.argv[1:]), "diagnostics"))
