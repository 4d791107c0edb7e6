"""What a task is, and the one trainer of all tasks."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from carousel.common.train.optimizers import learning_rate, make_optimizer, weight_noise
from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.settings import Settings

log = logging.getLogger(__name__)

# Of learning: settings now, random numbers, and the share of the steps that are done.
Step = Callable[[Settings, torch.Generator, float], None]
FRESH = 0.1  # share of a stream's rows that begin anew with a batch: the empty state has to be learned too
HELD_OUT = 1 << 20  # added to no seed that a user gives: the generator of what is tested on


class Batch(NamedTuple):
    """Sequences, what the network should say, and where it is asked."""

    x: Tensor  # (batch, steps, inputs)
    targets: Tensor  # (batch, steps) classes, or (batch, steps, outputs) values
    asked: Tensor  # (batch, steps) bool
    lengths: Tensor  # (batch,)


@dataclass(frozen=True)
class Run:
    """A training that is over."""

    variant: str
    seed: int
    settings: Settings
    network: Network
    solved: bool
    steps: int
    seconds: float
    measured: dict[str, float]
    curve: list[dict[str, float]] = field(default_factory=list)  # at each test, with its step


@dataclass(frozen=True)
class Task:
    """A task as data. All random numbers come from the generator that a function is given.

    sizes: (inputs, outputs) of the network; batch: new sequences; loss: of outputs (batch, steps, outputs);
    measure: of a network, on sequences that no training has seen; solved: whether training may stop; ready:
    whether a curriculum may go on, if that is less;
    draw: all runs in one picture; stream: the rows of a batch go on from those of the batch before, all but
    some that begin anew.
    write: other files into the folder of the run; network: another than `Network`, called as that is.
    learner: what changes the network at each step, of a task, a network, settings and a variant; None: AdamW.
    """

    settings: Settings
    sizes: Callable[[Settings], tuple[int, int]]
    batch: Callable[[Settings, int, torch.Generator], Batch]
    loss: Callable[[Tensor, Batch], Tensor]
    measure: Callable[[Network, Settings, torch.Generator], dict[str, float]]
    solved: Callable[[Mapping[str, float], Settings], bool]
    draw: Callable[[Sequence[Run], Path], None]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    ready: Callable[[Mapping[str, float]], bool] | None = None
    stream: bool = False
    write: Callable[[Run, Path], None] | None = None
    network: Callable[[Settings], nn.Module] | None = None
    learner: Callable[["Task", Network, Settings, str], Step] | None = None


def train(task: Task, settings: Settings, seed: int, variant: str = "") -> Run:
    """One training from one seed, until the task is solved or the steps are over."""
    torch.manual_seed(seed)
    began = time.monotonic()
    network = build(task, settings)
    learn = (task.learner or by_gradient)(task, network, settings, variant)
    rng = torch.Generator().manual_seed(seed)
    now = replace(settings, length=settings.first or settings.length)
    curve: list[dict[str, float]] = []
    solved, step = False, 0
    measured = test(task, network, now)
    while step < settings.steps and not solved:
        step += 1
        learn(now, rng, step / settings.steps)
        if step % settings.check_every and step < settings.steps:
            continue
        measured = test(task, network, now)
        curve.append({"step": step, "length": now.length, **measured})
        log.info("%s seed %d step %d length %d: %s", variant, seed, step, now.length, told(measured))
        if now.length == settings.length:
            solved = task.solved(measured, now)
        elif task.ready(measured) if task.ready else task.solved(measured, now):
            now = replace(now, length=min(longer(now.length), settings.length))
    if curve and curve[-1]["length"] < settings.length:  # a curriculum that has not come to its end
        measured = test(task, network, settings)
    solved = task.solved(measured, settings)
    return Run(variant, seed, settings, network, solved, step, time.monotonic() - began, measured, curve)


def build(task: Task, settings: Settings) -> Any:
    """The network of a task, with weights as they are drawn."""
    return task.network(settings) if task.network else Network(*task.sizes(settings), settings)


def longer(length: int) -> int:
    """The next length of a curriculum."""
    return length * 3 // 2 + 1


def by_gradient(task: Task, network: Network, settings: Settings, variant: str = "") -> Step:
    """Learning by AdamW: a batch a step."""
    optimizer = make_optimizer(network, asdict(settings.optimizer))
    state: Any = None  # that the next batch of a stream goes on from

    def learn(now: Settings, rng: torch.Generator, progress: float) -> None:
        nonlocal state
        batch = task.batch(now, now.batch, rng)

        def loss() -> Tensor:
            nonlocal state
            outputs, state = network(batch.x, batch.lengths, state)
            return task.loss(outputs, batch)

        descend(network, optimizer, loss, settings, progress)
        if task.stream:
            goes_on = (torch.rand(now.batch, 1, generator=rng) >= FRESH).float()
            state = [tuple(part.detach() * goes_on for part in layer) for layer in state]
        else:
            state = None

    return learn


def descend(
    network: Network,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    settings: Settings,
    progress: float,
) -> None:
    """One step of the optimizer, `progress` (0 … 1) through the training."""
    rate = learning_rate(asdict(settings.optimizer), progress)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    with weight_noise(network, settings.optimizer.weight_noise):
        loss().backward()
    clip = settings.optimizer.clip or float("inf")
    if nn.utils.clip_grad_norm_(network.parameters(), clip).isfinite():
        optimizer.step()


def test(task: Task, network: Network, settings: Settings) -> dict[str, float]:
    """The task's measures, always on the same sequences."""
    with torch.inference_mode():
        return task.measure(network, settings, torch.Generator().manual_seed(HELD_OUT))


def told(measured: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in measured.items())


def asked_mean(losses: Tensor, batch: Batch) -> Tensor:
    """The mean of (batch, steps) losses where the network is asked."""
    return (losses * batch.asked).sum() / batch.asked.sum()


def squared_loss(outputs: Tensor, batch: Batch) -> Tensor:
    return asked_mean((outputs - batch.targets).square().mean(-1), batch)


def class_loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy, nats."""
    losses = nn.functional.cross_entropy(outputs.transpose(1, 2), batch.targets, reduction="none")
    return asked_mean(losses, batch)


def bit_loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of independent bits, nats."""
    losses = nn.functional.binary_cross_entropy_with_logits(outputs, batch.targets, reduction="none")
    return asked_mean(losses.mean(-1), batch)
