"""Noise-free long lags: the second symbol has to be told after T others, none of which says anything.

Hochreiter & Schmidhuber 1997, experiment 2c. b, then x or y, at least T of 50 distractor symbols, after each
further one the end comes with probability 1/10: e, and what came second has to be told. Right is an error of
both outputs below 0.2, solved are 10,000 sequences without a mistake. `length` is T.
"""

from collections.abc import Mapping

import torch
from torch import nn

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Task, class_loss

DISTRACTORS = 50
END, BEGIN, X, Y = range(DISTRACTORS, DISTRACTORS + 4)
SYMBOLS = DISTRACTORS + 4
STOP = 0.1  # probability of the end, after T distractors
RIGHT = 0.2  # error of an output that counts as right
PART = 250  # sequences that are tested at once


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    extra = torch.empty(size).geometric_(STOP, generator=rng).long() - 1
    lengths = settings.length + extra + 3
    steps, rows = int(lengths.max()), torch.arange(size)
    symbols = torch.randint(DISTRACTORS, (size, steps), generator=rng)
    kinds = torch.randint(2, (size,), generator=rng)
    symbols[:, 0], symbols[:, 1], symbols[rows, lengths - 1] = BEGIN, X + kinds, END
    asked = torch.arange(steps) == lengths[:, None] - 1
    x = nn.functional.one_hot(symbols, SYMBOLS).float()
    return Batch(x, kinds[:, None].expand(size, steps), asked, lengths)


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    """`tested` stops at the first part with a mistake, of which there are `wrong`."""
    tested, wrong = 0, 0
    while tested < settings.test and not wrong:
        drawn = batch(settings, min(PART, settings.test - tested), rng)
        sure = network(drawn.x, drawn.lengths)[0].softmax(-1)[drawn.asked]
        wrong = int((sure.gather(1, drawn.targets[:, :1]) <= 1 - RIGHT).sum())
        tested += len(drawn.x)
    return {"wrong": wrong, "tested": tested}


def solved(measured: Mapping[str, float], settings: Settings) -> bool:
    return not measured["wrong"]


TASK = Task(
    settings=Settings(hidden=4, batch=16, steps=8000, check_every=50, test=10000),
    variants={f"T{length}": {"length": length, "chrono": length} for length in (50, 1000)},
    sizes=lambda settings: (SYMBOLS, 2),
    batch=batch,
    loss=class_loss,
    measure=measure,
    solved=solved,
    draw=draw_curve("wrong", f"wrong of the first {PART}", log=False),
)
