"""`asr train` and `hwr train`: from a Hydra command line to a training."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm
from yaml import YAMLError  # type: ignore[import-untyped]

from common import settings as setting
from common.command import DONE, FAILED, USAGE, UsageError, sentence
from common.errors import InputError
from common.recipe import ROOT, TEXT, find_recipe

log = logging.getLogger(__name__)


class ProgressHandler(logging.StreamHandler):
    """Log lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def main(
    domains: tuple[str, ...],
    argv: list[str],
    read: Callable[..., np.ndarray],
    size: Callable[[Mapping[str, Any]], int],
    models: Path,
) -> int:
    """Runs the training that the arguments after `train` describe; returns the exit status.

    It is 2 for settings that cannot be used, 1 for a training that cannot be done with them.
    domains: those that this command trains ("speech"; "image", "ink"); read, size: as
    `common.training.train` takes them; models: the folder of those that ship, for init=NAME.
    """
    recipe = next((a.removeprefix("recipe=") for a in argv if a.startswith("recipe=")), None)
    helping = any(a in ("-h", "--help", "--hydra-help", "--version") for a in argv)
    if recipe is None and not helping:
        raise UsageError("train needs recipe=NAME (a recipe's name or its folder)")
    given = [a for a in argv if not a.startswith("recipe=")]
    overrides = [a for a in given if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    options = [
        a for a in given if a not in overrides
    ]  # in front, as argparse takes the overrides in one piece
    if recipe is not None:
        folder = find_recipe(recipe)
        # the recipe's own yaml is the primary configuration; conf/ lies behind it in the search path
        options = ["--config-dir", str(folder), "--config-name", "recipe", *options]
        overrides = [f"++name={folder.name}", *overrides]
    status = DONE

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="base")
    def run(config: DictConfig) -> None:
        nonlocal status
        try:
            _train(config, domains, read, size, models)
        except InputError as error:  # here, as Hydra would print a traceback; the other jobs of a sweep go on
            log.error("%s", sentence(error))
            status = max(status, USAGE if isinstance(error, UsageError) else FAILED)

    sys.argv = [sys.argv[0], *options, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print and exit itself, with status 1
    try:
        run()
    except (HydraException, YAMLError) as error:
        reason = (
            f" ({sentence(error.__cause__)})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        )
        where = f"{error.override}: " if isinstance(error, OverrideParseException) else ""
        raise UsageError(f"{where}{sentence(error)}{reason}") from error
    return status


@contextmanager
def _settings() -> Iterator[None]:
    """What is wrong with settings themselves is wrong usage."""
    try:
        yield
    except InputError as error:
        raise UsageError(str(error)) from error


def _train(
    config: DictConfig, domains: tuple[str, ...], read: Callable, size: Callable, models: Path
) -> None:
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    settings = _resolved(config)
    switched = {override.partition("=")[0] for override in HydraConfig.get().overrides.task}
    if settings["domain"] == TEXT:
        _train_language(settings, switched, models, folder)
        return
    whole: Any = HydraConfig.instance().cfg
    referenced = set(re.findall(r"\$\{\.*([\w-]+)", OmegaConf.to_yaml(config) + OmegaConf.to_yaml(whole)))
    with _settings():
        check_domain(settings["domain"], domains)
        setting.check(settings, referenced, switched)

    # torch only now: --help and mistakes in the command answer at once
    from common.shelf import find_model
    from common.training import train

    if settings["init"]:
        settings["init"] = str(find_model(settings["init"], models))
    train(settings, read, size, folder)


def _train_language(settings: dict[str, Any], switched: set[str], models: Path, folder: Path) -> None:
    with _settings():
        setting.check_language(settings, switched)

    from common.language_training import train
    from common.model_file import load
    from common.shelf import find_model

    for key in ("fit", "init"):
        if settings[key]:
            settings[key] = str(find_model(settings[key], models))
    train(settings, load(settings["fit"]).alphabet if settings["fit"] else None, folder)


def _resolved(config: DictConfig) -> dict[str, Any]:
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        settings: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        raise UsageError(f"the recipe cannot be resolved: {error}") from error
    if missing:
        raise UsageError(
            f"the recipe leaves out {', '.join(missing)}: add it to recipe.yaml or to the command"
        )
    return settings


def check_domain(domain: str, domains: tuple[str, ...]) -> None:
    """Raises InputError if this command does not train recognisers of `domain`."""
    if domain not in domains:
        other = "asr" if domain == "speech" else "hwr"
        raise InputError(
            f"domain={domain} is not what this command trains ({', '.join(domains)}); use {other} train"
        )
