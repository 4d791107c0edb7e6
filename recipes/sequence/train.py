"""The training of a sequence task, and what a model says of a manifest."""

import logging
from collections.abc import Sequence as Several
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from carousel.common.data.batching import bucketed_batches
from carousel.common.errors import InputError, UsageError
from carousel.common.settings.field import defaults
from carousel.common.train.optimizers import learning_rate, make_optimizer, weight_noise
from carousel.common.train.runs import BEST, save_config
from carousel.recipes.sequence.anomaly import area_under_curve, fit, scores
from carousel.recipes.sequence.data import Sequence, pieces, read
from carousel.recipes.sequence.model import Model, create, save
from carousel.recipes.sequence.settings import TIME_AWARE, Settings
from carousel.recipes.sequence.tasks import TASKS, check_targets, symbols_of

log = logging.getLogger(__name__)


def train(settings: Settings, folder: Path) -> dict[str, float]:
    """Writes best.safetensors, of the epoch with the fewest errors on valid, and returns what those were.

    Raises InputError for manifests that cannot be used and a folder that holds a model.
    """
    if (folder / BEST).exists():
        raise InputError(f"{folder}: already holds {BEST}; give another name=…, or remove it")
    if settings.stride > 1 and (settings.task in ("label", "forecast") or settings.cell == TIME_AWARE):
        raise UsageError("stride must be 1 with task=label, task=forecast and cell=time_aware")
    torch.manual_seed(settings.seed)
    timed = settings.cell == TIME_AWARE
    learnt, valid = (read(path, settings.task, timed) for path in (settings.train, settings.valid))
    symbols_of(settings.task, valid)  # which each has to have
    network = {name: getattr(settings, name) for name in ("hidden", "layers", "cell", "dropout", "stride")}
    if settings.window and settings.task in ("forecast", "label"):
        learnt = [piece for one in learnt for piece in pieces(one, settings.window)]
        learnt = [piece for piece in learnt if settings.task == "label" or len(piece.x) > settings.horizon]
    x = [one.x for one in learnt]
    model = create(
        settings.task, x[0].shape[1], symbols_of(settings.task, learnt), network, settings.horizon, x
    )
    check_sizes(valid, model)
    for several in (learnt, valid):
        check_targets(several, model)
    folder.mkdir(parents=True, exist_ok=True)
    save_config(defaults(settings), folder)
    best: dict[str, float] = {}
    optimizer = make_optimizer(model.network, asdict(settings.optimizer))
    for epoch in range(settings.epochs):
        _epoch(model, learnt, optimizer, settings, epoch)
        measured = measure(valid, model)
        log.info(
            "epoch %d: %s", epoch + 1, ", ".join(f"{key} {value:.4g}" for key, value in measured.items())
        )
        if not best or next(iter(measured.values())) < next(iter(best.values())):
            best = measured
            errors = fit(valid, model) if settings.task == "forecast" else None
            save(replace(model, errors=errors), folder / BEST)
    return best


def _epoch(model: Model, learnt: Several[Sequence], optimizer: Any, settings: Settings, epoch: int) -> None:
    model.network.train()
    lengths = [len(one.x) for one in learnt]
    batches = bucketed_batches(lengths, settings.batch * max(lengths), settings.batch, settings.seed, epoch)
    for number, rows in enumerate(batches):
        progress = (epoch + number / len(batches)) / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(asdict(settings.optimizer), progress)
        batch = [learnt[row] for row in rows]
        optimizer.zero_grad()
        with weight_noise(model.network, settings.optimizer.weight_noise):
            TASKS[model.task].loss(*model.outputs(batch), batch, model).backward()
        clip = settings.optimizer.clip or float("inf")
        if nn.utils.clip_grad_norm_(model.network.parameters(), clip).isfinite():
            optimizer.step()


def check_sizes(sequences: Several[Sequence], model: Model) -> None:
    """Raises InputError for frames of another size than the model's."""
    size = len(model.network.mean)
    if sequences[0].x.shape[1] != size:
        one = sequences[0]
        raise InputError(f"{one.where}: frames have {one.x.shape[1]} numbers, the model's have {size}")


def apply(sequences: Several[Sequence], model: Model) -> list[Any]:
    """What the model says of each sequence."""
    model.network.eval()
    said = []
    with torch.inference_mode():
        for one in sequences:
            outputs, _ = model.outputs([one])
            said.append(TASKS[model.task].says(outputs[0], model))
    return said


def measure(sequences: Several[Sequence], model: Model) -> dict[str, float]:
    """The task's measures; of a model that knows its errors also how well its scores tell anomalies."""
    measured = TASKS[model.task].measure(sequences, apply(sequences, model), model)
    if model.errors is None or not any(one.anomalies for one in sequences):
        return measured
    values, anomalous = [], []
    for one in sequences:
        marked = np.zeros(len(one.x), dtype=bool)
        for start, end in one.anomalies:
            marked[start:end] = True
        found = scores(one, model)
        values.append(found[model.horizon :])
        anomalous.append(marked[model.horizon :])
    return measured | {
        "area under curve": area_under_curve(np.concatenate(values), np.concatenate(anomalous))
    }
