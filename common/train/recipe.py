"""Recipes by name or folder, and settings that somebody else may have written.

Such settings (a recipe.yaml, a run's config.yaml, what a model file says) are data. Hydra and OmegaConf would
call what `_target_` and `hydra.callbacks` name, write the files that logging handlers name and read the
environment by `${oc.env:…}`: none of that is let through. The command line is the user's own, and free.
Nothing heavy is imported, as --help names the recipes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from carousel.common.errors import UsageError, sentence
from carousel.common.train.runs import CONFIG

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "recipe.yaml"
TEXT = "text"  # the domain of language models, which either command trains
CONF = ROOT / "conf"
FOLDERS = {"run": ("dir",), "sweep": ("dir", "subdir")}  # of `hydra`, what a recipe may set
MOST, DEEPEST = 10_000, 20  # values and levels of a file
ALIASES = 20  # references (*…) of YAML: a few lines of these make billions of values
REFERENCE = re.compile(r"(?<!\\)\$\{\.*\w+(\.\w+|\[\w+\])*\}")  # to another key; no resolver, nothing nested


def recipes(domains: Collection[str] | None = None) -> list[str]:
    """The names of our recipes, sorted; with domains, without those of recognisers of other domains."""
    return [
        path.parent.name
        for path in sorted((ROOT / "recipes").glob("*/" + RECIPE))
        if domains is None or _domain(path) in (TEXT, *domains)
    ]


def _domain(path: Path) -> str | None:
    found = re.search(r"^domain: *(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found[1]


def find_recipe(name: str) -> Path:
    """The folder of a recipe: one of ours by its name, or any folder with a recipe.yaml.

    Raises UsageError where there is none.
    """
    for folder in (Path(name), ROOT / "recipes" / name):
        if (folder / RECIPE).is_file():
            return folder.resolve()
    raise UsageError(
        f"recipe={name}: no such recipe; there are {', '.join(recipes())}, or give a folder with a {RECIPE}"
    )


def read_recipe(folder: Path) -> dict[str, Any]:
    """The settings of a recipe, its folder's name among them.

    Raises UsageError for a file that is not YAML or holds more than data.
    """
    path = folder / RECIPE
    settings = _read(path)
    settings["name"] = folder.name
    for entry in _list(path, settings.get("defaults", [])):
        _check_default(path, entry)
    _check_hydra(path, settings.get("hydra", {}))
    # a folder is resolved twice, so that `$` of one text and `{…}` of another would come together in it
    mark = "$" if "hydra" in settings else "${"
    check_data(path, {key: value for key, value in settings.items() if key != "defaults"}, REFERENCE, mark)
    return settings


def read_run(folder: Path) -> dict[str, Any]:
    """The settings that a run began with: all of them, resolved. Raises UsageError as `read_recipe` does."""
    path = folder / CONFIG
    settings = _read(path)
    check_data(path, settings)
    from carousel.common.settings.field import defaults
    from carousel.common.settings.text import Text
    from carousel.common.train.settings import top_level

    if settings.get("domain") != TEXT:
        settings.setdefault("text", defaults(Text))  # runs from before there was such a setting
    if missing := [key for key in top_level(settings.get("domain") == TEXT) if key not in settings]:
        raise UsageError(
            f"{path}: lacks {', '.join(missing)}, so it is not the settings of a run; start a new run"
        )
    if unknown := [key for key in ("defaults", "hydra") if key in settings]:
        raise UsageError(f"{path}: {unknown[0]} has no place in the settings of a run; take it out")
    return settings


def _read(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = path.read_text(encoding="utf-8")
        if sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)) > ALIASES:
            raise UsageError(f"{path}: has more than {ALIASES} references (*…); write them out")
        settings = OmegaConf.to_container(OmegaConf.create(text))  # nothing is resolved, and nothing called
    except UsageError:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot be read as settings ({sentence(error)[:200]}); correct it"
        ) from error
    if not isinstance(settings, dict) or not settings:
        raise UsageError(f"{path}: must be keys with values, as in {ROOT / 'recipes' / 'an4' / RECIPE}")
    return {str(key): value for key, value in settings.items()}


def check_data(
    where: object, settings: Any, reference: re.Pattern[str] | None = None, mark: str = "${"
) -> None:
    """Raises UsageError unless there are plain values only, and texts refer to nothing.

    reference: what texts may hold all the same; mark: what they may hold nowhere else.
    """
    count = 0
    waiting: list[tuple[str, Any, int]] = [("", settings, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        count += 1
        if count > MOST or depth > DEEPEST:
            raise UsageError(f"{where}: has more than {MOST:,} settings or {DEEPEST} levels; make it smaller")
        if isinstance(value, str):
            if mark in (reference.sub("", value) if reference else value):
                raise UsageError(
                    f"{where}: {key}={value} cannot be used: settings from a file may refer to others by "
                    "${key}, and to nothing else; give such a value on the command line"
                )
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if not isinstance(name, str) or re.fullmatch(r"_.*_", name) or "${" in name:
                    raise UsageError(
                        f"{where}: the key {name!r} cannot be used, as settings are data: take it out"
                    )
                waiting.append((f"{key}.{name}" if key else name, inner, depth + 1))
        elif isinstance(value, list):
            waiting += [(key, inner, depth + 1) for inner in value]
        elif not (value is None or isinstance(value, bool | int | float)):
            raise UsageError(f"{where}: {key} is a {type(value).__name__}; give a number, a text or a flag")


def _list(path: Path, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{path}: defaults must be a list, as in {ROOT / 'recipes' / 'an4' / RECIPE}")
    return value


def _check_default(path: Path, entry: Any) -> None:
    """Raises UsageError for an entry of the defaults that names no file of conf/ and no choice."""
    from carousel.common.settings.training import GROUPS

    if isinstance(entry, str) and (
        entry == "_self_" or (re.fullmatch(r"\w+", entry) and (CONF / f"{entry}.yaml").is_file())
    ):
        return
    if isinstance(entry, dict) and len(entry) == 1:
        ((group, name),) = entry.items()
        group = re.sub(r"^(override +)?(optional +)?/?", "", str(group))
        if isinstance(name, str) and name in GROUPS.get(group, ()):
            return
    raise UsageError(
        f"{path}: defaults: {entry} is not a file of {CONF}, nor a choice of {', '.join(GROUPS)}: a recipe "
        "is one file; give what else it needs on the command line"
    )


def _check_hydra(path: Path, value: Any) -> None:
    """Raises UsageError for settings of Hydra but the folders of runs and sweeps."""
    allowed = isinstance(value, dict) and all(
        key in FOLDERS
        and isinstance(inner, dict)
        and all(name in FOLDERS[key] and isinstance(text, str) for name, text in inner.items())
        for key, inner in value.items()
    )
    if not allowed:
        names = [f"hydra.{key}.{name}" for key, inner in FOLDERS.items() for name in inner]
        raise UsageError(
            f"{path}: hydra may set {', '.join(names)} and nothing else, as a recipe runs nothing; give what "
            "else you want on the command line"
        )


def overlaid(
    settings: Mapping[str, Any], composed: Mapping[str, Any], overrides: list[str]
) -> dict[str, Any]:
    """`settings` with what the command line says, whose values stand in `composed`."""
    from copy import deepcopy

    from hydra.core.override_parser.overrides_parser import OverridesParser

    result: dict[str, Any] = deepcopy(dict(settings))
    for override in OverridesParser.create().parse_overrides(overrides):
        *path, last = override.key_or_group.split(".")
        place, source = result, composed
        for key in path:
            if not (isinstance(place.get(key), dict) and isinstance(source.get(key), Mapping)):
                last = key  # from here on it is new, or gone
                break
            place, source = place[key], source[key]
        if last in source:
            place[last] = deepcopy(source[last])
        else:
            place.pop(last, None)
    return result
