"""Writing with what was read of it drawn over it, each text the redder the less sure.

A page has its lines in their order, with what they say; a single line, pen strokes and what `spot` found have
each word in its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carousel.common.errors import InputError
from carousel.common.plots import DPI, levels, write_picture
from carousel.hwr.domain import INK
from carousel.hwr.image.file import read_picture
from carousel.hwr.page.write import Sheet, sheet_of

if TYPE_CHECKING:  # loading them brings matplotlib and numpy
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from carousel.common.cli.inputs import Input
    from carousel.common.decoding import Symbol
    from carousel.common.domain import Transcript

SIDE = 14.0  # inches of the longer side
TITLE, NARROWEST = 0.3, 3.0  # inches
STROKES, PIXEL = 2.0, 3 / DPI  # inches: height of strokes, side of a pixel of a picture, at most
LEVELS, ROW, LETTER = 2, 0.17, 0.075  # of labels above each other; inches: of one, of its letters
PALE = 0.45  # of the picture's contrast, under the lines


def draw_writing(transcript: Transcript, item: Input, path: Path) -> None:
    """What was read of a picture or ink, drawn over it, to the file `path`. Raises InputError."""
    strokes = _strokes(item) if _is_ink(transcript, item) else None
    grey = None if strokes is not None else _grey(transcript, item)
    if grey is not None and transcript.found is None and "lines" in transcript.about:
        figure = page(sheet_of(transcript, item), grey, item.label)
    else:
        figure = words(transcript.words, grey, strokes or (), item.label)
    write_picture(figure, path)


def _grey(transcript: Transcript, item: Input) -> np.ndarray:
    """The picture (rows, columns) uint8 in which the transcript has its places."""
    source = transcript.about.get("image") or item.path
    if source is None:
        raise InputError("came through a pipe, and --plot shows the picture: save that as a file")
    return np.asarray(read_picture(source, item.page).image.convert("L"))


def _is_ink(transcript: Transcript, item: Input) -> bool:
    if item.sample is not None:
        return item.sample.strokes is not None
    read_as_ink = transcript.about.get("domain") == "ink"
    return read_as_ink or (item.path is not None and item.path.suffix.lower() in INK.suffixes)


def _strokes(item: Input) -> Sequence[np.ndarray]:
    if item.sample is not None and item.sample.strokes is not None:
        return item.sample.strokes
    if item.path is None:
        raise InputError("came through a pipe, and --plot shows the strokes: save them as a file")
    from carousel.hwr.ink.file import read_ink

    return read_ink(item.path)


def words(
    found: Sequence[Symbol], grey: np.ndarray | None, strokes: Sequence[np.ndarray], title: str
) -> Figure:
    """Each word above its box. grey: (rows, columns) uint8, the picture below them; or strokes, (points, 2).

    Strokes that a model for pictures has read have no boxes: their words stand in the title."""
    corners = np.concatenate(strokes) if grey is None else np.array([(0, 0), grey.shape[::-1]])
    (left, top), size = corners.min(axis=0).tolist(), np.maximum(np.ptp(corners, axis=0), 1.0).tolist()
    placed = [(word, word.box) for word in found if word.box is not None]
    title = title if placed else f"{title}: {' '.join(word.text for word in found)}"
    figure, axes, inch = _canvas(
        (left, top), size, title, STROKES if grey is None else PIXEL * size[1], LEVELS * ROW
    )
    if grey is not None:
        axes.imshow(255 - PALE * (255.0 - grey), cmap="gray", vmin=0, vmax=255)
    for stroke in strokes:
        axes.plot(*np.asarray(stroke).T, color="black", linewidth=1.2, marker="." if len(stroke) == 1 else "")
    told = [f"{word.text} {word.confidence:.0%}" for word, _ in placed]
    ends = [box[0] + LETTER * inch * (len(label) + 1) for label, (_, box) in zip(told, placed, strict=True)]
    rising = levels([box[0] for _, box in placed], ends, LEVELS)
    for label, level, (word, (x, y, end, foot)) in zip(told, rising, placed, strict=True):
        colour = _colour(word.confidence)
        axes.fill((x, end, end, x), (y, y, foot, foot), facecolor=colour, alpha=0.15, edgecolor=colour)
        up = y - level * ROW * inch
        axes.plot((x, x), (y, up), color=colour, linewidth=0.6)
        axes.text(x, up, label, fontsize=8, color=colour, va="bottom", parse_math=False)
    return figure


def _canvas(
    corner: tuple[float, float], size: Sequence[float], title: str, highest: float, room: float = 0.0
) -> tuple[Figure, Axes, float]:
    """A figure, its axes, which show this width and height from `corner` on, and the units of an inch.

    highest: inches that the height may take. room: inches above it that are free."""
    from matplotlib.figure import Figure

    (left, top), (width, height) = corner, size
    scale = min(SIDE / max(width, height), highest / height)  # inches of a unit
    whole = height * scale + room + TITLE
    figure = Figure(figsize=(max(width * scale, NARROWEST), whole), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1 - TITLE / whole))
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_axis_off()
    axes.set_xlim(left, left + width)
    axes.set_ylim(top + height, top - room / scale)
    axes.set_aspect("equal", adjustable="box")
    axes.autoscale(False)
    return figure, axes, 1 / scale


def _colour(sure: float) -> tuple[float, float, float, float]:
    """From red to green, dark enough to be read on paper."""
    from matplotlib import colormaps

    red, green, blue, _ = colormaps["RdYlGn"](sure)
    return 0.7 * red, 0.7 * green, 0.7 * blue, 1.0


def page(sheet: Sheet, grey: np.ndarray, title: str) -> Figure:
    """A line is as sure as its words are on average. grey: the sheet's picture, (rows, columns) uint8."""
    rows, columns = grey.shape
    figure, axes, _ = _canvas((0, 0), (columns, rows), title, SIDE)
    axes.imshow(255 - PALE * (255.0 - grey), cmap="gray", vmin=0, vmax=255)
    for number, line in enumerate(sheet.lines, 1):
        polygon, baseline = np.array([*line.polygon, line.polygon[0]]), np.asarray(line.baseline)
        each = [word.confidence for word in line.words]
        sure = sum(each) / len(each) if each else None
        colour = "grey" if sure is None else _colour(sure)
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
    return figure
