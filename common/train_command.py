"""`asr train` and `hwr train`: from a Hydra command line to a training."""

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from common.command import UsageError
from common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


log = logging.getLogger(__name__)


class ProgressHandler(logging.StreamHandler):
    """Log lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def find_recipe(name: str) -> Path:
    """The folder of a recipe: one of ours by its name, or any folder with a recipe.yaml."""
    for folder in (Path(name), ROOT / "recipes" / name):
        if (folder / "recipe.yaml").is_file():
            return folder.resolve()
    ours = sorted(p.parent.name for p in (ROOT / "recipes").glob("*/recipe.yaml"))
    raise InputError(
        f"recipe={name}: no such recipe; there are {', '.join(ours)}, or give a folder with a recipe.yaml"
    )


def main(
    domains: tuple[str, ...],
    argv: list[str],
    read: Callable[..., np.ndarray],
    size: Callable[[Mapping[str, Any]], int],
) -> int:
    """Runs the training that the arguments after `train` describe; returns the exit status.

    domains: those that this command trains ("speech"; "image", "ink"); read, size: as
    `common.training.train` takes them.
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
    status = 0

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="base")
    def run(config: DictConfig) -> None:
        nonlocal status
        try:
            _train(config, domains, read, size)
        except InputError as error:  # here, as Hydra would print a traceback; the other jobs of a sweep go on
            log.error("%s", error)
            status = 1

    sys.argv = [sys.argv[0], *options, *overrides]
    run()
    return status


def _train(config: DictConfig, domains: tuple[str, ...], read: Callable, size: Callable) -> None:
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(
            f"the recipe leaves out {', '.join(missing)}: add it to recipe.yaml or to the command"
        )
    settings: Any = OmegaConf.to_container(config, resolve=True)
    check_domain(settings["domain"], domains)

    from common.training import train  # torch only now: --help and mistakes in the command answer at once

    train(settings, read, size, folder)


def check_domain(domain: str, domains: tuple[str, ...]) -> None:
    """Raises InputError if this command does not train recognisers of `domain`."""
    if domain not in domains:
        other = "asr" if domain == "speech" else "hwr"
        raise InputError(
            f"domain={domain} is not what this command trains ({', '.join(domains)}); use {other} train"
        )
