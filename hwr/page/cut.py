"""Cutting a line of text out of its page: straight along the baseline, with nothing but paper around it.

The strip of a line follows its baseline: x runs along it, y across it. The baseline is resampled at knots and
its direction smoothed, so that no corner of it folds the picture; between two knots the strip is a
quadrilateral of the page, which Pillow maps. A line is cut in about half the time of its normalisation
(hwr/image/columns.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from carousel.common.errors import InputError
from carousel.hwr.page.layout import Line

HEIGHT = 64  # pixels: higher lines are reduced to it, which is more than models for line images look at
LONGEST = 16_384  # pixels of a strip; a line of 200 heights is shorter
MOST_POINTS = 4096  # of a baseline or polygon
KNOT = 1.0  # strip heights from one knot of the baseline to the next
SMOOTH = 1.0  # knots to each side over which the direction of the baseline is told
MARGIN = 1  # pixels around the polygon
SHADE = 128  # columns over which the paper's shade is measured


@dataclass(frozen=True, slots=True)
class Strip:
    """A straightened line and where its pixels are in the page."""

    left: float  # of the strip's first column and row in pixels of the page along and across the baseline,
    top: float  # from where the baseline begins; above it is negative
    scale: float  # pixels of the page to one of the strip
    width: int  # pixels of the strip
    height: int
    knots: np.ndarray  # (knots,) along the baseline, pixels of the page
    base: np.ndarray  # (knots, 2) x, y in the page
    down: np.ndarray  # (knots, 2) unit vectors across the baseline, to below the text
    rows: np.ndarray  # (columns, 2) first row of the line's polygon and the one after its last

    def places(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) x, y of the strip as x, y in the page."""
        along, across = np.asarray(points, np.float64).T * self.scale + [[self.left], [self.top]]
        base, down = (_between(self.knots, values, along) for values in (self.base, self.down))
        return base + across[:, None] * down

    def outline(self, first: float, last: float) -> np.ndarray:
        """The polygon (points, 2) in the page of the strip's columns from first to last.

        It is as high as the line's polygon is there."""
        start = min(max(int(first), 0), self.width - 1)
        rows = self.rows[start : max(int(np.ceil(last)), start + 1)]
        top, bottom = rows[:, 0].min(), rows[:, 1].max()
        if bottom <= top:  # beside the polygon
            top, bottom = 0, self.height
        inner = (self.knots - self.left) / self.scale
        columns = np.array([first, *inner[(inner > first) & (inner < last)], last])
        upper, lower = (np.stack([columns, np.full(len(columns), y)], axis=1) for y in (top, bottom))
        return self.places(np.concatenate([upper, lower[::-1]]))

    def box(self, first: float, last: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in the page of the same columns."""
        outline = self.outline(first, last)
        (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        return left, top, right, bottom


def cut(picture: np.ndarray, line: Line, height: int = HEIGHT) -> np.ndarray:
    """The line (rows, columns) uint8, straight, at the scale of the page but at most `height` rows.

    picture: the page, grey (rows, columns) uint8. What is outside the polygon is paper. Raises InputError for
    a line that is not in the picture.
    """
    return strip_of(picture, line, height)[0]


def strip_of(picture: np.ndarray, line: Line, height: int = HEIGHT) -> tuple[np.ndarray, Strip]:
    """As `cut`, with the way back to the page."""
    baseline, polygon = _checked(line, picture.shape)
    along, across = _along(polygon, baseline)
    left, top = float(along.min()) - MARGIN, float(across.min()) - MARGIN
    right, bottom = float(along.max()) + MARGIN, float(across.max()) + MARGIN
    scale = max((bottom - top) / height, (right - left) / LONGEST, 1.0)
    width, rows = (max(2, round(size / scale)) for size in (right - left, bottom - top))
    columns = np.unique(np.rint(np.linspace(0, width, max(2, round(width / (KNOT * rows)) + 1))).astype(int))
    knots = left + columns * scale
    base, down = _knots(baseline, knots, SMOOTH * KNOT * (bottom - top))
    inside = _drawn(np.stack([along - left, across - top], axis=1) / scale, (rows, width))
    extent = np.stack([inside.argmax(axis=0), rows - inside[::-1].argmax(axis=0)], axis=1)
    extent[~inside.any(axis=0)] = 0
    strip = Strip(left, top, scale, width, rows, knots, base, down, extent)
    return _on_paper(_mapped(picture, strip, columns), inside), strip


def _mapped(picture: np.ndarray, strip: Strip, columns: np.ndarray) -> np.ndarray:
    """The strip's pixels (rows, columns) uint8, bilinear. columns: of the strip's knots."""
    edges = np.stack(
        [strip.places(np.stack([columns, np.full(len(columns), y)], axis=1)) for y in (0, strip.height)]
    )
    corner = np.floor(edges.min(axis=(0, 1))).astype(int) - 1
    around = np.ceil(edges.max(axis=(0, 1))).astype(int) + 1 - corner
    reduced = max(1, int(strip.scale))
    page = Image.fromarray(_window(picture, corner, around)).reduce(reduced)
    edges = (edges - corner) / reduced
    (upper, lower), mesh = edges.reshape(2, -1, 2).tolist(), []
    for k, (start, end) in enumerate(pairwise(columns.tolist())):
        quad = (*upper[k], *lower[k], *lower[k + 1], *upper[k + 1])
        mesh.append(((start, 0, end, strip.height), quad))
    size = (strip.width, strip.height)
    return np.asarray(page.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR))


def _window(picture: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Pixels of the picture from corner x, y on; beyond its edges as the edges are."""
    (x, y), (width, height) = corner.tolist(), size.tolist()
    rows, columns = picture.shape
    inside = picture[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    room = ((max(-y, 0), max(y + height - rows, 0)), (max(-x, 0), max(x + width - columns, 0)))
    return np.pad(inside, room, mode="edge") if np.any(room) else inside


def _drawn(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where a polygon (points, 2) is in a picture of this shape, bool."""
    mask = Image.new("L", shape[::-1])
    ImageDraw.Draw(mask).polygon([tuple(point) for point in polygon.tolist()], fill=1)
    return np.asarray(mask, bool)


def _on_paper(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The pixels that are inside, the others as the paper there: the median of pieces of the line."""
    if inside.all():
        return grey
    pieces = np.array_split(np.arange(grey.shape[1]), max(1, grey.shape[1] // SHADE))
    found = [
        (piece.mean(), np.median(pixels[::3]))
        for piece in pieces
        if len(pixels := grey[:, piece][inside[:, piece]])
    ]
    if not found:
        return grey
    at, shade = np.array(found).T
    paper = np.interp(np.arange(grey.shape[1]), at, shade).astype(np.uint8)
    return np.where(inside, grey, paper)


def _checked(line: Line, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The baseline without repeated points, and the polygon; float64."""
    baseline, polygon = (
        np.asarray(points, np.float64).reshape(-1, 2) for points in (line.baseline, line.polygon)
    )
    for name, points, least in (("baseline", baseline, 2), ("polygon", polygon, 3)):
        if len(points) > MOST_POINTS:
            raise InputError(f"a line has a {name} of more than {MOST_POINTS:,} points; simplify it")
        if len(points) < least or not np.isfinite(points).all():
            raise InputError(f"a line has a {name} of fewer than {least} points; draw it again")
    baseline = baseline[np.append(True, (np.diff(baseline, axis=0) != 0).any(axis=1))]
    if len(baseline) < 2:
        raise InputError("a line has a baseline without length; draw it again")
    (left, upper), (right, lower) = polygon.min(axis=0), polygon.max(axis=0)
    if right <= 0 or lower <= 0 or left >= shape[1] or upper >= shape[0]:
        raise InputError(
            f"a line at {left:.0f}, {upper:.0f} is outside of the picture, which is {shape[1]} pixels wide "
            f"and {shape[0]} high; give the picture that the lines were drawn on"
        )
    return baseline, polygon


def _along(points: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of points (n, 2) how far along the baseline (m, 2) they are, and how far below it, each (n,).

    The baseline goes straight on at its ends.
    """
    steps = np.diff(baseline, axis=0)  # (m - 1, 2)
    lengths = np.hypot(*steps.T)
    units = steps / lengths[:, None]
    offsets = points[:, None] - baseline[:-1]  # (n, m - 1, 2)
    along = (offsets * units).sum(axis=2)
    low, high = np.zeros(len(lengths)), lengths.copy()
    low[0], high[-1] = -np.inf, np.inf
    clipped = np.clip(along, low, high)
    across = offsets[..., 1] * units[:, 0] - offsets[..., 0] * units[:, 1]
    nearest = (np.hypot(along - clipped, across)).argmin(axis=1)
    which = np.arange(len(points))
    starts = np.append(0.0, np.cumsum(lengths)[:-1])
    return starts[nearest] + clipped[which, nearest], across[which, nearest]


def _knots(baseline: np.ndarray, knots: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Of knots (k,) along the baseline their places (k, 2), and the unit vectors (k, 2) to below it.

    reach: pixels to each side over which the baseline's direction is told.
    """
    lengths = np.append(0.0, np.cumsum(np.hypot(*np.diff(baseline, axis=0).T)))
    before, after = (_between(lengths, baseline, knots + ahead) for ahead in (-reach, reach))
    ahead = after - before
    sizes = np.hypot(*ahead.T)[:, None]
    ahead = np.where(sizes > 1e-6, ahead / np.maximum(sizes, 1e-6), [1.0, 0.0])  # of one that turns back
    return _between(lengths, baseline, knots), np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)


def _between(knots: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """values (k, 2) at knots (k,), linear between and beyond them."""
    first = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    share = (at - knots[first]) / (knots[first + 1] - knots[first])
    return values[first] + share[..., None] * (values[first + 1] - values[first])
