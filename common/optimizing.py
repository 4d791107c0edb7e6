"""Optimizers, the schedule of the learning rate, weight noise and gradient clipping."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from common.errors import InputError


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
    noise = [torch.randn_like(p) * deviation for p in weights]
    with torch.no_grad():
        for weight, n in zip(weights, noise, strict=True):
            weight.add_(n)
    yield
    with torch.no_grad():
        for weight, n in zip(weights, noise, strict=True):
            weight.sub_(n)


def gradient_norm(network: nn.Module, clip: float) -> float:
    """Norm of the whole gradient, which is scaled down to `clip` if that is positive."""
    limit = clip if clip > 0 else math.inf
    return float(nn.utils.clip_grad_norm_(network.parameters(), limit))
