"""Changes to a picture of a line that leave its text the same, drawn from the generator that is handed in.

Settings (common.settings.augment, where each block says its unit): a dict of blocks, each with a
`probability`; a missing block is never drawn. All geometry (rotation, slant, stretch and the elastic
deformation of P. Simard, D. Steinkraus, J. Platt, "Best Practices for Convolutional Neural Networks Applied
to Visual Document Analysis", ICDAR 2003, section 2, on a coarse grid in place of a filtered field) is one
mesh transform, so pixels are resampled once. Lengths are in heights of the picture: the same settings do for
32 and for 200 pixels. A line of 64 x 900 pixels takes about two milliseconds.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from carousel.common.settings.augment import Image as Settings
from carousel.common.settings.field import check

ELSEWHERE = ("ink", "render")  # blocks for pen strokes that are drawn as pictures (hwr/reader.py)
CELL, SMALL = 0.25, 4  # heights, pixels: the mesh is so fine that rotation and bends stay smooth


def augment_image(picture: np.ndarray, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Another picture of the same line, as another hand, pen, paper or scanner might have made it.

    picture: grey (rows, columns) uint8, dark on light or light on dark; or a normalised line (height, width)
        float32, 0 paper ... 1 ink, whose height is kept
    returns: the same kind; a grey picture grows where geometry needs room, filled with its paper's shade
    Raises InputError for settings that are incomplete or would do nothing.
    """
    check(Settings, settings, "augment", partial=True, spare=ELSEWHERE)
    if picture.dtype == np.uint8:
        return _augment(picture, settings, rng)
    grey = np.rint((1 - np.clip(picture, 0, 1)) * 255).astype(np.uint8)
    varied = 1 - _augment(grey, settings, rng).astype(np.float32) / 255
    extra = varied.shape[0] - picture.shape[0]
    return varied[extra // 2 : extra // 2 + picture.shape[0]]


def _augment(grey: np.ndarray, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    paper = int(np.median(grey[:: max(1, grey.shape[0] // 32)]))  # ink is rare
    height = grey.shape[0]
    grey = _warp(grey, settings, rng, paper)
    for name, change in _CHANGES.items():
        if _drawn(name, settings, rng):
            grey = change(grey, Draw(settings[name], rng, paper, height))
    return grey


def _drawn(name: str, settings: Mapping[str, Any], rng: np.random.Generator) -> bool:
    return name in settings and rng.random() < settings[name]["probability"]


# --- geometry ---


def _warp(grey: np.ndarray, settings: Mapping[str, Any], rng: np.random.Generator, paper: int) -> np.ndarray:
    """Rotation, slant, stretch and bends as one mesh of quadrilaterals, with room around the line."""
    angle, slant, stretch, bends = (
        float(rng.uniform(*settings[name]["range"])) if _drawn(name, settings, rng) else nothing
        for name, nothing in (("rotation", 0.0), ("slant", 0.0), ("stretch", 1.0), ("elastic", 0.0))
    )
    angle, slant = math.tan(math.radians(angle)), math.tan(math.radians(slant))
    if angle == slant == bends == 0 and stretch == 1:
        return grey
    rows, columns = grey.shape
    room_y = math.ceil(abs(angle) * columns * stretch / 2 + bends * rows)
    room_x = math.ceil(abs(slant) * (rows / 2 + room_y) + bends * rows)
    width, height = round(columns * stretch) + 2 * room_x, rows + 2 * room_y
    across = max(1, round(width / max(CELL * rows, SMALL)))
    down = max(1, round(height / max(CELL * rows, SMALL)))
    x, y = np.meshgrid(np.linspace(0, width, across + 1), np.linspace(0, height, down + 1))
    source_y = y - height / 2 - angle * (x - width / 2)
    source_x = (x - width / 2 - slant * (y - height / 2)) / stretch
    if bends:
        grid = max(float(settings["elastic"]["grid"]), CELL) * rows
        source_x += bends * rows * _field(x, y, grid, rng)
        source_y += bends * rows * _field(x, y, grid, rng)
    return _transform(grey, source_x + columns / 2, source_y + rows / 2, (width, height), paper)


def _field(x: np.ndarray, y: np.ndarray, grid: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random displacements in -1 ... 1 at the points of the mesh, with knots `grid` pixels apart."""
    u, v = x / grid, y / grid
    knots = rng.uniform(-1, 1, (int(v.max()) + 2, int(u.max()) + 2))
    i, j = v.astype(int), u.astype(int)
    s, t = _smooth(v - i), _smooth(u - j)
    upper = knots[i, j] * (1 - t) + knots[i, j + 1] * t
    lower = knots[i + 1, j] * (1 - t) + knots[i + 1, j + 1] * t
    return upper * (1 - s) + lower * s


def _smooth(t: np.ndarray) -> np.ndarray:
    return t * t * (3 - 2 * t)


def _transform(
    grey: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int], paper: int
) -> np.ndarray:
    """The picture of `size` whose mesh points (down + 1, across + 1) show the places x, y of `grey`."""
    pad = math.ceil(max(1, -x.min(), -y.min(), x.max() - grey.shape[1], y.max() - grey.shape[0])) + 1
    padded = Image.fromarray(np.pad(grey, pad, constant_values=paper))
    down, across = x.shape[0] - 1, x.shape[1] - 1
    left = np.rint(np.linspace(0, size[0], across + 1)).astype(int).tolist()
    top = np.rint(np.linspace(0, size[1], down + 1)).astype(int).tolist()
    points = np.stack([x + pad, y + pad], axis=-1)
    corners = [points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]]
    quads = np.concatenate(corners, axis=-1).tolist()
    boxes = [((left[j], top[i], left[j + 1], top[i + 1]), i, j) for i in range(down) for j in range(across)]
    mesh = [(box, quads[i][j]) for box, i, j in boxes]
    return np.asarray(padded.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR))


# --- paper, pen and scanner ---


class Draw(NamedTuple):
    """What a change is drawn from."""

    block: Mapping[str, Any]  # its settings
    rng: np.random.Generator
    paper: int  # grey of the paper
    height: int  # of the picture before it grew, pixels

    def uniform(self) -> float:
        return float(self.rng.uniform(*self.block["range"]))


def _darker(grey: np.ndarray, paper: int) -> Callable[[Any, Any], np.ndarray]:
    """What keeps the ink of two pictures: the darker pixel, or the lighter where writing is light on dark."""
    return np.minimum if float(grey.mean()) <= paper else np.maximum


def _neighbours(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Feet of the line above or heads of the line below: the line's own, moved sideways."""
    deep = min(round(draw.uniform() * draw.height), grey.shape[0])
    away = np.abs(grey.astype(np.int16) - draw.paper)
    inked = np.flatnonzero(away.max(axis=1) > 0.5 * away.max())
    if deep < 1 or not len(inked):
        return grey
    moved = np.roll(grey[inked[0] : inked[-1] + 1], int(draw.rng.integers(grey.shape[1])), axis=1)
    deep = min(deep, len(moved))
    grey, keep = grey.copy(), _darker(grey, draw.paper)
    if draw.rng.random() < 0.5:
        grey[:deep] = keep(grey[:deep], moved[-deep:])
    else:
        grey[-deep:] = keep(grey[-deep:], moved[:deep])
    return grey


def _clip(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Ascenders or descenders cut off, as where a line is found too narrow: paper in their place."""
    grey = grey.copy()
    grey[: round(draw.uniform() * draw.height)] = draw.paper
    grey[grey.shape[0] - round(draw.uniform() * draw.height) :] = draw.paper
    return grey


def _through(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """The line itself from behind: mirrored, moved, blurred and pale."""
    back = Image.fromarray(grey).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    back = back.filter(ImageFilter.GaussianBlur(draw.rng.uniform(0.01, 0.04) * draw.height))
    moved = [int(draw.rng.integers(size)) for size in grey.shape]
    behind = np.roll(np.asarray(back), moved, axis=(0, 1)).astype(np.float32)
    pale = draw.paper + draw.uniform() * (behind - draw.paper)
    return _darker(grey, draw.paper)(grey, np.clip(pale, 0, 255).astype(np.uint8))


def _rules(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """A printed line to write on, solid or dotted, now and then a whole grid of squares."""
    keep = _darker(grey, draw.paper)
    darkest = int(grey.min() if keep is np.minimum else grey.max())
    shade = np.uint8(round(draw.paper + (darkest - draw.paper) * draw.uniform()))
    thick = max(1, round(draw.height * draw.rng.uniform(0.01, 0.03)))
    rule = np.full(grey.shape, draw.paper, dtype=np.uint8)
    squares = draw.rng.random() < draw.block["grid"]
    step = max(thick + 2, round(draw.height * draw.rng.uniform(0.3, 0.8))) if squares else grey.shape[0]
    for row in range(int(draw.rng.integers(step)), grey.shape[0], step):
        rule[row : row + thick] = shade
    if squares:
        for column in range(int(draw.rng.integers(step)), grey.shape[1], step):
            rule[:, column : column + thick] = shade
    elif draw.rng.random() < 0.3:
        rule[:, np.arange(grey.shape[1]) // max(1, thick) % 3 == 0] = draw.paper
    return keep(grey, rule)


def _thickness(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Thinner (below 0) or thicker strokes: erosion or dilation by one pixel, mixed in by the share drawn."""
    share = draw.uniform()
    darker = _darker(grey, draw.paper)
    keep = darker if share > 0 else (np.maximum if darker is np.minimum else np.minimum)
    spread = np.pad(grey, 1, mode="edge")
    spread = keep(keep(spread[:-2], spread[1:-1]), spread[2:])
    spread = keep(keep(spread[:, :-2], spread[:, 1:-1]), spread[:, 2:])
    mixed = Image.blend(Image.fromarray(grey), Image.fromarray(spread), min(abs(share), 1.0))
    return np.asarray(mixed)


def _coarse(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Fewer pixels, as from a cheap scanner, then as many as before."""
    factor = draw.uniform()
    rows, columns = grey.shape
    small = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    picture = Image.fromarray(grey).resize(small, Image.Resampling.BILINEAR)
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR))


def _blur(grey: np.ndarray, draw: Draw) -> np.ndarray:
    radius = draw.uniform() * draw.height
    return np.asarray(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(radius)))


def _contrast(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Paler ink on darker paper: the range of grey values is squeezed and moved within 0 ... 255."""
    factor = draw.uniform()
    shift = draw.rng.uniform(0, 255 * max(0.0, 1 - factor))
    table = np.clip(np.arange(256) * factor + shift, 0, 255).astype(np.uint8)
    return table[grey]


def _gradient(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Shade over the paper: light multiplied by a smooth field between 1 - depth and 1."""
    depth = draw.uniform()
    rows, columns = grey.shape
    knots = draw.rng.uniform(255 * (1 - depth), 255, (3, max(3, round(columns / draw.height / 4))))
    knots = knots.astype(np.uint8)
    light = Image.fromarray(knots).resize((columns, rows), Image.Resampling.BICUBIC)
    return (grey.astype(np.uint16) * np.asarray(light) // 255).astype(np.uint8)


def _noise(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Grain of paper and sensor: Gaussian, of a deviation in 0 ... 1 of the full range."""
    deviation = np.float32(255 * draw.uniform())
    grain = draw.rng.standard_normal(grey.shape, dtype=np.float32)
    return np.clip(grey + deviation * grain, 0, 255).astype(np.uint8)


def _jpeg(grey: np.ndarray, draw: Draw) -> np.ndarray:
    kept = io.BytesIO()
    Image.fromarray(grey).save(kept, "JPEG", quality=round(draw.uniform()))
    return np.asarray(Image.open(kept))


def _masks(grey: np.ndarray, draw: Draw) -> np.ndarray:
    """Patches of blank paper, where the pen skipped: so narrow that the letter is still to be guessed."""
    grey = grey.copy()
    rows, columns = grey.shape
    for _ in range(int(draw.rng.integers(1, draw.block["count"] + 1))):
        wide = round(draw.rng.uniform(0, draw.block["width"]) * draw.height)
        tall = round(draw.rng.uniform(0.25, 1.0) * rows)
        left, top = int(draw.rng.integers(columns)), int(draw.rng.integers(rows - tall + 1))
        grey[top : top + tall, left : left + wide] = draw.paper
    return grey


_CHANGES: dict[str, Callable[[np.ndarray, Draw], np.ndarray]] = {
    "neighbours": _neighbours,
    "through": _through,
    "masks": _masks,
    "rules": _rules,
    "thickness": _thickness,
    "coarse": _coarse,
    "blur": _blur,
    "contrast": _contrast,
    "gradient": _gradient,
    "noise": _noise,
    "clip": _clip,
    "jpeg": _jpeg,
}
