"""What each task learns, says and is measured by."""

from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from carousel.common.ctc.loss import ctc_loss, frames_needed
from carousel.common.errors import InputError
from carousel.common.text.metrics import edits
from carousel.recipes.sequence.data import KEYS, Sequence
from carousel.recipes.sequence.model import Model

NEVER = -100  # the label of a frame that is padding


class Task(NamedTuple):
    """loss: of outputs, lengths, the batch and the model; says: of one sequence's outputs and the model;
    measure: of all that was said, lowest is best under the first name."""

    loss: Callable[[Tensor, Tensor, Several[Sequence], Model], Tensor]
    says: Callable[[Tensor, Model], Any]
    measure: Callable[[Several[Sequence], Several[Any], Model], dict[str, float]]


def symbols_of(task: str, sequences: Several[Sequence]) -> list[str]:
    """What the targets are made of, in order. Raises InputError for a sequence without a target."""
    if task not in KEYS:
        return []
    for one in sequences:
        if one.target is None:
            raise InputError(f"{one.where}: lacks {KEYS[task]}, which task={task} learns")
    if task == "label":
        return [str(label) for label in range(1 + max(int(one.target.max()) for one in sequences))]
    if task == "classify":
        return sorted({one.target for one in sequences})
    return sorted({symbol for one in sequences for symbol in one.target})


def check_targets(sequences: Several[Sequence], model: Model) -> None:
    """Raises InputError for a target that the model cannot say."""
    stride = model.settings["stride"]
    for one in sequences:
        if model.task == "label":
            unknown = {str(label) for label in one.target.tolist()} - set(model.symbols)
        else:
            unknown = set([one.target] if model.task == "classify" else one.target or ()) - set(model.symbols)
        if unknown:
            raise InputError(f"{one.where}: {', '.join(sorted(unknown))} is not in the training data")
        if model.task == "ctc" and frames_needed(_numbers(one, model)) > -(-len(one.x) // stride):
            raise InputError(f"{one.where}: {len(one.x)} frames are too few for {len(one.target)} symbols")
        if model.task == "forecast" and len(one.x) <= model.horizon:
            raise InputError(f"{one.where}: {len(one.x)} frames are too few for a horizon of {model.horizon}")


def _numbers(one: Sequence, model: Model) -> list[int]:
    """The symbols of a CTC target; 0 is the blank."""
    return [model.symbols.index(symbol) + 1 for symbol in one.target]


def _class_loss(outputs: Tensor, lengths: Tensor, batch: Several[Sequence], model: Model) -> Tensor:
    targets = torch.tensor([model.symbols.index(one.target) for one in batch])
    return nn.functional.cross_entropy(outputs, targets)


def _label_loss(outputs: Tensor, lengths: Tensor, batch: Several[Sequence], model: Model) -> Tensor:
    targets = torch.full(outputs.shape[:2], NEVER)
    for row, one in zip(targets, batch, strict=True):
        row[: len(one.target)] = torch.from_numpy(one.target)
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=NEVER)


def _ctc(outputs: Tensor, lengths: Tensor, batch: Several[Sequence], model: Model) -> Tensor:
    targets = [torch.tensor(_numbers(one, model), dtype=torch.long) for one in batch]
    return ctc_loss(outputs.log_softmax(-1), lengths, targets).mean()


def _forecast_loss(outputs: Tensor, lengths: Tensor, batch: Several[Sequence], model: Model) -> Tensor:
    """The mean squared error, in standard deviations, wherever the frame that is told exists."""
    errors = [
        forecast_errors(row[:length], one, model)
        for row, length, one in zip(outputs, lengths.tolist(), batch, strict=True)
    ]
    return torch.cat([each[~each.isnan()] for each in errors]).square().mean()


def forecast_errors(outputs: Tensor, one: Sequence, model: Model) -> Tensor:
    """What was told less what came, (frames, horizon, size) in standard deviations: of the forecast made at
    frame t the error at t + 1, t + 2, …; NaN where the sequence is over."""
    x = (torch.from_numpy(one.x) - model.network.mean) / model.network.deviation
    told = outputs.view(len(x), model.horizon, -1)
    after = nn.functional.pad(x, (0, 0, 0, model.horizon), value=float("nan"))
    came = after[1:].unfold(0, model.horizon, 1).transpose(1, 2)  # (frames, horizon, size)
    return told - came


def _most_likely(outputs: Tensor, model: Model) -> str:
    return model.symbols[int(outputs.argmax())]


def _best_path(outputs: Tensor, model: Model) -> list[str]:
    """Repeats merged, then blanks left out (Graves 2006)."""
    path = torch.unique_consecutive(outputs.argmax(-1)).tolist()
    return [model.symbols[number - 1] for number in path if number]


def _next_frames(outputs: Tensor, model: Model) -> np.ndarray:
    """The frames after the last, (horizon, size), in the units of the features."""
    told = outputs[-1].view(model.horizon, -1)
    return np.asarray(told * model.network.deviation + model.network.mean)


def _wrong(sequences: Several[Sequence], said: Several[Any], model: Model) -> dict[str, float]:
    wrong = sum(one.target != word for one, word in zip(sequences, said, strict=True))
    return {"wrong": wrong / len(sequences)}


def _wrong_labels(sequences: Several[Sequence], said: Several[Any], model: Model) -> dict[str, float]:
    wrong = sum(int((one.target != labels).sum()) for one, labels in zip(sequences, said, strict=True))
    return {"wrong": wrong / sum(len(one.target) for one in sequences)}


def _symbol_errors(sequences: Several[Sequence], said: Several[Any], model: Model) -> dict[str, float]:
    """Edits over symbols of the targets."""
    found = [edits(one.target, symbols) for one, symbols in zip(sequences, said, strict=True)]
    return {"errors": sum(each.errors for each in found) / max(sum(each.length for each in found), 1)}


def _forecast_error(sequences: Several[Sequence], said: Several[Any], model: Model) -> dict[str, float]:
    """The normalised root mean squared error at the horizon, and that of a value that stays as it is."""
    with torch.inference_mode():
        told, stays = [], []
        for one in sequences:
            outputs, _ = model.outputs([one])
            told.append(forecast_errors(outputs[0], one, model)[: -model.horizon, -1])
            x = torch.from_numpy(one.x) / model.network.deviation
            stays.append(x[: -model.horizon] - x[model.horizon :])
        return {
            "nrmse": float(torch.cat(told).square().mean().sqrt()),
            "nrmse if all stays": float(torch.cat(stays).square().mean().sqrt()),
        }


TASKS = {
    "classify": Task(_class_loss, _most_likely, _wrong),
    "label": Task(_label_loss, lambda outputs, model: outputs.argmax(-1).numpy(), _wrong_labels),
    "ctc": Task(_ctc, _best_path, _symbol_errors),
    "forecast": Task(_forecast_loss, _next_frames, _forecast_error),
}
