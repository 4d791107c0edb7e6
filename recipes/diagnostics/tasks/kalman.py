"""The continual embedded Reber grammar by a Kalman filter in place of gradient descent.

Pérez-Ortiz, Gers, Eck & Schmidhuber 2003, Kalman filters improve LSTM network performance in problems
unsolvable by traditional recurrent nets. `dekf` learns at each symbol by the decoupled extended Kalman
filter, weights grouped by unit, `adamw` once a step; a step of either reads `length` words of one stream.
Test and measures are those of continual_reber.
"""

import torch
from torch import Tensor

from carousel.common.errors import UsageError
from carousel.recipes.diagnostics.forward_mode import Carried, start, step
from carousel.recipes.diagnostics.kalman import fresh, update
from carousel.recipes.diagnostics.network import Network, joined, take
from carousel.recipes.diagnostics.reber import SYMBOLS
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import FRESH, Step, Task, by_gradient
from carousel.recipes.diagnostics.tasks import continual_reber

# Chosen by us, of the size usual in Haykin 2001, Kalman Filtering and Neural Networks, chapter 2.
VARIANCE = 100.0  # of a weight at first
NOISE = (100.0, 3.0)  # R at first and from the end of annealing on
DRIFT = (1e-2, 1e-6)  # Q, likewise
ANNEALED = 0.5  # share of the steps over which R and Q fall, exponentially


def learner(task: Task, network: Network, settings: Settings, variant: str) -> Step:
    return by_filter(network, settings) if variant == "dekf" else by_gradient(task, network, settings)


def by_filter(network: Network, settings: Settings) -> Step:
    """Learning from one stream, symbol by symbol. Raises UsageError for more streams."""
    if settings.batch != 1:
        raise UsageError("the Kalman filter reads one stream: batch must be 1")
    layer = joined(network).double()
    head = torch.cat((network.head.weight, network.head.bias[:, None]), dim=1).detach().double()
    weights = [layer.flatten(0, 1), head]  # views: a row is a unit, and a group
    covariances = fresh(weights, VARIANCE)
    carried = start(layer)

    def learn(now: Settings, rng: torch.Generator, progress: float) -> None:
        nonlocal carried
        if torch.rand((), generator=rng) < FRESH:
            carried = start(layer)
        drawn = continual_reber.batch(now, 1, rng)
        targets = torch.eye(len(SYMBOLS), dtype=torch.float64)[drawn.targets[0]]
        noise, drift = (annealed(*ends, progress) for ends in (NOISE, DRIFT))
        with torch.inference_mode():
            for x, target in zip(drawn.x[0].double(), targets, strict=True):
                carried = step(layer, x, carried)
                outputs, slopes = seen(head, carried, len(weights[0]))
                update(weights, covariances, slopes, target - outputs, noise, drift)
        take(network, layer, head)

    return learn


def annealed(first: float, last: float, progress: float) -> float:
    """What falls exponentially from `first` to `last`, and stays."""
    return first * (last / first) ** min(progress / ANNEALED, 1)


def seen(head: Tensor, carried: Carried, units: int) -> tuple[Tensor, list[Tensor]]:
    """Outputs (outputs,), a softmax, and their slopes by the weights of the layer's units and of the head's
    rows."""
    h = torch.cat((carried.h, carried.h.new_ones(1)))
    outputs = (head @ h).softmax(0)
    steep = outputs.diag() - outputs.outer(outputs)  # symmetric: ∂outputs/∂(head h)
    inner = (head[:, :-1] @ carried.dh).view(len(head), units, -1)
    return outputs, [inner.permute(1, 2, 0) @ steep, steep[:, None] * h[:, None]]


TASK = Task(
    settings=Settings(
        hidden=8, length=2, batch=1, steps=8000, check_every=100, test=100_000, optimizer=OPTIMIZER
    ),
    variants={"dekf": {}, "adamw": {}},
    sizes=continual_reber.TASK.sizes,
    batch=continual_reber.batch,
    loss=continual_reber.TASK.loss,
    measure=continual_reber.measure,
    solved=continual_reber.TASK.solved,
    draw=continual_reber.TASK.draw,
    stream=True,
    learner=learner,
)
