"""A recording with what was read of it: a spectrogram in rows, and each word where it is said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carousel.asr.sound.read import read_recording
from carousel.common.decoding import Symbol
from carousel.common.errors import InputError
from carousel.common.plots import DPI, levels, write_picture

if TYPE_CHECKING:  # loading them brings matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from carousel.common.cli.inputs import Input
    from carousel.common.domain import Transcript

ROW = 10.0  # s
ROWS = 60  # that a picture has at most
WIDTH, HEIGHT = 13.0, 2.2  # inches, of a row
LEVELS = 3  # of labels above each other
LETTER = 0.085  # s that a letter of a label is wide, at this size
RANGE = 70.0  # dB below the loudest that are shown
RATE = 16000
WINDOW, HOP = 512, 160  # samples


def draw_recording(transcript: Transcript, item: Input, path: Path) -> None:
    """The words of a transcript over their recording, as PNG. Raises InputError."""
    if item.path is None:
        raise InputError("came through a pipe, and --plot shows the sound: save that as a file")
    wave = read_recording(item.path, RATE).samples
    start, end = item.sample.part if item.sample else (0.0, None)
    wave = wave[round(start * RATE) : None if end is None else round(end * RATE)]
    if len(wave) > ROWS * ROW * RATE:
        raise InputError(
            f"has {len(wave) / RATE / 60:.0f} minutes, and --plot draws {ROWS * ROW / 60:.0f}: cut it up"
        )
    write_picture(drawing(wave, transcript.words, item.path.name, start), path)


def drawing(wave: np.ndarray, words: Sequence[Symbol], title: str, begins: float = 0.0) -> Figure:
    """wave: (samples,) at RATE, from `begins` seconds on; words: with seconds, the paler the less sure."""
    from matplotlib.figure import Figure

    rows = max(math.ceil(len(wave) / RATE / ROW), 1)
    figure = Figure(figsize=(WIDTH, HEIGHT * rows + 0.5), dpi=DPI, layout="constrained")
    figure.suptitle(
        f"{title}: words where they are said, the paler the less sure", fontsize=10, parse_math=False
    )
    power = spectrogram(wave)
    loudest = float(power.max(initial=-RANGE))
    for number, axes in enumerate(np.atleast_1d(figure.subplots(rows, 1))):
        start = begins + number * ROW
        part = power[round(number * ROW * RATE / HOP) :][: round(ROW * RATE / HOP)]
        axes.imshow(
            part.T, origin="lower", aspect="auto", cmap="Greys", vmin=loudest - RANGE, vmax=loudest,
            extent=(start, start + len(part) * HOP / RATE, 0, RATE / 2000), interpolation="nearest",
        )  # fmt: skip
        axes.set_xlim(start, start + ROW)
        axes.set_ylabel("kHz")
        axes.set_title("\n" * (LEVELS - 1), fontsize=9)  # room for the labels
        _label(axes, [word for word in words if start <= word.start < start + ROW])
    axes.set_xlabel("seconds")
    return figure


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """(frames, WINDOW / 2 + 1) dB, a frame each HOP."""
    padded = np.pad(wave, (WINDOW // 2, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(wave) + 1 : HOP]
    found = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2
    return 10 * np.log10(found + 1e-10).astype(np.float32)


def _label(axes: Axes, words: Sequence[Symbol]) -> None:
    """Words above the axes, on the first level where each has room."""
    from matplotlib import colormaps

    top = RATE / 2000
    ends = [word.start + LETTER * (len(word.text) + 1) for word in words]
    for word, level in zip(words, levels([word.start for word in words], ends, LEVELS), strict=True):
        colour = colormaps["winter"](0.0, alpha=0.35 + 0.65 * word.confidence)
        axes.axvspan(word.start, word.end, color="tab:blue", alpha=0.10, linewidth=0)
        axes.text(
            word.start, top * (1.03 + 0.14 * level), word.text,
            color=colour, fontsize=9, va="bottom", parse_math=False, clip_on=False,
        )  # fmt: skip
