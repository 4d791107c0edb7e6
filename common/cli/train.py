"""`asr train` and `hwr train`: from a Hydra command line to a training."""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from carousel.common.cli import init, own_data
from carousel.common.cli.failures import DONE, FAILED, USAGE
from carousel.common.cli.runs import list_runs
from carousel.common.domain import Domain
from carousel.common.errors import InputError, UsageError, sentence
from carousel.common.settings.training import GROUPS
from carousel.common.train import settings as setting
from carousel.common.train.recipe import (
    ROOT,
    TEXT,
    check_data,
    find_recipe,
    overlaid,
    read_recipe,
    read_run,
)
from carousel.common.train.runs import CONFIG, LAST, OWN, best_rate, refuse_to_overwrite

log = logging.getLogger(__name__)

# keys whose values are texts, whatever Hydra's grammar says to them
TEXTS = ("name", "init", "fit", "data.train", "data.valid", "data.test", "hydra.run.dir", "hydra.sweep.dir")


class ProgressHandler(logging.StreamHandler):
    """Log lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def main(kinds: tuple[Domain, ...], argv: list[str]) -> int:
    """Runs the training that the arguments after `train` describe; returns the exit status.

    It is 2 for settings that cannot be used, 1 for a training that cannot be done with them.
    kinds: those that this command trains, which are read and measured by the same functions.
    """
    recipe = next((a.removeprefix("recipe=") for a in argv if a.startswith("recipe=")), None)
    data = next((a.removeprefix("data=") for a in argv if a.startswith("data=")), None)
    helping = any(a in ("-h", "--help", "--hydra-help", "--version") for a in argv)
    given = [a for a in argv if not a.startswith(("recipe=", "data="))]
    overrides = [a for a in given if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    # in front, as argparse takes the overrides in one piece
    options = [a for a in given if a not in overrides]
    overrides = list(map(_quoted, overrides))
    primary = "base"
    prepared: own_data.Prepared | None = None
    if recipe is not None or not helping:
        # in Hydra's own store, not in its search path: what else lies in a recipe's folder is never read
        primary = "recipe"
        node, overrides, prepared = _primary(recipe, data, overrides, kinds)
        with _settings():
            ConfigStore.instance().store(primary, node)
    setting.register()
    status = DONE
    folders: list[Path] = []  # of the runs
    many = any(option in ("-m", "--multirun") for option in options)
    if many:
        overrides.append(_naming(overrides))

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name=primary)
    def run(config: DictConfig) -> float:
        """Returns what a sweeper seeks the least of: the best valid CER, or perplexity."""
        nonlocal status
        folders.append(_near(Path(HydraConfig.get().runtime.output_dir)))
        try:
            return _train(config, kinds, prepared)
        except InputError as error:  # here, as Hydra would print a traceback; the other jobs of a sweep go on
            log.error("%s", sentence(error))
            status = max(status, USAGE if isinstance(error, UsageError) else FAILED)
            return math.inf

    sys.argv = [sys.argv[0], *options, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print and exit itself, with status 1
    try:
        run()
    except HydraException as error:
        reason = f" ({error.__cause__})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        where = f"{error.override}: " if isinstance(error, OverrideParseException) else ""
        raise UsageError(f"{where}{error}{reason}") from error
    if done := [folder for folder in folders if many and (folder / CONFIG).is_file()]:
        list_runs(done, None)
    return status


def _primary(
    recipe: str | None, data: str | None, overrides: list[str], kinds: tuple[Domain, ...]
) -> tuple[dict[str, Any], list[str], own_data.Prepared | None]:
    """The primary configuration, the overrides, and what was made ready of a user's data, if any is given."""
    if data is not None and not _given(overrides).get("resume"):
        own = read_recipe(find_recipe(recipe)) if recipe is not None else None
        prepared = own_data.prepare(data, _given(overrides), kinds, own)
        return *_named(prepared.node, overrides), prepared
    if data is not None:
        overrides = list(map(_quoted, own_data.resumed(data, overrides)))
    return *(_recipe(recipe, overrides) if recipe is not None else _run(overrides)), None


