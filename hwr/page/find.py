"""The text lines of a page: from a grey picture to baselines, polygons and reading order.

Ink is found on a reduced picture (hwr/page/paper.py), turned upright and its slope sheared out. Blurred along
the lines more than across them, each line is a ridge, as in Bukhari, Shafait, Breuel, "Script-Independent
Handwritten Textlines Segmentation Using Active Contours", ICDAR 2009: where the second derivative across is
negative is a piece of a line, whatever its curve. Pieces that go on from each other are joined; ink belongs
to the nearest line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy import ndimage

from carousel.hwr.page.layout import Line, Page
from carousel.hwr.page.order import reading_order
from carousel.hwr.page.paper import page_ink, without_rules
from carousel.hwr.page.pieces import line_pitch, pieces_of

MAX_SLOPE = math.tan(math.radians(15))
PITCH = 16  # pixels from line to line in the picture in which ridges are looked for
ACROSS, ALONG = 0.2, 0.9  # standard deviations of the blur, in pitches
FAINT = 0.25  # of the usual density of a ridge; what is fainter is none
GAP = 2.5  # pitches along: pieces of a line may be so far apart
OVERLAP = 1.5  # pitches along: or overlap by so much
STEP = 0.4  # pitches across: and so much above each other
BESIDE = 0.7  # pitches: a ridge so close to one more than four times as long is a part of its line
STRAY = 2.0  # pitches: or a ridge so short
WHOLE = 0.75  # of a piece of ink that is nearest to one line: then all of it belongs to that
CORE = 0.35  # pitches: the polygon reaches at least so high above the baseline
BEFORE, AFTER = 0.2, 0.4  # pitches beyond the ink along: a full stop may be too small to be told from grain
LEAST_INK = 10  # pixels of a line
ON_ITS_SIDE = 2.0  # times as flat when turned; pages of Copiste are 26 to 300 times as flat upright
# Logarithm of the ink above the bodies of letters over that below. Of 17 pages of Copiste it is 0.22 to 0.94,
# and of the same turned by 180 degrees -0.24 to -0.87.
ON_ITS_HEAD = -0.1


def find_lines(grey: np.ndarray) -> Page:
    """The lines of a page, (rows, columns) uint8, however it is turned. None where there is no writing.

    The page's angle is 0, 90, 180 or 270."""
    ink = page_ink(grey)
    slopes = [page_slope(np.rot90(ink.mask, turns)) for turns in (0, 1)]
    flat, turned = (_flatness(np.rot90(ink.mask, turns), slope) for turns, slope in enumerate(slopes))
    turns = int(turned > ON_ITS_SIDE * flat)
    slope = slopes[turns]
    drawn = _drawn(np.rot90(ink.mask, turns), slope)
    if drawn.upright < ON_ITS_HEAD:
        turns += 2
        drawn = _drawn(np.rot90(ink.mask, turns), slope)
    rows, columns = grey.shape
    upright = reading_order(drawn.lines)
    lines = (_turned_back(line, turns, ink.mask.shape, ink.factor, (columns, rows)) for line in upright)
    return Page(columns, rows, tuple(lines), angle=(-90.0 * turns) % 360)


@dataclass(frozen=True)
class _Drawn:
    lines: list[Line]  # in pixels of the mask
    upright: float  # above 0 where the page is, below where it stands on its head


def _drawn(mask: np.ndarray, slope: float) -> _Drawn:
    """The lines of ink (rows, columns) bool, which run from left to right."""
    flat, shift = sheared(mask, slope)
    pieces = pieces_of(without_rules(flat))
    if not len(pieces.areas):
        return _Drawn([], 0.0)
    pitch = line_pitch(pieces)
    centres = _ridges(pieces.mask, pitch)
    lines, above, below = [], 0.0, 0.0
    for centre, (x, y) in zip(centres, _shared_out(pieces.mask, centres, pitch), strict=True):
        if len(x) < LEAST_INK:
            continue
        profile = _Profile.of(y - np.interp(x, *centre.T), pitch)
        above, below = above + profile.above, below + profile.below
        lines.append(_outlined(x, y, centre, profile.base, pitch))
    back = [Line(_unsheared(line.baseline, shift), _unsheared(line.polygon, shift)) for line in lines]
    return _Drawn(back, math.log((above + 1) / (below + 1)))


# --- slope ---


def page_slope(mask: np.ndarray) -> float:
    """Slope of the lines of a page, dy / dx: that with which the sheared row profile has most energy."""
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).reduce(2), np.float32)
    columns = small.shape[1]
    strips = np.stack([part.sum(axis=1) for part in np.array_split(small, min(48, columns), axis=1)])
    strips = ndimage.gaussian_filter1d(strips, 1.5, axis=1) - ndimage.gaussian_filter1d(strips, 12, axis=1)
    middles = ((np.arange(len(strips)) + 0.5) / len(strips) - 0.5) * columns
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, 61)
    for _ in range(2):
        best = float(slopes[int(np.argmax([_energy(strips, middles * slope) for slope in slopes]))])
        slopes = best + (slopes[1] - slopes[0]) * np.linspace(-1, 1, 11)
    return best


