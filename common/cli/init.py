"""What `init=MODEL` brings along into a training, and what it changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carousel.common.errors import UsageError
from carousel.common.train import settings as setting
from carousel.common.train.recipe import check_data, overlaid
from carousel.common.train.runs import BEST

log = logging.getLogger(__name__)

TAMED = 0.5  # of the rate, with init= on the command line


def come_along(settings: dict[str, Any], overrides: list[str], **groups: dict[str, Any]) -> dict[str, Any]:
    """The settings with groups as the model of `init` has them, but for what the command line says."""
    check_data(settings["init"], groups)
    told = setting.completed(groups)
    again = [o for o in overrides if re.match(r"[+~]*(\w+)", o)[1] in groups]  # type: ignore[index]
    result = overlaid(settings | told, settings, again)
    for group in groups:
        if changed := sorted(k for k, v in result[group].items() if settings[group].get(k) != v):
            log.info("%s as in %s: %s", group, settings["init"], ", ".join(changed))
    return result


def lower_rate(settings: dict[str, Any], overrides: list[str]) -> None:
    """Lowers the rate of a recipe that trains from nothing, where the command line has an `init`."""
    keys = {re.sub(r"^[+~]*([\w.]+).*", r"\1", override, flags=re.DOTALL) for override in overrides}
    if "init" in keys and not keys & {"optimizer", "optimizer.rate"}:
        settings["optimizer"]["rate"] *= TAMED
        log.info(
            "rate %g, %g of the recipe's, so that what the model knows stays; optimizer.rate=… sets it",
            settings["optimizer"]["rate"], TAMED,
        )  # fmt: skip


def refuse_other(
    settings: dict[str, Any], saved: Mapping[str, Any], overrides: list[str], models: Path
) -> None:
    """Raises UsageError for an `init` that would do nothing, as a run goes on from its own checkpoint."""
    given = settings.get("init")
    same = (given, str(Path(given or "", BEST)))  # which may be gone by now
    if not given or not any(o.startswith("init=") for o in overrides) or saved.get("init") in same:
        return
    from carousel.common.model.catalogue import find_model

    if not saved.get("init") or str(find_model(given, models)) != saved["init"]:
        raise UsageError(
            f"init={given} does nothing beside resume=true, which goes on from the run's own checkpoint; "
            "leave it out, or start a new run by another name=…"
        )
