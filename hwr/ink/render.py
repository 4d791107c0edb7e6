"""Pen strokes → grey picture of a line, as a scanner might see it: how models for images learn from digital
ink.

Without a random generator the picture is plain: black on white, one pen. With one, pen, size, paper, ruling,
noise and focus are drawn anew each time.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from carousel.common.settings.augment import Render
from carousel.common.settings.field import check, defaults
from carousel.hwr.ink.features import DEFAULTS as INK
from carousel.hwr.ink.features import flatten, frame_of_reference

SUPERSAMPLING = 3
MARGIN = 0.06  # empty border, in picture heights
WIDEST = 12000  # pixels; longer lines are drawn smaller
DEFAULTS: dict[str, float] = defaults(Render)


def render(
    strokes: Sequence[np.ndarray], height: int = 64, rng: np.random.Generator | None = None, **settings: float
) -> np.ndarray:
    """Grey picture (height, columns) uint8 of pen strokes (points, 2), y downwards, in any unit.

    settings: as `DEFAULTS`. Raises InputError for ink without points, or with coordinates that are not
    finite.
    """
    check(Render, settings, "augment.render", partial=True)
    options = {**DEFAULTS, **settings}
    if rng is None:
        return 255 - _cover(*_place(strokes, height, options, 0.0), height)
    options = _draw_options(options, rng)
    lines, width, pen = _place(strokes, height, options, rng.uniform(-1, 1) * options["shift"])
    if rng.random() < options["smooth"]:
        lines = [_rounded(line) for line in lines]
    cover = _cover(lines, width, pen, height)
    return _on_paper(cover, options, rng)


def _draw_options(options: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """The options with size, pen, slant and stretch varied by their spreads."""
    size, pen, slant, stretch = rng.normal(size=4).clip(-1.8, 1.8)  # a fatter pen would make blots of words
    return {
        **options,
        "size": options["size"] * float(np.exp(size * options["size_spread"])),
        "pen_width": options["pen_width"] * float(np.exp(pen * options["pen_width_spread"])),
        "slant": options["slant"] + slant * options["slant_spread"],
        "stretch": options["stretch"] * float(np.exp(stretch * options["stretch_spread"])),
    }


def _place(
    strokes: Sequence[np.ndarray], height: int, options: Mapping[str, float], shift: float
) -> tuple[list[np.ndarray], int, float]:
    """Strokes in pixels of the picture, its width and the pen's; the ink fits whatever its size and shift."""
    points, pen_up = flatten(strokes)
    centre, unit, _ = frame_of_reference(points, pen_up, {**INK, "level": False})
    points = (points - centre) / unit
    points = (points @ [[1.0, 0.0], [-options["slant"], 1.0]]) * (options["stretch"], 1.0)
    low = points.min(axis=0) - options["pen_width"] / 2
    wide, high = points.max(axis=0) + options["pen_width"] / 2 - low
    room = 1 - 2 * MARGIN
    scale = min(options["size"], room / high, WIDEST / height / wide)
    slack = (room - high * scale) / 2
    top = MARGIN + slack + float(np.clip(shift, -slack, slack))
    pixels = ((points - low) * scale + (MARGIN, top)) * height
    width = int(np.ceil((wide * scale + 2 * MARGIN) * height))
    return np.split(pixels, np.flatnonzero(pen_up) + 1), width, options["pen_width"] * scale * height


def _rounded(line: np.ndarray) -> np.ndarray:
    """The polyline (points, 2) with each step halved along a Catmull-Rom spline, through every point."""
    if len(line) < 3:
        return line
    padded = np.concatenate([line[:1], line, line[-1:]])
    middle = (9 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 16
    result = np.empty((2 * len(line) - 1, 2))
    result[::2] = line
    result[1::2] = middle
    return result


def _cover(lines: Sequence[np.ndarray], width: int, pen: float, height: int) -> np.ndarray:
    """How much of each pixel a round pen of this width (pixels) covers, (height, width) uint8: 255 is all."""
    pen = max(pen, 0.7) * SUPERSAMPLING
    canvas = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    reach = pen / 2
    for line in lines:
        points = (line * SUPERSAMPLING).tolist()
        draw.line([(x, y) for x, y in points], fill=255, width=max(1, round(pen)))
        for x, y in points:  # round ends and joints
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)
    return np.asarray(canvas.reduce(SUPERSAMPLING))


def _on_paper(cover: np.ndarray, options: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """The picture (rows, columns) uint8: ink and paper of random greys, shaded, ruled, blurred, grainy."""
    shape = (cover.shape[0], cover.shape[1])
    ink = rng.uniform(0, options["ink_grey"])
    paper = rng.uniform(min(max(options["paper_grey"], ink + options["contrast"]), 254), 255)
    shaded = rng.random() < options["shading"]
    ground: np.ndarray | float = paper - _clouds(shape, rng) * 40 if shaded else paper
    ink_grey: np.ndarray | float = ink + _clouds(shape, rng) * 30 if shaded else ink
    if rng.random() < options["ruling"]:
        ground = ground - _ruling(shape, rng)
    if (radius := rng.uniform(0, options["blur"])) > 0.3:
        cover = np.asarray(Image.fromarray(cover).filter(ImageFilter.GaussianBlur(radius)))
    grey = ground + (ink_grey - ground) * (cover.astype(np.float32) / 255)
    grain = rng.uniform(0, options["noise"])
    grey = grey + rng.standard_normal(shape, dtype=np.float32) * np.float32(grain)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _clouds(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth random field (rows, columns) float32 of 0 … 1."""
    rows, columns = shape
    coarse = rng.random((3, max(2, columns // rows + 1)), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC)).clip(0, 1)


def _ruling(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How much darker ruled lines or squares make the paper, (rows, columns or 1) float32."""
    rows, columns = shape
    step = max(3, round(rows * rng.uniform(0.25, 0.9)))
    thick = max(1, round(rows * rng.uniform(0.01, 0.035)))
    dark = np.float32(rng.uniform(15, 80))
    across = (np.arange(rows) + rng.integers(step)) % step < thick
    result = across[:, None]
    if rng.random() < 0.3:
        result = result | ((np.arange(columns) + rng.integers(step)) % step < thick)
    return result * dark
