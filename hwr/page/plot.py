"""A page with its lines drawn over it: in which order they were read, what they say, and how sure that is.

A line is as sure as its words are on average, from red to green."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carousel.common.errors import InputError
from carousel.common.plots import DPI, write_picture
from carousel.hwr.image.file import read_picture
from carousel.hwr.page.write import Sheet, sheet_of

if TYPE_CHECKING:  # loading them brings matplotlib and numpy
    from matplotlib.figure import Figure

    from carousel.common.cli.inputs import Input
    from carousel.common.domain import Transcript

SIDE = 14.0  # inches of the longer side
PALE = 0.45  # of the picture's contrast, under the lines


def draw_page(transcript: Transcript, item: Input, path: Path) -> None:
    """What was read of a picture, drawn over it, to the file `path`. Raises InputError."""
    sheet = sheet_of(transcript, item)
    source = transcript.about.get("image") or item.path
    if source is None:
        raise InputError("came through a pipe, and --plot shows the picture: save that as a file")
    grey = np.asarray(read_picture(source, item.page).image.convert("L"))
    write_picture(drawing(sheet, grey, item.label), path)


def drawing(sheet: Sheet, grey: np.ndarray, title: str) -> Figure:
    """grey: the picture (rows, columns) uint8 that the sheet is of."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows, columns = grey.shape
    scale = SIDE / max(rows, columns)
    figure = Figure(figsize=(max(columns * scale, 2.0), max(rows * scale, 1.0)), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 0.97))
    axes.imshow(255 - PALE * (255.0 - grey), cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    colours = colormaps["RdYlGn"]
    for number, line in enumerate(sheet.lines, 1):
        polygon, baseline = np.array([*line.polygon, line.polygon[0]]), np.asarray(line.baseline)
        words = [word.confidence for word in line.words]
        sure = sum(words) / len(words) if words else None
        colour = "grey" if sure is None else colours(sure)
        axes.plot(*polygon.T, color=colour, linewidth=1.0)
        axes.plot(*baseline.T, color="tab:blue", linewidth=0.8)
        told = f"{number}  {line.read.text}" + ("" if sure is None else f"  ({sure:.0%})")
        (x, y), (across, down) = baseline[0].tolist(), (baseline[-1] - baseline[0]).tolist()
        along = -math.degrees(math.atan2(down, across))
        axes.text(
            x,
            y,
            told,
            fontsize=7,
            color="tab:blue",
            va="top",
            parse_math=False,
            rotation=along,
            rotation_mode="anchor",
        )
    for one, other in zip(sheet.lines, sheet.lines[1:], strict=False):
        ends = np.array([one.baseline[-1], other.baseline[0]])
        axes.plot(*ends.T, color="tab:purple", linewidth=0.5, alpha=0.5)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    return figure