def _naming(overrides: list[str]) -> str:
    """The override that lets the folders of a sweep be named by what is swept over, and by nothing else."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    fixed = {o.key_or_group for o in parsed if not o.is_sweep_override()} | {"resume"}
    if "name" not in {o.key_or_group for o in parsed if o.is_sweep_override()}:
        fixed.add("name")
    return f"hydra.job.config.override_dirname.exclude_keys=[{','.join(sorted(fixed))}]"


def _quoted(override: str) -> str:
    """`name=réc`, whose value Hydra's grammar does not know, as it does: `name='réc'`."""
    key, equals, value = override.partition("=")
    if key.lstrip("+") not in TEXTS or not equals:
        return override
    try:
        known = OverridesParser.create().parse_override(override)
        number = None if known.is_sweep_override() else known.value()
        if not (isinstance(number, bool | int | float) or (key == "name" and value == "null")):
            return override
    except HydraException:
        pass
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def _recipe(recipe: str, overrides: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The primary configuration of a recipe, and the overrides."""
    return _named(read_recipe(find_recipe(recipe)), overrides)


def _named(node: dict[str, Any], overrides: list[str]) -> tuple[dict[str, Any], list[str]]:
    return node, [f"++name={QuotedString(node['name'], Quote.single).with_quotes()}", *overrides]


def _given(overrides: list[str]) -> dict[str, Any]:
    """The keys of overrides with their values; of one that is swept over, its text."""
    try:
        found = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise UsageError(str(error)) from error
    return {o.key_or_group: str(o.value()) if o.is_sweep_override() else o.value() for o in found}


def _run(overrides: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The primary configuration of the run that resume=true goes on with, and the overrides but its name."""
    wanted = (
        "train needs data=PATH of your own data, recipe=NAME (a recipe's name or its folder), or resume=true "
        "with the name=… of a run"
    )
    try:
        given = {o.key_or_group: o for o in OverridesParser.create().parse_overrides(overrides)}
    except HydraException as error:
        raise UsageError(str(error)) from error
    if "resume" not in given or given["resume"].value() is not True:
        raise UsageError(wanted)
    asked = given.get("hydra.run.dir") or given.get("name")
    if asked is not None and asked.is_sweep_override():
        raise UsageError(wanted)
    folder = _latest(wanted) if asked is None else Path(str(asked.value()))
    if asked is not None and asked.key_or_group == "name":
        folder = "runs" / folder
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder}: there is no run to resume, as {CONFIG} is missing; give the name=… of a run "
            "or its folder as hydra.run.dir=…"
        )
    ours = ["runs", {"override hydra/job_logging": "carousel"}, {"override hydra/hydra_logging": "carousel"}]
    node = read_run(folder) | {"defaults": [*ours, "_self_"], "hydra": {"run": {"dir": str(folder)}}}
    return node, [text for text in overrides if not text.startswith("name=")]


