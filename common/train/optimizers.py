"""Optimizers, the schedule of the learning rate, weight noise and gradient clipping."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError


def make_optimizer(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Weight decay only on matrices and kernels, not on biases, gains and peepholes."""
    spared = ("bias", "gain", "peephole")
    decayed = [
        p for n, p in network.named_parameters() if p.dim() > 1 and not any(part in n for part in spared)
    ]
    ids = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": settings["weight_decay"]},
        {"params": [p for p in network.parameters() if id(p) not in ids], "weight_decay": 0.0},
    ]
    if settings["kind"] == "adamw":
        return torch.optim.AdamW(groups, lr=settings["rate"], betas=tuple(settings["betas"]))
    if settings["kind"] == "sgd":
        return torch.optim.SGD(groups, lr=settings["rate"], momentum=settings["momentum"])
    raise InputError(f"optimizer.kind is {settings['kind']!r}; there are adamw and sgd")


def learning_rate(settings: Mapping[str, Any], progress: float) -> float:
    """The rate at `progress` (0 … 1) through the training: a linear warm-up, then the schedule down to
    `final`."""
    rate, warmup, final = settings["rate"], settings["warmup"], settings["final"]
    if progress < warmup:
        return rate * max(progress / warmup, 1e-3)
    x = (progress - warmup) / max(1 - warmup, 1e-9)
    match settings["schedule"]:
        case "constant":
            return rate
        case "linear":
            return rate * (1 - x * (1 - final))
        case "cosine":
            return rate * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x)))
        case "exponential":
            return rate * final**x
    raise InputError(
        f"optimizer.schedule is {settings['schedule']!r}; there are constant, linear, cosine and exponential"
    )


@contextmanager
def weight_noise(network: nn.Module, deviation: float) -> Iterator[None]:
    """Gaussian noise on all weights while the gradient is taken (Graves 2013, section 3.2; Jim, Giles & Horne
    1996)."""
    if not deviation:
        yield
        return
    weights = [p for p in network.parameters() if p.requires_grad]
    kept = [p.detach().clone() for p in weights]  # what is added and subtracted again does not come out even
    try:
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn_like(weight) * deviation)
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def scaler(fabric: Any) -> Any:
    """What scales the loss in precision 16-mixed; None in the others."""
    return getattr(fabric.strategy.precision, "scaler", None)


def step(fabric: Any, module: nn.Module, optimizer: Any, clip: float) -> bool:
    """Takes the step that follows `fabric.backward`: unscale, clip, step, update of the scale.

    clip: the highest norm of the gradient, 0 for any. Returns whether the gradient was finite; if it was not,
    the weights are as before.
    """
    limit = clip if clip > 0 else math.inf
    norm = fabric.clip_gradients(
        module, optimizer, max_norm=limit, error_if_nonfinite=False
    )  # unscales first
    finite = math.isfinite(float(norm))
    if finite or scaler(fabric):  # a scaler leaves the step out itself, and must hear of it to scale less
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return finite


def update_average(average: Mapping[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights, over few steps at first (Tarvainen & Valpola 2017)."""
    decay = min(decay, step / (step + 10))
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in average:
                average[name].lerp_(tensor, 1 - decay)


@contextmanager
def averaged(network: nn.Module, average: Mapping[str, Tensor]) -> Iterator[None]:
    """The averaged weights in the network for as long as this lasts; without any, its own."""
    if not average:
        yield
        return
    own = {name: t.detach().clone() for name, t in network.state_dict().items()}
    network.load_state_dict(average)
    try:
        yield
    finally:
        network.load_state_dict(own)
