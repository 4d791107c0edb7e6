"""Pictures: the input above the CTC activations (Graves et al. 2006, figure 1), and the curves of a training.

Each symbol of the text is written where it fires; the blank is the dotted grey line. Drawn without pyplot, so
that nothing global is touched and no screen is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.calibration import BINS, Outcomes, calibration_error, reliability
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.text.alphabet import Alphabet

if TYPE_CHECKING:  # loading it takes a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from carousel.common.ctc.spotting import Curve

DPI = 120
WIDTH = (8.0, 120.0)  # inches, least and most
MARKS = (250, 500, 1000, 2000, 4000, 8000)  # Hz
LEVELS, LETTER, LEVEL = 3, 0.12, 0.11  # of letters above each other; inches; share of a probability of 1
VISIBLE = 0.05  # a symbol that never gets this probable has no line of its own
COLOURS = [
    f"C{index}" for index in (0, 1, 2, 3, 4, 5, 6, 8, 9)
]  # matplotlib's cycle without its grey: that is the blank


def draw_activations(
    picture: np.ndarray,
    log_probs: np.ndarray,
    hypothesis: Hypothesis,
    alphabet: Alphabet,
    path: str | Path,
    *,
    title: str = "",
    seconds: float | None = None,
    stride: float | None = None,
    hertz: np.ndarray | None = None,
    letters: int = 0,
) -> None:
    """A spectrogram or a line image above its activations, both on one horizontal axis.

    picture (rows, columns): with `seconds` a spectrogram, the lowest frequency in row 0; else a line image,
    the top in row 0, either uint8 (255 = white) or ink on paper (0 = paper).
    log_probs (frames, symbols): natural log; hypothesis: what a decoder made of them.
    seconds: the length of an output frame. stride: columns to an output frame (default: columns / frames).
    hertz: (rows,) of a spectrogram, rising.
    letters: for which there is to be room, however many the hypothesis has.
    Raises InputError when the picture cannot be written.
    """
    frames, columns = len(log_probs), picture.shape[1]
    scale = 1.0 if seconds is None else seconds
    shown = columns / stride if stride else frames  # the last output frame may reach past the last column
    sound, width = seconds is not None, _width(frames, max(letters, len(hypothesis.symbols)))
    # Inches; a line keeps its proportions as far as it can.
    height = 1.6 if sound or not columns else float(np.clip(width * len(picture) / columns, 0.6, 3.0))
    figure, (above, below) = _panels(width, height, sharex=True)
    if picture.size and shown:
        shades = "magma" if sound else "gray" if picture.dtype == np.uint8 else "gray_r"
        bottom, top = (0, len(picture)) if sound else (len(picture), 0)
        origin: Any = "lower" if sound else "upper"
        extent = (0, shown * scale, bottom, top)
        above.imshow(picture, cmap=shades, extent=extent, origin=origin, aspect="auto")
    above.set_yticks([])
    if hertz is not None and len(hertz):
        marks = [mark for mark in MARKS if hertz[0] <= mark <= hertz[-1]]
        rows = np.interp(marks, hertz, np.arange(len(hertz)) + 0.5)
        above.set_yticks(rows, [f"{mark:,}" for mark in marks], fontsize=8)
        above.set_ylabel("Hz")
    _lines(below, log_probs, hypothesis, alphabet, scale)
    colours = _colours(hypothesis)
    for symbol, frame in _peaks(log_probs, hypothesis, alphabet):
        above.axvline((frame + 0.5) * scale, color=colours[symbol.text], linewidth=0.6, alpha=0.6)
    below.set_xlim(0, max(frames, shown, 1) * scale)
    below.set_xlabel("output frame" if seconds is None else "seconds")
    _save(figure, above, title, path)


def draw_ink(
    strokes: Sequence[np.ndarray],
    places: np.ndarray,
    log_probs: np.ndarray,
    hypothesis: Hypothesis,
    alphabet: Alphabet,
    path: str | Path,
    *,
    title: str = "",
) -> None:
    """Pen strokes, each symbol written where the pen was when it fired, above the activations.

    strokes: each (points, 2), y downwards. places (frames, 2): x, y of each output frame, in the same units.
    The rest as in draw_activations. The pen may go back, so the two panels share colours, not an axis.
    """
    figure, (above, below) = _panels(_width(len(log_probs), len(hypothesis.symbols)), 2.2, sharex=False)
    for stroke in strokes:
        above.plot(stroke[:, 0], stroke[:, 1], color="black", linewidth=1.2, solid_capstyle="round")
        if len(stroke) == 1:  # a dot of an i: a line of one point shows nothing
            above.plot(stroke[:, 0], stroke[:, 1], ".", color="black", markersize=3)
    colours = _colours(hypothesis)
    for symbol, frame in _peaks(log_probs, hypothesis, alphabet):
        place, colour = places[frame], colours[symbol.text]
        above.plot(*place, "o", color=colour, markersize=5)
        _write(above, symbol.text, place, colour, above=7)
    above.set_aspect("equal", adjustable="datalim")
    above.margins(0.05, 0.2)
    above.invert_yaxis()
    above.set_axis_off()
    _lines(below, log_probs, hypothesis, alphabet, 1.0)
    below.set_xlim(0, max(len(log_probs), 1))
    below.set_xlabel("output frame, in the order of writing")
    _save(figure, above, title, path)


def draw_curves(rows: Iterable[Mapping[str, Any]], path: str | Path, *, title: str = "") -> None:
    """Loss and error rates of a training run, epoch by epoch.

    rows: one mapping an epoch with "epoch"; every key that ends in "loss" is drawn above, every key that ends
    in "cer" or "wer" (fractions) below in percent. Missing, empty and non-finite values are left out. The
    epoch of the lowest "valid_cer" is marked.
    """
    rows = list(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    figure, (above, below) = _panels(WIDTH[0], 2.2, sharex=True)
    for axes, endings, factor in ((above, ("loss",), 1.0), (below, ("cer", "wer"), 100.0)):
        for key in (key for key in keys if key.endswith(endings)):
            points = np.array([(_number(row.get("epoch")), factor * _number(row.get(key))) for row in rows])
            epochs, values = points[np.isfinite(points).all(axis=1)].T
            axes.plot(epochs, values, marker=".", markersize=3, linewidth=1, label=key.replace("_", " "))
        if axes.lines:
            axes.legend(loc="best", frameon=False)
            axes.grid(alpha=0.3)
    rated = [row for row in rows if math.isfinite(_number(row.get("valid_cer")))]
    if best := min(rated, key=lambda row: _number(row["valid_cer"]), default=None):
        for axes in (above, below):
            axes.axvline(_number(best["epoch"]), color="grey", linestyle="--", linewidth=0.8)
        below.annotate(
            f"best: {100 * _number(best['valid_cer']):.2f} %", (_number(best["epoch"]), 0),
            xytext=(3, 3), textcoords="offset points", fontsize=8, color="grey",
        )  # fmt: skip
    above.set_ylabel("loss")
    below.set_ylabel("error rate, %")
    below.set_ylim(bottom=0)
    below.set_xlabel("epoch")
    _save(figure, above, title, path)


def draw_runs(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """The curves of several trainings over each other: loss on valid above, error rate below, over minutes.

    runs: name -> rows as of draw_curves, with "minutes".
    """
    figure, (above, below) = _panels(WIDTH[0], 2.2, sharex=True)
    for axes, keys, factor in (
        (above, ("valid_loss", "train_loss"), 1.0),
        (below, ("valid_cer", "valid_perplexity"), 100.0),
    ):
        shown = next((k for k in keys if any(k in row for rows in runs.values() for row in rows)), keys[0])
        scale = factor if shown.endswith("cer") else 1.0
        for name, rows in runs.items():
            points = [(_number(row.get("minutes")), scale * _number(row.get(shown))) for row in rows]
            known = np.array([p for p in points if np.isfinite(p).all()]).reshape(-1, 2)
            axes.plot(*known.T, marker=".", markersize=3, linewidth=1, label=name)
        axes.set_ylabel(f"{shown.replace('_', ' ')}{', %' * (scale != 1)}")
        axes.grid(alpha=0.3)
    if runs:
        above.legend(loc="upper right", frameon=False, fontsize=7)
    below.set_ylim(bottom=0)
    below.set_xlabel("minutes")
    _save(figure, above, "", path)


def draw_roc(curve: Curve, path: str | Path, *, title: str = "") -> None:
    """Part of the keywords found against false alarms for each keyword in a unit, the best F1 marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, *curve.alarm_rate], [0, *(100 * curve.rate)], linewidth=1.2)
    best = curve.best()
    axes.plot(
        curve.alarm_rate[best], 100 * curve.rate[best], "o", label=f"threshold {curve.thresholds[best]:.3f}"
    )
    axes.set_xlim(0, max(20.0, 3 * float(curve.alarm_rate[best])))  # beyond it nobody listens
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"false alarms for each keyword and {curve.unit}")
    axes.set_ylabel("found, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    _save(figure, axes, title, path)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):  # None, or the empty field of a CSV
        return float("nan")


def draw_reliability(outcomes: Outcomes, path: str | Path, *, title: str = "") -> None:
    """A reliability diagram (Guo et al. 2017, figure 1) of each level: how right it is, by how sure.

    outcomes: of common.calibration.outcomes. Bars are the bins, the dashed line is perfect calibration; below
    is how much of all is in each bin. Raises InputError when the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(outcomes), 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(outcomes), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1])
    for (level, (confidences, right)), above, below in zip(outcomes.items(), *axes, strict=True):
        bins = reliability(confidences, right)
        places = [(math.floor(min(b["confidence"] * BINS, BINS - 1)) + 0.5) / BINS for b in bins]
        above.bar(places, [b["right"] for b in bins], 0.9 / BINS, color="C0")
        above.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=0.8)
        above.plot([b["confidence"] for b in bins], [b["right"] for b in bins], "o", color="C1", markersize=4)
        error = calibration_error(confidences, right)
        above.text(0.04, 0.94, f"ECE {error:.1%}", va="top", fontsize=9)
        above.set(xlim=(0, 1), ylim=(0, 1))
        above.set_title(f"{len(right):,} {level}", fontsize=10)
        below.bar(places, [b["count"] / len(right) for b in bins], 0.9 / BINS, color="grey")
        below.set_xlabel("confidence")
    axes[0, 0].set_ylabel("share that is right")
    axes[1, 0].set_ylabel("share of all")
    figure.suptitle(title, fontsize=10, parse_math=False)
    write_picture(figure, path)


def _panels(width: float, upper: float, *, sharex: bool) -> tuple[Figure, tuple[Axes, Axes]]:
    """A figure with the input (`upper` inches high) above the activations or curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, upper + 2.6), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=sharex, height_ratios=[upper, 2.2])
    return figure, (above, below)


