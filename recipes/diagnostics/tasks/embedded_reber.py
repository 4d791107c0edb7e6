"""The embedded Reber grammar: what came second has to come again before the end, whatever was between.

Hochreiter & Schmidhuber 1997, experiment 1. The net reads a word and tells at each symbol the next. A word is
right if, at each symbol, all that may come next is likelier than all that may not. `test` words are tested.
"""

import torch

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.reber import SYMBOLS, right, streams
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Task, class_loss


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    return streams(size, 1, False, rng)[0]


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    drawn, legal = streams(settings.test, 1, False, rng)
    fine = (right(network(drawn.x, drawn.lengths)[0], legal) | ~drawn.asked).all(1)
    return {"wrong": float((~fine).sum())}


TASK = Task(
    settings=Settings(hidden=8, batch=16, steps=5000, check_every=50, test=1000),
    variants={name: {"cell": name} for name in ("lstm1997", "lstm", "peephole")},
    sizes=lambda settings: (len(SYMBOLS), len(SYMBOLS)),
    batch=batch,
    loss=class_loss,
    measure=measure,
    solved=lambda measured, settings: not measured["wrong"],
    draw=draw_curve("wrong", "wrong words", log=False),
)
