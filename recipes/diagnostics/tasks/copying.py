"""Copy memory: ten symbols, T steps of nothing, then the ten symbols again.

Arjovsky, Shah & Bengio 2015, Unitary Evolution Recurrent Neural Networks, section 5.1. Symbols 0 to 7 are
data, 8 is the blank, 9 the mark after which the network has to write. Who remembers nothing has a
cross-entropy of 10 ln 8 / (T + 20). `length` is T; a curriculum (`first`) copies T symbols below ten.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import panels, save
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import Batch, Run, Task, class_loss

DATA, BLANK, MARK, SYMBOLS = 8, 8, 9, 10
READY = 0.9  # of the symbols right: the curriculum goes on
MOST = 10  # symbols to copy


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    count = copied(settings.length)
    steps = settings.length + 2 * count
    data = torch.randint(DATA, (size, count), generator=rng)
    symbols = torch.full((size, steps), BLANK)
    symbols[:, :count] = data
    symbols[:, -count - 1] = MARK
    targets = torch.full((size, steps), BLANK)
    targets[:, -count:] = data
    x = nn.functional.one_hot(symbols, SYMBOLS).float()
    return Batch(x, targets, torch.ones(size, steps, dtype=torch.bool), torch.full((size,), steps))


def copied(length: int) -> int:
    """How many symbols are copied."""
    return min(MOST, length)


def baseline(length: int) -> float:
    """The cross-entropy of who remembers nothing, nats a step."""
    return copied(length) * math.log(DATA) / (length + 2 * copied(length))


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    drawn = batch(settings, settings.test, rng)
    outputs, _ = network(drawn.x, drawn.lengths)
    loss = float(class_loss(outputs, drawn))
    count = copied(settings.length)
    right = outputs[:, -count:].argmax(-1) == drawn.targets[:, -count:]
    share = loss / baseline(settings.length)
    return {"loss": loss, "of baseline": share, "right": float(right.float().mean())}


def solved(measured: Mapping[str, float], settings: Settings) -> bool:
    return measured["right"] > 0.99


def draw(runs: Sequence[Run], path: Path) -> None:
    """The loss over that of who remembers nothing, at the length that was trained at the time."""
    figure, (axes,) = panels()
    variants = list(dict.fromkeys(run.variant for run in runs))
    for number, run in enumerate(runs):
        first = number == 0 or runs[number - 1].variant != run.variant
        axes.semilogy(
            [row["step"] for row in run.curve],
            [row["of baseline"] for row in run.curve],
            color=f"C{variants.index(run.variant) % 10}",
            linewidth=1,
            label=run.variant if first else None,
        )
    axes.axhline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set_xlabel("steps of the optimizer (dashed: nothing is remembered)")
    axes.set_ylabel("loss / baseline")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


TASK = Task(
    settings=Settings(
        hidden=100,
        length=200,
        batch=32,
        steps=20000,
        check_every=100,
        test=200,
        optimizer=replace(OPTIMIZER, rate=0.003),
    ),
    variants={
        "plain": {"forget_bias": 1.0},
        "chrono": {"chrono": 300},  # as long as the sequence is, and more
        "curriculum": {"first": 1, "forget_bias": 3.0},
    },
    sizes=lambda settings: (SYMBOLS, SYMBOLS),
    batch=batch,
    loss=class_loss,
    measure=measure,
    solved=solved,
    ready=lambda measured: measured["right"] > READY,
    draw=draw,
)