def _width(frames: int, letters: int) -> float:
    """Inches: room for each frame and for each letter."""
    return float(np.clip(max(0.035 * frames, 0.25 * letters), *WIDTH))


def _lines(
    axes: Axes, log_probs: np.ndarray, hypothesis: Hypothesis, alphabet: Alphabet, scale: float
) -> None:
    """The probability of each symbol over time, one unit of the axis = `1 / scale` output frames."""
    probabilities = np.exp(log_probs)
    time = (np.arange(len(log_probs)) + 0.5) * scale
    colours = _colours(hypothesis)
    for index in np.flatnonzero(probabilities.max(axis=0, initial=0.0) >= VISIBLE):
        if index == 0:
            axes.plot(time, probabilities[:, 0], color="grey", linestyle=":", linewidth=0.8, label="blank")
        else:
            colour = colours.get(alphabet.symbols[index - 1])
            label = "_" if colour else "symbols that were not read"  # matplotlib lists no label with _
            axes.plot(time, probabilities[:, index], color=colour or "lightgrey", linewidth=1, label=label)
    peaks = _peaks(log_probs, hypothesis, alphabet)
    places = [float(time[frame]) for _, frame in peaks]
    inches = axes.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]  # of which the axis has nine tenths
    wide = LETTER * len(log_probs) * scale / (0.9 * inches)  # of a letter on the axis
    rising = levels(places, [place + wide for place in places], LEVELS)
    for (symbol, frame), place, level in zip(peaks, places, rising, strict=True):
        height = probabilities[frame, alphabet.encode(symbol.text)[0]] + LEVEL * level
        _write(axes, symbol.text, (place, height), colours[symbol.text], above=2)
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))  # each once
    if shown:
        axes.legend(
            shown.values(), shown.keys(), loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False,
            fontsize=8, borderaxespad=0.1,
        )  # fmt: skip
    axes.set_ylim(0, 1.15 + LEVEL * max(rising, default=0))  # room for the letters
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability")


