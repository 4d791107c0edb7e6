"""The adding problem: the sum of the two numbers that were marked, T steps later.

Hochreiter & Schmidhuber 1997, experiment 4. Each step is a number from [-1, 1] and a marker: 1 at one of the
first ten steps and at one of the first T/2 - 1, -1 at both ends, 0 elsewhere. Sequences have T to 1.1 T
steps. The target at the end is 0.5 + (X1 + X2) / 4; right is an error below 0.04. `length` is T.
"""

from collections.abc import Mapping

import torch

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Task, squared_loss

RIGHT = 0.04  # error of a sequence that counts as done
WRONG = 3  # of 2,000 sequences, with which the paper's training stopped


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    least = settings.length
    lengths = torch.randint(least, least + least // 10 + 1, (size,), generator=rng)
    steps, rows = int(lengths.max()), torch.arange(size)
    x = torch.zeros(size, steps, 2)
    x[..., 0] = 2 * torch.rand(size, steps, generator=rng) - 1
    one = torch.randint(min(10, least - 1), (size,), generator=rng)
    two = torch.randint(max(least // 2 - 2, 1), (size,), generator=rng)
    two = two + (two >= one)  # among those that are still unmarked
    x[:, 0, 1] = x[rows, lengths - 1, 1] = -1
    x[rows, one, 1] = x[rows, two, 1] = 1
    x[:, 0, 0] *= x[:, 0, 1] != 1  # the paper: X1 is zero where the first pair is marked
    sums = x[rows, one, 0] + x[rows, two, 0]
    asked = torch.arange(steps) == lengths[:, None] - 1
    targets = (0.5 + sums / 4)[:, None, None].expand(size, steps, 1)
    return Batch(x, targets, asked, lengths)


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    drawn = batch(settings, settings.test, rng)
    errors = (network(drawn.x, drawn.lengths)[0] - drawn.targets)[drawn.asked].abs()
    return {"wrong": float((errors >= RIGHT).sum()), "mse": float(errors.square().mean())}


def solved(measured: Mapping[str, float], settings: Settings) -> bool:
    return measured["wrong"] <= WRONG * settings.test / 2000


TASK = Task(
    settings=Settings(hidden=16, length=100, chrono=100, batch=32, steps=8000, check_every=100, test=2560),
    variants={f"T{length}": {"length": length, "chrono": length} for length in (100, 500, 1000)},
    sizes=lambda settings: (2, 1),
    batch=batch,
    loss=squared_loss,
    measure=measure,
    solved=solved,
    draw=draw_curve("mse", "squared error on test"),
)