def _energy(strips: np.ndarray, shifts: np.ndarray) -> float:
    """Sum of squares of the sum of strips (n, rows), each moved up by its shift."""
    pad = int(np.abs(shifts).max()) + 1
    total = np.zeros(strips.shape[1] + 2 * pad)
    for strip, shift in zip(strips, np.rint(shifts).astype(int), strict=True):
        total[pad - shift : pad - shift + len(strip)] += strip
    return float(total @ total)


def _flatness(mask: np.ndarray, slope: float) -> float:
    """How much the rows of a page, sheared by its slope, are lines and gaps between them."""
    profile = sheared(mask, slope)[0].sum(axis=1).astype(np.float64)
    profile = ndimage.gaussian_filter1d(profile, 1.5) - ndimage.gaussian_filter1d(profile, 12)
    return float(profile @ profile)


def sheared(mask: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """The mask with columns moved so that lines of the slope lie flat, and by how much each went up."""
    rows, columns = mask.shape
    shift = np.rint(slope * (np.arange(columns) - columns / 2)).astype(int)
    pad = int(np.abs(shift).max())
    padded = np.pad(mask, ((2 * pad, 2 * pad), (0, 0)))
    at = np.arange(rows + 2 * pad)[:, None] + pad + shift
    return padded[at, np.arange(columns)], shift - pad


def _unsheared(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    columns = np.clip(points[:, 0].astype(int), 0, len(shift) - 1)
    return np.stack([points[:, 0], points[:, 1] + shift[columns]], axis=1)


# --- ridges ---


def _ridges(mask: np.ndarray, pitch: float) -> list[np.ndarray]:
    """The middle of each line, (points, 2) x, y from left to right, in pixels of the mask."""
    scale = PITCH / pitch
    shape = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(shape, Image.Resampling.BOX))
    smooth = ndimage.gaussian_filter1d(small, ALONG * PITCH, axis=1, mode="constant")
    bent = ndimage.gaussian_filter1d(smooth, ACROSS * PITCH, axis=0, order=2, mode="constant")
    dense = ndimage.gaussian_filter1d(smooth, ACROSS * PITCH, axis=0, mode="constant")
    some = dense[dense > 0.02]
    usual = float(np.quantile(some, 0.75)) if len(some) else 1.0
    labels, _ = ndimage.label((bent < 0) & (dense > FAINT * usual), structure=np.ones((3, 3)))
    pieces = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        weight = np.where(labels[place] == number, -bent[place], 0)
        total = weight.sum(axis=0)
        x = np.flatnonzero(total > 0)
        y = (weight * np.arange(len(weight))[:, None]).sum(axis=0)[x] / total[x]
        if len(x) >= PITCH / 2 and small[place][:, x].sum() > 2:
            pieces.append(np.stack([x + place[1].start + 0.5, y + place[0].start + 0.5], axis=1))
    return [points / scale for points in _without_strays(_joined(pieces))]


def _joined(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Pieces of ridges joined where one goes on from another, the nearest first."""
    reach = 2 * PITCH  # over which the level of an end is told
    while len(pieces) > 1:
        left, right = (np.array([points[end, 0] for points in pieces]) for end in (0, -1))
        first = np.array([np.median(points[:reach, 1]) for points in pieces])
        last = np.array([np.median(points[-reach:, 1]) for points in pieces])
        gaps = left - right[:, None]  # from the piece of the row to that of the column
        steps = np.abs(first - last[:, None])
        fits = (gaps > -OVERLAP * PITCH) & (gaps < GAP * PITCH) & (steps < STEP * PITCH)
        np.fill_diagonal(fits, False)
        if not fits.any():
            break
        costs = np.where(fits, np.abs(gaps) + 2 * steps, np.inf)
        i, j = np.unravel_index(int(costs.argmin()), costs.shape)
        joined = np.concatenate([pieces[i], pieces[j][pieces[j][:, 0] > right[i]]])
        pieces = [piece for k, piece in enumerate(pieces) if k not in (i, j)] + [joined]
    return pieces


def _without_strays(ridges: list[np.ndarray]) -> list[np.ndarray]:
    """Without short ridges close above or below a longer one: its accents, ascenders and descenders."""
    kept: list[np.ndarray] = []
    for ridge in sorted(ridges, key=len, reverse=True):
        x, y = ridge.T
        for longer in kept:
            away = np.abs(np.interp(x, longer[:, 0], longer[:, 1], left=np.inf, right=np.inf) - y)
            short = len(x) < STRAY * PITCH or len(x) < len(longer) / 4
            if short and np.count_nonzero(away < BESIDE * PITCH) > len(x) / 2:
                break
        else:
            kept.append(ridge)
    return kept


# --- ink to lines ---


def _shared_out(
    mask: np.ndarray, centres: Sequence[np.ndarray], pitch: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ink of each line, of which the middle is given: x and y of its pixels.

    A piece of ink goes with the line that most of its pixels are nearest to, unless it reaches into several.
    """
    count, columns = len(centres), mask.shape[1]
    if not count:
        return []
    at = np.full((count, columns), np.inf, dtype=np.float32)
    for number, centre in enumerate(centres):
        x = np.arange(max(0, int(centre[0, 0] - pitch)), min(columns, int(centre[-1, 0] + pitch) + 1))
        at[number, x] = np.interp(x, *centre.T)
    order = np.argsort(at, axis=0)
    ranked = np.take_along_axis(at, order, axis=0)  # in each column the middles from the top down
    labels, pieces = ndimage.label(mask, structure=np.ones((3, 3)))
    y, x = np.nonzero(mask)
    nearest = np.zeros(len(x), dtype=np.int32)
    for upper, lower in pairwise(ranked):
        nearest += y > ((upper + lower) / 2)[x]
    own = order[nearest, x]
    label = labels[y, x]
    counts = np.bincount(label * count + own, minlength=(pieces + 1) * count).reshape(-1, count)
    most = counts.max(axis=1)
    whole = most > WHOLE * counts.sum(axis=1)
    own = np.where(whole[label], counts.argmax(axis=1)[label], own)
    near = np.abs(at[own, x] - y) < pitch
    x, y, own = x[near], y[near], own[near]
    by_line = np.argsort(own, kind="stable")
    ends = np.searchsorted(own[by_line], np.arange(count + 1))
    return [(x[by_line[a:b]], y[by_line[a:b]]) for a, b in pairwise(ends)]


@dataclass(frozen=True)
class _Profile:
    """The ink of a line across its middle."""

    base: float  # where it falls off most below its peak: the baseline, pixels below the middle
    above: float  # pixels of ink above the bodies of letters
    below: float

    @classmethod
    def of(cls, off: np.ndarray, pitch: float) -> _Profile:
        """off: (pixels,) how far below the middle of the line each pixel of ink is."""
        size = int(pitch)
        rows = np.bincount(np.clip(np.rint(off).astype(int) + size, 0, 2 * size), minlength=2 * size + 1)
        profile = ndimage.gaussian_filter1d(rows.astype(np.float64), pitch / 20)
        peak = int(profile.argmax())
        falls = np.diff(profile[peak : peak + max(2, int(0.6 * pitch))])
        base = peak + int(falls.argmin()) + 1 - size if len(falls) else 0
        core = np.flatnonzero(profile > profile.max() / 2)
        return cls(base, float(profile[: core[0]].sum()), float(profile[core[-1] + 1 :].sum()))


def _outlined(x: np.ndarray, y: np.ndarray, centre: np.ndarray, base: float, pitch: float) -> Line:
    """The line of ink whose pixels are at x, y: baseline (`base` below the middle) and polygon."""
    left, right = int(x.min()), int(x.max()) + 1
    off = y - np.interp(x, *centre.T)
    bins = max(1, round((right - left) / (pitch / 2)))
    which = np.minimum((x - left) * bins // (right - left), bins - 1)
    top, bottom = np.full(bins, base - CORE * pitch), np.full(bins, base)
    np.minimum.at(top, which, off - 1)
    np.maximum.at(bottom, which, off + 2)
    top, bottom = ndimage.minimum_filter1d(top, 3), ndimage.maximum_filter1d(bottom, 3)
    at = left + (np.arange(bins) + 0.5) * (right - left) / bins
    at = np.concatenate([[left - BEFORE * pitch], at[1:-1], [right + AFTER * pitch]])
    if bins == 1:
        top, bottom = top.repeat(2), bottom.repeat(2)
    level = np.interp(at, *centre.T)
    polygon = np.concatenate(
        [np.stack([at, level + top], axis=1), np.stack([at, level + bottom], axis=1)[::-1]]
    )
    points = np.linspace(left, right, max(2, bins // 4 + 1))
    return Line(np.stack([points, np.interp(points, *centre.T) + base], axis=1), polygon)


def _turned_back(line: Line, turns: int, shape: tuple[int, ...], factor: int, size: tuple[int, int]) -> Line:
    """The line in pixels of the picture. turns: quarters, anticlockwise, by which the mask was turned."""
    rows, columns = shape

    def back(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        places = ((x, y), (columns - y, x), (columns - x, rows - y), (y, rows - x))[turns % 4]
        return np.clip(np.stack(places, axis=1) * factor, 0, size).astype(np.float32)

    return Line(back(line.baseline), back(line.polygon))
