"""Recipes by name or by folder. Nothing heavy is imported, as --help names them."""

import re
from collections.abc import Collection
from pathlib import Path

from carousel.common.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "recipe.yaml"
TEXT = "text"  # the domain of language models, which either command trains


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
