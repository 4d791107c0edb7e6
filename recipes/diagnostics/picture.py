"""Pictures of tasks, drawn as those of common.plots: without pyplot, so that no screen is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.plots import write_picture
from carousel.recipes.diagnostics.task import Run

if TYPE_CHECKING:  # loading it takes a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 90
SIZE = (6.4, 3.6)  # inches


def panels(count: int = 1, size: tuple[float, float] = SIZE) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels one above the other, on one horizontal axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])


def save(figure: Figure, path: Path) -> None:
    write_picture(figure, path)


def draw_curve(measure: str, label: str, log: bool = True) -> Callable[[Sequence[Run], Path], None]:
    """A `Task.draw` that shows one measure over the steps of training: a colour a variant, a line a seed."""

    def draw(runs: Sequence[Run], path: Path) -> None:
        figure, (axes,) = panels()
        variants = list(dict.fromkeys(run.variant for run in runs))
        for number, run in enumerate(runs):
            points = [(row["step"], row[measure]) for row in run.curve]
            first = number == 0 or runs[number - 1].variant != run.variant
            axes.plot(
                *zip(*points, strict=True) if points else ((), ()),
                color=f"C{variants.index(run.variant) % 10}",
                linewidth=1,
                label=run.variant if first and len(variants) > 1 else None,
            )
        if log:
            axes.set_yscale("symlog", linthresh=1e-4)
        axes.set_xlabel("steps of the optimizer")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if len(variants) > 1:
            axes.legend(frameon=False, fontsize=8)
        save(figure, path)

    return draw
