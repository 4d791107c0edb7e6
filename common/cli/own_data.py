"""`train data=PATH` without a recipe: the settings that the data asks for, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli.streams import note
from carousel.common.errors import UsageError

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.domain import Domain
    from carousel.common.train.own.data import Own

STEMS = ("train", "manifest", "data", "all")  # of manifests, which do not tell whose they are


@dataclass(frozen=True)
class Prepared:
    """A user's data, the configuration that a recipe would have, and what to say of both."""

    own: Own
    node: dict[str, Any]
    notes: tuple[str, ...]


def prepare(
    value: str,
    given: Mapping[str, Any],
    domains: Sequence[Domain],
    recipe: dict[str, Any] | None = None,
) -> Prepared:
    """value: of `data=`, a path or [several]; given: the other overrides and their values; recipe: its
    configuration, if any.

    Raises InputError for data that cannot be used, and UsageError where the command contradicts itself.
    """
    if not value.strip():
        raise UsageError("data= needs the path of a folder or manifest")
    if clash := [key for key in ("data.train", "data.valid", "data.test") if key in given]:
        raise UsageError(f"data=… is split by itself; leave out {', '.join(clash)}, or leave out data=…")
    paths = [part.strip(" '\"") for part in value.removeprefix("[").removesuffix("]").split(",")]
    paths = [value] if Path(value).exists() else paths

    from carousel.common.train.own import plan
    from carousel.common.train.own.data import load

    own = load(paths, domains)
    notes = own.report()
    if recipe is not None:
        if recipe.get("domain") != own.domain:
            raise UsageError(f"{value}: holds {own.domain}, and the recipe is for {recipe.get('domain')}")
        node = recipe
    else:
        init = given.get("init", "")
        start = _start(own, plan.ENOUGH[own.domain], domains[0]) if init == "" else None
        tuned = bool(init or (start and start.path))
        voices = own.groups("train")
        node = plan.settings(own.domain, own.amount, voices, tuned, "trainer.minutes" in given)
        if "trainer.epochs" in given and "trainer.minutes" not in given:
            node["trainer"]["minutes"] = None  # so many epochs, however long they take
        if start:
            notes.append(f"start: {start.why}")
            node |= {"init": str(start.path) if start.path else None, "alphabet": start.alphabet}
        notes.append(plan.told(own.domain, own.amount, tuned))
        node["vocabulary"] = "auto"
    name = _name(Path(paths[0]))
    card = {"data": f"{name}: {own.size('train')}", **dict(node.get("card", {}))}
    node |= {"name": name, "card": card, "data": {"train": value, "valid": value}}
    return Prepared(own, node, tuple(notes))


def resumed(value: str, overrides: list[str]) -> list[str]:
    """The overrides of a run on a user's data that goes on, which by default is called as its data."""
    note("the run goes on with the samples that it began with, whose manifests are in its folder")
    named = any(override.startswith(("name=", "hydra.run.dir=")) for override in overrides)
    return overrides if named else [*overrides, f"name={_name(Path(value))}"]


def _start(own: Own, enough: float, domain: Domain) -> Any:
    from carousel.common.train.own.base_model import choose
    from carousel.common.train.own.data import samples_of

    valid = samples_of(own.split.parts["valid"])
    return choose(domain.models, own.domain, own.texts("train"), valid, own.amount > enough, domain.work.read)


def _name(path: Path) -> str:
    """Of the run: that of the folder or manifest."""
    path = path.resolve()
    stem = path.name.split(".")[0] if path.is_file() else path.name
    return (path.parent.name if stem in STEMS else stem) or "mine"
