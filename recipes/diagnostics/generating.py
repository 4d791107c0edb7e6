"""Nets that make a periodic signal by themselves: nothing tells them when.

Gers, Schraudolph & Schmidhuber 2002, Learning Precise Timing with LSTM Recurrent Networks: neither teacher
forcing nor a reset. The net reads a constant, and its cells are all that keeps time. It is trained from an
empty state over PERIODS and tested over `test`: `worst` is the largest error there, or up to the first that
is too large. `length` is the period in steps.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import panels, save
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Run, Task

PERIODS = 10  # of a sequence in training
PART = 50  # periods that are tested at once
RIGHT = 0.49  # error of an output between 0 and 1 that counts as right, as in the paper's first stage
SHOWN = 3  # periods in the picture

Wave = Callable[[Tensor, int], Tensor]  # of steps and the period: values from 0 to 1


def spike(steps: Tensor, period: int) -> Tensor:
    return (steps % period == period - 1).float()


def cosine(steps: Tensor, period: int) -> Tensor:
    return 0.5 * (1 - torch.cos(2 * torch.pi * (steps % period) / period))


def triangle(steps: Tensor, period: int) -> Tensor:
    return 1 - (2 * (steps % period) / period - 1).abs()


def rectangle(steps: Tensor, period: int) -> Tensor:
    return (2 * (steps % period) >= period).float()


def periods(wave: Wave, period: int, count: int, rows: int) -> Batch:
    steps = torch.arange(period * count)
    targets = wave(steps, period)[None, :, None].expand(rows, len(steps), 1)
    asked = torch.ones(rows, len(steps), dtype=torch.bool)
    return Batch(torch.ones_like(targets), targets, asked, torch.full((rows,), len(steps)))


def generating_task(
    waves: Mapping[str, Wave],
    settings: Settings,
    variants: Mapping[str, Mapping[str, Any]],
    loss: Callable[[Tensor, Batch], Tensor],
    squash: Callable[[Tensor], Tensor],
) -> Task:
    """The task of one or more waves, each an output. squash: from outputs to values between 0 and 1."""

    def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
        drawn = [periods(wave, settings.length, PERIODS, size) for wave in waves.values()]
        return drawn[0]._replace(targets=torch.cat([each.targets for each in drawn], dim=-1))

    def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
        """Stops after the part in which an error is not right."""
        worst, right, state, done = 0.0, 0, None, 0
        while done < settings.test and right == done * settings.length:
            count = min(PART, settings.test - done)
            part = batch(settings, 1, rng)
            targets = part.targets.repeat(1, -(-count // PERIODS), 1)[:, : count * settings.length]
            outputs, state = network(
                torch.ones(1, targets.shape[1], 1), torch.tensor([targets.shape[1]]), state
            )
            errors = (squash(outputs) - targets).abs().amax(dim=(0, 2))
            worst = max(worst, float(errors.max()))
            right += int((errors < RIGHT).long().cumprod(0).sum())
            done += count
        return {"right periods": right // settings.length, "worst": worst}

    def draw(runs: Sequence[Run], path: Path) -> None:
        """What the first seed of each variant says after all the tested periods, over what it should say."""
        first = {run.variant: run for run in reversed(runs)}
        names = list(dict.fromkeys(run.variant for run in runs))
        figure, axes = panels(len(names), (6.4, 1.1 * len(names) + 0.8))
        for panel, name in zip(axes, names, strict=True):
            run = first[name]
            wanted = batch(run.settings, 1, torch.Generator()).targets[0, : SHOWN * run.settings.length]
            said = last_periods(run, squash)
            for column, wave in enumerate(waves):
                panel.plot(wanted[:, column], color="black", linewidth=0.8, linestyle="--")
                panel.plot(said[:, column], color=f"C{column}", linewidth=1.2, label=wave)
            panel.set_ylabel(name, fontsize=8)
            panel.set_ylim(-0.15, 1.15)
        axes[-1].set_xlabel(f"steps, after {runs[0].settings.test - SHOWN} periods (dashed: wanted)")
        if len(waves) > 1:
            axes[0].legend(frameon=False, fontsize=8, loc="upper right")
        save(figure, path)

    return Task(
        settings=settings,
        variants=variants,
        sizes=lambda settings: (1, len(waves)),
        batch=batch,
        loss=loss,
        measure=measure,
        solved=lambda measured, settings: measured["right periods"] >= settings.test,
        draw=draw,
    )


def last_periods(run: Run, squash: Callable[[Tensor], Tensor]) -> Tensor:
    """What a net says in the last periods of the test, (steps, waves)."""
    steps = run.settings.test * run.settings.length
    with torch.inference_mode():
        outputs, _ = run.network(torch.ones(1, steps, 1), torch.tensor([steps]))
    return squash(outputs)[0, -SHOWN * run.settings.length :]