def _latest(wanted: str) -> Path:
    """The run folder below runs/ that was trained in last."""
    found = sorted(Path("runs").glob(f"**/{LAST}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(f"{wanted}; there is no run in runs/")
    return found[-1].parent


@contextmanager
def _settings() -> Iterator[None]:
    """What is wrong with settings themselves is wrong usage."""
    try:
        yield
    except (InputError, OmegaConfBaseException) as error:
        raise UsageError(str(error)) from error


def _train(config: DictConfig, kinds: tuple[Domain, ...], prepared: own_data.Prepared | None) -> float:
    domains, work, models = tuple(kind.name for kind in kinds), kinds[0].work, kinds[0].models
    folder = _near(Path(HydraConfig.get().runtime.output_dir))
    settings = _resolved(config)
    overrides = list(HydraConfig.get().overrides.task)
    switched = {override.partition("=")[0] for override in overrides}
    whole: Any = HydraConfig.instance().cfg
    referenced = set(re.findall(r"\$\{\.*([\w-]+)", OmegaConf.to_yaml(config) + OmegaConf.to_yaml(whole)))
    if settings["resume"] is True and (folder / CONFIG).is_file():
        saved = read_run(folder)
        init.refuse_other(settings, saved, overrides, models)
        settings = overlaid(saved, settings, [o for o in overrides if not o.startswith("++name=")])
        switched |= set(GROUPS)  # its settings were checked when it began
        referenced |= set(saved)
    if settings["domain"] == TEXT:
        _train_language(settings, overrides, switched, models, folder)
        return best_rate(folder)
    with _settings():
        check_domain(settings["domain"], domains)
        setting.check(settings, referenced, switched)

    # torch only now: --help and mistakes in the command answer at once
    from carousel.common.model.catalogue import find_model
    from carousel.common.model.file import read_header
    from carousel.common.text.written import settings_in, told
    from carousel.common.train.finish import finish
    from carousel.common.train.loop import train

    if prepared is not None:
        refuse_to_overwrite(folder)
        settings["data"] = {**settings["data"], **prepared.own.write(folder / OWN)}
        for note in prepared.notes:
            log.info("%s", note)
    if settings["init"] and not settings["resume"]:
        settings["init"] = str(find_model(settings["init"], models))
        header = read_header(settings["init"])
        if header["domain"] != settings["domain"]:
            raise InputError(
                f"init={settings['init']}: is a model for {header['domain']}, and domain={settings['domain']}"
            )
        groups = {"network": header["network"], "features": header["features"]}
        if (text := settings_in(header.get("card", {}))) and not told(settings["text"]):
            groups["text"] = text
        settings = init.come_along(settings, overrides, **groups)
        with _settings():
            setting.check(settings, referenced, switched | {"network", "features"})
        if prepared is None:
            init.lower_rate(settings, overrides)
    with _going_on(folder, domains):
        train(settings, work.read, work.size, folder, partial(finish, settings, work, folder))
    return best_rate(folder)


def _near(folder: Path) -> Path:
    """A folder as it is called from here, if it lies below."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


@contextmanager
def _going_on(folder: Path, domains: tuple[str, ...]) -> Iterator[None]:
    """Says how to go on when a training is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / LAST).exists():
            run = f"name={folder.name}" if folder.parent == Path("runs") else f"hydra.run.dir={folder}"
            program = "asr" if "speech" in domains else "hwr"
            log.info("interrupted; go on with: %s", shlex.join([program, "train", run, "resume=true"]))
        raise


def _train_language(
    settings: dict[str, Any], overrides: list[str], switched: set[str], models: Path, folder: Path
) -> None:
    with _settings():
        setting.check_language(settings, switched)

    from carousel.common.language import lstm as language_model
    from carousel.common.model import file as model_file
    from carousel.common.model.catalogue import find_model
    from carousel.common.train.language import train

    alphabet = None
    if not settings["resume"]:  # else the checkpoint says it all
        for key in ("fit", "init"):
            if settings[key]:
                settings[key] = str(find_model(settings[key], models))
        if settings["fit"]:
            alphabet = model_file.load(settings["fit"]).alphabet
        if settings["init"]:
            network = language_model.load(settings["init"]).settings
            settings = init.come_along(settings, overrides, network=network)
            with _settings():
                setting.check_language(settings, switched)
    train(settings, alphabet, folder)


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
    check_data("the settings", settings)  # a ${…} that is left would be resolved when the run is resumed
    return settings


def check_domain(domain: str, domains: tuple[str, ...]) -> None:
    """Raises InputError if this command does not train recognisers of `domain`."""
    if domain not in domains:
        other = "asr" if domain == "speech" else "hwr"
        raise InputError(
            f"domain={domain} is not what this command trains ({', '.join(domains)}); use {other} train"
        )
