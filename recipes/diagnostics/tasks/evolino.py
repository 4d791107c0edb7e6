"""Superimposed sine waves, gone on with for 300 steps by a net whose cells are bred, not trained.

Wierstra, Gomez & Schmidhuber 2005, Modeling Systems with Internal State using Evolino; Schmidhuber, Wierstra,
Gagliolo & Gomez 2007, Training Recurrent Networks by Evolino. A net reads what it said last. Enforced
subpopulations (Gomez & Miikkulainen 1997) breed the memory cells, the linear output is a least-squares fit.
`sines` are superimposed. Of steps 1 to `length` the first quarter sets the state, the rest are fitted with
the true wave as input; then the net goes on from the first quarter alone, and its error there, over the
deviation of the wave (NRMSE), ranks it. Tested is how it goes on after `length`, for as many steps as were
fitted. `batch` is the genomes of a subpopulation, each in one net a generation; a step is a generation.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from carousel.common.errors import UsageError
from carousel.recipes.diagnostics.breeding import breed, burst, drawn
from carousel.recipes.diagnostics.network import Network, generate, joined, take
from carousel.recipes.diagnostics.picture import panels, save
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Run, Step, Task, squared_loss

FREQUENCIES = (0.2, 0.311, 0.42, 0.51, 0.74)  # radians a step, as in PyBrain's example of Evolino
DONE = 1e-3  # NRMSE on the steps of training at which breeding stops
START = 0.001  # weights at first are uniform within ± this, in which cells are all but linear
SPREAD = 3.0  # forget biases are within ± this, so that cells differ in how fast they forget
MUTATION = 0.1  # scale of the Cauchy noise of offspring, over what a gene is drawn from
BURST = 0.3  # and of that around the best net
PATIENCE = 20  # generations without progress before a burst
FORGET = "ifgo".index("f")
WORST = 1e6  # NRMSE of a net that runs away


def wave(settings: Settings, dtype: torch.dtype = torch.float64) -> Tensor:
    """The mean of the sines at steps 0 to the end of the test, (steps + 1,). Raises UsageError for too
    many."""
    if settings.sines > len(FREQUENCIES):
        raise UsageError(f"sines must be at most {len(FREQUENCIES)}, not {settings.sines}")
    steps = torch.arange(2 * settings.length - settings.length // 4 + 1, dtype=torch.float64)
    rates = torch.tensor(FREQUENCIES[: settings.sines], dtype=torch.float64)
    return (steps[:, None] * rates).sin().mean(1).to(dtype)


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    """The steps of training, the same wave in each row."""
    length = settings.length
    known = wave(settings, torch.float32)[: length + 1].expand(size, -1)[..., None]
    asked = torch.arange(length) >= length // 4
    return Batch(known[:, :-1], known[:, 1:], asked.expand(size, -1), torch.full((size,), length))


def nrmse(said: Tensor, true: Tensor) -> Tensor:
    """Root of the mean squared error over the deviation of the true wave; (…, steps) → (…,)."""
    error = ((said - true).square().mean(-1) / true.var(correction=0)).sqrt()
    return error.nan_to_num(WORST, WORST).clamp_max(WORST)


def goes_on(network: Network, known: Tensor, steps: int) -> Tensor:
    """What the network says after the wave (steps,) that it has read, (steps,)."""
    before, last = known[None, :-1, None], known[None, -1:]
    with torch.no_grad():
        _, state = network(before, torch.tensor([before.shape[1]]))
        return generate(network, last, steps, lambda y: y, state)[0, :, 0]


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    """NRMSE where the net goes on from the first quarter, and where it goes on after all that was fitted."""
    true = wave(settings, network.head.weight.dtype)
    length, quarter = settings.length, settings.length // 4
    ends = {"train": (quarter, length), "test": (length, len(true) - 1)}
    return {
        name: float(nrmse(goes_on(network, true[: first + 1], last - first), true[first + 1 : last + 1]))
        for name, (first, last) in ends.items()
    }


def learner(task: Task, network: Network, settings: Settings, variant: str) -> Step:
    """Breeds; the network is the best so far."""
    true = wave(settings)[: settings.length + 1]
    fan = joined(network.double()).shape[2]
    best, least, since = torch.zeros(()), WORST, 0
    unit = true.new_full((4, fan), START)
    unit[FORGET, -1] = SPREAD
    genomes = 2 * torch.rand(settings.hidden, settings.batch, 4 * fan, dtype=torch.float64) - 1

    def learn(now: Settings, rng: torch.Generator, progress: float) -> None:
        nonlocal genomes, best, least, since
        order = drawn(len(genomes), settings.batch, rng)  # (cells, nets)
        cells = genomes.gather(1, order[..., None].expand_as(genomes))
        weights = (cells.unflatten(2, (4, fan)) * unit).permute(1, 2, 0, 3)  # (nets, 4, cells, fan)
        errors, heads = tried(weights, true, settings.length // 4)
        number = int(errors.argmin())
        since += 1
        if errors[number] < least:
            best, least, since = cells[:, number], float(errors[number]), 0
            take(network, weights[number], heads[number][None])
        if since == PATIENCE:
            genomes, since = burst(best, settings.batch, BURST, rng), 0
        else:
            fitness = -torch.empty_like(order, dtype=errors.dtype).scatter(1, order, errors.expand_as(order))
            genomes = breed(genomes, fitness, MUTATION, rng)

    return learn


def tried(weights: Tensor, true: Tensor, quarter: int) -> tuple[Tensor, Tensor]:
    """NRMSE of many nets that go on from the first quarter, (nets,), and their outputs' weights with the bias
    last, (nets, cells + 1).

    weights: (nets, 4, cells, fan), as `network.joined` has them; true: (steps + 1,), from step 0.
    """
    nets, _, cells, _ = weights.shape
    rows = weights.flatten(1, 2)
    with torch.inference_mode():
        ones = rows.new_ones(nets, 1)
        h, c = rows.new_zeros(2, nets, cells).unbind()
        states, middle = [], (h, c)
        for step, x in enumerate(true[:-1]):
            if step == quarter:
                middle = h, c
            h, c = step_all(rows, x * ones, h, c)
            if step >= quarter:
                states.append(torch.cat((h, ones), dim=1))
        fitted = true[quarter + 1 :]
        heads = torch.linalg.lstsq(
            torch.stack(states, dim=1), fitted[:, None].expand(nets, -1, 1), driver="gelsd"
        ).solution[..., 0]
        (h, c), x, said = middle, true[quarter] * ones, []
        for _ in fitted:
            h, c = step_all(rows, x, h, c)
            x = (torch.cat((h, ones), dim=1) * heads).sum(1, keepdim=True)
            said.append(x)
    return nrmse(torch.cat(said, dim=1), fitted), heads


def step_all(rows: Tensor, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of nets that each have weights of their own, (nets, 4 · cells, fan). x: (nets, 1)."""
    z = torch.bmm(rows, torch.cat((x, h, torch.ones_like(x)), dim=1)[..., None])[..., 0]
    i, f, g, o = z.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def draw(runs: Sequence[Run], path: Path) -> None:
    """The wave after the steps of training, and how the nets go on: a panel a variant."""
    variants = list(dict.fromkeys(run.variant for run in runs))
    figure, axes = panels(len(variants), (6.4, 1.2 + 1.5 * len(variants)))
    for panel, variant in zip(axes, variants, strict=True):
        several = [run for run in runs if run.variant == variant]
        length = several[0].settings.length
        true = wave(several[0].settings)
        steps = range(length + 1, len(true))
        panel.plot(steps, true[length + 1 :], color="black", linewidth=0.8, label="the wave")
        for number, run in enumerate(several):
            said = goes_on(run.network, true[: length + 1], len(steps))
            label = f"seed {run.seed}: NRMSE {run.measured['test']:.2g}"
            panel.plot(steps, said, color=f"C{number}", linewidth=0.8, linestyle="--", label=label)
        panel.set_ylim(-1.2, 1.9)  # above is the legend
        panel.set_ylabel(variant or "wave")
        panel.legend(frameon=False, fontsize=6, loc="upper right", ncols=2)
    axes[-1].set_xlabel("step (training ended before the first one shown)")
    save(figure, path)


def solved(measured: Mapping[str, float], settings: Settings) -> bool:
    return measured["train"] < DONE


TASK = Task(
    settings=Settings(hidden=10, sines=2, length=400, batch=40, steps=100, check_every=10, test=1),
    variants={
        f"{sines} sines": {"sines": sines, "hidden": cells}
        for sines, cells in ((2, 10), (3, 15), (4, 20), (5, 20))
    },
    sizes=lambda settings: (1, 1),
    batch=batch,
    loss=squared_loss,
    measure=measure,
    solved=solved,
    draw=draw,
    learner=learner,
)
