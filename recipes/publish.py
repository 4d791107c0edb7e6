"""Makes a trained model one that ships: python -m carousel.recipes.publish runs/an4/best.safetensors
asr/models/NAME.md

NAME.md is the model card; the YAML between its two lines `---` at the top (description, licence, data,
results, limits, default …) goes into the header of NAME.safetensors beside it, where `asr models` and `hwr
models` find it.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.errors import InputError
from carousel.common.model import file as model_file

OPTIONS = {
    "model": {"help": "best.safetensors of a run"},
    "card": {"help": "the model card, NAME.md"},
}


def read_card(path: Path) -> dict[str, Any]:
    """The YAML at the top of a model card. Raises InputError if there is none."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such model card; write it first")
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    try:
        found = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: the YAML at its top cannot be read ({error}); correct it") from None
    card = found if isinstance(found, dict) else {}
    if missing := [key for key in ("description", "licence", "data", "results") if key not in card]:
        raise InputError(f"{path}: the YAML at its top lacks {', '.join(missing)}; add it")
    return card


def prepare(arguments: Namespace) -> None:
    """Writes the model with the card's YAML in its header, in half precision."""
    model = model_file.load(arguments.model)
    output = arguments.card.with_suffix(".safetensors")
    card = model.card | read_card(arguments.card) | {"name": arguments.card.stem}
    model_file.save_like(output, model, model.network.state_dict(), card)
    show(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
