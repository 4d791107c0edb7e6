"""Pictures of a network at work, as PNG in memory. Time runs from left to right, in seconds or frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from carousel.common.ctc.loss import Span
from carousel.common.explain.trace import Unit

if TYPE_CHECKING:  # loading it takes a second
    from matplotlib.figure import Figure

DPI = 100
WIDTH = 10.0  # inches
LABELS = 40  # states of a lattice that are named
Media = tuple[str, bytes]


@dataclass(frozen=True)
class Axis:
    """How output frames are told to people."""

    step: float  # of an output frame
    name: str

    def times(self, frames: int) -> np.ndarray:
        return (np.arange(frames) + 0.5) * self.step


def lattice(
    posteriors: np.ndarray, spans: Sequence[Span], names: Sequence[str], axis: Axis, first: int = 0
) -> Media:
    """The probability of each state of CTC's lattice (frames, 2n + 1) given the text, and the best path.

    spans: of the n symbols, in frames of the picture; names: of the symbols; first: the frame it begins at.
    """
    figure = _figure(2.0 + 0.16 * min(posteriors.shape[1], 3 * LABELS))
    axes = figure.subplots()
    start, end = first * axis.step, (first + len(posteriors)) * axis.step
    axes.imshow(
        posteriors.T, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest",
        extent=(start, end, posteriors.shape[1] - 0.5, -0.5),
    )  # fmt: skip
    path = np.full(len(posteriors), -1)
    state = 0
    for number, span in enumerate(spans):
        path[state : max(span.start, 0)] = 2 * number
        path[max(span.start, 0) : span.end] = 2 * number + 1
        state = max(span.end, 0)
    path[state:] = 2 * len(spans)
    axes.step(
        start + axis.times(len(posteriors)), path, color="C1", where="mid", linewidth=1.2, label="best path"
    )
    if len(names) <= LABELS:
        labels = ["blank", *(label for name in names for label in (name, "blank"))]
        axes.set_yticks(range(len(labels)), labels, fontsize=7, parse_math=False)
    axes.set_xlabel(axis.name)
    axes.legend(loc="upper right", fontsize=8)
    return _png(figure)


def unit(found: Unit, axis: Axis, marked: tuple[int, int]) -> Media:
    """Gates above, cell state and output below; marked: frames of the word."""
    figure = _figure(4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    times = axis.times(len(found.cell))
    for name, values in (
        ("input gate", found.input_gate),
        ("forget gate", found.forget_gate),
        ("output gate", found.output_gate),
    ):
        above.plot(times, np.broadcast_to(values, times.shape), linewidth=1.1, label=name)
    for name, values in (("cell", found.cell), ("candidate", found.candidate), ("output", found.output)):
        below.plot(times, values, linewidth=1.1, label=name)
    for axes in (above, below):
        axes.axvspan(marked[0] * axis.step, marked[1] * axis.step, color="0.9")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
        axes.grid(alpha=0.3)
    above.set_ylim(-0.03, 1.03)
    below.set_xlabel(axis.name)
    return _png(figure)


def sensitivity(gradient: np.ndarray, axis: Axis, stride: int, frame: int, sound: bool) -> Media:
    """How much each feature (frames, size) moves one output, and below the sum over the features.

    sound: the first feature is the lowest; else it is the top one.
    """
    figure = _figure(4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    size = np.abs(gradient)
    most = float(np.percentile(size, 99.5)) or 1.0
    end = len(gradient) * axis.step / stride
    above.imshow(
        gradient.T, aspect="auto", origin="lower" if sound else "upper", cmap="RdBu_r", vmin=-most, vmax=most,
        extent=(0, end, *(0, gradient.shape[1])[:: 1 if sound else -1]), interpolation="nearest",
    )  # fmt: skip
    below.plot((np.arange(len(size)) + 0.5) * axis.step / stride, size.sum(axis=1), linewidth=1.1)
    for axes in (above, below):
        axes.axvline((frame + 0.5) * axis.step, color="0.3", linestyle=":", linewidth=1)
    above.set_ylabel("feature")
    below.set_ylabel("sum of |∂|")
    below.set_xlabel(axis.name)
    below.set_ylim(bottom=0)
    return _png(figure)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def _png(figure: Figure) -> Media:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return "image/png", file.getvalue()
