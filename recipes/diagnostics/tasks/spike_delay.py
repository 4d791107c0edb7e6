"""Precise timing: were there 50 steps between two spikes, or 49?

Gers, Schraudolph & Schmidhuber 2002, Learning Precise Timing with LSTM Recurrent Networks. The first spike
comes at one of ten steps, the second `length` or `length` - 1 steps later, where the net has to tell which.
No shorter intervals are seen. `test` sequences are tested.
"""

import torch

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Task, class_loss

STARTS = 10  # steps at which the first spike may come


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    first = torch.randint(STARTS, (size,), generator=rng)
    longer = torch.randint(2, (size,), generator=rng)
    second = first + settings.length - 1 + longer
    steps = torch.arange(STARTS + settings.length)
    asked = steps == second[:, None]
    x = ((steps == first[:, None]) | asked).float()[..., None]
    return Batch(x, longer[:, None].expand(size, len(steps)), asked, second + 1)


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    drawn = batch(settings, settings.test, rng)
    said = network(drawn.x, drawn.lengths)[0].argmax(-1)
    return {"wrong": float((said != drawn.targets)[drawn.asked].sum())}


TASK = Task(
    settings=Settings(
        hidden=4, forget_bias=5.0, length=50, batch=32, steps=10000, check_every=100, test=1000
    ),
    variants={name: {"cell": name} for name in ("lstm", "peephole")},
    sizes=lambda settings: (1, 2),
    batch=batch,
    loss=class_loss,
    measure=measure,
    solved=lambda measured, settings: not measured["wrong"],
    draw=draw_curve("wrong", "wrong of the test", log=False),
)
