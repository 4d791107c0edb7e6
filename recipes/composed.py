"""Settings of a program of recipes, composed by Hydra as those of `asr train` are."""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from carousel.common.errors import InputError, UsageError
from carousel.common.settings.field import check, defaults
from carousel.common.train.recipe import CONF

Action = Callable[[dict[str, Any], Collection[str], Path], None]


def run_composed(program: str, settings: Any, overrides: Sequence[str], action: Action) -> None:
    """Calls `action` with the settings, those that the command line has named, and the folder of the run.

    settings: an instance of a class of settings, the defaults; -m among the overrides makes several runs.
    Raises UsageError for overrides that cannot be used, InputError as the action does.
    """
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf

    failed: list[InputError] = []
    ours = ["runs", {"override hydra/job_logging": "carousel"}, {"override hydra/hydra_logging": "carousel"}]
    ConfigStore.instance().store(program, {"defaults": [*ours, "_self_"], **defaults(settings)})

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=program)
    def run(config: DictConfig) -> None:
        given: Any = OmegaConf.to_container(config, resolve=True)
        told = {override.partition("=")[0].lstrip("+") for override in HydraConfig.get().overrides.task}
        try:
            _check(type(settings), given)
            action(given, told, Path(HydraConfig.get().runtime.output_dir))
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


def _check(schema: type, given: dict[str, Any]) -> None:
    try:
        check(schema, given, "")
    except InputError as error:
        raise UsageError(str(error)) from error
