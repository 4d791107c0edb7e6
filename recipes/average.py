"""The mean of the weights of several models: python -m carousel.recipes.average OUTPUT MODEL MODEL …

Models trained from the same start, with other settings or seeds, often read better averaged than each alone,
at the cost of one (Wortsman et al. 2022, Model Soups). All must be of one alphabet, network and features.
The confidences are no longer calibrated: `evaluate --calibrate` fits them anew.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.errors import InputError
from carousel.common.model import file as model_file

OPTIONS = {
    "output": {"help": "the model to write, ….safetensors"},
    "models": {"nargs": "+", "metavar": "MODEL", "help": "best.safetensors of runs"},
}
ALIKE = ("domain", "alphabet", "features")


def prepare(arguments: Namespace) -> None:
    """Writes OUTPUT. Raises InputError for models that differ in more than their weights."""
    paths: list[Path] = arguments.models
    if len(paths) < 2:
        raise InputError(f"{paths[0]}: one model has no mean; give two or more")
    headers = [model_file.read_header(path) for path in paths]
    for path, header in zip(paths[1:], headers[1:], strict=True):
        if differing := differences(headers[0], header):
            raise InputError(
                f"{path}: differs from {paths[0]} in {', '.join(differing)}; give models of one kind"
            )
    models = [model_file.load(path) for path in paths]
    weights = [model.network.state_dict() for model in models]
    mean = {name: torch.stack([part[name] for part in weights]).mean(0) for name in weights[0]}
    card = {"name": arguments.output.stem, "averaged": [str(path) for path in paths]}
    model_file.save_like(arguments.output, models[0], mean, card)
    show(f"{arguments.output}: the mean of {len(paths)} models")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two models differ beyond their weights and what acts in training only.

    A setting of the network that a model has not was not there when it was trained.
    """
    found = [key for key in ALIKE if one[key] != other[key]]
    shared = one["network"].keys() & other["network"].keys()
    kept = sorted(key for key in shared if not key.endswith("dropout"))
    return found + [f"network.{key}" for key in kept if one["network"][key] != other["network"][key]]


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
