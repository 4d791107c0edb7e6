"""The continual embedded Reber grammar: words without end, so that a net has to learn to forget.

Gers, Schmidhuber & Cummins 2000, Learning to Forget. As embedded_reber, but one word follows the other and
nothing resets the net. `length` is the words to which the gradient goes back, `test` the symbols of each of
ten streams; `until` is the mean symbol of the first mistake, a stream without one counting whole.
"""

from dataclasses import replace

import torch

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.reber import SYMBOLS, right, streams
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import Batch, Task, class_loss

STREAMS = 10
PART = 50  # words that are tested at once


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    return streams(size, settings.length, True, rng)[0]


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    """Ends with the first mistake of each stream."""
    until, running, state = torch.zeros(STREAMS), torch.ones(STREAMS, dtype=torch.bool), None
    while running.any():
        drawn, legal = streams(STREAMS, PART, True, rng)
        outputs, state = network(drawn.x, drawn.lengths, state)
        fine = (right(outputs, legal) & drawn.asked).long().cumprod(1).sum(1)
        until += fine * running
        running &= (fine == drawn.lengths) & (until < settings.test)
    perfect = (until >= settings.test).sum()
    return {"until": float(until.clamp_max(settings.test).mean()), "perfect": float(perfect)}


TASK = Task(
    settings=Settings(
        hidden=8,
        length=5,
        batch=16,
        steps=5000,
        check_every=250,
        test=100_000,
        optimizer=replace(OPTIMIZER, rate=0.01, schedule="cosine"),
    ),
    variants={name: {"cell": name} for name in ("lstm1997", "lstm", "peephole")},
    sizes=lambda settings: (len(SYMBOLS), len(SYMBOLS)),
    batch=batch,
    loss=class_loss,
    measure=measure,
    solved=lambda measured, settings: measured["perfect"] == STREAMS,
    draw=draw_curve("until", "symbols until the first mistake"),
    stream=True,
)
