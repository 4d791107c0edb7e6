"""The norm of ∂loss/∂input 1 to 1,000 steps back: vanishing, exploding, and the constant error carousel.

Hochreiter 1991; Hochreiter, Bengio, Frasconi & Schmidhuber 2001, Gradient Flow in Recurrent Nets. Networks as
they are drawn, before any training, read noise; the loss is the squared error of the last output. "Solved"
means that the gradient 1,000 steps back is between a thousandth and a thousand times of that at the error.
`length` is how far back it is followed.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import panels, save
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import HELD_OUT, Batch, Run, Task, squared_loss

INPUTS = 4
LAGS = (1, 10, 100, 1000)
TINY = 1e-300  # what a norm of 0 counts as


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    """Noise; the target of the last step is noise as well."""
    steps = settings.length + 1
    x = torch.randn(size, steps, INPUTS, generator=rng)
    asked = torch.zeros(size, steps, dtype=torch.bool)
    asked[:, -1] = True
    return Batch(x, torch.randn(size, steps, 1, generator=rng), asked, torch.full((size,), steps))


def flow(network: Network, settings: Settings, rng: torch.Generator) -> Tensor:
    """The norm of the gradient by the input so many steps before the last, over that by the last: (length +
    1,) float64, the geometric mean over sequences. In float32 it would run over."""
    drawn = batch(settings, settings.test, rng)
    x = drawn.x.double().requires_grad_()
    outputs, _ = deepcopy(network).double()(x, drawn.lengths)
    (gradient,) = torch.autograd.grad(squared_loss(outputs, drawn), x)
    norms = gradient.norm(dim=-1).clamp_min(TINY).log().mean(0).flip(0)
    return (norms - norms[0]).exp()


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    with torch.inference_mode(False), torch.enable_grad():
        norms = flow(network, settings, rng)
    return {f"{lag} back": float(norms[lag]) for lag in LAGS if lag <= settings.length}


def flows(measured: Mapping[str, float], settings: Settings) -> bool:
    """Whether a thousandth of the gradient, and no more than a thousand times of it, gets to the end."""
    return 1e-3 < measured[max(measured, key=lambda key: int(key.split()[0]))] < 1e3


def draw(runs: Sequence[Run], path: Path) -> None:
    figure, (axes,) = panels(size=(6.4, 4.2))
    variants = list(dict.fromkeys(run.variant for run in runs))
    for number, run in enumerate(runs):
        norms = flow(run.network, run.settings, torch.Generator().manual_seed(HELD_OUT)).detach().numpy()
        first = number == 0 or runs[number - 1].variant != run.variant
        axes.loglog(
            range(1, len(norms)),
            norms[1:],
            color=f"C{variants.index(run.variant)}",
            linewidth=1,
            label=run.variant if first else None,
        )
    axes.axhline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set_ylim(1e-12, 1e12)
    axes.set_xlabel("steps back from the error")
    axes.set_ylabel("norm of ∂loss/∂input, that at the error = 1")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, path)


TASK = Task(
    settings=Settings(hidden=32, length=1000, steps=0, test=16),
    variants={
        "rnn 0.9": {"cell": "rnn", "gain": 0.9},
        "rnn 2": {"cell": "rnn", "gain": 2.0},
        "lstm1997": {"cell": "lstm1997"},
        "lstm bias 1": {"cell": "lstm", "forget_bias": 1.0},
        "lstm bias 5": {"cell": "lstm", "forget_bias": 5.0},
        "lstm chrono": {"cell": "lstm", "chrono": 1000},
        "gru bias 1": {"cell": "gru", "forget_bias": 1.0},
        "gru chrono": {"cell": "gru", "chrono": 1000},
    },
    sizes=lambda settings: (INPUTS, 1),
    batch=batch,
    loss=squared_loss,
    measure=measure,
    solved=flows,
    draw=draw,
)