def _peaks(log_probs: np.ndarray, hypothesis: Hypothesis, alphabet: Alphabet) -> list[tuple[Symbol, int]]:
    """Each symbol of the text with the output frame, among its own, where it is most probable."""
    peaks = []
    for symbol in hypothesis.symbols:
        start, end = int(symbol.start), int(symbol.end)
        column = log_probs[start : max(end, start + 1), alphabet.encode(symbol.text)[0]]
        peaks.append((symbol, start + int(column.argmax())))
    return peaks


def _colours(hypothesis: Hypothesis) -> dict[str, str]:
    """One colour a symbol, in both panels; they repeat when they run out."""
    order = dict.fromkeys(symbol.text for symbol in hypothesis.symbols)
    return {text: COLOURS[index % len(COLOURS)] for index, text in enumerate(order)}


def _write(axes: Axes, text: str, place: Any, colour: str, *, above: float) -> None:
    """A symbol, `above` points over a place, a space made visible."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        "␣" if text == " " else text,
        place,
        xytext=(0, above),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
        fontsize=11,
        fontweight="normal" if text == " " else "bold",  # the bold face has no ␣
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _save(figure: Figure, above: Axes, title: str, path: str | Path) -> None:
    above.set_title(title, loc="left", fontsize=10, parse_math=False)
    write_picture(figure, path)


def levels(starts: Sequence[float], ends: Sequence[float], count: int) -> list[int]:
    """The level of each label, from left to right, so that none lies over another; where none of the `count`
    has room, the one that has it first."""
    taken = [-math.inf] * count
    found = []
    for start, end in zip(starts, ends, strict=True):
        free = [level for level, before in enumerate(taken) if before <= start]
        level = free[0] if free else int(np.argmin(taken))
        taken[level] = max(taken[level], end)
        found.append(level)
    return found


def write_picture(figure: Figure, path: str | Path) -> None:
    """Writes a figure, whole or not at all. Raises InputError when it cannot be written."""
    try:
        with atomic_write(Path(path), sync=False) as partial:
            figure.savefig(partial, format=Path(path).suffix[1:] or "png")
    except (OSError, ValueError) as error:  # ValueError: the ending names no format
        raise InputError(
            f"{path}: the picture cannot be written ({error}); name a .png in a folder that can be written to"
        ) from error
