"""The network of a sequence task, and its file: weights as safetensors, all else as JSON in the header."""

import json
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from carousel.common.data.batching import pad
from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.lstm import LSTMStack
from carousel.common.model.file import BROKEN
from carousel.common.network import Stack, mask
from carousel.recipes.sequence.data import Sequence
from carousel.recipes.sequence.settings import TASKS, TIME_AWARE

FORMAT = "carousel-sequence-1"
HEADER = ("task", "network", "symbols", "horizon", "size")
EPSILON = 1e-6  # of a standard deviation


class Network(nn.Module):
    """Standardised features → neighbours joined → recurrent layers → linear output, a frame or (pooled) a
    sequence.

    A forecast is read from left to right, all else from both ends.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, outputs: int, task: str, network: dict[str, Any]):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.pooled = task == "classify"
        self.front = Stack(size, network["stride"])
        self.stack = LSTMStack(
            self.front.outputs,
            network["hidden"],
            network["layers"],
            network["cell"],
            bidirectional=task != "forecast",
            dropout=network["dropout"],
        )
        self.dropout = nn.Dropout(network["dropout"])
        self.head = nn.Linear(self.stack.outputs, outputs)

    def forward(self, x: Tensor, lengths: Tensor, gaps: Tensor | None) -> tuple[Tensor, Tensor]:
        """x: (batch, frames, size); gaps: (batch, frames) for the time-aware cell. Returns (batch, frames /
        stride, outputs), or (batch, outputs) of the mean over a sequence's own frames, and new lengths."""
        x = mask((x - self.mean) / self.deviation, lengths)
        x, lengths = self.front(x, lengths)
        h = self.stack(x, lengths, gaps)
        if self.pooled:
            h = h.sum(1) / lengths[:, None]
        return self.head(self.dropout(h)), lengths


@dataclass(frozen=True)
class Model:
    """symbols: what the outputs stand for (of CTC those from 1 on, of labels as many as there are); limits:
    mean and inverse covariance of a forecast's errors on valid, by frame to come."""

    network: Network
    task: str
    settings: dict[str, Any]
    symbols: tuple[str, ...]
    horizon: int
    errors: tuple[Tensor, Tensor] | None = None

    @property
    def timed(self) -> bool:
        return bool(self.settings["cell"] == TIME_AWARE)

    def outputs(self, sequences: Several[Sequence]) -> tuple[Tensor, Tensor]:
        """Of a batch: (batch, frames / stride, outputs) or (batch, outputs), and the lengths (batch,)."""
        x, lengths = pad([one.x for one in sequences])
        gaps = None
        if self.timed:
            several = [one.gaps[:, None] for one in sequences if one.gaps is not None]
            gaps = pad([each.astype(np.float32) for each in several])[0][..., 0]
        found: tuple[Tensor, Tensor] = self.network(x, lengths, gaps)
        return found


def create(
    task: str, size: int, symbols: Several[str], network: dict[str, Any], horizon: int, x: Several[np.ndarray]
) -> Model:
    """A model with weights as they are drawn, which standardises as the features x (frames, size) need."""
    outputs = {"ctc": len(symbols) + 1, "forecast": horizon * size}.get(task, len(symbols))
    model = Model(Network(size, outputs, task, network), task, network, tuple(symbols), horizon)
    frames = torch.from_numpy(np.concatenate(x))
    model.network.mean.copy_(frames.mean(0))
    model.network.deviation.copy_(frames.std(0, correction=0).clamp_min(EPSILON))
    return model


def save(model: Model, path: Path) -> None:
    tensors = dict(model.network.state_dict())
    if model.errors:
        tensors |= {"errors.mean": model.errors[0], "errors.precision": model.errors[1]}
    header = {
        "task": model.task,
        "network": model.settings,
        "symbols": model.symbols,
        "horizon": model.horizon,
        "size": len(model.network.mean),
    }
    with atomic_write(path) as partial:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            partial,
            {"format": FORMAT, "model": json.dumps(header)},
        )


def load(path: Path) -> Model:
    """Raises InputError for a file that is missing, damaged or something else."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')}")
        task, network, symbols, horizon, size = (json.loads(metadata["model"])[name] for name in HEADER)
        errors = [tensors.pop(name, None) for name in ("errors.mean", "errors.precision")]
        if task not in TASKS or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("its header or its weights are damaged")
        outputs = tensors["head.weight"].shape[0]
        if not 0 < network["layers"] <= len(tensors):
            raise ValueError(f"{network['layers']} layers in {len(tensors)} tensors")
        with torch.device("meta"):  # a header cannot ask for more memory than the file has
            made = Network(size, outputs, task, network)
        made.load_state_dict(tensors, assign=True)
    except (OSError, *BROKEN) as error:
        raise InputError(
            f"{path}: is not a sequence model, or is damaged ({error}); recipes/sequence/README.md says"
            " how to train one"
        ) from None
    made.eval().requires_grad_(False)
    known = (errors[0], errors[1]) if errors[0] is not None and errors[1] is not None else None
    return Model(made, task, network, tuple(symbols), horizon, known)
