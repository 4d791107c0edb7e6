"""Saving and restoring a training, as safetensors + JSON: exact, and no pickle."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.model.file import CHECKPOINT, reason


def save_checkpoint(
    path: Path,
    weights: dict[str, Tensor],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    state: Any,
    carried: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes all of a training's state, whole or not at all.

    weights, average: state dicts of the network and of its averaged weights (may be empty); state: what else
    must be known to go on, as JSON; carried: further tensors that must be.
    """
    tensors = {f"weights.{name}": t for name, t in weights.items()}
    tensors |= {f"average.{name}": t for name, t in average.items()}
    tensors |= {f"carried.{name}": t for name, t in (carried or {}).items()}
    moments = optimizer.state_dict()
    for index, entries in moments["state"].items():
        tensors |= {f"optimizer.{index}.{name}": t for name, t in entries.items() if isinstance(t, Tensor)}
    kept = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    with atomic_write(path) as partial:
        save_file(kept, partial, {CHECKPOINT: json.dumps(state)})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Any]:
    """All tensors by name, and the JSON state. Raises InputError for a missing, damaged or foreign file."""
    with _opened(path) as file:
        state = json.loads(file.metadata()[CHECKPOINT])
        return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118


def load_state(path: Path) -> Any:
    """As `load_checkpoint`, without the tensors."""
    with _opened(path) as file:
        return json.loads(file.metadata()[CHECKPOINT])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    new = "start a new run in another folder by name=…, or remove this one"
    if not path.is_file():
        raise InputError(f"{path}: there is no checkpoint to resume from; {new}")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a checkpoint, or a damaged one ({reason(error)}); {new}") from error


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(prefix + ".")}


def restore(
    path: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Puts weights and moments of a checkpoint back; the settings of groups stay those of the configuration.

    Raises InputError for a checkpoint of another network or optimizer.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part(tensors, "optimizer").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    try:
        network.load_state_dict(part(tensors, "weights"))
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError):
        raise InputError(
            f"{path}: has another network or optimizer; resume with the settings it began with"
        ) from None
