"""A T-maze: the sign at the start tells where to turn at the end of a corridor that looks the same all along.

Bakker 2002, Reinforcement Learning with Long Short-Term Memory, without noise. The agent sees 011 or 110 at
the start, 101 in the corridor, 010 at the junction, and goes north, east, south or west. The right turn is
paid 4, the wrong one and standing still -0.1. Learned by REINFORCE with a baseline (Williams 1992; Wierstra,
Foerster, Peters & Schmidhuber 2007, Recurrent Policy Gradients) where the paper has Advantage(λ). `length` is
N, the steps from the start to the junction, `batch` and `test` are mazes. Solved means that 90 % are right
when the likeliest action is taken; without noise there are two different mazes.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from carousel.common.train.optimizers import make_optimizer
from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Step, Task, asked_mean, descend

NORTH, EAST, SOUTH, WEST = ACTIONS = range(4)
TURNS = torch.tensor([NORTH, SOUTH])  # of the two signs
SIGNS = torch.tensor([[0.0, 1, 1], [1, 1, 0]])
CORRIDOR, JUNCTION = torch.tensor([1.0, 0, 1]), torch.tensor([0.0, 1, 0])
GOAL, FAULT = 4.0, -0.1
DISCOUNT = 0.98  # of a reward a step later
LIMIT = 5  # steps of an episode over the length, after which it is over
RIGHT = 0.9  # share of the mazes

Choose = Callable[[Tensor], Tensor]  # what is seen, (mazes, 3) → actions, (mazes,)


def walk(choose: Choose, settings: Settings, size: int, rng: torch.Generator) -> tuple[Batch, Tensor]:
    """Episodes, and in which of them the turn was right, (size,) bool.

    Targets are (size, steps, 2): the action, and all that is paid from there on, discounted.
    """
    signs = torch.randint(2, (size,), generator=rng)
    place, running, right = torch.zeros_like(signs), torch.ones(size).bool(), torch.zeros(size).bool()
    seen, done, paid, asked = [], [], [], []
    for _ in range(LIMIT * settings.length):
        seen.append(look(place, signs, settings.length) * running[:, None])
        done.append(choose(seen[-1]))
        asked.append(running)
        place, reward, turned = act(place, done[-1], signs, settings.length)
        paid.append(reward * running)
        right = right | (running & turned & (reward == GOAL))
        running = running & ~turned
        if not running.any():
            break
    returns = torch.stack(paid, dim=1)
    for step in range(len(paid) - 2, -1, -1):
        returns[:, step] += DISCOUNT * returns[:, step + 1]
    mask = torch.stack(asked, dim=1)
    targets = torch.stack((torch.stack(done, dim=1).float(), returns), dim=-1)
    return Batch(torch.stack(seen, dim=1), targets, mask, mask.sum(1)), right


def look(place: Tensor, signs: Tensor, length: int) -> Tensor:
    """What is seen at each place, (mazes, 3)."""
    seen = torch.where((place == length)[:, None], JUNCTION, CORRIDOR)
    return torch.where((place == 0)[:, None], SIGNS[signs], seen)


def act(place: Tensor, action: Tensor, signs: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The places after an action, what it is paid, and whether it turns, which ends an episode."""
    turned = (place == length) & ((action == NORTH) | (action == SOUTH))
    moved = (place + (action == EAST).long() - (action == WEST).long()).clamp(0, length)
    fine = turned & (action == TURNS[signs])
    reward = torch.where(fine, GOAL, torch.where(moved == place, FAULT, 0.0))
    return moved, reward, turned


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    """Episodes of one who walks at random."""
    return walk(lambda x: torch.randint(len(ACTIONS), (len(x),), generator=rng), settings, size, rng)[0]


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Of REINFORCE; the last output is the baseline, learned by its squared error."""
    actions, returns = batch.targets[..., :1].long(), batch.targets[..., 1]
    chosen = outputs[..., :-1].log_softmax(-1).gather(-1, actions)[..., 0]
    above = returns - outputs[..., -1]
    return asked_mean(above.square() / 2 - chosen * above.detach(), batch)


def learner(task: Task, network: Network, settings: Settings, variant: str) -> Step:
    """Learning by AdamW from mazes that the network walks itself."""
    optimizer = make_optimizer(network, asdict(settings.optimizer))

    def learn(now: Settings, rng: torch.Generator, progress: float) -> None:
        drawn, _ = walk(sampler(network, rng), now, now.batch, rng)
        descend(
            network, optimizer, lambda: loss(network(drawn.x, drawn.lengths)[0], drawn), settings, progress
        )

    return learn


def sampler(network: Network, rng: torch.Generator | None) -> Choose:
    """Draws each action as the network has it; without a generator the likeliest one. For one walk."""
    state = None

    def choose(x: Tensor) -> Tensor:
        nonlocal state
        with torch.no_grad():
            outputs, state = network(x[:, None], torch.ones(len(x), dtype=torch.long), state)
        likely = outputs[:, 0, :-1].softmax(-1)
        return torch.multinomial(likely, 1, generator=rng)[:, 0] if rng else likely.argmax(-1)

    return choose


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    """The share of mazes that are right with the likeliest action at each step, and with actions drawn."""
    _, surely = walk(sampler(network, None), settings, settings.test, rng)
    _, drawn = walk(sampler(network, rng), settings, settings.test, rng)
    return {"right": float(surely.float().mean()), "right drawn": float(drawn.float().mean())}


def solved(measured: Mapping[str, float], settings: Settings) -> bool:
    return measured["right"] >= RIGHT


TASK = Task(
    settings=Settings(hidden=12, length=50, first=5, batch=32, steps=3000, check_every=25, test=100),
    variants={
        f"{cell} N{length}": {"cell": cell, "length": length}
        for cell in ("lstm", "rnn")
        for length in (5, 20, 50, 70)
    },
    sizes=lambda settings: (len(CORRIDOR), len(ACTIONS) + 1),
    batch=batch,
    loss=loss,
    measure=measure,
    solved=solved,
    draw=draw_curve("right", "mazes right", log=False),
    learner=learner,
)
